//! The real router on loopback sockets, in front of small services that speak exact bytes.

#[cfg(test)]
mod client;
#[cfg(test)]
mod host;
#[cfg(test)]
mod service;

#[cfg(test)]
mod cutover;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod life;
#[cfg(test)]
mod passing;
#[cfg(test)]
mod program;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upgrades;
