use kennel_core::{EventId, OutputKind, OutputState, ServiceName, StorePath};

use super::*;

const NOW: fn(i64) -> Timestamp = Timestamp::from_millis;

fn builds() -> (tempfile::TempDir, Builds) {
    let dir = tempfile::tempdir().unwrap();
    let builds = Builds::open(&dir.path().join("builds.db"), Access::Patient).unwrap();
    (dir, builds)
}

fn new(request: i64, git_ref: &str) -> NewBuild {
    NewBuild {
        fork: false,
        needs_approval: false,
        request: EventId::from_row(request),
        project: "site".parse().unwrap(),
        git_ref: git_ref.parse().unwrap(),
        sha: "a".repeat(40).parse().unwrap(),
        by: None,
        received_at: NOW(request),
    }
}

#[test]
fn a_request_becomes_one_build_however_often_it_is_taken() {
    let (_dir, mut builds) = builds();
    let first = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap();
    let again = builds.enqueue(&new(1, "refs/heads/main"), NOW(2)).unwrap();
    assert_eq!(first, again);
}

#[test]
fn a_newer_commit_supersedes_what_waits_on_its_ref_only() {
    let (_dir, mut builds) = builds();
    let running = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
    builds.claim(running, NOW(1)).unwrap();
    let waiting = builds.enqueue(&new(2, "refs/heads/main"), NOW(2)).unwrap().id;
    let other = builds.enqueue(&new(3, "refs/heads/dev"), NOW(3)).unwrap().id;
    let newest = builds.enqueue(&new(4, "refs/heads/main"), NOW(4)).unwrap();
    assert_eq!((newest.superseded, newest.running), (vec![waiting], vec![running]));
    let old = builds.get(waiting).unwrap().unwrap();
    assert_eq!((old.state, old.superseded_by), (BuildState::Superseded, Some(newest.id)));
    assert_eq!(builds.get(other).unwrap().unwrap().state, BuildState::Queued);
    // Taken again after a crash, an older request supersedes nothing that is newer.
    let late = builds.enqueue(&new(2, "refs/heads/main"), NOW(5)).unwrap();
    assert!(late.superseded.is_empty());
}

#[test]
fn a_strangers_commit_waits_until_it_alone_is_approved() {
    let (_dir, mut builds) = builds();
    let stranger = |request, sha: &str| NewBuild {
        sha: sha.repeat(40).parse().unwrap(),
        fork: true,
        needs_approval: true,
        ..new(request, "refs/pull/5/head")
    };
    let state = |builds: &Builds, id| builds.get(id).unwrap().unwrap().state;
    let first = builds.enqueue(&stranger(1, "a"), NOW(1)).unwrap();
    assert_eq!(first.state, BuildState::WaitingForApproval);
    assert!(builds.unfinished().unwrap().is_empty(), "it would be started");
    assert!(builds.claim(first.id, NOW(2)).is_err(), "it can be started");

    let approved = builds.approve(first.id, "ann", NOW(3)).unwrap().unwrap();
    assert_eq!((approved.state, approved.fork), (BuildState::Queued, true));
    let again = builds.approve(first.id, "bob", NOW(4)).unwrap().unwrap();
    assert_eq!(again.approved_by.as_deref(), Some("ann"), "said twice, it changes nothing");

    // The next one waits again, and takes nothing from the one that may run.
    let second = builds.enqueue(&stranger(2, "b"), NOW(5)).unwrap();
    assert_eq!(state(&builds, first.id), BuildState::Queued);
    let third = builds.enqueue(&stranger(3, "c"), NOW(6)).unwrap();
    assert_eq!(third.superseded, [second.id]);
    let late = builds.approve(second.id, "ann", NOW(7)).unwrap().unwrap();
    assert_eq!((late.state, late.approved_by), (BuildState::Superseded, None));
    assert!(builds.approve(BuildId::from_row(99), "ann", NOW(7)).unwrap().is_none());

    let approval = |sha: &str, git_ref: &str| {
        let (sha, git_ref) = (sha.repeat(40).parse().unwrap(), git_ref.parse().unwrap());
        builds.approval_of(&"site".parse().unwrap(), &git_ref, &sha).unwrap()
    };
    assert_eq!(approval("a", "refs/pull/5/head").as_deref(), Some("ann"));
    assert_eq!(approval("a", "refs/pull/6/head"), None);
    assert_eq!(approval("c", "refs/pull/5/head"), None);

    let ended = builds.request_cancel(third.id, "the pull request was closed", NOW(8)).unwrap();
    assert_eq!(ended, Some(BuildState::Cancelled));
}

#[test]
fn interrupted_is_queued_again_and_keeps_its_first_start() {
    let (_dir, mut builds) = builds();
    let id = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
    builds.claim(id, NOW(10)).unwrap();
    builds.step(id, BuildEvent::Interrupted, None, NOW(20)).unwrap();
    let again = builds.claim(id, NOW(30)).unwrap();
    assert_eq!((again.started_at, again.losses), (Some(NOW(10)), 0));
    builds.lost(id, NOW(40)).unwrap();
    assert_eq!(builds.get(id).unwrap().unwrap().losses, 1);
}

#[test]
fn cancelling_ends_a_queued_build_and_marks_a_running_one() {
    let (_dir, mut builds) = builds();
    let queued = builds.enqueue(&new(1, "refs/heads/a"), NOW(1)).unwrap().id;
    let running = builds.enqueue(&new(2, "refs/heads/b"), NOW(1)).unwrap().id;
    builds.claim(running, NOW(1)).unwrap();
    let cancel = |builds: &mut Builds, id| builds.request_cancel(id, "by ada", NOW(2)).unwrap();
    assert_eq!(cancel(&mut builds, queued), Some(BuildState::Cancelled));
    assert_eq!(cancel(&mut builds, running), Some(BuildState::Building));
    assert!(builds.get(running).unwrap().unwrap().cancel_requested);
    assert_eq!(cancel(&mut builds, BuildId::from_row(9)), None);
    assert!(matches!(builds.claim(queued, NOW(3)), Err(StoreError::WrongTurn(_))));
}

#[test]
fn outputs_keep_what_an_interrupted_run_finished() {
    let (_dir, mut builds) = builds();
    let id = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
    let api: ServiceName = "api".parse().unwrap();
    let web: ServiceName = "web".parse().unwrap();
    let plan = [(api.clone(), OutputKind::Service), (web.clone(), OutputKind::Site)];
    let path: StorePath = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api".parse().unwrap();
    builds.plan(id, "text", &plan).unwrap();
    assert_eq!(builds.output_built(id, &api, &path, NOW(2)).unwrap(), OutputState::Built);
    builds.output_failed(id, &web, "no", NOW(2)).unwrap();
    builds.plan(id, "text", &plan).unwrap();
    let states: Vec<_> = builds.outputs(id).unwrap().into_iter().map(|o| o.state).collect();
    assert_eq!(states, [OutputState::Built, OutputState::Pending]);

    let next = builds.enqueue(&new(2, "refs/heads/main"), NOW(3)).unwrap().id;
    builds.plan(next, "text", &plan).unwrap();
    assert_eq!(builds.output_built(next, &api, &path, NOW(4)).unwrap(), OutputState::Unchanged);
}

#[test]
fn what_a_run_may_have_left_is_asked_for_until_it_is_said_to_be_gone() {
    let (_dir, mut builds) = builds();
    let never_ran = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
    let unswept = |builds: &Builds| -> Vec<BuildId> {
        builds.unswept().unwrap().into_iter().map(|build| build.id).collect()
    };
    let ran = builds.enqueue(&new(2, "refs/heads/main"), NOW(1)).unwrap().id;
    assert_eq!(builds.get(never_ran).unwrap().unwrap().state, BuildState::Superseded);
    builds.claim(ran, NOW(2)).unwrap();
    assert_eq!(unswept(&builds), [], "it runs");
    builds.step(ran, BuildEvent::Interrupted, None, NOW(3)).unwrap();
    assert_eq!(unswept(&builds), [], "it runs again");
    builds.request_cancel(ran, "by ada", NOW(4)).unwrap();
    assert_eq!(unswept(&builds), [ran], "it does not run again");
    builds.swept(ran).unwrap();
    assert_eq!(unswept(&builds), []);
}

#[test]
fn what_a_reader_needs_stays_when_the_last_writer_leaves() {
    let (dir, mut builds) = builds();
    builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap();
    drop(builds);
    let path = dir.path().join("builds.db");
    let expect_both = |after: &str| {
        for suffix in ["db-wal", "db-shm"] {
            assert!(path.with_extension(suffix).exists(), "{suffix} after {after}");
        }
    };
    // First: here a reader could make them.
    expect_both("the writer");
    drop(Builds::open(&path, Access::ReadOnly).unwrap());
    expect_both("a reader");
}
