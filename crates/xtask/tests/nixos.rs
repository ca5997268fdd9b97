//! The NixOS module's list of settings, compared with what the programs know.
#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kennel_core::config::{HostConfig, ProjectConfig};
use toml::{Table, Value};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The rows of a list in `nixos/settings.toml`.
fn rows(list: &str) -> Vec<Table> {
    let text = fs::read_to_string(repository().join("nixos/settings.toml")).unwrap();
    let all: Table = text.parse().unwrap();
    let row = |row: &Value| row.as_table().unwrap().clone();
    all.get(list).unwrap().as_array().unwrap().iter().map(row).collect()
}

fn key(row: &Table) -> &str {
    row["key"].as_str().unwrap()
}

/// What the settings say with one value each: the examples, but for those that are given here.
fn file(rows: &[Table], (name, value): (&str, &Value)) -> String {
    let mut file = Table::new();
    for row in rows {
        let value = if key(row) == name { value } else { &row["example"] };
        let mut parts: Vec<&str> = key(row).split('.').collect();
        let last = parts.pop().unwrap();
        let table = parts.into_iter().fold(&mut file, |table, part| {
            let inner = table.entry(part).or_insert_with(|| Table::new().into());
            inner.as_table_mut().unwrap()
        });
        table.insert(last.to_owned(), value.clone());
    }
    file.to_string()
}

/// The keys that the programs know where they do not know `q`.
fn known(problem: &impl Display) -> BTreeSet<String> {
    let text = problem.to_string();
    let (_, keys) = text.split_once("known keys here are ").unwrap_or_else(|| panic!("{text}"));
    keys.trim().split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

fn host(text: &str) -> Result<(), String> {
    HostConfig::parse(text, "config.toml").map(drop).map_err(|problem| problem.to_string())
}

fn project(text: &str) -> Result<(), String> {
    let project = ProjectConfig::parse("shop".parse().unwrap(), text, "shop.toml");
    project.map(drop).map_err(|problem| problem.to_string())
}

type Parse = fn(&str) -> Result<(), String>;

const LISTS: [(&str, Parse); 2] = [("host", host), ("project", project)];

#[test]
fn every_key_is_an_option_and_every_option_a_key() {
    const UNKNOWN: &str = "qqqqqqqqqqqqqqqq = 1\n";
    for (list, parse) in LISTS {
        let rows = rows(list);
        let top: BTreeSet<_> =
            rows.iter().map(|row| key(row).split('.').next().unwrap().to_owned()).collect();
        assert_eq!(top, known(&parse(UNKNOWN).unwrap_err()), "{list}");
        // `acme` and `acme.dns` of `acme.dns.server`.
        let above = |row| key(row).match_indices('.').map(|(at, _)| &key(row)[..at]);
        let tables: BTreeSet<_> = rows.iter().flat_map(above).collect();
        let required: Vec<_> = rows.iter().filter(|row| row.contains_key("required")).collect();
        let required = required.iter().map(|row| format!("{} = {}\n", key(row), row["example"]));
        let required: String = required.collect();
        for table in tables {
            let inside = |row: &Table| {
                let rest = key(row).strip_prefix(table)?.strip_prefix('.')?;
                rest.split('.').next().map(str::to_owned)
            };
            let options: BTreeSet<String> = rows.iter().filter_map(inside).collect();
            let text = format!("{required}[{table}]\n{UNKNOWN}");
            assert_eq!(options, known(&parse(&text).unwrap_err()), "[{table}] of {list}");
        }
    }
}

#[test]
fn what_options_take_kennel_takes() {
    for (list, parse) in LISTS {
        let rows = rows(list);
        for row in &rows {
            // With its example, and at both ends of its range.
            for name in ["example", "from", "to"] {
                if let Some(value) = row.get(name) {
                    let text = file(&rows, (key(row), value));
                    parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
                }
            }
        }
    }
}

#[test]
fn beyond_its_range_neither_takes_a_number() {
    for (list, parse) in LISTS {
        let rows = rows(list);
        for row in rows.iter().filter(|row| row["type"].as_str() == Some("count")) {
            for beyond in
                [row["from"].as_integer().unwrap() - 1, row["to"].as_integer().unwrap() + 1]
            {
                let text = file(&rows, (key(row), &beyond.into()));
                let problem = parse(&text).unwrap_err();
                let name = key(row).rsplit('.').next().unwrap();
                assert!(
                    problem.contains(name),
                    "{list} takes {beyond} for {}: {problem}",
                    key(row)
                );
            }
        }
    }
}

/// What the package makes of `units/`: the same lines, but for where programs are, and one path.
#[test]
fn units_differ_from_debians_in_paths_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (programs, out) = (folder.path().join("programs"), folder.path().join("out"));
    fs::create_dir(&programs).unwrap();
    let product: Vec<_> = fs::read_dir(repository().join("crates")).unwrap().collect();
    for name in product.into_iter().map(|entry| entry.unwrap().file_name()) {
        fs::write(programs.join(name), "").unwrap();
    }
    let install = Command::new("sh")
        .arg(repository().join("nixos/install"))
        .args([&repository(), &programs, &out])
        .output()
        .unwrap();
    assert!(install.status.success(), "{install:?}");

    let made = out.join("lib/systemd/system");
    let lib = format!("{}/lib/kennel/", out.display());
    let mut changed = BTreeSet::new();
    let mut units = 0;
    for unit in found_below(&repository().join("units")) {
        let name = unit.strip_prefix(repository().join("units")).unwrap();
        let (own, debians) = (fs::read_to_string(made.join(name)), fs::read_to_string(&unit));
        let (own, debians) = (own.unwrap(), debians.unwrap());
        assert_eq!(own.lines().count(), debians.lines().count(), "{}", name.display());
        for (own, debians) in own.lines().zip(debians.lines()).filter(|(own, it)| own != it) {
            if let Some((key, command)) = debians.split_once("=/usr/lib/kennel/") {
                assert_eq!(own, format!("{key}={lib}{command}"));
                let program = command.split(' ').next().unwrap();
                assert!(out.join("lib/kennel").join(program).is_file(), "{program}");
            } else {
                changed.insert(format!("{debians}\n{own}"));
            }
        }
        // Nothing in it leads to where NixOS has nothing.
        for line in own.lines().filter(|line| !line.starts_with('#')) {
            let gone = ["/usr/", "/bin/", "/sbin/"].iter().find(|it| {
                line.replace(&lib, "").replace("/run/current-system/sw/bin/", "").contains(*it)
            });
            assert_eq!(gone, None, "{line}");
        }
        units += 1;
    }
    assert_eq!(found_below(&made).len(), units, "there are units of nobody's");
    assert_eq!(
        changed.into_iter().collect::<Vec<_>>(),
        [
            "ExecStart=systemctl stop kennel-webhook.service\n\
             ExecStart=/run/current-system/sw/bin/systemctl stop kennel-webhook.service",
            "ReadWritePaths=-/etc/systemd/system /run/systemd/system\n\
             ReadWritePaths=/run/systemd/system",
        ]
    );
}

fn found_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(found_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Whoever adds a program to the product adds it to the package.
#[test]
fn the_package_builds_what_units_start() {
    let package = fs::read_to_string(repository().join("nixos/package.nix")).unwrap();
    for entry in fs::read_dir(repository().join("units")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((_, program)) = line.split_once("=/usr/lib/kennel/") else { continue };
            let program = program.split(' ').next().unwrap();
            assert!(package.contains(&format!("\"{program}\"")), "{program}");
        }
    }
}
