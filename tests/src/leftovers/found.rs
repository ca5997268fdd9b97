//! What is on a host: one look at everything that deployments leave traces in.

use std::collections::BTreeMap;

use xtask::host::Host;

use crate::{Context, Result};

/// Where a dynamic user's directory is, and the link to it.
pub(super) const STATE_DIRECTORIES: [&str; 2] =
    ["/var/lib/kennel/data", "/var/lib/private/kennel/data"];

/// A directory that is not where this looks would make every test pass: `cd` fails there. What
/// vanishes while it is listed is no failure.
const LOOK: &str = r#"
    section() { echo "== $1"; }
    section units; systemctl list-units --all --full --plain --no-legend 'kennel-*'
    section unit_files; (cd /etc/systemd/system && ls -A); (cd /run/systemd/system && ls -A)
    section env_files; (cd /run/kennel/secrets && ls -A)
    section stamps
    # Made by systemd with the first timer that remembers.
    [ ! -d /var/lib/systemd/timers ] || (cd /var/lib/systemd/timers && ls -A)
    section listeners; ss -H -l -t -n --cgroup
    section sites; cd /var/lib/kennel/sites
    find . -mindepth 1 -type d -printf '%P/\n' -o -mindepth 1 -printf '%P -> %l\n' || :
    section roots; cd /nix/var/nix/gcroots/kennel
    find . -mindepth 1 -printf '%P %l\n' || :
    section build_roots; cd /var/lib/kennel/gcroots; find . -mindepth 1 -printf '%P\n' || :
    section work; cd /var/lib/kennel/work; find . -mindepth 1 -printf '%P\n' || :
    section state_directories
    for dir in /var/lib/kennel/data /var/lib/private/kennel/data; do
        # Made by systemd with the first service.
        [ ! -d $dir ] || find $dir -mindepth 1 -maxdepth 1 || :
    done
    section users
    busctl --json=short call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
        org.freedesktop.systemd1.Manager GetDynamicUsers
    section routes; cat /var/lib/kennel/routes/routes.json
"#;

/// Everything found, of all projects.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Loaded units of Kennel's, with their active states.
    pub(super) units: Vec<(String, String)>,
    /// Names in the directories of unit files.
    pub(super) unit_files: Vec<String>,
    /// Names in the directory of env files, but for those of [`Self::credentials`].
    pub(super) env_files: Vec<String>,
    /// Directories of sealed credentials beside them.
    pub(super) credentials: Vec<String>,
    /// What systemd remembers of timers: `stamp-kennel-site-main-api@7.timer`.
    pub(super) stamps: Vec<String>,
    /// Listening ports with the cgroup that listens.
    pub(super) listeners: Vec<(u16, String)>,
    /// `project/`, `project/main/`, `project/main/web -> /nix/store/…`
    pub(super) sites: Vec<String>,
    /// Deployments' GC roots, with what they hold.
    pub(super) roots: Vec<(String, String)>,
    /// `42` and `42/api`.
    pub(super) build_roots: Vec<String>,
    /// `42` and what is below.
    pub(super) work: Vec<String>,
    /// Whole paths.
    pub(super) state_directories: Vec<String>,
    /// Users that exist while something runs as them.
    pub(super) users: Vec<String>,
    /// The deployments that the route table leads to.
    pub(super) routes: Vec<String>,
}

impl Found {
    /// Looks.
    pub(super) fn look(host: &Host) -> Result<Self> {
        Self::parse(&host.sh(LOOK)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut current = "";
        for line in text.lines() {
            match line.strip_prefix("== ") {
                Some(name) => current = name,
                None => sections.entry(current).or_default().push(line),
            }
        }
        let mut take = |name: &str| sections.remove(name).unwrap_or_default();
        let routes: serde_json::Value =
            serde_json::from_str(&take("routes").concat()).context("no route table")?;
        let hosts = routes.get("hosts").and_then(|it| it.as_object()).context("no hosts in it")?;
        let (credentials, env_files) =
            owned(take("env_files")).into_iter().partition(|name| name.ends_with(".credentials"));
        let targets = hosts.values().flat_map(|paths| paths.as_array().into_iter().flatten());
        Ok(Self {
            units: take("units").into_iter().filter_map(unit).collect(),
            unit_files: owned(take("unit_files")),
            env_files,
            credentials,
            stamps: owned(take("stamps")),
            listeners: take("listeners")
                .into_iter()
                .map(|line| listener(line).with_context(|| format!("what is {line:?}?")))
                .collect::<Result<_>>()?,
            sites: owned(take("sites")),
            roots: take("roots").into_iter().filter_map(pair).collect(),
            build_roots: owned(take("build_roots")),
            work: owned(take("work")),
            state_directories: owned(take("state_directories")),
            users: users(&take("users").concat())?,
            routes: targets
                .filter_map(|path| path.pointer("/target/deployment"))
                .map(ToString::to_string)
                .collect(),
        })
    }
}

/// Kennel's of systemd's dynamic users: `{"type":"a(us)","data":[[[61184,"kennel-site-main-api"]]]}`.
fn users(json: &str) -> Result<Vec<String>> {
    let answer: serde_json::Value = serde_json::from_str(json).context("no dynamic users")?;
    let all = answer.pointer("/data/0").and_then(|it| it.as_array()).context("no list of them")?;
    let names = all.iter().filter_map(|user| user.get(1)?.as_str());
    Ok(names.filter(|name| name.starts_with("kennel-")).map(str::to_owned).collect())
}

fn owned(lines: Vec<&str>) -> Vec<String> {
    lines.into_iter().map(str::to_owned).collect()
}

fn pair(line: &str) -> Option<(String, String)> {
    line.split_once(' ').map(|(name, target)| (name.to_owned(), target.to_owned()))
}

/// Unit, load state, active state.
fn unit(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let unit = words.next()?;
    Some((unit.to_owned(), words.nth(1)?.to_owned()))
}

/// State, two queues, own address, peer's address, `cgroup:/…`.
fn listener(line: &str) -> Option<(u16, String)> {
    let mut words = line.split_whitespace();
    let (_, port) = words.nth(3)?.rsplit_once(':')?;
    let cgroup = words.find_map(|word| word.strip_prefix("cgroup:")).unwrap_or_default();
    Some((port.parse().ok()?, cgroup.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_is_understood() {
        let text = "== units\n\
            kennel-site-main-api@7.service loaded active running api of site\n\
            == listeners\n\
            LISTEN 0 128 127.0.0.1:18007 0.0.0.0:* cgroup:/kennel.slice/kennel-site.slice/x@7.service\n\
            LISTEN 0 4096 [::]:18008 [::]:*\n\
            == roots\n\
            7 /nix/store/x-api\n\
            == users\n\
            {\"type\":\"a(us)\",\"data\":[[[61184,\"kennel-site-main-api\"],[61185,\"other\"]]]}\n\
            == routes\n\
            {\"hosts\": {\"a.b\": [{\"prefix\": \"/\",\n\
            \"target\": {\"kind\": \"service\", \"deployment\": 7}}]}}\n";
        let found = Found::parse(text).unwrap();
        assert_eq!(found.units, [("kennel-site-main-api@7.service".into(), "active".into())]);
        let cgroup = "/kennel.slice/kennel-site.slice/x@7.service";
        assert_eq!(found.listeners, [(18007, cgroup.into()), (18008, String::new())]);
        assert_eq!(found.roots, [("7".into(), "/nix/store/x-api".into())]);
        assert_eq!(found.routes, ["7"]);
        assert_eq!(found.users, ["kennel-site-main-api"]);
    }
}
