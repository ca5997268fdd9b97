//! Cloudflare, which changes the zones that it hosts over its API, version 4
//! (<https://developers.cloudflare.com/api/>).

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::rr::Name;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kennel_core::config;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::{DnsError, DnsProvider, Zone};

const API: &str = "https://api.cloudflare.com/client/v4";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of one.
const ANSWER_BYTES: usize = 1 << 20;

/// The least that Cloudflare allows, in seconds: a second proof of the same name must be seen.
const TTL: u32 = 60;

/// "An identical record already exists", of an earlier run.
const IDENTICAL: i64 = 81058;

/// The API, and the token that it knows.
pub(crate) struct Cloudflare {
    api: String,
    zone: Option<Name>,
    authorization: HeaderValue,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What every answer has.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Answer<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    result: Option<T>,
}

#[derive(Deserialize)]
struct Complaint {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct ZoneAnswer {
    id: String,
    name: String,
    #[serde(default)]
    name_servers: Vec<String>,
}

#[derive(Deserialize)]
struct RecordAnswer {
    id: String,
    content: String,
}

impl Cloudflare {
    /// Says why the token is none.
    pub(crate) fn new(config: &config::Cloudflare, token: &str) -> Result<Self, String> {
        Self::at(API, config, token)
    }

    fn at(api: &str, config: &config::Cloudflare, token: &str) -> Result<Self, String> {
        let token = token.trim();
        if token.is_empty() {
            return Err("it is empty".into());
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "it is no token: there are characters in it that none has".to_owned())?;
        authorization.set_sensitive(true);
        let connector = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(|error| format!("the system's certificates cannot be used: {error}"))?
            .https_or_http()
            .enable_http1()
            .build();
        let zone = config.zone.as_ref().map(|zone| Name::from_ascii(format!("{zone}.")));
        Ok(Self {
            api: api.to_owned(),
            zone: zone.transpose().map_err(|error| error.to_string())?,
            authorization,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// What is answered, or the codes and words of a refusal.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<Result<Option<T>, Vec<Complaint>>, DnsError> {
        let silent = |source: io::Error| DnsError::Unreachable { api: self.api.clone(), source };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| silent(io::Error::other(error)))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(io::Error::other)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(io::Error::other)?.to_bytes()))
        };
        let exchanged = timeout(PATIENCE, exchange).await;
        let (status, text) =
            exchanged.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(silent)?;
        let answer: Answer<T> = serde_json::from_slice(&text).map_err(|error| {
            let why = format!("{status} with what cannot be read: {error}");
            silent(io::Error::new(io::ErrorKind::InvalidData, why))
        })?;
        Ok(if answer.success { Ok(answer.result) } else { Err(answer.errors) })
    }

    fn refused(what: &str, complaints: &[Complaint]) -> DnsError {
        let words = complaints.iter().map(|it| format!("{} ({})", it.message, it.code));
        let words: Vec<_> = words.collect();
        let why = if words.is_empty() { "no reason given".into() } else { words.join("; ") };
        DnsError::Forbidden { api: "Cloudflare", what: what.to_owned(), why }
    }

    /// The zone of exactly this name, if the token sees one.
    async fn zone_named(&self, name: &Name) -> Result<Option<ZoneAnswer>, DnsError> {
        let plain = plain(name);
        let path = format!("/zones?name={plain}");
        match self.ask::<Vec<ZoneAnswer>>(Method::GET, &path, None).await? {
            Ok(zones) => {
                let mut zones = zones.unwrap_or_default().into_iter();
                Ok(zones.find(|zone| zone.name.eq_ignore_ascii_case(&plain)))
            }
            Err(why) => Err(Self::refused(&format!("to look for the zone {plain}"), &why)),
        }
    }

    /// What Cloudflare calls a zone that it was found to have.
    async fn id_of(&self, zone: &Zone) -> Result<String, DnsError> {
        let found = self.zone_named(&zone.name).await?;
        let gone = || DnsError::Unseen(format!("Cloudflare has no zone {} any more", zone.name));
        Ok(found.ok_or_else(gone)?.id)
    }
}

#[async_trait]
impl DnsProvider for Cloudflare {
    async fn zone_of(&self, name: &Name) -> Result<Option<Zone>, DnsError> {
        let mut candidates = Vec::new();
        match &self.zone {
            Some(zone) if zone.zone_of(name) => candidates.push(zone.clone()),
            Some(_) => {}
            // Top-level domains are nobody's here.
            None => {
                let mut candidate = name.clone();
                while candidate.num_labels() > 1 {
                    candidates.push(candidate.clone());
                    candidate = candidate.base_name();
                }
            }
        }
        for candidate in candidates {
            if let Some(found) = self.zone_named(&candidate).await? {
                let servers = found.name_servers.iter();
                let servers = servers.flat_map(|server| Name::from_ascii(format!("{server}.")));
                return Ok(Some(Zone { servers: servers.collect(), name: candidate }));
            }
        }
        Ok(None)
    }

    async fn add(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError> {
        let id = self.id_of(zone).await?;
        let record =
            json!({"type": "TXT", "name": plain(name), "content": quoted(value), "ttl": TTL});
        let path = format!("/zones/{id}/dns_records");
        match self.ask::<RecordAnswer>(Method::POST, &path, Some(record)).await? {
            Ok(_) => Ok(()),
            Err(why) if why.iter().any(|it| it.code == IDENTICAL) => Ok(()),
            Err(why) => {
                Err(Self::refused(&format!("to add a TXT record for {}", plain(name)), &why))
            }
        }
    }

    async fn remove(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError> {
        let id = self.id_of(zone).await?;
        let what = format!("to remove a TXT record of {}", plain(name));
        let path = format!("/zones/{id}/dns_records?type=TXT&per_page=100&name={}", plain(name));
        let records = match self.ask::<Vec<RecordAnswer>>(Method::GET, &path, None).await? {
            Ok(records) => records.unwrap_or_default(),
            Err(why) => return Err(Self::refused(&what, &why)),
        };
        // This one, and no other of the name.
        let is_it = |record: &&RecordAnswer| record.content.trim_matches('"') == value;
        for record in records.iter().filter(is_it) {
            let path = format!("/zones/{id}/dns_records/{}", record.id);
            if let Err(why) = self.ask::<serde_json::Value>(Method::DELETE, &path, None).await? {
                return Err(Self::refused(&what, &why));
            }
        }
        Ok(())
    }
}

/// A name as the API writes it: no dot at the end. Names here are host names, so that nothing in
/// them needs to be escaped in an address.
fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()
}

/// A TXT record's content as Cloudflare wants it.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Response, StatusCode};
    use hyper_util::rt::TokioIo;
    use serde_json::Value;
    use tokio::net::TcpListener;

    use super::*;

    const TOKEN: &str = "not-a-secret-outside-of-this-test";

    /// A server that answers as the API's reference says, with one zone.
    #[derive(Default)]
    struct Fake {
        records: Vec<(String, String, String)>,
        given: usize,
    }

    impl Fake {
        fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
            const ZONE: &str = "/zones/023e105f4ecef8ad9ca31a8372d0c353/dns_records";
            let good = |result: Value| {
                let all = json!({"success": true, "errors": [], "messages": [], "result": result});
                (StatusCode::OK, all)
            };
            let bad = |code: i64, message: &str| {
                let errors = json!([{"code": code, "message": message}]);
                let all = json!({"success": false, "errors": errors, "result": null});
                (StatusCode::BAD_REQUEST, all)
            };
            if let Some(name) = path.strip_prefix("/zones?name=") {
                let zone = json!({"id": "023e105f4ecef8ad9ca31a8372d0c353", "name": "k.example",
                    "name_servers": ["bob.ns.example", "lola.ns.example"]});
                return good(if name == "k.example" { json!([zone]) } else { json!([]) });
            }
            match (method, path.strip_prefix(ZONE).unwrap()) {
                (&Method::POST, "") => {
                    let text = |key: &str| body[key].as_str().unwrap().to_owned();
                    let (name, content) = (text("name"), text("content"));
                    if name.contains("locked") {
                        return bad(10000, "Authentication error");
                    }
                    if self.records.iter().any(|it| (&it.1, &it.2) == (&name, &content)) {
                        return bad(81058, "An identical record already exists.");
                    }
                    self.given += 1;
                    let id = format!("r{}", self.given);
                    self.records.push((id.clone(), name, content.clone()));
                    good(json!({"id": id, "content": content}))
                }
                (&Method::GET, query) => {
                    let (_, wanted) = query.split_once("name=").unwrap();
                    let of_name = self.records.iter().filter(|it| it.1 == wanted);
                    let all: Vec<_> =
                        of_name.map(|it| json!({"id": it.0, "content": it.2})).collect();
                    good(json!(all))
                }
                (&Method::DELETE, id) => {
                    self.records.retain(|it| Some(&*it.0) != id.strip_prefix('/'));
                    good(json!({"id": id}))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn start(fake: Arc<Mutex<Fake>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fake = Arc::clone(&fake);
                let service = service_fn(move |request: Request<Incoming>| {
                    let fake = Arc::clone(&fake);
                    async move {
                        let (head, body) = request.into_parts();
                        let path = head.uri.path_and_query().unwrap().as_str().to_owned();
                        let body = body.collect().await.unwrap().to_bytes();
                        let body = serde_json::from_slice(&body).unwrap_or_default();
                        let is_known = head.headers[AUTHORIZATION] == format!("Bearer {TOKEN}");
                        let (status, text) = if is_known {
                            fake.lock().unwrap().answer(&head.method, &path, &body)
                        } else {
                            let errors = json!([{"code": 9109, "message": "Invalid access token"}]);
                            (
                                StatusCode::FORBIDDEN,
                                json!({"success": false, "errors": errors, "result": null}),
                            )
                        };
                        let text = Full::new(Bytes::from(text.to_string()));
                        Ok::<_, Infallible>(Response::builder().status(status).body(text).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        format!("http://{address}")
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[tokio::test]
    async fn one_record_comes_and_goes_beside_others() {
        let fake = Arc::<Mutex<Fake>>::default();
        let api = start(Arc::clone(&fake)).await;
        let any = config::Cloudflare { zone: None };
        let cloudflare = Cloudflare::at(&api, &any, &format!("{TOKEN}\n")).unwrap();
        let proven = name("_acme-challenge.shop.k.example.");
        let zone = cloudflare.zone_of(&proven).await.unwrap().unwrap();
        assert_eq!(zone.name, name("k.example."));
        assert_eq!(zone.servers, [name("bob.ns.example."), name("lola.ns.example.")]);
        assert_eq!(cloudflare.zone_of(&name("shop.org.")).await.unwrap(), None);

        cloudflare.add(&zone, &proven, "one").await.unwrap();
        // A run that was killed after it.
        cloudflare.add(&zone, &proven, "one").await.unwrap();
        cloudflare.add(&zone, &proven, "other").await.unwrap();
        cloudflare.remove(&zone, &proven, "one").await.unwrap();
        cloudflare.remove(&zone, &proven, "one").await.unwrap();
        let left = fake.lock().unwrap().records.clone();
        let other = ("r2".into(), "_acme-challenge.shop.k.example".into(), "\"other\"".into());
        assert_eq!(left, [other]);
    }

    #[tokio::test]
    async fn refusals_in_its_own_words() {
        let api = start(Arc::default()).await;
        let any = config::Cloudflare { zone: None };
        let proven = name("_acme-challenge.locked.k.example.");
        let wrong = Cloudflare::at(&api, &any, "another").unwrap();
        let right = Cloudflare::at(&api, &any, TOKEN).unwrap();
        let zone = right.zone_of(&proven).await.unwrap().unwrap();
        let all = [
            wrong.zone_of(&proven).await.unwrap_err().to_string(),
            right.add(&zone, &proven, "x").await.unwrap_err().to_string(),
            Cloudflare::at(&api, &any, " \n").err().unwrap(),
            Cloudflare::at(&api, &any, "a\u{1}b").err().unwrap(),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        Cloudflare refuses to look for the zone _acme-challenge.locked.k.example: Invalid access token (9109)
        Cloudflare refuses to add a TXT record for _acme-challenge.locked.k.example: Authentication error (10000)
        it is empty
        it is no token: there are characters in it that none has
        ");
    }

    #[tokio::test]
    async fn one_zone_alone() {
        let api = start(Arc::default()).await;
        let one = config::Cloudflare { zone: Some("k.example".parse().unwrap()) };
        let cloudflare = Cloudflare::at(&api, &one, TOKEN).unwrap();
        let inside = cloudflare.zone_of(&name("a.b.k.example.")).await.unwrap();
        assert_eq!(inside.unwrap().name, name("k.example."));
        assert_eq!(cloudflare.zone_of(&name("a.example.")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let any = config::Cloudflare { zone: None };
        let cloudflare = Cloudflare::at(&api, &any, TOKEN).unwrap();
        let error = cloudflare.zone_of(&name("k.example.")).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{api} does not answer"));
    }
}
