//! A receiver on a Unix socket with everything it needs in a temporary root, and a forge.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use kennel_core::{Forge, Layout};
use kennel_store::{Access, Inbox, InboxEntry};
use kennel_webhook::{Address, End, Limits, Listeners, Load, Receiver, Secrets, Writer, serve};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "s3cret-of-site";
pub(crate) const A: &str = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2";
pub(crate) const B: &str = "b1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2";

pub(crate) struct Host {
    pub(crate) root: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) bell: UnixDatagram,
    pub(crate) load: Load,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<End>>,
}

impl Host {
    pub(crate) fn boot() -> Self {
        Self::with(Limits::default(), None)
    }

    pub(crate) fn with(limits: Limits, idle_exit: Option<Duration>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for directory in ["etc/kennel/webhook-secrets", "var/lib/kennel/inbox", "run/kennel"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        std::fs::write(layout.webhook_secrets().join("site"), format!("{SECRET}\n")).unwrap();
        let bell = UnixDatagram::bind(layout.bell()).unwrap();
        bell.set_nonblocking(true).unwrap();

        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, ready) = std::sync::mpsc::channel();
        let of_server = layout.clone();
        let server = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut listeners = Listeners::default();
                listeners.bind(&Address::Unix(of_server.webhook_socket())).unwrap();
                let secrets = Secrets::from_directory(&of_server.webhook_secrets()).unwrap();
                let writer = Writer::start(of_server.inbox_db(), of_server.bell()).unwrap();
                let receiver = Receiver::new(secrets, writer, limits);
                listening.send(receiver.load()).unwrap();
                let stop = async {
                    let _dropped = stopped.await;
                };
                serve(listeners, receiver, idle_exit, stop).await
            })
        });
        let load = ready.recv().unwrap();
        Self { root, layout, bell, load, stop: Some(stop), server: Some(server) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.layout.webhook_socket()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(crate) fn send(&self, delivery: &Delivery) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&delivery.bytes()).unwrap();
        Answer::read(stream)
    }

    pub(crate) fn rows(&self) -> Vec<InboxEntry> {
        Inbox::open(&self.layout.inbox_db(), Access::ReadOnly).unwrap().waiting(10_000).unwrap()
    }

    /// How often the bell has rung since the last look.
    pub(crate) fn rings(&self) -> usize {
        let mut byte = [0; 8];
        std::iter::from_fn(|| self.bell.recv(&mut byte).ok()).count()
    }

    /// Sends the head of a delivery, and returns once the server waits for its body.
    pub(crate) fn begin(&self, delivery: &Delivery) -> UnixStream {
        let mut stream = self.connect();
        let framing = format!("Content-Length: {}\r\nExpect: 100-continue", delivery.body.len());
        stream.write_all(delivery.head(&framing).as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// Waits until the server, told to stop, listens no more.
    pub(crate) fn until_closed(&self) {
        until(|| UnixStream::connect(self.socket()).is_err());
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn tell_to_stop(&mut self) {
        self.stop.take();
    }

    pub(crate) fn end(&mut self) -> End {
        self.server.take().unwrap().join().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(server) = self.server.take() {
            let ended = server.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

/// Looks until it is so.
pub(crate) fn until(so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A request, as a forge would send it.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Signed with [`SECRET`], JSON, for the project `site`.
    pub(crate) fn new(forge: Forge, event: &str, id: &str, payload: &Value) -> Self {
        // As GitHub and Gitea respectively write it: bytes, not values, are signed.
        let body = match forge {
            Forge::Github => serde_json::to_vec(payload).unwrap(),
            Forge::Forgejo | Forge::Gitea => serde_json::to_vec_pretty(payload).unwrap(),
        };
        Self::of_bytes(forge, event, id, body)
    }

    pub(crate) fn of_bytes(forge: Forge, event: &str, id: &str, body: Vec<u8>) -> Self {
        let headers = headers(forge, event, id, &sign(SECRET, &body));
        Self { method: "POST", path: "/webhook/site".into(), headers, body }
            .header("Content-Type", "application/json")
    }

    pub(crate) fn form(forge: Forge, event: &str, id: &str, payload: &Value) -> Self {
        let json = Self::new(forge, event, id, payload);
        let text = String::from_utf8(json.body.clone()).unwrap();
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &text)
            .finish()
            .into_bytes();
        let digits = match forge {
            Forge::Github => sign(SECRET, &body),
            Forge::Forgejo | Forge::Gitea => sign(SECRET, &json.body),
        };
        let headers = headers(forge, event, id, &digits);
        Self { headers, body, ..json }.header("Content-Type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn push(branch: &str, sha: &str, id: &str) -> Self {
        Self::new(Forge::Github, "push", id, &push(branch, sha))
    }

    pub(crate) fn to(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, part_of_name: &str) -> Self {
        self.headers.retain(|(name, _)| !name.to_lowercase().contains(part_of_name));
        self
    }

    /// The head, up to and with the empty line.
    pub(crate) fn head(&self, framing: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: kennel.test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(framing);
        head.push_str("\r\n\r\n");
        head
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(&format!("Content-Length: {}", self.body.len())).into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

pub(crate) fn push(branch: &str, sha: &str) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": B, "after": sha, "commits": [],
        "sender": {"login": "ada"},
    })
}

pub(crate) fn sign(secret: &str, bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(bytes);
    hex::encode(mac.finalize().into_bytes())
}

/// Forgejo sends all four families, Gitea three, GitHub its own.
fn headers(forge: Forge, event: &str, id: &str, digits: &str) -> Vec<(String, String)> {
    let families: &[&str] = match forge {
        Forge::Forgejo => &["Forgejo", "Gitea", "Gogs"],
        Forge::Gitea => &["Gitea", "Gogs"],
        Forge::Github => &[],
    };
    let mut headers = vec![
        ("X-GitHub-Delivery".to_owned(), id.to_owned()),
        ("X-GitHub-Event".into(), event.into()),
        ("X-Hub-Signature".into(), "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59".into()),
        ("X-Hub-Signature-256".into(), format!("sha256={digits}")),
    ];
    for family in families {
        headers.push((format!("X-{family}-Delivery"), id.into()));
        headers.push((format!("X-{family}-Event"), event.into()));
        headers.push((format!("X-{family}-Signature"), digits.into()));
    }
    headers
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(mut stream: impl Read) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.into() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Status and body in one line.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.status, self.body.trim_end())
    }

    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }
}
