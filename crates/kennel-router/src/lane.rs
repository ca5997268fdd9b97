//! One direction of a tunnel: bytes from one side to the other, and where they may end.
//!
//! Of a WebSocket it knows where frames end, so that the router can say the last word there. Holds
//! what one read brought, and nothing more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frames::{Frames, LAST_WORD};

/// The most that is read at once.
const PIECE: usize = 16 << 10;

/// One direction of a tunnel.
pub(crate) struct Lane {
    buffer: Box<[u8]>,
    /// What is to be written of the buffer.
    start: usize,
    end: usize,
    /// The last place at which what is to be written may end.
    boundary: Option<usize>,
    /// Of a WebSocket: where its frames end.
    frames: Option<Frames>,
    stage: Stage,
    unflushed: bool,
}

enum Stage {
    /// Bytes pass as they come.
    Open,
    /// It ends with this, as soon as the frame that is under way does.
    Ending(Vec<u8>),
    /// The last word is on its way; whatever comes is thrown away, until the other side has said its
    /// own.
    Said,
    /// Nothing more comes, and what there is is on its way.
    Last,
    Over,
}

impl Lane {
    /// One that begins with what has come already.
    pub(crate) fn new(first: &[u8], is_websocket: bool) -> Self {
        let mut buffer = vec![0; PIECE.max(first.len()) + LAST_WORD].into_boxed_slice();
        for (place, byte) in buffer.iter_mut().zip(first) {
            *place = *byte;
        }
        let mut lane = Self {
            buffer,
            start: 0,
            end: 0,
            boundary: None,
            frames: is_websocket.then(Frames::default),
            stage: Stage::Open,
            unflushed: false,
        };
        lane.came(first.len());
        lane
    }

    /// Ends it with this word, if frames end somewhere, and at once if not.
    pub(crate) fn end_with(&mut self, word: Vec<u8>) {
        if matches!(self.stage, Stage::Open) {
            match &self.frames {
                None => self.stage = Stage::Last,
                // It ends by itself.
                Some(frames) if frames.is_closed() => {}
                Some(_) => {
                    self.stage = Stage::Ending(word);
                    self.say();
                }
            }
        }
    }

    /// One side is gone: nothing passes any more.
    pub(crate) fn give_up(&mut self) {
        self.stage = Stage::Over;
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Passes on what comes until it is over. `missing` is the word for a side that left without its
    /// own, if it is clear why.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
        missing: impl Fn() -> Option<Vec<u8>>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_write(cx, to.as_mut()))?;
            if matches!(self.stage, Stage::Last) {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.stage = Stage::Over;
                return Poll::Ready(Ok(()));
            }
            let mut room = ReadBuf::new(self.buffer.get_mut(..PIECE).unwrap_or_default());
            let read = match from.as_mut().poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) => Ok(room.filled().len()),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(to.as_mut().poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            };
            match read {
                Ok(0) => self.ends(missing()),
                Ok(count) => self.came(count),
                Err(error) => match missing() {
                    Some(word) => self.ends(Some(word)),
                    None => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.buffer.get(self.start..self.end).filter(|it| !it.is_empty()) {
            let count = ready!(to.as_mut().poll_write(cx, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += count;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// So many bytes stand at the buffer's begin.
    fn came(&mut self, count: usize) {
        (self.start, self.end) = (0, count);
        if let Some(frames) = &mut self.frames {
            let may_begin = frames.is_between().then_some(0);
            let bytes = self.buffer.get(..count).unwrap_or_default();
            self.boundary = frames.follow(bytes).or(may_begin);
        }
        match &self.stage {
            Stage::Ending(_) => self.say(),
            Stage::Said => {
                self.end = 0;
                if self.frames.as_ref().is_some_and(Frames::is_closed) {
                    self.stage = Stage::Over;
                }
            }
            Stage::Open | Stage::Last | Stage::Over => {}
        }
    }

    /// Nothing more comes.
    fn ends(&mut self, missing: Option<Vec<u8>>) {
        (self.start, self.end) = (0, 0);
        let frames = self.frames.as_ref().filter(|it| it.is_between() && !it.is_closed());
        if let (Stage::Open, Some(_), Some(word)) = (&self.stage, frames, missing) {
            self.put(&word);
        }
        self.stage = match self.stage {
            Stage::Said => Stage::Over,
            Stage::Open | Stage::Ending(_) | Stage::Last | Stage::Over => Stage::Last,
        };
    }

    /// Puts the last word where a frame ends, if one does.
    fn say(&mut self) {
        let all_written = self.start == self.end;
        let boundary = match &self.frames {
            Some(frames) if frames.is_closed() => {
                self.stage = Stage::Open;
                return;
            }
            Some(frames) if all_written => frames.is_between().then_some(self.end),
            Some(_) | None => self.boundary.filter(|&at| at >= self.start),
        };
        if let Some(at) = boundary
            && let Stage::Ending(word) = std::mem::replace(&mut self.stage, Stage::Said)
        {
            self.end = at;
            self.put(&word);
        }
    }

    fn put(&mut self, word: &[u8]) {
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(word) {
            *place = *byte;
            self.end += 1;
        }
    }
}
