//! One request, from its first line to its answer.
//!
//! In this order, which is the point: address, method, headers, size, body, signature, and only
//! then what the body says. Up to the signature nothing depends on whether the project exists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use hmac::Mac;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::{Method, Request, Response};
use kennel_core::{Delivery, DeliveryId, Forge, ProjectName, Timestamp};
use kennel_store::Appended;
use kennel_systemd::kill_point;
use tokio::time::timeout;
use tracing::field::display;
use tracing::{info, warn};

use crate::body::{self, BodyError, Budget};
use crate::delivery_headers::{DeliveryHeaders, Encoding};
use crate::form;
use crate::limits::Limits;
use crate::load::Load;
use crate::log_quota::LogQuota;
use crate::outcome::{Accepted, Outcome, Refused};
use crate::room::Seat;
use crate::say;
use crate::secrets::Secrets;
use crate::serve::Service;
use crate::signature::{HmacSha256, Signatures};
use crate::understand::{Meaning, understand};
use crate::writer::Writer;

/// Everything that a request needs.
pub struct Receiver {
    secrets: Secrets,
    writer: Writer,
    limits: Limits,
    budget: Budget,
    hashed: Arc<AtomicUsize>,
    strangers: LogQuota,
    crowd: LogQuota,
    deliveries: LogQuota,
}

/// What is known of a delivery so far, for its line in the journal.
#[derive(Debug, Default)]
struct About {
    project: Option<ProjectName>,
    forge: Option<Forge>,
    event: Option<String>,
    delivery_id: Option<DeliveryId>,
}

impl Receiver {
    /// A receiver for the projects of `secrets`.
    #[must_use]
    pub fn new(secrets: Secrets, writer: Writer, limits: Limits) -> Self {
        Self {
            secrets,
            writer,
            budget: Budget::new(&limits),
            limits,
            hashed: Arc::default(),
            strangers: LogQuota::of_strangers(),
            crowd: LogQuota::of_strangers(),
            deliveries: LogQuota::of_deliveries(),
        }
    }

    /// What it carries, from now on until it is gone.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            budget: self.budget.clone(),
            waiting: self.writer.waiting(),
            hashed: Arc::clone(&self.hashed),
        }
    }

    async fn receive(
        &self,
        head: &hyper::http::request::Parts,
        body: &mut Incoming,
        about: &mut About,
        seat: &Seat,
    ) -> Outcome {
        let project = project_of(head.uri.path()).ok_or(Refused::NotFound)?;
        if head.method != Method::POST {
            return Err(Refused::WrongMethod);
        }
        let DeliveryHeaders { forge, event, delivery_id, signatures, encoding } =
            DeliveryHeaders::read(&head.headers)?;
        // A text that is no project's name goes the same way as a name that is no project's.
        let project: Option<ProjectName> = project.parse().ok();
        *about = About {
            project: project.clone(),
            forge: Some(forge),
            event: Some(event.clone()),
            delivery_id: delivery_id.clone(),
        };

        let mut body = body::read(body, &self.budget, &self.limits, seat).await?;
        seat.has_sent_all();
        let project = match (encoding, forge) {
            (Encoding::Json, _) => self.verify(project, &signatures, &body.bytes).await?,
            (Encoding::Form, Forge::Forgejo | Forge::Gitea) => {
                body.bytes = form::payload(&body.bytes)?;
                self.verify(project, &signatures, &body.bytes).await?
            }
            (Encoding::Form, Forge::Github) => {
                let project = self.verify(project, &signatures, &body.bytes).await?;
                body.bytes = form::payload(&body.bytes)?;
                project
            }
        };
        let meaning = understand(forge, &event, &body.bytes)?;
        // Its memory is for others while this one waits for the disk.
        drop(body);
        let (event, by) = match meaning {
            Meaning::Fact(event, by) => (event, by),
            Meaning::Ping => return Ok(Accepted::Ping),
            Meaning::Nothing(why) => return Ok(Accepted::Ignored(why)),
        };
        kill_point!(DeliveryVerified, &project);
        let understood = say::understood(&event);
        let received_at = Timestamp::from(SystemTime::now());
        let forge = Some(forge);
        let delivery = Delivery { project, forge, delivery_id, received_at, by, uid: None, event };
        match timeout(self.limits.inbox_time, self.writer.append(delivery)).await {
            Ok(Ok(Appended::New(event))) => Ok(Accepted::Queued { understood, event }),
            Ok(Ok(Appended::Duplicate(event))) => Ok(Accepted::Duplicate { understood, event }),
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable),
        }
    }

    /// The project, if there is one and all signatures over `signed` are right. Takes as long for
    /// a project that is not there.
    async fn verify(
        &self,
        project: Option<ProjectName>,
        signatures: &Signatures,
        signed: &[u8],
    ) -> Result<ProjectName, Refused> {
        let (mut mac, known_project) = self.secrets.key(project.as_ref());
        self.feed(&mut mac, signed).await;
        let right = signatures.verify(&mac);
        // `&` and not `&&`: both are known by now, and neither shall end the work early.
        match project {
            Some(project) if known_project & right => Ok(project),
            _ => Err(Refused::Unauthorized { known_project }),
        }
    }

    /// Gives way to other requests after each MiB, since there is one thread for all.
    async fn feed(&self, mac: &mut HmacSha256, bytes: &[u8]) {
        for chunk in bytes.chunks(1 << 20) {
            mac.update(chunk);
            self.hashed.fetch_add(chunk.len(), Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    fn log(&self, about: &About, outcome: &Outcome) {
        if matches!(outcome, Ok(Accepted::Queued { .. })) {
            match self.deliveries.take(Instant::now()) {
                None => return,
                Some(unlisted) => log_unlisted_deliveries(unlisted),
            }
        }
        let (word, sentence) = match outcome {
            Ok(accepted) => (accepted.word(), accepted.sentence()),
            Err(refused) => (refused.word(), self.journal_sentence(refused)),
        };
        let About { project, forge, event, delivery_id } = about;
        let line = say::journal_delivery(project.as_ref(), word, &sentence, delivery_id.as_ref());
        let project = project.as_ref().map(display);
        let forge = forge.map(display);
        let event = event.as_deref();
        match outcome {
            Ok(_) => info!(project, forge, event, outcome = word, "{line}"),
            Err(refused) => {
                if !refused.is_verified() {
                    match self.strangers.take(Instant::now()) {
                        None => return,
                        Some(0) => {}
                        Some(unlisted) => warn!("{}", say::journal_unlisted(unlisted)),
                    }
                }
                warn!(project, forge, event, outcome = word, "{line}");
            }
        }
    }

    /// The operator may know which of the two it is.
    fn journal_sentence(&self, refused: &Refused) -> String {
        match refused {
            Refused::Unauthorized { known_project: true } => say::journal_wrong_signature(),
            Refused::Unauthorized { known_project: false } => say::journal_unknown_project(),
            Refused::NotFound
            | Refused::WrongMethod
            | Refused::Headers(_)
            | Refused::Body(_)
            | Refused::Form(_)
            | Refused::Misunderstood(_)
            | Refused::Unavailable => refused.sentence(&self.limits),
        }
    }
}

impl Service for Receiver {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn status(&self) -> String {
        say::status(self.secrets.len())
    }

    async fn respond(&self, request: Request<Incoming>, seat: &Seat) -> Response<Full<Bytes>> {
        let awaits_go_on = request.headers().contains_key(EXPECT);
        let (head, mut body) = request.into_parts();
        let mut about = About::default();
        let outcome = self.receive(&head, &mut body, &mut about, seat).await;
        self.log(&about, &outcome);
        match outcome {
            Ok(accepted) => accepted.response(),
            Err(refused) => {
                // A socket that is closed while something unread is in it can take the answer
                // with it. Who waits for "go on" sends nothing; reading would tell it to.
                if !awaits_go_on && !body.is_end_stream() && worth_reading_on(&refused) {
                    tokio::spawn(timeout(self.limits.linger, throw_away(body)));
                }
                refused.response(&self.limits)
            }
        }
    }

    /// Strangers can have connections closed without end, so what is said of it is counted.
    fn crowded(&self) {
        if self.crowd.take(Instant::now()).is_some() {
            warn!("{}", say::journal_crowded(self.limits.connections));
        }
    }

    fn finish(self) {
        log_unlisted_deliveries(self.deliveries.rest());
        self.writer.finish();
    }
}

fn log_unlisted_deliveries(count: u64) {
    if count > 0 {
        info!("{}", say::journal_unlisted_deliveries(count));
    }
}

/// What stands for the project in `/webhook/<project>`, with or without a slash at the end.
fn project_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/webhook/")?;
    let project = rest.strip_suffix('/').unwrap_or(rest);
    (!project.is_empty() && !project.contains('/')).then_some(project)
}

/// Whether the sender may still be sending a body that nobody wants.
fn worth_reading_on(refused: &Refused) -> bool {
    match refused {
        Refused::Body(BodyError::TooSlow | BodyError::Broken) => false,
        Refused::NotFound
        | Refused::WrongMethod
        | Refused::Headers(_)
        | Refused::Body(BodyError::TooLarge | BodyError::NoMemory)
        | Refused::Form(_)
        | Refused::Unauthorized { .. }
        | Refused::Misunderstood(_)
        | Refused::Unavailable => true,
    }
}

/// Reads a body to its end.
pub async fn throw_away(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hooks_address() {
        assert_eq!(project_of("/webhook/site"), Some("site"));
        assert_eq!(project_of("/webhook/site/"), Some("site"));
        assert_eq!(project_of("/webhook/a%2Fb"), Some("a%2Fb"));
        for other in [
            "/",
            "/webhook",
            "/webhook/",
            "/webhook//",
            "/webhook/a/b",
            "/webhook/a//",
            "/Webhook/a",
            "/x/webhook/a",
        ] {
            assert_eq!(project_of(other), None, "{other}");
        }
    }
}
