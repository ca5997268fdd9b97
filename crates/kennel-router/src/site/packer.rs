//! Files made smaller for which the build has made nothing smaller.
//!
//! One thread, apart from the workers: nobody waits for it. Who asks first gets the file as it is,
//! and who asks later what was made of it, for as long as it is held. Never of answers of services:
//! what a secret and a client's words are packed into together tells of the secret (BREACH).

use std::io::{self, Write};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use brotli::enc::{BrotliCompress, BrotliEncoderParams};
use flate2::{Compression, write::GzEncoder};
use tracing::warn;

use super::coding::Coding;
use super::file::File;
use crate::say;

/// Smaller ones fit into the packet that brings the head.
pub(super) const SMALLEST: u64 = 1 << 10;
/// Larger ones take longer than they are worth; a build should compress them.
pub(super) const LARGEST: u64 = 4 << 20;
/// How many wait. For one more nothing is lost: it is asked for again.
const WAITING: usize = 256;
/// For each moment of work, so many of rest: should more be asked for than memory holds, workers
/// still have the cores.
const REST: u32 = 3;

/// What is made here, the better one first. Brotli at this quality is as fast as gzip.
pub(super) const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];
const BROTLI_QUALITY: i32 = 5;

/// Takes orders.
#[derive(Debug)]
pub(super) struct Packer {
    orders: SyncSender<Weak<File>>,
}

impl Packer {
    /// Starts the thread. Without one, files are sent as they are.
    pub(super) fn start() -> Self {
        let (orders, receiver) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("packer".into());
        if let Err(error) = thread.spawn(move || work(&receiver)) {
            warn!("{}", say::no_packer(&error));
        }
        Self { orders }
    }

    /// Whether the order was taken.
    pub(super) fn order(&self, file: Weak<File>) -> bool {
        self.orders.try_send(file).is_ok()
    }
}

fn work(orders: &Receiver<Weak<File>>) {
    while let Ok(file) = orders.recv() {
        // The site may be gone.
        let Some(file) = file.upgrade() else { continue };
        let start = Instant::now();
        if let Err(error) = file.pack() {
            warn!("{}", say::unreadable_file(file.path(), &error));
        }
        drop(file);
        thread::sleep(start.elapsed() * REST);
    }
}

/// `plain` made smaller; None if that is not worth it.
pub(super) fn packed(plain: &[u8], coding: Coding) -> io::Result<Option<Vec<u8>>> {
    let mut packed = Vec::with_capacity(plain.len() / 2);
    match coding {
        Coding::Brotli => {
            let params = BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                size_hint: plain.len(),
                ..BrotliEncoderParams::default()
            };
            BrotliCompress(&mut &*plain, &mut packed, &params)?;
        }
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(&mut packed, Compression::default());
            encoder.write_all(plain)?;
            encoder.finish()?;
        }
        // Siblings only: Brotli is smaller for what sites have, and every browser has it.
        Coding::Zstd => return Ok(None),
    }
    Ok((packed.len() < plain.len() - plain.len() / 10).then_some(packed))
}

/// Whether files of this media type can be made smaller.
pub(super) fn is_packable(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or(kind);
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(
            kind,
            "application/json"
                | "application/wasm"
                | "application/xml"
                | "application/rtf"
                | "font/otf"
                | "font/ttf"
                | "image/bmp"
                | "image/x-icon"
        )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_is_what_comes_out() {
        let plain = "all work and no play ".repeat(500).into_bytes();
        let gzip = packed(&plain, Coding::Gzip).unwrap().unwrap();
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut out).unwrap();
        assert!(out == plain && gzip.len() < 1000);
        let brotli = packed(&plain, Coding::Brotli).unwrap().unwrap();
        let mut out = Vec::new();
        brotli::BrotliDecompress(&mut &*brotli, &mut out).unwrap();
        assert!(out == plain && brotli.len() < 1000);
    }

    #[test]
    fn noise_and_nothing_are_left_alone() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(5_000)
        .collect();
        for coding in CODINGS {
            assert_eq!(packed(&noise, coding).unwrap(), None);
            assert_eq!(packed(b"", coding).unwrap(), None);
        }
    }

    #[test]
    fn kinds() {
        for kind in
            ["text/html; charset=utf-8", "image/svg+xml", "application/json", "application/wasm"]
        {
            assert!(is_packable(kind), "{kind}");
        }
        for kind in ["image/png", "font/woff2", "application/gzip", "application/octet-stream"] {
            assert!(!is_packable(kind), "{kind}");
        }
    }
}
