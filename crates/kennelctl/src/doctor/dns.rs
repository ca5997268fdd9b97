//! Whether names below the base domain, and the control host, lead here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;

/// A resolver that answers at all does so within this.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let Some(config) = &facts.config else { return vec![say::dns_without_configuration()] };
    let base = config.base_domain.as_str();
    // Made up anew each time: no cache has it, and only a wildcard answers for it.
    let made_up = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let below = format!("doctor-{:x}.doctor.{base}", made_up.subsec_nanos());
    let control = config.control_host.as_str();
    let (of_below, of_control) = tokio::join!(resolve(&below), resolve(control));
    let own = own_addresses();
    let wildcard = judge(&format!("*.{base}"), &below, of_below, is_here, &own);
    // The wildcard's record is the control host's as well.
    let covered = wildcard.is_some() && config.control_host.is_within(&config.base_domain);
    let judged = [
        wildcard,
        (!covered).then(|| judge(control, control, of_control, is_here, &own)).flatten(),
    ];
    or_ok(judged.into_iter().flatten().collect(), || say::dns_good(base, control))
}

async fn resolve(name: &str) -> Result<BTreeSet<IpAddr>, String> {
    match tokio::time::timeout(LIMIT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => {
            // `failed to lookup address information: Name or service not known`
            let words = error.to_string();
            Err(words.rsplit(": ").next().unwrap_or(&words).to_owned())
        }
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

fn judge(
    record: &str,
    asked: &str,
    answer: Result<BTreeSet<IpAddr>, String>,
    is_here: fn(IpAddr) -> bool,
    own: &[IpAddr],
) -> Option<Finding> {
    match answer {
        Ok(addresses) if addresses.iter().any(|address| is_here(*address)) => None,
        Ok(addresses) => {
            let elsewhere: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Some(say::dns_elsewhere(record, asked, &elsewhere.join(", "), own))
        }
        Err(why) => Some(say::dns_silent(record, asked, &why, own)),
    }
}

/// Whether the address is one of this host: only those can be bound to.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The addresses that this host has towards the world. Nothing is sent: a connected datagram socket
/// only asks the kernel for the way (192.0.2.1 and 2001:db8::1 are for documentation, RFC 5737 and
/// RFC 3849).
fn own_addresses() -> Vec<IpAddr> {
    let towards = |here: IpAddr, there: IpAddr| {
        let socket = UdpSocket::bind((here, 0)).ok()?;
        socket.connect((there, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    let four = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let six: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
    [four, towards(Ipv6Addr::UNSPECIFIED.into(), six)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn here_elsewhere_and_nowhere() {
        let here = |address: IpAddr| address == IpAddr::from([203, 0, 113, 7]);
        let own = [IpAddr::from([203, 0, 113, 7]), "2001:db8::7".parse().unwrap()];
        let look = |answer: Result<&[[u8; 4]], &str>, own: &[IpAddr]| {
            let answer = answer.map(|all| all.iter().map(|it| IpAddr::from(*it)).collect());
            judge("*.a.test", "doctor-1.doctor.a.test", answer.map_err(str::to_owned), here, own)
        };
        assert_eq!(look(Ok(&[[198, 51, 100, 1], [203, 0, 113, 7]]), &own), None);
        let bad = [
            look(Ok(&[[198, 51, 100, 1]]), &own),
            look(Err("Name or service not known"), &own),
            look(Err("Temporary failure in name resolution"), &[]),
        ];
        let bad: Vec<_> = bad.into_iter().flatten().collect();
        insta::assert_snapshot!(said(&bad));
        assert!(is_here(Ipv4Addr::LOCALHOST.into()) && !is_here([192, 0, 2, 1].into()));
    }
}
