//! `kennel-api`: shows builds, and takes wishes about them into the inbox.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use kennel_api::{Api, limits};
use kennel_core::{Layout, error_chain};
use kennel_webhook::{ListenError, Options, Writer, serve, until_stopped};
use tracing::error;

/// Shows Kennel's builds over HTTP, and lets them be cancelled, to holders of a token.
///
/// Started by kennel-api.socket, and gone again after a minute without requests. The options are
/// for development.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
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
    let listeners = arguments.options.listeners()?;
    if listeners.is_empty() {
        return Err(RunError::NoSocket);
    }
    let layout = Layout::under(&arguments.options.root);
    let writer = Writer::start(layout.inbox_db(), layout.bell()).map_err(RunError::Thread)?;
    let api = Api::new(layout, writer, limits());

    let stop = until_stopped().map_err(RunError::Signal)?;
    serve(listeners, api, arguments.options.idle_exit(), stop).await;
    Ok(())
}
