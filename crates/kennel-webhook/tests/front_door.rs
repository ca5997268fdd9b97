//! Signed deliveries in, answers and inbox rows out.

// Helpers of tests, which the lints do not see as such.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod host;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use host::{A, Answer, B, Delivery, Host, SECRET, push, sign, until};
use kennel_core::{Event, Forge};
use kennel_webhook::{End, Limits};
use serde_json::json;

const FORGES: [Forge; 3] = [Forge::Forgejo, Forge::Gitea, Forge::Github];

#[test]
fn each_forge_in_both_encodings_becomes_a_row() {
    for forge in FORGES {
        let host = Host::boot();
        for (branch, delivery) in [
            ("json", Delivery::new(forge, "push", "id-1", &push("json", A))),
            ("form", Delivery::form(forge, "push", "id-2", &push("form", A))),
        ] {
            let answer = host.send(&delivery);
            assert_eq!(answer.status, 202, "{forge} {branch}: {answer:?}");
            assert!(answer.has_header("content-type: application/json"));
            assert!(answer.has_header("cache-control: no-store"));
            assert!(host.rings() > 0);

            let row = host.rows().pop().unwrap();
            assert_eq!(row.id.get(), answer.json()["event"].as_i64().unwrap());
            assert_eq!(row.delivery.project.as_str(), "site");
            assert_eq!(row.delivery.forge, Some(forge));
            assert_eq!(row.delivery.by.as_deref(), Some("ada"));
            assert!(row.delivery.delivery_id.is_some());
            assert_eq!(
                row.delivery.event,
                Event::Push { branch: branch.parse().unwrap(), sha: A.parse().unwrap() }
            );
        }
    }
}

#[test]
fn answers_say_what_was_understood() {
    let host = Host::boot();
    let pull_request = |action: &str| {
        json!({
            "action": action, "number": 5, "sender": {"login": "eve"},
            "pull_request": {
                "head": {"sha": A, "repo": {"full_name": "eve/site"}},
                "base": {"sha": B, "repo": {"full_name": "team/site"}},
            },
        })
    };
    let mut answers = String::new();
    for (number, (forge, event, payload)) in [
        (Forge::Github, "ping", json!({"zen": "…"})),
        (Forge::Forgejo, "push", push("main", A)),
        (Forge::Forgejo, "push", json!({"ref": "refs/tags/v1", "before": B, "after": A})),
        (Forge::Forgejo, "create", json!({"ref": "refs/heads/main", "ref_type": "branch"})),
        (Forge::Forgejo, "delete", json!({"ref": "refs/heads/old", "ref_type": "branch"})),
        (Forge::Gitea, "delete", json!({"ref": "older", "ref_type": "branch"})),
        (
            Forge::Github,
            "push",
            json!({"ref": "refs/heads/old", "before": A, "after": "0".repeat(40), "deleted": true}),
        ),
        (Forge::Github, "pull_request", pull_request("opened")),
        (Forge::Github, "pull_request", pull_request("labeled")),
        (Forge::Gitea, "pull_request", pull_request("synchronized")),
        (Forge::Github, "pull_request", pull_request("closed")),
        (Forge::Github, "workflow_run", json!({"action": "completed"})),
        (Forge::Github, "push", json!({"ref": "refs/heads/a..b", "before": B, "after": A})),
        (Forge::Github, "push", json!({"head": "main"})),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("id-{number}");
        answers += &host.send(&Delivery::new(forge, event, &id, &payload)).line();
        answers += "\n";
    }
    insta::assert_snapshot!(answers, @r#"
    200 {"accepted":true,"understood":"ping; the hook works"}
    202 {"accepted":true,"understood":"push of main at a1b2c3d4e5f6","event":1}
    200 {"accepted":true,"ignored":"tag v1 was pushed; Kennel builds branches"}
    200 {"accepted":true,"ignored":"branch refs/heads/main is new; the push that follows says its commit"}
    202 {"accepted":true,"understood":"branch old is gone","event":2}
    202 {"accepted":true,"understood":"branch older is gone","event":3}
    200 {"accepted":true,"duplicate":true,"understood":"branch old is gone","event":2}
    202 {"accepted":true,"understood":"pull request 5 at a1b2c3d4e5f6","event":4}
    200 {"accepted":true,"ignored":"a pull request was labeled; only its commits and its end matter"}
    200 {"accepted":true,"duplicate":true,"understood":"pull request 5 at a1b2c3d4e5f6","event":4}
    202 {"accepted":true,"understood":"pull request 5 is closed","event":5}
    200 {"accepted":true,"ignored":"workflow_run events change nothing that Kennel deploys"}
    400 {"accepted":false,"error":"`a..b` is not a branch name: git allows no `..`, `@{` or final `.` in it; rename the branch"}
    400 {"accepted":false,"error":"the payload is not that of a push event; choose the forge's own type for the hook"}
    "#);
}

#[test]
fn a_redelivery_adds_nothing() {
    let host = Host::boot();
    let first = host.send(&Delivery::push("main", A, "id-1"));
    assert_eq!(first.status, 202);
    for again in [
        Delivery::push("main", A, "id-1"),
        // Forgejo's and Gitea's redelivery has an id of its own, and some senders have none.
        Delivery::push("main", A, "id-2"),
        Delivery::push("main", A, "id-3").without("x-github-delivery"),
    ] {
        let answer = host.send(&again);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["duplicate"], true);
        assert_eq!(answer.json()["event"], first.json()["event"]);
    }
    assert_eq!(host.rows().len(), 1);
    assert_eq!(host.send(&Delivery::push("main", B, "id-4")).status, 202);
}

#[test]
fn what_is_refused() {
    let host = Host::boot();
    let good = || Delivery::push("main", A, "id-1");
    let unsigned = |body: &str| {
        let delivery = Delivery::of_bytes(Forge::Github, "push", "id", body.into());
        delivery.header("Content-Type", "application/x-www-form-urlencoded")
    };
    let mut answers = String::new();
    for (name, delivery) in [
        ("address", good().to("/webhook")),
        ("address", good().to("/webhook/site/x")),
        ("address", good().to("/")),
        ("method", good().method("GET")),
        ("method", good().method("PUT")),
        ("event", good().without("-event")),
        ("signature", good().without("signature")),
        ("SHA-1 alone", good().without("signature-256")),
        ("empty", good().header("X-Hub-Signature-256", "sha256=")),
        ("media", good().header("Content-Type", "text/plain")),
        ("packed", good().header("Content-Encoding", "gzip")),
        ("JSON", Delivery::of_bytes(Forge::Github, "push", "id", b"{\"ref\": ".to_vec())),
        ("empty body", Delivery::of_bytes(Forge::Github, "push", "id", Vec::new())),
        ("form", unsigned("ref=main")),
        ("form", unsigned("payload=%7B%7D&payload=%7B%7D")),
    ] {
        let answer = host.send(&delivery);
        assert!(answer.has_header("content-type: application/json"), "{answer:?}");
        assert!(answer.has_header("cache-control: no-store"), "{answer:?}");
        assert_eq!(answer.has_header("allow: POST".to_lowercase().as_str()), answer.status == 405);
        answers += &format!("{name}: {}\n", answer.line());
    }
    insta::assert_snapshot!(answers, @r#"
    address: 404 {"accepted":false,"error":"there is nothing here; a hook's address ends in /webhook/<project>"}
    address: 404 {"accepted":false,"error":"there is nothing here; a hook's address ends in /webhook/<project>"}
    address: 404 {"accepted":false,"error":"there is nothing here; a hook's address ends in /webhook/<project>"}
    method: 405 {"accepted":false,"error":"hooks are sent with POST; choose it in the hook's settings"}
    method: 405 {"accepted":false,"error":"hooks are sent with POST; choose it in the hook's settings"}
    event: 400 {"accepted":false,"error":"no X-Forgejo-Event, X-Gitea-Event or X-GitHub-Event header says what happened; choose Forgejo, Gitea or GitHub as the hook's type"}
    signature: 400 {"accepted":false,"error":"the delivery is not signed; give the hook the project's secret"}
    SHA-1 alone: 401 {"accepted":false,"error":"there is no such project, or the signature is not made with its secret; compare the hook's address and secret with the project's"}
    empty: 401 {"accepted":false,"error":"there is no such project, or the signature is not made with its secret; compare the hook's address and secret with the project's"}
    media: 415 {"accepted":false,"error":"the body is neither JSON nor a form; choose application/json in the hook's settings"}
    packed: 415 {"accepted":false,"error":"the body is compressed; send it without a Content-Encoding"}
    JSON: 400 {"accepted":false,"error":"the payload stops being JSON at line 1, column 8; look at the delivery in the hook's history"}
    empty body: 400 {"accepted":false,"error":"the payload stops being JSON at line 1, column 0; look at the delivery in the hook's history"}
    form: 400 {"accepted":false,"error":"the form has no field `payload`; choose application/json in the hook's settings"}
    form: 400 {"accepted":false,"error":"the form has several fields `payload`; send one"}
    "#);
    assert_eq!(host.send(&good().to("/webhook/site/")).status, 202);
    assert_eq!(host.rows().len(), 1);
}

#[test]
fn a_wrong_signature_and_an_unknown_project_look_alike() {
    let host = Host::boot();
    // Large, and no JSON: whoever ends early, or looks into it, would show.
    let body = vec![b'{'; 4 << 20];
    let wrong = sign("not the secret", &body);
    let delivery = Delivery::of_bytes(Forge::Forgejo, "push", "id", body)
        .header("X-Forgejo-Signature", &wrong)
        .header("X-Gitea-Signature", &wrong)
        .header("X-Gogs-Signature", &wrong)
        .header("X-Hub-Signature-256", &format!("sha256={wrong}"));
    // The work of it shows in the time that it takes, and is counted instead: that is the same on
    // every machine.
    let mut hashed = 0;
    let mut ask = |project: &str| {
        let answer = host.send(&delivery.clone().to(&format!("/webhook/{project}")));
        let head: String = answer.head.lines().filter(|line| !line.starts_with("date:")).collect();
        let before = std::mem::replace(&mut hashed, host.load.hashed());
        (answer.status, head, answer.body, hashed - before)
    };
    let expected = ask("site");
    assert_eq!((expected.0, expected.3), (401, 4 << 20));
    // Absent, reserved, and no name at all.
    for project in ["other", "router", "No%20Name"] {
        assert_eq!(ask(project), expected, "{project}");
    }
}

#[test]
fn a_body_of_25_mib_is_taken_and_a_larger_one_is_not() {
    let host = Host::boot();
    let limit = 25 << 20;
    let mut body = push("main", A).to_string().into_bytes();
    body.resize(limit, b' ');
    let delivery = Delivery::of_bytes(Forge::Github, "push", "id", body);
    assert_eq!(host.send(&delivery).status, 202);

    // Sent whole before the answer is read, as Go's client does: it must still arrive.
    let mut larger = delivery.clone();
    larger.body.push(b' ');
    let answer = host.send(&larger);
    insta::assert_snapshot!(answer.line(), @r#"413 {"accepted":false,"error":"the body is larger than 25 MiB; push fewer commits at once"}"#);

    // Told by the announced length, before any of it is there.
    let mut stream = host.connect();
    let announced = format!("Content-Length: {}", limit + 1);
    stream.write_all(delivery.head(&announced).as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");

    // Never told to go on.
    let mut stream = host.connect();
    let expecting = format!("{announced}\r\nExpect: 100-continue");
    stream.write_all(delivery.head(&expecting).as_bytes()).unwrap();
    let answer = Answer::read(stream);
    assert_eq!(answer.status, 413);
}

#[test]
fn an_unannounced_body_is_counted_as_it_comes() {
    let host = Host::with(Limits { body: 100_000, ..Limits::default() }, None);
    let delivery = Delivery::push("main", A, "id");
    let chunked = |chunks: usize| {
        let mut stream = host.connect();
        let mut bytes = delivery.head("Transfer-Encoding: chunked").into_bytes();
        for _ in 0..chunks {
            bytes.extend(b"2710\r\n");
            bytes.extend([b' '; 10_000]);
            bytes.extend(b"\r\n");
        }
        bytes.extend(format!("{:x}\r\n", delivery.body.len()).as_bytes());
        bytes.extend(&delivery.body);
        bytes.extend(b"\r\n0\r\n\r\n");
        stream.write_all(&bytes).unwrap();
        Answer::read(stream).status
    };
    assert_eq!(chunked(0), 202);
    // Read to its end, and then of course signed differently.
    assert_eq!(chunked(9), 401);
    assert_eq!(chunked(10), 413);
    assert_eq!(chunked(100), 413);
}

#[test]
fn the_100_continue_of_an_acceptable_body() {
    let host = Host::boot();
    let delivery = Delivery::push("main", A, "id");
    let mut stream = host.begin(&delivery);
    stream.write_all(&delivery.body).unwrap();
    assert_eq!(Answer::read(stream).status, 202);
}

#[test]
fn who_stalls_is_sent_away_and_holds_up_nobody() {
    let limits = Limits {
        // Ten times what the one that does not stall takes on a busy machine.
        header_time: Duration::from_secs(1),
        body_time: Duration::from_secs(1),
        ..Limits::default()
    };
    let host = Host::with(limits, None);
    let delivery = Delivery::push("main", A, "id");
    let bytes = delivery.bytes();
    let mut in_body = host.connect();
    in_body.write_all(&bytes[..bytes.len() - 1]).unwrap();
    let mut in_head = host.connect();
    in_head.write_all(&bytes[..20]).unwrap();

    assert_eq!(host.send(&delivery).status, 202);

    assert_eq!(Answer::read(in_body).status, 408);
    assert_eq!(in_head.read(&mut [0; 100]).unwrap(), 0);
}

#[test]
fn who_stalls_makes_room_for_who_does_not() {
    let limits = Limits { connections: 4, patience: Duration::ZERO, ..Limits::default() };
    let host = Host::with(limits, None);
    let delivery = Delivery::push("main", A, "id");
    // One more than there is room for: the first has to go for it.
    let mut stalled: Vec<_> = (0..5).map(|_| host.begin(&delivery)).collect();
    assert_eq!(stalled[0].read(&mut [0; 100]).unwrap(), 0);
    let mut in_head = host.connect();
    in_head.write_all(&delivery.bytes()[..20]).unwrap();
    for number in 0..20 {
        let delivery = Delivery::push(&format!("b{number}"), A, &format!("{number}"));
        assert_eq!(host.send(&delivery).status, 202);
    }
    // Where there is room again, time is nobody's trouble.
    let mut last = host.begin(&delivery);
    last.write_all(&delivery.body).unwrap();
    assert_eq!(Answer::read(last).status, 202);
    assert_eq!(host.rows().len(), 21);
}

#[test]
fn who_stalls_with_a_large_body_gives_its_memory_to_who_does_not() {
    let limits = Limits { memory: 1 << 20, patience: Duration::ZERO, ..Limits::default() };
    let host = Host::with(limits, None);
    let mut body = push("main", A).to_string().into_bytes();
    body.resize(1 << 20, b' ');
    let large = Delivery::of_bytes(Forge::Github, "push", "id-1", body);
    let bytes = large.bytes();
    let mut holding = host.connect();
    holding.write_all(&bytes[..bytes.len() - 1]).unwrap();
    let held = (1 << 20) - limits.small_body;
    until(|| host.load.memory() == held);
    assert_eq!(host.send(&large).status, 202);
    assert_eq!(holding.read(&mut [0; 100]).unwrap(), 0);
}

#[test]
fn a_body_that_ends_early_leaves_no_row() {
    let host = Host::boot();
    let bytes = Delivery::push("main", A, "id").bytes();
    let mut stream = host.connect();
    stream.write_all(&bytes[..bytes.len() - 1]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(!host.layout.inbox_db().exists());
}

#[test]
fn large_bodies_share_memory_and_ordinary_deliveries_do_not_wait_for_it() {
    // Long enough for nobody to lose its memory to another.
    let patience = Duration::from_secs(3600);
    let memory_time = Duration::from_millis(100);
    let limits = Limits { memory: 1 << 20, memory_time, patience, ..Limits::default() };
    let host = Host::with(limits, None);
    let mut body = push("main", A).to_string().into_bytes();
    body.resize(1 << 20, b' ');
    let large = Delivery::of_bytes(Forge::Github, "push", "id-1", body);
    let bytes = large.bytes();
    let mut holding = host.connect();
    holding.write_all(&bytes[..bytes.len() - 1]).unwrap();
    // All but what each body has for nothing.
    let held = (1 << 20) - limits.small_body;
    until(|| host.load.memory() == held);

    let refused = host.send(&large);
    assert!(refused.has_header("retry-after: 10"));
    insta::assert_snapshot!(refused.line(), @r#"503 {"accepted":false,"error":"too many large deliveries arrive at once; send this one again in a moment"}"#);
    assert_eq!(host.send(&Delivery::push("other", A, "id-2")).status, 202);

    holding.write_all(b" ").unwrap();
    assert_eq!(Answer::read(holding).status, 202);
    assert_eq!(host.send(&large).status, 200);
}

#[test]
fn it_leaves_when_nobody_is_there_and_not_before() {
    let idle = Some(Duration::from_millis(300));
    let mut host = Host::with(Limits::default(), idle);
    let delivery = Delivery::push("main", A, "id");
    let mut slow = host.begin(&delivery);
    // Two others have come, one after the other, and left, since nobody was there.
    for _ in 0..2 {
        assert_eq!(Host::with(Limits::default(), idle).end(), End::Idle);
    }
    slow.write_all(&delivery.body).unwrap();
    let answered = Instant::now();
    assert_eq!(Answer::read(slow).status, 202);
    assert_eq!(host.end(), End::Idle);
    assert!(answered.elapsed() >= Duration::from_millis(300));
}

#[test]
fn told_to_stop_it_finishes_what_it_has_begun() {
    let mut host = Host::boot();
    let delivery = Delivery::push("main", A, "id");
    let mut slow = host.begin(&delivery);
    host.tell_to_stop();
    host.until_closed();
    slow.write_all(&delivery.body).unwrap();
    assert_eq!(Answer::read(slow).status, 202);
    assert_eq!(host.end(), End::Stopped);
}

#[test]
fn told_to_stop_it_does_not_wait_for_ever() {
    let limits = Limits { linger: Duration::from_millis(300), ..Limits::default() };
    let mut host = Host::with(limits, None);
    let _stalled = host.begin(&Delivery::push("main", A, "id"));
    host.tell_to_stop();
    let told = Instant::now();
    assert_eq!(host.end(), End::Stopped);
    // It is not the body's own time that has run out.
    assert!(told.elapsed() < limits.body_time);
}

#[test]
fn a_secret_that_is_not_the_projects_opens_nothing() {
    let host = Host::boot();
    let body = push("main", A).to_string().into_bytes();
    for secret in ["", "\n", "other", &format!("{SECRET}\n")] {
        let digits = sign(secret, &body);
        let delivery = Delivery::of_bytes(Forge::Github, "push", "id", body.clone())
            .header("X-Hub-Signature-256", &format!("sha256={digits}"));
        assert_eq!(host.send(&delivery).status, 401, "{secret:?}");
    }
}
