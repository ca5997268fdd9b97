//! The NixOS module and the flake, evaluated by Nix on the test host.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kennel_core::config::{HostConfig, ProjectConfig};
use kennel_tests::{
    Context, Kennel, LIMIT, Nixos, Result, ensure, expect_deployment, expect_no_leftovers,
    expect_nothing_left,
};
use serde_json::{Value, json};
use xtask::checkout::Checkout;

use crate::readme;
use crate::secrets::expect_handed;

/// A folder with the real `lib/` of nixpkgs, to evaluate with beside the stand-in.
const NIXPKGS: &str = "KENNEL_NIXPKGS_LIB";

/// The README's ten lines, but for where the repository is, and a few more.
pub(crate) const LAID_OUT: Nixos = Nixos {
    configuration,
    base_domain: "example.com",
    secrets: &[("shop-webhook", "the secret of shop\n"), ("shop-jwt", "sealed elsewhere\n")],
};

fn configuration() -> Result<String> {
    let from = "https://git.example.org/team/shop.git";
    let block = readme::block("nix", "services.kennel = {")?;
    ensure!(block.lines().count() == 10 && block.contains(from), "the README says {block}");
    let block = block.replace(from, "file:///srv/git/shop.git");
    Ok(format!(
        r#"let inputs.kennel.nixosModules.default = {{ }}; in {{
             {block}
             services.kennel.settings.drain_secs = 3;
             services.kennel.projects.shop.settings.systems = [ "{FIRST}" "aarch64-linux" ];
             services.kennel.projects.shop.secretFiles.JWT_SECRET = "/run/agenix/shop-jwt";
           }}"#
    ))
}

/// For which the sample has the service. Where it has none for it, the second system is the host's own.
const FIRST: &str = if cfg!(target_arch = "aarch64") { "armv7l-linux" } else { "x86_64-linux" };

/// Push, page, second push, reboot, and the way back, where nothing lies as on Debian.
pub(crate) fn from_push_to_page(kennel: &Kennel) -> Result<()> {
    expect_nixos(kennel)?;
    let host = kennel.host();
    let verify = "cd /etc/systemd/system; units=$(find -L . -maxdepth 1 -type f -name 'kennel*'); \
                  systemd-analyze --man=no verify $units 2>&1 | grep kennel";
    let said = host.try_run(&["sh", "-c", verify])?;
    ensure!(said.stdout.is_empty(), "systemd says of the units: {}", said.stdout);
    let project = kennel.declared_project("shop")?;
    for command in ["check", "doctor"] {
        host.run(&["kennelctl", command])?;
    }

    let [api, web] = ["api", "web"].map(|service| project.address(service, "main"));
    let manifest = "[services.api]\nsecrets = [\"JWT_SECRET\"]\n[static_sites.web]\n";
    let push = |version: &str| {
        // The site is there for the second system alone.
        let page = format!("<p>{version}, made elsewhere</p>");
        let sources = kennel.sources().service("api", version).kennel_toml(manifest);
        project.push("main", &sources.file("elsewhere/web/index.html", page), version)
    };
    let expect = |version: &str| -> Result<()> {
        kennel.expect_page(&api, "/version", version, LIMIT)?;
        kennel.expect_page(&web, "/", &format!("{version}, made elsewhere"), LIMIT).map(drop)
    };
    push("one")?;
    expect("one")?;
    expect_handed(kennel, &api, "variable=JWT_SECRET", "sealed elsewhere")?;
    let second = push("two")?;
    expect("two")?;
    let serving = expect_deployment(kennel, &project, "api", &second.after, "active")?.unit();
    host.run(&["test", "-f", &format!("/run/systemd/system/{serving}")])?;

    host.reboot()?;
    expect("two")?;
    expect_nixos(kennel)?;
    host.run(&["kennelctl", "rollback", "shop/main/api"])?;
    kennel.expect_page(&api, "/version", "one", LIMIT)?;
    expect_no_leftovers(kennel, "shop")?;
    host.run(&["kennelctl", "teardown", "shop/main", "--yes"])?;
    expect_nothing_left(kennel, "shop")?;
    ensure!(host.failed_units()?.is_empty(), "{:?} failed", host.failed_units()?);
    Ok(())
}

/// The host is what it claims to be.
fn expect_nixos(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    for (program, folder) in [("sh", "/bin"), ("env", "/usr/bin")] {
        let there = host.run(&["ls", "-A", folder])?;
        ensure!(there.trim() == program, "in {folder} there are {there}");
    }
    for refused in [
        "ls /usr/lib/systemd/system",
        "touch /etc/systemd/system/x.service",
        "touch /nix/store/x",
        "echo x >>/etc/passwd",
        "command -v useradd",
        "command -v systemd-sysusers",
    ] {
        let tried = host.try_run(&["sh", "-c", refused])?;
        ensure!(tried.code != 0, "there is success of: {refused}");
    }
    let running = host.sh("readlink /proc/[0-9]*/exe | grep /kennel-")?;
    let elsewhere = running.lines().find(|program| !program.starts_with("/nix/store/"));
    ensure!(elsewhere.is_none(), "{elsewhere:?} runs");
    Ok(())
}

/// The README's own configuration, and one with more in it: files, units and users that come of them.
pub(crate) fn module_says_what_kennel_reads(kennel: &Kennel) -> Result<()> {
    let module = Module::put(kennel)?;
    let block = readme::block("nix", "services.kennel = {")?;
    let inputs = "inputs.kennel.nixosModules.default = { }";
    let documented = module.evaluate(&format!("let {inputs}; in {{ {block} }}"))?;
    ensure!(at(&documented, &["refused"]) == &json!([]), "{}", at(&documented, &["refused"]));
    ensure!(at(&documented, &["warnings"]) == &json!([]), "{}", at(&documented, &["warnings"]));
    expect_read(&documented)?;

    let whole = module.evaluate(
        r#"{ services.kennel = {
             enable = true;
             valkey.enable = true;
             postgresql.enable = true;
             settings = {
               base_domain = "example.com";
               nix.timeout = "1h30m";
               tls.redirect = false;
               acme.accept_terms = true;
               acme.dns = { provider = "rfc2136"; server = "192.0.2.53"; key_name = "kennel"; };
             };
             projects.shop = {
               webhookSecretFile = "/run/agenix/shop";
               secretFiles.JWT = "/run/agenix/jwt";
               productionSecretFiles.KEY = "/run/agenix/key";
               settings = { repo_url = "/srv/shop"; expire_branches."release/*" = "never"; };
             };
           }; }"#,
    )?;
    let (host, project) = expect_read(&whole)?;
    ensure!(host.nix.timeout.as_secs() == 5400 && !host.tls.redirect, "{host:?}");
    ensure!(host.unit_dir == Path::new("/run/systemd/system"), "{host:?}");
    ensure!(host.acme.as_ref().is_some_and(|acme| acme.dns.is_some()), "{host:?}");
    ensure!(host.valkey.is_some() && host.postgresql.is_some(), "{host:?}");
    ensure!(project.repo_url.to_string() == "/srv/shop", "{project:?}");

    let credentials =
        at(&whole, &["services", "kennel-webhook", "serviceConfig", "LoadCredential"]);
    ensure!(credentials == &json!(["webhook_shop:/run/agenix/shop"]), "{credentials}");
    for (file, source) in [
        ("webhook-secrets/shop", "/run/agenix/shop"),
        ("secrets/shop/JWT", "/run/agenix/jwt"),
        ("secrets/shop/production/KEY", "/run/agenix/key"),
    ] {
        let found = at(&whole, &["etc", &format!("kennel/{file}"), "source"]);
        ensure!(found == source, "{file} is {found}");
    }
    // Whoever adds a service says what a switch does to it: a job is left alone, and who stays behind
    // a socket is started again without being stopped first. The router's relief is there for just that.
    for file in files_below(&module.root, "units")? {
        let Some(name) = file.strip_prefix("units/").and_then(|it| it.strip_suffix(".service"))
        else {
            continue;
        };
        let said = |key: &str| at(&whole, &["services", name, key]) == &json!(false);
        let has_socket = module.root.join(format!("units/{name}.socket")).is_file();
        let stays = has_socket && name != "kennel-router-relief";
        let wanted = if stays { "stopIfChanged" } else { "restartIfChanged" };
        ensure!(said(wanted), "the module does not say {wanted} = false of {name}.service");
        ensure!(!name.ends_with('@') || !has_socket, "{name} is a template with a socket");
    }
    // Whatever it changes of the product's own units is there to be changed.
    for (kind, suffix) in [("services", "service"), ("targets", "target"), ("paths", "path")] {
        let changed = at(&whole, &[kind]).as_object().with_context(|| format!("no {kind}"))?;
        for name in changed.keys().filter(|name| *name != "kennel-switched") {
            let unit = module.root.join("units").join(format!("{name}.{suffix}"));
            ensure!(unit.is_file(), "there is no {name}.{suffix} to change");
        }
    }
    let off = module.evaluate("{ }")?;
    ensure!(
        at(&off, &["users", "users"]) == &json!({}) && at(&off, &["etc"]) == &json!({}),
        "off, it makes {off}"
    );
    Ok(())
}

/// What cannot work is refused before it is built, with what to write instead.
pub(crate) fn module_says_what_to_write_instead(kennel: &Kennel) -> Result<()> {
    let module = Module::put(kennel)?;
    let said = module.evaluate(
        r#"{ networking.firewall.enable = true;
             services.kennel = {
               enable = true;
               settings = { base_domain = "example.com"; unit_dir = "/etc/systemd/system"; };
               projects."Shop!" = {
                 settings.repo_url = "/srv/shop";
                 webhookSecretFile = "/nix/store/x-secret";
                 secretFiles.jwt = "/run/jwt";
               };
             }; }"#,
    )?;
    let lines = |kind: &str| -> String {
        let all = at(&said, &[kind]).as_array().cloned().unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect()
    };
    insta::assert_snapshot!(lines("refused"), @r#"
    services.kennel.settings.unit_dir is /etc/systemd/system, which cannot be written on NixOS.
    Leave the option out: deployments' units then lie in /run/systemd/system.
    services.kennel.projects."Shop!" is no name for a project: use a-z, 0-9 and `-`, at most 32.
    The secret "Shop!/jwt" of services.kennel.projects has no name for a secret: use A-Z, 0-9 and `_`.
    The secret "Shop!/webhook" of services.kennel.projects is /nix/store/x-secret, which everybody on this host can
    read. Have agenix or sops-nix put it below /run, and name that path as a string.
    "#);
    insta::assert_snapshot!(lines("warnings"), @"
    The firewall lets neither visitors nor webhooks to Kennel: set services.kennel.openFirewall =
    true, or open port 80 (and 443) where they come from.
    ");
    for (wrong, says) in [
        ("settings.drain_secs = 3601;", "drain_secs"),
        ("settings.base_domian = \"x\";", "base_domian"),
        ("settings.expiry.after = \"soon\";", "after"),
        ("projects.shop.settings.forge = \"gitlab\";", "forge"),
        ("projects.shop.settings.branches = [ \"x\" ];", "repo_url"),
    ] {
        let text = format!(
            "{{ services.kennel = {{ enable = true; settings.base_domain = \"a.b\"; {wrong} }}; }}"
        );
        let refused = module.evaluate(&text).err().with_context(|| format!("{wrong} is taken"))?;
        ensure!(format!("{refused:#}").contains(says), "{wrong}: {refused:#}");
    }
    Ok(())
}

/// The flake, by the host's Nix: what it has, and that the package's sources are there.
pub(crate) fn flake_has_all_outputs(kennel: &Kennel) -> Result<()> {
    let module = Module::put(kennel)?;
    let nix = |argv: &[&str]| -> Result<Value> {
        let input = ["--override-input", "nixpkgs", "path:/srv/module/tests/nixos/nixpkgs"];
        let argv = ["env", "NIX_REMOTE=daemon", "nix"].iter().chain(argv);
        let argv = argv.chain(&["--json", "--no-write-lock-file"]).chain(&input).copied();
        Ok(serde_json::from_str(&kennel.host().run(&argv.collect::<Vec<&str>>())?)?)
    };
    let shown = nix(&["flake", "show", "--all-systems", "path:/srv/module"])?;
    for system in ["x86_64-linux", "aarch64-linux"] {
        for output in [
            "packages/SYSTEM/default",
            "devShells/SYSTEM/default",
            "checks/SYSTEM/package",
            "checks/SYSTEM/push",
            "formatter/SYSTEM",
            "overlays/default",
            "nixosModules/default",
        ] {
            let path = format!("/{}/type", output.replace("SYSTEM", system));
            ensure!(shown.pointer(&path).is_some(), "the flake has no {output}: {shown}");
        }
    }
    let sources = "path:/srv/module#packages.x86_64-linux.default.given.src.fileset";
    let sources: Vec<String> = serde_json::from_value(nix(&["eval", sources])?)?;
    ensure!(!sources.is_empty(), "the package has no sources");
    for source in sources {
        // /nix/store/<hash>-source/units
        let path: PathBuf = Path::new(&source).components().skip(4).collect();
        ensure!(module.root.join(&path).exists(), "the package wants {}", path.display());
    }
    kennel.host().run(&["nix-instantiate", "--parse", "/srv/module/nixos/test.nix"]).map(drop)
}

/// The module on the host.
struct Module<'a> {
    kennel: &'a Kennel,
    root: PathBuf,
    /// Whether nixpkgs' own library is there, too.
    with_nixpkgs: bool,
}

impl<'a> Module<'a> {
    /// Copies it there.
    fn put(kennel: &'a Kennel) -> Result<Self> {
        let root = Checkout::find()?.root().to_owned();
        let put = |from: &Path, to: &str, file: &str| -> Result<()> {
            let bytes = fs::read(from.join(file)).with_context(|| format!("no {file}"))?;
            kennel.host().write(&format!("srv/{to}/{file}"), bytes)
        };
        for file in ["flake.nix", "Cargo.toml", "sysusers.d/kennel.conf"] {
            put(&root, "module", file)?;
        }
        for folder in ["nixos", "tests/nixos"] {
            for file in files_below(&root, folder)? {
                put(&root, "module", &file)?;
            }
        }
        let nixpkgs = std::env::var_os(NIXPKGS).map(PathBuf::from);
        if let Some(nixpkgs) = &nixpkgs {
            for file in files_below(nixpkgs, "lib")? {
                put(nixpkgs, "nixpkgs", &file)?;
            }
        }
        Ok(Self { kennel, root, with_nixpkgs: nixpkgs.is_some() })
    }

    /// What the module makes of a configuration. With both libraries it is the same.
    fn evaluate(&self, configuration: &str) -> Result<Value> {
        let stand_in = self.evaluate_with("/srv/module/tests/nixos/lib.nix", configuration);
        if self.with_nixpkgs {
            let original = self.evaluate_with("/srv/nixpkgs/lib", configuration);
            let same = match (&stand_in, &original) {
                (Ok(one), Ok(other)) => one == other,
                (Err(_), Err(_)) => true,
                _ => false,
            };
            ensure!(same, "the stand-in says {stand_in:?},\nand nixpkgs {original:?}");
        }
        stand_in
    }

    fn evaluate_with(&self, library: &str, configuration: &str) -> Result<Value> {
        let file = format!("/srv/configuration-{}.nix", fastrand::u64(..));
        self.kennel.host().write(file.trim_start_matches('/'), configuration)?;
        let library = format!("import {library}");
        let configuration = format!("import {file}");
        // Nothing is to be built, and the host's own store belongs to other tests.
        let nix = ["nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json"];
        let arguments = ["--arg", "lib", &library, "--arg", "configuration", &configuration];
        let expression = ["/srv/module/tests/nixos/evaluate.nix"];
        let argv = [&nix[..], &expression, &arguments].concat();
        let text = self.kennel.host().run(&argv)?;
        serde_json::from_str(&text).context("nix-instantiate prints no JSON")
    }
}

fn files_below(root: &Path, folder: &str) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("no {folder}"))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files.extend(files_below(root, &path)?);
        } else {
            files.insert(path);
        }
    }
    Ok(files)
}

/// What is there, or null.
fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// The files of the host and of `shop`, as Kennel's own parsers read them.
fn expect_read(evaluated: &Value) -> Result<(HostConfig, ProjectConfig)> {
    let text = |file: &str| -> Result<&str> {
        let source = at(evaluated, &["etc", file, "source"]).as_str();
        source.with_context(|| format!("there is no {file} in {}", at(evaluated, &["etc"])))
    };
    let host = HostConfig::parse(text("kennel/config.toml")?, "config.toml")?;
    let shop = text("kennel/projects.d/shop.toml")?;
    Ok((host, ProjectConfig::parse("shop".parse()?, shop, "shop.toml")?))
}
