//! Environment files as `EnvironmentFile=` reads them (systemd.exec(5)).

use std::fmt::Write;

/// The text of an environment file: one `NAME="value"` per line, with `"`, `\`, `` ` `` and `$`
/// escaped, as systemd's own writer does. Values have no control characters but tabs: their types
/// refuse them.
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
    fn values_stay_one_line_and_one_value() {
        let text = env_file([("A", "plain"), ("B", r#"a "b" \ $c `d` 'e' #f %n"#), ("C", "")]);
        insta::assert_snapshot!(text, @r##"
        A="plain"
        B="a \"b\" \\ \$c \`d\` 'e' #f %n"
        C=""
        "##);
    }
}
