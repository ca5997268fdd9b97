//! ARCHITECTURE.md against the code: the crate graph it draws, and what must not be linked where.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken set-up fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crates with which a program could do I/O, talk to systemd or hold state.
const IMPURE: [&str; 5] = ["tokio", "zbus", "rusqlite", "hyper", "rustix"];

/// The system that cargo builds for here.
fn host() -> String {
    let output = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

struct Graph {
    /// Normal dependencies by package id.
    edges: BTreeMap<String, Vec<String>>,
    /// Names of all packages by id.
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        // Crates for other systems are not there on a machine that has only built for its own.
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--offline"])
            .args(["--filter-platform", &host()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let names = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let members = list(&metadata["workspace_members"]).iter().map(text).collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let normal = list(&node["deps"]).into_iter().filter(|dependency| {
                    list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
                });
                (text(&node["id"]), normal.map(|dependency| text(&dependency["pkg"])).collect())
            })
            .collect();
        Self { edges, names, members }
    }

    fn id(&self, name: &str) -> &str {
        self.members.iter().find(|id| self.names[*id] == name).unwrap()
    }

    /// The workspace's own crates that a member depends on directly.
    fn own(&self, member: &str) -> BTreeSet<&str> {
        let dependencies = self.edges[self.id(member)].iter();
        dependencies.filter(|id| self.members.contains(*id)).map(|id| &*self.names[id]).collect()
    }

    /// Everything that a member links.
    fn all(&self, member: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![self.id(member).to_owned()];
        while let Some(id) = waiting.pop() {
            for dependency in &self.edges[&id] {
                if found.insert(&*self.names[dependency]) {
                    waiting.push(dependency.clone());
                }
            }
        }
        found
    }
}

/// The crates of the block in ARCHITECTURE.md that draws the graph, each with those it names.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let block = text.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    block
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            (name, words.filter(|word| word.starts_with("kennel-")).map(String::from).collect())
        })
        .collect()
}

#[test]
fn the_crate_graph_is_the_one_that_is_drawn() {
    let graph = Graph::read();
    for (name, drawn) in &drawn() {
        let drawn: BTreeSet<&str> = drawn.iter().map(String::as_str).collect();
        assert_eq!(graph.own(name), drawn, "ARCHITECTURE.md draws {name} otherwise");
    }
    let drawn: BTreeSet<String> = drawn().into_keys().collect();
    let members = graph.members.iter().map(|id| graph.names[id].clone());
    let product: BTreeSet<String> =
        members.filter(|name| name != "xtask" && name != "kennel-tests").collect();
    assert_eq!(drawn, product, "ARCHITECTURE.md draws other crates than there are");
}

#[test]
fn invariants_that_are_absences() {
    let graph = Graph::read();
    let core = graph.all("kennel-core");
    for crate_name in IMPURE {
        assert!(!core.contains(crate_name), "kennel-core links {crate_name}");
    }
    let router = graph.all("kennel-router");
    assert!(!router.contains("rusqlite"), "the router opens a database");
    for program in ["kennel-router", "kennel-webhook"] {
        // Features are per crate: whoever faces the internet must not have asked for D-Bus.
        let manifest = format!("{}/../{program}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert!(!manifest.contains("\"dbus\""), "{program} speaks D-Bus");
    }
}
