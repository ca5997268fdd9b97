//! The processes of Kennel's own units: what an idle host has of them, and what they take.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::kennel::Kennel;

/// The only one that stays.
pub const ROUTER: &str = "kennel-router.service";

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The unit that it belongs to.
    pub unit: String,
    /// The beginning of its program's name.
    pub name: String,
    /// Its share of memory in KiB: shared pages are divided by those who share them
    /// (`smaps_rollup`, proc_pid_smaps(5)).
    pub pss_kib: u64,
}

/// One line per process of the system's slice and of the builds'. Those that end meanwhile are no
/// longer there. A kernel that also has older hierarchies lists them first (cgroups(7)).
const LOOK: &str = r#"
for process in /proc/[0-9]*; do
  cgroup=$(sed -n 's/^0:://p' "$process/cgroup") && read -r name < "$process/comm" || continue
  case $cgroup in
    */system.slice/*kennel*|*/builds.slice/*kennel*)
      pss=$(sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "$process/smaps_rollup") || continue
      echo "${cgroup##*/} $name ${pss:-0}"
  esac
done 2>/dev/null
"#;

/// All processes in units of Kennel's but those of deployed services, which have slices of their
/// own.
///
/// # Errors
/// When the host cannot be asked.
pub fn processes(kennel: &Kennel) -> Result<Vec<Resident>> {
    let said = kennel.host().run(&["sh", "-c", &format!("{LOOK}\nexit 0")])?;
    said.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let unit = words.next().context("no unit")?.to_owned();
            let pss = words.next_back().and_then(|pss| pss.parse().ok());
            let name = words.collect::<Vec<_>>().join(" ");
            Ok(Resident { unit, name, pss_kib: pss.with_context(|| line.to_owned())? })
        })
        .collect()
}

/// Waits until the router is the only one.
///
/// # Errors
/// When others stay for `limit`: which.
pub fn expect_only_router(kennel: &Kennel, limit: Duration) -> Result<Resident> {
    kennel.wait_for("host on which only the router stays", limit, || {
        let found = processes(kennel)?;
        match found.as_slice() {
            [router] if router.unit == ROUTER => Ok(Some(router.clone())),
            _ => {
                bail!("there are {}", found.iter().map(|it| format!("{it}; ")).collect::<String>())
            }
        }
    })
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} with {} KiB", self.name, self.unit, self.pss_kib)
    }
}
