//! The proof over HTTP that a name leads here (RFC 8555 §8.3): the router serves it from a file.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kennel_core::{HostName, HostPattern, Layout};
use kennel_store::whole_file;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::AcmeError;

/// How long this host's own look at a name may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this host gives to itself to find.
const TOKEN: &str = "kennel-looks-for-itself";

/// A file that the router serves, until this is dropped.
pub(crate) struct Answer {
    path: PathBuf,
}

impl Answer {
    /// Writes it. The token is the authority's, and becomes a file's name.
    pub(crate) fn give(layout: &Layout, token: &str, text: &str) -> Result<Self, AcmeError> {
        let path = layout.acme_challenges().join(token);
        if !Layout::is_challenge(token) {
            let why = "the certificate authority gives it a name that is none".to_owned();
            return Err(AcmeError::Content { path, why });
        }
        whole_file::replace(&path, text, 0o640).map_err(AcmeError::file("write", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // What is left harms nobody, and is written over.
        let _left = whole_file::remove(&self.path);
    }
}

/// Whether a name leads here, as far as this host can see: an authority allows few failures. Says
/// why not.
pub(crate) async fn leads_here(layout: &Layout, hosts: &HostPattern) -> Result<(), String> {
    let name = &match hosts {
        HostPattern::Host(host) => host.clone(),
        // Whatever is below it does.
        HostPattern::Wildcard(domain) => {
            format!("{TOKEN}.{domain}").parse().map_err(|error| format!("{hosts}: {error}"))?
        }
    };
    let text = format!("{name} leads to this host");
    let given = Answer::give(layout, TOKEN, &text).map_err(|error| error.to_string())?;
    let addresses: Vec<_> = match timeout(PATIENCE, lookup_host((name.as_str(), 80))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("{name} has no address: {error}")),
        Err(_) => return Err(format!("{name} has no address: no name server answers")),
    };
    for address in addresses {
        let Ok(Some(answer)) = timeout(PATIENCE, ask(address, name)).await else {
            // Behind a router that translates addresses, one's own may be out of reach.
            continue;
        };
        if answer != text.as_bytes() {
            return Err(format!("{name} leads to {}, where another server answers", address.ip()));
        }
    }
    drop(given);
    Ok(())
}

async fn ask(address: std::net::SocketAddr, name: &HostName) -> Option<Bytes> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{}{TOKEN}", Layout::CHALLENGE_PATH))
        .header("Host", name.as_str())
        .header("Connection", "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let body = Limited::new(answer.into_body(), 4096).collect().await;
    connection.abort();
    // Too long is another's.
    Some(body.map(Collected::to_bytes).unwrap_or_default())
}
