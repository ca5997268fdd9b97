//! One request, from its first line to its answer.
//!
//! In this order: address, method, token, and only then what there is. Without a token nobody
//! learns which builds exist, and with one only of its own projects.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use kennel_core::{
    BuildId, BuildState, Delivery, Event, EventId, Layout, Timestamp, TokenRight, error_chain,
};
use kennel_store::{Appended, Build, Token};
use kennel_webhook::{Limits, LogQuota, Seat, Service, Writer, throw_away};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::answer::{Done, Outcome, Refused, response};
use crate::bearer::Bearer;
use crate::build_view::BuildView;
use crate::metrics;
use crate::route::Route;
use crate::rows::{Rows, Unreadable};
use crate::say;

/// A running build is gone within two seconds; the rest is for a host that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

/// Everything that a request needs.
pub struct Api {
    rows: Rows,
    writer: Writer,
    limits: Limits,
    strangers: LogQuota,
    crowd: LogQuota,
    trouble: LogQuota,
}

/// What one sender may cost: requests have no bodies, and few people hold tokens.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        connections: 64,
        // As long as a cancellation may wait, so that a stop cuts none off.
        linger: PATIENCE + Duration::from_secs(2),
        ..Limits::default()
    }
}

impl Service for Api {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn status(&self) -> String {
        say::status()
    }

    async fn respond(&self, request: Request<Incoming>, seat: &Seat) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        // No body says anything here, so nobody waits for one.
        seat.has_sent_all();
        let route = Route::of(head.uri.path());
        let outcome = self.answer(route, &head).await;
        // A socket that is closed while something unread is in it can take the answer with it. Who
        // waits for "go on" sends nothing; reading would tell it to.
        if !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
            tokio::spawn(timeout(Duration::from_secs(5), throw_away(body)));
        }
        response(route, &outcome)
    }

    /// Strangers can have connections closed without end, so what is said of it is counted.
    fn crowded(&self) {
        if self.crowd.take(Instant::now()).is_some() {
            warn!("{}", say::journal_crowded(self.limits.connections));
        }
    }

    fn finish(self) {
        self.writer.finish();
    }
}

impl Api {
    /// An API for the host of this layout.
    #[must_use]
    pub fn new(layout: Layout, writer: Writer, limits: Limits) -> Self {
        Self {
            rows: Rows::of(layout),
            writer,
            limits,
            strangers: LogQuota::of_strangers(),
            crowd: LogQuota::of_strangers(),
            trouble: LogQuota::of_strangers(),
        }
    }

    async fn answer(&self, route: Option<Route>, head: &Parts) -> Outcome {
        let route = route.ok_or(Refused::NotFound)?;
        if !route.has(&head.method) {
            return Err(Refused::WrongMethod(route));
        }
        match route {
            Route::Health => {
                // Whether there is such a build does not matter.
                self.read(self.rows.build(BuildId::from_row(1)).await)?;
                Ok(Done::Healthy)
            }
            Route::Metrics => {
                let token = self.token(head).await?;
                self.metrics(&token).await
            }
            Route::Build(id) => {
                let token = self.token(head).await?;
                let build = self.build(id, &token).await?;
                Ok(Done::Build(Box::new(build.into())))
            }
            Route::Cancel(id) => {
                let token = self.token(head).await?;
                let build = self.build(id, &token).await?;
                self.cancel(&build, &token).await
            }
        }
    }

    async fn metrics(&self, token: &Token) -> Outcome {
        if token.right != TokenRight::Metrics {
            return Err(Refused::NotForMetrics(token.name.clone()));
        }
        let text = metrics::ask(&self.rows.router()).await.map_err(|why| {
            if self.trouble.take(Instant::now()).is_some() {
                error!("{}", say::journal_router_silent(&error_chain(&why)));
            }
            Refused::RouterSilent
        })?;
        Ok(Done::Metrics(text))
    }

    async fn token(&self, head: &Parts) -> Result<Token, Refused> {
        let text = match Bearer::read(&head.headers) {
            Bearer::Token(text) => text.to_owned(),
            Bearer::Missing => return Err(self.stranger(Refused::NoToken)),
            Bearer::Odd => return Err(self.stranger(Refused::BadToken)),
        };
        let found = self.read(self.rows.token(text, now()).await)?;
        found.ok_or_else(|| self.stranger(Refused::BadToken))
    }

    /// The build, if the token is for its project.
    async fn build(&self, id: Option<BuildId>, token: &Token) -> Result<Build, Refused> {
        let Some(known) = id else { return Err(Refused::NoBuild(None)) };
        let build = self.read(self.rows.build(known).await)?;
        build.filter(|build| token.projects.contains(&build.project)).ok_or(Refused::NoBuild(id))
    }

    /// Leaves the wish and waits until the row says that the build has ended.
    async fn cancel(&self, build: &Build, token: &Token) -> Outcome {
        if token.right < TokenRight::Cancel {
            warn!("{}", say::journal_no_right(&token.name, build.id, &build.project));
            return Err(Refused::MayOnlyRead(token.name.clone()));
        }
        if build.state.is_final() {
            return Err(Refused::Ended(say::ended(build.id, build.state)));
        }
        let wish = self.wish(build, token).await?;
        let ended = self.end(build, wish).await?;
        info!("{}", say::journal_cancelled(&token.name, ended.id, &ended.project, ended.state));
        match ended.state {
            BuildState::Cancelled | BuildState::Superseded => {
                Ok(Done::Build(Box::new(BuildView::from(ended))))
            }
            BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => {
                Ok(Done::Wished(Box::new(BuildView::from(ended))))
            }
            BuildState::Failed | BuildState::Succeeded | BuildState::Partial => {
                // Deployments that it may have become end by the same wish.
                let outcome = self.read(self.rows.outcome(wish).await)?;
                let sentence = say::ended_meanwhile(ended.id, ended.state, outcome.as_deref());
                Err(Refused::Ended(sentence))
            }
        }
    }

    /// When this returns, the wish is on disk and the bell has rung.
    async fn wish(&self, build: &Build, token: &Token) -> Result<EventId, Refused> {
        let wish = Delivery {
            project: build.project.clone(),
            forge: None,
            delivery_id: None,
            received_at: now(),
            by: Some(format!("token {}", token.name)),
            uid: None,
            event: Event::Cancel { build: build.id },
        };
        match timeout(self.limits.inbox_time, self.writer.append(wish)).await {
            Ok(Ok(Appended::New(wish) | Appended::Duplicate(wish))) => Ok(wish),
            // The thread that writes has told why.
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable),
        }
    }

    /// Waits for the build's end and, where it ended by itself, for the dispatcher's decision.
    async fn end(&self, build: &Build, wish: EventId) -> Result<Build, Refused> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.read(self.rows.build(build.id).await)?;
            let now = now.ok_or(Refused::NoBuild(Some(build.id)))?;
            let is_over = match now.state {
                BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => false,
                BuildState::Cancelled | BuildState::Superseded => true,
                BuildState::Failed | BuildState::Succeeded | BuildState::Partial => {
                    self.read(self.rows.outcome(wish).await)?.is_some()
                }
            };
            if is_over || Instant::now() >= deadline {
                return Ok(now);
            }
            sleep(PAUSE).await;
        }
    }

    /// Who cannot be told why is at least told; and the dispatcher comes, whose opening of the
    /// databases mends what can be mended.
    fn read<T>(&self, read: Result<T, Unreadable>) -> Result<T, Refused> {
        read.map_err(|Unreadable(why)| {
            if self.trouble.take(Instant::now()).is_some() {
                error!("{}", say::journal_unreadable(&why));
                self.rows.ring();
            }
            Refused::Unavailable
        })
    }

    /// Strangers can ask without end, so what is said of it is counted.
    fn stranger(&self, refused: Refused) -> Refused {
        if self.strangers.take(Instant::now()).is_some() {
            warn!("{}", say::journal_refused());
        }
        refused
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
