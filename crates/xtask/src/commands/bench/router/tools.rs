//! The programs that load: wrk and h2load.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ground::{HOST, STATIC};
use super::proxies::{Proxy, Stage};

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Requests, or what else is counted.
    pub(super) count: f64,
    pub(super) secs: f64,
    /// Of connections, and answers that were not 2xx.
    pub(super) errors: u64,
    /// None if it is 0.
    pub(super) p99_ms: f64,
}

impl Done {
    /// A second.
    pub(super) fn rate(&self) -> f64 {
        self.count / self.secs
    }
}

/// What wrk asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) host: &'static str,
    pub(super) path: &'static str,
    /// Of the answer, or of what is uploaded.
    pub(super) bytes: usize,
    pub(super) connections: usize,
    /// Whether each connection is for one request.
    pub(super) closes: bool,
    pub(super) uploads: bool,
}

impl Ask {
    /// Small, over connections that are kept.
    pub(super) const fn service(path: &'static str, bytes: usize, connections: usize) -> Self {
        Self { host: HOST, path, bytes, connections, closes: false, uploads: false }
    }

    /// A file of the static site.
    pub(super) const fn file(path: &'static str, bytes: usize, connections: usize) -> Self {
        Self { host: STATIC, path, bytes, connections, closes: false, uploads: false }
    }
}

/// HTTP without TLS, by wrk.
pub(super) fn wrk(stage: &Stage, proxy: &Proxy, ask: Ask, time: Duration) -> Result<Done> {
    let cpus = stage.ground.for_others(stage.layout);
    let mut command = stage.ground.on(&cpus, Path::new("wrk"));
    command
        .args(["-t1", "--timeout", "30s"])
        .arg(format!("-c{}", ask.connections))
        .arg(format!("-d{}s", time.as_secs()))
        .arg("-s")
        .arg(stage.ground.dir.join("wrk.lua"))
        .arg("-H")
        .arg(format!("Host: {}", ask.host));
    if ask.closes {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://127.0.0.1:{}{}", proxy.port, ask.path));
    if ask.uploads {
        command.arg("--").arg(ask.bytes.to_string());
    }
    let uploaded = stage.sink.bytes();
    let said = said(&mut command)?;
    let line = said.lines().find(|line| line.starts_with('{')).context("wrk said no figures")?;
    let said: Value = serde_json::from_str(line)?;
    let number = |key: &str| {
        said.get(key).and_then(Value::as_u64).with_context(|| format!("wrk said no {key}"))
    };
    let (requests, bytes) = (number("requests")?, number("bytes")?);
    // Long ones are under way at the end: what was moved counts.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = match ask.bytes {
        0 => 0.0,
        _ if ask.uploads => (stage.sink.bytes() - uploaded) as f64 / ask.bytes as f64,
        size if size >= 1 << 20 => bytes as f64 / size as f64,
        _ => requests as f64,
    };
    let whole = requests.saturating_mul(ask.bytes as u64);
    ensure!(ask.uploads || bytes >= whole, "answers were shorter than {} bytes", ask.bytes);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (secs, p99_ms) = (number("micros")? as f64 / 1e6, number("p99")? as f64 / 1000.0);
    Ok(Done { count, secs, errors: number("errors")?, p99_ms })
}

/// HTTP over TLS, by h2load: HTTP/1.1 over kept connections, or HTTP/2 with many requests in each.
pub(super) fn h2load(
    stage: &Stage,
    proxy: &Proxy,
    path: &str,
    multiplexed: bool,
    time: Duration,
) -> Result<Done> {
    let cpus = stage.ground.for_others(stage.layout);
    let mut command = stage.ground.on(&cpus, Path::new("h2load"));
    command.arg("-t1").arg(format!("-D{}", time.as_secs()));
    command.args(if multiplexed { ["-c8", "-m32"] } else { ["-c64", "--h1"] });
    command
        .arg(format!("--connect-to=127.0.0.1:{}", proxy.tls_port))
        .arg(format!("https://{HOST}{path}"));
    let said = said(&mut command)?;
    let wanted = if multiplexed { "Application protocol: h2" } else { "protocol: http/1.1" };
    ensure!(said.contains(wanted), "h2load was not given what it wanted:\n{said}");
    let line = |start: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(start));
        line.with_context(|| format!("h2load did not say `{start}…`:\n{said}"))
    };
    // "requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout"
    let of = |line: &str, word: &str| -> Result<u64> {
        let part = line.split(',').find_map(|part| part.trim().strip_suffix(word));
        let number = part.with_context(|| format!("h2load said no {word}: {line}"))?;
        Ok(number.trim().parse()?)
    };
    let requests = line("requests: ")?;
    let succeeded = of(requests, " succeeded")?;
    let failed = of(requests, " failed")? + of(requests, " errored")?;
    let good = of(line("status codes: ")?, " 2xx")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = good as f64;
    let errors = failed + succeeded.saturating_sub(good);
    Ok(Done { count, secs: time.as_secs_f64(), errors, p99_ms: 0.0 })
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} failed: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}
