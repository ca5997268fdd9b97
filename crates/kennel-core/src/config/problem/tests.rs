use super::*;

fn at(line: usize, column: usize) -> Problem {
    Problem { file: "f".into(), line, column, message: "m".into(), help: None }
}

#[test]
fn help_stands_in_the_same_line() {
    let problem = Problem { help: Some("do this".into()), ..at(3, 1) };
    assert_eq!(problem.to_string(), "f:3: m; do this");
    assert_eq!(at(3, 1).to_string(), "f:3: m");
}

#[test]
fn the_caret_stands_under_the_column() {
    insta::assert_snapshot!(at(2, 9).excerpt("[services.api]\nspa = \"true\"\r\n"), @r#"
      |
    2 | spa = "true"
      |         ^
    "#);
    insta::assert_snapshot!(at(1, 6).excerpt("\tä = 1"), @"
      |
    1 |  ä = 1
      |      ^
    ");
}

#[test]
fn a_long_line_is_shown_around_the_column() {
    let line = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
    let excerpt = at(1, 501).excerpt(&line);
    let lines: Vec<_> = excerpt.lines().collect();
    assert!(lines[1].len() < 130);
    assert_eq!(lines[1].find("HERE"), lines[2].find('^'));
}

#[test]
fn a_repository_does_not_paint_the_terminal() {
    let excerpt = at(1, 1).excerpt("a = \"\u{1b}[2J\u{202e}\u{7}\"");
    insta::assert_snapshot!(excerpt, @r#"
      |
    1 | a = "·[2J··"
      | ^
    "#);
}

#[test]
fn a_line_that_is_not_there() {
    assert_eq!(at(9, 1).excerpt("one line"), "");
}
