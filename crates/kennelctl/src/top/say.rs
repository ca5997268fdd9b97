//! What `kennelctl top` says.

use std::time::Duration;

pub(crate) fn nothing() -> &'static str {
    "Nobody has asked for anything since the router started.\n"
}

/// `0`, `0.4`, `12`, `3.4k`.
pub(super) fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{value:.1}"),
        ..9999.5 => format!("{value:.0}"),
        ..999_500.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

/// `0 B`, `12 KiB`, `3.4 MiB`.
pub(super) fn bytes(value: f64) -> String {
    let mut value = value;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" || value >= 9.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `0.4 ms`, `12 ms`, `1.2 s`; above the last class only that is known.
pub(super) fn duration(span: Duration, is_least: bool) -> String {
    let millis = span.as_secs_f64() * 1e3;
    let more = if is_least { "> " } else { "" };
    match millis {
        ..9.95 => format!("{more}{millis:.1} ms"),
        ..999.5 => format!("{more}{millis:.0} ms"),
        _ => format!("{more}{:.1} s", millis / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rates = [0.0, 0.04, 0.4, 9.96, 123.4, 9999.0, 12_340.0, 4_000_000.0].map(rate);
        assert_eq!(rates.join(" "), "0 0.0 0.4 10 123 9999 12.3k 4.0M");
        let sizes = [0.0, 999.0, 1000.0, 20_000.0, 5e6, 5e13].map(bytes);
        assert_eq!(sizes.join(", "), "0 B, 999 B, 1.0 KiB, 20 KiB, 4.8 MiB, 46566 GiB");
        let spans = [400, 12_000, 1_200_000].map(|us| duration(Duration::from_micros(us), false));
        assert_eq!(spans.join(", "), "0.4 ms, 12 ms, 1.2 s");
        assert_eq!(duration(Duration::from_secs(10), true), "> 10.0 s");
    }
}
