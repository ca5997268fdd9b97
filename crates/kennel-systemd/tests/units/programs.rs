//! What the units start.

use std::collections::BTreeSet;

use crate::unit::all;
use crate::{SANDBOXED, repository};

#[test]
fn every_program_runs_in_a_sandbox() {
    let programs: BTreeSet<_> = all()
        .into_iter()
        .filter(|unit| unit.programs().next().is_some())
        .map(|unit| unit.name)
        .collect();
    assert_eq!(programs, SANDBOXED.map(str::to_owned).into());
}

#[test]
fn every_program_is_one_of_the_workspace() {
    for unit in all() {
        for program in unit.programs() {
            let source = repository().join("crates").join(&program).join("src/main.rs");
            assert!(source.is_file(), "{} starts {program}, and there is none", unit.name);
        }
    }
}
