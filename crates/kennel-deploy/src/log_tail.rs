//! The last lines that a service wrote, for the reason of its failure.

use kennel_core::UnitName;
use tokio::process::Command;
use tracing::warn;

/// How many lines a reason carries.
const LINES: &str = "12";

/// The most characters a reason carries of them.
const MOST: usize = 2_000;

/// `; its last lines:` and the lines that the unit's processes wrote, or nothing.
pub(crate) async fn tail(unit: &UnitName) -> String {
    // Lines of the service itself, not systemd's about it: those are in `how` already.
    let by_unit = format!("_SYSTEMD_UNIT={unit}");
    let journal = Command::new("journalctl")
        .args(["--no-pager", "--quiet", "--output=cat", "--lines", LINES, &by_unit])
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/run/current-system/sw/bin")
        .output()
        .await;
    match journal {
        Ok(output) => shorten(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => {
            warn!("reading the journal of {unit}: {error}, ignoring: the reason has no last lines");
            String::new()
        }
    }
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
