//! TLS: who may begin, and with which certificate.
//!
//! One configuration for the router's whole life: certificates change in the table, so that no
//! connection notices. A name that is not served here is refused before a byte of HTTP.

mod certificates;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use certificates::{Certificates, Loaded};

use crate::client::{Client, Verdict};
use crate::http2;
use crate::table::Table;
use crate::worker::Worker;

/// What makes handshakes.
///
/// # Errors
/// If the machine has no randomness.
pub(crate) fn acceptor(table: Arc<ArcSwap<Table>>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(table)));
    // What scanners ask for; the order is rustls'.
    config.ignore_client_order = true;
    // One key for all workers, so that a client resumes whoever accepts it.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![http2::ALPN.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate of the host that the client asks for (RFC 6066 §3).
struct ByName(Arc<ArcSwap<Table>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        Some(Arc::clone(table.certificate(hello.server_name()?)?.key()))
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

/// Makes the handshake. None if it fails, takes too long, or the router ends.
pub(crate) async fn accept<S>(worker: &Worker, client: &Client, stream: S) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = pin!(worker.acceptor.accept(stream));
    let stream = poll_fn(|cx| {
        client.remember(cx.waker());
        if client.verdict() == Some(Verdict::Close) || worker.is_closing() {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Result::ok)
    })
    .await;
    match &stream {
        Some(stream) => {
            worker.counters.handshakes.up();
            client.asks_for(stream.get_ref().1.server_name().unwrap_or_default());
        }
        None => worker.counters.handshakes_failed.up(),
    }
    stream
}
