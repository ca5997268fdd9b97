//! The last lines that a service wrote, for the reason of its failure.

use std::io;
use std::time::Duration;

use kennel_core::UnitName;
use tokio::process::Command;
use tokio::time::timeout;
use tracing::warn;

/// How many lines a reason carries.
const LINES: &str = "12";

/// The most characters a reason carries of them.
const MOST: usize = 2_000;

/// How long the journal may take: one service that writes without end must not hold up the
/// failures of others, and the old one serves meanwhile.
const SYNC: Duration = Duration::from_secs(3);

/// `; its last lines:` and the lines that the unit's processes wrote, or nothing.
pub(crate) async fn tail(unit: &UnitName) -> String {
    if let Err(error) = written().await {
        warn!("waiting for the journal: {error}, ignoring: the last lines may be missing");
    }
    // Lines of the service itself, not systemd's about it: those are in `how` already.
    let by_unit = format!("_SYSTEMD_UNIT={unit}");
    let last = ["--no-pager", "--quiet", "--output=cat", "--lines", LINES, &by_unit];
    match journalctl(&last).output().await {
        Ok(output) => shorten(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => {
            warn!("reading the journal of {unit}: {error}, ignoring: the reason has no last lines");
            String::new()
        }
    }
}

/// systemd's word for how the unit ended last, as it stands in `Result=` until the unit starts again
/// (`SD_MESSAGE_UNIT_FAILURE_RESULT` of sd-messages.h). After [`tail`], which waits for it.
pub(crate) async fn result(unit: &UnitName) -> Option<String> {
    const FAILURE_RESULT: &str = "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c";
    let by_manager = ["_PID=1", FAILURE_RESULT, &format!("UNIT={unit}")];
    let last = ["--no-pager", "--quiet", "--output=cat", "--output-fields=UNIT_RESULT"];
    match journalctl(&last).args(["--lines", "1"]).args(by_manager).output().await {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => {
            warn!("reading how {unit} ended: {error}, ignoring: the reason does not say it");
            None
        }
    }
    .filter(|word| !word.is_empty())
}

/// Waits until the journal has what was said until now: a service that ends at once has ended
/// before its last words are written.
async fn written() -> io::Result<()> {
    let sync = timeout(SYNC, journalctl(&["--sync"]).kill_on_drop(true).output());
    let sync = sync.await.map_err(|_elapsed| io::Error::other("it is too busy"))??;
    if sync.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&sync.stderr).trim().to_owned()))
}

fn journalctl(arguments: &[&str]) -> Command {
    let mut command = Command::new("journalctl");
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin:/run/current-system/sw/bin");
    command
}

fn shorten(lines: &str) -> String {
    let lines = lines.trim_end();
    if lines.is_empty() {
        return String::new();
    }
    let from = lines.char_indices().rev().nth(MOST).map_or(0, |(index, _)| index);
    let cut = if from > 0 { "..." } else { "" };
    format!("; its last lines:\n{cut}{}", lines.get(from..).unwrap_or(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_for_a_silent_service_and_a_bound_for_a_loud_one() {
        assert_eq!(shorten("\n"), "");
        assert_eq!(shorten("a\nb\n"), "; its last lines:\na\nb");
        assert!(shorten(&"ä".repeat(9_000)).chars().count() < MOST + 40);
    }
}
