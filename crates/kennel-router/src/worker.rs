//! A worker: one thread, one single-threaded runtime, its own connections from accept to close.
//!
//! Nothing on a request's path is shared with another worker but the route table, which is read
//! through a cached pointer, and files held in memory. Long work never runs here.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use kennel_core::DeploymentId;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::client::Client;
use crate::counters::Counters;
use crate::crowd::{Crowd, Seat};
use crate::direct::Direct;
use crate::forwarded::{Origin, Peer};
use crate::guard::Attempts;
use crate::http1;
use crate::http2;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::listen::Scheme;
use crate::network::Network;
use crate::pool::Pool;
use crate::proxy_protocol::{self, Said};
use crate::say;
use crate::shares::Shares;
use crate::table::Table;
use crate::throttle::Throttle;
use crate::tls;
use crate::trunk::Trunks;
use crate::tunnel::Tunnels;
use crate::upstream::Upstream;

/// What a worker is told.
pub(crate) enum Order {
    /// Another worker has too many: this connection.
    Adopt(std::net::TcpStream, Origin),
    /// There is a new table.
    Refresh,
    /// What this deployment has begun comes to its end.
    End(DeploymentId),
    /// Announce the end with each answer.
    Drain {
        /// Whether to accept connections all the same, since nobody else does.
        accepting: bool,
    },
    /// Accept no more, close idle connections, and the others after their answer.
    Close,
}

/// What a worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It accepts connections.
    Up,
    /// It has ended; that is right only on the way out.
    Ended,
}

/// A worker as the others see it.
pub(crate) struct Mate {
    pub(crate) counters: Arc<Counters>,
    pub(crate) orders: UnboundedSender<Order>,
}

/// What a worker starts with.
pub(crate) struct Setup {
    pub(crate) index: usize,
    pub(crate) listeners: Vec<(Scheme, std::net::TcpListener)>,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) challenges: Arc<Path>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) limits: Arc<Limits>,
    /// The most connections of this worker.
    pub(crate) connections: usize,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) crew: Arc<[Mate]>,
    pub(crate) orders: UnboundedReceiver<Order>,
    pub(crate) news: UnboundedSender<News>,
}

/// When a connection goes to another worker: with so many more than the least busy one.
const UNEVEN: u64 = 8;
/// Between two looks at who can be closed, on the way out.
const CLOSING: Duration = Duration::from_millis(20);
/// How long to wait when no connection can be accepted, which is when descriptors run out.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Enough for hyper's tables of fields; only what is touched counts.
const STACK: usize = 1 << 20;

/// A worker's own things.
pub(crate) struct Worker {
    /// Which one it is, from 0.
    pub(crate) index: usize,
    pub(crate) pool: Rc<Pool<Upstream>>,
    /// Those that requests without a body drive themselves.
    pub(crate) directs: Rc<Pool<Direct>>,
    pub(crate) trunks: Trunks,
    pub(crate) tunnels: Tunnels,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) throttle: Throttle,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) challenges: Arc<Path>,
    /// Passwords that are being tried.
    pub(crate) attempts: Arc<Attempts>,
    /// Places for connections to services: as many as there may be clients, though one of HTTP/2
    /// may have use for many.
    pub(crate) places: Arc<Semaphore>,
    /// How many of them each service has: half of them at most, so that it never keeps the others
    /// from theirs.
    pub(crate) shares: Shares,
    pub(crate) journal: Arc<Journal>,
    crowd: Arc<Crowd>,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    clients: RefCell<HashMap<u64, Rc<Client>>>,
    last_client: Cell<u64>,
    ticking: Cell<bool>,
    phase: Cell<Phase>,
    crew: Arc<[Mate]>,
    room: Arc<Semaphore>,
    empty: Notify,
    /// There is another table, or the end has begun.
    turned: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Leaving,
    Closing,
}

/// Starts a worker's thread.
pub(crate) fn start(setup: Setup) -> io::Result<()> {
    let thread = thread::Builder::new().name(format!("worker-{}", setup.index)).stack_size(STACK);
    thread.spawn(move || {
        let news = setup.news.clone();
        let _tells = TellsTheEnd(news);
        let runtime = Builder::new_current_thread()
            .enable_all()
            // For files that are not in the page cache.
            .max_blocking_threads(4)
            .thread_stack_size(256 << 10)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                runtime.block_on(run(setup));
                // A read that hangs must not hold up the end.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!("a worker cannot start: {error}"),
        }
    })?;
    Ok(())
}

/// Says so however the thread ends.
struct TellsTheEnd(UnboundedSender<News>);

impl Drop for TellsTheEnd {
    fn drop(&mut self) {
        // Nobody listens any more when the router itself has ended.
        let _ended = self.0.send(News::Ended);
    }
}

async fn run(setup: Setup) {
    let Setup {
        index,
        listeners,
        table,
        acceptor,
        challenges,
        attempts,
        limits,
        connections,
        crowd,
        journal,
        crew,
        mut orders,
        news,
    } = setup;
    let counters = crew.get(index).map(|mate| Arc::clone(&mate.counters)).unwrap_or_default();
    let worker = Rc::new(Worker {
        index,
        pool: Rc::new(Pool::new(limits.upstream_idle_each)),
        directs: Rc::new(Pool::new(limits.upstream_idle_each)),
        trunks: Trunks::default(),
        tunnels: Tunnels::default(),
        limits,
        counters,
        throttle: Throttle::default(),
        acceptor,
        challenges,
        attempts,
        places: Arc::new(Semaphore::new(connections)),
        shares: Shares::of(connections),
        journal,
        crowd,
        table: RefCell::new(Cache::new(table)),
        clients: RefCell::default(),
        last_client: Cell::new(0),
        ticking: Cell::new(false),
        phase: Cell::new(Phase::Serving),
        crew,
        room: Arc::new(Semaphore::new(connections)),
        empty: Notify::new(),
        turned: Notify::new(),
    });
    let mut accepting = Vec::new();
    for (scheme, listener) in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                accepting.push(spawn_local(Rc::clone(&worker).accept(scheme, listener)));
            }
            // Ends this worker, and with it the router.
            Err(error) => return tracing::error!("{}", say::accept_failed(&error)),
        }
    }
    // The control thread is always there; it ends last.
    let _up = news.send(News::Up);
    // Whether there may be more orders.
    let mut hears = true;
    loop {
        let order = tokio::select! {
            order = orders.recv(), if hears => {
                hears = order.is_some();
                order
            }
            () = worker.empty.notified() => None,
        };
        match order {
            Some(Order::Adopt(stream, origin)) => worker.adopt(stream, origin),
            Some(Order::Refresh) => worker.refresh(),
            Some(Order::End(deployment)) => worker.end_of(deployment),
            Some(Order::Drain { accepting: accepts }) => {
                if !accepts {
                    accepting.drain(..).for_each(|task| task.abort());
                }
                worker.phase.set(Phase::Leaving);
                worker.turned.notify_waiters();
                worker.clients.borrow().values().for_each(|client| client.wake());
            }
            Some(Order::Close) => {
                accepting.drain(..).for_each(|task| task.abort());
                worker.phase.set(Phase::Closing);
                worker.tunnels.end_all();
                spawn_local(Rc::clone(&worker).close());
            }
            None => {}
        }
        if worker.is_leaving() && accepting.is_empty() && worker.clients.borrow().is_empty() {
            // Whoever has a connection for this worker keeps it from here on.
            orders.close();
            if orders.is_empty() {
                return;
            }
        }
    }
}

impl Worker {
    /// Looks at the table in force.
    pub(crate) fn with_table<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(self.table.borrow_mut().load())
    }

    /// Whether each answer is to announce the connection's end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.phase.get() != Phase::Serving
    }

    /// Whether idle connections are to be closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() == Phase::Closing
    }

    /// Comes with the next table, or when the end begins.
    pub(crate) fn turned(&self) -> tokio::sync::futures::Notified<'_> {
        self.turned.notified()
    }

    /// Lets go of the old table and of connections to what it alone led to.
    fn refresh(&self) {
        self.with_table(|table| {
            let keys: HashSet<_> = table.backends().collect();
            self.pool.keep_only(&keys);
            self.directs.keep_only(&keys);
            self.trunks.keep_only(&keys);
            self.shares.keep_only(&keys);
        });
        self.turned.notify_waiters();
    }

    /// Has each connection end as soon as it may.
    async fn close(self: Rc<Self>) {
        loop {
            self.clients.borrow().values().for_each(|client| client.wake());
            sleep(CLOSING).await;
        }
    }

    /// Ends what a deployment has begun.
    fn end_of(&self, deployment: DeploymentId) {
        self.tunnels.end_of(deployment);
        self.clients.borrow().values().for_each(|client| client.end_of(deployment));
    }

    async fn accept(self: Rc<Self>, scheme: Scheme, listener: TcpListener) {
        let port = listener.local_addr().map(|address| address.port()).unwrap_or_default();
        loop {
            if self.room.available_permits() == 0 {
                self.make_room();
            }
            // Never closed, so it always gives one.
            let room = Arc::clone(&self.room).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    drop(room);
                    self.place(stream, Origin { peer, port, scheme });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.throttle.pass().is_some() {
                        warn!("{}", say::accept_failed(&error));
                    }
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Has the connection closed that has owed a request, or the rest of one, for the longest:
    /// whoever opens as many as there may be, and says nothing, would keep everybody else out.
    fn make_room(&self) {
        let clients = self.clients.borrow();
        let owing = clients.values().filter_map(|client| Some((client.owes_since()?, client)));
        if let Some((_, client)) = owing.min_by_key(|(since, _)| *since) {
            client.close();
        }
    }

    /// Serves a connection here, or gives it to a worker that has far fewer.
    fn place(self: &Rc<Self>, stream: TcpStream, origin: Origin) {
        let mine = self.counters.connections_open.now();
        let least = self.crew.iter().min_by_key(|mate| mate.counters.connections_open.now());
        match least {
            Some(mate) if mine > mate.counters.connections_open.now() + UNEVEN => {
                match stream.into_std() {
                    Ok(stream) => {
                        let sent = mate.orders.send(Order::Adopt(stream, origin));
                        // It comes back from a worker that has just ended.
                        if let Err(SendError(Order::Adopt(stream, origin))) = sent {
                            self.adopt(stream, origin);
                        }
                    }
                    Err(error) => warn!("{}", say::accept_failed(&error)),
                }
            }
            Some(_) | None => self.serve(stream, origin),
        }
    }

    fn adopt(self: &Rc<Self>, stream: std::net::TcpStream, origin: Origin) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, origin),
            Err(error) => warn!("{}", say::accept_failed(&error)),
        }
    }

    fn serve(self: &Rc<Self>, stream: TcpStream, origin: Origin) {
        let peer = Peer::of(origin);
        let announces = self.with_table(|table| table.rules.announces(&peer));
        // Where a proxy says for whom it is, that one is counted.
        let seat = if announces { Ok(None) } else { self.seat(&peer) };
        let Ok(mut seat) = seat else { return };
        let client = Rc::new(Client::new(peer));
        let registered = self.register(&client);
        let worker = Rc::clone(self);
        let mut stream = stream;
        spawn_local(async move {
            let _registered = registered;
            if announces {
                let Some(heard) = worker.hear(&client, &mut stream, origin).await else { return };
                seat = heard;
            }
            let _seat = seat;
            match origin.scheme {
                Scheme::Http => match http2::begins(&worker, &client, &stream).await {
                    // Each in a box: a task is as large as the largest thing that it ever does.
                    Some(true) => Box::pin(http2::serve(worker, client, stream)).await,
                    Some(false) => worker.serve_http1(&client, stream).await,
                    None => {}
                },
                Scheme::Https => {
                    let accepted = Box::pin(tls::accept(&worker, &client, stream)).await;
                    let Some(stream) = accepted else { return };
                    if stream.get_ref().1.alpn_protocol() == Some(http2::ALPN) {
                        Box::pin(http2::serve(worker, client, stream)).await;
                    } else {
                        Box::pin(http1::serve(worker, client, stream)).await;
                    }
                }
            }
        });
    }

    /// Serves a connection of HTTP/1 without TLS. While it has nothing to do, its socket is all that
    /// is left of it.
    async fn serve_http1(self: &Rc<Self>, client: &Rc<Client>, mut stream: TcpStream) {
        loop {
            let served = Box::pin(http1::serve(Rc::clone(self), Rc::clone(client), stream)).await;
            let Some(at_rest) = served else { return };
            if !http1::rest(self, client, &at_rest).await {
                return;
            }
            stream = at_rest;
        }
    }

    /// One of the places that a client has; none if its connections are not counted. An error if
    /// all are taken: then it is this connection that is not served, and nobody else's.
    fn seat(&self, peer: &Peer) -> Result<Option<Seat>, Taken> {
        let most = self.with_table(|table| table.rules.connections(peer));
        let Some(most) = most else { return Ok(None) };
        let seat = self.crowd.enter(Network::from(peer.address()), most);
        if seat.is_none() {
            self.counters.connections_refused.up();
            if let Some(more) = self.throttle.pass() {
                warn!("{}", say::too_many_connections(peer.address(), most, more));
            }
        }
        seat.map(Some).ok_or(Taken)
    }

    /// Learns from a proxy for whom a connection is, and takes a place of that one. None if the proxy
    /// does not say so in time, or as it has to: then one's requests could not be told from another's.
    async fn hear(
        &self,
        client: &Client,
        stream: &mut TcpStream,
        origin: Origin,
    ) -> Option<Option<Seat>> {
        let said = timeout(self.limits.proxy_header, proxy_protocol::read(stream)).await;
        match said {
            Ok(Ok(Some(Said::For(peer, here)))) => {
                client.is_for(Peer::of(Origin { peer, port: here.port(), ..origin }));
                self.seat(client.peer()).ok()
            }
            Ok(Ok(Some(Said::Own))) => Some(None),
            Ok(Ok(None)) => {
                if let Some(more) = self.throttle.pass() {
                    warn!("{}", say::silent_proxy(client.peer().address(), more));
                }
                None
            }
            // It has left, or says nothing.
            Ok(Err(_)) | Err(_) => None,
        }
    }

    fn register(self: &Rc<Self>, client: &Rc<Client>) -> Registered {
        let id = self.last_client.get().wrapping_add(1);
        self.last_client.set(id);
        self.clients.borrow_mut().insert(id, Rc::clone(client));
        self.counters.connections.up();
        self.counters.connections_open.up();
        // An adopted one may exceed the room for a moment, and then none is accepted.
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        if !self.ticking.replace(true) {
            spawn_local(Rc::clone(self).tick());
        }
        Registered { worker: Rc::clone(self), id, _room: room }
    }

    /// Looks at all deadlines now and then, while there are any: an idle router does not wake.
    async fn tick(self: Rc<Self>) {
        loop {
            sleep(self.limits.tick).await;
            let now = Instant::now();
            for client in self.clients.borrow().values() {
                client.sweep(now, &self.limits);
            }
            self.pool.sweep(now, self.limits.upstream_idle);
            self.directs.sweep(now, self.limits.upstream_idle);
            self.trunks.sweep(now, None);
            let is_idle = self.pool.is_empty() && self.directs.is_empty() && self.trunks.is_empty();
            if self.clients.borrow().is_empty() && is_idle {
                self.ticking.set(false);
                return;
            }
        }
    }
}

/// A client has as many connections as it may.
struct Taken;

/// Keeps a connection known and counted for as long as it is open.
struct Registered {
    worker: Rc<Worker>,
    id: u64,
    _room: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.clients.borrow_mut().remove(&self.id);
        self.worker.counters.connections_open.down();
        if self.worker.is_leaving() && self.worker.clients.borrow().is_empty() {
            self.worker.empty.notify_one();
        }
    }
}

/// Errors of a connection that ended before it was accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
