//! HTTPS, as curl on the host sees it.

use kennel_tests::{
    Bare, Forge, Kennel, LIMIT, Output, Result, Settings, ensure, expect_deployment,
};

/// Where the operator of this test keeps certificates.
const DIRECTORY: &str = "/etc/kennel-test-tls";

/// Who vouches, and a certificate of theirs.
const ISSUE: &str = r#"
    mkdir -p /etc/kennel-test-tls && cd /etc/kennel-test-tls
    new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    [ -e ca.pem ] ||
        openssl req -x509 $new -days 2 -subj /CN=operator -keyout ca.key -out ca.pem
    openssl req $new -subj /CN=site -addext "subjectAltName=DNS:$1" -keyout new.key -out new.csr
    openssl x509 -req -in new.csr -CA ca.pem -CAkey ca.key -days 2 -copy_extensions copy \
        -out new.pem
    chmod 600 new.key && mv new.key site.key && mv new.pem site.pem
"#;

/// From plain HTTP to HTTPS and back, with certificates that the operator brings and renews.
pub(crate) fn with_the_operators_certificate(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("sealed")?;
    let host = project.address("api", "main");
    project.push("main", &kennel.sources().service("api", "sealed-1"), "sealed")?;
    kennel.expect_page(&host, "/version", "sealed-1", LIMIT)?;

    let refused = secured(kennel, &host, "/version", &["--insecure"])?;
    ensure!(refused.code == 35, "without a certificate there is {refused:?}");
    let control = secured(kennel, &kennel.control_host(), "/health", &["--insecure"])?;
    ensure!(control.code == 0, "Kennel's own host says {control:?}");

    issue(kennel, &host)?;
    let files = format!(
        "\n[tls]\nhsts = \"1d\"\ncertificate = \"{DIRECTORY}/site.pem\"\nkey = \"{DIRECTORY}/site.key\"\n"
    );
    let settings = Settings::with(kennel, &files)?;
    let key = format!("{DIRECTORY}/site.key");
    kennel.wait_for("complaint about the key", LIMIT, || {
        let said = kennel.host().run(&["journalctl", "-q", "-u", "kennel-router", "-o", "cat"])?;
        let why = format!("not using a certificate: cannot read {key}: Permission denied");
        Ok(said.contains(&why).then_some(()))
    })?;
    kennel.expect_page(&host, "/version", "sealed-1", LIMIT)?;

    hand_over(kennel)?;
    let ca = format!("{DIRECTORY}/ca.pem");
    let answer = secured(kennel, &host, "/version", &["--cacert", &ca, "--include"])?;
    ensure!(answer.code == 0, "it says {answer:?}");
    ensure!(answer.stdout.trim_end().ends_with("sealed-1"), "the page is {}", answer.stdout);
    let hsts = "strict-transport-security: max-age=86400\r\n";
    ensure!(answer.stdout.contains(hsts), "its fields are {}", answer.stdout);
    ensure!(answer.stdout.starts_with("HTTP/2 200 "), "it speaks {}", answer.stdout);
    let older = ["--cacert", &ca, "--include", "--http1.1"];
    let older = secured(kennel, &host, "/version", &older)?.stdout;
    ensure!(older.starts_with("HTTP/1.1 200 OK\r\n"), "it speaks {older}");
    let plain = kennel.get(&host, "/version?a=b")?;
    ensure!(plain.status == 308, "over plain HTTP it says {}", plain.status);
    let there = plain.headers.get("location").map(|it| it.to_str()).transpose()?;
    ensure!(there == Some(&*format!("https://{host}/version?a=b")), "it sends to {there:?}");

    let before = serial(kennel, &host)?;
    issue(kennel, &host)?;
    hand_over(kennel)?;
    let after = serial(kennel, &host)?;
    ensure!(before != after, "the certificate is still {before}");

    drop(settings);
    kennel.expect_page(&host, "/version", "sealed-1", LIMIT)?;

    // The same without a word of it in the configuration.
    kennel.host().sh(&format!(
        "cd {DIRECTORY} && cat site.key site.pem > /var/lib/kennel/certs/any.pem &&
         chmod 640 /var/lib/kennel/certs/any.pem && systemctl reload kennel-router"
    ))?;
    let answer = secured(kennel, &host, "/version", &["--cacert", &ca])?;
    ensure!(answer.stdout.trim_end() == "sealed-1", "it says {answer:?}");
    let next = project.push("main", &kennel.sources().service("api", "sealed-2"), "again")?.after;
    let next = expect_deployment(kennel, &project, "api", &next, "active")?;
    let told = format!("cat /run/kennel/secrets/*@{}.env", next.id);
    let told = kennel.host().sh(&told)?;
    ensure!(told.contains(&format!("KENNEL_URL=\"https://{host}\"\n")), "it was told\n{told}");
    kennel.host().sh(&format!("rm -r {DIRECTORY} /var/lib/kennel/certs/any.pem"))?;
    kennel.host().run(&["systemctl", "reload", "kennel-router"])?;
    Ok(())
}

/// A certificate authority on the host. Its certificates are valid for a minute, it refuses a third of
/// all nonces, and one name.
const AUTHORITY: &str = r#"
    systemd-run --quiet --collect --unit=test-pebble --setenv=PEBBLE_WFE_NONCEREJECT=30 \
        --setenv=PEBBLE_VA_NOSLEEP=1 pebble -config /etc/kennel-test-tls/pebble.json "$@"
"#;

/// Starts it, and waits until it answers.
fn start_authority(kennel: &Kennel, more: &str, options: &[&str]) -> Result<()> {
    let config = format!(
        r#"{{"pebble": {{"listenAddress": "127.0.0.1:14000", "managementListenAddress":
             "127.0.0.1:15000", "certificate": "{DIRECTORY}/site.pem", "privateKey":
             "{DIRECTORY}/site.key", "httpPort": 80, "tlsPort": 443, "certificateValidityPeriod":
             60, {more}}}}}"#
    );
    let file = DIRECTORY.trim_start_matches('/');
    kennel.host().write(&format!("{file}/pebble.json"), config)?;
    kennel.host().run(&[&["sh", "-e", "-c", AUTHORITY, "sh"], options].concat())?;
    kennel.wait_for("certificate authority", LIMIT, || {
        let asked = kennel.host().try_run(&[
            "curl",
            "--silent",
            "--cacert",
            &format!("{DIRECTORY}/ca.pem"),
            "--output",
            &format!("{DIRECTORY}/root.pem"),
            "https://localhost:15000/roots/0",
        ])?;
        Ok((asked.code == 0).then_some(()))
    })
}

/// Certificates that Kennel orders, renews, and does without.
pub(crate) fn from_an_authority(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("vouched")?;
    let [api, web, lost] = ["api", "web", "lost"].map(|name| project.address(name, "main"));
    let control = kennel.control_host();
    let old_hosts = kennel.host().read("etc/hosts")?;
    let old_hosts = String::from_utf8(old_hosts)?;
    kennel.host().write("etc/hosts", format!("{old_hosts}127.0.0.1 {api} {web} {control}\n"))?;
    issue(kennel, "localhost")?;
    let refuses = format!(r#""domainBlocklist": ["{web}"]"#);
    start_authority(kennel, &refuses, &[])?;
    let settings = Settings::with(
        kennel,
        &format!(
            "\n[acme]\naccept_terms = true\ndirectory = \"https://localhost:14000/dir\"\n\
             ca_certificate = \"{DIRECTORY}/ca.pem\"\n"
        ),
    )?;

    let sources =
        kennel.sources().service("api", "vouched-1").site("web", "plain").site("lost", "x");
    project.push("main", &sources, "vouched")?;
    let first = vouched(kennel, &api, "/version", "")?;
    let plain = kennel.get(&api, "/version")?;
    ensure!(plain.status == 308, "over plain HTTP it says {}", plain.status);
    let mode = kennel.host().sh(&format!("stat -c '%U:%G %a' /var/lib/kennel/certs/{api}.pem"))?;
    ensure!(mode.trim() == "kennel-acme:kennel-router 640", "the certificate is {mode}");

    // The authority's own words, and those about a name without an address.
    kennel.expect_page(&web, "/", "plain", LIMIT)?;
    let words =
        [(&web, "(rejectedIdentifier)".to_owned()), (&lost, format!("{lost} has no address: "))];
    kennel.wait_for("reasons for the others", LIMIT, || {
        let said = kennel.host().run(&["journalctl", "-q", "-u", "kennel-acme", "-o", "cat"])?;
        let says = |(name, why): &(&String, String)| {
            let line = said.lines().find(|line| line.contains(&format!("certificate for {name}:")));
            line.is_some_and(|line| line.contains(why) && line.contains("again in 15 min"))
        };
        Ok(words.iter().all(says).then_some(()))
    })?;

    // Who is told an address is told the right one.
    let status = kennel.host().run(&["kennelctl", "status", "vouched"])?;
    for url in [format!("https://{api}"), format!("http://{web}"), format!("http://{lost}")] {
        ensure!(status.contains(&format!(" {url}\n")), "{url} is not in\n{status}");
    }
    let told = format!("KENNEL_URL=\"https://{api}\"\n");
    let environment = kennel.host().sh("cat /run/kennel/secrets/vouched-main-api@*.env")?;
    ensure!(environment.contains(&told), "the service's environment is\n{environment}");

    // Kennel's own host has one as well, and webhooks still come the old way.
    vouched(kennel, &control, "/health", "")?;
    let sources = sources.site("web", "plain as before");
    project.push("main", &sources, "told over plain HTTP")?;
    kennel.expect_page(&web, "/", "plain as before", LIMIT)?;

    // Renewed before its end, also by an authority that has forgotten the account meanwhile.
    kennel.host().run(&["systemctl", "stop", "test-pebble.service"])?;
    start_authority(kennel, &refuses, &[])?;
    let second = vouched(kennel, &api, "/version", &first)?;
    ensure!(first != second, "it has the same certificate");
    let left = kennel.host().run(&["ls", "-A", "/var/lib/kennel/challenges"])?;
    ensure!(left.is_empty(), "of proofs there is left {left}");

    drop(settings);
    kennel.host().run(&["systemctl", "stop", "test-pebble.service"])?;
    kennel.host().write("etc/hosts", old_hosts)?;
    kennel.host().sh(&format!("rm -r {DIRECTORY} /var/lib/kennel/certs/*"))?;
    kennel.host().run(&["systemctl", "reload", "kennel-router"])?;
    kennel.expect_page(&api, "/version", "vouched-1", LIMIT)?;
    Ok(())
}

/// A name server for one zone, which takes updates of TXT records alone.
const NAME_SERVER: &str = r#"
    mkdir -p /run/test-knot && cd /run/test-knot
    cat > knot.conf <<END
server:
  rundir: /run/test-knot
  listen: 127.0.0.1@53
database:
  storage: /run/test-knot
key:
- id: kennel
  algorithm: hmac-sha512
  secret: $2
acl:
- id: updates
  key: kennel
  action: update
  update-type: TXT
zone:
- domain: $1
  storage: /run/test-knot
  file: zone
  acl: updates
END
    cat > zone <<END
\$ORIGIN $1.
\$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
@ NS lost
ns A 127.0.0.1
lost A 127.0.0.9
* A 127.0.0.1
END
    systemd-run --quiet --collect --unit=test-knot knotd -c /run/test-knot/knot.conf
"#;

/// Proves names in DNS, to an authority that wants an account of its own to be named.
/// From nothing, since a wildcard is ordered for each project that there is.
pub(crate) fn one_wildcard_by_dns(bare: &Bare) -> Result<()> {
    const KEY: &str = "bm90IGEgc2VjcmV0IG91dHNpZGUgb2YgdGhpcyB0ZXN0";
    const OTHER: &str = "YW5vdGhlciBvbmUsIHdoaWNoIGlzIG5vdCB0aGF0IG9uZQ==";
    bare.host().run(&["apt-get", "install", "--quiet", "--quiet", "--yes", &bare.newer])?;
    let kennel = &bare.kennel()?;
    let base = kennel.base_domain();
    let domains = format!("domains = [\"*.{base}\"]\n");
    let project = kennel.project_on(Forge::Forgejo, "starred", &domains)?;
    let [api, web] = ["api", "web"].map(|name| project.address(name, "main"));
    let control = kennel.control_host();
    let wildcard = format!("*.{}", api.split_once('.').map_or("", |(_, parent)| parent));
    let old_hosts = String::from_utf8(kennel.host().read("etc/hosts")?)?;
    // `lost` has no server: it is in the zone's NS records, and nobody listens there.
    let names = format!("{api} {web} {control} ns.{base} kennel-looks-for-itself.{base}");
    let names = format!("127.0.0.1 {names}\n127.0.0.9 lost.{base}\n");
    kennel.host().write("etc/hosts", format!("{old_hosts}{names}"))?;
    issue(kennel, "localhost")?;
    kennel.host().run(&["sh", "-e", "-c", NAME_SERVER, "sh", base, KEY])?;
    let account = format!(
        r#""externalAccountBindingRequired": true, "externalAccountMACKeys": {{"kid-1": "{KEY}"}}"#
    );
    start_authority(kennel, &account, &["-dnsserver", "127.0.0.1:53"])?;
    kennel.host().sh(&format!(
        "printf %s {KEY} > {DIRECTORY}/account.key
         chgrp kennel-acme {DIRECTORY}/account.key && chmod 640 {DIRECTORY}/account.key
         umask 077 && echo {OTHER} > /etc/kennel/acme/tsig-key"
    ))?;
    let settings = Settings::with(
        kennel,
        &format!(
            "\n[acme]\naccept_terms = true\ndirectory = \"https://localhost:14000/dir\"\n\
             ca_certificate = \"{DIRECTORY}/ca.pem\"\nexternal_account_id = \"kid-1\"\n\
             external_account_key_file = \"{DIRECTORY}/account.key\"\n[acme.dns]\n\
             provider = \"rfc2136\"\nserver = \"127.0.0.1\"\nkey_name = \"kennel\"\n\
             algorithm = \"hmac-sha512\"\n"
        ),
    )?;
    let sources = kennel.sources().service("api", "starred-1");
    project.push("main", &sources, "starred")?;

    // With another key the server's own words, and some patience.
    kennel.wait_for("the server's words about the key", LIMIT, || {
        kennel.host().try_run(&["systemctl", "start", "kennel-acme.service"])?;
        let said = kennel.host().try_run(&["kennelctl", "doctor"])?.stdout;
        let line = said.lines().find(|line| line.contains(&format!("{wildcard}: ")));
        Ok(line.filter(|it| it.contains("BADSIG") && it.contains("again in")).map(|_| ()))
    })?;
    kennel.host().sh(&format!(
        "umask 077; echo {KEY} > /etc/kennel/acme/tsig-key
         systemctl stop kennel-acme.service; rm /var/lib/kennel/acme/attempts.json"
    ))?;

    // Killed while the world does not yet see the record, which the next run removes.
    kennel.host().run(&["systemctl", "start", "--no-block", "kennel-acme.service"])?;
    let texts = format!("_acme-challenge.starred.{base}");
    kennel.wait_for(
        "record",
        LIMIT,
        || Ok((!records(kennel, &texts)?.is_empty()).then_some(())),
    )?;
    kennel.host().run(&["systemctl", "kill", "--signal=KILL", "kennel-acme.service"])?;
    let left = records(kennel, &texts)?;
    ensure!(left.lines().count() == 1, "of the killed run there is left {left:?}");
    // Waited for once, the server that nobody runs has been seen to be.
    kennel.host().sh(&format!(
        "systemctl reset-failed kennel-acme.service || true
         knot() {{ knotc -c /run/test-knot/knot.conf \"$@\"; }}
         knot zone-begin {base}
         knot zone-unset {base} {base}. NS lost.{base}.
         knot zone-commit {base}"
    ))?;

    let first = vouched(kennel, &api, "/version", "")?;
    let names = kennel.host().sh(&format!(
        "openssl x509 -noout -ext subjectAltName -in /var/lib/kennel/certs/_.starred.{base}.pem"
    ))?;
    ensure!(names.contains(&format!("DNS:{wildcard}")), "it is for {names}");
    let left = records(kennel, &texts)?;
    ensure!(left.is_empty(), "of proofs there is left {left:?}");

    // A second output is covered already: nothing is ordered for it, not even on a round of its own.
    let sources = sources.site("web", "covered");
    project.push("main", &sources, "a site as well")?;
    let root = format!("{DIRECTORY}/root.pem");
    kennel.wait_for("site over HTTPS", LIMIT, || {
        let answer = secured(kennel, &web, "/", &["--cacert", &root])?;
        Ok((answer.code == 0 && answer.stdout.contains("covered")).then_some(()))
    })?;
    let kept = kennel.host().run(&["ls", "/var/lib/kennel/certs"])?;
    ensure!(!kept.contains(&web) && !kept.contains(&api), "there are certificates {kept}");
    // Renewed before its end.
    vouched(kennel, &api, "/version", &first)?;
    // A wildcard that the project has as its domain gets one as well.
    let toml = format!("[services.api]\ncustom_domain = \"*.{base}\"\n[static_sites.web]\n");
    project.push("main", &sources.kennel_toml(&toml), "a host for everybody")?;
    vouched(kennel, &format!("anybody.{base}"), "/version", "")?;

    drop(settings);
    kennel.host().run(&["systemctl", "stop", "test-pebble.service", "test-knot.service"])?;
    kennel.host().write("etc/hosts", old_hosts)?;
    kennel.host().sh(&format!(
        "systemctl stop kennel-acme.service
         rm -r {DIRECTORY} /run/test-knot /etc/kennel/acme/* /var/lib/kennel/certs/* \
             /var/lib/kennel/acme/*
         systemctl reload kennel-router"
    ))?;
    kennel.expect_page(&api, "/version", "starred-1", LIMIT)?;
    Ok(())
}

/// The TXT records that the name server has for a name, one a line.
fn records(kennel: &Kennel, name: &str) -> Result<String> {
    let command = ["knotc", "-c", "/run/test-knot/knot.conf", "zone-read", kennel.base_domain()];
    let owner = format!("{name}.");
    let read = kennel.host().try_run(&[&command[..], &[&owner, "TXT"]].concat())?;
    // It is an error if there is none.
    Ok(if read.code == 0 { read.stdout } else { String::new() })
}

/// Waits until curl believes the host, and it has another certificate than this one.
fn vouched(kennel: &Kennel, host: &str, path: &str, before: &str) -> Result<String> {
    let root = format!("{DIRECTORY}/root.pem");
    kennel.wait_for("certificate of the authority", LIMIT, || {
        kennel.host().run(&["systemctl", "start", "kennel-acme.service"])?;
        let answer = secured(kennel, host, path, &["--cacert", &root])?;
        let serial = serial(kennel, host)?;
        Ok((answer.code == 0 && serial != before).then_some(serial))
    })
}

fn issue(kennel: &Kennel, host: &str) -> Result<()> {
    kennel.host().run(&["sh", "-e", "-c", ISSUE, "sh", host])?;
    Ok(())
}

/// The key becomes the router's to read, and the router is told.
fn hand_over(kennel: &Kennel) -> Result<()> {
    kennel.host().sh(&format!(
        "chgrp kennel-router {DIRECTORY}/site.key; chmod 640 {DIRECTORY}/site.key
         systemctl reload kennel-router"
    ))?;
    Ok(())
}

/// Asks for a page with curl, from the host itself.
fn secured(kennel: &Kennel, host: &str, path: &str, more: &[&str]) -> Result<Output> {
    let (to, url) = (format!("{host}:443:127.0.0.1"), format!("https://{host}{path}"));
    let argv = ["curl", "--silent", "--show-error", "--max-time", "20", "--resolve", &to, &url];
    kennel.host().try_run(&[&argv[..], more].concat())
}

/// Which certificate a new connection gets.
fn serial(kennel: &Kennel, host: &str) -> Result<String> {
    kennel.host().sh(&format!(
        "openssl s_client -connect 127.0.0.1:443 -servername {host} < /dev/null 2> /dev/null |
             openssl x509 -noout -serial"
    ))
}
