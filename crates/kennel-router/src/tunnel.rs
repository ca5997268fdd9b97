//! Upgraded connections: bytes from one side to the other until one of them ends, or both are told
//! that the way is.
//!
//! Runs inside the client's task, so that it is counted, woken and closed like one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kennel_core::DeploymentId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::frames::going_away;
use crate::lane::Lane;
use crate::traffic::Tunnelled;
use crate::trunk::Slot;
use crate::upstream::Stream;
use crate::worker::Worker;

/// The service's side of an agreed upgrade.
pub(crate) struct ServiceEnd {
    pub(crate) io: ServiceIo,
    /// What the service has sent already.
    pub(crate) said: Bytes,
    /// Whose it is; none if it is one of Kennel's own programs'.
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) is_websocket: bool,
}

/// A stream of bytes to a service.
pub(crate) enum ServiceIo {
    /// A connection of its own.
    Connection(Stream),
    /// One of a connection's streams, and its place among them.
    Stream { io: TokioIo<Upgraded>, counted: Option<Tunnelled>, _place: Slot },
}

/// A worker's open tunnels.
#[derive(Default)]
pub(crate) struct Tunnels {
    open: RefCell<HashMap<u64, Rc<Open>>>,
    last: Cell<u64>,
}

struct Open {
    deployment: Option<DeploymentId>,
    is_to_end: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Tunnels {
    /// Ends those of a deployment.
    pub(crate) fn end_of(&self, deployment: DeploymentId) {
        let open = self.open.borrow();
        open.values().filter(|it| it.deployment == Some(deployment)).for_each(|it| it.end());
    }

    /// Ends all.
    pub(crate) fn end_all(&self) {
        self.open.borrow().values().for_each(|it| it.end());
    }

    fn enter(&self, deployment: Option<DeploymentId>) -> u64 {
        let id = self.last.get().wrapping_add(1);
        self.last.set(id);
        let open = Open { deployment, is_to_end: Cell::new(false), waker: RefCell::new(None) };
        self.open.borrow_mut().insert(id, Rc::new(open));
        id
    }

    fn of(&self, id: u64) -> Option<Rc<Open>> {
        self.open.borrow().get(&id).cloned()
    }
}

impl Open {
    fn end(&self) {
        self.is_to_end.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn is_to_end(&self, cx: &Context<'_>) -> bool {
        if !self.is_to_end.get() {
            self.waker.replace(Some(cx.waker().clone()));
        }
        self.is_to_end.get()
    }
}

/// Keeps a tunnel known for as long as it runs.
struct Entered<'a> {
    tunnels: &'a Tunnels,
    id: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.tunnels.open.borrow_mut().remove(&self.id);
    }
}

/// Copies both ways. `early` is what the client sent before it knew of the agreement.
pub(crate) async fn run<C>(worker: Rc<Worker>, mut client: C, early: Bytes, service: ServiceEnd)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let _counted = worker.counters.tunnel();
    let ServiceEnd { io: mut service, said, deployment, is_websocket } = service;
    let id = worker.tunnels.enter(deployment);
    let _entered = Entered { tunnels: &worker.tunnels, id };
    let Some(open) = worker.tunnels.of(id) else { return };
    open.is_to_end.set(worker.is_closing());

    let mut up = Lane::new(&early, is_websocket);
    let mut down = Lane::new(&said, is_websocket);
    drop((early, said));
    // Nobody leads to it any more, and so it may be stopped.
    let is_gone = || deployment.is_some_and(|it| !worker.with_table(|table| table.leads_to(it)));
    // The service's last word, should it find no time for its own.
    let missing = || is_gone().then(|| going_away(None));
    let mut patience = None;
    poll_fn(|cx| {
        if patience.is_none() && open.is_to_end(cx) {
            down.end_with(going_away(None));
            up.end_with(going_away(Some(fastrand::u32(..))));
            patience = Some(Box::pin(sleep(worker.limits.linger)));
        }
        let sent = up.poll(cx, Pin::new(&mut client), Pin::new(&mut service), || None);
        if let Poll::Ready(Err(_service_left)) = sent {
            // What it said before may still be on its way to the client, and the word for it is.
            up.give_up();
            if patience.is_none() && !is_gone() {
                return Poll::Ready(());
            }
        }
        let answered = down.poll(cx, Pin::new(&mut service), Pin::new(&mut client), missing);
        // Either side may leave at any time and without a word; there is nobody to tell.
        if let Poll::Ready(Err(_client_left)) = answered {
            return Poll::Ready(());
        }
        if up.is_over() && down.is_over() {
            return Poll::Ready(());
        }
        match &mut patience {
            Some(patience) => patience.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
    if open.is_to_end.get() || is_websocket {
        // TLS and HTTP/2 say their own last words.
        let mut ends = pin!(async {
            let _left = client.shutdown().await;
            let _left = service.shutdown().await;
        });
        let _late = timeout(worker.limits.linger, &mut ends).await;
    }
}

impl AsyncRead for ServiceIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Stream { io, counted, .. } => {
                let before = buf.filled().len();
                let read = Pin::new(io).poll_read(cx, buf);
                counted.iter().for_each(|it| it.sent(buf.filled().len() - before));
                read
            }
        }
    }
}

impl AsyncWrite for ServiceIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Stream { io, counted, .. } => {
                let written = Pin::new(io).poll_write(cx, buf);
                if let (Some(counted), Poll::Ready(Ok(bytes))) = (counted, &written) {
                    counted.received(*bytes);
                }
                written
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(stream) => Pin::new(stream).poll_flush(cx),
            Self::Stream { io, .. } => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Stream { io, .. } => Pin::new(io).poll_shutdown(cx),
        }
    }
}
