//! Signatures: HMAC-SHA256 over the exact bytes that the forge signed.
//!
//! Every signature that comes must be right. What is wrong with one never matters for how long the
//! answer takes or what it says.

use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use sha2::Sha256;

/// The state of an HMAC-SHA256: keyed, and perhaps fed already.
pub(crate) type HmacSha256 = Hmac<Sha256>;

/// Headers with HMAC-SHA256 and what stands before the hex digits.
const SHA256: [(&str, &str); 3] =
    [("x-forgejo-signature", ""), ("x-gitea-signature", ""), ("x-hub-signature-256", "sha256=")];
/// Sent by Forgejo and Gitea besides the others; checked, but not enough alone.
const GOGS: (&str, &str) = ("x-gogs-signature", "");
/// HMAC-SHA1, not looked at: with nothing else it is a wrong signature, not a missing one.
const SHA1: &str = "x-hub-signature";

/// The signatures of a delivery, as they came.
#[derive(Debug)]
pub(crate) struct Signatures {
    tags: Vec<[u8; 32]>,
    /// At least one of [`SHA256`] is there, and none is empty, malformed or there twice.
    well_formed: bool,
}

impl Signatures {
    /// None if there is no signature header of any kind.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut tags = Vec::new();
        let mut seen = 0;
        let mut malformed = false;
        for (name, prefix) in SHA256.into_iter().chain([GOGS]) {
            let mut values = headers.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            if name != GOGS.0 {
                seen += 1;
            }
            match tag(value, prefix) {
                Some(tag) if values.next().is_none() => tags.push(tag),
                _ => malformed = true,
            }
        }
        let any = seen > 0 || headers.contains_key(GOGS.0) || headers.contains_key(SHA1);
        any.then_some(Self { tags, well_formed: seen > 0 && !malformed })
    }

    /// Whether all of them are right for what `mac` was fed with.
    pub(crate) fn verify(&self, mac: &HmacSha256) -> bool {
        let mut right = self.well_formed;
        for tag in &self.tags {
            // No early end: how many are right is nobody's business.
            right &= mac.clone().verify_slice(tag).is_ok();
        }
        right
    }
}

fn tag(value: &HeaderValue, prefix: &str) -> Option<[u8; 32]> {
    let digits = value.as_bytes().strip_prefix(prefix.as_bytes())?;
    let mut tag = [0; 32];
    hex::decode_to_slice(digits, &mut tag).ok()?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use hmac::KeyInit;
    use hyper::header::HeaderName;

    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &str = "Hello, World!";
    // GitHub's documentation, "Validating webhook deliveries".
    const GOOD: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const BAD: &str = "857107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    /// None: no signature header; otherwise whether it was accepted.
    fn check(secret: &str, body: &str, lines: &[(&str, &[u8])]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut mac = HmacSha256::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        Signatures::read(&headers).map(|signatures| signatures.verify(&mac))
    }

    fn accepted(lines: &[(&str, &str)]) -> Option<bool> {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        check(SECRET, BODY, &lines)
    }

    fn hub(digits: &str) -> String {
        format!("sha256={digits}")
    }

    #[test]
    fn published_vectors() {
        for (secret, body, digits) in [
            (SECRET, BODY, GOOD),
            // RFC 4231, test case 2.
            (
                "Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (SECRET, "", "66a0c074deaa0f489ead6537e0d32f9a344b90bbeda705b6ed45ecd3b413fb40"),
        ] {
            let value = hub(digits);
            assert_eq!(
                check(secret, body, &[("X-Hub-Signature-256", value.as_bytes())]),
                Some(true)
            );
            assert_eq!(
                check(secret, body, &[("X-Forgejo-Signature", digits.as_bytes())]),
                Some(true)
            );
            assert_eq!(
                check(secret, body, &[("x-gitea-signature", digits.as_bytes())]),
                Some(true)
            );
            let space = format!("{body} ");
            assert_eq!(
                check(secret, &space, &[("x-gitea-signature", digits.as_bytes())]),
                Some(false)
            );
        }
    }

    #[test]
    fn no_header_is_missing_and_everything_else_is_wrong() {
        assert_eq!(accepted(&[]), None);
        for wrong in [
            // A hook without a secret.
            vec![("x-forgejo-signature", ""), ("x-hub-signature-256", "sha256=")],
            vec![("x-forgejo-signature", "")],
            vec![("x-hub-signature-256", "")],
            // SHA-1 alone, right or not; and Gogs' own header alone.
            vec![("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")],
            vec![("x-gogs-signature", GOOD)],
            // The other one's way of writing it.
            vec![("x-forgejo-signature", &hub(GOOD))],
            vec![("x-hub-signature-256", GOOD)],
            // One of two.
            vec![("x-forgejo-signature", GOOD), ("x-hub-signature-256", &hub(BAD))],
            vec![("x-forgejo-signature", BAD), ("x-hub-signature-256", &hub(GOOD))],
            vec![("x-forgejo-signature", GOOD), ("x-gitea-signature", "")],
            vec![("x-gitea-signature", GOOD), ("x-gogs-signature", BAD)],
            // Twice.
            vec![("x-gitea-signature", GOOD), ("x-gitea-signature", BAD)],
            vec![("x-gitea-signature", BAD), ("x-gitea-signature", GOOD)],
            vec![("x-gitea-signature", GOOD), ("x-gitea-signature", GOOD)],
            // Odd spellings.
            vec![("x-gitea-signature", &GOOD[..63])],
            vec![("x-gitea-signature", &GOOD[..62])],
            vec![("x-gitea-signature", &format!("{GOOD}0"))],
            vec![("x-gitea-signature", &format!("{GOOD}00"))],
            vec![("x-gitea-signature", &format!("{GOOD},"))],
            vec![("x-gitea-signature", &format!("{GOOD},{GOOD}"))],
            vec![("x-gitea-signature", &GOOD.replace('a', "g"))],
            vec![("x-hub-signature-256", &format!("SHA256={GOOD}"))],
            vec![("x-hub-signature-256", &format!("sha1={GOOD}"))],
        ] {
            assert_eq!(accepted(&wrong), Some(false), "{wrong:?}");
        }
        let latin = check(SECRET, BODY, &[("x-gitea-signature", b"\xe9\xe9")]);
        assert_eq!(latin, Some(false));
    }

    #[test]
    fn all_of_them_right() {
        let all = [
            ("x-forgejo-signature", GOOD),
            ("x-gitea-signature", GOOD),
            ("x-gogs-signature", GOOD),
            ("x-hub-signature-256", &hub(GOOD)),
            ("x-hub-signature", "sha1=not-looked-at"),
        ];
        assert_eq!(accepted(&all), Some(true));
    }

    #[test]
    fn the_hmac_of_an_empty_key_opens_nothing() {
        let mut mac = HmacSha256::new_from_slice(b"").unwrap();
        mac.update(BODY.as_bytes());
        let digits = hex::encode(mac.finalize().into_bytes());
        assert_eq!(accepted(&[("x-gitea-signature", &digits)]), Some(false));
    }
}
