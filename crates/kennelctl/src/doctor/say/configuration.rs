//! What `kennelctl check` finds, in short.

use crate::doctor::finding::Finding;

const CONFIGURATION: &str = "configuration.files";

pub(in crate::doctor) fn configuration_good(notes: usize) -> Finding {
    let notes = match notes {
        0 => String::new(),
        1 => ", with 1 note".to_owned(),
        n => format!(", with {n} notes"),
    };
    Finding::ok(CONFIGURATION, format!("`kennelctl check` finds no error{notes}"))
}

pub(in crate::doctor) fn configuration_wrong(errors: usize, first: &str) -> Finding {
    let more = match errors {
        1 => String::new(),
        n => format!(" (the first of {n} errors)"),
    };
    Finding::failure(CONFIGURATION, format!("{first}{more}")).run("kennelctl check")
}

pub(in crate::doctor) fn configuration_unread(places: usize) -> Finding {
    Finding::skipped(CONFIGURATION, format!("{places} places may not be read"))
        .run("sudo kennelctl doctor")
}
