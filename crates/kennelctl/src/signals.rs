//! Waiting that a person may end.
//!
//! With Ctrl-C's default a program dies at once, and cannot say what goes on without it or give the
//! terminal back.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Signals, caught from the moment that this exists.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: Receiver<Signal>,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C, or somebody ends the program.
    End,
    /// The terminal has another size.
    Resized,
}

impl Signals {
    /// Catches them on a thread of its own.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::Runtime)?;
        let context = runtime.enter();
        let [mut interrupt, mut terminate, mut resized] = [
            signal(SignalKind::interrupt()).map_err(Failure::Runtime)?,
            signal(SignalKind::terminate()).map_err(Failure::Runtime)?,
            signal(SignalKind::window_change()).map_err(Failure::Runtime)?,
        ];
        drop(context);
        let (send, caught) = mpsc::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    let came = tokio::select! {
                        _ = interrupt.recv() => Signal::End,
                        _ = terminate.recv() => Signal::End,
                        _ = resized.recv() => Signal::Resized,
                    };
                    if send.send(came).is_err() {
                        return;
                    }
                }
            });
        });
        Ok(Self { caught })
    }

    /// Waits that long, or until a signal comes.
    pub(crate) fn wait(&self, length: Duration) -> Option<Signal> {
        self.caught.recv_timeout(length).ok()
    }
}
