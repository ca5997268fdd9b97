//! TLS as clients see it: who is let in, with which certificate, and what changes under them.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    StreamOwned, version,
};

use crate::client::{Answer, Client, read_body, read_head};
use crate::host::{PATIENCE, Router, service, short};
use crate::service::Service;

/// Who vouches for the certificates here.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Key and certificate in one file.
    pub(crate) fn issue(&self, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        format!("{}{}", key.serialize_pem(), made.pem())
    }

    /// What a client has that believes in it.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}

/// A TLS connection to the router.
pub(crate) struct Secured {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secured {
    /// Makes the handshake.
    pub(crate) fn connect(
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, name, config)
    }

    /// Makes the handshake on a connection that is there.
    pub(crate) fn over(
        mut stream: TcpStream,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Self { stream: BufReader::new(StreamOwned::new(tls, stream)) })
    }

    fn tls(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.tls().peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Sends exact bytes and reads the answer.
    pub(crate) fn ask(&mut self, bytes: &str) -> Answer {
        self.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        let head = read_head(&mut self.stream).expect("the connection ended before the answer");
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let body = read_body(&mut self.stream, &head, true).unwrap();
        Answer { status, head, body }
    }
}

/// A router that has these certificates, by file name.
pub(crate) fn router(certificates: &[(&str, &str)]) -> Router {
    Router::boot_with(short(), |dir| {
        fs::create_dir(dir.join("certs")).unwrap();
        for (file, text) in certificates {
            put(dir, file, text);
        }
    })
}

/// As kennel-acme does it.
fn put(dir: &Path, file: &str, text: &str) {
    let new = dir.join("certs").join(format!(".{file}.new"));
    fs::write(&new, text).unwrap();
    fs::rename(new, dir.join("certs").join(file)).unwrap();
}

#[test]
fn hosts_with_a_certificate_are_served_over_tls_and_no_other_way() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let service_behind = Service::echoing_heads();
    let target = service(7, service_behind.address);
    router.publish(&[("a.example", &target), ("b.example", &target)]);

    let mut secured = Secured::connect(router.secure, "a.example", &config).unwrap();
    assert_eq!(secured.tls().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(secured.tls().alpn_protocol(), None);
    let group = secured.tls().negotiated_key_exchange_group().map(SupportedKxGroup::name);
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    let answer = secured.get("a.example", "/x?y");
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("GET /x?y HTTP/1.1\n"), "{}", answer.text());
    assert!(answer.text().contains("x-forwarded-proto: https\n"), "{}", answer.text());
    assert!(answer.text().contains(&format!("x-forwarded-port: {}", router.secure.port())));
    assert_eq!(answer.field("strict-transport-security"), None);
    // Kept, as over plain HTTP.
    assert_eq!(secured.get("a.example", "/again").status, 200);

    let mut plain = router.client();
    let answer = plain.get("/x?y=1/2");
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("location"), Some("https://a.example/x?y=1/2"));
    let answer = plain.ask("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answer.field("location"), Some("https://a.example/"));
    let answer = plain.ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(answer.status, 200, "what has no certificate is served as before");
    assert!(answer.text().contains("x-forwarded-proto: http\n"), "{}", answer.text());
    assert_eq!(router.metric("tls_handshakes_total"), 1);
}

#[test]
fn what_the_operator_decides() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let text = authority.issue(&["a.example"]);
    let router = router(&[]);
    let (key, chain) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
    fs::write(router.dir().join("own.key"), key).unwrap();
    fs::write(router.dir().join("own.crt"), chain).unwrap();
    let behind = Service::saying("served");
    let dir = router.dir().display();
    router.publish_text(&format!(
        r#"{{"version":1,"generation":1,"tls":{{"redirect":false,"hsts_secs":86400,
             "certificates":[{{"certificate":"{dir}/own.crt","key":"{dir}/own.key"}}]}},
             "hosts":{{"a.example":[{{"prefix":"/","target":{}}}]}}}}"#,
        service(7, behind.address)
    ));
    router.until(|status| status.generation == Some(1));
    let mut secured = Secured::connect(router.secure, "a.example", &config).unwrap();
    let answer = secured.get("a.example", "/");
    assert_eq!(answer.field("strict-transport-security"), Some("max-age=86400"));
    let answer = router.client().get("/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("strict-transport-security"), None);
}

#[test]
fn names_that_are_not_served_are_refused_in_the_handshake() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let both = authority.issue(&["a.example", "unrouted.example", "*.w.example"]);
    let mut router = router(&[("a.pem", &both)]);
    let behind = Service::saying("served");
    let target = service(7, behind.address);
    router.publish(&[("a.example", &target), ("b.example", &target), ("c.w.example", &target)]);
    let address = router.secure;
    Secured::connect(address, "a.example", &config).unwrap();
    Secured::connect(address, "c.w.example", &config).unwrap();
    Secured::connect(address, "A.EXAMPLE", &config).unwrap();
    for name in ["unrouted.example", "b.example", "x.example", "d.w.example", "127.0.0.1"] {
        let refused = Secured::connect(address, name, &config).err().unwrap().to_string();
        assert!(refused.contains("fatal alert"), "{name}: {refused}");
    }
    // Whoever speaks HTTP there is answered with an alert as well, and nothing hangs.
    let mut plain = Client::connect(address);
    plain.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!plain.is_at_end());
    assert_eq!(router.metric("tls_handshakes_total"), 3);
    assert_eq!(router.metric("tls_handshakes_failed_total"), 6);
}

#[test]
fn a_connection_serves_the_names_of_its_certificate() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let mut router = router(&[
        ("both.pem", &authority.issue(&["a.example", "b.example"])),
        ("c.pem", &authority.issue(&["c.example"])),
    ]);
    let behind = Service::saying("served");
    let target = service(7, behind.address);
    router.publish(&[
        ("a.example", &target),
        ("b.example", &target),
        ("c.example", &target),
        ("d.example", &target),
    ]);
    let mut secured = Secured::connect(router.secure, "a.example", &config).unwrap();
    for (host, status) in [
        ("a.example", 200),
        ("b.example", 200),
        ("c.example", 421),
        ("d.example", 421),
        ("x.example", 404),
        ("a.example", 200),
    ] {
        assert_eq!(secured.get(host, "/").status, status, "{host}");
    }
}

#[test]
fn a_new_certificate_is_noticed_by_new_connections_only() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = Service::saying("served");
    let target = service(7, behind.address);
    router.publish(&[("a.example", &target)]);
    let mut old = Secured::connect(router.secure, "a.example", &config).unwrap();
    assert_eq!(old.get("a.example", "/").status, 200);

    put(router.dir(), "a.pem", &authority.issue(&["a.example"]));
    router.publish(&[("a.example", &target)]);
    let fresh = Arc::new(authority.client());
    let new = Secured::connect(router.secure, "a.example", &fresh).unwrap();
    assert_ne!(new.certificate(), old.certificate());
    assert_eq!(old.get("a.example", "/").status, 200);

    // What cannot be used changes nothing.
    let other_key = authority.issue(&["a.example"]);
    let mixed = format!(
        "{}{}",
        &other_key[..other_key.find("-----BEGIN CERTIFICATE").unwrap()],
        &authority.issue(&["a.example"])[..]
    );
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA";
    for text in [&mixed, torn, ""] {
        put(router.dir(), "a.pem", text);
        router.publish(&[("a.example", &target)]);
        let again = Secured::connect(router.secure, "a.example", &Arc::new(authority.client()));
        assert_eq!(again.unwrap().certificate(), new.certificate(), "{text}");
    }

    // Gone is gone.
    fs::remove_file(router.dir().join("certs/a.pem")).unwrap();
    router.publish(&[("a.example", &target)]);
    assert!(Secured::connect(router.secure, "a.example", &fresh).is_err());
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn clients_resume_whoever_accepts_them() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = Service::saying("served");
    router.publish(&[("a.example", &service(7, behind.address))]);
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut first = Secured::connect(router.secure, "a.example", &config).unwrap();
        assert_eq!(first.get("a.example", "/").status, 200);
        assert_eq!(first.tls().handshake_kind(), Some(HandshakeKind::Full));
        for _ in 0..8 {
            let mut next = Secured::connect(router.secure, "a.example", &config).unwrap();
            assert_eq!(next.tls().handshake_kind(), Some(HandshakeKind::Resumed));
            assert_eq!(next.get("a.example", "/").status, 200);
        }
    }
}

#[test]
fn kennels_own_host_is_within_reach_without_a_certificate() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let mut router = router(&[]);
    router.publish(&[("kennel.example", r#"{"kind":"socket","path":"/nonexistent"}"#)]);
    // It vouches for itself, which a client must be told to accept.
    let refused = Secured::connect(router.secure, "kennel.example", &config).err().unwrap();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    assert_eq!(plain(&router, "GET"), 503, "nobody is sent to what no browser believes");

    put(router.dir(), "kennel.pem", &authority.issue(&["kennel.example"]));
    router.publish(&[("kennel.example", r#"{"kind":"socket","path":"/nonexistent"}"#)]);
    let mut secured = Secured::connect(router.secure, "kennel.example", &config).unwrap();
    assert_eq!(secured.get("kennel.example", "/").status, 503);
    // A forge that knows the old address does not follow.
    assert_eq!((plain(&router, "GET"), plain(&router, "POST")), (308, 503));
}

/// How Kennel's own host answers over plain HTTP.
fn plain(router: &Router, method: &str) -> u16 {
    let head = format!("{method} / HTTP/1.1\r\nHost: kennel.example\r\nContent-Length: 0\r\n\r\n");
    router.client().ask(head).status
}

#[test]
fn certificate_authorities_find_their_answers() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = Service::saying("the service's own");
    let target = service(7, behind.address);
    router.publish(&[("a.example", &target), ("b.example", &target)]);
    let directory = router.dir().join("challenges");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("to-ken_1"), "to-ken_1.thumb").unwrap();
    fs::write(router.dir().join("secret"), "secret").unwrap();
    let mut client = router.client();
    let mut ask =
        |host: &str, path: &str| client.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    // Before a redirect, and before there is anything of that name.
    for host in ["a.example", "b.example", "x.example"] {
        let answer = ask(host, "/.well-known/acme-challenge/to-ken_1");
        assert_eq!((answer.status, answer.text()), (200, "to-ken_1.thumb"), "{host}");
    }
    for path in ["to-ken_2", "../secret", "..%2fsecret", "", "%74o-ken_1", "to-ken_1/"] {
        let answer = ask("b.example", &format!("/.well-known/acme-challenge/{path}"));
        assert_eq!((answer.status, answer.text()), (200, "the service's own"), "{path}");
    }
    assert_eq!(ask("a.example", "/.well-known/acme-challenge/to-ken_2").status, 308);
}

#[test]
fn whoever_begins_no_handshake_is_cut_off() {
    let authority = Authority::new();
    let limits = kennel_router::Limits { head: Duration::from_millis(200), ..short() };
    let router = Router::boot_with(limits, |dir| {
        fs::create_dir(dir.join("certs")).unwrap();
        put(dir, "a.pem", &authority.issue(&["a.example"]));
        // Links are followed: that is how others' tools keep what is current.
        symlink("a.pem", dir.join("certs/b.pem")).unwrap();
    });
    for bytes in ["", "\x16\x03\x01"] {
        let mut client = Client::connect(router.secure);
        client.send(bytes);
        assert!(client.is_at_end());
    }
    assert_eq!(router.metric("tls_handshakes_failed_total"), 2);
}
