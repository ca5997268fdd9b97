//! Who listens on which TCP port: the kernel's tables, and the processes that hold the sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// `TCP_LISTEN` of the kernel's net/tcp_states.h.
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) port: u16,
    pub(super) uid: u32,
    inode: u64,
    /// None if it cannot be seen, as an ordinary user sees nothing of others.
    pub(super) process: Option<Process>,
}

/// Who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
    /// The unit that its cgroup is named after, if any.
    pub(super) unit: Option<String>,
}

#[cfg(test)]
impl Listener {
    pub(super) fn of(port: u16, uid: u32) -> Self {
        Self { port, uid, inode: 1, process: None }
    }
}

/// The listeners on ports that are of interest.
pub(super) fn on(of_interest: impl Fn(u16) -> bool) -> Vec<Listener> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        found.extend(parse(&fs::read_to_string(table).unwrap_or_default()));
    }
    found.retain(|listener| of_interest(listener.port));
    if found.is_empty() {
        return found;
    }
    let wanted: BTreeSet<u64> = found.iter().map(|listener| listener.inode).collect();
    let holders = holders(&wanted);
    for listener in &mut found {
        listener.process = holders.get(&listener.inode).cloned();
    }
    found
}

/// The listening ones of a table like /proc/net/tcp, proc_pid_net(5).
fn parse(table: &str) -> Vec<Listener> {
    let listener = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        let uid = fields.nth(3)?.parse().ok()?;
        Some(Listener { port, uid, inode: fields.nth(1)?.parse().ok()?, process: None })
    };
    table.lines().skip(1).filter_map(listener).collect()
}

/// The process with the highest number for each socket: of those that inherited it, the one that
/// was meant to have it.
fn holders(wanted: &BTreeSet<u64>) -> BTreeMap<u64, Process> {
    let mut holders = BTreeMap::new();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for descriptor in open {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
            });
            if let Some(inode) = inode.filter(|inode| wanted.contains(inode)) {
                holders.insert(inode, process(pid));
            }
        }
    }
    holders
}

fn process(pid: u32) -> Process {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    Process { pid, name: read("comm").trim().to_owned(), unit: unit_of(&read("cgroup")) }
}

/// The last unit in the path of a cgroup: services may make more of them below their own.
fn unit_of(cgroups: &str) -> Option<String> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut units =
        path.split('/').filter(|part| part.ends_with(".service") || part.ends_with(".scope"));
    units.next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4650 00000000:0000 0A 00000000:00000000 00:00000000 00000000   995        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:4650 0100007F:C350 01 00000000:00000000 00:00000000 00000000   995        0 4712 1 0000000000000000 100 0 0 10 0
";
        let found = parse(table);
        assert_eq!(found, [Listener { port: 18000, uid: 995, inode: 4711, process: None }]);
    }

    #[test]
    fn this_test_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = on(|it| it == port);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].process.as_ref().unwrap().pid, std::process::id());
    }

    #[test]
    fn units_of_cgroups() {
        let unit = |text| unit_of(text).unwrap_or_default();
        assert_eq!(
            unit("0::/kennel.slice/kennel-site.slice/kennel-site-main-api@3.service\n"),
            "kennel-site-main-api@3.service"
        );
        assert_eq!(
            unit("1:name=systemd:/x.service\n0::/system.slice/a.service/sub\n"),
            "a.service"
        );
        assert_eq!(unit("0::/\n"), "");
    }
}
