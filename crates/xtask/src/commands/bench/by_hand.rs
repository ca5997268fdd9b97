//! What an experienced person would type instead of Kennel: git fetch, nix build, systemd-run with
//! the same sandbox, curl. A shell script on the host, with the time between its commands.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::kennel::Kennel;

use super::series::Series;

/// Where it keeps its mirror and its links.
const FOLDER: &str = "/srv/by-hand";

/// Git's configuration, for printf(1). Beyond the first setting it is what makes Kennel's own
/// fetches quick: Nix clones the mirror again, and that takes twice as long from loose objects.
const GIT: &str = "[safe]\\n\\tdirectory = *\\n[fetch]\\n\\tunpackLimit = 1\\n\
                   [gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n";

/// The first of its two ports, outside of Kennel's range.
const PORT: u16 = 17000;

/// Settings of a deployed service's unit that say which one it is, or are written by other means
/// below. All others are its sandbox, limits and start, and are taken over.
const ITS_OWN: &[&str] = &[
    "Environment",
    "EnvironmentFile",
    "ExecStart",
    "LogExtraFields",
    "Slice",
    "StateDirectory",
    "SyslogIdentifier",
    "User",
    "WorkingDirectory",
];

/// The commands, each followed by the time. Root needs no membership of `nix-users`, and uses the
/// daemon as a builder does.
const SCRIPT: &str = r#"
set -eu
cd /
export HOME="$folder/home" NIX_REMOTE=daemon GIT_CONFIG_GLOBAL="$folder/gitconfig"
now() { echo "$1 $EPOCHREALTIME"; }
now begin
git --git-dir="$folder/mirror.git" fetch --quiet origin +refs/heads/main:refs/heads/main
now "git fetch"
nix build --no-update-lock-file --no-write-lock-file --option accept-flake-config false \
  --option use-registries false --max-silent-time 1200 --timeout 10800 --print-build-logs \
  --out-link "$folder/$unit" \
  "git+file://$folder/mirror.git?ref=refs/heads/main&rev=$commit#packages.$system.api" 2>/dev/null
now "nix build"
systemd-run --quiet --unit="$unit" "$@" "$(readlink "$folder/$unit")/bin/api"
now "systemd-run"
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health"; do :; done
now "curl until 200"
"#;

/// The work by hand, and what is left of the last time.
#[derive(Debug)]
pub(crate) struct ByHand {
    kennel: Kennel,
    properties: Vec<String>,
    runs: u16,
}

/// How long one run took, and each of its commands.
#[derive(Debug)]
pub(crate) struct Took {
    pub(crate) whole: Duration,
    pub(crate) commands: Vec<(String, Duration)>,
}

/// Its commands' times over all runs, in order.
#[derive(Debug, Default)]
pub(crate) struct Commands(pub(crate) Vec<(String, Series)>);

impl ByHand {
    /// Makes a mirror of `repository`. `unit_file` is that of a service that Kennel deployed.
    pub(crate) fn new(kennel: &Kennel, repository: &str, unit_file: &str) -> Result<Self> {
        let text = fs::read_to_string(kennel.host().root().join(unit_file.trim_start_matches('/')))
            .with_context(|| format!("cannot read {unit_file}"))?;
        kennel.host().sh(&format!(
            "systemctl stop 'by-hand-*' || true
             rm -rf {FOLDER} && mkdir -p {FOLDER}/home
             printf '{GIT}' > {FOLDER}/gitconfig
             git init --quiet --bare {FOLDER}/mirror.git
             git --git-dir={FOLDER}/mirror.git remote add origin file://{repository}"
        ))?;
        Ok(Self { kennel: kennel.clone(), properties: properties(&text), runs: 0 })
    }

    /// Deploys a commit, on the other of its two ports than the last time.
    pub(crate) fn deploy(&mut self, commit: &str) -> Result<Took> {
        self.runs += 1;
        let unit = format!("by-hand-{}", self.runs);
        let port = PORT + self.runs % 2;
        let system = format!("{}-linux", std::env::consts::ARCH);
        let mut argv: Vec<String> = ["env".to_owned()].into();
        for (name, value) in [
            ("folder", FOLDER),
            ("unit", unit.as_str()),
            ("commit", commit),
            ("system", system.as_str()),
            ("port", port.to_string().as_str()),
        ] {
            argv.push(format!("{name}={value}"));
        }
        argv.extend(["bash", "-c", SCRIPT, "bash"].map(str::to_owned));
        argv.extend(self.properties.iter().map(|property| format!("--property={property}")));
        argv.push(format!("--setenv=PORT={port}"));
        let took = self.kennel.host().run(&argv).and_then(|said| parse(&said))?;
        // For whoever needs the port next. The service of the time before has had its drain.
        if self.runs > 1 {
            let last = format!("by-hand-{}", self.runs - 1);
            self.kennel.host().run(&["systemctl", "stop", &last])?;
        }
        Ok(took)
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let last = format!("by-hand-{}", self.runs);
        let _ = self.kennel.host().try_run(&["systemctl", "stop", &last]);
    }
}

impl Commands {
    pub(crate) fn add(&mut self, took: &Took) {
        for (command, duration) in &took.commands {
            let index = self.0.iter().position(|(name, _)| name == command).unwrap_or_else(|| {
                self.0.push((command.clone(), Series::default()));
                self.0.len() - 1
            });
            if let Some((_, series)) = self.0.get_mut(index) {
                series.add(*duration);
            }
        }
    }
}

/// The sandbox, limits and start of a unit, as systemd-run takes them.
fn properties(unit_file: &str) -> Vec<String> {
    let service = unit_file.lines().skip_while(|line| *line != "[Service]").skip(1);
    let settings = service.take_while(|line| !line.starts_with('['));
    let mut properties: Vec<String> = settings
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !ITS_OWN.contains(&line.split('=').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect();
    properties.extend(
        ["User=by-hand", "StateDirectory=by-hand", "WorkingDirectory=/var/lib/by-hand"]
            .map(str::to_owned),
    );
    properties
}

/// `<command> <seconds>` a line, the first of them the beginning.
fn parse(said: &str) -> Result<Took> {
    let mut moments = Vec::new();
    for line in said.lines() {
        let (command, seconds) = line.rsplit_once(' ').context("a line without a time")?;
        moments.push((command, seconds.parse::<f64>().with_context(|| line.to_owned())?));
    }
    let between = |from: f64, to: f64| Duration::from_secs_f64((to - from).max(0.0));
    let commands: Vec<_> = moments
        .windows(2)
        .filter_map(|pair| match pair {
            [(_, from), (command, to)] => Some(((*command).to_owned(), between(*from, *to))),
            _ => None,
        })
        .collect();
    if commands.len() != 4 {
        bail!("the script did not come to its end: {said}");
    }
    Ok(Took { whole: commands.iter().map(|(_, took)| *took).sum(), commands })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_the_sandbox_and_not_the_name() {
        let unit = "[Unit]\nAfter=x\n[Service]\nType=exec\nUser=u\n# why\nDynamicUser=yes\n\
                    SystemCallFilter=@system-service\n\n[X-Kennel]\nDeployment=1\n";
        let properties = properties(unit);
        assert_eq!(
            properties[..3],
            ["Type=exec", "DynamicUser=yes", "SystemCallFilter=@system-service"]
        );
    }

    #[test]
    fn reads_the_times_between_commands() {
        let took = parse("begin 10.0\na b 10.5\nc 11.0\nd 11.25\ne 12.0\n").unwrap();
        assert_eq!(took.whole, Duration::from_secs(2));
        assert_eq!(took.commands[0], ("a b".to_owned(), Duration::from_millis(500)));
    }
}
