//! Numbers on the operator's Valkey.

use std::time::Duration;

use kennel_core::config::Valkey;
use redis::{Client, Connection, IntoConnectionInfo, RedisError};
use url::Url;

/// For a server on the same host.
const CONNECTING: Duration = Duration::from_secs(5);

/// To empty a large number takes seconds, during which nobody else is answered either.
const ANSWERING: Duration = Duration::from_secs(60);

/// Valkey did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ValkeyError {
    /// What the operator wrote is no address.
    #[error(
        "`url` under [valkey] in config.toml cannot be used; write it like redis://127.0.0.1:6379 or unix:///run/valkey/valkey.sock"
    )]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answers there.
    #[error("Valkey cannot be reached at `url` under [valkey] in config.toml; is it running?")]
    Unreachable(#[source] RedisError),
    /// It has fewer numbers.
    #[error(
        "Valkey does not have the number {number}; `databases` under [valkey] in config.toml may be no more than in Valkey's own configuration"
    )]
    NoNumber {
        /// The number.
        number: String,
        /// Its words.
        source: RedisError,
    },
    /// It keeps what is in there.
    #[error("Valkey did not empty its number {number}")]
    NotEmptied {
        /// The number.
        number: String,
        /// Its words.
        source: RedisError,
    },
}

/// A connection on which a number can be chosen.
pub(crate) struct Server(Connection);

impl Server {
    pub(crate) fn connect(settings: &Valkey) -> Result<Self, ValkeyError> {
        let url = parsed(settings)?;
        let info = url.into_connection_info().map_err(|error| ValkeyError::Url(error.into()))?;
        // Whatever number the operator's URL has: each branch has its own.
        let redis = info.redis_settings().clone().set_db(0);
        let connect = || {
            let client = Client::open(info.set_redis_settings(redis))?;
            let connection = client.get_connection_with_timeout(CONNECTING)?;
            connection.set_read_timeout(Some(ANSWERING))?;
            connection.set_write_timeout(Some(ANSWERING))?;
            Ok(connection)
        };
        connect().map(Self).map_err(ValkeyError::Unreachable)
    }

    /// The server has the number.
    pub(crate) fn choose(&mut self, number: &str) -> Result<(), ValkeyError> {
        let chosen = redis::cmd("SELECT").arg(number).exec(&mut self.0);
        chosen.map_err(|source| ValkeyError::NoNumber { number: number.to_owned(), source })
    }

    /// Nothing is in the number any more.
    pub(crate) fn empty(&mut self, number: &str) -> Result<(), ValkeyError> {
        self.choose(number)?;
        let emptied = redis::cmd("FLUSHDB").exec(&mut self.0);
        emptied.map_err(|source| ValkeyError::NotEmptied { number: number.to_owned(), source })
    }
}

/// What a service gets: the operator's own URL with its number.
pub(crate) fn url(settings: &Valkey, number: &str) -> Result<String, ValkeyError> {
    let mut url = parsed(settings)?;
    if url.scheme() == "unix" {
        let others: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| key != "db").collect();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("db", number);
    } else {
        url.set_path(number);
    }
    Ok(url.into())
}

fn parsed(settings: &Valkey) -> Result<Url, ValkeyError> {
    settings.url.parse::<Url>().map_err(|error| ValkeyError::Url(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Valkey {
        Valkey { url: url.to_owned(), databases: 16, forks: false }
    }

    #[test]
    fn each_scheme_has_its_place_for_the_number() {
        let url = |text: &str| url(&of(text), "7").unwrap();
        assert_eq!(url("redis://127.0.0.1:6379"), "redis://127.0.0.1:6379/7");
        assert_eq!(url("valkey://:p%40ss@localhost/3"), "valkey://:p%40ss@localhost/7");
        assert_eq!(url("redis://[::1]/?protocol=resp3"), "redis://[::1]/7?protocol=resp3");
        assert_eq!(url("unix:///run/v.sock"), "unix:///run/v.sock?db=7");
        assert_eq!(url("unix:///run/v.sock?pass=x&db=3"), "unix:///run/v.sock?pass=x&db=7");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let failed = |url: &str| {
            let error = Server::connect(&of(url)).err().unwrap();
            kennel_core::error_chain(&error)
        };
        insta::assert_snapshot!(failed("redis://:70000"), @"`url` under [valkey] in config.toml cannot be used; write it like redis://127.0.0.1:6379 or unix:///run/valkey/valkey.sock: empty host");
        insta::assert_snapshot!(failed("unix:run"), @"`url` under [valkey] in config.toml cannot be used; write it like redis://127.0.0.1:6379 or unix:///run/valkey/valkey.sock: Missing path - InvalidClientConfig");
        insta::assert_snapshot!(failed("unix:///nowhere/v.sock"), @"Valkey cannot be reached at `url` under [valkey] in config.toml; is it running?: No such file or directory (os error 2)");
        // Whoever reads why a deployment failed may not be who may know the password.
        assert!(!failed("redis://:s3cret@127.0.0.1:1").contains("s3cret"));
        assert!(!failed("redis://:s3cret@127.0.0.1:x").contains("s3cret"));
    }
}
