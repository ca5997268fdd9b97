//! A name server that takes signed updates (RFC 2136, RFC 8945).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::{Message, OpCode, Query, ResponseCode, UpdateMessage};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use kennel_core::config::{Rfc2136, TsigAlgorithm as Algorithm};

use super::message::{ask, encode, over_tcp, parse};
use super::{DnsError, DnsProvider, Zone};

/// How long a record may be remembered elsewhere, in seconds: a second proof of the same name must
/// be seen.
const TTL: u32 = 60;

/// How far the two clocks may be apart, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;

/// The server, and the key that it knows.
pub(crate) struct NameServer {
    server: SocketAddr,
    zone: Option<Name>,
    signer: TSigner,
    key_name: String,
    algorithm: Algorithm,
}

impl NameServer {
    /// The key is in base64, as `tsig-keygen` and `keymgr` print it. Says why it is none.
    pub(crate) fn new(config: &Rfc2136, key: &str) -> Result<Self, String> {
        let key = BASE64_STANDARD
            .decode(key.trim())
            .map_err(|error| format!("it is no key in base64: {error}"))?;
        if key.is_empty() {
            return Err("it is empty".into());
        }
        let algorithm = match config.algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        let name = |text: &str| Name::from_ascii(format!("{text}.")).map_err(|it| it.to_string());
        let signer = TSigner::new(key, algorithm, name(config.key_name.as_str())?, FUDGE);
        Ok(Self {
            server: config.server,
            zone: config.zone.as_ref().map(|zone| name(zone.as_str())).transpose()?,
            signer: signer.map_err(|error| error.to_string())?,
            key_name: config.key_name.to_string(),
            algorithm: config.algorithm,
        })
    }

    /// Changes one record.
    async fn update(&self, zone: &Zone, record: Record, what: &str) -> Result<(), DnsError> {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        message.add_zone(Query::query(zone.name.clone(), RecordType::SOA));
        let what = format!("{what} {}", record.name);
        message.add_update(record);
        let refused = |why: String| DnsError::Refused {
            server: self.server.to_string(),
            what: what.clone(),
            why,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifier = message.finalize(&self.signer, now).map_err(|it| refused(it.to_string()))?;
        let bytes = over_tcp(self.server, &encode(self.server, &message)?).await?;
        let answer = parse(self.server, &bytes)?;
        if answer.response_code != ResponseCode::NoError {
            // What a server says of a key that it does not accept, it cannot sign.
            return Err(refused(self.words(&answer)));
        }
        match verifier.map(|mut verifier| verifier.verify(&bytes)) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(refused(format!("its answer is not signed: {error}"))),
            None => Ok(()),
        }
    }

    /// The server's own words for a refusal.
    fn words(&self, answer: &Message) -> String {
        let code = answer.response_code;
        let Some(error) = answer.signature().and_then(|it| it.data.error) else {
            return format!("{code}");
        };
        let (name, algorithm) = (&self.key_name, self.algorithm);
        let error = match error {
            TsigError::BadSig => format!("BADSIG: its key {name} is another one"),
            TsigError::BadKey => format!("BADKEY: it knows no key {name} for {algorithm}"),
            TsigError::BadTime => "BADTIME: its clock and this host's differ".to_owned(),
            TsigError::BadTrunc => "BADTRUNC: it wants a longer signature".to_owned(),
            TsigError::Unknown(code) => format!("TSIG error {code}"),
        };
        format!("{code} ({error})")
    }
}

#[async_trait]
impl DnsProvider for NameServer {
    async fn zone_of(&self, name: &Name) -> Result<Option<Zone>, DnsError> {
        let found = match &self.zone {
            Some(zone) if zone.zone_of(name) => zone.clone(),
            Some(_) => return Ok(None),
            None => {
                let answer = ask(self.server, name, RecordType::SOA).await?;
                let records = answer.answers.iter().chain(&answer.authorities);
                let mut zones = records
                    .filter(|it| it.record_type() == RecordType::SOA && it.name.zone_of(name));
                match zones.next().filter(|_| answer.authoritative) {
                    Some(soa) => soa.name.clone(),
                    None => return Ok(None),
                }
            }
        };
        let answer = ask(self.server, &found, RecordType::NS).await?;
        let servers = answer.answers.iter().filter_map(|record| match &record.data {
            RData::NS(server) => Some(server.0.clone()),
            _ => None,
        });
        Ok(Some(Zone { servers: servers.collect(), name: found }))
    }

    async fn add(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError> {
        let text = RData::TXT(TXT::new(vec![value.to_owned()]));
        let record = Record::from_rdata(name.clone(), TTL, text);
        self.update(zone, record, "to add a TXT record for").await
    }

    async fn remove(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError> {
        let text = RData::TXT(TXT::new(vec![value.to_owned()]));
        let mut record = Record::from_rdata(name.clone(), 0, text);
        // This one, and no other of the name (RFC 2136 §2.5.4).
        record.dns_class = DNSClass::NONE;
        self.update(zone, record, "to remove a TXT record of").await
    }
}
