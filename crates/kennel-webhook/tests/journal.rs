//! What is written down, and what is not.

// Helpers of tests, which the lints do not see as such.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod host;

use std::io;
use std::sync::{Arc, Mutex};

use host::{A, Delivery, Host, SECRET};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u8>>>);

impl Journal {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Journal {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// One test, since a process has one journal.
#[test]
fn one_line_per_delivery_no_secrets_and_no_flood() {
    let journal = Journal::default();
    tracing_subscriber::fmt()
        .with_writer(journal.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    let host = Host::boot();

    host.send(&Delivery::push("main", A, "id-1"));
    host.send(&Delivery::push("main", A, "id-1"));
    let ping = serde_json::json!({"zen": "in-the-body"});
    host.send(&Delivery::new(kennel_core::Forge::Forgejo, "ping", "id-2", &ping));
    host.send(&Delivery::push("main", A, "id-3").to("/webhook/other"));
    host.send(&Delivery::push("main", A, "id-4").to("/webhook/No%0aName"));
    let wrong = "sha256=0000000000000000000000000000000000000000000000000000000000000000";
    host.send(&Delivery::push("main", A, "id-5").header("X-Hub-Signature-256", wrong));
    host.send(&Delivery::push("main", A, "id-6").to("/favicon.ico").method("GET"));
    let lines = journal.take();
    insta::assert_snapshot!(lines, @r#"
    INFO site: queued: push of main at a1b2c3d4e5f6 (delivery id-1) project=site forge=github event="push" outcome="queued"
    INFO site: duplicate: push of main at a1b2c3d4e5f6 (delivery id-1) project=site forge=github event="push" outcome="duplicate"
    INFO site: ping: ping; the hook works (delivery id-2) project=site forge=forgejo event="ping" outcome="ping"
    WARN other: unauthorized: the project has no webhook secret; is there one in /etc/kennel/webhook-secrets? (delivery id-3) project=other forge=github event="push" outcome="unauthorized"
    WARN unauthorized: the project has no webhook secret; is there one in /etc/kennel/webhook-secrets? (delivery id-4) forge=github event="push" outcome="unauthorized"
    WARN site: unauthorized: the signature is wrong; does the hook have the project's secret? (delivery id-5) project=site forge=github event="push" outcome="unauthorized"
    WARN not_found: there is nothing here; a hook's address ends in /webhook/<project> outcome="not_found"
    "#);

    for _ in 0..200 {
        let delivery = Delivery::push("main", A, "id-7").header("X-Secret", "in-a-header");
        host.send(&delivery.to("/webhook/other"));
    }
    let flood = journal.take();
    assert!(flood.lines().count() <= 20, "{flood}");
    // A verified one is always written down.
    host.send(&Delivery::push("main", A, "id-1"));
    assert_eq!(journal.take().lines().count(), 1);
    for never in [SECRET, "in-the-body", "in-a-header", "sha256", "No%0aName"] {
        assert!(!lines.contains(never) && !flood.contains(never), "{never}");
    }
}
