//! Preview databases on a real Valkey and a real PostgreSQL: each branch its own, from its first
//! deployment to its last.

use std::collections::BTreeMap;

use kennel_tests::{
    Context, Deployment, Forge, HeadRepository, Kennel, LIMIT, Project, PullRequest,
    PullRequestAction, Result, Rows, Settings, anyhow, ensure, expect_deployment, expect_failure,
    expect_gone, expect_no_leftovers, expect_nothing_left,
};

use crate::secrets::expect_handed;

const TOML: &str = "[services.api]\npreview_database = true\n";

const SERVERS: &str = "
[valkey]
url = \"redis://127.0.0.1:6379\"
databases = 2
[postgresql]
url = \"postgresql:///postgres?host=/run/postgresql\"
template = \"seed\"
";

/// As docs/preview-databases.md says it.
const LET_IN: &str = "
    hba=$(echo /etc/postgresql/*/main/pg_hba.conf)
    sed -i '1i local sameuser /^kennel_ scram-sha-256' $hba
    systemctl reload postgresql.service
";

pub(crate) fn of_each_branch(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Forgejo, "cellar", "pull_requests = \"all\"\n")?;
    let branch = |name: &str| Branch { kennel, project: &project, name: name.to_owned() };
    let main = branch("main");
    let _settings = refuse_without_servers(&main)?;

    let host = kennel.host();
    host.sh(LET_IN)?;
    // Somebody's, from before.
    host.run(&["valkey-cli", "set", "stray", "1"])?;
    let main_urls = main.redeploy()?;
    let (valkey, postgresql) = (main_urls.valkey()?, main_urls.postgresql()?);
    ensure!(valkey == "redis://127.0.0.1:6379/0", "main has {valkey}");
    ensure!(postgresql.starts_with("postgresql://kennel_cellar_main:"), "main has {postgresql}");
    ensure!(main_urls.ask_valkey(kennel, "DBSIZE")? == "0", "it is not empty when it is given");
    main_urls.ask_valkey(kennel, "SET whose main")?;
    // What the template has is the branch's own.
    main_urls.ask_postgresql(
        kennel,
        "ALTER TABLE shelf ADD whose text; INSERT INTO shelf (n, whose) VALUES (2, 'main')",
    )?;

    let other = branch("try");
    let other_urls = other.push("cellar-try")?;
    ensure!(other_urls.valkey()?.ends_with("/1"), "two branches have {:?}", other_urls.valkey());
    ensure!(other_urls.ask_valkey(kennel, "EXISTS whose")? == "0", "the numbers are one");
    ensure!(other_urls.ask_postgresql(kennel, "SELECT sum(n) FROM shelf")? == "1", "not a copy");
    keep_apart(kennel, &main_urls, &other_urls)?;
    expect_kept_secret(kennel, &main_urls)?;
    exhaust(&branch("third"))?;
    give_strangers_their_own(kennel, &project)?;

    // The next version has the same, and so has a service that is restored.
    ensure!(main.push("cellar-2")?.0 == main_urls.0, "another version has other databases");
    let serving = main.serving()?;
    let env_file = env_file(&serving);
    host.sh(&format!("systemctl stop {}; rm {env_file}", serving.unit()))?;
    host.run(&["systemctl", "restart", "kennel-restore.service"])?;
    kennel.expect_page(&project.address("api", "main"), "/version", "cellar-2", LIMIT)?;
    ensure!(main.urls(&serving)?.0 == main_urls.0, "restored it has other databases");
    ensure!(main_urls.ask_valkey(kennel, "GET whose")? == "main", "what main had is gone");
    let whose = main_urls.ask_postgresql(kennel, "SELECT whose FROM shelf WHERE n = 2")?;
    ensure!(whose == "main", "what main had is gone: {whose}");

    make_anew(&main, &main_urls)?;
    release(kennel, &project, &main_urls, &other_urls)
}

/// Nobody configured anything; then neither server runs; then PostgreSQL lets nobody in. Each fails
/// the deployment by name, and leaves nothing that would have to be taken back.
fn refuse_without_servers(main: &Branch<'_>) -> Result<Settings> {
    let Branch { kennel, project, .. } = *main;
    kennel.host().run(&["systemctl", "stop", "valkey-server.service", "postgresql.service"])?;
    let sources = kennel.sources().service("api", "cellar-1").kennel_toml(TOML);
    let pushed = project.push("main", &sources, "one")?;
    let words = ["`preview_database = true`", "neither [valkey] nor [postgresql]"];
    expect_failure(kennel, project, "api", &pushed.after, &words)?;

    let settings = Settings::with(kennel, SERVERS)?;
    main.refused("Valkey cannot be reached at `url` under [valkey]")?;
    expect_diagnosis(kennel, "PostgreSQL does not answer at `url` under [postgresql]")?;
    kennel.host().run(&["systemctl", "start", "valkey-server.service"])?;
    main.refused("PostgreSQL cannot be reached by `url` under [postgresql]")?;
    kennel.host().run(&["systemctl", "start", "postgresql.service"])?;
    main.refused("role \"root\" does not exist")?;
    kennel.host().sh(
        "cd /; su postgres -c 'psql -qc \"CREATE ROLE root LOGIN CREATEDB CREATEROLE\"'
         createdb seed && psql -qd seed -c 'CREATE TABLE shelf (n serial); INSERT INTO shelf VALUES (1)'",
    )?;
    expect_diagnosis(kennel, "Valkey and PostgreSQL listen")?;
    main.refused("pg_hba.conf needs `local sameuser /^kennel_ scram-sha-256`")?;
    expect_nothing_left(kennel, project.name())?;
    Ok(settings)
}

fn expect_diagnosis(kennel: &Kennel, words: &str) -> Result<()> {
    let doctor = kennel.host().try_run(&["kennelctl", "doctor"])?.stdout;
    ensure!(doctor.contains(words), "the doctor does not say {words:?}:\n{doctor}");
    Ok(())
}

/// Neither role gets into the other's database, nor into others.
fn keep_apart(kennel: &Kennel, main: &Urls, other: &Urls) -> Result<()> {
    for (role, database) in [(main, other), (other, main)] {
        let [own, others] = [role.role()?, database.role()?].map(|it| format!(":5432/{it}"));
        let elsewhere = role.postgresql()?.replace(&own, &others);
        // By the way that pg_hba.conf opens to every role as well.
        let by_address = elsewhere.replace("?host=/run/postgresql", "");
        for (url, words) in
            [(&elsewhere, "Peer authentication failed"), (&by_address, "permission")]
        {
            let said = kennel.host().try_run(&["psql", url, "-c", "SELECT 1"])?;
            let is_refused = said.code != 0 && said.stderr.contains(words);
            ensure!(is_refused, "{} gets into {}: {said:?}", role.role()?, database.role()?);
        }
    }
    let rights = main.ask_postgresql(
        kennel,
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
         FROM pg_roles WHERE rolname = current_user",
    )?;
    ensure!(rights == "f", "the role may do more than it should: {rights}");
    Ok(())
}

/// A password is in no file but the environment's, and in nobody's log.
fn expect_kept_secret(kennel: &Kennel, urls: &Urls) -> Result<()> {
    let password = urls.postgresql()?.split([':', '@']).nth(2).context("no password")?;
    ensure!(password.len() == 32, "{password} is no password");
    // By standard input: an argument would be found.
    let look = "cat >/dev/shm/password; journalctl --sync
                for place in /etc /var /run /tmp; do grep -rlaF -D skip -f /dev/shm/password $place; done
                journalctl --no-pager -o export | grep -aF -f /dev/shm/password; rm /dev/shm/password";
    let found = kennel.host().run_with_input(&["sh", "-c", look], password.as_bytes())?;
    let is_environment = found.starts_with("/run/kennel/secrets/cellar-main-api@")
        && found.trim_end().ends_with(".env");
    ensure!(is_environment && found.lines().count() == 1, "the password is in {found}");
    Ok(())
}

/// A branch for which there is no number fails, and it is said who has them.
fn exhaust(third: &Branch<'_>) -> Result<()> {
    let Branch { kennel, project, .. } = *third;
    let sources = kennel.sources().service("api", "cellar-3").kennel_toml(TOML);
    let pushed = project.push("third", &sources, "three")?;
    let words = ["all 2 database numbers of Valkey", "0 by cellar/main, 1 by cellar/try"];
    expect_failure(kennel, project, "api", &pushed.after, &words)?;
    let rows = expect_no_leftovers(kennel, project.name())?;
    ensure!(rows.databases.len() == 4, "the third has something: {:?}", rows.databases);
    Ok(())
}

/// A fork's service has a role and a database of its own, and no number among the others'.
fn give_strangers_their_own(kennel: &Kennel, project: &Project) -> Result<()> {
    let sources = kennel.sources().service("api", "cellar-fork").kennel_toml(TOML);
    let head = project.commit("fork", &sources, "a fork's")?.after;
    let pull = PullRequest {
        number: 8,
        head_branch: "main".to_owned(),
        head: head.clone(),
        head_repository: HeadRepository::Fork,
        base_branch: "main".to_owned(),
    };
    project.pull_request(&pull, PullRequestAction::Opened)?;
    let serving = expect_deployment(kennel, project, "api", &head, "active")?;
    let branch = Branch { kennel, project, name: "pr-8".to_owned() };
    let urls = branch.urls(&serving)?;
    ensure!(urls.role()? == "kennel_cellar_pr-8", "it has {}", urls.role()?);
    // From within its sandbox.
    let unit = serving.unit();
    let pid = kennel.host().run(&["systemctl", "show", "--value", "--property=MainPID", &unit])?;
    let inside = ["nsenter", "--mount", "--target", pid.trim(), "setpriv", "--reuid=nobody"];
    let insert = ["psql", urls.postgresql()?, "-qc", "INSERT INTO shelf VALUES (3)"];
    kennel.host().run(&[&inside[..], &insert].concat())?;
    ensure!(urls.valkey().is_err(), "it reaches every number: {:?}", urls.valkey());
    project.pull_request(&pull, PullRequestAction::Closed { merged: false })?;
    expect_gone(kennel, project, "refs/pull/8/head").map(drop)
}

/// What somebody dropped on the server is made again, for the same URL; what is nobody's is told.
fn make_anew(main: &Branch<'_>, urls: &Urls) -> Result<()> {
    let (kennel, role) = (main.kennel, urls.role()?);
    let sql = |sql: String| kennel.host().run(&["psql", "-d", "postgres", "-qAtc", &sql]);
    sql(format!("DROP DATABASE {role} WITH (FORCE)"))?;
    sql(format!("DROP ROLE {role}"))?;
    sql("CREATE DATABASE kennel_nobody".to_owned())?;
    let lost = format!("PostgreSQL has lost {role}, which is cellar/main's");
    let nobodys = "PostgreSQL's kennel_nobody belongs to no branch";
    expect_diagnosis(kennel, &lost)?;
    let said = kennel.host().run(&["kennelctl", "reconcile"])?;
    ensure!(said.contains(&format!("repaired: {lost}")), "it says {said}");
    ensure!(said.contains(nobodys), "it says {said}");
    let sum = urls.ask_postgresql(kennel, "SELECT sum(n) FROM shelf")?;
    ensure!(sum == "1", "it is not as the template is: {sum}");
    sql("DROP DATABASE kennel_nobody".to_owned())?;
    expect_diagnosis(kennel, "PostgreSQL has the databases of 2 branches, and no others")
}

/// With a branch goes what it had; and the next one finds nothing of it.
fn release(kennel: &Kennel, project: &Project, main: &Urls, other: &Urls) -> Result<()> {
    other.ask_valkey(kennel, "SET whose try")?;
    project.delete_branch("try")?;
    expect_gone(kennel, project, "refs/heads/try")?;
    ensure!(other.ask_valkey(kennel, "DBSIZE")? == "0", "its number is not empty");
    let left = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles";
    let left = kennel.host().run(&["psql", "-d", "postgres", "-Atc", left])?;
    ensure!(left.matches("kennel_").count() == 2, "there are still\n{left}");
    ensure!(left.matches(main.role()?).count() == 2, "main's are not there:\n{left}");

    let third = Branch { kennel, project, name: "third".to_owned() };
    other.ask_valkey(kennel, "SET stray 1")?;
    let third_urls = third.redeploy()?;
    ensure!(third_urls.valkey()? == other.valkey()?, "it has {:?}", third_urls.valkey());
    ensure!(third_urls.ask_valkey(kennel, "DBSIZE")? == "0", "it is not empty");

    for branch in ["main", "third"] {
        let argv = ["kennelctl", "teardown", &format!("cellar/{branch}"), "--yes"];
        kennel.host().run(&argv)?;
    }
    expect_nothing_left(kennel, project.name())?;
    ensure!(main.ask_valkey(kennel, "DBSIZE")? == "0", "main's number is not empty");
    let left =
        kennel.host().run(&["psql", "-d", "postgres", "-Atc", "SELECT rolname FROM pg_roles"])?;
    ensure!(!left.contains("kennel_"), "there are still\n{left}");
    Ok(())
}

struct Branch<'k> {
    kennel: &'k Kennel,
    project: &'k Project,
    name: String,
}

impl Branch<'_> {
    /// Pushes a version that serves.
    fn push(&self, version: &str) -> Result<Urls> {
        let sources = self.kennel.sources().service("api", version).kennel_toml(TOML);
        let pushed = self.project.push(&self.name, &sources, version)?;
        let serving = expect_deployment(self.kennel, self.project, "api", &pushed.after, "active")?;
        self.urls(&serving)
    }

    fn redeploy(&self) -> Result<Urls> {
        self.kennel.host().run(&["kennelctl", "redeploy", &self.path(), "--rebuild"])?;
        self.urls(&self.serving()?)
    }

    fn refused(&self, words: &str) -> Result<()> {
        let argv = ["kennelctl", "redeploy", &self.path(), "--rebuild"];
        let said = self.kennel.host().try_run(&argv)?;
        ensure!(said.code == 1 && said.stdout.contains(words), "not {words:?}: {said:?}");
        Ok(())
    }

    fn path(&self) -> String {
        format!("{}/{}", self.project.name(), self.name)
    }

    fn serving(&self) -> Result<Deployment> {
        let rows = Rows::read(self.kennel)?;
        let active = rows
            .of(self.project.name())
            .find(|it| it.state == "active" && it.git_ref == format!("refs/heads/{}", self.name));
        active.cloned().ok_or_else(|| anyhow!("{} does not serve: {rows:?}", self.path()))
    }

    /// What the file says that its process was handed.
    fn urls(&self, of: &Deployment) -> Result<Urls> {
        let text = self.kennel.host().run(&["cat", &env_file(of)])?;
        let variables = text.lines().filter_map(|line| line.split_once('='));
        let urls = variables.filter(|(name, _)| name.ends_with("_URL") && *name != "KENNEL_URL");
        let unquoted = |value: &str| value.trim_matches('"').to_owned();
        let urls = Urls(urls.map(|(name, url)| (name.to_owned(), unquoted(url))).collect());
        let address = self.project.address("api", &of.slug);
        for name in ["VALKEY_URL", "DATABASE_URL"] {
            let url = urls.0.get(name).map(String::as_str);
            expect_handed(self.kennel, &address, &format!("variable={name}"), url)?;
        }
        Ok(urls)
    }
}

/// A service's variables with URLs.
struct Urls(BTreeMap<String, String>);

impl Urls {
    fn valkey(&self) -> Result<&str> {
        self.0.get("VALKEY_URL").map(String::as_str).context("there is no VALKEY_URL")
    }

    fn postgresql(&self) -> Result<&str> {
        self.0.get("DATABASE_URL").map(String::as_str).context("there is no DATABASE_URL")
    }

    fn role(&self) -> Result<&str> {
        let rest = self.postgresql()?.strip_prefix("postgresql://").context("no role")?;
        Ok(rest.split(':').next().unwrap_or_default())
    }

    fn ask_valkey(&self, kennel: &Kennel, command: &str) -> Result<String> {
        let argv = ["valkey-cli", "-u", self.valkey()?];
        let argv: Vec<&str> = argv.into_iter().chain(command.split(' ')).collect();
        Ok(kennel.host().run(&argv)?.trim().to_owned())
    }

    fn ask_postgresql(&self, kennel: &Kennel, sql: &str) -> Result<String> {
        // As anybody: it is the password that opens.
        let argv = ["setpriv", "--reuid=nobody", "psql", self.postgresql()?, "-Atqc", sql];
        Ok(kennel.host().run(&argv)?.trim().to_owned())
    }
}

/// `/run/kennel/secrets/cellar-main-api@7.env`
fn env_file(of: &Deployment) -> String {
    let unit = of.unit();
    let name = unit.trim_start_matches("kennel-").trim_end_matches(".service");
    format!("/run/kennel/secrets/{name}.env")
}
