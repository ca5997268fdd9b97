//! Whether the servers of preview databases answer where the configuration says that they are.
//!
//! Only whether somebody listens: who may do what there, a deployment finds out and says.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kennel_core::DatabaseServer;
use kennel_core::config::HostConfig;
use url::{Host, Url};

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;

/// For a server on the same host.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    facts.config.as_ref().map(judge).unwrap_or_default()
}

fn judge(config: &HostConfig) -> Vec<Finding> {
    let valkey = config.valkey.as_ref().map(|it| (DatabaseServer::Valkey, &it.url));
    let postgresql = config.postgresql.as_ref().map(|it| (DatabaseServer::Postgresql, &it.url));
    let servers: Vec<_> = valkey.into_iter().chain(postgresql).collect();
    if servers.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (server, url) in &servers {
        match address(*server, url) {
            // Not every way to write one is understood here.
            None => findings.push(say::preview_server_unknown(*server)),
            Some(address) => {
                if let Err(error) = address.answers() {
                    findings.push(say::preview_server_silent(*server, &error));
                }
            }
        }
    }
    let names: Vec<_> = servers.iter().map(|(server, _)| server.to_string()).collect();
    or_ok(findings, || say::preview_servers_answer(&names))
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Port(String, u16),
    Socket(PathBuf),
}

impl Address {
    fn answers(&self) -> io::Result<()> {
        match self {
            Self::Socket(path) => UnixStream::connect(path).map(drop),
            Self::Port(host, port) => {
                let mut last = io::ErrorKind::NotFound.into();
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, PATIENCE) {
                        Ok(_) => return Ok(()),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

fn address(server: DatabaseServer, url: &str) -> Option<Address> {
    let url: Url = url.parse().ok()?;
    let host = || match url.host()? {
        Host::Domain(name) => Some(name.to_owned()).filter(|name| !name.is_empty()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    };
    match server {
        DatabaseServer::Valkey if url.scheme() == "unix" => {
            Some(Address::Socket(url.path().into()))
        }
        DatabaseServer::Valkey => Some(Address::Port(host()?, url.port().unwrap_or(6379))),
        DatabaseServer::Postgresql => {
            let port = url.port().unwrap_or(5432);
            let named = url.query_pairs().find(|(key, _)| key == "host");
            let named = named.map(|(_, value)| value.into_owned()).or_else(host)?;
            let named = named.replace("%2F", "/");
            if named.starts_with('/') {
                let socket = format!(".s.PGSQL.{port}");
                return Some(Address::Socket(Path::new(&named).join(socket)));
            }
            Some(Address::Port(named, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::tests::said;
    use super::*;

    #[test]
    fn addresses_are_found_in_every_way_to_write_them() {
        let of_valkey = |url: &str| address(DatabaseServer::Valkey, url).unwrap();
        let of_postgresql = |url: &str| address(DatabaseServer::Postgresql, url).unwrap();
        let port = |host: &str, port| Address::Port(host.to_owned(), port);
        let socket = |path: &str| Address::Socket(path.into());
        assert_eq!(of_valkey("redis://127.0.0.1"), port("127.0.0.1", 6379));
        assert_eq!(of_valkey("valkey://:pw@[::1]:7000"), port("::1", 7000));
        assert_eq!(of_valkey("unix:///run/v.sock?pass=x"), socket("/run/v.sock"));
        assert_eq!(of_postgresql("postgresql://k:pw@localhost/x"), port("localhost", 5432));
        let by_socket = socket("/run/postgresql/.s.PGSQL.5432");
        assert_eq!(of_postgresql("postgresql:///postgres?host=/run/postgresql"), by_socket);
        let other = socket("/run/postgresql/.s.PGSQL.5433");
        assert_eq!(of_postgresql("postgres://root@%2Frun%2Fpostgresql:5433/x"), other);
        assert_eq!(address(DatabaseServer::Postgresql, "postgresql:///postgres"), None);
    }

    #[test]
    fn a_silent_server_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("v.sock");
        let text = format!(
            "base_domain = \"b.test\"\n[valkey]\nurl = \"unix://{}\"\n\
             [postgresql]\nurl = \"postgresql:///postgres?host=/nowhere\"\n",
            path.display()
        );
        let config = HostConfig::parse(&text, "config.toml").unwrap();
        let _listens = UnixListener::bind(&path).unwrap();
        insta::assert_snapshot!(said(&judge(&config)), @"
        Databases
          FAIL  preview  PostgreSQL does not answer at `url` under [postgresql]: No such file or directory (os error 2)
                         do: start it, or mend `url` in config.toml; services with `preview_database` are not deployed till then
        ");
        let config = HostConfig { postgresql: None, ..config };
        insta::assert_snapshot!(said(&judge(&config)), @"
        Databases
          ok    preview  Valkey listens, for preview databases
        ");
        assert!(judge(&HostConfig { valkey: None, ..config }).is_empty());
    }
}
