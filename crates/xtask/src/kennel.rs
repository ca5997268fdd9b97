//! A host that runs Kennel, seen by those who use it: operator, forge, visitor.

use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::checkout::Checkout;
use crate::forge::Forge;
use crate::host::{Host, Kind};
use crate::http::{self, Answer, Ask};
use crate::load::Load;
use crate::project::Project;
use crate::sources::{Samples, Sources};

/// Browsers and curl take every name below `localhost` for this machine, without DNS.
pub const DEMO_DOMAIN: &str = "kennel.localhost";

/// How long an answer may take before it counts as none; the samples' slow ones take one second.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// On a virtual machine, which may be emulated: looking must not be all that it does.
const LOOK_AGAIN_AT_MACHINE: Duration = Duration::from_millis(500);

/// A booted host with Kennel on it. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Kennel {
    host: Arc<Host>,
    base_domain: String,
    samples: Samples,
}

/// Writes the operator's configuration into a host, booted or not; a virtual machine must be.
/// `settings` are more lines for it.
///
/// # Errors
/// When it cannot be written.
pub fn configure(host: &Host, base_domain: &str, settings: &str) -> Result<()> {
    host.write("etc/kennel/config.toml", format!("base_domain = \"{base_domain}\"\n{settings}"))
}

impl Kennel {
    /// Starts Kennel on a booted host, as an operator would.
    ///
    /// # Errors
    /// When a unit of it does not start, with the journal's last lines.
    pub fn start(
        checkout: &Checkout,
        host: Arc<Host>,
        base_domain: &str,
        settings: &str,
    ) -> Result<Self> {
        let samples = Samples::prepare(checkout, &host)?;
        configure(&host, base_domain, settings)?;
        let kennel = Self { host, base_domain: base_domain.to_owned(), samples };
        kennel
            .host
            .run(&["systemctl", "enable", "--now", "--quiet", "kennel.target"])
            .map_err(|err| kennel.explain(&err))?;
        Ok(kennel)
    }

    /// A booted host on which Kennel runs already. `samples` are made of its tree.
    #[must_use]
    pub fn running(samples: Samples, host: Arc<Host>, base_domain: &str) -> Self {
        Self { host, base_domain: base_domain.to_owned(), samples }
    }

    /// The host that it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain below which projects get their names.
    #[must_use]
    pub fn base_domain(&self) -> &str {
        &self.base_domain
    }

    /// Where webhooks go.
    #[must_use]
    pub fn control_host(&self) -> String {
        format!("kennel.{}", self.base_domain)
    }

    /// The beginning of a repository: see [`Sources`].
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.samples.sources()
    }

    /// Makes a project on Forgejo with an empty repository.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn project(&self, name: &str) -> Result<Project> {
        self.project_on(Forge::Forgejo, name, "")
    }

    /// Makes a project on a forge, with more lines in its TOML file.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn project_on(&self, forge: Forge, name: &str, settings: &str) -> Result<Project> {
        Project::create(self, name, forge, settings)
    }

    /// A project on Forgejo that the host's configuration has already, with the secret that
    /// [`Project::secret_of`] says. Makes its repository.
    ///
    /// # Errors
    /// When the host refuses, or does not know it.
    pub fn declared_project(&self, name: &str) -> Result<Project> {
        Project::declared(self, name, Forge::Forgejo)
    }

    /// Asks the router on port 80, over a new connection.
    ///
    /// # Errors
    /// When no whole answer comes within 30 s.
    pub fn ask(&self, ask: &Ask) -> Result<Answer> {
        let stream = self.host.netns()?.connect(80).context("nobody listens on port 80")?;
        http::send(stream, ask, ANSWER_LIMIT)
    }

    /// Asks for one thing after the other, each over a connection of its own, from one thread
    /// that costs little more than the sockets. Returns each answer with the time that it took.
    ///
    /// # Errors
    /// As [`Kennel::ask`].
    pub fn ask_each(&self, asks: &[&Ask]) -> Result<Vec<(Answer, Duration)>> {
        let netns = self.host.netns()?;
        let asking = thread::scope(|scope| {
            let sender = || -> Result<_> {
                netns.enter()?;
                http::send_each(asks, ANSWER_LIMIT)
            };
            scope.spawn(sender).join()
        });
        asking.map_err(|_panic| anyhow!("who asks panicked"))?
    }

    /// GET through the router.
    ///
    /// # Errors
    /// As [`Kennel::ask`].
    pub fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.ask(&Ask::get(host, path))
    }

    /// Waits until a page answers 200 with `text` in it.
    ///
    /// # Errors
    /// When it does not within `limit`: what it answered last, and what Kennel says.
    pub fn expect_page(
        &self,
        host: &str,
        path: &str,
        text: &str,
        limit: Duration,
    ) -> Result<Answer> {
        let what = format!("http://{host}{path} with {text:?}");
        self.wait_for(&what, limit, || {
            let answer = self.get(host, path)?;
            if answer.status == 200 && answer.text().contains(text) {
                return Ok(Some(answer));
            }
            Err(anyhow!("it answers {}: {}", answer.status, shorten(answer.text().trim())))
        })
    }

    /// Looks again and again until `look` finds something.
    ///
    /// `Ok(None)` and `Err` both mean "not yet"; the last error is part of the diagnosis.
    ///
    /// # Errors
    /// When it is not there within `limit`: the last look, and what Kennel says.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let last = match look() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => String::from("nothing"),
                Err(err) => format!("{err:#}"),
            };
            if Instant::now() > deadline {
                let waited = limit.as_secs_f32();
                return Err(self.explain(&anyhow!("no {what} after {waited} s; last: {last}")));
            }
            thread::sleep(match self.host.kind() {
                Kind::Container => LOOK_AGAIN,
                Kind::Machine => LOOK_AGAIN_AT_MACHINE,
            });
        }
    }

    /// Keeps `connections` visitors busy with a service until the load is stopped.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn load(&self, host: &str, connections: usize) -> Result<Load> {
        Load::start(self.host.netns()?, host, connections)
    }

    /// What `kennelctl <argv> --json` prints.
    ///
    /// # Errors
    /// When it fails or does not print JSON.
    pub fn ctl(&self, argv: &[&str]) -> Result<Value> {
        let mut command = vec!["kennelctl"];
        command.extend(argv);
        command.push("--json");
        let text = self.host.run(&command)?;
        serde_json::from_str(&text).with_context(|| format!("{command:?} does not print JSON"))
    }

    /// What a person would look at first when something did not happen.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let mut text = String::new();
        for (title, argv) in [
            ("status", ["kennelctl", "status"].as_slice()),
            ("failed units", &["systemctl", "--failed", "--plain", "--no-legend"]),
            ("jobs", &["systemctl", "list-jobs", "--plain", "--no-legend"]),
            ("Kennel's units", &["systemctl", "list-units", "--plain", "--no-legend", "kennel*"]),
            (
                "the journal's end",
                &["journalctl", "-b", "-n", "80", "--no-pager", "-o", "short-precise"],
            ),
        ] {
            let said = match self.host.try_run(argv) {
                Ok(output) => format!("{}{}", output.stdout, output.stderr),
                Err(err) => format!("{err:#}"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "── {title}\n{}", said.trim_end());
        }
        text
    }

    /// An error together with [`Kennel::diagnosis`].
    #[must_use]
    pub fn explain(&self, err: &anyhow::Error) -> anyhow::Error {
        anyhow!("{err:#}\n{}", self.diagnosis())
    }
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().take(300).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
