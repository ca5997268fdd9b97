//! Requests without a body, over connections that they drive themselves.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Response, Version};
use tokio::time::timeout;

use super::{Failure, Passing, is_endless, is_idempotent, join_cookies};
use crate::body::Body;
use crate::direct::{Answer, Direct, Lease, Lost};
use crate::forwarded::drop_claims;
use crate::hop;
use crate::notes::Notes;
use crate::worker::Worker;

/// Whether it is a head and nothing else, and an answer is all that it wants.
pub(super) fn is_plain(parts: &Parts, incoming: &Incoming) -> bool {
    incoming.is_end_stream()
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && (parts.version != Version::HTTP_11 || hop::upgrade(&parts.headers).is_none())
}

impl Passing<'_> {
    /// Sends a request that has no body, and begins the answer. As with those that have one, it is
    /// sent a second time only when that cannot do anything twice.
    pub(super) async fn send_directly(
        &mut self,
        mut parts: Parts,
        authority: &HeaderValue,
    ) -> Result<Response<Body>, Failure> {
        let headers = &mut parts.headers;
        hop::strip(headers);
        drop_claims(headers);
        join_cookies(headers);
        if parts.uri.authority().is_some() {
            headers.insert(HOST, authority.clone());
        }
        if let Some(prefix) = &self.backend.prefix {
            prefix.strip(&mut parts);
        }
        let lines = self.exchange.peer().lines(authority);
        loop {
            let (failure, again) = match self.try_directly(&mut parts, &lines).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let host = authority.to_str().unwrap_or_default();
            if !again || !self.follow(host, parts.uri.path()) {
                return Err(failure);
            }
        }
    }

    /// Sends it to one deployment. An error says whether another may get the request.
    async fn try_directly(
        &self,
        parts: &mut Parts,
        lines: &[u8],
    ) -> Result<Response<Body>, (Failure, bool)> {
        let Worker { directs, limits, counters, .. } = &**self.worker;
        let repeatable = is_idempotent(&parts.method);
        let age = if repeatable { limits.upstream_idle } else { limits.upstream_fresh };
        let mut kept = directs.take(&self.backend.key, age);
        let mut connects = 0;
        loop {
            let (mut direct, reused) = match kept.take() {
                Some(direct) => (direct, true),
                None => self.connect_directly(age).await.map_err(|failure| (failure, true))?,
            };
            if reused {
                counters.upstream_reuses.up();
            } else {
                connects += 1;
            }
            direct.take(parts, lines);
            let sending = pin!(std::future::poll_fn(|cx| direct.poll_head(cx)));
            match self.await_answer(sending, None).await {
                None => return Err((Failure::Late, false)),
                Some(Ok(head)) => {
                    self.exchange.notes().into_iter().for_each(Notes::answered);
                    direct.swap_fields(&mut parts.headers);
                    let mut headers = std::mem::take(&mut parts.headers);
                    hop::strip(&mut headers);
                    if is_endless(&headers) {
                        self.exchange.is_endless();
                    }
                    let (pool, key) = (Rc::clone(directs), self.backend.key.clone());
                    let answer = Answer::new(&head, Lease { direct, key, pool });
                    let mut response = Response::new(Body::answer(answer));
                    *response.status_mut() = head.status;
                    *response.headers_mut() = headers;
                    return Ok(response);
                }
                Some(Err(Lost::Unsent)) if reused || connects < 2 => {}
                Some(Err(Lost::Unsent)) => {
                    let why = "it closes connections at once".to_owned();
                    return Err((Failure::Broken(why), false));
                }
                Some(Err(Lost::Unanswered(_))) if reused && repeatable => {}
                Some(Err(Lost::Unanswered(why))) => {
                    return Err((Failure::Broken(why), repeatable));
                }
                Some(Err(Lost::Invalid(why))) => return Err((Failure::Broken(why.into()), false)),
            }
            counters.upstream_retries.up();
        }
    }

    /// As [`Passing::connect`].
    async fn connect_directly(&self, age: Duration) -> Result<(Direct, bool), Failure> {
        let Worker { directs, limits, .. } = &**self.worker;
        let _at_the_door = match self.backend.door.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let acquired = timeout(limits.first_byte, self.backend.door.acquire()).await;
                let Ok(Ok(permit)) = acquired else { return Err(Failure::Late) };
                if let Some(kept) = directs.take(&self.backend.key, age) {
                    return Ok((kept, true));
                }
                permit
            }
        };
        Ok((Direct::new(self.stream().await?), false))
    }
}
