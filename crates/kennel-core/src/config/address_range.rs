//! A range of addresses, as systemd's address filters want it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// An address, or a network with the length of its prefix: `10.1.2.3`, `10.1.0.0/16`, `fd00::/8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(String);

impl AddressRange {
    fn check(text: &str) -> Result<(), &'static str> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| "it is no address such as 10.1.2.3 or fd00::1")?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let fits = |prefix: &str| {
            prefix.bytes().all(|b| b.is_ascii_digit())
                && prefix.parse::<u8>().is_ok_and(|length| length <= longest)
        };
        if prefix.is_none_or(fits) { Ok(()) } else { Err("its prefix is not 0 to 32, or to 128") }
    }
}

impl AddressRange {
    /// Its address, and how many leading bits count. IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) is
    /// IPv4.
    #[must_use]
    pub fn network(&self) -> (IpAddr, u8) {
        let (address, prefix) = self.0.split_once('/').unwrap_or((&self.0, ""));
        // Both were checked at the door.
        let address = address.parse().unwrap_or(IpAddr::from([0_u8; 16]));
        let prefix = prefix.parse().unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        match address.to_canonical() {
            IpAddr::V4(inner) if address.is_ipv6() && prefix >= 96 => (inner.into(), prefix - 96),
            _ => (address, prefix),
        }
    }
}

text_newtype!(AddressRange, "range of addresses");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        for good in ["10.1.2.3", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8", "::1/128"] {
            assert_eq!(good.parse::<AddressRange>().unwrap().as_str(), good);
        }
        for bad in ["", "localhost", "10.1.2", "10.1.2.3/", "10.0.0.0/33", "::/129", "1.2.3.4/+8"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_counts_of_them() {
        for (text, address, bits) in [
            ("10.1.2.3", "10.1.2.3", 32),
            ("10.1.2.3/8", "10.1.2.3", 8),
            ("fd00::/8", "fd00::", 8),
            ("::1", "::1", 128),
            ("::ffff:10.0.0.0/104", "10.0.0.0", 8),
            ("::/0", "::", 0),
        ] {
            let network = text.parse::<AddressRange>().unwrap().network();
            assert_eq!(network, (address.parse().unwrap(), bits), "{text}");
        }
    }
}
