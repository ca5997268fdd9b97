//! Ranges of addresses, ready to be compared with.
//!
//! Apart from the configuration's own type, which is text: a request must not parse anything that
//! it does not bring itself.

use std::net::IpAddr;

use kennel_core::config::AddressRange;

/// Any number of them.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Box<[Range]>);

#[derive(Debug)]
struct Range {
    is_v4: bool,
    bits: u128,
    mask: u128,
}

impl Ranges {
    pub(crate) fn new(ranges: &[AddressRange]) -> Self {
        let range = |range: &AddressRange| {
            let (address, prefix) = range.network();
            let (is_v4, bits, width) = number(address);
            let mask = u128::MAX.checked_shl(width - u32::from(prefix).min(width)).unwrap_or(0);
            Range { is_v4, bits: bits & mask, mask }
        };
        Self(ranges.iter().map(range).collect())
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address lies in one of them. IPv4 written as IPv6 is IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (is_v4, bits, _) = number(address.to_canonical());
        self.0.iter().any(|range| range.is_v4 == is_v4 && bits & range.mask == range.bits)
    }
}

/// Whether it is IPv4, its bits, and how many there are.
fn number(address: IpAddr) -> (bool, u128, u32) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (false, address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        Ranges::new(&[range.parse().unwrap()]).contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_within_and_without() {
        for (range, within, without) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/8", "10.9.9.9", "9.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
            // The same addresses in the other spelling.
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
        ] {
            assert!(contains(range, within), "{within} in {range}");
            assert!(!contains(range, without), "{without} in {range}");
        }
        assert!(!Ranges::default().contains("10.0.0.1".parse().unwrap()));
    }
}
