//! The real router on loopback sockets, in front of small services that speak exact bytes.

#[cfg(test)]
mod client;
#[cfg(test)]
mod host;
#[cfg(test)]
mod service;
#[cfg(test)]
mod streams;

#[cfg(test)]
mod cutover;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod guards;
#[cfg(test)]
mod h2c;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod health;
#[cfg(test)]
mod held;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod passing;
#[cfg(test)]
mod program;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod upgrades;
