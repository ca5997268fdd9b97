//! `kennel-api`: shows builds, and takes wishes about them into the inbox.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kennel_api::{Api, limits};
use kennel_core::{Layout, error_chain};
use kennel_webhook::{Address, ListenError, Listeners, Writer, serve};
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;

/// Shows Kennel's builds over HTTP, and lets them be cancelled, to holders of a token.
///
/// Started by kennel-api.socket, and gone again after a minute without requests. The options are
/// for development.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Also listen on IP:PORT or on a path with a `/` in it
    #[arg(long, value_name = "ADDR|PATH")]
    listen: Vec<Address>,
    /// Leave after so long without requests; 0 stays [default: 60 with systemd's sockets only]
    #[arg(long, value_name = "SECS")]
    idle_exit: Option<u64>,
    /// Where Kennel's files lie
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("there is no socket to listen on; start kennel-api.socket, or give --listen")]
    NoSocket,
    #[error("cannot take the sockets")]
    Listen(#[from] ListenError),
    #[error("cannot start the inbox's thread")]
    Thread(#[source] io::Error),
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoSocket => ExitCode::from(64),
            Self::Listen(_) | Self::Thread(_) | Self::Runtime(_) | Self::Signal(_) => {
                ExitCode::FAILURE
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    kennel_systemd::log_to_journal();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            error.exit_code()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each reads a database for one request. TasksMax= of the unit leaves room for them.
        .max_blocking_threads(8)
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(answer(arguments))
}

async fn answer(arguments: &Arguments) -> Result<(), RunError> {
    let mut listeners = Listeners::inherited()?;
    for address in &arguments.listen {
        listeners.bind(address)?;
    }
    if listeners.is_empty() {
        return Err(RunError::NoSocket);
    }
    let layout = Layout::under(&arguments.root);
    let writer = Writer::start(layout.inbox_db(), layout.bell()).map_err(RunError::Thread)?;
    let api = Api::new(layout, writer, limits());

    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(listeners, api, idle_exit(arguments), stop).await;
    Ok(())
}

fn idle_exit(arguments: &Arguments) -> Option<Duration> {
    // Nobody would start it again if it had opened its sockets itself.
    let default = if arguments.listen.is_empty() { 60 } else { 0 };
    let seconds = arguments.idle_exit.unwrap_or(default);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
