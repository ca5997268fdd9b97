//! What the operator's `[router]` says, ready to be asked with each connection and request.

use hyper::http::request::Parts;
use kennel_core::config::RouterConfig;

use crate::exchange::Exchange;
use crate::forwarded::Peer;
use crate::ranges::Ranges;
use crate::vouched;

/// What holds for all hosts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    trusted: Ranges,
    proxy_protocol: bool,
}

impl Rules {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self {
            trusted: Ranges::new(&config.trusted_proxies),
            proxy_protocol: config.proxy_protocol,
        }
    }

    /// Whether this is a proxy whose connections begin with whom they are for.
    pub(crate) fn announces(&self, peer: &Peer) -> bool {
        self.proxy_protocol && self.trusted.contains(peer.address())
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
