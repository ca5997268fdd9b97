//! `cargo xtask demo`: from a clean clone to a live URL, and a second version under load.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use xtask::checkout::Checkout;
use xtask::host::{self, Host, Kind, Making, Owner};
use xtask::http::{self, Ask};
use xtask::kennel::{DEMO_DOMAIN, Kennel};
use xtask::netns::Forwarder;
use xtask::product::Profile;
use xtask::project::{Project, Pushed};
use xtask::{interrupt, needs};

use super::steps::Steps;

/// Visitors of the second push.
const VISITORS: usize = 50;

/// A first build on a busy machine takes seconds.
const BUILD_LIMIT: Duration = Duration::from_secs(120);

/// What the demo may be told.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The host's name
    #[arg(long, default_value = "demo")]
    name: String,
    /// Leave the host running when it is done
    #[arg(long)]
    keep: bool,
    /// End after the last step instead of serving until Ctrl-C
    #[arg(long, conflicts_with = "keep")]
    once: bool,
    /// The port on 127.0.0.1 for the live URL
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How to compile the product
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
}

impl Demo {
    /// Shows it.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let result = self.show();
        if result.is_err() || !self.keep {
            host::end_own();
        }
        result?;
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self) -> Result<()> {
        let checkout = Checkout::find()?;
        interrupt::on_interrupt(|| {
            println!("\nending the demo");
            host::end_own();
        })?;
        // Before anything that takes long.
        let forwarder = Forwarder::bind(self.port)?;
        host::end_abandoned(&checkout)?;
        let steps = Steps::new();
        let kennel = start(&checkout, &self.name, self.profile, &steps)?;
        forwarder.serve(kennel.host().netns()?, 80);

        let project = kennel.project("shop")?;
        let (api, web) = (project.address("api", "main"), project.address("web", "main"));
        first_push(&steps, &kennel, &project)?;
        for (name, path) in [(&web, "/"), (&api, "/version")] {
            let url = self.url(name, path);
            steps.step(&url, || self.ask(name, path), |body| format!("{url} says {body:?}"))?;
        }
        second_push(&steps, &kennel, &project)?;

        println!("\nall of it took {:.0} s. Now try:\n", steps.seconds());
        self.what_next(&web, &api);
        if self.keep {
            self.leave_running(forwarder)?;
        } else if !self.once {
            println!("\nCtrl-C ends the demo and removes the host.");
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }

    fn url(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.port)
    }

    /// As a browser on this machine asks.
    fn ask(&self, name: &str, path: &str) -> Result<String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let ask = Ask::get(&format!("{name}:{}", self.port), path);
        let answer = http::send(stream, &ask, Duration::from_secs(10))?;
        if answer.status != 200 {
            bail!("{} answers {}: {}", self.url(name, path), answer.status, answer.text());
        }
        let text = answer.text();
        // Of a page, the headline.
        let line = text.lines().find(|line| line.starts_with("<h1>")).unwrap_or(text.trim());
        Ok(line.trim_start_matches("<h1>").trim_end_matches("</h1>").to_owned())
    }

    fn what_next(&self, web: &str, api: &str) {
        println!("  curl {}", self.url(web, "/"));
        println!("  curl {}", self.url(api, "/env"));
        for command in [
            "kennelctl status",
            "journalctl -u kennel-build@1 --no-pager",
            "journalctl -u kennel-shop-main-api.slice --no-pager",
            "systemctl status kennel-shop.slice --no-pager",
        ] {
            println!("  cargo xtask host exec --name {} -- {command}", self.name);
        }
        println!("  cargo xtask host shell --name {}", self.name);
    }

    /// Hands the port over to a process that lives as long as the host does.
    fn leave_running(&self, forwarder: Forwarder) -> Result<()> {
        host::disown()?;
        drop(forwarder);
        Command::new(std::env::current_exe()?)
            .args(["host", "forward", "--name", &self.name, "--port", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot leave a forwarder behind")?;
        println!("\nIt keeps running. `cargo xtask host down --name {}` ends it.", self.name);
        Ok(())
    }
}

fn start(checkout: &Checkout, name: &str, profile: Profile, steps: &Steps) -> Result<Kennel> {
    steps.step("looking for packages", needs::install, |installed| {
        if installed.is_empty() {
            "every Debian package is there".to_owned()
        } else {
            format!("installed {}", installed.join(", "))
        }
    })?;
    let making = Making {
        owner: Owner::ThisProcess,
        product: Some(profile),
        kind: Kind::Container,
        keep_tree: false,
    };
    let host = steps.step(
        "building Kennel and a Debian tree",
        || Host::make(checkout, name, making),
        |_| "built Kennel and installed it into a Debian 13 tree".to_owned(),
    )?;
    steps.step(
        "booting",
        || host.boot(),
        |booted| format!("booted it: systemd says {}", booted.state),
    )?;
    steps.step(
        "starting Kennel",
        || Kennel::start(checkout, Arc::new(host), DEMO_DOMAIN, "drain_secs = 3\n"),
        |_| "systemctl enable --now kennel.target".to_owned(),
    )
}

fn first_push(steps: &Steps, kennel: &Kennel, project: &Project) -> Result<()> {
    let pushed = push(steps, kennel, project, "v1", "It was pushed, and here it is.")?;
    for name in ["api", "web"] {
        built(steps, kennel, project, name, &pushed)?;
    }
    for (name, path, text) in [("api", "/version", "v1"), ("web", "/", "here it is")] {
        let address = project.address(name, "main");
        steps.step(
            &format!("deploying {name}"),
            || kennel.expect_page(&address, path, text, BUILD_LIMIT),
            |_| format!("deployed {name}"),
        )?;
    }
    Ok(())
}

/// A new version while visitors are busy with the old one.
fn second_push(steps: &Steps, kennel: &Kennel, project: &Project) -> Result<()> {
    let load = kennel.load(&project.address("api", "main"), VISITORS)?;
    steps.step(
        "visitors come",
        || {
            kennel.wait_for(
                "500 answers",
                BUILD_LIMIT,
                || Ok((load.requests() > 500).then_some(())),
            )
        },
        |()| format!("{VISITORS} visitors keep the service busy: GET, POST, slow answers"),
    )?;
    let pushed = push(steps, kennel, project, "v2", "A second version, under load.")?;
    built(steps, kennel, project, "api", &pushed)?;
    let unit = "kennel-shop-main-api@*.service";
    steps.step(
        "deploying v2 under load",
        || {
            kennel.wait_for("answer of v2", BUILD_LIMIT, || {
                Ok(load.report().versions.contains_key("v2").then_some(()))
            })
        },
        |()| "deployed v2 beside v1, and moved the visitors over".to_owned(),
    )?;
    steps.step(
        "draining v1",
        || {
            kennel.wait_for("end of v1", BUILD_LIMIT, || {
                let list = ["systemctl", "list-units", "--plain", "--no-legend", unit];
                Ok((kennel.host().run(&list)?.lines().count() == 1).then_some(()))
            })
        },
        |()| "v1 finished what it had begun and is gone".to_owned(),
    )?;
    let report = load.stop()?;
    steps.step(
        "counting",
        || report.expect_clean(),
        |()| {
            let versions: Vec<String> =
                report.versions.iter().map(|(name, times)| format!("{times} by {name}")).collect();
            format!(
                "{} requests over {} connections, none failed: {}",
                report.requests,
                report.connections,
                versions.join(", ")
            )
        },
    )
}

fn push(
    steps: &Steps,
    kennel: &Kennel,
    project: &Project,
    version: &str,
    headline: &str,
) -> Result<Pushed> {
    let sources = kennel.sources().service("api", version).site("web", headline);
    let pushed = steps.step(
        "git push",
        || project.commit("main", &sources, &format!("Release {version}")),
        |pushed| format!("git push of {version}: {}", pushed.after.get(..8).unwrap_or_default()),
    )?;
    steps.step(
        "webhook",
        || project.deliver(&pushed.event()),
        |answers| {
            let said = answers.first().map(|answer| (answer.status, answer.text()));
            let (status, text) = said.unwrap_or_default();
            format!("webhook, signed as Forgejo does: {status} {}", text.trim())
        },
    )?;
    Ok(pushed)
}

fn built(
    steps: &Steps,
    kennel: &Kennel,
    project: &Project,
    name: &str,
    pushed: &Pushed,
) -> Result<()> {
    steps.step(
        &format!("building {name}"),
        || {
            kennel.wait_for(&format!("store path of {name}"), BUILD_LIMIT, || {
                let Some(build) = project.build(&pushed.after)? else { return Ok(None) };
                let outputs = build.get("outputs").and_then(Value::as_array);
                let output = outputs
                    .into_iter()
                    .flatten()
                    .find(|output| output.get("name").is_some_and(|it| it == name));
                let path = output.and_then(|output| output.get("store_path")?.as_str());
                match path {
                    Some(path) => Ok(Some(path.to_owned())),
                    None => bail!("{build}"),
                }
            })
        },
        |path| format!("built {name}: {path}"),
    )?;
    Ok(())
}
