use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const A: &str = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn on(forge: Forge, event: &str, payload: &Value) -> Result<Meaning, Misunderstood> {
    understand(forge, event, payload.to_string().as_bytes())
}

fn github(event: &str, payload: &Value) -> Result<Meaning, Misunderstood> {
    on(Forge::Github, event, payload)
}

fn fact(meaning: Result<Meaning, Misunderstood>) -> Event {
    let Ok(Meaning::Fact(event, _)) = meaning else { panic!("{meaning:?}") };
    event
}

fn deleted(name: &str) -> Event {
    Event::BranchDeleted { branch: name.parse().unwrap() }
}

#[test]
fn a_push_is_its_branch_and_new_head() {
    let payload = json!({
        "ref": "refs/heads/feature/x", "before": ZERO, "after": A, "commits": [],
        "pusher": {"name": "ada", "email": "ada@example.org"},
    });
    assert_eq!(
        github("push", &payload),
        Ok(Meaning::Fact(
            Event::Push { branch: "feature/x".parse().unwrap(), sha: A.parse().unwrap() },
            Some("ada".into())
        ))
    );
}

#[test]
fn the_test_button_builds_and_an_empty_repository_has_nothing_to_build() {
    let push = |before: &str, after: &str| {
        on(
            Forge::Forgejo,
            "push",
            &json!({"ref": "refs/heads/main", "before": before, "after": after}),
        )
    };
    assert!(matches!(fact(push(A, A)), Event::Push { .. }));
    assert!(matches!(push(ZERO, ZERO), Ok(Meaning::Nothing(_))));
    assert!(matches!(push(&"0".repeat(64), &"0".repeat(64)), Ok(Meaning::Nothing(_))));
}

#[test]
fn a_branch_is_deleted_in_each_forges_words() {
    for after in [ZERO.to_owned(), "0".repeat(64)] {
        let payload = json!({"ref": "refs/heads/x", "before": A, "after": after});
        assert_eq!(fact(github("push", &payload)), deleted("x"));
    }
    let payload = json!({"ref": "refs/heads/x", "before": A, "after": A, "deleted": true});
    assert_eq!(fact(github("push", &payload)), deleted("x"));

    let delete =
        |forge, name: &str| fact(on(forge, "delete", &json!({"ref": name, "ref_type": "branch"})));
    for forge in [Forge::Forgejo, Forge::Gitea, Forge::Github] {
        assert_eq!(delete(forge, "feature/login"), deleted("feature/login"));
    }
    assert_eq!(delete(Forge::Forgejo, "refs/heads/x"), deleted("x"));
    assert_eq!(delete(Forge::Forgejo, "refs/heads/refs/heads/x"), deleted("refs/heads/x"));
    assert_eq!(delete(Forge::Github, "refs/heads/x"), deleted("refs/heads/x"));
    assert_eq!(delete(Forge::Gitea, "refs/heads/x"), deleted("refs/heads/x"));
}

#[test]
fn tags_and_branch_creation_are_nothing_to_do() {
    for (event, payload) in [
        ("push", json!({"ref": "refs/tags/v1", "before": ZERO, "after": A})),
        ("push", json!({"ref": "refs/tags/v1", "before": A, "after": ZERO, "deleted": true})),
        ("push", json!({"ref": "refs/notes/commits", "before": ZERO, "after": A})),
        ("create", json!({"ref": "v1", "ref_type": "tag"})),
        ("create", json!({"ref": "refs/heads/x", "ref_type": "branch"})),
        ("delete", json!({"ref": "v1", "ref_type": "tag"})),
        ("delete", json!({"ref": "team/site", "ref_type": "repository"})),
        ("release", json!({"action": "published"})),
        ("pull_request", json!({"action": "labeled", "number": 4})),
        ("pull_request", json!({"action": "edited", "number": 4, "pull_request": null})),
    ] {
        let meaning = github(event, &payload);
        assert!(matches!(meaning, Ok(Meaning::Nothing(_))), "{event}: {meaning:?}");
    }
    assert_eq!(github("ping", &json!({"zen": "…"})), Ok(Meaning::Ping));
}

fn pull_request(action: &str, head_repo: &Value) -> Value {
    json!({
        "action": action, "number": 5, "sender": {"login": "ada"},
        "pull_request": {
            "number": 5, "draft": true, "author_association": "MEMBER",
            "head": {"ref": "main", "sha": A, "repo": head_repo},
            "base": {"ref": "main", "sha": A, "repo": {"full_name": "team/site"}},
        },
    })
}

#[test]
fn pull_requests_carry_where_their_head_lies() {
    for action in ["opened", "reopened", "synchronize", "synchronized"] {
        for (repo, repository) in [
            (json!({"full_name": "team/site"}), Some("team/site")),
            (json!({"full_name": "eve/site"}), Some("eve/site")),
            (Value::Null, None),
        ] {
            assert_eq!(
                github("pull_request", &pull_request(action, &repo)),
                Ok(Meaning::Fact(
                    Event::PullRequest {
                        number: 5,
                        sha: A.parse().unwrap(),
                        head: PullRequestHead {
                            repository: repository.map(Into::into),
                            base_repository: "team/site".into(),
                            association: Some("MEMBER".into()),
                        },
                    },
                    Some("ada".into())
                ))
            );
        }
    }
    for payload in [
        pull_request("closed", &Value::Null),
        json!({"action": "closed", "number": 5}),
        json!({"action": "closed", "pull_request": {"number": 5}}),
    ] {
        assert_eq!(fact(github("pull_request", &payload)), Event::PullRequestClosed { number: 5 });
    }
}

#[test]
fn a_head_is_in_the_repository_itself_only_if_nothing_speaks_against_it() {
    let same = |head: Value, base: Value| {
        let payload = json!({
            "action": "opened", "number": 5, "repository": {"full_name": "team/site"},
            "pull_request": {"head": head, "base": base},
        });
        let Event::PullRequest { head, .. } = fact(on(Forge::Forgejo, "pull_request", &payload))
        else {
            panic!()
        };
        assert_eq!(head.base_repository, "team/site");
        head.is_same_repository()
    };
    let (own, other) = (json!({"full_name": "team/site"}), json!({"full_name": "eve/site"}));
    assert!(same(json!({"sha": A, "repo": own}), json!({"repo": own})));
    assert!(same(json!({"sha": A, "repo": own}), json!({})));
    assert!(same(json!({"sha": A}), json!({})));
    assert!(same(json!({"sha": A, "repo_id": 6}), json!({"repo_id": 6})));
    assert!(!same(json!({"sha": A, "repo_id": 6}), json!({"repo_id": 7})));
    assert!(!same(json!({"sha": A, "repo": other}), json!({"repo": own})));
    assert!(!same(json!({"sha": A, "repo": other}), json!({})));
    assert!(!same(json!({"sha": A, "repo": null}), json!({"repo": own})));
    assert!(same(json!({"sha": A, "repo": own, "ref": "greet"}), json!({"repo": own})));
    let agit = json!({"sha": A, "repo": own, "repo_id": 6, "ref": "refs/pull/5/head"});
    assert!(!same(agit, json!({"repo": own, "repo_id": 6})));
    assert!(!same(json!({"sha": A, "repo": null}), json!({})));
    assert!(!same(json!({"sha": A, "repo": null}), json!({"repo": null})));
    assert!(!same(json!({"sha": A}), json!({"repo": own})));
}

#[test]
fn what_cannot_be_understood_says_why() {
    let wrong = |event: &str, payload: Value| github(event, &payload).unwrap_err();
    assert_eq!(
        understand(Forge::Github, "push", b"{").unwrap_err(),
        Misunderstood::NotJson { line: 1, column: 1 }
    );
    assert!(matches!(
        understand(Forge::Github, "ping", b"").unwrap_err(),
        Misunderstood::NotJson { .. }
    ));
    assert!(matches!(wrong("push", json!({})), Misunderstood::OtherShape { .. }));
    assert!(matches!(wrong("push", json!([1])), Misunderstood::OtherShape { .. }));
    assert!(matches!(
        wrong("push", json!({"ref": "refs/heads/a..b", "after": A})),
        Misunderstood::Branch(_)
    ));
    assert!(matches!(
        wrong("push", json!({"ref": "refs/heads/main", "after": "a1b2"})),
        Misunderstood::Commit(_)
    ));
    assert_eq!(
        wrong("pull_request", json!({"action": "opened", "number": 0})),
        Misunderstood::Field("number")
    );
    assert_eq!(
        wrong("pull_request", json!({"action": "opened", "number": 5})),
        Misunderstood::Field("pull_request")
    );
    let mut headless = pull_request("opened", &Value::Null);
    headless["pull_request"]["base"]["repo"]["full_name"] = json!("team/site\n");
    assert_eq!(wrong("pull_request", headless), Misunderstood::Field("full_name"));
}

#[test]
fn names_of_people_are_short_and_printable() {
    let by =
        |login: &str| account(Some(Account { login: Some(login.into()), name: Some("n".into()) }));
    assert_eq!(by("a\u{1b}[31m\ndmin").as_deref(), Some("a[31mdmin"));
    assert_eq!(by(&"x".repeat(200)).unwrap().len(), 100);
    assert_eq!(by("").as_deref(), Some("n"));
    assert_eq!(by("\n"), None);
}

const EVENTS: [&str; 6] = ["push", "delete", "create", "pull_request", "ping", "release"];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        event in prop::sample::select(EVENTS.to_vec()),
        json in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _meaning = understand(Forge::Forgejo, event, &json);
    }

    #[test]
    fn no_words_in_the_right_fields_make_it_panic(
        event in prop::sample::select(EVENTS.to_vec()),
        words in prop::collection::vec(".{0,60}|refs/heads/.{0,40}|[0-9a-f]{40}", 4),
        action in "opened|closed|synchronized|.{0,10}",
        number in any::<i64>(),
    ) {
        let payload = json!({
            "ref": words[0], "before": words[1], "after": words[2], "ref_type": "branch",
            "action": action, "number": number, "sender": {"login": words[3]},
            "pull_request": {
                "head": {"sha": words[2], "repo": {"full_name": words[3]}},
                "base": {"repo": {"full_name": words[3]}},
            },
        });
        if let Ok(Meaning::Fact(_, Some(by))) = on(Forge::Gitea, event, &payload) {
            prop_assert!(!by.contains(char::is_control));
        }
    }
}

#[test]
fn depth_is_not_recursion() {
    let deep = "[".repeat(1 << 20);
    let payload = format!("{{\"ref\":\"refs/heads/main\",\"after\":\"{A}\",\"x\":{deep}");
    assert!(matches!(
        understand(Forge::Github, "push", payload.as_bytes()),
        Err(Misunderstood::NotJson { .. })
    ));
    assert!(matches!(
        understand(Forge::Github, "release", deep.as_bytes()),
        Err(Misunderstood::NotJson { .. })
    ));
}
