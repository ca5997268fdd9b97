//! What of Nix's many lines says why a build failed.

/// The most lines and bytes of a reason: a screen, and a row.
const MOST_LINES: usize = 20;
const MOST_BYTES: usize = 4 << 10;

/// The essential lines of what Nix printed: its `error:` blocks, the beginning and the end of them
/// if they are long. None if it printed none.
pub(crate) fn excerpt<'l>(lines: impl Iterator<Item = &'l str>) -> Option<String> {
    let mut block: Vec<&str> = Vec::new();
    let mut in_error = false;
    for line in lines {
        // Builders' own lines have their derivation's name before them, so that none of them
        // begins like this. `fatal:` is git, which Nix runs for a flake's inputs.
        if ["error:", "error (", "fatal:"].iter().any(|word| line.starts_with(word)) {
            in_error = true;
        } else if !line.is_empty() && !line.starts_with(' ') {
            in_error = false;
        }
        if in_error {
            block.push(line.strip_prefix("       ").unwrap_or(line));
        }
    }
    drop_hints(&mut block);
    while block.last().is_some_and(|line| line.trim().is_empty()) {
        block.pop();
    }
    if block.is_empty() { None } else { Some(shorten(&block)) }
}

/// What says nothing, or says it for another tool: Kennel keeps full logs, under another name.
fn drop_hints(block: &mut Vec<&str>) {
    block.retain(|line| {
        !line.starts_with("fatal: Could not read from remote repository")
            && !line.starts_with("(stack trace truncated;")
    });
    block.dedup_by(|next, line| next.is_empty() && line.is_empty());
    while let Some(at) = block.iter().position(|line| line.trim() == "For full logs, run:") {
        block.drain(at..block.len().min(at + 2));
    }
}

/// At most 20 lines and 4 KiB of them: the first says where, the last ones say what.
pub(crate) fn shorten(lines: &[&str]) -> String {
    let text = if lines.len() > MOST_LINES {
        let (first, rest) = lines.split_at(1);
        let (left_out, last) = rest.split_at(rest.len().saturating_sub(MOST_LINES - 2));
        let gap = format!("… {} more lines, see the log …", left_out.len());
        [first, &[gap.as_str()], last].concat().join("\n")
    } else {
        lines.join("\n")
    };
    if text.len() <= MOST_BYTES {
        return text;
    }
    // The end matters most.
    let cut = text.len() - MOST_BYTES;
    let end = (cut..text.len()).find_map(|at| text.get(at..)).unwrap_or_default();
    format!("…{end}")
}

/// Whether flake.lock does not say everything that the flake needs.
pub(crate) fn is_stale_lock(reason: &str) -> bool {
    reason.contains("registry lookups are not allowed")
        || reason.contains("lock file changes but they're not allowed")
}

/// Whether the flake has no such output at all.
pub(crate) fn is_missing_output(reason: &str) -> bool {
    reason.contains("does not provide attribute")
}

/// Whether nobody builds for the system that a derivation is for.
pub(crate) fn lacks_builder(reason: &str) -> bool {
    // The latter since Nix 2.30.
    reason.contains("is required to build")
        || reason.contains("required system or feature not available")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        excerpt(text.lines()).unwrap()
    }

    // Nix 2.26.3, as it printed them.

    const BUILDER: &str = "\
warning: you don't have Internet access; disabling some network-dependent features
this derivation will be built:
  /nix/store/va38qh53k4pc3x5cvy21pv54r0wvbdg3-bad.drv
building '/nix/store/va38qh53k4pc3x5cvy21pv54r0wvbdg3-bad.drv'...
bad> error: this is bad
bad> second line of bad
error: builder for '/nix/store/va38qh53k4pc3x5cvy21pv54r0wvbdg3-bad.drv' failed with exit code 3;
       last 2 log lines:
       > this is bad
       > second line of bad
       For full logs, run:
         nix log /nix/store/va38qh53k4pc3x5cvy21pv54r0wvbdg3-bad.drv
";

    const EVALUATION: &str = "\
error:
       … while calling the 'throw' builtin
         at /nix/store/byj4304sq2k1wfkxfrb98ck8b44dx0sl-source/flake.nix:16:19:
           15|         bad = mk \"bad\";
           16|         evalbad = throw \"this output does not evaluate\";
             |                   ^
           17|       };

       error: this output does not evaluate
";

    const INPUT: &str = "\
fatal: '/var/lib/kennel/repos/other.git' does not appear to be a git repository
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
error:
       … while evaluating derivation 'api'
         whose name attribute is located at /nix/store/2s5pfng2xzrqcj6x6sr82g2zykr1lq65-source/flake.nix:5:7

       (stack trace truncated; use '--show-trace' to show the full, detailed trace)

       error: Cannot find Git revision '83ffe44c4ad1bcebf3f2133e5acb7d70f9cfcba8' in ref 'main' of repository 'file:///var/lib/kennel/repos/other.git'!
";

    const DEPENDENCY: &str = "\
error: builder for '/nix/store/va38qh53k4pc3x5cvy21pv54r0wvbdg3-bad.drv' failed with exit code 3
other> a line of another builder
error: 1 dependencies of derivation '/nix/store/a0iqg81gzyxyz0grvl321iaszsymzknq-api.drv' failed to build
";

    #[test]
    fn real_failures() {
        insta::assert_snapshot!("builder", of(BUILDER));
        insta::assert_snapshot!("evaluation", of(EVALUATION));
        insta::assert_snapshot!("dependency", of(DEPENDENCY));
        insta::assert_snapshot!("input", of(INPUT));
        assert_eq!(excerpt("api> building\n".lines()), None);
    }

    #[test]
    fn a_missing_output_is_told_apart() {
        let missing = "error: flake 'git+file:///srv/demo.git' does not provide attribute 'packages.x86_64-linux.nothere'";
        assert!(is_missing_output(&of(missing)));
        assert!(!is_missing_output(&of(EVALUATION)));
        let stale = "error: 'flake:nixpkgs' is an indirect flake reference, but registry lookups are not allowed";
        assert!(is_stale_lock(&of(stale)));
    }

    #[test]
    fn long_ones_keep_their_beginning_and_their_end() {
        let long: String = (0..60).map(|n| format!("       line {n}\n")).collect();
        let text = of(&format!("error:\n{long}"));
        assert_eq!(text.lines().count(), MOST_LINES);
        assert!(text.starts_with("error:\n… 42 more lines, see the log …\nline 42\n"), "{text}");
        assert!(text.ends_with("line 59"));
        let wide = format!("error: {}", "ä".repeat(4000));
        assert!(of(&wide).len() <= MOST_BYTES + '…'.len_utf8());
    }
}
