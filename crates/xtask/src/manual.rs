//! The manual: what `man` shows, put together from the one place that says each thing.
//!
//! Pages of commands come from kennelctl's own definitions, pages of files from
//! `docs/configuration.md`, and only overviews are written by hand, in `man/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Pages made of sections of `docs/configuration.md`: name, what it is in a line, and the headings
/// whose sections it has. Sections without a heading of their own belong to the one before.
const FILES: [(&str, &str, &[&str]); 2] = [
    (
        "kennel-config",
        "configuration of a Kennel host and of its projects",
        &["`/etc/kennel/config.toml`", "`/etc/kennel/projects.d/<project>.toml`"],
    ),
    ("kennel.toml", "what a repository deploys with Kennel", &["`kennel.toml`", "Names"]),
];

/// Writes every page below `directory`, in `man1`, `man5` and so on.
///
/// # Errors
/// When a page cannot be made or written.
pub fn write(checkout: &Path, kennelctl: &Path, directory: &Path) -> Result<()> {
    generate(kennelctl, "man", &directory.join("man1"))?;
    for section in ["man7", "man8"] {
        let from = checkout.join("man").join(section);
        let entries = fs::read_dir(&from).with_context(|| format!("no {}", from.display()))?;
        for entry in entries {
            let entry = entry?;
            put(&directory.join(section).join(entry.file_name()), &fs::read(entry.path())?)?;
        }
    }
    let path = checkout.join("docs/configuration.md");
    let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    for (name, about, headings) in FILES {
        let page = page(&text, name, about, headings)?;
        put(&directory.join("man5").join(format!("{name}.5")), page.as_bytes())?;
    }
    Ok(())
}

/// Runs kennelctl to write its man pages or completions.
///
/// # Errors
/// When it fails.
pub fn generate(kennelctl: &Path, what: &str, directory: &Path) -> Result<()> {
    let status = Command::new(kennelctl)
        .args(["generate", what])
        .arg(directory)
        .status()
        .with_context(|| format!("cannot run {}", kennelctl.display()))?;
    if !status.success() {
        bail!("kennelctl generate {what} failed ({status}); what it says stands above");
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn page(markdown: &str, name: &str, about: &str, headings: &[&str]) -> Result<String> {
    let mut text = format!(
        ".TH {} 5 2026-11-23 \"Kennel\" \"Kennel\"\n.ad l\n.SH NAME\n{} \\- {about}\n",
        escaped(&name.to_uppercase()),
        escaped(name)
    );
    // What comes before the first heading holds for all files.
    let intro = markdown.split("\n## ").next().unwrap_or_default();
    let intro = intro.split_once('\n').map_or("", |(_, rest)| rest);
    text.push_str(&format!(".SH DESCRIPTION\n{}", body(intro)));
    for heading in headings {
        let section = markdown
            .split("\n## ")
            .find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'))
            .with_context(|| format!("docs/configuration.md has no section {heading}"))?;
        text.push_str(&format!(
            ".SH {}\n{}",
            heading.replace('`', "").to_uppercase(),
            body(section)
        ));
    }
    text.push_str(
        ".SH SEE ALSO\n.BR kennelctl\\-check (1),\n.BR kennel\\-config (5),\n.BR kennel.toml (5),\n\
         .BR kennel (7)\n",
    );
    Ok(text)
}

/// Paragraphs, tables, subheadings and examples, as that one document has them.
fn body(markdown: &str) -> String {
    let mut text = String::new();
    let mut example = false;
    let mut paragraph = true;
    for line in markdown.lines() {
        if line.starts_with("```") {
            example = !example;
            text.push_str(if example { ".PP\n.EX\n" } else { ".EE\n" });
            paragraph = false;
        } else if example {
            text.push_str(&format!("{}\n", escaped(line)));
        } else if line.trim().is_empty() {
            paragraph = true;
        } else if let Some(heading) = line.strip_prefix("### ") {
            text.push_str(&format!(".SS {}\n", escaped(&heading.replace('`', ""))));
            paragraph = false;
        } else if let Some(row) = line.strip_prefix("| ") {
            text.push_str(&table_row(row));
            paragraph = true;
        } else if line.starts_with("|-") {
            // The head was a row like the others; a man page has none.
        } else {
            if paragraph && !text.is_empty() {
                text.push_str(".PP\n");
            }
            paragraph = false;
            text.push_str(&format!("{}\n", inline(line)));
        }
    }
    text
}

/// `key | default | meaning` becomes a tagged paragraph; the head of a table, nothing.
fn table_row(row: &str) -> String {
    let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
    match cells.as_slice() {
        ["key" | "file" | "variable", ..] => String::new(),
        [key, default, meaning] => {
            let first = match *default {
                "none" => "No default.".to_owned(),
                "none, required" => "Required.".to_owned(),
                default => format!("Default: {}.", inline(default)),
            };
            format!(".TP\n{}\n{first}\n{}.\n", inline(key), capital(&inline(meaning)))
        }
        [key, meaning] => format!(".TP\n{}\n{}.\n", inline(key), capital(&inline(meaning))),
        _ => String::new(),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// A line with its code in bold.
fn inline(line: &str) -> String {
    let mut text = String::new();
    for (place, part) in escaped(line).split('`').enumerate() {
        if place % 2 == 1 {
            text.push_str(&format!("\\fB{part}\\fR"));
        } else {
            text.push_str(part);
        }
    }
    text
}

/// As roff wants it: no word begins a request, and `-` is what people can copy.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_tagged_paragraphs() {
        let markdown = "Text with `a-b`.\n\n| key | default | meaning |\n|---|---|---|\n\
                        | `x` | `\"main\"` | the branch |\n| `[nix]` `y` | none | why |\n\nMore.\n";
        assert_eq!(
            body(markdown),
            "Text with \\fBa\\-b\\fR.\n.TP\n\\fBx\\fR\nDefault: \\fB\"main\"\\fR.\nThe branch.\n.TP\n\
             \\fB[nix]\\fR \\fBy\\fR\nNo default.\nWhy.\n.PP\nMore.\n"
        );
    }
}
