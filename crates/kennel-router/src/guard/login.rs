//! One password of a project's previews, and the sessions of those who knew it.
//!
//! A session is a cookie that says until when it lasts, signed with a key that goes with the password:
//! nothing is kept of it here, and it outlives the router. The password itself is hashed once; after
//! that it is known by a fingerprint in memory, so that programs that send it with each request cost
//! no more than a cookie does.

use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use kennel_core::config::PasswordHash;
use kennel_core::{Login as RawLogin, LoginId};
use sha2::Sha256;

/// For how long somebody who knew the password is not asked again.
pub(super) const SESSION_SECS: u64 = 7 * 24 * 3600;

/// As the PHC string format has it: no padding, and what is left of the last digit does not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What a password is asked for with.
pub(crate) struct Login {
    id: LoginId,
    hash: PasswordHash,
    key: Hmac<Sha256>,
    /// The fingerprint of the right password, once it was given.
    known: OnceLock<[u8; 32]>,
}

impl Login {
    /// None if the key is not one, which is never so.
    pub(crate) fn new(id: LoginId, raw: &RawLogin) -> Option<Self> {
        let key = Hmac::new_from_slice(&hex::decode(raw.key.reveal()).ok()?).ok()?;
        Some(Self { id, hash: raw.password.clone(), key, known: OnceLock::new() })
    }

    /// A session that begins now, in seconds since 1970.
    pub(super) fn session(&self, now: u64) -> String {
        let end = now.saturating_add(SESSION_SECS);
        format!("{end:x}.{}", hex::encode(self.sign("session", end.to_string().as_bytes())))
    }

    /// Whether it is a session of this password, and not over.
    pub(super) fn is_session(&self, text: &str, now: u64) -> bool {
        let Some((end, signature)) = text.split_once('.') else { return false };
        let Ok(end) = u64::from_str_radix(end, 16) else { return false };
        let mut bytes = [0; 32];
        if hex::decode_to_slice(signature, &mut bytes).is_err() || end <= now {
            return false;
        }
        let mac = self.key.clone().chain_update("session\0").chain_update(end.to_string());
        // In a time that does not depend on where they differ.
        mac.verify_slice(&bytes).is_ok()
    }

    /// Whether it is the right password, if that can be said at once.
    pub(super) fn is_known(&self, password: &[u8]) -> bool {
        let mac = self.key.clone().chain_update("password\0").chain_update(password);
        self.known.get().is_some_and(|known| mac.verify_slice(known).is_ok())
    }

    /// Whether it is the right password. Takes long and much memory, on purpose.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let is_right = self.hash_is_of(password).unwrap_or(false);
        if is_right {
            // Twice the same.
            let _known = self.known.set(self.sign("password", password));
        }
        is_right
    }

    fn hash_is_of(&self, password: &[u8]) -> Option<bool> {
        let parts = self.hash.parts().ok()?;
        let (salt, expected) = (BASE64.decode(parts.salt).ok()?, BASE64.decode(parts.hash).ok()?);
        let params =
            Params::new(parts.memory, parts.passes, parts.lanes, Some(expected.len())).ok()?;
        let mut found = vec![0; expected.len()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password, &salt, &mut found).ok()?;
        let expected = self.sign("hash", &expected);
        let found = self.key.clone().chain_update("hash\0").chain_update(&found);
        Some(found.verify_slice(&expected).is_ok())
    }

    fn sign(&self, what: &str, text: &[u8]) -> [u8; 32] {
        let mac = self.key.clone().chain_update(what).chain_update("\0").chain_update(text);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The cheapest hash of a password that is taken.
    pub(crate) fn hash(password: &str) -> String {
        let params = Params::new(1024, 1, 1, Some(32)).unwrap();
        let mut hash = [0; 32];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password.as_bytes(), b"somesalt", &mut hash).unwrap();
        let (salt, hash) = (BASE64.encode("somesalt"), BASE64.encode(hash));
        format!("$argon2id$v=19$m=1024,t=1,p=1${salt}${hash}")
    }

    pub(crate) fn login(password: &str, key: u8) -> Login {
        let raw = format!(
            r#"{{"project":"shop","password":"{}","key":"{}"}}"#,
            hash(password),
            hex::encode([key; 32])
        );
        let id = "0".repeat(32).parse().unwrap();
        Login::new(id, &serde_json::from_str(&raw).unwrap()).unwrap()
    }

    #[test]
    fn what_the_reference_implementation_made() {
        // One of the vectors that it is tested with itself.
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let raw =
            format!(r#"{{"project":"shop","password":"{hash}","key":"{}"}}"#, hex::encode([1; 32]));
        let id = "0".repeat(32).parse().unwrap();
        let login = Login::new(id, &serde_json::from_str(&raw).unwrap()).unwrap();
        assert!(login.verify(b"password") && !login.verify(b"Password"));
    }

    #[test]
    fn the_right_password_is_known_once_it_was_given() {
        let login = login("correct horse", 1);
        assert!(!login.is_known(b"correct horse"));
        assert!(!login.verify(b"wrong") && !login.is_known(b"wrong"));
        assert!(login.verify(b"correct horse"));
        assert!(login.is_known(b"correct horse"));
        assert!(!login.is_known(b"wrong") && !login.is_known(b""));
    }

    #[test]
    fn a_session_is_of_one_key_and_ends() {
        let (one, other) = (login("a", 1), login("a", 2));
        let session = one.session(1000);
        assert!(one.is_session(&session, 1000));
        assert!(one.is_session(&session, 1000 + SESSION_SECS - 1));
        assert!(!one.is_session(&session, 1000 + SESSION_SECS));
        assert!(!other.is_session(&session, 1000));
        let (end, signature) = session.split_once('.').unwrap();
        let later = u64::from_str_radix(end, 16).unwrap() + 1;
        for forged in [
            format!("{later:x}.{signature}"),
            format!("{end}."),
            format!("{end}.{}", &signature[..62]),
            format!("{end}.{}", "0".repeat(64)),
            format!("+{end}x.{signature}"),
            signature.to_owned(),
            String::new(),
        ] {
            assert!(!one.is_session(&forged, 1000), "{forged}");
        }
    }
}
