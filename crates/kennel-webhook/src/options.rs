//! What the programs that serve have on their command lines, and what ends them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::listeners::{Address, ListenError, Listeners};

/// Options of kennel-webhook and kennel-api, for development.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Also listen on IP:PORT or on a path with a `/` in it
    #[arg(long, value_name = "ADDR|PATH")]
    listen: Vec<Address>,
    /// Leave after so long without requests; 0 stays [default: 60 with systemd's sockets only]
    #[arg(long, value_name = "SECS")]
    idle_exit: Option<u64>,
    /// Where Kennel's files lie
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

impl Options {
    /// systemd's sockets and those that are named here; there may be none.
    ///
    /// # Errors
    /// Any [`ListenError`].
    pub fn listeners(&self) -> Result<Listeners, ListenError> {
        let mut listeners = Listeners::inherited()?;
        for address in &self.listen {
            listeners.bind(address)?;
        }
        Ok(listeners)
    }

    /// After how long without requests the program leaves; none if it stays.
    #[must_use]
    pub fn idle_exit(&self) -> Option<Duration> {
        // Nobody would start it again if it had opened its sockets itself.
        let default = if self.listen.is_empty() { 60 } else { 0 };
        let seconds = self.idle_exit.unwrap_or(default);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

/// Ends when somebody wants the program to end: SIGTERM or SIGINT, from now on.
///
/// # Errors
/// When the signals cannot be waited for.
pub fn until_stopped() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
