//! Environment files as `EnvironmentFile=` reads them (systemd.exec(5)).

use std::fmt::Write;

/// The text of an environment file: one `NAME="value"` after the other, with `"`, `\`, `` ` `` and `$`
/// escaped, as systemd's own writer does. Between the quotes a newline is itself and ends nothing:
/// secrets may have some. NUL and what is not UTF-8, which systemd drops, their types refuse.
#[must_use]
pub fn env_file<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let mut quoted = String::with_capacity(value.len() + 2);
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '`' | '$') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}=\"{quoted}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_value() {
        let text = env_file([
            ("A", "plain"),
            ("B", r#"a "b" \ $c `d` 'e' #f %n"#),
            ("C", ""),
            ("D", "x\nPORT=1\n"),
        ]);
        insta::assert_snapshot!(text, @r##"
        A="plain"
        B="a \"b\" \\ \$c \`d\` 'e' #f %n"
        C=""
        D="x
        PORT=1
        "
        "##);
    }
}
