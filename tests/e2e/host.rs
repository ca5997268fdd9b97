//! The test host itself: where these fail, no other test means anything.

use kennel_tests::{Kennel, Result, ensure};

/// A builder sees its inputs and nothing of the host, and cannot reach a network. A host whose
/// builds quietly ran without a sandbox would hide what breaks on real ones.
pub(crate) fn builds_run_in_the_sandbox(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let flake = r#"{
      outputs = { self }: {
        packages.SYSTEM.look = derivation {
          name = "look"; system = "SYSTEM"; bb = "${./tools}/busybox";
          builder = "${./tools}/busybox";
          args = [ "sh" "-euc" "{ $bb ls / /etc; $bb ls /sys/class/net || :; $bb id; } > $out 2>&1" ];
        };
      };
    }"#
    .replace("SYSTEM", &format!("{}-linux", std::env::consts::ARCH));
    let saw = host.run_with_input(
        &[
            "sh",
            "-euc",
            "id sandbox-test >/dev/null 2>&1 || useradd --create-home -G nix-users sandbox-test
             mkdir -p /srv/look/tools && cp /usr/bin/busybox /srv/look/tools/
             cat > /srv/look/flake.nix
             cd / && HOME=/home/sandbox-test runuser -u sandbox-test -- \
               nix build path:/srv/look#look --out-link /home/sandbox-test/look --no-write-lock-file
             cat /home/sandbox-test/look",
        ],
        flake.as_bytes(),
    )?;
    for part in ["home", "srv", "kennel", "shadow"] {
        ensure!(!saw.lines().any(|line| line == part), "a builder sees {part}:\n{saw}");
    }
    ensure!(saw.contains("nixbld"), "a builder is not a build user:\n{saw}");
    Ok(())
}
