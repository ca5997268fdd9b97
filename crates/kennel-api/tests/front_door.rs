//! Requests in, answers and wishes out: through a real socket, against real files.

// Helpers of tests, which the lints do not see as such.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread::JoinHandle;
use std::time::Duration;

use kennel_api::{Api, limits};
use kennel_core::{BuildEvent, BuildId, Event, EventId, Layout, Timestamp, TokenRight};
use kennel_store::{Access, Builds, Inbox, InboxEntry, NewBuild, NewToken, Tokens};
use kennel_webhook::{Address, End, Listeners, Writer, serve};
use serde_json::Value;
use tokio::sync::oneshot;

struct Host {
    _root: tempfile::TempDir,
    layout: Layout,
    bell: UnixDatagram,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<End>>,
}

impl Host {
    /// With builds 1 and 2 of `site` and 3 of `blog`, all queued.
    fn boot() -> Self {
        Self::with(None)
    }

    fn with(idle_exit: Option<Duration>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for directory in
            ["etc/kennel/tokens", "var/lib/kennel/inbox", "var/lib/kennel/builds", "run/kennel"]
        {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let bell = UnixDatagram::bind(layout.bell()).unwrap();
        bell.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut builds = Builds::open(&layout.builds_db(), Access::Patient).unwrap();
        for (request, project) in [(1, "site"), (2, "site"), (3, "blog")] {
            let new = NewBuild {
                request: EventId::from_row(request),
                project: project.parse().unwrap(),
                git_ref: format!("refs/heads/b{request}").parse().unwrap(),
                sha: "a".repeat(40).parse().unwrap(),
                by: Some("ada".into()),
                received_at: Timestamp::from_millis(1000),
                fork: false,
                needs_approval: false,
            };
            builds.enqueue(&new, Timestamp::from_millis(2000)).unwrap();
        }
        drop(builds);
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, ready) = std::sync::mpsc::channel();
        let of_server = layout.clone();
        let server = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut listeners = Listeners::default();
                listeners.bind(&Address::Unix(of_server.api_socket())).unwrap();
                let writer = Writer::start(of_server.inbox_db(), of_server.bell()).unwrap();
                let api = Api::new(of_server, writer, limits());
                listening.send(()).unwrap();
                let stop = async {
                    let _dropped = stopped.await;
                };
                serve(listeners, api, idle_exit, stop).await
            })
        });
        ready.recv().unwrap();
        Self { _root: root, layout, bell, stop: Some(stop), server: Some(server) }
    }

    fn token(&self, name: &str, project: &str, right: TokenRight, lifetime: i64) -> String {
        let now = Timestamp::from(std::time::SystemTime::now());
        let new = NewToken {
            name: name.parse().unwrap(),
            projects: project.parse().into_iter().collect(),
            right,
            created_at: now,
            created_by: "ada".into(),
            expires_at: Timestamp::from_millis(now.millis() + lifetime * 1000),
        };
        Tokens::of(&self.layout).create(new).unwrap().reveal().to_owned()
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = UnixStream::connect(self.layout.api_socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: kennel.test\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.trim_end().into() }
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &format!("Authorization: Bearer {token}\r\n"))
    }

    fn cancel(&self, id: &str, token: &str) -> Answer {
        let headers = format!("Authorization: Bearer {token}\r\nContent-Length: 0\r\n");
        self.ask("POST", &format!("/builds/{id}/cancel"), &headers)
    }

    fn wishes(&self) -> Vec<InboxEntry> {
        if !self.layout.inbox_db().exists() {
            return Vec::new();
        }
        Inbox::open(&self.layout.inbox_db(), Access::ReadOnly).unwrap().waiting(10).unwrap()
    }

    fn builds(&self) -> Builds {
        Builds::open(&self.layout.builds_db(), Access::Patient).unwrap()
    }

    /// Takes one wish when the bell rings, as the dispatcher would.
    fn dispatch(&self, take: impl FnOnce(&mut Builds, BuildId)) -> InboxEntry {
        self.bell.recv(&mut [0; 8]).unwrap();
        let mut inbox = Inbox::open(&self.layout.inbox_db(), Access::Patient).unwrap();
        let wish = inbox.waiting(10).unwrap().remove(0);
        let Event::Cancel { build } = &wish.delivery.event else { panic!("{wish:?}") };
        take(&mut self.builds(), *build);
        inbox.consume(wish.id, "as it was decided", NOW).unwrap();
        wish
    }
}

const NOW: Timestamp = Timestamp::from_millis(5000);

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(server) = self.server.take() {
            let ended = server.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn line(&self) -> String {
        format!("{} {}", self.status, self.body)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }
}

#[test]
fn a_build_is_shown_to_its_projects_tokens_alone() {
    let host = Host::boot();
    let site = host.token("reader", "site", TokenRight::Read, 60);
    let shown = host.get("/api/v1/builds/1", &site);
    insta::assert_snapshot!(shown.line(), @r#"200 {"id":1,"project":"site","branch":"b1","ref":"refs/heads/b1","commit":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","state":"queued","reason":null,"by":"ada","received_at":"1970-01-01T00:00:01.000Z","queued_at":"1970-01-01T00:00:02.000Z","started_at":null,"finished_at":null,"cancel_requested":false,"superseded_by":null}"#);
    assert!(shown.has_header("cache-control: no-store"), "{}", shown.head);
    // Of another project, of none, and no number: one answer but for the number itself.
    let other = host.get("/api/v1/builds/3", &site);
    insta::assert_snapshot!(other.line(), @r#"404 {"error":"there is no build 3 that this token is for"}"#);
    let none = host.get("/api/v1/builds/999", &site);
    assert_eq!(none.line(), other.line().replace('3', "999"));
    assert_eq!(host.get("/api/v1/builds/latest", &site).status, 404);
    let head = host.ask("HEAD", "/api/v1/builds/1", &format!("Authorization: Bearer {site}\r\n"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn without_a_token_that_counts_nothing_is_told() {
    let host = Host::boot();
    let good = host.token("good", "site", TokenRight::Cancel, 60);
    let expired = host.token("expired", "site", TokenRight::Cancel, -1);
    let revoked = host.token("revoked", "site", TokenRight::Cancel, 60);
    assert_eq!(host.get("/api/v1/builds/1", &revoked).status, 200);
    Tokens::of(&host.layout).revoke(&"revoked".parse().unwrap()).unwrap().unwrap().unwrap();
    for (method, path) in
        [("GET", "/api/v1/builds/1"), ("GET", "/api/v1/builds/999"), ("POST", "/builds/1/cancel")]
    {
        let missing = host.ask(method, path, "");
        assert_eq!(missing.status, 401);
        assert!(
            missing.has_header("www-authenticate: bearer realm=\"kennel\""),
            "{}",
            missing.head
        );
        let wrong = good.replace(char::is_numeric, "x");
        for token in [&wrong, &expired, &revoked, "", "x"] {
            let refused = host.ask(method, path, &format!("Authorization: Bearer {token}\r\n"));
            assert_eq!(refused.status, 401, "{method} {path} {token}");
            let challenge = "www-authenticate: bearer realm=\"kennel\", error=\"invalid_token\"";
            assert!(refused.has_header(challenge), "{}", refused.head);
            assert!(!refused.body.contains("site"), "{}", refused.body);
        }
        let basic = host.ask(method, path, &format!("Authorization: Basic {good}\r\n"));
        assert_eq!(basic.status, 401);
    }
    assert_eq!(host.ask("GET", &format!("/api/v1/builds/1?token={good}"), "").status, 401);
    assert!(host.wishes().is_empty());
}

#[test]
fn a_build_is_cancelled_and_the_wish_names_the_token() {
    let host = Host::boot();
    let token = host.token("ci", "site", TokenRight::Cancel, 60);
    let (answer, wish) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| host.cancel("1", &token));
        let wish = host.dispatch(|builds, id| {
            builds.request_cancel(id, "cancelled by token ci", NOW).unwrap();
        });
        (asked.join().unwrap(), wish)
    });
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"cancelled".into()));
    assert_eq!(wish.delivery.project.as_str(), "site");
    assert_eq!(wish.delivery.by.as_deref(), Some("token ci"));
    assert_eq!((wish.delivery.uid, wish.delivery.forge), (None, None));

    let again = host.cancel("1", &token);
    insta::assert_snapshot!(again.line(), @r#"409 {"error":"build 1 has ended already: it is cancelled"}"#);
    let unknown = host.cancel("999", &token);
    insta::assert_snapshot!(unknown.line(), @r#"404 {"error":"there is no build 999 that this token is for"}"#);
    assert_eq!(host.cancel("3", &token).status, 404);
    assert!(host.wishes().is_empty());
}

#[test]
fn one_that_ends_by_itself_meanwhile_is_a_conflict() {
    let host = Host::boot();
    let token = host.token("ci", "site", TokenRight::Cancel, 60);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| host.cancel("1", &token));
        host.dispatch(|builds, id| {
            builds.claim(id, NOW).unwrap();
            builds.step(id, BuildEvent::Failed, None, NOW).unwrap();
        });
        asked.join().unwrap()
    });
    insta::assert_snapshot!(answer.line(), @r#"409 {"error":"build 1 ended before it could be cancelled: it is failed (as it was decided)"}"#);
}

#[test]
fn who_may_read_may_not_cancel() {
    let host = Host::boot();
    let token = host.token("reader", "site", TokenRight::Read, 60);
    let refused = host.cancel("1", &token);
    insta::assert_snapshot!(refused.line(), @r#"403 {"error":"the token reader may look at builds and not cancel them; make one with `--may cancel`"}"#);
    assert_eq!(host.cancel("3", &token).status, 404);
    assert!(host.wishes().is_empty());
}

#[test]
fn health_is_whether_builds_can_be_read() {
    let host = Host::boot();
    insta::assert_snapshot!(host.ask("GET", "/health", "").line(), @r#"200 {"healthy":true}"#);
    let path = host.layout.builds_db();
    for suffix in ["db", "db-wal", "db-shm"] {
        std::fs::remove_file(path.with_extension(suffix)).unwrap();
    }
    let broken = host.ask("GET", "/health", "");
    insta::assert_snapshot!(broken.line(), @r#"503 {"healthy":false,"error":"Kennel's databases cannot be used now; ask again in a moment, and see `journalctl -u kennel-api` on the host if it stays so"}"#);
    assert!(broken.has_header("retry-after: 5"), "{}", broken.head);
    // The dispatcher comes, and makes what is missing.
    host.bell.recv(&mut [0; 8]).unwrap();
    drop(host.builds());
    assert_eq!(host.ask("GET", "/health", "").status, 200);
}

#[test]
fn figures_are_for_tokens_made_for_them() {
    let host = Host::boot();
    let metrics = host.token("prometheus", "", TokenRight::Metrics, 60);
    let cancel = host.token("ci", "site", TokenRight::Cancel, 60);
    assert_eq!(host.ask("GET", "/metrics", "").status, 401);
    assert_eq!(host.get("/metrics", &metrics.replace(char::is_numeric, "x")).status, 401);
    insta::assert_snapshot!(host.get("/metrics", &cancel).line(), @r#"403 {"error":"the token ci is for builds and not for figures; make one with `kennelctl token create NAME --may metrics`"}"#);
    insta::assert_snapshot!(host.get("/metrics", &metrics).line(), @r#"503 {"error":"the router does not tell its figures now; see `journalctl -u kennel-api` on the host"}"#);
    // Such a token is for nothing else.
    assert_eq!(host.get("/api/v1/builds/1", &metrics).status, 404);
    assert_eq!(host.cancel("1", &metrics).status, 404);

    let router = std::os::unix::net::UnixListener::bind(host.layout.router_socket()).unwrap();
    let router = std::thread::spawn(move || {
        let (mut stream, _) = router.accept().unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        let text = "kennel_router_hosts 3\n";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let told = host.get("/metrics", &metrics);
    assert_eq!(told.line(), "200 kennel_router_hosts 3");
    assert!(
        told.has_header("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        told.head
    );
    let asked = router.join().unwrap();
    assert!(asked.starts_with("GET /metrics HTTP/1.1\r\n"), "{asked}");
    assert!(!asked.to_lowercase().contains("authorization"), "{asked}");
    assert_eq!(host.ask("POST", "/metrics", "").status, 405);
}

#[test]
fn other_addresses_and_methods() {
    let host = Host::boot();
    let token = host.token("ci", "site", TokenRight::Cancel, 60);
    insta::assert_snapshot!(host.get("/builds", &token).line(), @r#"404 {"error":"there is nothing here; builds are at /api/v1/builds/<id>"}"#);
    let get = host.get("/builds/1/cancel", &token);
    insta::assert_snapshot!(get.line(), @r#"405 {"error":"this address takes POST alone"}"#);
    assert!(get.has_header("allow: post"), "{}", get.head);
    let delete = host.ask("DELETE", "/api/v1/builds/1", "");
    assert!(delete.status == 405 && delete.has_header("allow: get, head"), "{}", delete.head);
    assert!(host.wishes().is_empty());
}

#[test]
fn it_leaves_when_idle() {
    let mut host = Host::with(Some(Duration::from_millis(50)));
    assert_eq!(host.server.take().unwrap().join().unwrap(), End::Idle);
}
