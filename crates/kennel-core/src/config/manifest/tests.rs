use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::config::PathTarget;

fn parse(text: &str) -> Manifest {
    Manifest::parse(text, "kennel.toml").unwrap()
}

fn refused(text: &str) -> String {
    Manifest::parse(text, "kennel.toml").unwrap_err().to_string()
}

/// `[services.api]` on the first line, then what is to be refused.
fn in_service(text: &str) -> String {
    refused(&format!("[services.api]\n{text}"))
}

/// DESIGN.md's own example.
const EXAMPLE: &str = r#"
[services.api]
flake_output = "api"
health_check = "/health"
health_check_timeout_secs = 30
preview_database = true
custom_domain = "api.myproject.org"
env = { LOG_LEVEL = "info" }
secrets = ["JWT_SECRET"]
credentials = ["TLS_KEY"]
drain_secs = 30
protocol = "h2c"
resources = { memory_max = "512M", cpu_quota = "100%", tasks_max = 128 }

[static_sites.web]
flake_output = "web"
spa = true
custom_domain = "myproject.org"
"#;

#[test]
fn every_key_is_read_and_settles_as_json() {
    let manifest = parse(EXAMPLE);
    let api = serde_json::to_string(&manifest.services.values().next()).unwrap();
    let web = serde_json::to_string(&manifest.static_sites.values().next()).unwrap();
    insta::assert_snapshot!(api, @r#"{"flake_output":"api","preview_database":true,"env":{"LOG_LEVEL":"info"},"secrets":["JWT_SECRET"],"credentials":["TLS_KEY"],"release":null,"release_timeout_secs":300,"resources":{"memory_max":536870912,"cpu_quota":"100%","tasks_max":128},"health_check":"/health","health_check_timeout_secs":30,"custom_domain":"api.myproject.org","drain_secs":30,"strategy":"blue_green","sleep_after":null,"protocol":"h2c"}"#);
    insta::assert_snapshot!(web, @r#"{"flake_output":"web","spa":true,"custom_domain":"myproject.org"}"#);
    assert_eq!(
        serde_json::from_str::<ServiceManifest>(&api).unwrap(),
        manifest.services[&name("api")]
    );
    assert_eq!(
        serde_json::from_str::<SiteManifest>(&web).unwrap(),
        manifest.static_sites[&name("web")]
    );
}

#[test]
fn limits_of_requests() {
    let manifest = parse(
        "[services.api]\nmax_body = \"10M\"\nmax_requests = 8\nrate_limit = { requests = 5 }\n\
         [static_sites.web]\nrate_limit = { requests = 100, per = \"1m\", burst = 10 }",
    );
    let api = serde_json::to_string(&manifest.services[&name("api")]).unwrap();
    assert!(api.ends_with(
        r#""max_body":10485760,"max_requests":8,"rate_limit":{"requests":5,"per":"1s","burst":5}}"#
    ));
    let web = serde_json::to_string(&manifest.static_sites[&name("web")]).unwrap();
    assert!(web.ends_with(r#""rate_limit":{"requests":100,"per":"1m","burst":10}}"#));
    assert_eq!(
        serde_json::from_str::<ServiceManifest>(&api).unwrap(),
        manifest.services[&name("api")]
    );
    assert_eq!(
        serde_json::from_str::<SiteManifest>(&web).unwrap(),
        manifest.static_sites[&name("web")]
    );
    insta::assert_snapshot!(in_service("max_requests = 0"), @"kennel.toml:2: `max_requests` in [services.api]: 0 is not between 1 and 20000");
    insta::assert_snapshot!(in_service("max_body = \"-1\""), @r#"kennel.toml:2: `max_body` in [services.api]: `-1` is not a size of a body: write it like 512K or 10M (K, M, G, T; 1024-based), as bytes, or "unlimited""#);
    insta::assert_snapshot!(in_service("rate_limit = 5"), @"kennel.toml:2: `rate_limit` in [services.api]: expected a table, found integer `5`");
    insta::assert_snapshot!(refused("[workers.a]\nmax_body = 5").split(';').next().unwrap(), @"kennel.toml:2: unknown key `max_body` in [workers.a]");
}

#[test]
fn an_empty_table_is_enough() {
    let manifest = parse("[services.api]\n[static_sites.web]");
    let api = serde_json::to_string(&manifest.services[&name("api")]).unwrap();
    let web = serde_json::to_string(&manifest.static_sites[&name("web")]).unwrap();
    insta::assert_snapshot!(api, @r#"{"flake_output":"api","preview_database":false,"env":{},"secrets":[],"credentials":[],"release":null,"release_timeout_secs":300,"resources":{"memory_max":null,"cpu_quota":null,"tasks_max":null},"health_check":"/health","health_check_timeout_secs":30,"custom_domain":null,"drain_secs":null,"strategy":"blue_green","sleep_after":null}"#);
    insta::assert_snapshot!(web, @r#"{"flake_output":"web","spa":false,"custom_domain":null}"#);
    assert_eq!(
        serde_json::from_str::<ServiceManifest>(&api).unwrap(),
        manifest.services[&name("api")]
    );
}

#[test]
fn versions_overlap_and_stay_awake_unless_somebody_says_otherwise() {
    let strategy = |text: &str| parse(text).services[&name("api")].strategy;
    assert_eq!(strategy("[services.api]"), crate::config::Strategy::BlueGreen);
    assert_eq!(
        strategy("[services.api]\nstrategy = \"recreate\""),
        crate::config::Strategy::Recreate
    );
    let sleepy = &parse("[services.api]\nsleep_after = \"90m\"").services[&name("api")];
    let settled = serde_json::to_string(sleepy).unwrap();
    assert!(settled.contains(r#""sleep_after":"1h30m""#), "{settled}");
    assert_eq!(serde_json::from_str::<ServiceManifest>(&settled).unwrap(), *sleepy);
    // A row from before there was a choice.
    let api = &parse("[services.api]").services[&name("api")];
    let old = serde_json::to_string(api)
        .unwrap()
        .replace(r#","strategy":"blue_green","sleep_after":null"#, "");
    assert_eq!(serde_json::from_str::<ServiceManifest>(&old).unwrap(), *api);
}

#[test]
fn a_worker_has_what_a_service_has_but_for_requests() {
    let manifest = parse(
        "[workers.queue]\nflake_output = \"jobs\"\nenv = { A = \"b\" }\nrelease = \"bin/migrate\"\n\
         resources = { tasks_max = 8 }",
    );
    let queue = serde_json::to_string(&manifest.workers[&name("queue")]).unwrap();
    insta::assert_snapshot!(queue, @r#"{"flake_output":"jobs","preview_database":false,"env":{"A":"b"},"secrets":[],"credentials":[],"release":"bin/migrate","release_timeout_secs":300,"resources":{"memory_max":null,"cpu_quota":null,"tasks_max":8}}"#);
    assert_eq!(
        serde_json::from_str::<ProgramManifest>(&queue).unwrap(),
        manifest.workers[&name("queue")]
    );
    insta::assert_snapshot!(refused("[workers.queue]\nhealth_check = \"/\""), @"kennel.toml:2: unknown key `health_check` in [workers.queue]; known keys here are flake_output, preview_database, env, secrets, credentials, release, release_timeout_secs, resources");
    insta::assert_snapshot!(refused("[workers.queue]\nsecrets = [\"A\", \"A\"]"), @"kennel.toml:2: `secrets` in [workers.queue]: `A` stands in it twice");
    insta::assert_snapshot!(refused("[services.queue]\n[workers.queue]"), @"kennel.toml:2: [workers]: `queue` is another's name already");
}

#[test]
fn a_timer_has_a_schedule_and_no_release_program() {
    let manifest = parse(
        "[timers.tidy]\nschedule = \"Mon..Fri 02:30\"\ncommand = \"bin/tidy\"\n\
         flake_output = \"jobs\"\n[timers.count]\nschedule = \"daily\"\ntimeout_secs = 60",
    );
    let tidy = serde_json::to_string(&manifest.timers[&name("tidy")]).unwrap();
    insta::assert_snapshot!(tidy, @r#"{"flake_output":"jobs","preview_database":false,"env":{},"secrets":[],"credentials":[],"release":null,"release_timeout_secs":300,"resources":{"memory_max":null,"cpu_quota":null,"tasks_max":null},"schedule":"Mon..Fri 02:30","command":"bin/tidy","timeout_secs":3600}"#);
    assert_eq!(
        serde_json::from_str::<TimerManifest>(&tidy).unwrap(),
        manifest.timers[&name("tidy")]
    );
    assert_eq!(manifest.timers[&name("count")].timeout, Duration::from_secs(60));
    let timer = |text: &str| refused(&format!("[timers.tidy]\n{text}"));
    insta::assert_snapshot!(timer(""), @"kennel.toml:1: `schedule` is missing in [timers.tidy]");
    insta::assert_snapshot!(timer("schedule = \"\""), @"kennel.toml:2: `schedule` in [timers.tidy]: `` is not a schedule: it has not 1 to 100 characters");
    insta::assert_snapshot!(timer("schedule = \"daily\"\ntimeout_secs = 0"), @"kennel.toml:3: `timeout_secs` in [timers.tidy]: 0 is not between 1 and 86400");
    insta::assert_snapshot!(timer("schedule = \"daily\"\nrelease = \"bin/x\""), @"kennel.toml:3: unknown key `release` in [timers.tidy]; known keys here are schedule, command, timeout_secs, flake_output, preview_database, env, secrets, credentials, resources");
    insta::assert_snapshot!(timer("schedule = \"daily\"\ncommand = \"tidy --all\""), @"kennel.toml:3: `command` in [timers.tidy]: `tidy --all` is not a program: it does not begin with `bin/`, and only programs there can be run");
}

#[test]
fn a_row_of_before_there_were_credentials_is_read() {
    let now = serde_json::to_string(&parse("[services.api]").services[&name("api")]).unwrap();
    let before = now.replace("\"credentials\":[],", "");
    assert_ne!(before, now);
    assert!(
        serde_json::from_str::<ServiceManifest>(&before).unwrap().program.credentials.is_empty()
    );
}

#[test]
fn a_row_with_another_hands_values_is_refused() {
    let good = serde_json::to_string(&parse(EXAMPLE).services[&name("api")]).unwrap();
    for (from, to) in [
        ("\"/health\"", "\"/a b\""),
        ("\"health_check_timeout_secs\":30", "\"health_check_timeout_secs\":601"),
        ("\"drain_secs\":30", "\"drain_secs\":3601"),
        ("\"LOG_LEVEL\"", "\"LD_PRELOAD\""),
        ("\"info\"", "\"in\\nfo\""),
        ("\"tasks_max\":128", "\"tasks_max\":0"),
        ("536870912", "1"),
        ("\"100%\"", "\"100\""),
        ("{\"flake", "{\"more\":1,\"flake"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        assert!(serde_json::from_str::<ServiceManifest>(&bad).is_err(), "{to}");
    }
}

#[test]
fn unknown_keys_and_what_was_meant() {
    insta::assert_snapshot!(in_service("helth_check = \"/health\""), @"kennel.toml:2: unknown key `helth_check` in [services.api]; did you mean `health_check`?");
    insta::assert_snapshot!(in_service("health_check_timeout = 3"), @"kennel.toml:2: unknown key `health_check_timeout` in [services.api]; did you mean `health_check_timeout_secs`?");
    insta::assert_snapshot!(in_service("xyz = 3"), @"kennel.toml:2: unknown key `xyz` in [services.api]; known keys here are flake_output, health_check, health_check_timeout_secs, preview_database, custom_domain, redirect_from, env, secrets, credentials, drain_secs, protocol, strategy, sleep_after, release, release_timeout_secs, resources, max_body, max_requests, rate_limit");
    insta::assert_snapshot!(in_service("resources = { memory = \"1G\" }"), @"kennel.toml:2: unknown key `memory` in [services.api.resources]; did you mean `memory_max`?");
    insta::assert_snapshot!(refused("[service.api]"), @"kennel.toml:1: unknown key `service`; did you mean `services`?");
    insta::assert_snapshot!(refused("[static_sites.web]\nSPA = true"), @"kennel.toml:2: unknown key `SPA` in [static_sites.web]; did you mean `spa`?");
    insta::assert_snapshot!(refused("\"a\\u001b[2J` x\" = 1"), @r#"kennel.toml:1: unknown key `a\u{1b}[2J` x`; known keys here are services, workers, timers, static_sites, routes"#);
}

#[test]
fn names() {
    insta::assert_snapshot!(refused("\n[services.Api]"), @"kennel.toml:2: [services]: `Api` is not a service name: only a-z, 0-9 and `-` may stand in it");
    insta::assert_snapshot!(refused("[services.\"../x\"]"), @"kennel.toml:1: [services]: `../x` is not a service name: only a-z, 0-9 and `-` may stand in it");
    insta::assert_snapshot!(refused("[services.\"a%n\"]"), @"kennel.toml:1: [services]: `a%n` is not a service name: only a-z, 0-9 and `-` may stand in it");
    insta::assert_snapshot!(refused("[services.\"a\\nb\"]"), @r"kennel.toml:1: [services]: `a\nb` is not a service name: only a-z, 0-9 and `-` may stand in it");
    insta::assert_snapshot!(refused("[services.api]\n[static_sites.api]"), @"kennel.toml:2: [static_sites]: `api` is another's name already");
    insta::assert_snapshot!(refused("services = 1"), @"kennel.toml:1: `services`: expected a table, found integer `1`");
    insta::assert_snapshot!(refused("services.api = 1"), @"kennel.toml:1: `api` in [services]: expected a table, found integer `1`");
}

#[test]
fn nothing_and_too_much() {
    insta::assert_snapshot!(refused("# later"), @"kennel.toml:1: there is nothing to deploy; write [services.<name>], [workers.<name>], [timers.<name>] or [static_sites.<name>]");
    let many: String = (0..65).map(|n| format!("[services.s{n:02}]\n")).collect();
    insta::assert_snapshot!(refused(&many), @"kennel.toml:65: [services]: there are more than 64 services, workers, timers and sites");
    let most: String = (0..64).map(|n| format!("[static_sites.s{n}]\n")).collect();
    assert_eq!(parse(&most).static_sites.len(), Manifest::MOST_OUTPUTS);
    let variables: String = (0..257).map(|n| format!("V{n:03} = \"x\"\n")).collect();
    insta::assert_snapshot!(refused(&format!("[services.api.env]\n{variables}")), @"kennel.toml:258: [services.api.env]: there are more than 256 variables and secrets");
}

#[test]
fn values_that_would_reach_a_unit_or_a_path() {
    insta::assert_snapshot!(in_service("flake_output = \"a#b\""), @"kennel.toml:2: `flake_output` in [services.api]: `a#b` is not a flake output: only a-z, A-Z, 0-9 and _.+- may stand in it");
    insta::assert_snapshot!(in_service("flake_output = \"a..b\""), @"kennel.toml:2: `flake_output` in [services.api]: `a..b` is not a flake output: it has an empty part between dots");
    insta::assert_snapshot!(in_service("flake_output = \"-x\""), @"kennel.toml:2: `flake_output` in [services.api]: `-x` is not a flake output: it begins with `.`, `+` or `-`");
    insta::assert_snapshot!(in_service("health_check = \"health\""), @"kennel.toml:2: `health_check` in [services.api]: `health` is not a health check path: it does not begin with `/`");
    insta::assert_snapshot!(in_service("health_check = \"//evil.test/\""), @"kennel.toml:2: `health_check` in [services.api]: `//evil.test/` is not a health check path: it begins with `//`, which names a host");
    insta::assert_snapshot!(in_service("health_check = \"/a%n\""), @"kennel.toml:2: `health_check` in [services.api]: `/a%n` is not a health check path: only a-z, A-Z, 0-9 and /?-._~!$&'()*+,;=:@ may stand in it");
    insta::assert_snapshot!(in_service("health_check = \"/a\\r\\nHost: x\""), @r"kennel.toml:2: `health_check` in [services.api]: `/a\r\nHost: x` is not a health check path: only a-z, A-Z, 0-9 and /?-._~!$&'()*+,;=:@ may stand in it");
    insta::assert_snapshot!(in_service("health_check = \"/a/../b\""), @"kennel.toml:2: `health_check` in [services.api]: `/a/../b` is not a health check path: it has a segment `..`");
    insta::assert_snapshot!(in_service("health_check = 5"), @"kennel.toml:2: `health_check` in [services.api]: expected a string, found integer `5`; put it in quotes");
    insta::assert_snapshot!(in_service("custom_domain = \"*a.test\""), @"kennel.toml:2: `custom_domain` in [services.api]: `*a.test` is not a host name: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest)");
    insta::assert_snapshot!(in_service("health_check_timeout_secs = 0"), @"kennel.toml:2: `health_check_timeout_secs` in [services.api]: 0 is not between 1 and 600");
    insta::assert_snapshot!(in_service("health_check_timeout_secs = 601"), @"kennel.toml:2: `health_check_timeout_secs` in [services.api]: 601 is not between 1 and 600");
    insta::assert_snapshot!(in_service("protocol = \"http2\""), @"kennel.toml:2: `protocol` in [services.api]: `http2` is none of http1, h2c");
    insta::assert_snapshot!(in_service("drain_secs = -1"), @"kennel.toml:2: `drain_secs` in [services.api]: -1 is not between 0 and 3600");
    insta::assert_snapshot!(in_service("sleep_after = \"0s\""), @"kennel.toml:2: `sleep_after` in [services.api]: `0s` is not a length of time: write it like 45s, 20m, 1h30m or 7d, or `never`");
    insta::assert_snapshot!(in_service("strategy = \"rolling\""), @"kennel.toml:2: `strategy` in [services.api]: `rolling` is none of blue_green, recreate");
    insta::assert_snapshot!(in_service("resources = { memory_max = \"512MB\" }"), @"kennel.toml:2: `memory_max` in [services.api.resources]: `512MB` is not a memory size: write it like 512M or 2G (K, M, G, T; 1024-based), or as bytes");
    insta::assert_snapshot!(in_service("resources = { memory_max = 1024 }"), @"kennel.toml:2: `memory_max` in [services.api.resources]: `1024` is not a memory size: it is less than 4M");
    insta::assert_snapshot!(in_service("resources = { memory_max = true }"), @r#"kennel.toml:2: `memory_max` in [services.api.resources]: expected bytes, or a size such as "512M""#);
    insta::assert_snapshot!(in_service("resources = { cpu_quota = \"1\" }"), @"kennel.toml:2: `cpu_quota` in [services.api.resources]: `1` is not a processor quota: write it in per cent of one processor, like 100%");
    insta::assert_snapshot!(in_service("resources = { cpu_quota = 100 }"), @"kennel.toml:2: `cpu_quota` in [services.api.resources]: expected a string, found integer `100`; put it in quotes");
    insta::assert_snapshot!(in_service("resources = { cpu_quota = \"0%\" }"), @"kennel.toml:2: `cpu_quota` in [services.api.resources]: `0%` is not a processor quota: it is not between 1% and 100000%");
    insta::assert_snapshot!(in_service("resources = { tasks_max = 0 }"), @"kennel.toml:2: `tasks_max` in [services.api.resources]: 0 is not between 1 and 4194304");
}

#[test]
fn variables() {
    insta::assert_snapshot!(in_service("env = { PORT = \"80\" }"), @"kennel.toml:2: [services.api.env]: `PORT` is not a name for an environment variable: Kennel sets it: the port to listen on");
    insta::assert_snapshot!(in_service("env = { KENNEL_URL = \"x\" }"), @"kennel.toml:2: [services.api.env]: `KENNEL_URL` is not a name for an environment variable: names that begin with KENNEL_ are Kennel's own");
    insta::assert_snapshot!(in_service("env = { LD_PRELOAD = \"x\" }"), @"kennel.toml:2: [services.api.env]: `LD_PRELOAD` is not a name for an environment variable: the dynamic loader reads it, and would run other code than was built");
    insta::assert_snapshot!(in_service("env = { NOTIFY_SOCKET = \"x\" }"), @"kennel.toml:2: [services.api.env]: `NOTIFY_SOCKET` is not a name for an environment variable: systemd sets it for the service");
    insta::assert_snapshot!(in_service("env = { \"A-B\" = \"x\" }"), @"kennel.toml:2: [services.api.env]: `A-B` is not a name for an environment variable: only a-z, A-Z, 0-9 and `_` may stand in it");
    insta::assert_snapshot!(in_service("env = { 1A = \"x\" }"), @"kennel.toml:2: [services.api.env]: `1A` is not a name for an environment variable: it begins with a digit");
    insta::assert_snapshot!(in_service("env = { A = 1 }"), @"kennel.toml:2: `A` in [services.api.env]: expected a string, found integer `1`; put it in quotes");
    insta::assert_snapshot!(in_service("env = { A = \"b\\nPORT=1\" }"), @r"kennel.toml:2: `A` in [services.api.env]: `b\nPORT=1` is not a value for an environment variable: it has a newline or another control character, which cannot be passed on");
    insta::assert_snapshot!(in_service("secrets = [\"A\", \"A\"]"), @"kennel.toml:2: `secrets` in [services.api]: `A` stands in it twice");
    insta::assert_snapshot!(in_service("env = { A = \"x\" }\nsecrets = [\"B\",\n\"A\"]"), @"kennel.toml:4: `secrets` in [services.api]: `A` stands in `env` already");
    insta::assert_snapshot!(in_service("credentials = [\"A\", \"B\", \"A\"]"), @"kennel.toml:2: `credentials` in [services.api]: `A` stands in it twice");
    insta::assert_snapshot!(in_service("secrets = [\"jwt\"]"), @"kennel.toml:2: `secrets` in [services.api]: `jwt` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
    insta::assert_snapshot!(in_service("credentials = [\"../../A\"]"), @"kennel.toml:2: `credentials` in [services.api]: `../../A` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
    let many: Vec<_> = (0..32).map(|n| format!("\"C{n}\"")).collect();
    insta::assert_snapshot!(in_service(&format!("credentials = [{}]", many.join(", "))), @"kennel.toml:2: `credentials` in [services.api]: there are more than 31 credentials");
    insta::assert_snapshot!(in_service("preview_database = true\nsecrets = [\"DATABASE_URL\"]"), @"kennel.toml:3: `secrets` in [services.api]: `DATABASE_URL` is set by `preview_database`");
    insta::assert_snapshot!(in_service("preview_database = true\nenv = { DATABASE_URL = \"x\" }"), @"kennel.toml:3: [services.api.env]: `DATABASE_URL` is set by `preview_database`");
    let value = format!("env = {{ A = \"{}\" }}", "x".repeat(32 * 1024 + 1));
    insta::assert_snapshot!(in_service(&value), @"kennel.toml:2: `A` in [services.api.env]: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not a value for an environment variable: it is longer than 32 KiB");
    let manifest = parse(
        "[services.api.env]\nPATH = \"/bin\"\nA = \"50% \\\"q\\\" \\\\ \\t$B\"\nDATABASE_URL = \"x\"",
    );
    assert_eq!(manifest.services[&name("api")].program.env.len(), 3);
}

#[test]
fn a_domain_is_claimed_once() {
    insta::assert_snapshot!(refused("[services.api]\ncustom_domain = \"a.test\"\n[static_sites.web]\ncustom_domain = \"a.test\""), @"kennel.toml:4: `custom_domain` in [static_sites.web]: `a.test` stands as a domain already");
    insta::assert_snapshot!(refused("[static_sites.a]\ncustom_domain = \"a.test\"\n[static_sites.b]\ncustom_domain = \"a.test\""), @"kennel.toml:4: `custom_domain` in [static_sites.b]: `a.test` stands as a domain already");
}

#[test]
fn requests_stay_within_the_limits() {
    let limits = super::super::Resources::default();
    let within = |text: &str| {
        let text = format!("[services.api]\nresources = {{ {text} }}");
        let given = parse(&text).services[&name("api")].program.resources.within(&limits);
        format!("{} {} {}", given.memory_max, given.cpu_quota, given.tasks_max)
    };
    assert_eq!(within(""), "2147483648 200% 512");
    assert_eq!(
        within("memory_max = \"512M\", cpu_quota = \"50%\", tasks_max = 7"),
        "536870912 50% 7"
    );
    assert_eq!(
        within("memory_max = \"1T\", cpu_quota = \"900%\", tasks_max = 513"),
        "2147483648 200% 512"
    );
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// Texts with a taste for what does harm.
fn hostile() -> impl Strategy<Value = String> {
    let bits = prop_oneof![
        Just("..".to_owned()),
        Just("/".to_owned()),
        Just("%".to_owned()),
        Just("%n".to_owned()),
        Just("\n".to_owned()),
        Just("\0".to_owned()),
        Just("[Service]".to_owned()),
        Just("a".to_owned()),
        Just(".".to_owned()),
        Just("-".to_owned()),
        "[a-zA-Z0-9_.-]{1,8}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(bits, 1..5).prop_map(|bits| bits.concat())
}

proptest! {
    /// One hostile text in every place of a manifest where a text may stand. Those that are
    /// accepted cannot end a line, climb a path or be expanded by systemd.
    #[test]
    fn what_is_accepted_is_harmless(text in hostile(), place in 0_usize..10) {
        let quoted = toml::Value::String(text.clone()).to_string();
        let manifest = match place {
            0 => format!("services.{quoted} = {{}}"),
            1 => format!("static_sites.{quoted} = {{}}"),
            2 => format!("services.a.flake_output = {quoted}"),
            3 => format!("static_sites.a.flake_output = {quoted}"),
            4 => format!("services.a.health_check = {quoted}"),
            5 => format!("services.a.custom_domain = {quoted}"),
            6 => format!("services.a.env.{quoted} = 'x'"),
            7 => format!("services.a.secrets = [{quoted}]"),
            9 => format!("services.a.credentials = [{quoted}]"),
            _ => format!("services.a.env.A = {quoted}"),
        };
        match Manifest::parse(&manifest, "kennel.toml") {
            Ok(_) => {
                prop_assert!(!text.contains(['\n', '\r', '\0']), "{text:?}");
                // Values of variables go into an environment file alone.
                if place != 8 {
                    prop_assert!(!text.contains('%'), "{text:?}");
                    prop_assert!(!text.split(['/', '?']).any(|part| part == ".."), "{text:?}");
                }
            }
            // A refusal is shown on terminals and in logs.
            Err(problem) => prop_assert!(!problem.to_string().contains(char::is_control), "{problem:?}"),
        }
    }

    /// Nothing that a repository can write ends in a panic.
    #[test]
    fn any_text_at_all(text in "\\PC*|([a-z\\[\\]{}=.\"'\n#0-9-]{0,60})") {
        if let Err(problem) = Manifest::parse(&text, "kennel.toml") {
            let _ = problem.excerpt(&text);
        }
    }
}

#[test]
fn domains_lead_to_the_custom_one() {
    let manifest = parse(
        "[static_sites.web]\ncustom_domain = \"shop.test\"\nredirect_from = [\"www.shop.test\", \"shop.example\"]",
    );
    let web = &manifest.static_sites[&name("web")];
    let domains: Vec<_> = web.addresses.domains().map(HostPattern::to_string).collect();
    assert_eq!(domains, ["shop.test", "www.shop.test", "shop.example"]);
    let json = serde_json::to_string(web).unwrap();
    insta::assert_snapshot!(json, @r#"{"flake_output":"web","spa":false,"custom_domain":"shop.test","redirect_from":["www.shop.test","shop.example"]}"#);
    assert_eq!(serde_json::from_str::<SiteManifest>(&json).unwrap(), *web);

    let all = [
        in_service("redirect_from = [\"www.a.test\"]"),
        in_service("custom_domain = \"a.test\"\nredirect_from = [\"a.test\"]"),
        in_service("custom_domain = \"a.test\"\nredirect_from = [\"b.test\", \"b.test\"]"),
        refused(
            "[services.api]\ncustom_domain = \"a.test\"\nredirect_from = [\"b.test\"]\n[static_sites.web]\ncustom_domain = \"b.test\"",
        ),
        in_service("custom_domain = \"a.test\"\nredirect_from = \"www.a.test\""),
        in_service("custom_domain = \"*.a.test\"\nredirect_from = [\"a.test\"]"),
        in_service("custom_domain = \"a.*.test\""),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    kennel.toml:2: `redirect_from` in [services.api]: there is no `custom_domain` to send its visitors to
    kennel.toml:3: `redirect_from` in [services.api]: `a.test` stands as a domain already
    kennel.toml:3: `redirect_from` in [services.api]: `b.test` stands as a domain already
    kennel.toml:5: `custom_domain` in [static_sites.web]: `b.test` stands as a domain already
    kennel.toml:3: `redirect_from` in [services.api]: expected a list in brackets, found string "www.a.test"
    kennel.toml:3: `redirect_from` in [services.api]: `custom_domain` is not one host to send its visitors to
    kennel.toml:2: `custom_domain` in [services.api]: `a.*.test` is not a host name: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest)
    "#);
}

#[test]
fn a_domain_may_be_all_below_another() {
    let manifest = parse("[static_sites.web]\ncustom_domain = \"*.shop.test\"");
    let web = &manifest.static_sites[&name("web")];
    assert_eq!(web.addresses.custom_domain, Some("*.shop.test".parse().unwrap()));
    let manifest = parse(
        "[static_sites.web]\ncustom_domain = \"shop.test\"\nredirect_from = [\"*.shop.test\"]",
    );
    let web = &manifest.static_sites[&name("web")];
    assert_eq!(web.addresses.redirect_from, ["*.shop.test".parse().unwrap()]);
}

#[test]
fn routes_are_of_the_service_or_site_whose_hosts_they_are() {
    let routes = |text: &str| {
        let manifest = parse(&format!(
            "[services.api]\n[services.auth]\n[static_sites.web]\n[routes]\n{text}"
        ));
        let of = |name: &ServiceName, addresses: &Addresses| {
            let routes = addresses.routes.iter();
            let one = |(prefix, target): (&_, &PathTarget)| {
                let strip = if target.strip_prefix { " stripped" } else { "" };
                format!("{name}{prefix} {}{strip}", target.to)
            };
            routes.map(one).collect::<Vec<_>>()
        };
        let services = manifest.services.iter().flat_map(|(name, it)| of(name, &it.addresses));
        let sites = manifest.static_sites.iter().flat_map(|(name, it)| of(name, &it.addresses));
        services.chain(sites).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(routes("\"/api\" = \"api\"\n\"/auth\" = \"auth\""), "web/api api, web/auth auth");
    assert_eq!(
        routes("\"/\" = \"auth\"\n\"/api\" = { to = \"api\", strip_prefix = true }"),
        "auth/api api stripped"
    );

    let refused = |text: &str| {
        refused(&format!(
            "[services.api]\n[static_sites.web]\n[static_sites.docs]\n[workers.queue]\n[routes]\n{text}"
        ))
    };
    let all = [
        refused("\"/api\" = \"api\""),
        refused("\"/\" = \"web\"\n\"/api\" = \"ap\""),
        refused("\"/\" = \"web\"\n\"/api\" = \"queue\""),
        refused("\"/\" = \"web\"\n\"/docs\" = { to = \"docs\", strip_prefix = true }"),
        refused("\"/\" = { to = \"api\", strip_prefix = true }"),
        refused("\"/\" = \"web\"\n\"api\" = \"api\""),
        refused("\"/\" = \"web\"\n\"/api\" = 3"),
        refused("\"/\" = \"web\"\n\"/api\" = { strip_prefix = true }"),
        refused("\"/\" = \"web\"\n\"/api\" = { to = \"api\", stripprefix = true }"),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    kennel.toml:6: [routes]: it is not clear under whose domain this path is; add "/" = "<name>": its hosts get all of these paths
    kennel.toml:7: `/api` in [routes]: there is no service or site `ap`
    kennel.toml:7: `/api` in [routes]: nobody calls `queue`: only services and sites have routes
    kennel.toml:7: `/docs` in [routes]: a site's files lie under the whole path: `strip_prefix` is for services
    kennel.toml:6: `/` in [routes]: there is nothing to strip of `/`
    kennel.toml:7: [routes]: `api` is not a path: it does not begin with `/`
    kennel.toml:7: `/api` in [routes]: expected the name of a service or site, or { to = "<name>", strip_prefix = true }, found integer `3`
    kennel.toml:7: `to` is missing in [routes./api]
    kennel.toml:7: unknown key `stripprefix` in [routes./api]; did you mean `strip_prefix`?
    "#);
}
