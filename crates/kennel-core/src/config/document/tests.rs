use super::*;

/// serde writes the lists of names that `quoted` reads back; this fails if it writes them otherwise.
#[test]
fn known_names_are_read_from_serdes_message() {
    assert_eq!(quoted("`x`, expected one of `a`, `b`"), ["a", "b"]);
    assert_eq!(quoted("`x`, expected `a` or `b`"), ["a", "b"]);
    assert_eq!(quoted("`x`, expected `a`"), ["a"]);
    assert_eq!(quoted("`, expected `y`, expected `a`"), ["a"]);
    assert!(quoted("`x`, there are no fields").is_empty());
}

#[test]
fn only_a_near_word_is_offered() {
    let known = ["health_check".to_owned(), "drain_secs".to_owned()];
    for (wrong, meant) in [
        ("helth_check", Some("health_check")),
        ("healthcheck", Some("health_check")),
        ("drain", Some("drain_secs")),
        ("memory", None),
        ("", None),
    ] {
        assert_eq!(near(wrong, &known).map(String::as_str), meant, "{wrong}");
    }
}

#[test]
fn lines_and_columns_count_from_one_and_in_characters() {
    let at = |text: &str, start| {
        let problem = problem("f", text, start..start, String::new(), None);
        (problem.line, problem.column)
    };
    assert_eq!(at("", 0), (1, 1));
    assert_eq!(at("ab\ncd", 4), (2, 2));
    assert_eq!(at("ä = 1", 2), (1, 2));
    assert_eq!(at("a\r\nb", 3), (2, 1));
    assert_eq!(at("a", 99), (1, 2));
}
