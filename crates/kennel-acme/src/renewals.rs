//! When the certificate authority wants each certificate to be renewed (ACME renewal information,
//! RFC 9773). One that says nothing of it has its certificates renewed at two thirds of their time.
//!
//! Remembered in a file, since a moment within the authority's window is drawn once, and since it
//! says itself when it wants to be asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, Error};
use kennel_core::{Certificate, HostPattern, Layout, Timestamp, error_chain};
use rustls_pki_types::Der;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{AcmeError, kept, say};

/// How soon one is asked about again, whatever the authority says (RFC 9773 §4.3.2).
const LOOKS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(15 * 60)..=Duration::from_secs(24 * 3600);

/// For an authority that has no such thing, or did not answer.
const LATER: Duration = Duration::from_secs(24 * 3600);
const SOON: Duration = Duration::from_secs(3600);

/// The moments, as they are kept.
pub(crate) struct Renewals<'a> {
    layout: &'a Layout,
    kept: Kept,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Until when the authority is not asked at all, since it has nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silent_until: Option<Timestamp>,
    #[serde(default)]
    names: BTreeMap<HostPattern, Renewal>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Renewal {
    /// Which certificate (RFC 9773 §4.1): another one of the same name has another moment.
    certificate: String,
    /// When it is renewed; none if the authority did not say.
    at: Option<Timestamp>,
    /// When the authority is asked again.
    look_again: Timestamp,
}

/// What is asked about.
type Wanted<'n> = (&'n HostPattern, CertificateIdentifier<'static>, &'n Certificate);

impl<'a> Renewals<'a> {
    /// Reads them. A file that cannot be read costs some questions, and nothing else.
    pub(crate) fn load(layout: &'a Layout) -> Self {
        Self { layout, kept: kept::load_or_forget(&layout.acme_renewals()) }
    }

    /// Whether a certificate is to be renewed now.
    pub(crate) fn is_due(
        &self,
        name: &HostPattern,
        certificate: &Certificate,
        now: Timestamp,
    ) -> bool {
        let lifetime = certificate.not_after.since(certificate.not_before);
        let asked_for = self.of(name, certificate).and_then(|renewal| renewal.at);
        let at = match asked_for {
            // Whatever it says, not in the last moment.
            Some(at) => at.min(certificate.not_before.plus(lifetime * 9 / 10)),
            None => certificate.not_before.plus(lifetime * 2 / 3),
        };
        now >= at
    }

    /// What an order says that it replaces: only an authority that has spoken of it knows it.
    pub(crate) fn replaced(
        &self,
        name: &HostPattern,
        certificate: &Certificate,
    ) -> Option<CertificateIdentifier<'static>> {
        self.of(name, certificate).filter(|renewal| renewal.at.is_some())?;
        identifier(certificate)
    }

    fn of(&self, name: &HostPattern, certificate: &Certificate) -> Option<&Renewal> {
        let known = self.kept.names.get(name)?;
        let id = identifier(certificate)?;
        (known.certificate == id.to_string()).then_some(known)
    }

    /// Those that the authority is to be asked about now.
    pub(crate) fn questions<'n>(
        &self,
        own: impl Iterator<Item = (&'n HostPattern, &'n Certificate)>,
        now: Timestamp,
    ) -> Vec<Wanted<'n>> {
        if self.kept.silent_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let wanted = own.filter(|(_, certificate)| now < certificate.not_after);
        let wanted = wanted.filter_map(|(name, certificate)| {
            let is_known = |renewal: &Renewal| now < renewal.look_again;
            if self.of(name, certificate).is_some_and(is_known) {
                return None;
            }
            Some((name, identifier(certificate)?, certificate))
        });
        wanted.collect()
    }

    /// Asks, and keeps what is answered.
    pub(crate) async fn ask(
        &mut self,
        account: &Account,
        questions: Vec<Wanted<'_>>,
        now: Timestamp,
    ) -> Result<(), AcmeError> {
        for (name, id, certificate) in questions {
            let before = self.of(name, certificate).and_then(|renewal| renewal.at);
            let (at, look_again) = match account.renewal_info(&id).await {
                Ok((answer, again)) => {
                    let moment = |at: i64| Timestamp::from_millis(at.saturating_mul(1000));
                    let window = &answer.suggested_window;
                    let first = moment(window.start.unix_timestamp());
                    let last = moment(window.end.unix_timestamp());
                    if last < now
                        && let Some(why) = &answer.explanation_url
                    {
                        info!("{}", say::renewed_early(name, why));
                    }
                    let drawn = before.filter(|at| (first..=last).contains(at));
                    (Some(drawn.unwrap_or_else(|| within(first, last))), again)
                }
                Err(Error::Unsupported(_)) => {
                    self.kept.silent_until = Some(now.plus(LATER));
                    break;
                }
                Err(error) => {
                    warn!("{}", say::no_renewal_information(name, &error_chain(&error)));
                    (before, SOON)
                }
            };
            let look_again = now.plus(look_again.clamp(*LOOKS.start(), *LOOKS.end()));
            let renewal = Renewal { certificate: id.to_string(), at, look_again };
            self.kept.names.insert(name.clone(), renewal);
        }
        self.store()
    }

    /// Forgets what is not routed any more.
    pub(crate) fn keep_only(&mut self, names: &BTreeSet<HostPattern>) -> Result<(), AcmeError> {
        let before = self.kept.names.len();
        self.kept.names.retain(|name, _| names.contains(name));
        if self.kept.names.len() == before { Ok(()) } else { self.store() }
    }

    fn store(&self) -> Result<(), AcmeError> {
        kept::store(&self.layout.acme_renewals(), &self.kept, 0o644)
    }
}

fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let authority = Der::from_slice(certificate.authority_key.as_deref()?);
    let id = CertificateIdentifier::new(authority, Der::from_slice(&certificate.serial));
    Some(id.into_owned())
}

/// A moment of the window, drawn so that not all hosts of the world come at once.
fn within(first: Timestamp, last: Timestamp) -> Timestamp {
    first.plus(last.since(first).mul_f64(fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::{Request, Response};
    use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
    use rcgen::{CertificateParams, Issuer, KeyPair, SerialNumber};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// An authority that answers questions about renewals, or has no such thing.
    #[derive(Clone)]
    struct Fake {
        knows: bool,
        window: Arc<Mutex<(&'static str, &'static str)>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Fake {
        fn new(knows: bool) -> Self {
            let window = ("2030-01-20T00:00:00Z", "2030-01-22T00:00:00Z");
            Self { knows, window: Arc::new(Mutex::new(window)), asked: Arc::default() }
        }

        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }

        async fn account(&self) -> Account {
            let credentials = serde_json::from_value(serde_json::json!({
                "id": "https://ca.example/account/1",
                "key_pkcs8": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJVWC_QzOTCS5vtsJp2IG-UDc8cdDfeoKtxSZxaznM-mhRANCAAQenCPoGgPFTdPJ7VLLKt56RxPlYT1wNXnHc54PEyBg3LxKaH0-sJkX0mL8LyPEdsfL_Oz4TxHkWLJGrXVtNhfH",
                "directory": "https://ca.example/directory",
            }))
            .unwrap();
            let builder = Account::builder_with_http(Box::new(self.clone()));
            builder.from_credentials(credentials).await.unwrap()
        }
    }

    impl HttpClient for Fake {
        fn request(
            &self,
            request: Request<BodyWrapper<Bytes>>,
        ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
            let path = request.uri().path().to_owned();
            let text = if path == "/directory" {
                let info =
                    if self.knows { r#""renewalInfo": "https://ca.example/renewal","# } else { "" };
                format!(
                    r#"{{{info} "newNonce": "https://ca.example/n", "newAccount":
                    "https://ca.example/a", "newOrder": "https://ca.example/o"}}"#
                )
            } else {
                self.asked.lock().unwrap().push(path);
                let (start, end) = *self.window.lock().unwrap();
                format!(
                    r#"{{"suggestedWindow": {{"start": "{start}", "end": "{end}"}},
                    "explanationURL": "https://ca.example/why"}}"#
                )
            };
            let response = Response::builder()
                .header("retry-after", "21600")
                .body(Full::new(Bytes::from(text)))
                .unwrap();
            Box::pin(async move { Ok(BytesResponse::from(response)) })
        }
    }

    fn host() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.acme_renewals().parent().unwrap()).unwrap();
        (root, layout)
    }

    /// Valid from 2030-01-01 for 30 days.
    fn certificate(serial: &[u8]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(CertificateParams::default(), key);
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 31);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        Certificate::parse(made.der()).unwrap()
    }

    #[tokio::test]
    async fn the_authority_says_when() {
        let (_root, layout) = host();
        let fake = Fake::new(true);
        let account = fake.account().await;
        let name: HostPattern = "a.example".parse().unwrap();
        let one = certificate(&[0x87, 0x65]);
        let begin = one.not_before;
        let own = || [(&name, &one)].into_iter();

        let mut renewals = Renewals::load(&layout);
        assert!(!renewals.is_due(&name, &one, begin.plus(DAY * 19)));
        assert!(renewals.is_due(&name, &one, begin.plus(DAY * 20)));
        assert!(renewals.replaced(&name, &one).is_none());
        let now = begin.plus(HOUR);
        renewals.ask(&account, renewals.questions(own(), now), now).await.unwrap();
        // RFC 9773 §4.1: the serial number as it is encoded, with its leading zero.
        let path = fake.asked.lock().unwrap()[0].clone();
        assert!(path.starts_with("/renewal/") && path.ends_with(".AIdl"), "{path}");

        // In its window, drawn once, and not asked about again at once.
        let renewals = Renewals::load(&layout);
        assert!(!renewals.is_due(&name, &one, begin.plus(DAY * 19)));
        assert!(renewals.is_due(&name, &one, begin.plus(DAY * 21)));
        let drawn = renewals.kept.names[&name].at;
        assert!(renewals.replaced(&name, &one).is_some());
        assert!(renewals.questions(own(), now.plus(HOUR * 5)).is_empty());
        let later = now.plus(HOUR * 6);
        let mut renewals = Renewals::load(&layout);
        renewals.ask(&account, renewals.questions(own(), later), later).await.unwrap();
        assert_eq!((fake.asked(), renewals.kept.names[&name].at), (2, drawn));

        // Revoked: its window is over already.
        *fake.window.lock().unwrap() = ("2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z");
        let later = later.plus(HOUR * 6);
        renewals.ask(&account, renewals.questions(own(), later), later).await.unwrap();
        assert!(renewals.is_due(&name, &one, later));

        // What is said of one says nothing of the next.
        let next = certificate(&[0x11]);
        assert!(!renewals.is_due(&name, &next, later));
        assert_eq!(renewals.questions([(&name, &next)].into_iter(), later).len(), 1);
        renewals.keep_only(&BTreeSet::new()).unwrap();
        assert!(Renewals::load(&layout).kept.names.is_empty());
    }

    #[tokio::test]
    async fn never_in_the_last_moment() {
        let (_root, layout) = host();
        let fake = Fake::new(true);
        *fake.window.lock().unwrap() = ("2030-01-30T23:00:00Z", "2030-01-31T00:00:00Z");
        let account = fake.account().await;
        let name: HostPattern = "a.example".parse().unwrap();
        let one = certificate(&[1]);
        let now = one.not_before;
        let mut renewals = Renewals::load(&layout);
        let questions = renewals.questions([(&name, &one)].into_iter(), now);
        renewals.ask(&account, questions, now).await.unwrap();
        assert!(!renewals.is_due(&name, &one, now.plus(DAY * 26)));
        assert!(renewals.is_due(&name, &one, now.plus(DAY * 27)));
    }

    #[tokio::test]
    async fn an_authority_that_has_nothing_to_say() {
        let (_root, layout) = host();
        let fake = Fake::new(false);
        let account = fake.account().await;
        let name: HostPattern = "a.example".parse().unwrap();
        let one = certificate(&[1]);
        let own = || [(&name, &one)].into_iter();
        let now = one.not_before;
        let mut renewals = Renewals::load(&layout);
        renewals.ask(&account, renewals.questions(own(), now), now).await.unwrap();
        let renewals = Renewals::load(&layout);
        assert_eq!(fake.asked(), 0);
        assert!(renewals.questions(own(), now.plus(HOUR * 23)).is_empty());
        assert_eq!(renewals.questions(own(), now.plus(HOUR * 25)).len(), 1);
        assert!(renewals.is_due(&name, &one, now.plus(DAY * 20)));
        // A torn file is forgotten.
        fs::write(layout.acme_renewals(), "{").unwrap();
        assert_eq!(Renewals::load(&layout).questions(own(), now).len(), 1);
    }
}
