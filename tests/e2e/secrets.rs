//! Secrets: set on the host, sealed at rest, and with nobody but the service that they are for.

use std::collections::BTreeSet;

use kennel_core::KillPoint;
use kennel_tests::{
    Context, Holds, Kennel, LIMIT, Pushed, Result, Rows, Sources, bail, ensure, expect_deployment,
    expect_failure, expect_no_leftovers, expect_nothing_left,
};

const TOML: &str =
    "[services.api]\nsecrets = [\"JWT_SECRET\", \"PLAIN\"]\ncredentials = [\"TLS_KEY\"]\n";

/// Everything that quoting could get wrong.
const AWKWARD: &str = "a b\t\"c\" 'd' $HOME `id` \\n %n #e;\nPORT=1\n\nend\\";

/// Several lines, which arrive with the newline at their end.
const KEY: &str = "-----BEGIN KEY-----\nMC4CAQ+/==\n-----END KEY-----\n";

/// Missing ones fail by name; set ones arrive, each branch its own; bad ones are refused.
pub(crate) fn reach_their_services(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("vault")?;
    project.push("main", &kennel.sources().service("api", "vault-0"), "without")?;
    let [main, other] = ["main", "try"].map(|branch| project.address("api", branch));
    kennel.expect_page(&main, "/version", "vault-0", LIMIT)?;

    let pushed = project.push("main", &naming(kennel, "vault-1"), "with secrets")?;
    let words = ["the secrets JWT_SECRET, PLAIN, TLS_KEY do not exist", "for production of vault"];
    expect_failure(kennel, &project, "api", &pushed.after, &words)?;
    kennel.expect_page(&main, "/version", "vault-0", LIMIT)?;
    refuse_bad_ones(kennel)?;

    set(kennel, &["vault", "JWT_SECRET", "--production"], "p-r-o-d\n")?;
    set(kennel, &["vault", "TLS_KEY"], KEY)?;
    // As agenix and sops-nix leave them: a link to a plain file.
    kennel
        .host()
        .sh("install -m 400 /dev/null /run/vault-plain && echo plain >/run/vault-plain && \
         ln -s /run/vault-plain /etc/kennel/secrets/vault/PLAIN")?;
    redeploy(kennel, "vault/main", &["--rebuild"])?;
    // No patience here: it said that it serves.
    let page = kennel.get(&main, "/version")?;
    ensure!(page.text().trim() == "vault-1", "it serves {}", page.text());
    expect_handed(kennel, &main, "variable=JWT_SECRET", "p-r-o-d")?;
    expect_handed(kennel, &main, "variable=PLAIN", "plain")?;
    expect_handed(kennel, &main, "credential=TLS_KEY", KEY)?;
    expect_handed(kennel, &main, "variable=TLS_KEY", None)?;
    expect_handed(kennel, &main, "credential=JWT_SECRET", None)?;

    // Another branch gets nothing of production's.
    let pushed = project.push("try", &naming(kennel, "vault-try"), "elsewhere")?;
    let words = ["the secret JWT_SECRET does not exist for previews of vault"];
    expect_failure(kennel, &project, "api", &pushed.after, &words)?;
    set(kennel, &["vault", "JWT_SECRET", "--preview"], AWKWARD)?;
    redeploy(kennel, "vault/try", &["--rebuild"])?;
    expect_handed(kennel, &other, "variable=JWT_SECRET", AWKWARD)?;
    expect_handed(kennel, &other, "credential=TLS_KEY", KEY)?;
    expect_handed(kennel, &main, "variable=JWT_SECRET", "p-r-o-d")?;
    // The newlines made no variable of their own.
    let env: serde_json::Value = serde_json::from_slice(&kennel.get(&other, "/env")?.body)?;
    ensure!(env.get("PORT").is_some_and(|port| port != "1"), "the environment is {env}");

    replace_and_remove(kennel, &main)?;
    let rows = expect_no_leftovers(kennel, "vault")?;
    ensure!(rows.of("vault").any(|it| it.state == "retired"), "nothing was replaced");
    // A file that was moved opens under no other name, and what serves goes on.
    kennel.host().sh("cd /etc/kennel/secrets/vault; cp TLS_KEY.cred production/JWT_SECRET.cred")?;
    let said = kennel.host().try_run(&["kennelctl", "redeploy", "vault/main"])?;
    ensure!(
        said.code == 1 && said.stdout.contains("JWT_SECRET") && said.stdout.contains("moved"),
        "a file under another name is opened: {said:?}"
    );
    expect_handed(kennel, &main, "variable=JWT_SECRET", "for everything")?;

    kennel.host().run(&["kennelctl", "teardown", "vault/main", "--yes"])?;
    kennel.host().run(&["kennelctl", "teardown", "vault/try", "--yes"])?;
    expect_nothing_left(kennel, "vault").map(drop)
}

/// What cannot be a secret is said at once, and nothing is kept of it.
fn refuse_bad_ones(kennel: &Kennel) -> Result<()> {
    let long = "x".repeat(32 * 1024 + 1);
    for (name, value, words) in [
        ("JWT_SECRET", "", "it is empty"),
        ("JWT_SECRET", "\n", "it is empty"),
        ("JWT_SECRET", "a\0b", "NUL"),
        ("JWT_SECRET", &long, "longer than 32 KiB"),
        ("PORT", "x", "Kennel sets it"),
        ("KENNEL_URL", "x", "Kennel's own"),
        ("jwt", "x", "only A-Z, 0-9 and `_`"),
        ("../JWT", "x", "only A-Z, 0-9 and `_`"),
    ] {
        let argv = ["kennelctl", "secret", "set", "vault", name];
        match kennel.host().run_with_input(&argv, value.as_bytes()) {
            Ok(said) => bail!("{name} was taken, though {words}: {said}"),
            Err(error) => {
                ensure!(error.to_string().contains(words), "it does not say {words:?}: {error}");
            }
        }
    }
    let listed = kennel.host().run(&["kennelctl", "secret", "list", "vault"])?;
    ensure!(listed.contains("no secrets"), "something was kept: {listed}");
    Ok(())
}

/// A second value replaces the first at the next deployment; one for both serves whoever has none
/// of their own; a removed one is told to whom it is missing.
fn replace_and_remove(kennel: &Kennel, main: &str) -> Result<()> {
    let said = set(kennel, &["vault", "JWT_SECRET", "--production"], "newer")?;
    ensure!(
        said.contains("in place of") && said.contains("kennelctl redeploy vault/main\n"),
        "it does not say what it replaced and what comes next: {said}"
    );
    expect_handed(kennel, main, "variable=JWT_SECRET", "p-r-o-d")?;
    redeploy(kennel, "vault/main", &[])?;
    expect_handed(kennel, main, "variable=JWT_SECRET", "newer")?;

    let remove = ["kennelctl", "secret", "rm", "vault", "JWT_SECRET", "--production"];
    let removed = kennel.host().try_run(&remove)?;
    ensure!(
        removed.code == 0 && removed.stderr.contains("vault/main/api still names JWT_SECRET"),
        "it does not say who misses it: {removed:?}"
    );
    // The dispatcher writes it down a moment later.
    kennel.wait_for("removal in the audit", LIMIT, || {
        let audit =
            kennel.ctl(&["audit", "vault", "--action", "secret_removed", "--by", "root"])?;
        let subject = "JWT_SECRET for production";
        let rows = audit.as_array().context("no array")?;
        Ok(rows.iter().any(|row| row.get("subject").is_some_and(|it| it == subject)).then_some(()))
    })?;
    let again = kennel.host().try_run(&remove)?;
    ensure!(again.code == 3 && again.stderr.contains("with --preview"), "{again:?}");
    set(kennel, &["vault", "JWT_SECRET"], "for everything")?;
    redeploy(kennel, "vault/main", &[])?;
    expect_handed(kennel, main, "variable=JWT_SECRET", "for everything")?;

    let listed = kennel.ctl(&["secret", "list", "vault"])?;
    let lines: BTreeSet<String> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| format!("{} {} {} {}", it["name"], it["scope"], it["sealed"], it["used_by"]))
        .collect();
    let wanted = [
        r#""JWT_SECRET" "both" true ["vault/main/api"]"#,
        r#""JWT_SECRET" "preview" true ["vault/try/api"]"#,
        r#""PLAIN" "both" false ["vault/main/api","vault/try/api"]"#,
        r#""TLS_KEY" "both" true ["vault/main/api","vault/try/api"]"#,
    ];
    ensure!(lines == wanted.map(str::to_owned).into(), "listed is {listed}");
    // What Kennel keeps, systemd's own tool opens.
    let opened = kennel.host().run(&[
        "systemd-creds",
        "decrypt",
        "--name=kennel.vault.both.TLS_KEY",
        "/etc/kennel/secrets/vault/TLS_KEY.cred",
        "-",
    ])?;
    ensure!(opened == KEY, "systemd-creds opens something else");
    Ok(())
}

/// Nowhere on the host but where a secret has to be, while it is handed over and afterwards; and
/// after a reboot it is handed over again, whoever else's is missing.
pub(crate) fn stay_secret_and_survive_a_reboot(kennel: &Kennel) -> Result<()> {
    let (project, poor) = (kennel.project("canary")?, kennel.project("poor")?);
    let random = kennel.host().run(&["od", "-An", "-tx1", "-N24", "/dev/urandom"])?;
    let canary = format!("canary{}", random.split_whitespace().collect::<String>());
    let toml = "[services.api]\nsecrets = [\"CANARY\"]\ncredentials = [\"CANARY\"]\n";
    let sources = |version| kennel.sources().service("api", version).kennel_toml(toml);
    set(kennel, &["canary", "CANARY"], &canary)?;
    set(kennel, &["poor", "CANARY"], "meagre")?;
    let sealed = "/etc/kennel/secrets/canary/CANARY.cred";
    let mode = kennel.host().run(&["stat", "-c", "%a %U:%G", sealed])?;
    ensure!(mode.trim() == "600 root:root", "{sealed} is {mode}");

    let holds = Holds::listen(kennel)?;
    let mut armed = holds.of("canary");
    armed.arm(&[KillPoint::EnvWritten])?;
    let pushed = project.push("main", &sources("canary-1"), "one")?;
    armed.expect(KillPoint::EnvWritten, LIMIT)?;
    let env_file = of_secrets(kennel, &pushed, "env")?;
    expect_only(kennel, &canary, &[&env_file])?;
    armed.release(KillPoint::EnvWritten)?;

    let main = project.address("api", "main");
    kennel.expect_page(&main, "/version", "canary-1", LIMIT)?;
    expect_handed(kennel, &main, "variable=CANARY", &*canary)?;
    expect_handed(kennel, &main, "credential=CANARY", &*canary)?;
    let unit = Rows::read(kennel)?;
    let unit = unit.at("canary", "api", &pushed.after).context("it has no row")?.unit();
    let credential = format!("/run/credentials/{unit}/CANARY");
    expect_only(kennel, &canary, &[&env_file, &credential])?;
    let mode = kennel.host().run(&["stat", "-c", "%a %U:%G", &env_file])?;
    ensure!(mode.trim() == "400 root:root", "{env_file} is {mode}");

    let pushed = poor.push("main", &sources("poor-1"), "one")?;
    expect_deployment(kennel, &poor, "api", &pushed.after, "active")?;
    kennel.host().run(&["kennelctl", "secret", "rm", "poor", "CANARY"])?;
    // Restoring what runs takes nothing away from it.
    kennel.host().run(&["systemctl", "restart", "kennel-restore.service"])?;
    expect_handed(kennel, &poor.address("api", "main"), "variable=CANARY", "meagre")?;
    let doctor = kennel.host().try_run(&["kennelctl", "doctor"])?;
    ensure!(
        doctor.stdout.contains("poor/main/api runs with the secret CANARY, which is gone"),
        "the doctor does not see what a reboot would show:\n{}",
        doctor.stdout
    );

    kennel.host().reboot()?;
    expect_page_with(kennel, &main, &canary)?;
    expect_only(kennel, &canary, &[&env_file, &credential])?;
    let journal = kennel.host().journal(&["-b", "-u", "kennel-restore", "-o", "cat"])?;
    ensure!(
        journal.contains("poor/main/api: the secret CANARY does not exist"),
        "it is not said whose secret is missing:\n{journal}"
    );
    // Set again, it is handed over without a new deployment.
    set(kennel, &["poor", "CANARY"], "richer")?;
    kennel.host().run(&["systemctl", "restart", "kennel-restore.service"])?;
    let address = poor.address("api", "main");
    kennel.expect_page(&address, "/version", "poor-1", LIMIT)?;
    expect_handed(kennel, &address, "variable=CANARY", "richer")
}

/// `/run/kennel/secrets/canary-main-api@7.env`
fn of_secrets(kennel: &Kennel, pushed: &Pushed, suffix: &str) -> Result<String> {
    let rows = Rows::read(kennel)?;
    let unit = rows.at("canary", "api", &pushed.after).context("it has no row")?.unit();
    let name = unit.trim_start_matches("kennel-").trim_end_matches(".service");
    Ok(format!("/run/kennel/secrets/{name}.{suffix}"))
}

/// Looks through the whole host for the secret, as it is and in Base64, and wants it in these files
/// alone: files of every kind, the journal, arguments, environments, and what systemd tells.
fn expect_only(kennel: &Kennel, canary: &str, files: &[&str]) -> Result<()> {
    let host = kennel.host();
    let mut patterns = format!("{canary}\n");
    for before in ["", "x", "xx"] {
        let text = format!("{before}{canary}");
        let encoded = host.run_with_input(&["base64", "-w0"], text.as_bytes())?;
        // The first and last characters depend on what stands beside.
        let inner = encoded.get(4..encoded.len().saturating_sub(4)).context("it is too short")?;
        patterns.push_str(&format!("{inner}\n"));
    }
    // The patterns come by standard input: an argument would be found.
    let look = |argv: &[&str]| -> Result<BTreeSet<String>> {
        let found = host.run_with_input(argv, patterns.as_bytes())?;
        Ok(found.lines().map(str::to_owned).collect())
    };
    let found = look(&["sh", "-uc", LOOK])?;
    let wanted: BTreeSet<String> = files.iter().map(|file| (*file).to_owned()).collect();
    ensure!(found == wanted, "the secret is in {found:?}, and should be in {wanted:?}");
    // It finds what it looks for where nobody quotes it.
    host.run_with_input(&["tee", "/var/tmp/spilt"], format!("\0{canary}\0").as_bytes())?;
    let found = look(&["sh", "-uc", LOOK])?;
    host.run(&["rm", "/var/tmp/spilt"])?;
    ensure!(found.contains("/var/tmp/spilt"), "it would not be found: {found:?}");
    Ok(())
}

/// Prints where the patterns are found. The service's own environment is where it belongs.
const LOOK: &str = r#"
    patterns=$(cat)
    found() { printf '%s\n' "$patterns" | grep -qaF -f /dev/stdin "$1" && echo "$2"; }
    printf '%s\n' "$patterns" |
        grep -rlaF -D skip -f /dev/stdin /etc /var /run /tmp /root /srv /usr/lib/systemd /nix/var
    out=$(mktemp -p /dev/shm)
    journalctl --sync; journalctl --no-pager --all -o export >"$out"; found "$out" journal
    systemctl show --all --no-pager '*' >"$out"; found "$out" 'systemctl show'
    systemctl cat --no-pager 'kennel*' >"$out" 2>&1; found "$out" 'systemctl cat'
    busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
        Dump >"$out"; found "$out" 'systemd-analyze dump'
    for command in 'status --json' 'builds --json' 'secret list canary --json' 'secret list canary' \
        'check --json' 'doctor --json' 'logs canary/main'; do
        kennelctl $command >"$out" 2>&1; found "$out" "kennelctl $command"
    done
    rm "$out"
    for process in /proc/[0-9]*; do
        found "$process/cmdline" "$process/cmdline"
        # The sample program is the only one that may know it.
        [ "$(cat "$process/comm" 2>/dev/null)" = api ] || found "$process/environ" "$process/environ"
    done 2>/dev/null
    :
"#;

/// Waits until the service is up and has the value.
fn expect_page_with(kennel: &Kennel, address: &str, value: &str) -> Result<()> {
    kennel.expect_page(address, "/version", "canary-1", LIMIT)?;
    expect_handed(kennel, address, "variable=CANARY", value)?;
    expect_handed(kennel, address, "credential=CANARY", value)
}

/// What the service was handed under a name, by its digest.
pub(crate) fn expect_handed<'v>(
    kennel: &Kennel,
    address: &str,
    what: &str,
    value: impl Into<Option<&'v str>>,
) -> Result<()> {
    let wanted = match value.into() {
        None => "none".to_owned(),
        Some(value) => {
            let hash = value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            format!("{} {hash:016x}", value.len())
        }
    };
    let told = kennel.get(address, &format!("/digest?{what}"))?;
    let told = told.text().trim().to_owned();
    ensure!(told == wanted, "{address} was handed {told} as {what}, not {wanted}");
    Ok(())
}

fn naming(kennel: &Kennel, version: &str) -> Sources {
    kennel.sources().service("api", version).kennel_toml(TOML)
}

fn set(kennel: &Kennel, arguments: &[&str], value: &str) -> Result<String> {
    let argv = [&["kennelctl", "secret", "set"], arguments].concat();
    let said = kennel.host().run_with_input(&argv, value.as_bytes())?;
    ensure!(!said.contains(value.trim_end()), "it shows what it was given: {said}");
    Ok(said)
}

fn redeploy(kennel: &Kennel, what: &str, more: &[&str]) -> Result<()> {
    let argv = [&["kennelctl", "redeploy", what], more].concat();
    kennel.host().run(&argv).map(drop)
}
