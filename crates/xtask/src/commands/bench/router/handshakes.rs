//! TLS connections for one request each, whole handshakes or resumed ones.
//!
//! By hand, since h2load makes a connection once and wrk leaves open whether it resumes. Whom it talks
//! to it does not check: what a client computes takes time that the proxy could use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, Stream,
};

use super::ground::HOST;
use super::proxies::Proxy;
use super::tools::Done;

/// At a time.
const CONNECTIONS: usize = 16;
/// For one connection.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes them for so long.
pub(super) fn run(proxy: &Proxy, resumed: bool, time: Duration) -> Result<Done> {
    let (count, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        let all: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (count, errors) = (&count, &errors);
                scope.spawn(move || -> Result<()> {
                    let config = config(resumed)?;
                    if resumed {
                        // The first one has nothing to resume.
                        connect(proxy, &config)?;
                    }
                    let wanted = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
                    while begun.elapsed() < time {
                        match connect(proxy, &config) {
                            Ok(kind) => {
                                ensure!(kind == wanted, "a handshake was {kind:?}");
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(_) => {
                                errors.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count.into_inner() as f64;
    let secs = begun.elapsed().as_secs_f64();
    Ok(Done { count, secs, errors: errors.into_inner(), p99_ms: 0.0 })
}

/// One connection, one request, one answer.
fn connect(proxy: &Proxy, config: &Arc<ClientConfig>) -> Result<HandshakeKind> {
    let mut socket = TcpStream::connect(("127.0.0.1", proxy.tls_port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(HOST)?)?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    write!(stream, "GET /1k HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::with_capacity(2048);
    // Some end without TLS's last word; what came before counts.
    let ended = stream.read_to_end(&mut answer);
    let is_whole = answer.starts_with(b"HTTP/1.1 200") && answer.len() > 1024;
    ensure!(is_whole, "not the whole answer came: {ended:?}");
    tls.handshake_kind().context("no handshake")
}

/// TLS 1.3 with X25519, which all of them can.
fn config(resumes: bool) -> Result<Arc<ClientConfig>> {
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// Believes whoever answers: it is this program's own proxy.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
