//! Where programs report: the journal with its fields under systemd, the terminal otherwise.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends this program's events to the journal if systemd connected its stderr to it
/// (`$JOURNAL_STREAM`, systemd.exec(5)), and to stderr otherwise. Call it once, first.
pub fn log_to_journal() {
    let journal = std::env::var_os("JOURNAL_STREAM")
        .is_some()
        .then(|| tracing_journald::layer().ok())
        .flatten()
        .map(|layer| layer.with_field_prefix(Some("KENNEL".into())));
    let terminal = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
    });
    // A subscriber that is set already is a test's, and stays.
    let _already_set = tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(journal)
        .with(terminal)
        .try_init();
}
