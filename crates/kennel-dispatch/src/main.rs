//! `kennel-dispatch`: started by the bell, ends when there is nothing to do.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use kennel_core::{Layout, error_chain};
use kennel_dispatch::{Bell, DispatchError, Dispatcher, Start};
use kennel_systemd::{log_to_journal, ready};
use tracing::error;

/// How long a ring that cannot be answered keeps this program: whoever may ring can do so without
/// end, and each ring that is unheard at its end starts it again. A second, so that a repair is not
/// kept waiting.
const RING_WITHOUT_CONFIG: Duration = Duration::from_secs(1);

/// Turns inbox rows into builds, deployments and teardowns. Started by systemd when the bell rings;
/// starting it by hand looks at everything once more.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    // Before anything that can fail: a bell left rung starts the program again at once, for ever.
    let bell = Bell::from_systemd();
    let rung = bell.as_ref().is_ok_and(|bell| bell.as_ref().is_some_and(Bell::drain));
    Arguments::parse();
    log_to_journal();
    let run = bell.map_err(DispatchError::Bell).and_then(|bell| {
        // The bus is spoken to on a thread of its own, beside files and databases.
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(DispatchError::Bell)?
            .block_on(run(bell.as_ref(), rung))
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            match error {
                DispatchError::Config(_) => {
                    if rung {
                        thread::sleep(RING_WITHOUT_CONFIG);
                    }
                    ExitCode::from(64)
                }
                DispatchError::Store(_) | DispatchError::Manager(_) | DispatchError::Bell(_) => {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

async fn run(bell: Option<&Bell>, rung: bool) -> Result<(), DispatchError> {
    let mut dispatcher = Dispatcher::open(Layout::default()).await?;
    ready("looking");
    dispatcher.run(bell, Start::of(rung)).await
}
