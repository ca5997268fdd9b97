//! ARCHITECTURE.md's picture of the crates, compared with the crates.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What kennel-core never links, also not through another crate of the workspace: it does no I/O.
const NEVER_IN_CORE: [&str; 4] = ["rusqlite", "rustix", "tokio", "zbus"];

#[test]
fn the_picture_shows_the_crates() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let (_, picture) = text.split_once("```text\n").unwrap();
    let (picture, _) = picture.split_once("```").unwrap();
    let drawn: BTreeMap<_, _> = picture
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            (name, words.filter(|word| word.starts_with("kennel")).map(str::to_owned).collect())
        })
        .collect();
    let there: BTreeMap<String, BTreeSet<String>> = fs::read_dir(repository().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "xtask")
        .map(|name| {
            let own = dependencies(&name).into_iter().filter(|other| other.starts_with("kennel"));
            let own = own.collect();
            (name, own)
        })
        .collect();
    assert_eq!(drawn, there);
}

#[test]
fn the_core_does_no_io() {
    let core = dependencies("kennel-core");
    assert!(core.contains("serde"), "{core:?}");
    for never in NEVER_IN_CORE {
        assert!(!core.contains(never), "kennel-core has gained {never}");
    }
}

/// Names in `[dependencies]`, optional ones among them.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = repository().join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
