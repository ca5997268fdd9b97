//! The manual as it is installed: each page reads without a warning, each unit has one, and the
//! pages of files name the keys that the programs know.
#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kennel_core::config::{HostConfig, Manifest, Problem, ProjectConfig};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The program that `cargo test` of the workspace has made beside this test; made here only if it
/// did not, since cargo would compile half of it again for this package alone.
fn kennelctl() -> PathBuf {
    let made = std::env::current_exe().unwrap();
    let made = made.parent().unwrap().parent().unwrap().join("kennelctl");
    if made.exists() {
        return made;
    }
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "kennelctl", "--message-format", "json"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut made = lines.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    made.next_back().unwrap()
}

fn pages(directory: &Path) -> Vec<PathBuf> {
    let sections = fs::read_dir(directory).unwrap().map(|section| section.unwrap().path());
    let mut pages: Vec<_> = sections
        .flat_map(|section| fs::read_dir(section).unwrap())
        .map(|page| page.unwrap().path())
        .collect();
    pages.sort();
    pages
}

/// What a program that reads pages has to say of one; none if it is not installed.
fn said_by(program: &str, arguments: &[&str], page: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(page)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .output()
        .ok()?;
    // mandoc says it on standard output, man beside the page.
    let said = if program == "mandoc" { output.stdout } else { output.stderr };
    Some(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_page_reads_without_a_warning_and_every_reference_leads_somewhere() {
    let directory = tempfile::tempdir().unwrap();
    xtask::manual::write(&repository(), &kennelctl(), directory.path()).unwrap();
    let pages = pages(directory.path());
    let names: BTreeSet<String> =
        pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names.len() >= 17, "{names:?}");
    for page in &pages {
        let shown = page.display();
        if let Some(said) = said_by("man", &["--warnings", "-l"], page) {
            assert_eq!(said, "", "man of {shown}");
        }
        // Above STYLE, which is about the length of lines in the source.
        if let Some(said) = said_by("mandoc", &["-T", "lint", "-W", "warning"], page) {
            assert_eq!(said, "", "mandoc of {shown}");
        }
        let text = fs::read_to_string(page).unwrap().replace("\\-", "-");
        for line in text.lines().filter_map(|line| line.strip_prefix(".BR ")) {
            let Some((name, section)) = line.split_once(" (") else { continue };
            let section = section.split(')').next().unwrap();
            if name.starts_with("kennel") {
                assert!(names.contains(&format!("{name}.{section}")), "{shown} refers to {line}");
            }
        }
    }
    for unit in fs::read_dir(repository().join("units")).unwrap() {
        let unit = unit.unwrap().path();
        if unit.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&unit).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Documentation="));
        let line = line.unwrap_or_else(|| panic!("{} has no Documentation=", unit.display()));
        for reference in line.split(' ') {
            let page = reference.strip_prefix("man:").unwrap().replace('(', ".").replace(')', "");
            assert!(names.contains(&page), "{} names {reference}", unit.display());
        }
    }
}

/// The keys that the program knows where it does not know `q`.
fn known(problem: &Problem) -> BTreeSet<String> {
    let text = problem.to_string();
    let (_, keys) = text.split_once("known keys here are ").unwrap_or_else(|| panic!("{text}"));
    keys.trim().split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

/// The keys in the first column of the tables of a section, those of `[table]` where one is named.
fn documented(section: &str, table: Option<&str>) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let start = text.find(&format!("# {section}\n")).unwrap() + 2;
    let rest = &text[start..];
    let section = rest.split("\n#").next().unwrap();
    let mut keys = BTreeSet::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let first = row.split(" | ").next().unwrap();
        let mut inside = None;
        for part in first.split('`').filter(|part| !part.trim_matches([',', ' ']).is_empty()) {
            match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
                Some(name) => {
                    inside = Some(name);
                    if table.is_none() {
                        // A table within a table stands in the outer one.
                        keys.extend(name.split('.').next().map(str::to_owned));
                    }
                }
                None if inside == table => {
                    keys.insert(part.to_owned());
                }
                None => {}
            }
        }
    }
    keys
}

#[test]
fn the_documents_keys_are_the_programs() {
    let host = |text: &str| known(&HostConfig::parse(text, "config.toml").unwrap_err());
    let config = "`/etc/kennel/config.toml`";
    assert_eq!(documented(config, None), host("qqqqqqqqqqqqqqqq = 1"));
    for table in ["acme.dns", "forks", "limits", "nix"] {
        let keys = host(&format!("base_domain = \"a.b\"\n[{table}]\nqqqqqqqqqqqqqqqq = 1"));
        assert_eq!(documented(config, Some(table)), keys, "[{table}]");
    }
    let project =
        ProjectConfig::parse("site".parse().unwrap(), "qqqqqqqqqqqqqqqq = 1", "site.toml");
    let section = "`/etc/kennel/projects.d/<project>.toml`";
    assert_eq!(documented(section, None), known(&project.unwrap_err()));
    for (section, table) in
        [("`[services.<name>]`", "services"), ("`[static_sites.<name>]`", "static_sites")]
    {
        let text = format!("[{table}.x]\nqqqqqqqqqqqqqqqq = 1");
        let keys = known(&Manifest::parse(&text, "kennel.toml").unwrap_err());
        assert_eq!(documented(section, None), keys, "{section}");
    }
}
