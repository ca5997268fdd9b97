//! Which names need a certificate: those that are routed, and have none that lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kennel_core::config::HostConfig;
use kennel_core::{Certificate, HostPattern, Layout, RouteTable, Timestamp};
use kennel_store::{parse_certificate, whole_file};
use tracing::{info, warn};

use crate::renewals::Renewals;
use crate::{AcmeError, say};

/// Who is routed, and the certificates that are there.
pub(crate) struct Names {
    /// Of the names that kennel-acme keeps, by the name.
    own: BTreeMap<HostPattern, Certificate>,
    /// What is ordered for routed hosts, and which of them get it.
    wanted: BTreeMap<HostPattern, Vec<HostPattern>>,
    /// The operator's.
    others: Vec<Certificate>,
}

impl Names {
    /// Looks.
    pub(crate) fn look(layout: &Layout, config: &HostConfig) -> Result<Self, AcmeError> {
        let path = layout.route_table();
        let routed: BTreeSet<HostPattern> = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<RouteTable>(&text)
                .map_err(|error| AcmeError::Content { path, why: error.to_string() })?
                .hosts
                .into_keys()
                .collect(),
            // Before the first publication.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(AcmeError::file("read", &path)(error)),
        };
        let mut wanted = BTreeMap::<_, Vec<_>>::new();
        for hosts in routed {
            if let Some(name) = config.ordered_for(&hosts) {
                wanted.entry(name).or_default().push(hosts);
            }
        }
        let mut names = Self { own: BTreeMap::new(), wanted, others: Vec::new() };
        for path in files_in(&layout.certificates())? {
            let Some(certificate) = read(&path) else { continue };
            match own_name(&path).filter(|name| certificate.names == [name.to_string()]) {
                Some(name) => drop(names.own.insert(name, certificate)),
                None => names.others.push(certificate),
            }
        }
        for files in &config.tls.certificates {
            names.others.extend(read(&files.certificate));
        }
        Ok(names)
    }

    /// Those that a certificate is to be ordered for now, each with the hosts that want it.
    pub(crate) fn wanting(
        &self,
        renewals: &Renewals<'_>,
        now: Timestamp,
    ) -> impl Iterator<Item = (&HostPattern, Vec<&HostPattern>)> {
        self.wanted.iter().filter_map(move |(name, hosts)| {
            // The operator's is the operator's to renew.
            let is_theirs = |host: &HostPattern| {
                self.others.iter().any(|it| it.is_for(host) && now < it.not_after)
            };
            let hosts: Vec<_> = hosts.iter().filter(|host| !is_theirs(host)).collect();
            let is_due = |own| renewals.is_due(name, own, now);
            let wants = !hosts.is_empty() && self.own.get(name).is_none_or(is_due);
            wants.then_some((name, hosts))
        })
    }

    /// Those that are there and still wanted.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&HostPattern, &Certificate)> {
        self.own.iter().filter(|(name, _)| self.wanted.contains_key(*name))
    }

    /// What attempts may be remembered of.
    pub(crate) fn wanted(&self) -> BTreeSet<HostPattern> {
        self.wanted.keys().cloned().collect()
    }

    /// Removes what has expired and belongs to nobody any more. A branch that comes back in time
    /// finds its certificate.
    pub(crate) fn clean_up(&self, layout: &Layout, now: Timestamp) -> Result<(), AcmeError> {
        for (name, certificate) in &self.own {
            if certificate.not_after < now && !self.wanted.contains_key(name) {
                let path = layout.certificate(name);
                whole_file::remove(&path).map_err(AcmeError::file("remove", &path))?;
                info!("{}", say::removed(name));
            }
        }
        Ok(())
    }
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, AcmeError> {
    let entries = fs::read_dir(directory).map_err(AcmeError::file("read", directory))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| Layout::is_certificate(path)).collect())
}

/// What a file is named after.
fn own_name(path: &Path) -> Option<HostPattern> {
    HostPattern::from_file_stem(path.file_stem()?.to_str()?)
}

/// The first certificate of a file; none if there is none that could be served.
fn read(path: &Path) -> Option<Certificate> {
    let text = fs::read(path).map_err(|error| error.to_string());
    let read = text.and_then(|text| parse_certificate(&text));
    read.inspect_err(|why| warn!("{}", say::unread(path, why))).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A host that routes these, on 2030-01-01.
    fn host(routed: &[&str]) -> (tempfile::TempDir, Layout, Timestamp) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for path in [layout.route_table(), layout.certificates().join("x")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let mut table = RouteTable::empty(1);
        table.hosts = routed.iter().map(|name| (name.parse().unwrap(), Vec::new())).collect();
        fs::write(layout.route_table(), serde_json::to_string(&table).unwrap()).unwrap();
        (root, layout, Timestamp::from_millis(1_893_456_000_000))
    }

    /// Valid from 2029-12-01 for 90 days.
    fn certificate(layout: &Layout, file: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2029, 12, 1);
        params.not_after = rcgen::date_time_ymd(2030, 3, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let text = format!("{}{}", key.serialize_pem(), made.pem());
        fs::write(layout.certificates().join(file), text).unwrap();
    }

    fn config(text: &str) -> HostConfig {
        HostConfig::parse(&format!("base_domain = \"k.example\"\n{text}"), "config.toml").unwrap()
    }

    fn wanting(layout: &Layout, config: &HostConfig, now: Timestamp) -> String {
        let names = Names::look(layout, config).unwrap();
        let renewals = Renewals::load(layout);
        let wanting: Vec<_> =
            names.wanting(&renewals, now).map(|(name, _)| name.to_string()).collect();
        wanting.join(" ")
    }

    #[test]
    fn what_is_routed_and_has_none_that_lasts() {
        let (_root, layout, now) = host(&["a.example", "b.example", "c.w.example", "d.example"]);
        let plain = config("");
        assert_eq!(wanting(&layout, &plain, now), "a.example b.example c.w.example d.example");
        certificate(&layout, "a.example.pem", &["a.example"]);
        certificate(&layout, "some.pem", &["b.example", "*.w.example"]);
        certificate(&layout, ".d.example.pem", &["d.example"]);
        fs::write(layout.certificates().join("d.example.pem"), "torn").unwrap();
        assert_eq!(wanting(&layout, &plain, now), "d.example");
        // At two thirds of the 90 days its own, and the operator's only when it is over.
        assert_eq!(wanting(&layout, &plain, now.plus(DAY * 28)), "d.example");
        assert_eq!(wanting(&layout, &plain, now.plus(DAY * 30)), "a.example d.example");
        let late = now.plus(DAY * 60);
        assert_eq!(wanting(&layout, &plain, late), "a.example b.example c.w.example d.example");
        fs::rename(layout.certificates().join(".d.example.pem"), layout.host_path(Path::new("/d")))
            .unwrap();
        let path = layout.host_path(Path::new("/d"));
        let named = config(&format!("tls = {{ certificate = \"{}\" }}", path.display()));
        assert_eq!(wanting(&layout, &named, now), "");
    }

    #[test]
    fn a_project_shares_a_wildcard() {
        const DNS: &str = "[acme]\naccept_terms = true\n[acme.dns]\nprovider = \"rfc2136\"\n\
                           server = \"::1\"\nkey_name = \"k\"";
        let hosts = ["a.shop.k.example", "b.shop.k.example", "kennel.k.example", "shop.org"];
        let (_root, layout, now) = host(&[&hosts[..], &["*.shop.org"]].concat());
        assert_eq!(wanting(&layout, &config(""), now), hosts.join(" "));
        let dns = config(DNS);
        let all = "*.shop.k.example *.shop.org kennel.k.example shop.org";
        assert_eq!(wanting(&layout, &dns, now), all);
        certificate(&layout, "_.shop.org.pem", &["*.shop.org"]);
        assert_eq!(wanting(&layout, &dns, now), "*.shop.k.example kennel.k.example shop.org");
        fs::remove_file(layout.certificates().join("_.shop.org.pem")).unwrap();
        certificate(&layout, "theirs.org.pem", &["*.shop.org", "shop.org"]);
        assert_eq!(wanting(&layout, &dns, now), "*.shop.k.example kennel.k.example");
        fs::remove_file(layout.certificates().join("theirs.org.pem")).unwrap();
        let (_root, layout, now) = host(&hosts);
        // What was ordered for one host alone is not renewed.
        certificate(&layout, "a.shop.k.example.pem", &["a.shop.k.example"]);
        certificate(&layout, "_.shop.k.example.pem", &["*.shop.k.example"]);
        assert_eq!(wanting(&layout, &dns, now.plus(DAY)), "kennel.k.example shop.org");
        let due = now.plus(DAY * 30);
        assert_eq!(wanting(&layout, &dns, due), "*.shop.k.example kennel.k.example shop.org");
        // Nobody wants it if the operator has brought one.
        certificate(&layout, "theirs.pem", &["*.shop.k.example"]);
        assert_eq!(wanting(&layout, &dns, due), "kennel.k.example shop.org");
    }

    #[test]
    fn nothing_is_routed_before_the_first_publication() {
        let (_root, layout, now) = host(&[]);
        fs::remove_file(layout.route_table()).unwrap();
        assert_eq!(wanting(&layout, &config(""), now), "");
        fs::write(layout.route_table(), "{").unwrap();
        assert!(Names::look(&layout, &config("")).is_err_and(|error| error.is_of_set_up()));
    }

    #[test]
    fn a_certificate_outlives_its_branch_until_it_expires() {
        let (_root, layout, now) = host(&["a.example"]);
        for name in ["a.example", "gone.example"] {
            certificate(&layout, &format!("{name}.pem"), &[name]);
        }
        certificate(&layout, "others.pem", &["x.example"]);
        let left = |now| {
            Names::look(&layout, &config("")).unwrap().clean_up(&layout, now).unwrap();
            let mut left: Vec<_> = fs::read_dir(layout.certificates())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort();
            left.join(" ")
        };
        assert_eq!(left(now), "a.example.pem gone.example.pem others.pem");
        assert_eq!(left(now.plus(DAY * 60)), "a.example.pem others.pem");
    }
}
