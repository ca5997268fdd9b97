//! `kennel-webhook`: takes deliveries from forges into the inbox.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kennel_core::{Layout, error_chain};
use kennel_webhook::{
    Limits, ListenError, Options, Receiver, Secrets, SecretsError, Writer, serve, until_stopped,
};
use tracing::error;

/// Takes webhook deliveries from Forgejo, Gitea and GitHub into Kennel's inbox.
///
/// Started by kennel-webhook.socket, and gone again after a minute without requests. The options
/// are for development.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// A directory of files named after projects, each with its secret
    /// [default: $CREDENTIALS_DIRECTORY, then etc/kennel/webhook-secrets]
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("there is no socket to listen on; start kennel-webhook.socket, or give --listen")]
    NoSocket,
    #[error("cannot take the sockets")]
    Listen(#[from] ListenError),
    #[error("cannot take the webhook secrets")]
    Secrets(#[from] SecretsError),
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
            Self::Listen(_)
            | Self::Secrets(_)
            | Self::Thread(_)
            | Self::Runtime(_)
            | Self::Signal(_) => ExitCode::FAILURE,
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
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(receive(arguments))
}

async fn receive(arguments: &Arguments) -> Result<(), RunError> {
    let listeners = arguments.options.listeners()?;
    if listeners.is_empty() {
        return Err(RunError::NoSocket);
    }
    let layout = Layout::under(&arguments.options.root);
    let secrets = secrets(arguments, &layout)?;
    let writer = Writer::start(layout.inbox_db(), layout.bell()).map_err(RunError::Thread)?;
    let receiver = Receiver::new(secrets, writer, Limits::default());

    let stop = until_stopped().map_err(RunError::Signal)?;
    serve(listeners, receiver, arguments.options.idle_exit(), stop).await;
    Ok(())
}

fn secrets(arguments: &Arguments, layout: &Layout) -> Result<Secrets, SecretsError> {
    if let Some(directory) = &arguments.secrets {
        return Secrets::from_directory(directory);
    }
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => Secrets::from_credentials(directory.as_ref()),
        None => Secrets::from_directory(&layout.webhook_secrets()),
    }
}
