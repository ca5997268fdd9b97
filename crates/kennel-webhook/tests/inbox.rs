//! The inbox: shared commits, and what happens when it cannot be written.

// Helpers of tests, which the lints do not see as such.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod host;

use std::io::Write;
use std::time::{Duration, Instant};

use host::{A, Answer, B, Delivery, Host, until};
use kennel_core::Event;
use kennel_webhook::Limits;
use rusqlite::Connection;

/// Transactions in the write-ahead log: frames with a database size in their header
/// (SQLite's file format, section 4.1).
fn commits(host: &Host) -> usize {
    let wal = std::fs::read(host.layout.inbox_db().with_extension("db-wal")).unwrap();
    let page = usize::try_from(u32::from_be_bytes(wal[8..12].try_into().unwrap())).unwrap();
    wal[32..].chunks_exact(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

fn lock(host: &Host) -> Connection {
    let connection = Connection::open(host.layout.inbox_db()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn deliveries_at_once_share_a_commit() {
    let host = Host::boot();
    assert_eq!(host.send(&Delivery::push("main", A, "first")).status, 202);
    let before = commits(&host);
    host.rings();

    let lock = lock(&host);
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = host.connect();
            let delivery = Delivery::push(&format!("branch-{number}"), A, &format!("id-{number}"));
            stream.write_all(&delivery.bytes()).unwrap();
            stream
        })
        .collect();
    until(|| host.load.waiting() == 100);
    lock.execute_batch("COMMIT").unwrap();
    drop(lock);
    for stream in waiting {
        assert_eq!(Answer::read(stream).status, 202);
    }
    assert_eq!(host.rows().len(), 101);
    // The first alone, or with what had come by then; all others together.
    let shared = commits(&host) - before;
    assert!((1..=3).contains(&shared), "{shared} commits for 100 deliveries");
    assert!(host.rings() <= 3);
}

#[test]
fn a_locked_inbox_is_503_and_nothing_is_kept() {
    let host = Host::boot();
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 202);
    let lock = lock(&host);
    let mut first = host.connect();
    first.write_all(&Delivery::push("main", B, "id-2").bytes()).unwrap();
    until(|| host.load.waiting() == 1);
    // It comes while the first one waits for the lock, and waits behind it.
    let second = host.send(&Delivery::push("other", B, "id-3"));
    let first = Answer::read(first);
    for refused in [&first, &second] {
        assert!(refused.has_header("retry-after: 10"), "{refused:?}");
    }
    insta::assert_snapshot!(first.line(), @r#"503 {"accepted":false,"error":"the inbox cannot be written right now; send the delivery again in a moment"}"#);
    drop(lock);
    // One after the other: with its answer, whatever came before it is settled too. It is no
    // duplicate, and the other one's row is not there.
    assert_eq!(host.send(&Delivery::push("main", B, "id-2")).status, 202);
    let kept: Vec<_> = host.rows().into_iter().map(|row| row.delivery.event).collect();
    let push =
        |sha: &str| Event::Push { branch: "main".parse().unwrap(), sha: sha.parse().unwrap() };
    assert_eq!(kept, [push(A), push(B)]);
}

#[test]
fn a_sender_is_told_in_time() {
    let limits = Limits { inbox_time: Duration::from_millis(100), ..Limits::default() };
    let host = Host::with(limits, None);
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 202);
    let lock = lock(&host);
    let began = Instant::now();
    let late = Delivery::push("main", B, "id-2");
    assert_eq!(host.send(&late).status, 503);
    // SQLite alone waits for two seconds.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(lock);
    // It may have been written after all; then this one is a duplicate.
    assert!([200, 202].contains(&host.send(&late).status));
    assert_eq!(host.rows().len(), 2);
}

#[test]
fn a_missing_directory_is_503_until_it_is_there() {
    let host = Host::boot();
    let directory = host.layout.inbox_db().parent().unwrap().to_owned();
    std::fs::remove_dir(&directory).unwrap();
    let delivery = Delivery::push("main", A, "id-1");
    assert_eq!(host.send(&delivery).status, 503);
    // What needs no row is still answered.
    let tag = serde_json::json!({"ref": "refs/tags/v1", "before": B, "after": A});
    let tag = Delivery::new(kennel_core::Forge::Github, "push", "id-2", &tag);
    assert_eq!(host.send(&tag).status, 200);
    assert_eq!(host.rings(), 0);
    std::fs::create_dir(&directory).unwrap();
    assert_eq!(host.send(&delivery).status, 202);
}

#[test]
fn a_newer_schema_is_503_and_left_alone() {
    let host = Host::boot();
    let newer = Connection::open(host.layout.inbox_db()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 503);
    newer.pragma_update(None, "user_version", 0).unwrap();
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 202);
}

#[test]
fn a_replaced_file_gets_the_rows_that_follow() {
    let host = Host::boot();
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 202);
    let inbox = host.layout.inbox_db();
    for suffix in ["db", "db-wal", "db-shm"] {
        std::fs::remove_file(inbox.with_extension(suffix)).unwrap();
    }
    assert_eq!(host.send(&Delivery::push("main", B, "id-2")).status, 202);
    assert_eq!(host.rows().len(), 1);
}

#[test]
fn without_a_bell_the_delivery_is_accepted() {
    let host = Host::boot();
    std::fs::remove_file(host.layout.bell()).unwrap();
    assert_eq!(host.send(&Delivery::push("main", A, "id-1")).status, 202);
    assert_eq!(host.rows().len(), 1);
}
