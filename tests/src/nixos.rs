//! A host that is laid out as NixOS lays one out, with what the module makes of a configuration.
//!
//! Everything that NixOS itself would do is here and in `tests/nixos/lay-out`, as little of it as
//! Kennel meets: nixpkgs cannot be had offline. The module, the package's layout and the programs are
//! the product's own.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use xtask::base;
use xtask::checkout::Checkout;
use xtask::kennel::Kennel;
use xtask::product::{Product, System};
use xtask::sources::Samples;

use crate::unbooted::Unbooted;

/// Where everything is whose path nobody has computed.
const STORE: &str = "nix/store/00000000000000000000000000000000";

/// What the module, its evaluation and the package's layout are made of.
const MODULE: &[&str] =
    &["Cargo.toml", "man", "nixos", "polkit-1", "sysusers.d", "tests/nixos", "tmpfiles.d", "units"];

/// Beside what the module says of Nix: NixOS' own shell of the sandbox, no cache, and a second system
/// that this host builds for.
const NIX_CONF: &str = "substituters =\nextra-platforms = aarch64-linux\n";

/// Of which configuration.
#[derive(Clone, Copy, Debug)]
pub struct Nixos {
    /// A module, as an expression.
    pub configuration: fn() -> Result<String>,
    /// The domain that it says.
    pub base_domain: &'static str,
    /// Files as agenix leaves them in `/run/agenix`, each with its text.
    pub secrets: &'static [(&'static str, &'static str)],
}

impl Nixos {
    /// Boots one. `label` tells it from others of this run.
    pub(crate) fn boot(&self, label: &str) -> Result<Kennel> {
        let made = Unbooted::make(label)?;
        let Unbooted { checkout, product, host, .. } = &made;
        let samples = Samples::prepare(checkout, host)?;
        let root = host.root();
        install(checkout, product, &root)?;
        let evaluated = evaluate(&root, &(self.configuration)()?)?;
        make_users(&root, &evaluated)?;
        for (file, text) in self.secrets {
            base::write(&root.join("var/lib/agenix").join(file), text)?;
        }
        run(Command::new(checkout.root().join("tests/nixos/lay-out")).arg(&root))?;
        write_etc(&root, &evaluated)?;
        write_units(&root, &evaluated)?;
        let (_checkout, host) = made.boot()?;
        Ok(Kennel::running(samples, host, self.base_domain))
    }
}

/// The package, where the module's evaluation says that it is, by its own script.
fn install(checkout: &Checkout, product: &Product, root: &Path) -> Result<()> {
    let module = root.join("srv/module");
    fs::create_dir_all(&module)?;
    let copy = ["--recursive", "--parents"].iter().chain(MODULE);
    run(Command::new("cp").args(copy).arg(&module).current_dir(checkout.root()))?;
    let (tree, programs) = (root.join("srv/tree"), root.join("srv/programs"));
    product.install_as(&tree, System::Other)?;
    fs::rename(tree.join("usr/lib/kennel"), &programs)?;
    fs::rename(tree.join("usr/bin/kennelctl"), programs.join("kennelctl"))?;
    base::remove_tree(&tree)?;
    let package = format!("/{STORE}-kennel");
    let script = ["sh", "/srv/module/nixos/install", "/srv/module", "/srv/programs", &package];
    within(root, &script)?;
    base::remove_tree(&programs)
}

fn evaluate(root: &Path, configuration: &str) -> Result<Value> {
    base::write(&root.join("srv/configuration.nix"), configuration)?;
    let nix = ["nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json"];
    let arguments = ["--arg", "configuration", "import /srv/configuration.nix"];
    let argv = [&nix[..], &["/srv/module/tests/nixos/evaluate.nix"], &arguments].concat();
    let evaluated: Value = serde_json::from_str(&within(root, &argv)?)?;
    let refused = at(&evaluated, "refused").as_array().map(Vec::len);
    ensure!(refused == Some(0), "the module refuses it: {}", at(&evaluated, "refused"));
    Ok(evaluated)
}

/// As NixOS' activation does it; afterwards nobody can.
fn make_users(root: &Path, evaluated: &Value) -> Result<()> {
    let users = at(evaluated, "users");
    for group in map(at(users, "groups"))?.keys() {
        within(root, &["groupadd", "--system", "--force", group])?;
    }
    for (name, user) in map(at(users, "users"))? {
        let group = at(user, "group").as_str().context("a user has a group")?;
        let others = words(at(user, "extraGroups")).join(",");
        within(root, &["useradd", "--system", "--gid", group, "--groups", &others, name])?;
    }
    Ok(())
}

/// `environment.etc`: links into the store by way of `/etc/static`, and Nix's own settings.
fn write_etc(root: &Path, evaluated: &Value) -> Result<()> {
    let store = format!("{STORE}-etc");
    link(&format!("/{store}"), &root.join("etc/static"))?;
    for (name, file) in map(at(evaluated, "etc"))? {
        let source = at(file, "source").as_str().context("a file has a source")?;
        let stored = root.join(&store).join(name);
        if Path::new(name).extension().is_some_and(|it| it == "toml") {
            base::write(&stored, source)?;
        } else {
            link(source, &stored)?;
        }
        link(&format!("/etc/static/{name}"), &root.join("etc").join(name))?;
    }
    let mut settings = format!("{NIX_CONF}sandbox-paths = /bin/sh=/{STORE}-system/bin/busybox\n");
    for (key, value) in map(at(evaluated, "nix"))? {
        writeln!(settings, "{key} = {value}")?;
    }
    // Nix' database knows nothing of this system: on a full disk it would be garbage.
    settings.push_str("min-free = 0\n");
    base::write(&root.join("etc/nix/nix.conf"), settings)
}

/// `systemd.services` and so on: a file of its own, or one beside the package's.
fn write_units(root: &Path, evaluated: &Value) -> Result<()> {
    let units = root.join(format!("{STORE}-system/units"));
    for (kind, suffix) in [("services", "service"), ("paths", "path"), ("targets", "target")] {
        for (name, settings) in map(at(evaluated, kind))? {
            let file = format!("{name}.{suffix}");
            let text = unit(settings)?;
            if fs::symlink_metadata(units.join(&file)).is_ok() {
                base::write(&units.join(format!("{file}.d/overrides.conf")), text)?;
            } else {
                base::write(&units.join(&file), text)?;
            }
            for target in words(at(settings, "wantedBy")) {
                link(&format!("../{file}"), &units.join(format!("{target}.wants/{file}")))?;
            }
        }
    }
    Ok(())
}

/// What NixOS writes of a unit's settings.
fn unit(settings: &Value) -> Result<String> {
    let mut text = String::from("[Unit]\n");
    for (name, key) in [("after", "After"), ("partOf", "PartOf")] {
        for unit in words(at(settings, name)) {
            writeln!(text, "{key}={unit}")?;
        }
    }
    for (name, key) in
        [("restartIfChanged", "X-RestartIfChanged"), ("stopIfChanged", "X-StopIfChanged")]
    {
        if at(settings, name) == &Value::Bool(false) {
            writeln!(text, "{key}=false")?;
        }
    }
    let path = words(at(settings, "path"));
    if !path.is_empty() {
        let path: Vec<String> = path.iter().map(|package| format!("{package}/bin")).collect();
        writeln!(text, "[Service]\nEnvironment=\"PATH={}\"", path.join(":"))?;
    }
    for (name, section) in [("serviceConfig", "Service"), ("pathConfig", "Path")] {
        let Some(keys) = at(settings, name).as_object() else { continue };
        writeln!(text, "[{section}]")?;
        for (key, value) in keys {
            let values = if value.is_array() { words(value) } else { vec![word(value)] };
            for value in values {
                writeln!(text, "{key}={value}")?;
            }
        }
    }
    Ok(text)
}

fn link(target: &str, link: &Path) -> Result<()> {
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    symlink(target, link).with_context(|| format!("cannot make {}", link.display()))
}

/// A program of a tree that is not booted; what it prints. Nix looks for itself in /proc.
fn within(root: &Path, argv: &[&str]) -> Result<String> {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let mut unshare = Command::new("unshare");
    unshare.args(["--fork", "--pid", "--root"]).arg(root).arg("--mount-proc").args(argv);
    run(unshare.env("PATH", path).env("HOME", "/root"))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}): {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What is there, or null.
fn at<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn map(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().context("the evaluation lacks something")
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(word).collect()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
