//! The findings as people and programs read them.

use serde_json::{Value, json};

use super::finding::{Finding, Mark, Next};
use super::say;
use crate::terminal::{Colour, Terminal, printable};

/// More of one check tell nothing new to people; `--json` has them all.
const SHOWN: usize = 5;

/// One line per finding below the name of its group, and the next move below that.
pub(crate) fn render(findings: &[Finding], terminal: Terminal) -> String {
    let name = |check: &'static str| check.split_once('.').map_or(check, |(_, name)| name);
    let width = findings.iter().map(|finding| name(finding.check).len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut group = "";
    let mut rest = findings;
    while let [first, ..] = rest {
        let of_check = rest.iter().take_while(|it| it.check == first.check).count();
        let (same, others) = rest.split_at(of_check);
        rest = others;
        let its_group = first.check.split_once('.').map_or(first.check, |(group, _)| group);
        if its_group != group {
            group = its_group;
            text.push_str(&format!("{}\n", terminal.paint(Colour::Faint, say::group(group))));
        }
        let mut shown = same.iter().take(SHOWN).peekable();
        while let Some(finding) = shown.next() {
            let (word, colour) = match finding.mark {
                Mark::Ok => ("ok  ", Colour::Good),
                Mark::Skipped => ("skip", Colour::Faint),
                Mark::Warning => ("warn", Colour::Busy),
                Mark::Failure => ("FAIL", Colour::Bad),
            };
            let word = terminal.paint(colour, word);
            let check = name(finding.check);
            let sentence = printable(&finding.sentence);
            text.push_str(&format!("  {word}  {check:width$}  {sentence}\n"));
            // What helps several of them stands once: below the last, or at the end of all.
            if finding.mark == Mark::Skipped {
                continue;
            }
            if shown.peek().is_some_and(|below| below.next == finding.next) {
                continue;
            }
            let (verb, words) = match &finding.next {
                Some(Next::Run(command)) => ("run", command),
                Some(Next::Do(words)) => ("do", words),
                None => continue,
            };
            text.push_str(&format!("{}{verb}: {}\n", below(width), printable(words)));
        }
        if let Some(more @ 1..) = of_check.checked_sub(SHOWN) {
            text.push_str(&format!("{}{}\n", below(width), say::more(more)));
        }
    }
    let count = |mark| findings.iter().filter(|finding| finding.mark == mark).count();
    let (failed, warned) = (count(Mark::Failure), count(Mark::Warning));
    let colour = match (failed, warned) {
        (0, 0) => Colour::Good,
        (0, _) => Colour::Busy,
        _ => Colour::Bad,
    };
    let total = say::total(count(Mark::Ok), warned, failed, count(Mark::Skipped));
    text.push_str(&format!("\n{}\n", terminal.paint(colour, &total)));
    if findings.iter().any(|it| it.mark == Mark::Skipped && it.next.is_some()) {
        text.push_str(&format!("{}\n", say::as_root()));
    }
    text
}

/// Below a sentence: mark and name are before it, with two spaces around each.
fn below(width: usize) -> String {
    " ".repeat(width + 10)
}

/// The findings for programs, and whether all is well.
pub(super) fn json(findings: &[Finding]) -> Value {
    json!({
        "ok": findings.iter().all(|finding| finding.mark != Mark::Failure),
        "findings": each(findings),
    })
}

/// Each of the findings for programs.
pub(crate) fn each(findings: &[Finding]) -> Vec<Value> {
    let one = |finding: &Finding| {
        let (next, command) = match &finding.next {
            Some(Next::Run(command)) => (Some(command), Some(command)),
            Some(Next::Do(words)) => (Some(words), None),
            None => (None, None),
        };
        json!({
            "check": finding.check,
            "mark": finding.mark,
            "message": finding.sentence,
            "next": next,
            "command": command,
        })
    };
    findings.iter().map(one).collect()
}
