//! The control thread: start, reload, stop, and what systemd is told of it.
//!
//! Everything that takes long or happens once is done here, so that workers never wait for it. It
//! serves no client.

use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kennel_core::error_chain;
use kennel_systemd::{ready, reloading, stopping};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::counters::Counters;
use crate::crowd::Crowd;
use crate::ends::Ends;
use crate::guard::Attempts;
use crate::health::Monitor;
use crate::journal::Journal;
use crate::limits::{LOOKS_AT_ONCE, Limits};
use crate::listen::{SocketError, Sockets};
use crate::process::most_descriptors;
use crate::relief;
use crate::say;
use crate::site::Shelf;
use crate::status::{self, Started, State};
use crate::table::{Table, TableError};
use crate::tls;
use crate::worker::{self, Mate, News, Order, Setup};

/// What the router is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The route table.
    pub table: PathBuf,
    /// The directory of certificates.
    pub certificates: PathBuf,
    /// The passwords that routes ask for; no file if none does.
    pub logins: PathBuf,
    /// The directory of answers to certificate authorities.
    pub challenges: PathBuf,
    /// The journal's socket.
    pub journal: PathBuf,
    /// Where store paths are: `/nix/store`, but in tests.
    pub store: PathBuf,
    /// The socket on which another router is called for before this one leaves.
    pub relief: PathBuf,
    /// How many worker threads.
    pub workers: usize,
    /// The bounds.
    pub limits: Limits,
}

/// What the router is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read the table again.
    Reload,
    /// Finish what is under way and end.
    Stop,
}

/// The router cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The sockets are not what they must be.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The system refuses what every program may do.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The machine has no randomness, or none that TLS may use.
    #[error("cannot prepare TLS")]
    Tls(#[source] rustls::Error),
    /// Never expected; systemd starts it again.
    #[error("a worker ended by itself; see the lines above")]
    Worker,
}

impl RouterError {
    /// Whether only another set-up helps, and no second start.
    #[must_use]
    pub fn is_of_set_up(&self) -> bool {
        match self {
            Self::Sockets(_) => true,
            Self::Start(_) | Self::Tls(_) | Self::Worker => false,
        }
    }
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the table again.
///
/// # Errors
/// [`RouterError`] if it cannot start or a worker is lost.
pub fn run(settings: Settings, sockets: Sockets) -> Result<(), RouterError> {
    let (commands, receiver) = unbounded_channel();
    run_with(settings, sockets, receiver, |_| {
        for (kind, command) in [
            (SignalKind::hangup(), Command::Reload),
            (SignalKind::terminate(), Command::Stop),
            (SignalKind::interrupt(), Command::Stop),
        ] {
            let mut signal = signal(kind)?;
            let commands = commands.clone();
            spawn_local(async move {
                while signal.recv().await.is_some() && commands.send(command).is_ok() {}
            });
        }
        Ok(())
    })
}

/// Runs inside another program, which gives the commands.
///
/// # Errors
/// [`RouterError`] if it cannot start or a worker is lost.
pub fn run_embedded(
    settings: Settings,
    sockets: Sockets,
    commands: UnboundedReceiver<Command>,
) -> Result<(), RouterError> {
    run_with(settings, sockets, commands, |_| Ok(()))
}

fn run_with(
    settings: Settings,
    sockets: Sockets,
    commands: UnboundedReceiver<Command>,
    prepare: impl FnOnce(&Settings) -> io::Result<()>,
) -> Result<(), RouterError> {
    sockets.prepare()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build_local(LocalOptions::default())
        .map_err(RouterError::Start)?;
    let ended = runtime.block_on(async {
        prepare(&settings).map_err(RouterError::Start)?;
        let control = Control::start(settings, sockets).await?;
        control.serve(commands).await
    });
    // A table that is just being read is of no use any more.
    runtime.shutdown_background();
    ended
}

/// How often is looked whether anybody is left, and whether there is another table, on the way out.
const LOOK: Duration = Duration::from_millis(20);

struct Control {
    loader: Rc<Loader>,
    news: UnboundedReceiver<News>,
    /// Where others call for this router; none for the one that is always there.
    calls: Option<UnixListener>,
}

impl Control {
    /// Loads the table, starts the workers, and says so when all accept.
    async fn start(settings: Settings, mut sockets: Sockets) -> Result<Self, RouterError> {
        let limits = Arc::new(settings.limits.clone());
        let workers = settings.workers.max(1);
        let table = Arc::new(ArcSwap::from_pointee(Table::empty().for_workers(workers)));
        let challenges = Arc::from(settings.challenges.as_path());
        let acceptor = tls::acceptor(Arc::clone(&table)).map_err(RouterError::Tls)?;
        let (mates, receivers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (orders, receiver) = unbounded_channel();
                (Mate { counters: Arc::new(Counters::default()), orders }, receiver)
            })
            .unzip();
        let crew: Arc<[Mate]> = mates.into();
        let attempts = Arc::new(Attempts::default());
        let (tell, news) = unbounded_channel();
        let state = Rc::new(State {
            table: Arc::clone(&table),
            refused: Default::default(),
            started: Started::now(),
            monitor: Rc::new(Monitor::new(Arc::clone(&limits), &table.load())),
            counters: crew.iter().map(|mate| Arc::clone(&mate.counters)).collect(),
            journal: Arc::new(Journal::new(settings.journal.clone())),
        });
        let loader = Rc::new(Loader {
            shelf: Arc::new(Shelf::new(settings.store.clone(), limits.memory)),
            state: Rc::clone(&state),
            ends: Ends::new(Arc::clone(&crew)),
            crew: Arc::clone(&crew),
            settings,
        });
        let mut control = Self { loader, news, calls: None };
        control.loader.load().await;
        spawn_local(Rc::clone(&state.monitor).run());
        let connections = (limits.connections.min(affordable()) / workers).max(1);
        let crowd = Arc::new(Crowd::default());
        for (index, orders) in receivers.into_iter().enumerate() {
            worker::start(Setup {
                index,
                listeners: sockets.duplicates()?,
                table: Arc::clone(&table),
                acceptor: acceptor.clone(),
                challenges: Arc::clone(&challenges),
                attempts: Arc::clone(&attempts),
                limits: Arc::clone(&limits),
                connections,
                crowd: Arc::clone(&crowd),
                journal: Arc::clone(&state.journal),
                crew: Arc::clone(&crew),
                orders,
                news: UnboundedSender::clone(&tell),
            })
            .map_err(RouterError::Start)?;
        }
        for _ in 0..workers {
            if control.news.recv().await != Some(News::Up) {
                return Err(RouterError::Worker);
            }
        }
        if let Some(listener) = sockets.status.take() {
            let listener = UnixListener::from_std(listener).map_err(RouterError::Start)?;
            spawn_local(status::serve(Rc::clone(&state), listener));
        }
        let calls = sockets.relief.take().map(UnixListener::from_std).transpose();
        control.calls = calls.map_err(RouterError::Start)?;
        ready(&state.line());
        Ok(control)
    }

    async fn serve(mut self, mut commands: UnboundedReceiver<Command>) -> Result<(), RouterError> {
        let is_relief = self.calls.is_some();
        let stay = self.loader.settings.limits.stay;
        let calls = self.calls.take();
        let mut held = pin!(async {
            match calls {
                Some(calls) => relief::hold(calls, stay).await,
                None => pending().await,
            }
        });
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                () = &mut held => None,
                // Whatever it says: a worker that is up has nothing more to say.
                _ = self.news.recv() => return Err(RouterError::Worker),
            };
            match command {
                Some(Command::Reload) => {
                    reloading();
                    self.loader.load().await;
                    ready(&self.loader.state.line());
                }
                Some(Command::Stop) | None => {
                    self.stop(is_relief).await;
                    return Ok(());
                }
            }
        }
    }

    /// First every answer announces the end while kept connections are still served, so that no
    /// client sends into a closing one; then idle ones are closed; then the rest is waited for. What
    /// is asked meanwhile is answered by the newest table, though nobody tells any more that there is
    /// one.
    ///
    /// New ones are another router's from the beginning on. If there is none, they are served until
    /// idle ones are closed, and wait for the next start from then on.
    async fn stop(&mut self, is_relief: bool) {
        let Self { loader, news, .. } = self;
        stopping();
        kennel_systemd::status(&say::leaving(loader.state.open()));
        spawn_local(Rc::clone(loader).follow());
        let limits = &loader.settings.limits;
        let relieved = match is_relief {
            true => None,
            false => relief::call(&loader.settings.relief, limits.relief).await,
        };
        let now = Instant::now();
        let mut left = loader.crew.len();
        let accepting = !is_relief && relieved.is_none();
        loader.order(|| Order::Drain { accepting });
        let lingers = now + limits.linger.min(limits.stop);
        if accepting {
            loader.idle_or(lingers).await;
        } else {
            left = wait(news, left, lingers).await;
        }
        loader.order(|| Order::Close);
        left = wait(news, left, now + limits.stop).await;
        if left > 0 {
            info!("{}", say::cut_off(loader.state.open()));
        }
        loader.state.journal.finish();
    }
}

/// What puts tables in force.
struct Loader {
    settings: Settings,
    shelf: Arc<Shelf>,
    state: Rc<State>,
    crew: Arc<[Mate]>,
    ends: Rc<Ends>,
}

impl Loader {
    /// Puts the table on disk in force, or keeps the old one and says why.
    async fn load(&self) {
        let old = self.state.table.load_full();
        let (path, shelf) = (self.settings.table.clone(), Arc::clone(&self.shelf));
        let certificates = self.settings.certificates.clone();
        let logins = self.settings.logins.clone();
        let previous = Arc::clone(&old);
        let loaded =
            spawn_blocking(move || Table::load(&path, &certificates, &logins, &shelf, &previous))
                .await;
        let refusal = match loaded {
            Ok(Ok(table)) => {
                if let (Some(old), Some(new)) = (old.generation, table.generation)
                    && new < old
                {
                    warn!("{}", say::older(old, new));
                }
                info!("{}", say::loaded(table.generation, table.hosts(), table.certificates()));
                self.state.monitor.follow(&table);
                let table = Arc::new(table);
                self.state.table.store(Arc::clone(&table));
                self.ends.follow(&old, &table);
                None
            }
            // Before the first publication there is none.
            Ok(Err(TableError::Missing { .. })) if old.generation.is_none() => None,
            Ok(Err(error)) => Some(error_chain(&error)),
            Err(panicked) => Some(panicked.to_string()),
        };
        if let Some(reason) = &refusal {
            warn!("{}", say::refused(reason));
        }
        *self.state.refused.borrow_mut() = refusal;
        self.order(|| Order::Refresh);
    }

    /// Puts each table in force that comes to be there.
    async fn follow(self: Rc<Self>) {
        let look =
            || fs::metadata(&self.settings.table).map(|file| (file.ino(), file.mtime_nsec()));
        // The one in force may be older than what is there.
        let mut known = None;
        loop {
            let found = look().ok();
            if found != known {
                known = found;
                self.load().await;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until there is no connection, or until then.
    async fn idle_or(&self, until: Instant) {
        while self.state.open() > 0 && Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }

    fn order(&self, order: impl Fn() -> Order) {
        for mate in self.crew.iter() {
            // One that has ended needs no orders.
            let _ended = mate.orders.send(order());
        }
    }
}

/// Waits for `left` workers to end; returns how many have not.
async fn wait(news: &mut UnboundedReceiver<News>, mut left: usize, until: Instant) -> usize {
    while left > 0 {
        match timeout_at(until, news.recv()).await {
            Ok(Some(News::Ended)) => left -= 1,
            Ok(Some(News::Up)) => {}
            Ok(None) => return 0,
            Err(_elapsed) => return left,
        }
    }
    0
}

/// How many clients the descriptors suffice for: each may need one more to a service, and looks at
/// services' health are not kept from them. Read, since the limit belongs to the unit (`LimitNOFILE=`).
fn affordable() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let descriptors = usize::try_from(most_descriptors(&limits)).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(64 + LOOKS_AT_ONCE) / 2).max(16)
}

/// How many workers this machine has use for.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
