//! `kennel-dispatch`: started by the bell, ends when there is nothing to do.

use std::process::ExitCode;

use clap::Parser;
use kennel_core::{Layout, error_chain};
use kennel_dispatch::{Bell, DispatchError, Dispatcher};
use kennel_systemd::{log_to_journal, ready};
use tracing::error;

/// Turns inbox rows into builds, deployments and teardowns. Started by systemd when the bell rings;
/// starting it by hand looks at everything once more.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    // Before anything that can fail: a bell left rung starts the program again at once, for ever.
    let bell = Bell::from_systemd();
    if let Ok(Some(bell)) = &bell {
        let _ = bell.drain();
    }
    Arguments::parse();
    log_to_journal();
    let run = bell.map_err(DispatchError::Bell).and_then(|bell| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DispatchError::Bell)?
            .block_on(run(bell.as_ref()))
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            match error {
                DispatchError::Config(_) => ExitCode::from(64),
                DispatchError::Store(_) | DispatchError::Manager(_) | DispatchError::Bell(_) => {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

async fn run(bell: Option<&Bell>) -> Result<(), DispatchError> {
    let mut dispatcher = Dispatcher::open(Layout::default()).await?;
    ready("looking");
    dispatcher.run(bell).await
}
