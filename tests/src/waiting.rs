//! A build that waits until somebody ends it, or lets it go on.

use crate::{Kennel, Result, Sources};

/// A site `web` whose builder sleeps. `seconds` (hours of them) also tell it from other builders.
#[must_use]
pub fn that_waits(kennel: &Kennel, seconds: u32) -> Sources {
    let flake = format!(
        r#"{{
  outputs = {{ self }}: {{
    packages = builtins.listToAttrs (map (system: {{
      name = system;
      value.web = derivation {{
        name = "web"; inherit system; bb = "${{./tools}}/busybox"; builder = "${{./tools}}/busybox";
        args = [ "sh" "-euc" "echo begun; $bb sleep {seconds} || :; $bb mkdir $out" ];
      }};
    }}) [ "x86_64-linux" "aarch64-linux" ]);
  }};
}}
"#
    );
    kennel.sources().file("flake.nix", flake).kennel_toml("[static_sites.web]\n")
}

/// Lets that builder go on.
///
/// # Errors
/// When there is none.
pub fn go_on(kennel: &Kennel, seconds: u32) -> Result<()> {
    kennel.host().run(&["pkill", "-f", &sleeping(seconds)]).map(drop)
}

/// The processes of that builder, one a line; empty if there are none.
///
/// # Errors
/// When the host cannot be asked.
pub fn builders(kennel: &Kennel, seconds: u32) -> Result<String> {
    Ok(kennel.host().try_run(&["pgrep", "-a", "-f", &sleeping(seconds)])?.stdout)
}

fn sleeping(seconds: u32) -> String {
    format!("[b]usybox sleep {seconds}$")
}
