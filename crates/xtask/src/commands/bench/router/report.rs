//! The tables, as Markdown: for the terminal and for docs/performance.md.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cases::{CASES, Case, Goal, KEPT, Layout};
use super::figures::Figures;
use super::ground::{Ground, HOSTS};
use super::proxies::Who;

/// What stands between these is written by this program.
const BEGIN: &str = "<!-- written by `cargo xtask bench router --write` -->";
const END: &str = "<!-- until here -->";
/// The most that a connection at rest may take, in bytes.
const AT_REST: f64 = 24.0 * 1024.0;

/// All tables.
pub(super) fn markdown(ground: &Ground, figures: &Figures) -> String {
    let mut text = format!(
        "{ground}. {} rounds of {} s, medians; {} turns were done again because others had used more \
         than a tenth of a core, and {} count although they did.\n",
        figures.rounds, figures.seconds, figures.disturbed, figures.accepted
    );
    requests(&mut text, figures);
    kept(&mut text, figures);
    routes(&mut text, figures);
    half_load(&mut text, figures);
    idle(&mut text, figures);
    text
}

/// Replaces what this program wrote before.
pub(super) fn write(root: &Path, text: &str) -> Result<()> {
    let path = root.join("docs/performance.md");
    let old = fs::read_to_string(&path)?;
    let missing = || format!("{} has not the line {BEGIN} or {END}", path.display());
    let (before, rest) = old.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    fs::write(&path, format!("{before}{BEGIN}\n{text}\n{END}{after}"))?;
    println!("written into {}", path.display());
    Ok(())
}

/// Each case: requests a second and CPU for each.
fn requests(text: &mut String, figures: &Figures) {
    let measured = |case: &&Case| case.who.iter().any(|it| figures.row(case.name, *it).is_some());
    let cases: Vec<&Case> = CASES.iter().filter(measured).collect();
    if cases.is_empty() {
        return;
    }
    line(text, &["a second", "nginx", "HAProxy", "Kennel", "to nginx", "to HAProxy", "wanted"]);
    line(text, &["---", "--:", "--:", "--:", "--:", "--:", "---"]);
    for case in &cases {
        let rate = |who| figures.rate(case.name, who);
        let mut cells = vec![case.title.to_owned()];
        cells.extend(each(|who| cell(figures, case, who, rate(who))));
        let goals = case.goals.iter().filter(|goal| matches!(goal, Goal::Rate(..)));
        cells.extend([
            times(rate(Who::Kennel), rate(Who::Nginx)),
            times(rate(Who::Kennel), rate(Who::Haproxy)),
            goals.map(|goal| wanted(figures, case, *goal)).collect::<Vec<_>>().join("; "),
        ]);
        line(text, &cells);
    }
    text.push('\n');
    line(text, &["CPU, µs", "nginx", "HAProxy", "Kennel", "to nginx", "to HAProxy", "wanted"]);
    line(text, &["---", "--:", "--:", "--:", "--:", "--:", "---"]);
    for case in &cases {
        let cpu = |who| figures.cpu(case.name, who);
        let mut cells = vec![case.title.to_owned()];
        cells.extend(each(|who| cell(figures, case, who, cpu(who))));
        let goals = case.goals.iter().filter(|goal| matches!(goal, Goal::Cpu(..)));
        cells.extend([
            times(cpu(Who::Kennel), cpu(Who::Nginx)),
            times(cpu(Who::Kennel), cpu(Who::Haproxy)),
            goals.map(|goal| wanted(figures, case, *goal)).collect::<Vec<_>>().join("; "),
        ]);
        line(text, &cells);
    }
    let idle: Vec<String> = cases
        .iter()
        .filter(|case| case.layout == Layout::Own)
        .flat_map(|case| {
            let idle = [Who::Nginx, Who::Haproxy, Who::Kennel].into_iter().filter(|who| {
                figures.row(case.name, *who).is_some_and(|row| row.cores.median() < 0.9)
            });
            idle.map(|who| format!("{who} in `{}`", case.name)).collect::<Vec<_>>()
        })
        .collect();
    if !idle.is_empty() {
        let _ = writeln!(
            text,
            "\nThese used less than 0.9 of their core, so that what loaded them or stood behind them was \
             the limit, and CPU is what compares them: {}.",
            idle.join(", ")
        );
    }
}

/// The slowest of a hundred with all that each can do.
fn kept(text: &mut String, figures: &Figures) {
    let p99 = |who| figures.row(KEPT, who).map(|row| row.p99.median());
    let Some((nginx, haproxy, kennel)) =
        p99(Who::Nginx).zip(p99(Who::Haproxy)).zip(p99(Who::Kennel)).map(|((n, h), k)| (n, h, k))
    else {
        return;
    };
    let reached = if kennel <= nginx { "reached" } else { "**missed**" };
    let _ = writeln!(
        text,
        "\n1 KiB, kept connections, saturated, p99 in ms: nginx {nginx:.2}, HAProxy {haproxy:.2}, Kennel \
         {kennel:.2} (at most nginx's: {reached})."
    );
}

/// Kennel beside itself.
fn routes(text: &mut String, figures: &Figures) {
    let all = [Who::Kennel, Who::OneRoute, Who::Changing];
    let known: Vec<_> = all
        .iter()
        .filter_map(|who| Some((who, figures.rate(KEPT, *who)?, figures.cpu(KEPT, *who)?)))
        .collect();
    if known.len() < all.len() {
        return;
    }
    let _ = writeln!(text, "\nKennel with 1 KiB over kept connections:\n");
    line(text, &["", "a second", "CPU, µs"]);
    line(text, &["---", "--:", "--:"]);
    for (who, rate, cpu) in known {
        let title = match who {
            Who::OneRoute => "one host".to_owned(),
            Who::Changing => format!("{HOSTS} hosts, a route changes ten times a second"),
            Who::Kennel | Who::Nginx | Who::Haproxy => format!("{HOSTS} hosts"),
        };
        line(text, &[title, number(rate), number(cpu)]);
    }
}

fn half_load(text: &mut String, figures: &Figures) {
    if figures.paced.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n1 KiB, {} requests a second evenly, half of what the slowest can do:\n",
        number(figures.paced_at)
    );
    line(text, &["ms", "p50", "p99", "p99.9", "CPU, µs"]);
    line(text, &["---", "--:", "--:", "--:", "--:"]);
    for (who, paced) in &figures.paced {
        let ms = |number: f64| format!("{number:.3}");
        line(
            text,
            &[
                who.to_string(),
                ms(paced.p50.median()),
                ms(paced.p99.median()),
                ms(paced.p999.median()),
                number(paced.cpu.median()),
            ],
        );
    }
    let p99 = |who| figures.paced.get(&who).map(|it| it.p99.median());
    if let Some((ours, theirs)) = p99(Who::Kennel).zip(p99(Who::Nginx)) {
        let reached = if ours <= theirs { "reached" } else { "**missed**" };
        let _ = writeln!(text, "\np99 at most nginx's: {reached}.");
    }
}

fn idle(text: &mut String, figures: &Figures) {
    if figures.idle.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nConnections at rest, five seconds after one request each (PSS of all processes):\n"
    );
    line(text, &["", "connections", "KiB each", "MiB before"]);
    line(text, &["---", "--:", "--:", "--:"]);
    for (who, it) in &figures.idle {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let before = it.before as f64 / f64::from(1 << 20);
        let each = format!("{:.2}", it.each / 1024.0);
        line(text, &[who.to_string(), it.connections.to_string(), each, number(before)]);
    }
    let each = |who| figures.idle.get(&who).map(|it| it.each);
    if let Some((ours, theirs)) = each(Who::Kennel).zip(each(Who::Nginx)) {
        let reached = if ours <= theirs.min(AT_REST) { "reached" } else { "**missed**" };
        let _ = writeln!(text, "\nAt most nginx's, and 24 KiB: {reached}.");
    }
}

fn each<T>(of: impl Fn(Who) -> T) -> [T; 3] {
    [Who::Nginx, Who::Haproxy, Who::Kennel].map(of)
}

fn cell(figures: &Figures, case: &Case, who: Who, median: Option<f64>) -> String {
    let failed = figures.row(case.name, who).and_then(|row| row.failed.clone());
    match (median, failed) {
        (Some(median), None) => number(median),
        (Some(median), Some(failed)) => format!("{} ({failed})", number(median)),
        (None, Some(failed)) => failed,
        (None, None) => "–".to_owned(),
    }
}

fn times(ours: Option<f64>, theirs: Option<f64>) -> String {
    ours.zip(theirs).map_or("–".to_owned(), |(ours, theirs)| format!("{:.2}", ours / theirs))
}

fn wanted(figures: &Figures, case: &Case, goal: Goal) -> String {
    let (sentence, who, reached): (_, _, fn(f64, f64, f64) -> bool) = match goal {
        Goal::Rate(who, times) => (format!("{times} {who}"), (who, times), |a, b, t| a >= b * t),
        Goal::Cpu(who, times) => (format!("{times} {who}"), (who, times), |a, b, t| a <= b * t),
    };
    let of = |who| match goal {
        Goal::Rate(..) => figures.rate(case.name, who),
        Goal::Cpu(..) => figures.cpu(case.name, who),
    };
    let (who, times) = who;
    match of(Who::Kennel).zip(of(who)) {
        Some((ours, theirs)) if reached(ours, theirs, times) => format!("{sentence}: reached"),
        Some(_) => format!("{sentence}: **missed**"),
        None => sentence,
    }
}

fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// Three digits at least, thousands apart.
fn number(number: f64) -> String {
    if number < 9.995 {
        return format!("{number:.2}");
    }
    if number < 999.5 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        let all = [0.0, 1.234, 12.34, 123.4, 999.9, 1234.5, 84_098.0, 1_234_567.0];
        assert_eq!(
            all.map(number),
            ["0.00", "1.23", "12.3", "123.4", "1,000", "1,234", "84,098", "1,234,567"]
        );
    }
}
