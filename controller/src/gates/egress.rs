//! Which addresses gates may reach.
//!
//! Who may commit config must not be able to make the controller talk to itself or to the cloud's
//! metadata services. An address is judged where it is about to be connected to, never by its name.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns;
use reqwest::dns::{Addrs, Resolve, Resolving};
use serde::{Deserialize, Serialize};
use tower::{BoxError, Service};

/// What may be reached beside public and private addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressRules {
    /// This machine: `127.0.0.0/8`, `::1`, and the unspecified addresses, which lead here too.
    pub loopback: bool,
    /// The link: `169.254.0.0/16`, `fe80::/10`, multicast, and the clouds' metadata services.
    pub link_local: bool,
}

/// Why an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefused {
    /// It is this machine.
    #[error(
        "the egress rules forbid loopback addresses (egress.loopback in the settings, or --allow-loopback)"
    )]
    Loopback,
    /// It is on the link, or a metadata service.
    #[error(
        "the egress rules forbid link-local and metadata addresses (egress.linkLocal in the settings, or --allow-link-local)"
    )]
    LinkLocal,
}

/// Metadata services outside of the link-local ranges: Azure's wire server, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The metadata services of AWS and Google over IPv6, which are unique local addresses.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl EgressRules {
    /// Forbids nothing.
    pub(crate) const ANY: Self = Self {
        loopback: true,
        link_local: true,
    };

    /// Whether this address may be connected to.
    pub fn check(self, address: IpAddr) -> Result<(), EgressRefused> {
        match refusal_by_default(address) {
            Some(EgressRefused::Loopback) if !self.loopback => Err(EgressRefused::Loopback),
            Some(EgressRefused::LinkLocal) if !self.link_local => Err(EgressRefused::LinkLocal),
            _ => Ok(()),
        }
    }
}

/// Which rule an address falls under, if any.
fn refusal_by_default(address: IpAddr) -> Option<EgressRefused> {
    match address {
        IpAddr::V4(address) => refusal_of_v4(address),
        IpAddr::V6(address) => {
            if let Some(embedded) = embedded_v4(address)
                && let Some(refusal) = refusal_of_v4(embedded)
            {
                return Some(refusal);
            }
            if address.is_loopback() || address.is_unspecified() {
                Some(EgressRefused::Loopback)
            } else if address.is_unicast_link_local()
                || address.is_multicast()
                || METADATA_V6.contains(&address)
            {
                Some(EgressRefused::LinkLocal)
            } else {
                None
            }
        }
    }
}

fn refusal_of_v4(address: Ipv4Addr) -> Option<EgressRefused> {
    // All of 0.0.0.0/8 is "this network", and Linux takes 0.0.0.0 for the loopback.
    if address.is_loopback() || address.octets().first() == Some(&0) {
        Some(EgressRefused::Loopback)
    } else if address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
    {
        Some(EgressRefused::LinkLocal)
    } else {
        None
    }
}

/// The IPv4 address that an IPv6 address stands for, where a network may translate it.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // The loopback and unspecified addresses are no IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible (::a.b.c.d), mapped (::ffff:a.b.c.d), translated (::ffff:0:a.b.c.d), and
        // through NAT64 by its well-known and its local-use prefix.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0 | 1, _, _, _, high, low]
        // 6to4
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// The address by which a host is named, if it is one and no name.
pub(crate) fn literal_address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Resolves names by the operating system and keeps only what the rules allow, so that the address
/// that was checked is the address that is connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedResolver {
    /// The rules.
    pub(crate) rules: EgressRules,
}

impl CheckedResolver {
    /// The addresses of a name that may be connected to, with the port 0; an error if there are others alone.
    async fn look_up(self, name: &str) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in tokio::net::lookup_host((name, 0)).await? {
            match self.rules.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(reason) if allowed.is_empty() => Err(reason.into()),
            _ => Ok(allowed.into_iter()),
        }
    }
}

/// For clients of gates and receivers. The port 0 is replaced by the URL's.
impl Resolve for CheckedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = *self;
        Box::pin(async move { Ok(Box::new(resolver.look_up(name.as_str()).await?) as Addrs) })
    }
}

/// For clients of API servers.
impl Service<dns::Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let resolver = *self;
        Box::pin(async move { resolver.look_up(name.as_str()).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address that a URL's host is, however it is written.
    fn address(host: &str) -> IpAddr {
        let url = reqwest::Url::parse(&format!("http://{host}/")).unwrap();
        let text = url.host_str().unwrap();
        text.trim_matches(['[', ']']).parse().unwrap()
    }

    #[test]
    fn loopback_and_link_are_refused_in_every_spelling() {
        let strict = EgressRules::default();
        for host in [
            "127.0.0.1",
            "127.8.9.10",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0.0.0.0",
            "0",
            "0.1.2.3",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            assert_eq!(
                strict.check(address(host)),
                Err(EgressRefused::Loopback),
                "{host}"
            );
        }
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "168.63.129.16",
            "100.100.100.200",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[::a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "[::ffff:168.63.129.16]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ] {
            assert_eq!(
                strict.check(address(host)),
                Err(EgressRefused::LinkLocal),
                "{host}"
            );
        }
    }

    #[test]
    fn public_and_private_addresses_are_allowed() {
        for host in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "8.8.8.8",
            "[fd00::1]",
            "[2001:db8::1]",
            "[2606:4700::1111]",
            "[::ffff:10.0.0.1]",
        ] {
            assert_eq!(
                EgressRules::default().check(address(host)),
                Ok(()),
                "{host}"
            );
        }
    }

    #[test]
    fn each_rule_opens_its_own_range_alone() {
        let loopback = EgressRules {
            loopback: true,
            link_local: false,
        };
        assert_eq!(loopback.check(address("127.0.0.1")), Ok(()));
        assert_eq!(loopback.check(address("[::ffff:127.0.0.1]")), Ok(()));
        assert!(loopback.check(address("169.254.169.254")).is_err());
        let link_local = EgressRules {
            loopback: false,
            link_local: true,
        };
        assert_eq!(link_local.check(address("169.254.169.254")), Ok(()));
        assert!(link_local.check(address("127.0.0.1")).is_err());
    }
}
