//! One file of a site: its validator, its bytes.
//!
//! Small files are read once and held; larger ones are read in pieces while they are sent. The
//! validator never comes from the file's time, which is 1 for everything in the store.

use std::fs;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use hyper::header::HeaderValue;
use rustix::io::{ReadWriteFlags, preadv2};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::coding::Coding;
use super::packer;
use super::shelf::{Held, Shelf};

/// Files up to this size are held in memory.
const SMALL: u64 = 256 << 10;
/// Larger ones are read and sent in pieces of this size.
const PIECE: usize = 64 << 10;

/// A file that can be served.
#[derive(Debug)]
pub(crate) struct File {
    path: Arc<Path>,
    pub(super) len: u64,
    pub(super) kind: HeaderValue,
    /// For a large file, whose contents are not hashed.
    tag: Option<HeaderValue>,
    /// How it is made smaller here before it is held.
    packing: Option<Packing>,
    held: ArcSwapOption<Held>,
    used: AtomicBool,
    shelf: Arc<Shelf>,
}

/// A form of a file that is nowhere but in memory.
#[derive(Debug)]
struct Packing {
    coding: Coding,
    /// Whether it is ordered, or was found not to be worth it: nobody orders it again.
    settled: AtomicBool,
}

/// A file's bytes, ready to be sent.
pub(super) enum Contents {
    Small(Arc<Held>),
    /// With tag and length.
    Large(Arc<fs::File>, HeaderValue, u64),
}

impl File {
    /// The file at `path`, which lies in `store` and is known by `key` in its site.
    pub(super) fn new(
        path: PathBuf,
        len: u64,
        key: &str,
        store: &Path,
        shelf: &Arc<Shelf>,
    ) -> Self {
        // The path contains the store hash, which changes with anything in the recipe.
        let tag = (len > SMALL)
            .then(|| tag(path.strip_prefix(store).unwrap_or(&path).as_os_str().as_encoded_bytes()));
        Self {
            path: path.into(),
            len,
            kind: kind(key),
            tag,
            packing: None,
            held: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            shelf: Arc::clone(shelf),
        }
    }

    /// The same file as the coded form of `plain`.
    pub(super) fn sent_as(&self, plain: &Self) -> Self {
        Self {
            path: Arc::clone(&self.path),
            len: self.len,
            kind: plain.kind.clone(),
            tag: self.tag.clone(),
            packing: None,
            held: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            shelf: Arc::clone(&self.shelf),
        }
    }

    /// The forms of it that are made here when somebody wants them.
    pub(super) fn packings(&self) -> Vec<(Coding, Arc<Self>)> {
        let worth = (packer::SMALLEST..=packer::LARGEST).contains(&self.len)
            && self.kind.to_str().is_ok_and(packer::is_packable);
        let codings = packer::CODINGS.iter().filter(|_| worth);
        codings
            .map(|&coding| {
                let packing = Some(Packing { coding, settled: AtomicBool::new(false) });
                (coding, Arc::new(Self { packing, tag: None, ..self.sent_as(self) }))
            })
            .collect()
    }

    /// Whether it is a form that is made here.
    pub(super) fn is_packed_here(&self) -> bool {
        self.packing.is_some()
    }

    /// Takes it from memory. What is not there yet is ordered, if it is a form that is made here.
    pub(super) fn at_hand(self: &Arc<Self>) -> Option<Contents> {
        if let Some(held) = &*self.held.load() {
            if !self.used.load(Ordering::Relaxed) {
                self.used.store(true, Ordering::Relaxed);
            }
            return Some(Contents::Small(Arc::clone(held)));
        }
        if let Some(packing) = &self.packing
            && !packing.settled.swap(true, Ordering::Relaxed)
            && !self.shelf.order(self)
        {
            packing.settled.store(false, Ordering::Relaxed);
        }
        None
    }

    /// Makes the form that is made here. On the packer's thread.
    pub(super) fn pack(self: &Arc<Self>) -> io::Result<()> {
        let Some(packing) = &self.packing else { return Ok(()) };
        let Some(packed) = packer::packed(&self.bytes()?, packing.coding)? else { return Ok(()) };
        let tag = tag(&packed);
        self.held.store(Some(Arc::new(self.shelf.held(packed.into(), tag))));
        // Before it is taken in, which may let go of it at once.
        packing.settled.store(false, Ordering::Relaxed);
        self.shelf.take_in(self);
        Ok(())
    }

    /// Opens it, or takes it from memory.
    pub(super) async fn open(self: &Arc<Self>) -> io::Result<Contents> {
        if let Some(contents) = self.at_hand() {
            return Ok(contents);
        }
        let file = Arc::clone(self);
        spawn_blocking(move || file.read()).await.map_err(io::Error::other)?
    }

    fn read(self: &Arc<Self>) -> io::Result<Contents> {
        if let Some(tag) = &self.tag {
            let file = Arc::new(fs::File::open(&self.path)?);
            return Ok(Contents::Large(file, tag.clone(), self.len));
        }
        let bytes = self.bytes()?;
        let tag = tag(&bytes);
        let held = Arc::new(self.shelf.held(bytes.into(), tag));
        self.held.store(Some(Arc::clone(&held)));
        self.shelf.take_in(self);
        Ok(Contents::Small(held))
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = fs::read(&self.path)?;
        if u64::try_from(bytes.len()).ok() != Some(self.len) {
            return Err(io::Error::other("it has not the size that it had when it was published"));
        }
        Ok(bytes)
    }

    /// Whether it was asked for since the last time this was asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Holds its bytes no longer.
    pub(super) fn let_go(&self) {
        self.held.store(None);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A strong entity tag made of `bytes`.
fn tag(bytes: &[u8]) -> HeaderValue {
    let hash = Sha256::digest(bytes);
    let mut text = String::with_capacity(34);
    text.push('"');
    for byte in hash.iter().take(16) {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The media type by the name's ending.
fn kind(key: &str) -> HeaderValue {
    let mime = mime_guess::from_path(key).first_or_octet_stream();
    let text = match mime.essence_str() {
        // RFC 9239: the one name that scripts have, modules too.
        "application/javascript" => "text/javascript; charset=utf-8".to_owned(),
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// A part of a large file on its way to the client, read piece by piece.
pub(crate) struct FileBody {
    file: Arc<fs::File>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// `left` bytes from `at` on.
    pub(super) fn new(file: Arc<fs::File>, at: u64, left: u64) -> Self {
        Self { file, at, left, reading: None }
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece, or none at the end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.reading {
            Some(reading) => {
                let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other);
                self.reading = None;
                piece.flatten()
            }
            None => {
                let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
                match cached(&self.file, self.at, most) {
                    Some(piece) => Ok(piece),
                    None => {
                        let (file, at) = (Arc::clone(&self.file), self.at);
                        self.reading = Some(spawn_blocking(move || whole(&file, at, most)));
                        return self.poll_piece(cx);
                    }
                }
            }
        };
        if let Ok(bytes) = &piece {
            let len = u64::try_from(bytes.len()).unwrap_or(self.left);
            self.at += len;
            self.left = self.left.saturating_sub(len);
        }
        Poll::Ready(Some(piece))
    }
}

/// What the page cache has at once. None if a disk would have to be asked, which must not hold up
/// a worker.
fn cached(file: &fs::File, at: u64, most: usize) -> Option<Bytes> {
    let mut buffer = vec![0; most];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut buffer)], at, ReadWriteFlags::NOWAIT);
    match read {
        Ok(read) if read > 0 => {
            buffer.truncate(read);
            Some(buffer.into())
        }
        Ok(_) | Err(_) => None,
    }
}

fn whole(file: &fs::File, at: u64, most: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; most];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("robots.txt", "text/plain; charset=utf-8"),
            ("data.json", "application/json"),
            ("logo.svg", "image/svg+xml"),
            ("app.wasm", "application/wasm"),
            ("site.webmanifest", "application/manifest+json"),
            ("font.woff2", "font/woff2"),
            ("LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn tags_are_strong_and_of_the_contents() {
        insta::assert_snapshot!(tag(b"hello").to_str().unwrap(), @r#""2cf24dba5fb0a30e26e83b2ac5b9e29e""#);
        assert_ne!(tag(b"hello"), tag(b"hello "));
    }
}
