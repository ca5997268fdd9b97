//! Reading what others write: builds, what became of a wish, and tokens.
//!
//! On threads apart, since there is one thread for all connections.

use std::path::PathBuf;

use kennel_core::{BuildId, EventId, Layout, Timestamp, error_chain};
use kennel_store::{Access, Build, Builds, Inbox, StoreError, Token, Tokens};
use tokio::task::spawn_blocking;

/// It cannot be read now; why, for the journal.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    layout: Layout,
}

impl Rows {
    pub(crate) fn of(layout: Layout) -> Self {
        Self { layout }
    }

    /// One build, if it exists.
    ///
    /// Opened for each look: nothing is held that a checkpoint would have to wait for, and whatever
    /// keeps it from being opened is over when it is over. A reader that may write nothing needs
    /// `-wal` and `-shm` to be there, which [`Builds`] leaves lying.
    pub(crate) async fn build(&self, id: BuildId) -> Result<Option<Build>, Unreadable> {
        let path = self.layout.builds_db();
        read(move || {
            let build = |path| Builds::open(path, Access::ReadOnly)?.get(id);
            build(&path).map_err(|error| unreadable(&error))
        })
        .await
    }

    /// What became of a wish; none while it waits.
    pub(crate) async fn outcome(&self, wish: EventId) -> Result<Option<String>, Unreadable> {
        let path = self.layout.inbox_db();
        read(move || {
            let outcome = |path| Inbox::open(path, Access::ReadOnly)?.outcome(wish);
            outcome(&path).map_err(|error| unreadable(&error))
        })
        .await
    }

    /// The token that the text is, if it is one.
    pub(crate) async fn token(
        &self,
        text: String,
        now: Timestamp,
    ) -> Result<Option<Token>, Unreadable> {
        let tokens = Tokens::of(&self.layout);
        read(move || tokens.find(&text, now).map_err(|error| Unreadable(error_chain(&error)))).await
    }

    /// Where the router tells its figures.
    pub(crate) fn router(&self) -> PathBuf {
        self.layout.router_socket()
    }

    /// Has the dispatcher come, who makes what is missing of the databases.
    pub(crate) fn ring(&self) {
        // It comes by itself within a minute.
        let _ = kennel_systemd::ring(&self.layout.bell());
    }
}

async fn read<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
) -> Result<T, Unreadable> {
    spawn_blocking(look).await.unwrap_or_else(|error| Err(Unreadable(error.to_string())))
}

fn unreadable(error: &StoreError) -> Unreadable {
    Unreadable(error_chain(error))
}
