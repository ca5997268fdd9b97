//! Services that speak HTTP/2, whose every stream a test decides.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

/// A service on a port of its own.
pub(crate) struct StreamService {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A request that the router sent.
pub(crate) struct Stream {
    pub(crate) request: Request<RecvStream>,
    pub(crate) answer: SendResponse<Bytes>,
    /// Which connection of this service it is on, from 0.
    pub(crate) connection: usize,
}

impl StreamService {
    /// Runs `talk` for each stream.
    pub(crate) fn new<F>(talk: impl Fn(Stream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(|_| (), talk)
    }

    /// One with other settings.
    pub(crate) fn with<F>(
        set: impl Fn(&mut Builder) + Send + 'static,
        talk: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (counter, peak) = (Arc::clone(&connections), Arc::clone(&most));
        let talk = Arc::new(talk);
        thread::spawn(move || {
            crate::http2::runtime().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let number = counter.fetch_add(1, Ordering::SeqCst);
                    let (talk, peak) = (Arc::clone(&talk), Arc::clone(&peak));
                    let mut builder = Builder::new();
                    set(&mut builder);
                    tokio::spawn(async move {
                        let Ok(mut connection) = builder.handshake(stream).await else { return };
                        let open = Arc::new(AtomicUsize::new(0));
                        while let Some(Ok((request, answer))) = connection.accept().await {
                            let now = open.fetch_add(1, Ordering::SeqCst) + 1;
                            peak.fetch_max(now, Ordering::SeqCst);
                            let stream = Stream { request, answer, connection: number };
                            let (talk, open) = (Arc::clone(&talk), Arc::clone(&open));
                            tokio::spawn(async move {
                                talk(stream).await;
                                open.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                    });
                }
            });
        });
        Self { address, connections, most }
    }

    /// One that answers everything with this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::new(move |stream| async move { stream.says(text).await })
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The most streams that one connection had at a time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// What leads to it in a table.
    pub(crate) fn target(&self, deployment: u64) -> String {
        let port = self.address.port();
        format!(
            r#"{{"kind":"service","deployment":{deployment},"port":{port},"health_check":"/","protocol":"h2c"}}"#
        )
    }
}

impl Stream {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The next piece of its body.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        let body = self.request.body_mut();
        let piece = body.data().await?.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        Some(piece)
    }

    /// All of its body; nothing if it broke off.
    pub(crate) async fn body(&mut self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await {
            all.extend_from_slice(&piece);
        }
        self.request.body().is_end_stream().then_some(all)
    }

    /// Begins to answer.
    pub(crate) fn begin(&mut self, fields: &[(&'static str, &'static str)]) -> SendStream<Bytes> {
        let mut response = Response::builder().status(200);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.answer.send_response(response.body(()).unwrap(), false).unwrap()
    }

    /// Answers with this text.
    pub(crate) async fn says(mut self, text: &str) {
        let mut to = self.begin(&[]);
        send(&mut to, text.as_bytes()).await;
        let _gone = to.send_data(Bytes::new(), true);
    }
}

/// Sends as fast as it is taken. Says whether all of it was.
pub(crate) async fn send(to: &mut SendStream<Bytes>, bytes: &[u8]) -> bool {
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        to.reserve_capacity(rest.len());
        let Some(Ok(room)) = poll_fn(|cx| to.poll_capacity(cx)).await else { return false };
        if to.send_data(rest.split_to(room.min(rest.len())), false).is_err() {
            return false;
        }
    }
    true
}

/// Fields as trailers.
pub(crate) fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in fields {
        trailers.insert(*name, value.parse().unwrap());
    }
    trailers
}
