//! Reading a body within limits of size, time and memory.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::Limits;
use crate::room::Seat;

/// Memory is counted in units of 1 KiB.
const UNIT: usize = 1024;

/// What all bodies together may still hold.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: usize,
    free: Arc<Semaphore>,
}

/// A body, and its share of the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is larger than [`Limits::body`].
    TooLarge,
    /// It took longer than [`Limits::body_time`].
    TooSlow,
    /// It ended early or is not valid HTTP.
    Broken,
    /// Other bodies hold the memory that it needs.
    NoMemory,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let units = limits.memory / UNIT;
        Self { units, free: Arc::new(Semaphore::new(units)) }
    }

    /// Waits for so many units, and has other senders leave while there are too few.
    async fn acquire(
        &self,
        units: u32,
        limits: &Limits,
        seat: &Seat,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut acquired = pin!(self.free.clone().acquire_many_owned(units));
        loop {
            // Who leaves gives its memory back a moment later.
            match timeout(limits.memory_time / 20, &mut acquired).await {
                Ok(acquired) => return acquired,
                Err(_elapsed) => seat.take_memory(limits.patience),
            };
        }
    }

    /// Bytes that bodies hold of it.
    pub(crate) fn held(&self) -> usize {
        (self.units - self.free.available_permits()) * UNIT
    }
}

/// Reads to the end. The size that the sender announces is checked first, and memory is taken as
/// the body grows: who announces much and sends little keeps nobody else out. Where there is none,
/// one of those that have been sending for longer loses its own.
pub(crate) async fn read<B>(
    body: &mut B,
    budget: &Budget,
    limits: &Limits,
    seat: &Seat,
) -> Result<Body, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > u64::try_from(limits.body).unwrap_or(u64::MAX) {
        // Before the first read, so that `Expect: 100-continue` is not answered with "go on".
        return Err(BodyError::TooLarge);
    }
    timeout(limits.body_time, collect(body, budget, limits, seat))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<B>(
    body: &mut B,
    budget: &Budget,
    limits: &Limits,
    seat: &Seat,
) -> Result<Body, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut collected = Body { bytes: Vec::new(), held: None };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers say nothing to Kennel.
        let Ok(data) = frame.into_data() else { continue };
        let len = collected.bytes.len().saturating_add(data.len());
        if len > limits.body {
            return Err(BodyError::TooLarge);
        }
        collected.hold(len.saturating_sub(limits.small_body), budget, limits, seat).await?;
        collected.bytes.extend_from_slice(&data);
    }
    Ok(collected)
}

impl Body {
    /// Holds memory for `bytes` bytes, of which some may be held already.
    async fn hold(
        &mut self,
        bytes: usize,
        budget: &Budget,
        limits: &Limits,
        seat: &Seat,
    ) -> Result<(), BodyError> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| BodyError::NoMemory)?;
        seat.is_large();
        let permit = timeout(limits.memory_time, budget.acquire(more, limits, seat))
            .await
            .map_err(|_| BodyError::NoMemory)?
            // The semaphore is never closed.
            .map_err(|_| BodyError::NoMemory)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Full;

    use super::*;
    use crate::room::Room;

    fn limits() -> Limits {
        Limits {
            body: 8 * UNIT,
            small_body: UNIT,
            memory: 10 * UNIT,
            memory_time: Duration::from_millis(20),
            ..Limits::default()
        }
    }

    async fn read_len(len: usize, budget: &Budget) -> Result<Body, BodyError> {
        let mut body = Full::new(Bytes::from(vec![b'x'; len]));
        read(&mut body, budget, &limits(), &Room::default().enter()).await
    }

    #[tokio::test]
    async fn the_limit_is_inclusive() {
        let budget = Budget::new(&limits());
        assert_eq!(read_len(8 * UNIT, &budget).await.unwrap().bytes.len(), 8 * UNIT);
        assert_eq!(read_len(8 * UNIT + 1, &budget).await.unwrap_err(), BodyError::TooLarge);
    }

    #[tokio::test]
    async fn large_bodies_share_memory_and_small_ones_always_fit() {
        let budget = Budget::new(&limits());
        let first = read_len(8 * UNIT, &budget).await.unwrap();
        assert_eq!(read_len(8 * UNIT, &budget).await.unwrap_err(), BodyError::NoMemory);
        let _small = read_len(UNIT, &budget).await.unwrap();
        drop(first);
        read_len(8 * UNIT, &budget).await.unwrap();
        assert_eq!(budget.held(), 0);
    }
}
