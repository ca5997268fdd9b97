//! A delivery's headers: who sent it, what it is called, and how its body is written.

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use kennel_core::{DeliveryId, Forge};

use crate::signature::Signatures;

/// What the headers say.
#[derive(Debug)]
pub(crate) struct DeliveryHeaders {
    pub(crate) forge: Forge,
    /// The forge's word for the event: `[a-z_]`, at most 64 bytes.
    pub(crate) event: String,
    /// Missing or odd is not an error: it only serves to recognise a redelivery.
    pub(crate) delivery_id: Option<DeliveryId>,
    pub(crate) signatures: Signatures,
    pub(crate) encoding: Encoding,
}

/// How the JSON is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Json,
    /// As the field `payload` of a form.
    Form,
}

/// What a delivery's headers lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// No header names the event, or one does so twice or in words that no forge uses.
    NoEvent,
    /// There is no signature header of any kind. One that is empty, or SHA-1 alone, is a wrong
    /// signature instead.
    NoSignature,
    /// The body is neither JSON nor a form.
    OtherMedia,
    /// The body is compressed. No forge does that, and unpacking is what a stranger could ask for.
    Compressed,
}

// Forgejo sends Gitea's and GitHub's families too, and Gitea sends GitHub's: the order decides.
const FAMILIES: [(Forge, &str, &str); 3] = [
    (Forge::Forgejo, "x-forgejo-event", "x-forgejo-delivery"),
    (Forge::Gitea, "x-gitea-event", "x-gitea-delivery"),
    (Forge::Github, "x-github-event", "x-github-delivery"),
];

impl DeliveryHeaders {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, HeaderError> {
        let (forge, event_header, id_header) = FAMILIES
            .into_iter()
            .find(|(_, event, _)| headers.contains_key(*event))
            .ok_or(HeaderError::NoEvent)?;
        let event = only(headers, event_header)
            .filter(|event| (1..=64).contains(&event.len()))
            .filter(|event| event.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .ok_or(HeaderError::NoEvent)?;
        Ok(Self {
            forge,
            event: event.to_owned(),
            delivery_id: only(headers, id_header).and_then(|id| id.parse().ok()),
            signatures: Signatures::read(headers).ok_or(HeaderError::NoSignature)?,
            encoding: encoding(headers)?,
        })
    }
}

/// The value of a header that stands there once, as text.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    match values.next() {
        None => first.to_str().ok(),
        Some(_) => None,
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, HeaderError> {
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(HeaderError::Compressed);
    }
    if !headers.contains_key(CONTENT_TYPE) {
        return Ok(Encoding::Json);
    }
    let value = only(headers, CONTENT_TYPE.as_str()).ok_or(HeaderError::OtherMedia)?;
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/json" => Ok(Encoding::Json),
        "application/x-www-form-urlencoded" => Ok(Encoding::Form),
        _ => Err(HeaderError::OtherMedia),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(lines: &[(&'static str, &str)]) -> Result<DeliveryHeaders, HeaderError> {
        DeliveryHeaders::read(&headers(lines))
    }

    const SIGNED: (&str, &str) = ("x-hub-signature-256", "sha256=00");

    #[test]
    fn forgejo_before_gitea_before_github() {
        let all = [
            ("x-github-event", "push"),
            ("x-gitea-event", "push"),
            ("x-forgejo-event", "push"),
            SIGNED,
        ];
        for (forge, skipped) in [(Forge::Forgejo, 0), (Forge::Gitea, 1), (Forge::Github, 2)] {
            let lines: Vec<_> = all[..3 - skipped].iter().copied().chain([SIGNED]).collect();
            assert_eq!(read(&lines).unwrap().forge, forge);
        }
    }

    #[test]
    fn event_and_signature_are_required_and_the_id_is_not() {
        let event = ("x-github-event", "push");
        assert_eq!(read(&[SIGNED]).unwrap_err(), HeaderError::NoEvent);
        assert_eq!(read(&[event, event, SIGNED]).unwrap_err(), HeaderError::NoEvent);
        assert_eq!(read(&[("x-github-event", "Pu sh"), SIGNED]).unwrap_err(), HeaderError::NoEvent);
        assert_eq!(read(&[event]).unwrap_err(), HeaderError::NoSignature);
        assert_eq!(read(&[event, SIGNED]).unwrap().delivery_id, None);
        let id = ("x-github-delivery", "f6266f16");
        assert_eq!(read(&[event, SIGNED, id]).unwrap().delivery_id, "f6266f16".parse().ok());
        assert_eq!(read(&[event, SIGNED, id, id]).unwrap().delivery_id, None);
        assert_eq!(read(&[event, SIGNED, ("x-github-delivery", "")]).unwrap().delivery_id, None);
    }

    #[test]
    fn json_forms_and_nothing_else() {
        let with = |media: &'static str| {
            read(&[("x-github-event", "push"), SIGNED, ("content-type", media)])
                .map(|headers| headers.encoding)
        };
        assert_eq!(with("application/json"), Ok(Encoding::Json));
        assert_eq!(with("Application/JSON; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(with("application/x-www-form-urlencoded"), Ok(Encoding::Form));
        assert_eq!(with("text/plain"), Err(HeaderError::OtherMedia));
        assert_eq!(with("multipart/form-data; boundary=x"), Err(HeaderError::OtherMedia));
        let none = read(&[("x-github-event", "push"), SIGNED]).unwrap();
        assert_eq!(none.encoding, Encoding::Json);
    }

    #[test]
    fn nothing_is_unpacked() {
        let with = |codings: &[&'static str]| {
            let lines = codings.iter().map(|coding| ("content-encoding", *coding));
            let lines: Vec<_> =
                [("x-github-event", "push"), SIGNED].into_iter().chain(lines).collect();
            read(&lines).map(|headers| headers.encoding)
        };
        assert_eq!(with(&["identity"]), Ok(Encoding::Json));
        for codings in [&["gzip"][..], &["GZIP"], &["identity, gzip"], &["identity", "br"], &[""]] {
            assert_eq!(with(codings), Err(HeaderError::Compressed), "{codings:?}");
        }
    }
}
