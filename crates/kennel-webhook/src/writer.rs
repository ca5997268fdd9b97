//! The one thread that writes the inbox.
//!
//! What arrives while it waits for the disk becomes the next transaction, so that any number of
//! deliveries at once cost a few fsyncs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use kennel_core::{Delivery, error_chain};
use kennel_store::{Access, Appended, Inbox, StoreError};
use kennel_systemd::kill_point;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

/// Deliveries in one transaction at most, so that none waits long for the others' rows.
const MAX_BATCH: usize = 256;

/// The way to the thread.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
    /// Shared with each delivery that waits for its answer.
    waiting: Arc<()>,
}

/// The inbox cannot be written; nothing of the delivery was kept. Why is in the journal.
#[derive(Debug)]
pub struct Unavailable;

#[derive(Debug)]
struct Job {
    delivery: Delivery,
    answer: oneshot::Sender<Result<Appended, Unavailable>>,
}

impl Writer {
    /// Starts the thread. It opens the inbox when the first delivery comes, and again after each
    /// failure, so that neither needs a restart.
    ///
    /// # Errors
    /// If the system has no thread to spare.
    pub fn start(inbox: PathBuf, bell: PathBuf) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(MAX_BATCH);
        let mut inbox = LazyInbox { path: inbox, open: None };
        let thread = thread::Builder::new()
            .name("inbox".into())
            .spawn(move || work(jobs, &mut inbox, &bell))?;
        Ok(Self { queue, thread, waiting: Arc::default() })
    }

    /// When this returns, the delivery is on disk and the bell has rung.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn append(&self, delivery: Delivery) -> Result<Appended, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job { delivery, answer }).await.map_err(|_| Unavailable)?;
        let _waiting = Arc::clone(&self.waiting);
        answered.await.map_err(|_| Unavailable)?
    }

    /// Has one owner more than there are deliveries without an answer.
    pub(crate) fn waiting(&self) -> Weak<()> {
        Arc::downgrade(&self.waiting)
    }

    /// Waits until everything that was queued is written, and closes the inbox.
    pub fn finish(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            error!("the inbox's thread panicked; unanswered deliveries were not kept");
        }
    }
}

fn work(mut jobs: mpsc::Receiver<Job>, inbox: &mut LazyInbox, bell: &Path) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        // Whose sender was told 503 meanwhile must not be kept after all.
        batch.retain(|job| !job.answer.is_closed());
        if !batch.is_empty() {
            settle(batch, inbox, bell);
        }
    }
}

fn settle(batch: Vec<Job>, inbox: &mut LazyInbox, bell: &Path) {
    let (deliveries, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| (job.delivery, job.answer)).unzip();
    let results: Vec<_> = match inbox.append(&deliveries) {
        Ok(appended) => {
            for delivery in &deliveries {
                kill_point!(InboxRowCommitted, &delivery.project);
            }
            if let Err(error) = kennel_systemd::ring(bell) {
                warn!("{}, ignoring", error_chain(&error));
            }
            for delivery in &deliveries {
                kill_point!(BellRung, &delivery.project);
            }
            appended.into_iter().map(Ok).collect()
        }
        Err(error) => {
            error!(
                path = %inbox.path.display(),
                "{}; {} deliveries were refused with 503", error_chain(&error), deliveries.len()
            );
            deliveries.iter().map(|_| Err(Unavailable)).collect()
        }
    };
    for (answer, result) in answers.into_iter().zip(results) {
        // Its sender gave up between the commit and now: a redelivery will be a duplicate.
        let _gone = answer.send(result);
    }
}

struct LazyInbox {
    path: PathBuf,
    open: Option<(Inbox, FileId)>,
}

/// Device and inode.
type FileId = (u64, u64);

impl LazyInbox {
    fn append(&mut self, deliveries: &[Delivery]) -> Result<Vec<Appended>, StoreError> {
        let (inbox, id) = match self.open.take() {
            // SQLite writes on into a file that was removed or replaced, and the rows are lost.
            Some((inbox, id)) if file_id(&self.path).is_ok_and(|now| now == id) => (inbox, id),
            _ => self.open()?,
        };
        let (inbox, _) = self.open.insert((inbox, id));
        let appended = inbox.append(deliveries);
        if appended.as_ref().is_err_and(|error| !error.is_busy()) {
            self.open = None;
        }
        appended
    }

    fn open(&self) -> Result<(Inbox, FileId), StoreError> {
        let inbox = Inbox::open(&self.path, Access::Hasty)?;
        // A file that is gone again at once has no id, and is opened again the next time.
        let id = file_id(&self.path).unwrap_or_default();
        Ok((inbox, id))
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
