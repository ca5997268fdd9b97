//! Whoever means harm, or does it by mistake: each is bounded, and the others go on.
//!
//! Every number here has an end, and everything stays in the host's own network.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kennel_tests::{
    Ask, Asked, BuildRow, Context, Event, Forge, Kennel, LIMIT, NO_COMMIT, Project, Result, Rows,
    anyhow, builders, ensure, expect_deployment, expect_failure, expect_gone, expect_nothing_left,
    say_figures,
};
use xtask::forge::sign;

/// Forgejo and Gitea give up then.
const FORGES_PATIENCE: Duration = Duration::from_secs(5);

/// The bell is rung 100,000 times as fast as it can be, and then for seconds without a pause: the
/// dispatcher is started a few times, and hears a push in the middle of it.
pub(crate) fn ringing(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("ringing")?;
    let before = project.commit("main", &kennel.sources().site("web", "rung"), "rung")?;
    kennel.wait_for("dispatcher at rest", LIMIT, || {
        Ok((state_of(kennel, "kennel-dispatch.service")? == "inactive").then_some(()))
    })?;
    let cursor = cursor(kennel)?;
    let begun = Instant::now();
    let rung = ring(kennel, 100_000, 0)?;
    ensure!(rung.sent > 0 && rung.other == 0, "the bell was rung like this: {rung:?}");
    let over = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let ringing = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::SeqCst) {
                let rung = ring(kennel, 500, 2_000)?;
                ensure!(rung.other == 0, "the bell was rung like this: {rung:?}");
            }
            Ok(())
        });
        let served = (|| {
            project.tell(&before.event())?;
            kennel.expect_page(&project.address("web", "main"), "/", "rung", LIMIT)?;
            // After it, nothing is left to do but to hear rings.
            kennel.wait_for("seconds of ringing", LIMIT, || {
                Ok((begun.elapsed() > Duration::from_secs(10)).then_some(()))
            })
        })();
        over.store(true, Ordering::SeqCst);
        ringing.join().map_err(|_panic| anyhow!("the ringer panicked"))??;
        served
    })?;
    let took = begun.elapsed();
    for unit in ["kennel-dispatch.socket", "kennel-dispatch.timer", "dbus.service"] {
        ensure!(state_of(kennel, unit)? == "active", "{unit} is {}", state_of(kennel, unit)?);
    }
    let starts = said_since(kennel, &cursor, "systemd", "Started kennel-dispatch.service")?;
    let most = 3 + took.as_secs();
    ensure!((1..=most).contains(&starts), "it was started {starts} times in {took:?}");
    kennel.wait_for("dispatcher at rest", LIMIT, || {
        Ok((state_of(kennel, "kennel-dispatch.service")? == "inactive").then_some(()))
    })?;
    Ok(())
}

/// How often the bell took a ring, and how often it could not be rung for another reason than
/// that it had been.
#[derive(Debug)]
pub(crate) struct Rung {
    sent: u64,
    other: u64,
}

/// Rings as the receiver may, with a pause of so many microseconds after each.
pub(crate) fn ring(kennel: &Kennel, times: u32, pause: u32) -> Result<Rung> {
    let script = format!(
        "use Socket; use Errno; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
         my $bell = pack_sockaddr_un('/run/kennel/bell'); my ($sent, $full, $other) = (0, 0, 0);
         for (1..{times}) {{
             if (defined send($s, '!', MSG_DONTWAIT, $bell)) {{ $sent++ }}
             elsif ($!{{EAGAIN}}) {{ $full++ }} else {{ $other++ }}
             select(undef, undef, undef, {pause} / 1e6) if {pause};
         }}
         print \"$sent $full $other\";"
    );
    let said =
        kennel.host().run(&["runuser", "-u", "kennel-webhook", "--", "perl", "-e", &script])?;
    let counts: Vec<u64> = said.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [sent, full, other] = counts[..] else { return Err(anyhow!("it says {said:?}")) };
    ensure!(sent + full + other == u64::from(times), "it says {said:?}");
    Ok(Rung { sent, other })
}

/// 2,000 connections that say nothing, or begin and do not end, beside a forge that delivers.
pub(crate) fn senders(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Github, "besieged", "branches = [\"none\"]")?;
    let deliver = |number: usize| -> Result<()> {
        // Zeros alone would be a deletion.
        let after = format!("{:040x}", number + 1);
        let branch = format!("b{number}");
        let event = Event::Push { branch, before: NO_COMMIT.to_owned(), after };
        let begun = Instant::now();
        let answers = project.deliver(&event)?;
        let took = begun.elapsed();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        ensure!(statuses == [202], "delivery {number} is answered {statuses:?}");
        ensure!(took < FORGES_PATIENCE, "the answer to delivery {number} took {took:?}");
        Ok(())
    };
    deliver(0)?;
    let receiver = main_pid(kennel, "kennel-webhook.service")?;
    let router = main_pid(kennel, "kennel-router.service")?;
    packed(kennel, &project, receiver)?;
    let head = format!(
        "POST /webhook/besieged HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={}\r\nContent-Length: 30000\r\n\r\n",
        kennel.control_host(),
        "0".repeat(64)
    );
    let in_head = head.get(..60).context("the head is short")?.to_owned();
    let in_body = format!("{head}{{\"ref\": \"");
    let mut stalled = Vec::new();
    let netns = kennel.host().netns()?;
    let mut number = 0;
    for (count, said) in [(400, ""), (400, &in_head), (1_200, &in_body)] {
        for _ in 0..count {
            let mut stream = netns.connect(80)?;
            stream.write_all(said.as_bytes())?;
            stalled.push(stream);
            if stalled.len() % 100 == 0 {
                number += 1;
                deliver(number)?;
            }
        }
    }
    // Byte by byte they go on, those that still may.
    for _ in 0..10 {
        let drip = |stream: &mut TcpStream| stream.write_all(b"x").is_ok();
        let alive = stalled.iter_mut().filter_map(|stream| drip(stream).then_some(())).count();
        ensure!(alive > 0, "not one of them was left");
        number += 1;
        deliver(number)?;
    }
    let crowded = said_by(kennel, receiver, "senders at once")?;
    ensure!(crowded >= 1, "the journal does not say that senders were closed");
    drop(stalled);

    bombs(kennel, &project)?;
    deliver(number + 1)?;
    let asked = Asked::about(kennel, "besieged")?;
    ensure!(
        asked.len() == number + 2,
        "there are {} rows for {} deliveries",
        asked.len(),
        number + 2
    );

    // The same processes as before, and never larger than they may be.
    ensure!(main_pid(kennel, "kennel-webhook.service")? == receiver, "another receiver runs");
    ensure!(main_pid(kennel, "kennel-router.service")? == router, "another router runs");
    let (receiver, router) = (peak(kennel, receiver)?, peak(kennel, router)?);
    ensure!(receiver < 256 << 10, "the receiver had {receiver} KiB");
    ensure!(router < 128 << 10, "the router had {router} KiB");
    Ok(())
}

/// A quarter of a megabyte that would be 256 of them: nobody unpacks it, also for the right secret.
fn packed(kennel: &Kennel, project: &Project, receiver: u32) -> Result<()> {
    let before = peak(kennel, receiver)?;
    let file = "srv/bomb.gz";
    kennel.host().sh(&format!("head -c 256M /dev/zero | tr '\\0' 9 | gzip > /{file}"))?;
    let body = kennel.host().read(file)?;
    ensure!((1 << 16..1 << 20).contains(&body.len()), "it has {} bytes", body.len());
    for signature in [sign(project.secret().as_bytes(), &body), "0".repeat(64)] {
        let ask = Ask::post(&kennel.control_host(), "/webhook/besieged", body.clone())
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .header("x-github-event", "push")
            .header("x-hub-signature-256", &format!("sha256={signature}"));
        let answer = kennel.ask(&ask)?;
        let (status, text) = (answer.status, answer.text());
        ensure!(status == 415 && text.contains("compressed"), "it is answered {status}: {text}");
    }
    let grown = peak(kennel, receiver)?.saturating_sub(before);
    ensure!(grown < 8 << 10, "the receiver took {grown} KiB more");
    Ok(())
}

/// Bodies that cost the reader more than the sender. A wrong signature is found before anything
/// in the body is.
fn bombs(kennel: &Kennel, project: &Project) -> Result<()> {
    let mib = 1 << 20;
    let text = |before: &str, middle: &str, times: usize, after: &str| {
        [before, &middle.repeat(times), after].concat().into_bytes()
    };
    let levels = 100_000;
    let push = r#""ref":"refs/heads/none2","before":"0","after":"#;
    let bombs: [(&str, u16, Vec<u8>); 9] = [
        ("deep arrays", 400, text("", "[", levels, &"]".repeat(levels))),
        ("deep objects", 400, text("", "{\"a\":", levels, &format!("1{}", "}".repeat(levels)))),
        ("deep in a skipped field", 400, text("{\"x\":", "[", levels, "")),
        ("a long array", 400, text("{\"commits\":[0", ",0", 10 * mib, "]}")),
        ("a long text", 400, text("{\"ref\":\"", "x", 24 * mib, "\"}")),
        ("many keys", 400, text("{\"a\":0", ",\"ref\":\"refs/heads/x\"", 500_000, "}")),
        ("a large number", 400, text("{\"number\":", "9", 5 * mib, "}")),
        ("no end of a text", 400, text(&format!("{{{push}\""), "\\u0000", 3 * mib, "")),
        ("26 MiB", 413, vec![b' '; 26 * mib]),
    ];
    for (what, status, body) in bombs {
        let signed = sign(project.secret().as_bytes(), &body);
        let too_large = status == 413;
        for (signature, wanted) in [(signed, status), ("0".repeat(64), 401)] {
            let wanted = if too_large { status } else { wanted };
            let ask = Ask::post(&kennel.control_host(), "/webhook/besieged", body.clone())
                .header("content-type", "application/json")
                .header("x-github-event", "push")
                .header("x-hub-signature-256", &format!("sha256={signature}"));
            let answer = kennel.ask(&ask).with_context(|| format!("no answer to {what}"))?;
            ensure!(
                answer.status == wanted,
                "{what} is answered {}: {}",
                answer.status,
                answer.text()
            );
        }
    }
    Ok(())
}

/// Builders that cannot be asked to end: one that ignores SIGTERM and has forked two thousand
/// children, which is many and not for ever, and an evaluation that has no end.
pub(crate) fn builds(kennel: &Kennel) -> Result<()> {
    let script = "trap '' TERM INT HUP; n=0; while [ $n -lt 2000 ]; do $bb sleep 31002 & n=$((n+1)); \
                  done; while :; do wait; $bb sleep 31003; done";
    let deaf = kennel.project("deaf")?;
    let deaf_push = deaf.push("main", &builder(kennel, script), "it ignores signals")?;
    let dizzy = kennel.project("dizzy")?;
    let turns = "let xs = builtins.genList (x: x) 30000; in builtins.foldl' (a: _: \
                 builtins.foldl' (b: y: if b == y then y else b) a xs) 0 (xs ++ xs ++ xs ++ xs)";
    let flake = format!(
        "{{ outputs = _: {{ packages.x86_64-linux.web = {turns}; packages.aarch64-linux.web = {turns}; }}; }}"
    );
    let sources = kennel.sources().file("flake.nix", flake).kennel_toml("[static_sites.web]\n");
    let dizzy_push = dizzy.push("main", &sources, "it goes round and round")?;
    kennel.wait_for("two thousand children", LIMIT, || {
        let count = kennel.host().try_run(&["pgrep", "-c", "-f", "[b]usybox sleep 31002$"])?;
        let count: u32 = count.stdout.trim().parse()?;
        if count >= 2000 { Ok(Some(())) } else { Err(anyhow!("{count}")) }
    })?;
    kennel.wait_for("evaluation", LIMIT, || {
        let build = dizzy.build(&dizzy_push.after)?.context("no build")?;
        let state = build.pointer("/outputs/0/state").and_then(serde_json::Value::as_str);
        Ok((state == Some("building")).then_some(()))
    })?;
    for (project, pushed) in [(&deaf, &deaf_push), (&dizzy, &dizzy_push)] {
        let rows = BuildRow::of(kennel, project.name())?;
        let row = rows.iter().find(|row| row.commit == pushed.after).context("no build")?;
        let begun = Instant::now();
        kennel.host().run(&["kennelctl", "cancel", &row.id.to_string()])?;
        kennel.wait_for("end of all processes", Duration::from_secs(5), || {
            let mine = format!(
                "[r]epos/{}.git|[b]uilds?/{}/|[k]ennel-build run {}$",
                project.name(),
                row.id,
                row.id
            );
            let left = kennel.host().try_run(&["pgrep", "-a", "-f", &mine])?.stdout;
            let left = left + &builders(kennel, 31_002)?.lines().take(3).collect::<String>();
            let is_deaf = project.name() == "deaf";
            if left.is_empty() || !is_deaf && !left.contains("repos") {
                Ok(Some(()))
            } else {
                Err(anyhow!("{left}"))
            }
        })?;
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(2), "{} ended after {took:?}", project.name());
        project.expect_build(&pushed.after, "cancelled", LIMIT)?;
        expect_nothing_left(kennel, project.name())?;
    }
    ensure!(builders(kennel, 31_003)?.is_empty(), "the builder itself goes on");
    ensure!(kennel.host().failed_units()?.is_empty(), "units have failed");
    Ok(())
}

/// A builder that prints without end but for the test's: the log has its beginning, its end and
/// its limit, and nothing grows.
pub(crate) fn printing(kennel: &Kennel) -> Result<()> {
    // 16 MB in lines of 80 bytes, 1 MB in lines of two, then one line of 2 MB: Nix is slow at them.
    let text = |megabytes: u32| {
        format!("$bb dd if=/dev/zero bs=1M count={megabytes} 2>/dev/null | $bb tr '\\\\0' x")
    };
    let (long, short, endless) = (text(16), text(1), text(2));
    let script = format!(
        "echo the first line; {long} | $bb fold -w 80; {short} | $bb fold -w 2; {endless}; echo; \
         echo the last line; exit 3"
    );
    expect_bounded_log(kennel, "printing", &script)
}

/// A whole gigabyte, in lines that are long enough for Nix to pass it on within a minute.
pub(crate) fn printing_a_gigabyte(kennel: &Kennel) -> Result<()> {
    let script = "echo the first line; \
         $bb dd if=/dev/zero bs=1M count=1 2>/dev/null | $bb tr '\\\\0' x > line; echo >> line; \
         n=0; while [ $n -lt 1024 ]; do $bb cat line; n=$((n+1)); done; \
         echo the last line; exit 3";
    let journal = disk_usage(kennel)?;
    expect_bounded_log(kennel, "gigabyte", script)?;
    let grown = disk_usage(kennel)?.saturating_sub(journal);
    ensure!(grown < 64 << 20, "the journal grew by {grown} bytes");
    Ok(())
}

/// What a builder prints before it fails is bounded on disk and in memory.
fn expect_bounded_log(kennel: &Kennel, name: &str, script: &str) -> Result<()> {
    let project = kennel.project(name)?;
    let pushed = project.push("main", &builder(kennel, script), "it prints")?;
    let mut peak = 0;
    let build = kennel.wait_for("end of what prints", LIMIT, || {
        let rows = BuildRow::of(kennel, name)?;
        let row = rows.iter().find(|row| row.commit == pushed.after).context("no build")?;
        let unit = format!("kennel-build@{}.service", row.id);
        if row.state == "building" {
            peak = peak.max(self::peak(kennel, main_pid(kennel, &unit)?)?);
        } else if row.finished_at.is_some() {
            return Ok(Some(row.clone()));
        }
        Err(anyhow!("{row:?}"))
    })?;
    let took = build.finished_at.zip(build.started_at).map_or(0, |(end, start)| end - start);
    say_figures(&format!("the build {name} took {took} ms, and kennel-build {peak} KiB"));
    let reason = build.reason.clone().unwrap_or_default();
    ensure!(build.state == "failed" && reason.contains("web"), "the build is {build:?}");
    let log = kennel.host().root().join(format!("var/lib/kennel/logs/{}/web.log", build.id));
    let log = std::fs::read(log)?;
    ensure!(log.len() <= 16 << 20, "the log has {} bytes", log.len());
    let log = String::from_utf8_lossy(&log);
    for words in ["the first line\n", " lines (", " MiB) are left out here", "the last line\n"] {
        ensure!(log.contains(words), "the log does not say {words:?}");
    }
    ensure!(peak > 0 && peak < 64 << 10, "kennel-build had {peak} KiB");
    Ok(())
}

/// A site `web` whose builder runs a script.
fn builder(kennel: &Kennel, script: &str) -> kennel_tests::Sources {
    let flake = format!(
        r#"{{
  outputs = {{ self }}: {{
    packages = builtins.listToAttrs (map (system: {{
      name = system;
      value.web = derivation {{
        name = "web"; inherit system; bb = "${{./tools}}/busybox"; builder = "${{./tools}}/busybox";
        args = [ "sh" "-euc" "{script}" ];
      }};
    }}) [ "x86_64-linux" "aarch64-linux" ]);
  }};
}}
"#
    );
    kennel.sources().file("flake.nix", flake).kennel_toml("[static_sites.web]\n")
}

/// Services that log a gigabyte, ignore SIGTERM and have a daemon beside them: the others are
/// served and heard, and the end comes in time and takes everything along.
pub(crate) fn services(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("unruly")?;
    let toml = "[services.calm]\n[services.deaf]\n[services.forks]\n\
                [services.loud]\nhealth_check_timeout_secs = 600\n";
    let sources = kennel
        .sources()
        .service("calm", "calm-1")
        .service_with("deaf", "version = deaf-1\nignore_sigterm = true\n")
        .service_with("forks", "version = forks-1\ndaemon = true\n")
        .service_with("loud", "version = loud-1\nlog_megabytes = 1024\n")
        .kennel_toml(toml);
    let before = disk_usage(kennel)?;
    let pushed = project.push("main", &sources, "unruly")?.after;
    let calm = expect_deployment(kennel, &project, "calm", &pushed, "active")?;
    let forks = expect_deployment(kennel, &project, "forks", &pushed, "active")?;
    // While it logs: the router answers, and what others say is in the journal at once.
    let mut slowest = Duration::ZERO;
    kennel.wait_for("end of the loud one's log", LIMIT, || {
        let begun = Instant::now();
        let answer = kennel.get(&project.address("calm", "main"), "/version")?;
        slowest = slowest.max(begun.elapsed());
        ensure!(answer.status == 200, "the calm one answers {}", answer.status);
        let rows = Rows::read(kennel)?;
        let loud = rows.at("unruly", "loud", &pushed).context("no row")?;
        if loud.state == "active" { Ok(Some(())) } else { Err(anyhow!("{loud:?}")) }
    })?;
    // Waiting for the log, it would take as long as that.
    ensure!(slowest < Duration::from_secs(15), "an answer took {slowest:?}");
    let grown = disk_usage(kennel)?.saturating_sub(before);
    ensure!(grown < 256 << 20, "the journal grew by {grown} bytes");
    let said = kennel.host().run(&["kennelctl", "logs", "unruly/main/loud"])?;
    ensure!(said.contains("loud loud"), "kennelctl logs says {said:?}");
    let said = kennel.host().run(&["kennelctl", "logs", "unruly/main/calm"])?;
    ensure!(said.contains("calm-1 listens"), "kennelctl logs says {said:?}");

    // The daemon is there, without a parent of the service's, and goes with the service.
    let cgroup = |unit: &str| -> Result<String> {
        let all =
            kennel.host().run(&["ps", "-e", "-w", "-w", "-o", "pid=,ppid=,cgroup:200=,args="])?;
        Ok(all
            .lines()
            .filter(|line| line.contains(unit) && !line.contains("<defunct>"))
            .map(|line| format!("{line}\n"))
            .collect())
    };
    let processes = cgroup(&forks.unit())?;
    ensure!(processes.lines().count() == 2, "of the one that forks there are:\n{processes}");
    let deaf = expect_deployment(kennel, &project, "deaf", &pushed, "active")?;
    let begun = Instant::now();
    kennel.host().run(&["kennelctl", "teardown", "unruly/main", "--yes"])?;
    expect_gone(kennel, &project, "refs/heads/main")?;
    let took = begun.elapsed();
    // TimeoutStopSec= of a service is ten seconds; systemd's own would be ninety.
    ensure!(took < Duration::from_secs(85), "the end took {took:?}");
    for unit in [calm.unit(), deaf.unit(), forks.unit()] {
        let left = cgroup(&unit)?;
        ensure!(left.is_empty(), "of {unit} there still is:\n{left}");
    }
    Ok(())
}

/// A service whose main process leaves a child behind that listens: it fails, and the child goes.
pub(crate) fn into_the_background(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("runaway")?;
    // The child never gets healthy, so that it is not a race between the probe and the end.
    let conf = "version = runaway-1\nfork_away = true\nnever_healthy = true\n";
    let pushed = project.push("main", &kennel.sources().service_with("api", conf), "away")?.after;
    let words = ["ended before it was healthy", "exited with status 0"];
    expect_failure(kennel, &project, "api", &pushed, &words)?;
    expect_nothing_left(kennel, "runaway")?;
    let left = kennel.host().run(&["ps", "-e", "-w", "-w", "-o", "cgroup:200="])?;
    ensure!(!left.contains("kennel-runaway"), "a process of it is left");
    Ok(())
}

fn state_of(kennel: &Kennel, unit: &str) -> Result<String> {
    Ok(kennel.host().try_run(&["systemctl", "is-active", unit])?.stdout.trim().to_owned())
}

fn main_pid(kennel: &Kennel, unit: &str) -> Result<u32> {
    let show = ["systemctl", "show", "--value", "-p", "MainPID", unit];
    let pid = kennel.host().run(&show)?.trim().parse()?;
    ensure!(pid != 0, "{unit} does not run");
    Ok(pid)
}

/// The most memory that a process ever had, in KiB.
fn peak(kennel: &Kennel, pid: u32) -> Result<u64> {
    let status = kennel.host().run(&["cat", &format!("/proc/{pid}/status")])?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.split_whitespace().next()).context("it has none")?;
    Ok(peak.parse()?)
}

/// The end of the journal as it is now.
pub(crate) fn cursor(kennel: &Kennel) -> Result<String> {
    let said = kennel.host().run(&["journalctl", "-n", "0", "--show-cursor", "-q"])?;
    Ok(said.trim().trim_start_matches("-- cursor: ").to_owned())
}

/// How many lines of a program with `words` in them there are since then.
pub(crate) fn said_since(
    kennel: &Kennel,
    cursor: &str,
    identifier: &str,
    words: &str,
) -> Result<u64> {
    let said = kennel.host().journal(&["--after-cursor", cursor, "-t", identifier])?;
    Ok(said.lines().filter(|line| line.contains(words)).count() as u64)
}

fn said_by(kennel: &Kennel, pid: u32, words: &str) -> Result<usize> {
    let of = format!("_PID={pid}");
    let said = kennel.host().journal(&["-b", &of])?;
    Ok(said.lines().filter(|line| line.contains(words)).count())
}

/// Bytes of the journal's files.
fn disk_usage(kennel: &Kennel) -> Result<u64> {
    let said = kennel.host().run(&["du", "-s", "-B1", "/var/log/journal"])?;
    Ok(said.split_whitespace().next().context("du says nothing")?.parse()?)
}
