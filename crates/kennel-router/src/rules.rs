//! What the operator's `[router]` says, ready to be asked with each connection and request.

use hyper::http::request::Parts;
use kennel_core::config::RouterConfig;

use crate::exchange::Exchange;
use crate::forwarded::Peer;
use crate::notes::Noting;
use crate::ranges::Ranges;
use crate::rates::Rate;
use crate::vouched;

/// What holds for all hosts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    trusted: Ranges,
    proxy_protocol: bool,
    connections_per_client: Option<u32>,
    /// How fast a client may ask, whomever it asks.
    pub(crate) rate: Option<Rate>,
    /// What is noted of a request, if anything is.
    pub(crate) noting: Option<Noting>,
}

impl Rules {
    /// What tells the limit of all hosts apart from those of services.
    const OF_ALL: u64 = 0;

    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self {
            trusted: Ranges::new(&config.trusted_proxies),
            proxy_protocol: config.proxy_protocol,
            connections_per_client: config.connections_per_client,
            rate: config.rate_limit.map(|limit| Rate::new(&limit, Self::OF_ALL)),
            noting: Noting::new(config),
        }
    }

    /// Whether this is a proxy whose connections begin with whom they are for.
    pub(crate) fn announces(&self, peer: &Peer) -> bool {
        self.proxy_protocol && self.trusted.contains(peer.address())
    }

    /// How many connections it may have; none if they are not counted. Proxies have those of all
    /// their clients, and what runs on this host is the operator's, if nobody says otherwise.
    pub(crate) fn connections(&self, peer: &Peer) -> Option<u32> {
        let address = peer.address();
        let default = (!address.is_loopback()).then_some(RouterConfig::CONNECTIONS_PER_CLIENT);
        self.connections_per_client.or(default).filter(|_| !self.trusted.contains(address))
    }

    /// Finds out who asks.
    pub(crate) fn recognise(&self, exchange: &Exchange, parts: &Parts) {
        if !self.trusted.is_empty()
            && let Some(peer) = vouched::for_whom(&self.trusted, exchange.peer(), &parts.headers)
        {
            exchange.is_for(peer);
        }
    }
}
