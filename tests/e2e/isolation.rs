//! What strangers wrote is evaluated, and sees nothing of other projects.

use kennel_tests::{Kennel, LIMIT, Pushed, Result, ensure};
use serde_json::Value;

/// Two inputs that lead into another project's repository, by a lock file with all that Nix wants,
/// and an output that needs neither.
const FLAKE: &str = r#"{
  inputs.mirror = {
    url = "git+file:///var/lib/kennel/repos/victim.git?ref=unbuilt&rev=REV";
    flake = false;
  };
  inputs.forge = { url = "git+file:///srv/git/victim.git?ref=unbuilt&rev=REV"; flake = false; };
  outputs = { self, mirror, forge }:
    let
      page = system: from: derivation {
        name = "page"; inherit system; bb = "${./tools}/busybox"; builder = "${./tools}/busybox";
        args = [ "sh" "-euc" "$bb mkdir $out; $bb cp ${from}/secret.txt $out/index.html" ];
      };
    in {
      packages = builtins.listToAttrs (map (system: {
        name = system;
        value = {
          mirror = page system mirror;
          forge = page system forge;
          own = page system ./own;
        };
      }) [ "x86_64-linux" "aarch64-linux" ]);
    };
}
"#;

const MANIFEST: &str = "[static_sites.mirror]\n[static_sites.forge]\n[static_sites.own]\n";

const SECRET: &str = "what only the victim's members may read";

pub(crate) fn other_projects_cannot_be_read(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let victim = kennel.project("victim")?;
    victim.push("main", &kennel.sources().site("web", "the victim"), "a page")?;
    kennel.expect_page(&victim.address("web", "main"), "/", "the victim", LIMIT)?;
    // In the mirror, and not in the store, which everybody may read.
    let unbuilt = kennel.sources().file("secret.txt", SECRET);
    let secret = victim.commit("unbuilt", &unbuilt, "not to be seen")?;
    let mirror = "/var/lib/kennel/repos/victim.git";
    as_builder(
        kennel,
        &format!("git -C {mirror} fetch -q file:///srv/git/victim.git +unbuilt:refs/heads/unbuilt"),
    )?;

    let thief = kennel.project("thief")?;
    let flake = FLAKE.replace("REV", &secret.after);
    let lock = lock(kennel, &flake)?;
    for part in ["narHash", "lastModified", &secret.after, mirror, "/srv/git/victim.git"] {
        ensure!(lock.contains(part), "the lock file has no {part}:\n{lock}");
    }
    ensure!(stored(kennel)?.is_empty(), "the secret is in the store already: {}", stored(kennel)?);
    let sources = kennel
        .sources()
        .file("flake.nix", &flake)
        .file("flake.lock", &lock)
        .file("own/secret.txt", "the thief's own page")
        .kennel_toml(MANIFEST);
    let pushed = thief.push("main", &sources, "take it")?;

    // The flake as such is good: what needs no other project's files is built.
    let build = thief.expect_build(&pushed.after, "partial", LIMIT)?;
    kennel.expect_page(&thief.address("own", "main"), "/", "the thief's own page", LIMIT)?;
    for (name, place) in [("mirror", mirror), ("forge", "/srv/git/victim.git")] {
        let output = output(&build, name);
        ensure!(output.get("state").is_some_and(|it| it == "failed"), "{name} is {output}");
        let reason = output.get("reason").and_then(Value::as_str).unwrap_or_default();
        // That is what git says of a repository that it may not open.
        let closed = format!("'{place}' does not appear to be a git repository");
        ensure!(reason.contains(&closed), "{name} fails for another reason: {reason}");
        let status = kennel.get(&thief.address(name, "main"), "/")?.status;
        ensure!(status == 404, "{name} answers {status}");
    }
    ensure!(stored(kennel)?.is_empty(), "the secret came into the store: {}", stored(kennel)?);

    // The same, by the same user and without the fence, succeeds: it was the fence.
    for name in ["mirror", "forge"] {
        let page = unconfined(kennel, &pushed, name)?;
        ensure!(page == SECRET, "without confinement {name} is {page:?}");
    }
    host.run(&["rm", "-rf", "/srv/unconfined"])?;
    Ok(())
}

/// The lock file that Nix itself makes, in a store of its own.
fn lock(kennel: &Kennel, flake: &str) -> Result<String> {
    kennel.host().sh("rm -rf /srv/lock && install -d -o kennel-build /srv/lock /srv/lock/flake")?;
    let path = kennel.host().root().join("srv/lock/flake/flake.nix");
    std::fs::write(path, flake)?;
    as_builder(
        kennel,
        "cd /srv/lock && export HOME=/srv/lock NIX_REMOTE=/srv/lock/store && \
         nix flake lock path:/srv/lock/flake >&2 && cat flake/flake.lock",
    )
}

/// What one output of the pushed commit holds when the builder's user builds it by hand.
fn unconfined(kennel: &Kennel, pushed: &Pushed, output: &str) -> Result<String> {
    kennel.host().sh("install -d -o kennel-build /srv/unconfined")?;
    let flake = format!("git+file:///srv/git/thief.git?ref=main&rev={}", pushed.after);
    as_builder(
        kennel,
        &format!(
            "cd /srv/unconfined && export HOME=/srv/unconfined NIX_REMOTE=daemon && \
             cat $(nix build --no-link --print-out-paths '{flake}#{output}')/index.html"
        ),
    )
}

fn as_builder(kennel: &Kennel, script: &str) -> Result<String> {
    let argv = ["runuser", "-u", "kennel-build", "--", "env", "HOME=/nonexistent", "sh", "-euc"];
    kennel.host().run(&[&argv[..], &[script]].concat())
}

/// Files of the store that hold the secret.
fn stored(kennel: &Kennel) -> Result<String> {
    let found = kennel.host().try_run(&[
        "grep",
        "-rlF",
        "--include=secret.txt",
        "--include=index.html",
        SECRET,
        "/nix/store",
    ])?;
    Ok(found.stdout)
}

fn output(build: &Value, name: &str) -> Value {
    let outputs = build.get("outputs").and_then(Value::as_array);
    let found = outputs.into_iter().flatten().find(|it| it.get("name").is_some_and(|n| n == name));
    found.cloned().unwrap_or_default()
}
