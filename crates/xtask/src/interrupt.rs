//! Ctrl-C and SIGTERM: what must be ended before this process ends.

use std::process::exit;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

static ONCE: Once = Once::new();

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs `clean` and exits with 128 and the signal's number, should SIGINT, SIGTERM or SIGHUP come.
///
/// The first call of a process counts; later ones change nothing.
///
/// # Errors
/// When the kernel refuses the handlers.
pub fn on_interrupt(clean: impl FnOnce() + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot listen for signals")?;
    ONCE.call_once(move || {
        thread::spawn(move || {
            let code = runtime.block_on(first_signal());
            INTERRUPTED.store(true, Ordering::SeqCst);
            clean();
            exit(code);
        });
    });
    Ok(())
}

/// To be called last: once a signal has come, it is not for the main thread to end the process,
/// whose cleaning goes on.
pub fn let_it_finish() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

async fn first_signal() -> i32 {
    let listen = |kind| signal(kind).ok();
    let (Some(mut int), Some(mut term), Some(mut hup)) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    ) else {
        // Without handlers the signals end this process at once; hosts left behind are found
        // by their owner's absence.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => 130,
        _ = term.recv() => 143,
        _ = hup.recv() => 129,
    }
}
