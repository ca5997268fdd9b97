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
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::client::Client;
use crate::counters::Counters;
use crate::forwarded::{Origin, Peer};
use crate::http1;
use crate::http2;
use crate::limits::Limits;
use crate::listen::Scheme;
use crate::pool::Pool;
use crate::say;
use crate::table::Table;
use crate::throttle::Throttle;
use crate::tls;

/// What a worker is told.
pub(crate) enum Order {
    /// Another worker has too many: this connection.
    Adopt(std::net::TcpStream, Origin),
    /// There is a new table.
    Refresh,
    /// Accept no more, and announce the end with each answer.
    Drain,
    /// Close idle connections, and the others after their answer.
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
    pub(crate) limits: Arc<Limits>,
    /// The most connections of this worker.
    pub(crate) connections: usize,
    pub(crate) crew: Arc<[Mate]>,
    pub(crate) orders: UnboundedReceiver<Order>,
    pub(crate) news: UnboundedSender<News>,
}

/// When a connection goes to another worker: with so many more than the least busy one.
const UNEVEN: u64 = 8;
/// How long to wait when no connection can be accepted, which is when descriptors run out.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Enough for hyper's tables of fields; only what is touched counts.
const STACK: usize = 1 << 20;

/// A worker's own things.
pub(crate) struct Worker {
    pub(crate) pool: Rc<Pool>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) throttle: Throttle,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) challenges: Arc<Path>,
    /// Places for connections to services: as many as there may be clients, though one of HTTP/2
    /// may have use for many.
    pub(crate) places: Arc<Semaphore>,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    clients: RefCell<HashMap<u64, Rc<Client>>>,
    last_client: Cell<u64>,
    ticking: Cell<bool>,
    phase: Cell<Phase>,
    crew: Arc<[Mate]>,
    room: Arc<Semaphore>,
    empty: Notify,
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
        limits,
        connections,
        crew,
        mut orders,
        news,
    } = setup;
    let counters = crew.get(index).map(|mate| Arc::clone(&mate.counters)).unwrap_or_default();
    let worker = Rc::new(Worker {
        pool: Rc::new(Pool::new(limits.upstream_idle_each)),
        limits,
        counters,
        throttle: Throttle::default(),
        acceptor,
        challenges,
        places: Arc::new(Semaphore::new(connections)),
        table: RefCell::new(Cache::new(table)),
        clients: RefCell::default(),
        last_client: Cell::new(0),
        ticking: Cell::new(false),
        phase: Cell::new(Phase::Serving),
        crew,
        room: Arc::new(Semaphore::new(connections)),
        empty: Notify::new(),
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
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            () = worker.empty.notified() => None,
        };
        match order {
            Some(Order::Adopt(stream, origin)) => match TcpStream::from_std(stream) {
                Ok(stream) => worker.serve(stream, origin),
                Err(error) => warn!("{}", say::accept_failed(&error)),
            },
            Some(Order::Refresh) => worker.refresh(),
            Some(Order::Drain) => {
                accepting.drain(..).for_each(|task| task.abort());
                worker.phase.set(Phase::Leaving);
                worker.clients.borrow().values().for_each(|client| client.wake());
            }
            Some(Order::Close) => {
                worker.phase.set(Phase::Closing);
                worker.clients.borrow().values().for_each(|client| client.wake());
            }
            None => {}
        }
        if worker.is_leaving() && worker.clients.borrow().is_empty() && orders.is_empty() {
            return;
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

    /// Lets go of the old table and of connections to what it alone led to.
    fn refresh(&self) {
        self.with_table(|table| {
            let keys: HashSet<_> = table.backends().collect();
            self.pool.keep_only(&keys);
        });
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
                    // Its receiver lives as long as the router.
                    Ok(stream) => drop(mate.orders.send(Order::Adopt(stream, origin))),
                    Err(error) => warn!("{}", say::accept_failed(&error)),
                }
            }
            Some(_) | None => self.serve(stream, origin),
        }
    }

    fn serve(self: &Rc<Self>, stream: TcpStream, origin: Origin) {
        let client = Rc::new(Client::new(Peer::of(origin)));
        let registered = self.register(&client);
        let worker = Rc::clone(self);
        spawn_local(async move {
            let _registered = registered;
            match origin.scheme {
                Scheme::Http => match http2::begins(&worker, &client, &stream).await {
                    Some(true) => http2::serve(worker, client, stream).await,
                    Some(false) => http1::serve(worker, client, stream).await,
                    None => {}
                },
                Scheme::Https => {
                    let Some(stream) = tls::accept(&worker, &client, stream).await else { return };
                    if stream.get_ref().1.alpn_protocol() == Some(http2::ALPN) {
                        http2::serve(worker, client, stream).await;
                    } else {
                        http1::serve(worker, client, stream).await;
                    }
                }
            }
        });
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
            if self.clients.borrow().is_empty() && self.pool.is_empty() {
                self.ticking.set(false);
                return;
            }
        }
    }
}

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
