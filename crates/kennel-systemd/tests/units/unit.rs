//! A unit file, and what it sets.

use std::fs;
use std::path::Path;

use crate::repository;

/// A unit file or a drop-in.
pub(crate) struct Unit {
    /// Below `units/`.
    pub(crate) name: String,
    pub(crate) settings: Vec<Setting>,
}

pub(crate) struct Setting {
    /// Which section of the file, from 0.
    pub(crate) section: usize,
    pub(crate) key: String,
    pub(crate) value: String,
    /// Whether a comment stands above it, or above others of its key right before it.
    pub(crate) explained: bool,
}

impl Unit {
    pub(crate) fn load(name: &str) -> Self {
        let text = fs::read_to_string(repository().join("units").join(name)).unwrap();
        let mut settings: Vec<Setting> = Vec::new();
        let (mut section, mut comment) = (0, false);
        for line in text.lines() {
            if line.starts_with('#') {
                comment = true;
                continue;
            }
            if line.starts_with('[') {
                section += 1;
            } else if let Some((key, value)) = line.split_once('=') {
                let explained = comment
                    || settings.last().is_some_and(|last| last.key == key && last.explained);
                let (key, value) = (key.to_owned(), value.to_owned());
                settings.push(Setting { section, key, value, explained });
            }
            comment = false;
        }
        Self { name: name.to_owned(), settings }
    }

    pub(crate) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let settings = self.settings.iter().filter(move |setting| setting.key == key);
        settings.map(|setting| setting.value.as_str())
    }

    pub(crate) fn says(&self, setting: &str) -> bool {
        let (key, value) = setting.split_once('=').unwrap();
        self.values(key).any(|found| found == value)
    }

    /// The programs of Kennel's that it starts.
    pub(crate) fn programs(&self) -> impl Iterator<Item = String> {
        let commands = self.settings.iter().filter(|setting| setting.key.starts_with("Exec"));
        commands.filter_map(|setting| {
            let program = setting.value.split_whitespace().next()?;
            program.strip_prefix("/usr/lib/kennel/").map(str::to_owned)
        })
    }
}

/// Every file below `units/`.
pub(crate) fn all() -> Vec<Unit> {
    fn walk(directory: &Path, below: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(&repository().join("units"), "", &mut names);
    assert!(names.len() > 10, "{names:?}");
    names.iter().map(|name| Unit::load(name)).collect()
}

#[test]
fn keys_are_sorted_within_sections() {
    for unit in all() {
        let keys = unit.settings.iter().map(|setting| (setting.section, &setting.key));
        assert!(keys.is_sorted(), "{}", unit.name);
    }
}
