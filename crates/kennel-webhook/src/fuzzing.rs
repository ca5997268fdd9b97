//! What a delivery's bytes meet, for the fuzz target in `fuzz/`: any bytes, and a panic when something
//! is wrong.
//!
//! In builds for fuzzing, and in tests, which replay the corpus and what is like it. In no other.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use kennel_core::Forge;

use crate::delivery_headers::DeliveryHeaders;
use crate::form;
use crate::signature::Signatures;
use crate::understand::understand;

/// An event's name, a line's end, fields, an empty line, and a payload.
pub fn delivery(data: &[u8]) {
    let Some(at) = data.windows(2).position(|two| two == b"\n\n") else { return };
    let (head, rest) = data.split_at(at);
    let json = rest.get(2..).unwrap_or_default();
    let mut lines = head.split(|&b| b == b'\n');
    let event = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let _signatures = Signatures::read(&headers);
    let _read = DeliveryHeaders::read(&headers);
    for forge in [Forge::Forgejo, Forge::Gitea, Forge::Github] {
        let _meaning = understand(forge, &event, json);
    }
    if let Ok(payload) = form::payload(json) {
        let _meaning = understand(Forge::Github, &event, &payload);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::fs;
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn corpus() -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/delivery");
        let mut files: Vec<_> =
            fs::read_dir(corpus).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort_unstable();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn the_corpus() {
        let corpus = corpus();
        assert!(corpus.len() > 3, "there are {}", corpus.len());
        corpus.iter().for_each(|bytes| delivery(bytes));
    }

    proptest! {
        #[test]
        fn what_is_like_the_corpus(
            one in any::<Index>(),
            edits in vec((any::<Index>(), any::<u8>(), any::<bool>()), 0..6),
        ) {
            let corpus = corpus();
            let mut bytes = corpus[one.index(corpus.len())].clone();
            for (at, byte, inserts) in edits {
                let at = at.index(bytes.len() + 1);
                if inserts {
                    bytes.insert(at, byte);
                } else {
                    bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
                }
            }
            delivery(&bytes);
        }
    }
}
