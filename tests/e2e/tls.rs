//! HTTPS, as curl on the host sees it.

use kennel_tests::{Kennel, LIMIT, Output, Result, Settings, ensure};

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
    kennel.host().run(&["rm", "-r", DIRECTORY])?;
    Ok(())
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
