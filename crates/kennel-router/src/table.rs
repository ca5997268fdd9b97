//! The table in force: an immutable snapshot that is swapped whole.
//!
//! Built on the control thread, read by workers without a lock. A request keeps what it resolved
//! (an [`Arc`] of the backend or site), so that a swap never touches a request under way.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use kennel_core::{
    DeploymentId, HostName, LastUse, RouteTable, StorePath, Target as RawTarget, Timestamp,
    UnknownTableVersion, error_chain,
};
use tracing::warn;

use crate::say;
use crate::site::{Former, Serving, Shelf, Site};
use crate::tls::{Certificates, Loaded};
use crate::upstream::{Address, Backend, BackendKey};
use crate::used::Used;

/// The routes in force.
#[derive(Debug)]
pub(crate) struct Table {
    /// Which publication this is; none before the first one.
    pub(crate) generation: Option<u64>,
    /// Since when it is in force.
    pub(crate) loaded_at: Option<Timestamp>,
    hosts: HashMap<Box<str>, Host>,
    sites: HashMap<StorePath, Arc<Site>>,
    certificates: Certificates,
    /// Whether plain HTTP is answered with the address under HTTPS.
    redirect: bool,
    /// `Strict-Transport-Security`, for hosts that browsers can believe.
    hsts: Option<HeaderValue>,
}

#[derive(Debug)]
struct Host {
    routes: Box<[Route]>,
    certificate: Option<Arc<Loaded>>,
}

#[derive(Debug)]
struct Route {
    prefix: Box<str>,
    target: Target,
    /// The deployment behind it; none for Kennel's own programs.
    deployment: Option<DeploymentId>,
    /// Handed on from table to table, so that a deployment that takes over a host is as used as
    /// the one before.
    used: Arc<Used>,
}

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A program behind a socket.
    Upstream(Arc<Backend>),
    /// A folder.
    Site(Arc<Serving>),
    /// A folder that cannot be read.
    MissingSite,
    /// Another host.
    Elsewhere(Arc<Elsewhere>),
    /// A service or site that is not deployed.
    Absent,
}

/// Where visitors of a host are sent for good.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) host: HostName,
    /// Whether it wants to be called over HTTPS alone.
    pub(crate) is_secured: bool,
}

impl Target {
    /// Whether it is one of Kennel's own programs.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Upstream(backend) if matches!(backend.key, BackendKey::Socket(_)))
    }
}

/// Whether navigations to unknown paths get `/index.html`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spa(pub(crate) bool);

/// What the table says about a request.
pub(crate) enum Lookup<'a> {
    /// This one answers; who lets it answer says so.
    Found(&'a Target, &'a Used),
    /// The same is there under HTTPS; without, this one would answer.
    Redirect(&'a Target),
    /// The connection was made for another host's certificate.
    Misdirected,
    /// The host is known, the path is nobody's.
    NoPath,
    /// Nothing is deployed under this name.
    NoHost,
}

/// Why a table was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("{} does not exist", .path.display())]
    Missing { path: PathBuf },
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a route table", .path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{} is of another version of Kennel", .path.display())]
    Version { path: PathBuf, source: UnknownTableVersion },
    #[error("{host} has the prefix `{prefix}`, which does not begin with `/`")]
    Prefix { host: HostName, prefix: String },
    #[error("{host} has the prefix `{prefix}` twice")]
    PrefixTwice { host: HostName, prefix: String },
    #[error("{host} leads to the socket `{path}`, which is not an absolute path")]
    Socket { host: HostName, path: String },
}

impl Table {
    /// The table before the first publication.
    pub(crate) fn empty() -> Self {
        Self {
            generation: None,
            loaded_at: None,
            hosts: HashMap::new(),
            sites: HashMap::new(),
            certificates: Certificates::default(),
            redirect: false,
            hsts: None,
        }
    }

    /// Reads the table at `path`, and the certificates in a directory. Sites and certificates that
    /// `previous` has already are not read again.
    pub(crate) fn load(
        path: &Path,
        certificates: &Path,
        shelf: &Arc<Shelf>,
        previous: &Self,
    ) -> Result<Self, TableError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TableError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(TableError::Read { path: path.to_owned(), source }),
        };
        let raw: RouteTable = serde_json::from_slice(&text)
            .map_err(|source| TableError::Parse { path: path.to_owned(), source })?;
        raw.check_version()
            .map_err(|source| TableError::Version { path: path.to_owned(), source })?;
        let certificates =
            Certificates::load(certificates, &raw.tls.certificates, &previous.certificates);
        Self::build(raw, certificates, shelf, previous)
    }

    fn build(
        raw: RouteTable,
        certificates: Certificates,
        shelf: &Arc<Shelf>,
        previous: &Self,
    ) -> Result<Self, TableError> {
        let mut table = Self {
            generation: Some(raw.generation),
            loaded_at: Some(Timestamp::from(std::time::SystemTime::now())),
            certificates,
            redirect: raw.tls.redirect,
            hsts: raw.tls.hsts_secs.map(say::hsts),
            ..Self::empty()
        };
        for (host, paths) in raw.hosts {
            let mut routes: Vec<Route> = Vec::with_capacity(paths.len());
            for path in paths {
                let prefix = path.prefix;
                if !prefix.starts_with('/') {
                    return Err(TableError::Prefix { host, prefix });
                }
                if routes.iter().any(|route| *route.prefix == *prefix) {
                    return Err(TableError::PrefixTwice { host, prefix });
                }
                let deployment = path.target.deployment();
                let before = previous.route(host.as_str(), &prefix);
                let mut target = table.target(&host, path.target, shelf, previous, before)?;
                if let Target::Upstream(backend) = &mut target
                    && path.strip
                {
                    target = Target::Upstream(Arc::new(backend.below(&prefix)));
                }
                let used = before.map(|route| Arc::clone(&route.used)).unwrap_or_default();
                routes.push(Route { prefix: prefix.into(), target, deployment, used });
            }
            routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
            let certificate = table.certificates.of(&host).or_else(|| {
                let is_own = routes.first().is_some_and(|route| route.target.is_own());
                is_own.then(|| table.certificates.stand_in(&host)).flatten()
            });
            let of_host = Host { routes: routes.into(), certificate };
            table.hosts.insert(String::from(host).into(), of_host);
        }
        Ok(table)
    }

    fn target(
        &mut self,
        host: &HostName,
        raw: RawTarget,
        shelf: &Arc<Shelf>,
        previous: &Self,
        before: Option<&Route>,
    ) -> Result<Target, TableError> {
        match raw {
            RawTarget::Service { deployment, port, health_check: _, fork } => {
                let key = BackendKey::Deployment(deployment);
                let address = Address::Service { port, fork };
                Ok(Target::Upstream(Arc::new(Backend::new(key, address))))
            }
            RawTarget::Socket { path } => {
                if !path.starts_with('/') {
                    return Err(TableError::Socket { host: host.clone(), path });
                }
                let path: Arc<Path> = PathBuf::from(path).into();
                let key = BackendKey::Socket(Arc::clone(&path));
                Ok(Target::Upstream(Arc::new(Backend::new(key, Address::Unix(path)))))
            }
            RawTarget::Site { deployment: _, root, spa, drain_secs } => {
                let Some(site) = self.site(&root, shelf, previous) else {
                    return Ok(Target::MissingSite);
                };
                let former = match before.map(|route| &route.target) {
                    Some(Target::Site(before)) => {
                        Former::after(before, &site, Duration::from_secs(drain_secs))
                    }
                    Some(_) | None => Box::default(),
                };
                Ok(Target::Site(Arc::new(Serving { site, spa: Spa(spa), former })))
            }
            RawTarget::Redirect { to } => {
                let certificate = self.certificates.of(&to).filter(|_| self.redirect);
                let is_secured = certificate.is_some_and(|it| it.is_vouched_for());
                Ok(Target::Elsewhere(Arc::new(Elsewhere { host: to, is_secured })))
            }
            RawTarget::Absent => Ok(Target::Absent),
        }
    }

    /// One site per root, walked once. A root that cannot be read must not keep all the other
    /// hosts from their new routes: its own requests say so.
    fn site(&mut self, root: &StorePath, shelf: &Arc<Shelf>, previous: &Self) -> Option<Arc<Site>> {
        if let Some(site) = self.sites.get(root).or_else(|| previous.sites.get(root)) {
            let site = Arc::clone(site);
            self.sites.insert(root.clone(), Arc::clone(&site));
            return Some(site);
        }
        match Site::open(root, shelf) {
            Ok(site) => {
                let site = Arc::new(site);
                self.sites.insert(root.clone(), Arc::clone(&site));
                Some(site)
            }
            Err(error) => {
                warn!("{}", error_chain(&error));
                None
            }
        }
    }

    /// How many hosts it has.
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// How many certificates are in use.
    pub(crate) fn certificates(&self) -> usize {
        self.certificates.len()
    }

    /// The certificate of a host.
    pub(crate) fn certificate(&self, host: &str) -> Option<&Arc<Loaded>> {
        self.hosts.get(host)?.certificate.as_ref()
    }

    /// `Strict-Transport-Security` of a host that came over TLS.
    pub(crate) fn hsts(&self, host: &str) -> Option<&HeaderValue> {
        self.certificate(host)?.is_vouched_for().then_some(self.hsts.as_ref())?
    }

    /// Who answers for this host and path. `secured` is the host that a TLS connection was made
    /// for, if it is one.
    pub(crate) fn lookup(&self, host: &str, path: &str, secured: Option<&str>) -> Lookup<'_> {
        let Some(Host { routes, certificate }) = self.hosts.get(host) else {
            return Lookup::NoHost;
        };
        if let Some(asked_for) = secured.filter(|asked_for| *asked_for != host) {
            // One connection for several hosts of a certificate is usual (RFC 9113 §9.1.1).
            let same = self.certificate(asked_for).zip(certificate.as_ref());
            if !same.is_some_and(|(one, other)| Arc::ptr_eq(one, other)) {
                return Lookup::Misdirected;
            }
        }
        let redirect = secured.is_none()
            && self.redirect
            && certificate.as_ref().is_some_and(|certificate| certificate.is_vouched_for());
        // `OPTIONS *` is for the whole host.
        let path = if path == "*" { "/" } else { path };
        match routes.iter().find(|route| is_below(path, &route.prefix)) {
            Some(route) if redirect => Lookup::Redirect(&route.target),
            Some(route) => Lookup::Found(&route.target, &route.used),
            None => Lookup::NoPath,
        }
    }

    /// When each deployment was used last.
    pub(crate) fn last_use(&self) -> LastUse {
        let mut last = LastUse::default();
        for route in self.routes() {
            if let (Some(deployment), Some(at)) = (route.deployment, route.used.last()) {
                let known = last.deployments.entry(deployment).or_insert(at);
                *known = at.max(*known);
            }
        }
        last
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.hosts.values().flat_map(|host| &host.routes)
    }

    fn route(&self, host: &str, prefix: &str) -> Option<&Route> {
        self.hosts.get(host)?.routes.iter().find(|route| *route.prefix == *prefix)
    }

    /// The backends that it leads to.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        self.routes().filter_map(|route| match &route.target {
            Target::Upstream(backend) => Some(&backend.key),
            Target::Site(_) | Target::MissingSite | Target::Elsewhere(_) | Target::Absent => None,
        })
    }
}

/// `/api` is for `/api` and `/api/…` and not for `/apix`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(json: &str) -> Result<Table, TableError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        fs::write(&path, json).unwrap();
        let shelf = Arc::new(Shelf::new(dir.path().to_owned(), 0));
        Table::load(&path, dir.path(), &shelf, &Table::empty())
    }

    fn with_routes(routes: &str) -> Result<Table, TableError> {
        build(&format!(r#"{{"version":1,"generation":3,"hosts":{{"a.example":[{routes}]}}}}"#))
    }

    fn socket(prefix: &str, path: &str) -> String {
        format!(r#"{{"prefix":"{prefix}","target":{{"kind":"socket","path":"{path}"}}}}"#)
    }

    fn found(table: &Table, path: &str) -> String {
        match table.lookup("a.example", path, None) {
            Lookup::Found(Target::Upstream(backend), _) => backend.address.to_string(),
            Lookup::Found(..) => "site".into(),
            Lookup::NoPath => "no path".into(),
            Lookup::NoHost => "no host".into(),
            Lookup::Redirect(_) => "redirect".into(),
            Lookup::Misdirected => "misdirected".into(),
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let routes = [socket("/", "/all"), socket("/webhook/", "/hook"), socket("/api", "/api")];
        let table = with_routes(&routes.join(",")).unwrap();
        for (path, target) in [
            ("/", "/all"),
            ("*", "/all"),
            ("/webhook/site", "/hook"),
            ("/webhook/", "/hook"),
            ("/webhook", "/all"),
            ("/api", "/api"),
            ("/api/x", "/api"),
            ("/apix", "/all"),
        ] {
            assert_eq!(found(&table, path), target, "{path}");
        }
        assert!(matches!(table.lookup("b.example", "/", None), Lookup::NoHost));
        let table = with_routes(&socket("/webhook/", "/hook")).unwrap();
        assert_eq!(found(&table, "/"), "no path");
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let shelf = Arc::new(Shelf::new("/nonexistent".into(), 0));
        let loaded = Table::load(
            Path::new("/nonexistent/routes.json"),
            Path::new("/nonexistent/certs"),
            &shelf,
            &Table::empty(),
        );
        assert!(matches!(loaded, Err(TableError::Missing { .. })));
    }

    #[test]
    fn refusals_name_the_place() {
        let said = |result: Result<Table, TableError>| match result {
            Err(error @ (TableError::Parse { .. } | TableError::Version { .. })) => {
                std::error::Error::source(&error).unwrap().to_string()
            }
            Err(error) => error.to_string(),
            Ok(_) => "accepted".into(),
        };
        let all = [
            said(build("{")),
            said(build(r#"{"version":9,"generation":3,"hosts":{}}"#)),
            said(build(r#"{"version":1,"generation":3,"hosts":{"A":[]}}"#)),
            said(with_routes(&socket("x", "/all"))),
            said(with_routes(&[socket("/", "/all"), socket("/", "/two")].join(","))),
            said(with_routes(&socket("/", "all"))),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        EOF while parsing an object at line 1 column 1
        the route table has format 9, and this program reads 1; install matching versions of kennel-router and kennel-deploy
        `A` is not a host name: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest) at line 1 column 40
        a.example has the prefix `x`, which does not begin with `/`
        a.example has the prefix `/` twice
        a.example leads to the socket `all`, which is not an absolute path
        ");
    }

    #[test]
    fn a_missing_site_does_not_take_the_others_along() {
        let site = r#"{"prefix":"/","target":{"kind":"site","deployment":1,"root":"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-web","spa":false}}"#;
        let table = with_routes(site).unwrap();
        assert!(matches!(
            table.lookup("a.example", "/", None),
            Lookup::Found(Target::MissingSite, _)
        ));
    }

    #[test]
    fn a_deployment_that_takes_over_a_host_takes_over_its_use() {
        let at = |deployment: u32| {
            let host = |name: &str| {
                let target = format!(
                    r#"{{"kind":"service","deployment":{deployment},"port":18000,"health_check":"/"}}"#
                );
                format!(r#""{name}":[{{"prefix":"/","target":{target}}}]"#)
            };
            format!(
                r#"{{"version":1,"generation":3,"hosts":{{{},{}}}}}"#,
                host("a.example"),
                host("b.example")
            )
        };
        let load = |json: &str, previous: &Table| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("routes.json");
            fs::write(&path, json).unwrap();
            let shelf = Arc::new(Shelf::new(dir.path().to_owned(), 0));
            Table::load(&path, dir.path(), &shelf, previous).unwrap()
        };
        let old = load(&at(7), &Table::empty());
        assert_eq!(old.last_use(), LastUse::default());
        let new = load(&at(8), &old);
        // A request of a worker that has not seen the new table yet.
        let Lookup::Found(_, used) = old.lookup("b.example", "/x", None) else { panic!() };
        used.now();
        let used: Vec<_> = new.last_use().deployments.into_keys().collect();
        assert_eq!(used, [DeploymentId::from_row(8)]);
        let without = load(r#"{"version":1,"generation":4,"hosts":{}}"#, &new);
        assert_eq!(load(&at(9), &without).last_use(), LastUse::default());
    }
}
