//! `kennelctl generate`: man pages and completions, from the definitions that its help is made of.
//!
//! Hidden, since it is for packages: `cargo xtask install` runs it, so that no second list of
//! options can fall behind.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::{Cli, GenerateArgs, Generated};
use crate::failure::{Exit, Failure};

/// When the pages were looked through last; a date of their making would differ with each build.
const DATE: &str = "2026-11-23";

/// Writes the files.
pub(crate) fn run(args: &GenerateArgs) -> Result<Exit, Failure> {
    let directory = &args.directory;
    let written = match args.what {
        Generated::Man => man_pages(directory),
        Generated::Completions => completions(directory),
    };
    written.map_err(|source| Failure::Generate { directory: directory.clone(), source })?;
    Ok(Exit::Done)
}

fn completions(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // The names that the shells look for.
    for (shell, name) in
        [(Shell::Bash, "kennelctl"), (Shell::Zsh, "_kennelctl"), (Shell::Fish, "kennelctl.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "kennelctl", &mut text);
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

fn man_pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut cli = Cli::command();
    cli.build();
    write_pages(directory, &cli, "kennelctl")
}

/// The page of a command and those of its own commands.
fn write_pages(directory: &Path, command: &Command, name: &str) -> io::Result<()> {
    fs::write(directory.join(format!("{name}.1")), page(command, name)?)?;
    for command in visible(command) {
        write_pages(directory, command, &format!("{name}-{}", command.get_name()))?;
    }
    Ok(())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// One command's page. Sections that clap_mangen would run together are written here.
fn page(command: &Command, name: &str) -> io::Result<String> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(concat!("Kennel ", env!("CARGO_PKG_VERSION")))
        .manual("Kennel");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    // Ragged: long words in monospace tear holes into adjusted lines.
    text.extend(b".ad l\n");
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.has_subcommands() {
        text.extend(b".SH COMMANDS\n");
        for subcommand in visible(command) {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            let name = escaped(&format!("{name}-{}", subcommand.get_name()));
            text.extend(format!(".TP\n.BR {name} (1)\n{}\n", escaped(&about)).bytes());
        }
    }
    man.render_options_section(&mut text)?;
    let help = command.get_after_long_help().or(command.get_after_help());
    text.extend(sections(&help.map(ToString::to_string).unwrap_or_default()).bytes());
    text.extend(see_also(command).bytes());
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    // clap_mangen breaks the line around an empty one, and linters warn of that.
    Ok(text.replace(".br\n\n.br\n", ".sp\n"))
}

/// What stands behind the options in the help: blocks with a heading become sections.
fn sections(help: &str) -> String {
    let mut text = String::new();
    let mut in_notes = false;
    for block in help.split("\n\n") {
        let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
        if let Some(heading) = first.strip_suffix(':').filter(|_| rest.starts_with(' ')) {
            let heading = if heading == "Exit codes" { "Exit status" } else { heading };
            text.push_str(&format!(".SH {}\n.EX\n", heading.to_uppercase()));
            let indent = rest.len() - rest.trim_start().len();
            for line in rest.lines() {
                let line =
                    if line.len() > indent { &line[indent.min(2)..] } else { line.trim_start() };
                text.push_str(&format!("{}\n", escaped(line)));
            }
            text.push_str(".EE\n");
            in_notes = false;
        } else if let Some(json) = block.strip_prefix("JSON: ") {
            let json = json.strip_prefix('a').map_or(json.to_owned(), |rest| format!("A{rest}"));
            text.push_str(&format!(".SH JSON\n{}\n", escaped(&json)));
            in_notes = true;
        } else if !block.trim().is_empty() {
            text.push_str(if in_notes { ".PP\n" } else { ".SH NOTES\n" });
            text.push_str(&format!("{}\n", escaped(block)));
            in_notes = true;
        }
    }
    text
}

fn see_also(command: &Command) -> String {
    let pages: &[&str] = match command.get_name() {
        "kennelctl" => &["kennel (7)", "kennel-config (5)", "kennel.toml (5)"],
        "builds" => &["kennelctl-build (1)", "kennelctl-status (1)"],
        "build" => &["kennelctl-builds (1)", "kennel-build (8)"],
        "cancel" => &["kennelctl-builds (1)", "kennel-build (8)"],
        "status" | "redeploy" | "teardown" => &["kennelctl-builds (1)", "kennel-deploy (8)"],
        "audit" => &["kennelctl-builds (1)", "kennel-dispatch (8)"],
        "logs" => &["journalctl (1)", "kennelctl-build (1)"],
        "check" => &["kennel-config (5)", "kennel.toml (5)"],
        "secret" => &["kennel.toml (5)", "systemd-creds (1)"],
        "set" | "list" | "rm" => &["kennelctl-secret (1)", "kennelctl-redeploy (1)"],
        _ => &["kennel (7)"],
    };
    let mut text = ".SH SEE ALSO\n".to_owned();
    if command.get_name() != "kennelctl" {
        text.push_str(".BR kennelctl (1),\n");
    }
    for (place, page) in pages.iter().enumerate() {
        let comma = if place + 1 == pages.len() { "" } else { "," };
        text.push_str(&format!(".BR {}{comma}\n", escaped(page)));
    }
    text
}

/// As roff wants it: no word begins a request, and `-` is what people can copy.
fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().map(|line| {
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_has_its_place() {
        let dir = tempfile::tempdir().unwrap();
        man_pages(dir.path()).unwrap();
        completions(dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let mut cli = Cli::command();
        cli.build();
        let [bash, zsh, fish] = ["kennelctl", "_kennelctl", "kennelctl.fish"].map(read);
        let nested = visible(&cli).flat_map(|above| {
            visible(above).map(move |it| (format!("kennelctl-{}", above.get_name()), it))
        });
        let top = visible(&cli).map(|it| ("kennelctl".to_owned(), it));
        let all: Vec<_> = top.chain(nested).collect();
        assert!(all.iter().any(|(above, _)| above == "kennelctl-secret"));
        for (above, command) in all {
            let name = format!("{above}-{}", command.get_name());
            let page = read(&format!("{name}.1"));
            let reference = escaped(&format!("{name} (1)"));
            assert!(read(&format!("{above}.1")).contains(&reference), "{name}");
            for option in command.get_opts().filter(|it| !it.is_hide_set()) {
                let long = option.get_long().unwrap();
                assert!(page.contains(&escaped(&format!("--{long}"))), "{name} --{long}:\n{page}");
                assert!(bash.contains(&format!("--{long}")), "bash: {name} --{long}");
                assert!(zsh.contains(&format!("--{long}")), "zsh: {name} --{long}");
                assert!(fish.contains(&format!("-l {long}")), "fish: {name} --{long}");
            }
        }
        assert!(!dir.path().join("kennelctl-generate.1").exists());
    }

    #[test]
    fn blocks_of_the_help_become_sections() {
        insta::assert_snapshot!(sections("Examples:\n  a --b\n      more\n\nJSON: an array.\n\nText."), @r"
        .SH EXAMPLES
        .EX
        a \-\-b
            more
        .EE
        .SH JSON
        An array.
        .PP
        Text.
        ");
    }
}
