//! The table in force: an immutable snapshot that is swapped whole.
//!
//! Built on the control thread, read by workers without a lock. A request keeps what it resolved
//! (an [`Arc`] of the backend or site), so that a swap never touches a request under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use kennel_core::{
    DeploymentId, HostName, HostPattern, InUse, LastUse, LoginId, Logins, PathRoute, Protocol,
    RouteOutput, RouteTable, StorePath, Target as RawTarget, Timestamp, UnknownTableVersion,
    error_chain,
};
use tracing::warn;

use crate::exchange::Exchange;
use crate::guard::{Guard, Login};
use crate::health::{Alarm, Pulse, Watched};
use crate::load::Load;
use crate::notes::Noted;
use crate::pages::Page;
use crate::rates::{Rate, Rates};
use crate::rules::Rules;
use crate::say;
use crate::site::{Former, Serving, Shelf, Site};
use crate::tls::{Certificates, Loaded};
use crate::traffic::Traffic;
use crate::upstream::{Address, Backend, BackendKey, Bounds};
use crate::used::Used;
use crate::wake::Bell;
use crate::watch::Watch;

/// The routes in force.
#[derive(Debug)]
pub(crate) struct Table {
    /// Which publication this is; none before the first one.
    pub(crate) generation: Option<u64>,
    /// Since when it is in force.
    pub(crate) loaded_at: Option<Timestamp>,
    /// By the host's name; those for all hosts below a domain by that with a dot before it, as no
    /// host's name begins.
    hosts: HashMap<Box<str>, Host>,
    sites: HashMap<StorePath, Arc<Site>>,
    /// The services that are expected to answer.
    watched: HashMap<DeploymentId, Watched>,
    alarm: Arc<Alarm>,
    /// By whose routes they are.
    traffic: BTreeMap<RouteOutput, Arc<Traffic>>,
    workers: usize,
    /// Those that answer.
    deployments: HashSet<DeploymentId>,
    certificates: Certificates,
    /// Of deployments that somebody may want to stop.
    watches: HashMap<DeploymentId, Arc<Watch>>,
    logins: HashMap<LoginId, Arc<Login>>,
    /// Whether plain HTTP is answered with the address under HTTPS.
    redirect: bool,
    /// `Strict-Transport-Security`, for hosts that browsers can believe.
    hsts: Option<HeaderValue>,
    /// What holds for all hosts.
    pub(crate) rules: Rules,
    /// What clients have used up, where anything is limited.
    rates: Option<Arc<Rates>>,
    /// What services are busy with.
    loads: HashMap<BackendKey, Arc<Load>>,
}

#[derive(Debug)]
struct Host {
    routes: Box<[Route]>,
    certificate: Option<Arc<Loaded>>,
}

/// Who answers below a path.
#[derive(Debug)]
pub(crate) struct Route {
    prefix: Box<str>,
    /// None if everybody may come in.
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) target: Target,
    /// The deployment behind it; none for Kennel's own programs.
    deployment: Option<DeploymentId>,
    /// Whose it is; none for Kennel's own programs.
    output: Option<Arc<RouteOutput>>,
    /// How fast one client may ask.
    rate: Option<Rate>,
    /// What counts its requests, together with other routes of the same service or site.
    pub(crate) traffic: Option<Arc<Traffic>>,
    /// How long what the one before has begun may go on, if somebody says so.
    drain: Option<Duration>,
    /// Handed on from table to table, so that a deployment that takes over a host is as used as
    /// the one before.
    pub(crate) used: Arc<Used>,
}

impl Route {
    /// What the access log says of it.
    pub(crate) fn noted(&self) -> Noted {
        Noted { output: self.output.clone(), deployment: self.deployment }
    }
}

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A program behind a socket.
    Upstream(Arc<Backend>),
    /// Nobody for the moment: requests for this deployment wait.
    Held(DeploymentId, Arc<Watch>),
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

/// How a request came to the host that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came<'a> {
    /// Over HTTP as it is.
    Plainly,
    /// Over a TLS connection to this router, made for this host.
    Secured(&'a str),
    /// Over TLS to a trusted proxy.
    SecuredElsewhere,
}

/// What the table says about a request.
pub(crate) enum Lookup<'a> {
    /// This one answers, if there is no guard or the guard lets the request in; who lets it answer
    /// says that it was used.
    Found(&'a Route),
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
    Prefix { host: HostPattern, prefix: String },
    #[error("{host} has the prefix `{prefix}` twice")]
    PrefixTwice { host: HostPattern, prefix: String },
    #[error("{host} leads to the socket `{path}`, which is not an absolute path")]
    Socket { host: HostPattern, path: String },
}

impl Table {
    /// The table before the first publication.
    pub(crate) fn empty() -> Self {
        Self {
            generation: None,
            loaded_at: None,
            hosts: HashMap::new(),
            sites: HashMap::new(),
            watched: HashMap::new(),
            alarm: Arc::default(),
            traffic: BTreeMap::new(),
            workers: 1,
            deployments: HashSet::new(),
            certificates: Certificates::default(),
            watches: HashMap::new(),
            logins: HashMap::new(),
            redirect: false,
            hsts: None,
            rules: Rules::default(),
            rates: None,
            loads: HashMap::new(),
        }
    }

    /// The same for so many workers.
    pub(crate) fn for_workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Reads the table at `path`, the certificates in a directory, and the passwords in a file. Sites
    /// and certificates that `previous` has already are not read again.
    pub(crate) fn load(
        path: &Path,
        certificates: &Path,
        logins: &Path,
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
        let logins = read_logins(logins, previous);
        Self::build(raw, certificates, logins, shelf, previous)
    }

    fn build(
        raw: RouteTable,
        certificates: Certificates,
        logins: HashMap<LoginId, Arc<Login>>,
        shelf: &Arc<Shelf>,
        previous: &Self,
    ) -> Result<Self, TableError> {
        let mut table = Self {
            generation: Some(raw.generation),
            loaded_at: Some(Timestamp::from(std::time::SystemTime::now())),
            certificates,
            logins,
            redirect: raw.tls.redirect,
            hsts: raw.tls.hsts_secs.map(say::hsts),
            rules: Rules::new(&raw.router),
            rates: previous.rates.clone(),
            alarm: Arc::clone(&previous.alarm),
            workers: previous.workers,
            ..Self::empty()
        };
        for (host, paths) in raw.hosts {
            let name = key(&host);
            let mut routes: Vec<Route> = Vec::with_capacity(paths.len());
            for path in paths {
                table.look_after(&path, previous);
                let traffic = path.output.as_ref().map(|it| table.count(it, previous));
                let prefix = path.prefix;
                if !prefix.starts_with('/') {
                    return Err(TableError::Prefix { host, prefix });
                }
                if routes.iter().any(|route| *route.prefix == *prefix) {
                    return Err(TableError::PrefixTwice { host, prefix });
                }
                let deployment = path.target.deployment();
                table.deployments.extend(deployment);
                let drain = path.target.drain();
                let before = previous.route(&name, &prefix);
                let bounds = Bounds::from(&path.limits);
                // One allowance for all the hosts and paths of a service.
                let whose = path
                    .output
                    .as_ref()
                    .map_or_else(|| Rates::name(&(&*name, &prefix)), Rates::name);
                let rate = path.limits.rate_limit.map(|limit| Rate::new(&limit, whose));
                let output = path.output.map(Arc::new);
                let mut target =
                    table.target(&host, path.target, bounds, shelf, previous, before)?;
                if let Target::Upstream(backend) = &mut target
                    && path.strip
                {
                    target = Target::Upstream(Arc::new(backend.below(&prefix)));
                }
                let used = before.map(|route| Arc::clone(&route.used)).unwrap_or_default();
                let guard = Guard::new(path.guard, |id| table.logins.get(id).cloned());
                let prefix = prefix.into();
                routes.push(Route {
                    prefix,
                    guard,
                    target,
                    deployment,
                    output,
                    traffic,
                    rate,
                    drain,
                    used,
                });
            }
            routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
            let certificate = table.certificates.of(&host).or_else(|| match &host {
                HostPattern::Host(host) if routes.first().is_some_and(|it| it.target.is_own()) => {
                    table.certificates.stand_in(host)
                }
                HostPattern::Host(_) | HostPattern::Wildcard(_) => None,
            });
            let of_host = Host { routes: routes.into(), certificate };
            table.hosts.insert(name, of_host);
        }
        let is_limited = table.rules.rate.is_some() || table.routes().any(|it| it.rate.is_some());
        if !is_limited {
            table.rates = None;
        } else if table.rates.is_none() {
            table.rates = Some(Arc::new(Rates::new()));
        }
        Ok(table)
    }

    fn target(
        &mut self,
        host: &HostPattern,
        raw: RawTarget,
        bounds: Bounds,
        shelf: &Arc<Shelf>,
        previous: &Self,
        before: Option<&Route>,
    ) -> Result<Target, TableError> {
        match raw {
            RawTarget::Service {
                deployment,
                port,
                health_check: _,
                fork,
                protocol,
                drain_secs: _,
                held,
                counted,
                wake,
            } => {
                let watch = (held || counted).then(|| self.watch(deployment, previous));
                if let (true, Some(watch)) = (held, &watch) {
                    return Ok(Target::Held(deployment, Arc::clone(watch)));
                }
                let key = BackendKey::Deployment(deployment);
                let address = Address::Service { port, fork };
                let load = self.load_of(&key, previous);
                let pulse = self.watched.get(&deployment).map(|it| Arc::clone(&it.pulse));
                let bell = wake.map(|path| Arc::new(Bell::new(path.into())));
                let backend = Backend::new(key, address, protocol, load, bounds);
                Ok(Target::Upstream(Arc::new(Backend { pulse, watch, bell, ..backend })))
            }
            RawTarget::Socket { path } => {
                if !path.starts_with('/') {
                    return Err(TableError::Socket { host: host.clone(), path });
                }
                let path: Arc<Path> = PathBuf::from(path).into();
                let key = BackendKey::Socket(Arc::clone(&path));
                let (address, load) = (Address::Unix(path), self.load_of(&key, previous));
                let own = Backend::new(key, address, Protocol::Http1, load, bounds);
                Ok(Target::Upstream(Arc::new(own)))
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
                let certificate =
                    self.certificates.of(&to.clone().into()).filter(|_| self.redirect);
                let is_secured = certificate.is_some_and(|it| it.is_vouched_for());
                Ok(Target::Elsewhere(Arc::new(Elsewhere { host: to, is_secured })))
            }
            RawTarget::Absent => Ok(Target::Absent),
        }
    }

    /// One per service, however many hosts and tables lead to it.
    fn load_of(&mut self, key: &BackendKey, previous: &Self) -> Arc<Load> {
        let known = || previous.loads.get(key).cloned().unwrap_or_default();
        Arc::clone(self.loads.entry(key.clone()).or_insert_with(known))
    }

    /// A service that is expected to answer is looked after, however many routes lead to it. What a
    /// target says to the contrary is heeded here and nowhere else.
    fn look_after(&mut self, path: &PathRoute, previous: &Self) {
        // All of them by name: whoever adds one thinks of whether there is nobody to ask meanwhile.
        let PathRoute { prefix: _, strip: _, output, limits: _, guard, target } = path;
        let RawTarget::Service {
            deployment,
            port,
            health_check,
            fork,
            protocol,
            drain_secs: _,
            held,
            counted: _,
            wake,
        } = target
        else {
            return;
        };
        // Nothing of the first is expected to run, the next may sleep, and nobody gets to the last.
        if *held || wake.is_some() || guard.maintenance.is_some() {
            return;
        }
        let new = || Arc::new(Pulse::new(Arc::clone(&self.alarm)));
        let before = previous.watched.get(deployment).map(|it| Arc::clone(&it.pulse));
        let pulse = before.unwrap_or_else(new);
        self.watched.entry(*deployment).or_insert_with(|| Watched {
            address: Address::Service { port: *port, fork: *fork },
            protocol: *protocol,
            path: health_check.as_str().into(),
            output: output.clone(),
            pulse,
        });
    }

    /// What counts a service's or site's requests, whichever deployment answers.
    fn count(&mut self, output: &RouteOutput, previous: &Self) -> Arc<Traffic> {
        let before = previous.traffic.get(output).map(Arc::clone);
        let new = || before.unwrap_or_else(|| Arc::new(Traffic::new(self.workers)));
        Arc::clone(self.traffic.entry(output.clone()).or_insert_with(new))
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

    /// The services that are expected to answer.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (DeploymentId, &Watched)> {
        self.watched.iter().map(|(id, watched)| (*id, watched))
    }

    /// What counts the requests of each service and site.
    pub(crate) fn traffic(&self) -> impl Iterator<Item = (&RouteOutput, &Traffic)> {
        self.traffic.iter().map(|(output, traffic)| (output, &**traffic))
    }

    /// Whether each service gets requests that is expected to answer.
    pub(crate) fn healths(&self) -> HashMap<&RouteOutput, bool> {
        let watched = self.watched.values();
        watched.filter_map(|it| Some((it.output.as_ref()?, !it.pulse.is_out()))).collect()
    }

    /// Who is told when somebody asks for one of them in vain.
    pub(crate) fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Whether this deployment answers for any host.
    pub(crate) fn leads_to(&self, deployment: DeploymentId) -> bool {
        self.deployments.contains(&deployment)
    }

    /// The deployments of the table before that have given way, and how long what they have begun
    /// may go on; not those that nobody is in the place of.
    pub(crate) fn replaced(&self, before: &Self) -> HashMap<DeploymentId, Duration> {
        let mut replaced = HashMap::new();
        for (host, of_host) in &before.hosts {
            for route in &of_host.routes {
                let gone = route.deployment.filter(|it| !self.leads_to(*it));
                let drain = gone.and_then(|_| self.route(host, &route.prefix)?.drain);
                if let Some((deployment, drain)) = gone.zip(drain) {
                    let longest = replaced.entry(deployment).or_insert(drain);
                    *longest = drain.max(*longest);
                }
            }
        }
        replaced
    }

    /// One per deployment, however many hosts and tables lead to it.
    fn watch(&mut self, deployment: DeploymentId, previous: &Self) -> Arc<Watch> {
        let known = || previous.watches.get(&deployment).cloned().unwrap_or_default();
        Arc::clone(self.watches.entry(deployment).or_insert_with(known))
    }

    /// What is counted of a deployment, if anything is.
    pub(crate) fn watch_of(&self, deployment: DeploymentId) -> Option<&Arc<Watch>> {
        self.watches.get(&deployment)
    }

    /// What is under way to deployments that are counted.
    pub(crate) fn in_use(&self, since: Timestamp) -> InUse {
        let of = |(deployment, watch): (&DeploymentId, &Arc<Watch>)| (*deployment, watch.now());
        InUse { since, deployments: self.watches.iter().map(of).collect() }
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
        self.host(host)?.certificate.as_ref()
    }

    /// `Strict-Transport-Security` of a host that came over HTTPS: if browsers have believed the
    /// certificate, which is not this router's where a proxy has made the connection.
    pub(crate) fn hsts(&self, host: &str, came: &Came<'_>) -> Option<&HeaderValue> {
        let is_believed = match came {
            Came::Plainly => false,
            Came::Secured(_) => self.certificate(host).is_some_and(|it| it.is_vouched_for()),
            Came::SecuredElsewhere => true,
        };
        self.hsts.as_ref().filter(|_| is_believed)
    }

    /// Who answers for this host and path.
    pub(crate) fn lookup(&self, host: &str, path: &str, came: &Came<'_>) -> Lookup<'_> {
        let Some(Host { routes, certificate }) = self.host(host) else {
            return Lookup::NoHost;
        };
        if let Came::Secured(asked_for) = *came
            && asked_for != host
        {
            // One connection for several hosts of a certificate is usual (RFC 9113 §9.1.1).
            let same = self.certificate(asked_for).zip(certificate.as_ref());
            if !same.is_some_and(|(one, other)| Arc::ptr_eq(one, other)) {
                return Lookup::Misdirected;
            }
        }
        let redirect = matches!(came, Came::Plainly)
            && self.redirect
            && certificate.as_ref().is_some_and(|certificate| certificate.is_vouched_for());
        // `OPTIONS *` is for the whole host.
        let path = if path == "*" { "/" } else { path };
        match routes.iter().find(|route| is_below(path, &route.prefix)) {
            Some(route) if redirect => Lookup::Redirect(&route.target),
            Some(route) => Lookup::Found(route),
            None => Lookup::NoPath,
        }
    }

    /// Counts a request among those of its client, or says when there is room for it. Kennel's own
    /// programs are not counted: a forge does not ask again.
    pub(crate) fn admit(&self, looked: &Lookup<'_>, exchange: &Exchange) -> Result<(), Page> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let route = match looked {
            Lookup::Found(route) if route.target.is_own() => return Ok(()),
            Lookup::Redirect(target) if target.is_own() => return Ok(()),
            Lookup::Found(route) => route.rate.as_ref(),
            Lookup::Redirect(_) | Lookup::Misdirected | Lookup::NoPath | Lookup::NoHost => None,
        };
        for rate in self.rules.rate.as_ref().into_iter().chain(route) {
            rates.admit(rate, exchange.address()).map_err(|wait| {
                // A whole second more than needed is less than one too few.
                Page::TooManyRequests(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
            })?;
        }
        Ok(())
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

    /// The host of this name, or whoever has all that are below its domain.
    fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name).or_else(|| {
            let (_label, domain) = name.split_at_checked(name.find('.')?)?;
            self.hosts.get(domain)
        })
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
            Target::Held(..)
            | Target::Site(_)
            | Target::MissingSite
            | Target::Elsewhere(_)
            | Target::Absent => None,
        })
    }
}

/// What a host is found by.
fn key(host: &HostPattern) -> Box<str> {
    match host {
        HostPattern::Host(host) => host.as_str().into(),
        HostPattern::Wildcard(domain) => format!(".{domain}").into(),
    }
}

/// The passwords that routes may ask for. What is asked for and cannot be read keeps everybody out.
fn read_logins(path: &Path, previous: &Table) -> HashMap<LoginId, Arc<Login>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => {
            warn!("{}", say::no_logins(path, &error));
            return HashMap::new();
        }
    };
    let logins: Logins = match serde_json::from_slice(&text) {
        Ok(logins) => logins,
        Err(error) => {
            warn!("{}", say::no_logins(path, &error));
            return HashMap::new();
        }
    };
    let known = |id: &LoginId| previous.logins.get(id).cloned();
    let entry = |(id, raw): (LoginId, kennel_core::Login)| {
        // The same as before, with what it knows of the right password.
        let login = known(&id).or_else(|| Login::new(id.clone(), &raw).map(Arc::new))?;
        Some((id, login))
    };
    logins.0.into_iter().filter_map(entry).collect()
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
        Table::load(&path, dir.path(), &dir.path().join("logins.json"), &shelf, &Table::empty())
    }

    fn with_routes(routes: &str) -> Result<Table, TableError> {
        build(&format!(r#"{{"version":1,"generation":3,"hosts":{{"a.example":[{routes}]}}}}"#))
    }

    fn socket(prefix: &str, path: &str) -> String {
        format!(r#"{{"prefix":"{prefix}","target":{{"kind":"socket","path":"{path}"}}}}"#)
    }

    fn found(table: &Table, path: &str) -> String {
        match table.lookup("a.example", path, &Came::Plainly) {
            Lookup::Found(Route { target: Target::Upstream(backend), .. }) => {
                backend.address.to_string()
            }
            Lookup::Found(_) => "site".into(),
            Lookup::NoPath => "no path".into(),
            Lookup::NoHost => "no host".into(),
            Lookup::Redirect(_) => "redirect".into(),
            Lookup::Misdirected => "misdirected".into(),
        }
    }

    #[test]
    fn a_host_of_its_own_comes_before_all_below_a_domain() {
        let table = build(&format!(
            r#"{{"version":1,"generation":3,"hosts":{{
                "*.a.example":[{}],"b.a.example":[{}],"*.b.a.example":[{}]}}}}"#,
            socket("/", "/all"),
            socket("/b", "/b"),
            socket("/", "/deep"),
        ))
        .unwrap();
        let found = |host: &str| match table.lookup(host, "/", &Came::Plainly) {
            Lookup::Found(Route { target: Target::Upstream(backend), .. }) => {
                backend.address.to_string()
            }
            Lookup::NoPath => "no path".into(),
            _ => "nothing".into(),
        };
        assert_eq!((found("x.a.example"), found("x.b.a.example")), ("/all".into(), "/deep".into()));
        assert_eq!(found("b.a.example"), "no path", "half of a host is another's");
        for none in ["a.example", "y.x.a.example", "example", "", "xa.example"] {
            assert_eq!(found(none), "nothing", "{none}");
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
        assert!(matches!(table.lookup("b.example", "/", &Came::Plainly), Lookup::NoHost));
        let table = with_routes(&socket("/webhook/", "/hook")).unwrap();
        assert_eq!(found(&table, "/"), "no path");
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let shelf = Arc::new(Shelf::new("/nonexistent".into(), 0));
        let loaded = Table::load(
            Path::new("/nonexistent/routes.json"),
            Path::new("/nonexistent/certs"),
            Path::new("/nonexistent/logins.json"),
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
            table.lookup("a.example", "/", &Came::Plainly),
            Lookup::Found(Route { target: Target::MissingSite, .. })
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
            Table::load(&path, dir.path(), &dir.path().join("logins.json"), &shelf, previous)
                .unwrap()
        };
        let old = load(&at(7), &Table::empty());
        assert_eq!(old.last_use(), LastUse::default());
        let new = load(&at(8), &old);
        // A request of a worker that has not seen the new table yet.
        let Lookup::Found(Route { used, .. }) = old.lookup("b.example", "/x", &Came::Plainly)
        else {
            panic!()
        };
        used.now();
        let used: Vec<_> = new.last_use().deployments.into_keys().collect();
        assert_eq!(used, [DeploymentId::from_row(8)]);
        let without = load(r#"{"version":1,"generation":4,"hosts":{}}"#, &new);
        assert_eq!(load(&at(9), &without).last_use(), LastUse::default());
    }
}
