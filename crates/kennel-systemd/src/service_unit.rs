//! The unit file of a deployed service: the trust boundary.
//!
//! Whatever a repository says ends here, in a file that root's systemd reads. Every value is a
//! parsed type, and what is not (a program's file name) is checked here; `%` is doubled.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kennel_core::config::{AddressRange, Resources};
use kennel_core::{
    BranchSlug, DeploymentId, Layout, OutputKey, SecretName, StorePath, UnitName, UserName,
    slice_name,
};

/// What one deployment's unit file says.
#[derive(Debug, Clone)]
pub struct ServiceUnit<'a> {
    /// The deployment, which the file names so that Kennel knows its own.
    pub deployment: DeploymentId,
    /// Which service.
    pub key: &'a OutputKey,
    /// Its branch's slug.
    pub slug: &'a BranchSlug,
    /// The user it runs as, and the name of its state directory.
    pub user: &'a UserName,
    /// What Nix made.
    pub store_path: &'a StorePath,
    /// The program in its `bin/`.
    pub program: &'a str,
    /// How it runs.
    pub run: Run,
    /// Its environment.
    pub env_file: &'a Path,
    /// Its credentials, and the directory that has a sealed file for each.
    pub credentials: (&'a Path, &'a [SecretName]),
    /// Its limits.
    pub resources: &'a Resources,
    /// Whether it may sleep: then a bell starts it, which is none of its own business, and while it
    /// runs there is somebody who looks whether it is used.
    pub sleeps: bool,
    /// Whether strangers wrote it: then it reaches nothing of this host and of private networks,
    /// but for these addresses.
    pub untrusted: Option<&'a [AddressRange]>,
}

/// How a unit's program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It serves, and is started again whenever it ends.
    Service,
    /// It runs once, for so long at most, and the unit then says that it has. It has all that the
    /// service has.
    Release {
        /// The most time that it may take.
        timeout: Duration,
    },
    /// It runs whenever its timer says so, for so long at most.
    Timer {
        /// The most time that one run may take.
        timeout: Duration,
    },
}

/// From where a fork's service is called. An address of the loopback interface (127.0.0.0/8) that
/// hardly anything listens on: to let the router's own in would be to let the service out to all
/// that listens there.
pub(crate) const FORK_CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const RESTART: &str = "\
Restart=always
RestartSec=1
RestartSteps=5
RestartMaxDelaySec=30
";

/// Looks whether services are used; stops with the last of them.
const SLEEP_TIMER: &str = "Wants=kennel-sleep.timer\n";

/// The bell's descriptor would be taken for a socket to listen on (sd_listen_fds(3)).
const UNTOLD: &str = "UnsetEnvironment=LISTEN_FDNAMES LISTEN_FDS LISTEN_PID\n";

/// Networks that are nobody's on the internet: private ones (RFC 1918, RFC 6598, RFC 4193), and
/// those of one link (RFC 3927, RFC 4291), where clouds keep their machines' credentials.
const PRIVATE: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 \
                       192.168.0.0/16 fc00::/7 fe80::/10";

/// A program's file name that cannot stand in a unit file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the program `{}` has a name that cannot stand in a unit file; use a-z, 0-9 and ._+- only", .0.escape_debug())]
pub struct BadProgram(pub String);

impl ServiceUnit<'_> {
    /// The text of the file.
    ///
    /// # Errors
    /// [`BadProgram`] if the program's name has other characters than `[A-Za-z0-9._+-]`.
    pub fn render(&self) -> Result<String, BadProgram> {
        let program = self.program;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        if program.is_empty() || program.starts_with(['.', '-']) || !program.bytes().all(plain) {
            return Err(BadProgram(program.to_owned()));
        }
        let OutputKey { project, git_ref, service } = self.key;
        let slug = self.slug;
        let id = self.deployment;
        let branch = escaped(&git_ref.short());
        let slice = slice_name(project, Some(slug), Some(service));
        let exec = escaped(&format!("{}/bin/{program}", self.store_path));
        let env_file = escaped(&self.env_file.display().to_string());
        let (directory, names) = self.credentials;
        let credentials: String = names
            .iter()
            .map(|name| {
                let file = escaped(&directory.join(name.as_str()).display().to_string());
                format!("LoadCredentialEncrypted={name}:{file}\n")
            })
            .collect();
        let state = Layout::state_directory(self.user);
        let user = self.user;
        let (what, kind, restart) = match self.run {
            Run::Service => ("", "Type=exec\n".to_owned(), RESTART),
            Run::Release { timeout } => {
                let seconds = timeout.as_secs();
                // Who asks whether it has run finds it so, also after being killed meanwhile.
                let kind =
                    format!("Type=oneshot\nRemainAfterExit=yes\nTimeoutStartSec={seconds}\n");
                ("release of ", kind, "")
            }
            Run::Timer { timeout } => {
                let seconds = timeout.as_secs();
                ("", format!("Type=oneshot\nTimeoutStartSec={seconds}\n"), "")
            }
        };
        let (watched, bell) = if self.sleeps { (SLEEP_TIMER, UNTOLD) } else { ("", "") };
        let addresses = self.untrusted.map(address_filter).unwrap_or_default();
        let Resources { memory_max, cpu_quota, tasks_max } = self.resources;
        Ok(format!(
            "\
# Written by kennel-deploy. Changes are lost with the next deployment; limits that shall stay are
# set on the slice: systemctl set-property {slice} MemoryMax=...
[Unit]
Description={what}{service} of {project} on {branch} (deployment {id})
{watched}After=network.target
# Restart= decides; a limit here would leave a service down for good.
StartLimitIntervalSec=0

[Service]
{kind}ExecStart={exec}
Environment=HOME=/var/lib/{state}
EnvironmentFile={env_file}
{bell}{credentials}DynamicUser=yes
User={user}
Slice={slice}
StateDirectory={state}
StateDirectoryMode=0700
WorkingDirectory=/var/lib/{state}
SyslogIdentifier=kennel-{project}-{slug}-{service}
LogExtraFields=KENNEL_PROJECT={project} KENNEL_BRANCH={slug} KENNEL_SERVICE={service} KENNEL_DEPLOYMENT={id}
# The journal is everybody's: one service must not push the others' lines out of it.
LogRateLimitBurst=3000
LogRateLimitIntervalSec=30s
{restart}TimeoutStopSec=10
MemoryMax={memory_max}
CPUQuota={cpu_quota}
TasksMax={tasks_max}
{addresses}CapabilityBoundingSet=
DevicePolicy=closed
InaccessiblePaths=-/run/kennel -/etc/kennel -/run/dbus -/run/systemd/private -/nix/var/nix/daemon-socket
KeyringMode=private
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
# Netlink: runtimes ask it for the interfaces' addresses.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077

[X-Kennel]
Deployment={id}
"
        ))
    }

    /// The name of the unit.
    #[must_use]
    pub fn name(&self) -> UnitName {
        let OutputKey { project, service, .. } = self.key;
        match self.run {
            Run::Service | Run::Timer { .. } => {
                UnitName::of_deployment(project, self.slug, service, self.deployment)
            }
            Run::Release { .. } => {
                UnitName::of_release(project, self.slug, service, self.deployment)
            }
        }
    }

    /// The file, in the operator's directory of units.
    #[must_use]
    pub fn path(&self, unit_dir: &Path) -> PathBuf {
        unit_dir.join(self.name().as_str())
    }
}

/// What a service of strangers does not reach, and who may call it. `IPAddressAllow=` wins.
fn address_filter(allowed: &[AddressRange]) -> String {
    let allowed: String = allowed.iter().map(|range| format!(" {range}")).collect();
    format!(
        "# A fork's: strangers wrote it.\n\
         IPAddressDeny=localhost multicast {PRIVATE}\n\
         IPAddressAllow={FORK_CALLER}{allowed}\n"
    )
}

/// The deployment that a unit file says it is of; none if Kennel did not write it.
#[must_use]
pub fn deployment_of(unit_file: &str) -> Option<DeploymentId> {
    let mut lines = unit_file.lines().skip_while(|line| *line != "[X-Kennel]").skip(1);
    lines.next()?.strip_prefix("Deployment=")?.parse().ok()
}

/// `%` begins a specifier in unit files (systemd.unit(5)); doubled it is itself. Line breaks and
/// other control characters cannot be in any of the parsed types, and are dropped all the same.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(branch: &str, program: &str) -> Result<String, BadProgram> {
        with_credentials(branch, program, &[])
    }

    fn with_credentials(
        branch: &str,
        program: &str,
        credentials: &[&str],
    ) -> Result<String, BadProgram> {
        running(branch, program, credentials, Run::Service)
    }

    fn running(
        branch: &str,
        program: &str,
        credentials: &[&str],
        run: Run,
    ) -> Result<String, BadProgram> {
        that_may_sleep(branch, program, credentials, run, false)
    }

    fn that_may_sleep(
        branch: &str,
        program: &str,
        credentials: &[&str],
        run: Run,
        sleeps: bool,
    ) -> Result<String, BadProgram> {
        let credentials: Vec<_> = credentials.iter().map(|name| name.parse().unwrap()).collect();
        let key = OutputKey {
            project: "site".parse().unwrap(),
            git_ref: format!("refs/heads/{branch}").parse().unwrap(),
            service: "api".parse().unwrap(),
        };
        let slug = BranchSlug::candidates(&key.git_ref).next().unwrap().unwrap();
        ServiceUnit {
            deployment: DeploymentId::from_row(97),
            key: &key,
            slug: &slug,
            user: &"kennel-site-main-api".parse().unwrap(),
            store_path: &"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api".parse().unwrap(),
            program,
            run,
            env_file: Path::new("/run/kennel/secrets/site-main-api@97.env"),
            credentials: (
                Path::new("/run/kennel/secrets/site-main-api@97.credentials"),
                &credentials,
            ),
            sleeps,
            resources: &Resources::default(),
            untrusted: None,
        }
        .render()
    }

    #[test]
    fn the_whole_file() {
        insta::assert_snapshot!(render("main", "api").unwrap());
    }

    #[test]
    fn what_may_sleep_is_looked_after_and_not_told_of_its_bell() {
        let awake = render("main", "api").unwrap();
        let sleepy = that_may_sleep("main", "api", &[], Run::Service, true).unwrap();
        let more: Vec<_> = sleepy.lines().filter(|line| !awake.contains(line)).collect();
        insta::assert_snapshot!(more.join("\n"), @"
        Wants=kennel-sleep.timer
        UnsetEnvironment=LISTEN_FDNAMES LISTEN_FDS LISTEN_PID
        ");
    }

    #[test]
    fn credentials_are_opened_by_systemd() {
        let without = render("main", "api").unwrap();
        let with = with_credentials("main", "api", &["TLS_KEY", "A"]).unwrap();
        let more: Vec<_> = with.lines().filter(|line| !without.contains(line)).collect();
        insta::assert_snapshot!(more.join("\n"), @"
        LoadCredentialEncrypted=TLS_KEY:/run/kennel/secrets/site-main-api@97.credentials/TLS_KEY
        LoadCredentialEncrypted=A:/run/kennel/secrets/site-main-api@97.credentials/A
        ");
    }

    #[test]
    fn what_runs_once_or_at_times_has_all_that_the_service_has() {
        let service = render("main", "migrate").unwrap();
        let run = Run::Release { timeout: Duration::from_secs(300) };
        let release = running("main", "migrate", &[], run).unwrap();
        let only = |these: &str, others: &str| {
            let lines = these.lines().filter(|line| !others.lines().any(|other| other == *line));
            lines.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(only(&release, &service), @"
        Description=release of api of site on main (deployment 97)
        Type=oneshot
        RemainAfterExit=yes
        TimeoutStartSec=300
        ");
        let run = Run::Timer { timeout: Duration::from_secs(3600) };
        let timer = running("main", "migrate", &[], run).unwrap();
        insta::assert_snapshot!(only(&timer, &service), @"
        Type=oneshot
        TimeoutStartSec=3600
        ");
        insta::assert_snapshot!(only(&service, &release), @"
        Description=api of site on main (deployment 97)
        Type=exec
        Restart=always
        RestartSec=1
        RestartSteps=5
        RestartMaxDelaySec=30
        ");
    }

    #[test]
    fn a_forks_service_is_called_by_one_address_and_calls_none_of_the_hosts() {
        let filter =
            address_filter(&["127.0.0.53".parse().unwrap(), "10.1.0.0/16".parse().unwrap()]);
        insta::assert_snapshot!(filter, @"
        # A fork's: strangers wrote it.
        IPAddressDeny=localhost multicast 0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 fc00::/7 fe80::/10
        IPAddressAllow=127.0.0.2 127.0.0.53 10.1.0.0/16
        ");
        assert!(FORK_CALLER.is_loopback());
    }

    #[test]
    fn the_file_says_whose_it_is() {
        let text = render("main", "api").unwrap();
        assert_eq!(deployment_of(&text), Some(DeploymentId::from_row(97)));
        assert_eq!(deployment_of("[Service]\nDeployment=97\n"), None);
    }

    #[test]
    fn programs_with_other_characters_are_refused() {
        for bad in ["", "a b", "a\nb", "../x", "a/b", "a%n", "$HOME", "-x", "a;b", "\"", ".x"] {
            assert_eq!(render("main", bad), Err(BadProgram(bad.to_owned())), "{bad}");
        }
        insta::assert_snapshot!(render("main", "a\nb").unwrap_err(), @r"the program `a\nb` has a name that cannot stand in a unit file; use a-z, 0-9 and ._+- only");
    }

    fn keys(text: &str) -> impl Iterator<Item = &str> {
        let settings = text.lines().filter(|line| !line.starts_with('#'));
        settings.map(|line| line.split('=').next().unwrap_or_default())
    }

    proptest! {
        /// Whatever a branch is called and a program is named: the same lines, the same keys.
        #[test]
        fn no_value_makes_a_line_or_a_specifier(
            branch in r#"[a-zA-Z0-9_%"'$;é#=,&|<>-]{1,60}"#,
            program in "\\PC{1,40}",
        ) {
            prop_assume!(branch.parse::<kennel_core::Branch>().is_ok());
            let Ok(text) = render(&branch, &program) else { return Ok(()) };
            let plain = render("main", "api").unwrap();
            prop_assert!(keys(&text).eq(keys(&plain)));
            // A quota is in per cent, and its key takes no specifiers.
            let specifiers = text.replace("CPUQuota=200%", "").replace("%%", "");
            prop_assert!(!specifiers.contains('%'));
        }
    }
}
