use super::*;
use crate::TlsFiles;
use crate::config::{AcmeDns, Cloudflare};

fn parse(text: &str) -> HostConfig {
    HostConfig::parse(text, "config.toml").unwrap()
}

fn refused(text: &str) -> String {
    HostConfig::parse(text, "config.toml").unwrap_err().to_string()
}

/// `base_domain` on the first line, then what is to be refused.
fn refused_after_base(text: &str) -> String {
    refused(&format!("base_domain = \"example.com\"\n{text}"))
}

const EVERYTHING: &str = r#"
base_domain = "example.com"
control_host = "ci.example.com"
max_concurrent_builds = 4
supersede_running = false
unit_dir = "/run/systemd/system"
port_range = [20000, 20009]
drain_secs = 0
keep_deployments = 3
[expiry]
after = "1w2d"
[previews]
sleep_after = "30m"
password = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"
allow_from = ["10.0.0.0/8", "2001:db8::/32"]
[retention]
logs = "45d"
[tls]
redirect = false
hsts = "30d"
certificate = "/etc/ssl/site.pem"
key = "/etc/ssl/private/site.key"
[acme]
accept_terms = true
directory = "https://ca.example/directory"
email = "ops@example.com"
ca_certificate = "/etc/ssl/ca.pem"
external_account_id = "kid-1"
external_account_key_file = "/etc/kennel/eab.key"
[acme.dns]
provider = "rfc2136"
server = "192.0.2.53"
zone = "example.com"
key_name = "kennel."
algorithm = "hmac-sha512"
[nix]
allow_import_from_derivation = false
max_silent_time = "90s"
timeout = "1h30m"
[valkey]
url = "redis://127.0.0.1:6379"
databases = 64
forks = true
[postgresql]
url = "postgresql:///postgres?host=/run/postgresql"
template = "seed"
[limits]
memory_max = "8G"
cpu_quota = "400%"
tasks_max = 64
max_body = "100M"
[router]
trusted_proxies = ["10.0.0.0/8"]
proxy_protocol = true
connections_per_client = 64
rate_limit = { requests = 100, per = "1m", burst = 200 }
request_id = true
server_timing = true
access_log = "sampled"
access_log_sample = 10
access_log_query = true
[forks]
memory_max = "1G"
cpu_quota = "500%"
tasks_max = 32
allow_addresses = ["127.0.0.53", "10.1.0.0/16"]
"#;

#[test]
fn one_key_is_enough() {
    insta::assert_debug_snapshot!(parse("base_domain = \"example.com\""), @r#"
    HostConfig {
        base_domain: HostName(
            "example.com",
        ),
        control_host: HostName(
            "kennel.example.com",
        ),
        max_concurrent_builds: 2,
        supersede_running: true,
        unit_dir: "/etc/systemd/system",
        port_range: PortRange {
            first: Port(
                18000,
            ),
            last: Port(
                19999,
            ),
        },
        drain: 30s,
        keep_deployments: 5,
        expiry: Expiry {
            after: Limited(
                604800s,
            ),
        },
        retention: Retention {
            logs: 2592000s,
        },
        previews: Previews {
            password: None,
            allow_from: None,
            sleep_after: None,
        },
        tls: Tls {
            redirect: true,
            hsts_secs: None,
            certificates: [],
        },
        acme: None,
        nix: NixConfig {
            allow_import_from_derivation: true,
            max_silent_time: 1200s,
            timeout: 10800s,
        },
        valkey: None,
        postgresql: None,
        forks: Forks {
            limits: Resources {
                memory_max: MemorySize(
                    536870912,
                ),
                cpu_quota: CpuQuota(
                    100,
                ),
                tasks_max: 128,
            },
            allow_addresses: [],
        },
        limits: Resources {
            memory_max: MemorySize(
                2147483648,
            ),
            cpu_quota: CpuQuota(
                200,
            ),
            tasks_max: 512,
        },
        max_body: BodySize(
            18446744073709551615,
        ),
        router: RouterConfig {
            trusted_proxies: [],
            proxy_protocol: false,
            connections_per_client: None,
            rate_limit: None,
            request_id: false,
            server_timing: false,
            access_log: Off,
            access_log_sample: 100,
            access_log_query: false,
        },
    }
    "#);
}

#[test]
fn every_key_is_read() {
    insta::assert_debug_snapshot!(parse(EVERYTHING), @r#"
    HostConfig {
        base_domain: HostName(
            "example.com",
        ),
        control_host: HostName(
            "ci.example.com",
        ),
        max_concurrent_builds: 4,
        supersede_running: false,
        unit_dir: "/run/systemd/system",
        port_range: PortRange {
            first: Port(
                20000,
            ),
            last: Port(
                20009,
            ),
        },
        drain: 0ns,
        keep_deployments: 3,
        expiry: Expiry {
            after: Limited(
                777600s,
            ),
        },
        retention: Retention {
            logs: 3888000s,
        },
        previews: Previews {
            password: Some(
                Hash(
                    PasswordHash(
                        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
                    ),
                ),
            ),
            allow_from: Some(
                [
                    AddressRange(
                        "10.0.0.0/8",
                    ),
                    AddressRange(
                        "2001:db8::/32",
                    ),
                ],
            ),
            sleep_after: Some(
                Limited(
                    1800s,
                ),
            ),
        },
        tls: Tls {
            redirect: false,
            hsts_secs: Some(
                2592000,
            ),
            certificates: [
                TlsFiles {
                    certificate: "/etc/ssl/site.pem",
                    key: "/etc/ssl/private/site.key",
                },
            ],
        },
        acme: Some(
            Acme {
                directory: "https://ca.example/directory",
                email: Some(
                    "ops@example.com",
                ),
                ca_certificate: Some(
                    "/etc/ssl/ca.pem",
                ),
                external_account: Some(
                    ExternalAccount {
                        key_id: "kid-1",
                        key_file: "/etc/kennel/eab.key",
                    },
                ),
                dns: Some(
                    Rfc2136(
                        Rfc2136 {
                            server: 192.0.2.53:53,
                            zone: Some(
                                HostName(
                                    "example.com",
                                ),
                            ),
                            key_name: HostName(
                                "kennel",
                            ),
                            algorithm: HmacSha512,
                        },
                    ),
                ),
            },
        ),
        nix: NixConfig {
            allow_import_from_derivation: false,
            max_silent_time: 90s,
            timeout: 5400s,
        },
        valkey: Some(
            Valkey {
                url: "redis://127.0.0.1:6379",
                databases: 64,
                forks: true,
            },
        ),
        postgresql: Some(
            Postgresql {
                url: "postgresql:///postgres?host=/run/postgresql",
                template: Some(
                    "seed",
                ),
            },
        ),
        forks: Forks {
            limits: Resources {
                memory_max: MemorySize(
                    1073741824,
                ),
                cpu_quota: CpuQuota(
                    400,
                ),
                tasks_max: 32,
            },
            allow_addresses: [
                AddressRange(
                    "127.0.0.53",
                ),
                AddressRange(
                    "10.1.0.0/16",
                ),
            ],
        },
        limits: Resources {
            memory_max: MemorySize(
                8589934592,
            ),
            cpu_quota: CpuQuota(
                400,
            ),
            tasks_max: 64,
        },
        max_body: BodySize(
            104857600,
        ),
        router: RouterConfig {
            trusted_proxies: [
                AddressRange(
                    "10.0.0.0/8",
                ),
            ],
            proxy_protocol: true,
            connections_per_client: Some(
                64,
            ),
            rate_limit: Some(
                RateLimit {
                    requests: 100,
                    per: 60s,
                    burst: 200,
                },
            ),
            request_id: true,
            server_timing: true,
            access_log: Sampled,
            access_log_sample: 10,
            access_log_query: true,
        },
    }
    "#);
}

#[test]
fn a_limit_left_out_keeps_its_default() {
    let limits = parse("base_domain = \"example.com\"\nlimits = { tasks_max = 1 }").limits;
    assert_eq!(limits, Resources { tasks_max: 1, ..Resources::default() });
}

#[test]
fn a_key_may_lie_in_its_certificates_file() {
    let own = parse("base_domain = \"example.com\"\ntls = { certificate = \"/a.pem\" }").tls;
    assert_eq!(own.certificates, [TlsFiles { certificate: "/a.pem".into(), key: "/a.pem".into() }]);
    insta::assert_snapshot!(refused_after_base("[tls]\nkey = \"/a.key\""), @r#"config.toml:3: `key` in [tls]: a key is of no use without its certificate; name the file with `certificate = "/path/fullchain.pem"`"#);
    insta::assert_snapshot!(refused_after_base("[tls]\nhsts = 30"), @"config.toml:3: `hsts` in [tls]: expected a string, found integer `30`; put it in quotes");
}

#[test]
fn what_the_router_does() {
    let refused = |text: &str| refused_after_base(&format!("[router]\n{text}"));
    insta::assert_snapshot!(refused("trusted_proxies = [\"10.0.0.0/33\"]"), @"config.toml:3: `trusted_proxies` in [router]: `10.0.0.0/33` is not a range of addresses: its prefix is not 0 to 32, or to 128");
    insta::assert_snapshot!(refused("proxy_protocol = true"), @r#"config.toml:3: `proxy_protocol` in [router]: there is nobody whose word would count; name the proxies with `trusted_proxies = ["10.0.0.0/8"]`"#);
    insta::assert_snapshot!(refused("connections_per_client = 0"), @"config.toml:3: `connections_per_client` in [router]: 0 is not between 1 and 20000");
    insta::assert_snapshot!(refused("rate_limit = { requests = 0 }"), @"config.toml:3: `rate_limit` in [router]: `requests` is 0, and not between 1 and 1000000");
    insta::assert_snapshot!(refused("rate_limit = { requests = 1, every = \"1s\" }"), @"config.toml:3: unknown key `every` in [router.rate_limit]; known keys here are requests, per, burst");
    insta::assert_snapshot!(refused("access_log = \"some\""), @"config.toml:3: `access_log` in [router]: `some` is none of off, errors, sampled, all");
    insta::assert_snapshot!(refused("access_log = \"all\"\naccess_log_sample = 10"), @r#"config.toml:4: `access_log_sample` in [router]: nothing is sampled; write `access_log = "sampled"` too"#);
    insta::assert_snapshot!(refused("access_log = \"sampled\"\naccess_log_sample = 0"), @"config.toml:4: `access_log_sample` in [router]: 0 is not between 1 and 1000000");
    insta::assert_snapshot!(refused_after_base("[limits]\nmax_body = \"lots\""), @r#"config.toml:3: `max_body` in [limits]: `lots` is not a size of a body: write it like 512K or 10M (K, M, G, T; 1024-based), as bytes, or "unlimited""#);
    // In the route table stands what differs alone.
    let json = |text: &str| {
        let router = parse(&format!("base_domain = \"example.com\"\n[router]\n{text}")).router;
        let json = serde_json::to_string(&router).unwrap();
        assert_eq!(serde_json::from_str::<RouterConfig>(&json).unwrap(), router);
        json
    };
    insta::assert_snapshot!(json(""), @"{}");
    insta::assert_snapshot!(json("access_log = \"errors\"\nrate_limit = { requests = 5 }"), @r#"{"rate_limit":{"requests":5,"per":"1s","burst":5},"access_log":"errors"}"#);
}

#[test]
fn certificate_authorities() {
    let acme = |text: &str| {
        let text = format!("base_domain = \"example.com\"\n[acme]\naccept_terms = true\n{text}");
        HostConfig::parse(&text, "config.toml").map(|config| config.acme.unwrap().directory)
    };
    insta::assert_snapshot!(acme("").unwrap(), @"https://acme-v02.api.letsencrypt.org/directory");
    insta::assert_snapshot!(acme("staging = true").unwrap(), @"https://acme-staging-v02.api.letsencrypt.org/directory");
    let refused = |text: &str| acme(text).unwrap_err().to_string();
    insta::assert_snapshot!(refused("staging = true\ndirectory = \"https://ca.example\""), @"config.toml:5: `directory` in [acme]: `staging` chooses another one; keep one of the two");
    insta::assert_snapshot!(refused("directory = \"http://ca.example\""), @"config.toml:4: `directory` in [acme]: it does not begin with `https://`");
    insta::assert_snapshot!(refused("email = \"me\""), @"config.toml:4: `email` in [acme]: it is not one address like `ops@example.com`");
    insta::assert_snapshot!(refused("email = \"a@b.c,d@e.f\""), @"config.toml:4: `email` in [acme]: it is not one address like `ops@example.com`");
    insta::assert_snapshot!(refused("external_account_id = \"x\""), @"config.toml:4: `external_account_id` in [acme]: it is of no use without its key; name the key's file with `external_account_key_file`");
    insta::assert_snapshot!(refused("external_account_key_file = \"/x\""), @"config.toml:4: `external_account_key_file` in [acme]: it is of no use without the account's name; write it as `external_account_id`");
    insta::assert_snapshot!(refused_after_base("\n[acme]\nemail = \"a@b.c\""), @"config.toml:3: `acme`: certificate authorities have terms of service, and the account is yours; read them, and write `accept_terms = true` in [acme]");
    insta::assert_snapshot!(refused_after_base("[acme]\naccept_terms = false"), @"config.toml:3: `accept_terms` in [acme]: certificate authorities have terms of service, and the account is yours; read them, and write `accept_terms = true` in [acme]");
}

#[test]
fn proofs_in_dns() {
    let dns = |text: &str| {
        let text =
            format!("base_domain = \"k.example\"\n[acme]\naccept_terms = true\n[acme.dns]\n{text}");
        HostConfig::parse(&text, "config.toml")
    };
    let refused = |text: &str| dns(text).unwrap_err().to_string();
    insta::assert_snapshot!(refused("provider = \"x\""), @"config.toml:5: `provider` in [acme.dns]: it is none of `rfc2136`, `cloudflare`");
    insta::assert_snapshot!(refused("provider = \"cloudflare\"\nkey_name = \"k\""), @"config.toml:6: `key_name` in [acme.dns]: it is a key of `rfc2136`, and the provider is another; remove it; Cloudflare's token is the file /etc/kennel/acme/cloudflare-token");
    let cloudflare = |text: &str| dns(text).unwrap().acme.unwrap().dns.unwrap();
    assert_eq!(
        cloudflare("provider = \"cloudflare\"\nzone = \"k.example\""),
        AcmeDns::Cloudflare(Cloudflare { zone: Some("k.example".parse().unwrap()) })
    );
    insta::assert_snapshot!(refused("provider = \"rfc2136\""), @"config.toml:5: `provider` in [acme.dns]: updates by RFC 2136 need `server` as well");
    insta::assert_snapshot!(refused("provider = \"rfc2136\"\nserver = \"::1\""), @"config.toml:5: `provider` in [acme.dns]: updates by RFC 2136 need `key_name` as well");
    let whole = "provider = \"rfc2136\"\nserver = \"[::1]:5353\"\nkey_name = \"Kennel\"\n";
    insta::assert_snapshot!(refused(&whole.replace("[::1]:5353", "ns.example")), @"config.toml:6: `server` in [acme.dns]: it is not an address; write `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:53`; a name would have to be looked up first");
    insta::assert_snapshot!(refused(&whole.replace("Kennel", "a b")), @"config.toml:7: `key_name` in [acme.dns]: `a b` is not a host name: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest); give the key a name like a host's");
    insta::assert_snapshot!(refused(&format!("{whole}algorithm = \"hmac-md5\"")), @"config.toml:8: `algorithm` in [acme.dns]: it is none of `hmac-sha256`, `hmac-sha384`, `hmac-sha512`");
    let config = dns(whole).unwrap();
    let ordered = |config: &HostConfig, hosts: &str| {
        config.ordered_for(&hosts.parse().unwrap()).map(|it| it.to_string())
    };
    assert_eq!(ordered(&config, "api-main.shop.k.example").unwrap(), "*.shop.k.example");
    for alone in ["kennel.k.example", "shop.org", "www.shop.org", "a.b.c.k.example", "*.shop.org"] {
        assert_eq!(ordered(&config, alone).unwrap(), alone);
    }
    let without = parse("base_domain = \"k.example\"");
    assert_eq!(ordered(&without, "a.b.k.example").unwrap(), "a.b.k.example");
    assert_eq!(ordered(&without, "*.shop.org"), None);
}

#[test]
fn unknown_keys_and_what_was_meant() {
    insta::assert_snapshot!(refused_after_base("drain = 3"), @"config.toml:2: unknown key `drain`; did you mean `drain_secs`?");
    insta::assert_snapshot!(refused_after_base("[limits]\nmemory = \"1G\""), @"config.toml:3: unknown key `memory` in [limits]; did you mean `memory_max`?");
    insta::assert_snapshot!(refused_after_base("[limits]\nswap = \"1G\""), @"config.toml:3: unknown key `swap` in [limits]; known keys here are memory_max, cpu_quota, tasks_max, max_body");
    insta::assert_snapshot!(refused_after_base("[exipry]\nafter = \"7d\""), @"config.toml:2: unknown key `exipry`; did you mean `expiry`?");
    insta::assert_snapshot!(refused_after_base("nix = { max_silent_tim = \"20m\" }"), @"config.toml:2: unknown key `max_silent_tim` in [nix]; did you mean `max_silent_time`?");
}

#[test]
fn the_base_domain_is_needed() {
    insta::assert_snapshot!(refused(""), @"config.toml:1: `base_domain` is missing");
    insta::assert_snapshot!(refused("base_domain = \"Example.com\""), @"config.toml:1: `base_domain`: `Example.com` is not a host name: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest)");
    insta::assert_snapshot!(refused("base_domain = 5"), @"config.toml:1: `base_domain`: expected a string, found integer `5`; put it in quotes");
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(28)].join(".");
    assert_eq!(longest.len(), 156);
    assert_eq!(parse(&format!("base_domain = \"{longest}\"")).base_domain.as_str(), longest);
    insta::assert_snapshot!(refused(&format!("base_domain = \"{longest}d\"")), @"config.toml:1: `base_domain`: it is longer than 156 characters, which leaves no room for projects' hosts");
}

#[test]
fn the_control_host_meets_no_deployment() {
    let control = |host: &str| {
        parse(&format!("base_domain = \"b.test\"\ncontrol_host = \"{host}\"")).control_host
    };
    for good in ["ci.b.test", "b.test", "kennel.elsewhere.test", "x.y.ab.test"] {
        assert_eq!(control(good).as_str(), good);
    }
    insta::assert_snapshot!(refused_after_base("control_host = \"ci.site.example.com\""), @"config.toml:2: `control_host`: `ci.site.example.com` lies where projects have their hosts; use one more label than `example.com`, or a name outside of it");
    insta::assert_snapshot!(refused_after_base("control_host = \"ci.x.site.example.com\""), @"config.toml:2: `control_host`: `ci.x.site.example.com` lies where projects have their hosts; use one more label than `example.com`, or a name outside of it");
}

#[test]
fn numbers_have_ranges() {
    insta::assert_snapshot!(refused_after_base("max_concurrent_builds = 0"), @"config.toml:2: `max_concurrent_builds`: 0 is not between 1 and 256");
    insta::assert_snapshot!(refused_after_base("max_concurrent_builds = -1"), @"config.toml:2: `max_concurrent_builds`: -1 is not between 1 and 256");
    insta::assert_snapshot!(refused_after_base("max_concurrent_builds = \"2\""), @r#"config.toml:2: `max_concurrent_builds`: expected a whole number, found string "2""#);
    insta::assert_snapshot!(refused_after_base("drain_secs = 3601"), @"config.toml:2: `drain_secs`: 3601 is not between 0 and 3600");
    insta::assert_snapshot!(refused_after_base("keep_deployments = 0"), @"config.toml:2: `keep_deployments`: 0 is not between 1 and 1000");
    insta::assert_snapshot!(refused_after_base("[limits]\ntasks_max = 0"), @"config.toml:3: `tasks_max` in [limits]: 0 is not between 1 and 4194304");
    insta::assert_snapshot!(refused_after_base("keep_deployments = 99999999999999999999"), @"config.toml:2: `keep_deployments`: expected a whole number, found integer `99999999999999999999`");
}

#[test]
fn ports() {
    insta::assert_snapshot!(refused_after_base("port_range = [80, 90]"), @"config.toml:2: `port_range`: it is not `[first, last]` with two ports between 1024 and 65535, the first lower than the last");
    for wrong in
        ["[18001, 18000]", "[18000, 18000]", "[18000]", "[1, 2, 3]", "[18000, 65536]", "[]"]
    {
        let problem = refused_after_base(&format!("port_range = {wrong}"));
        assert!(problem.starts_with("config.toml:2: `port_range`: it is not"), "{problem}");
    }
    insta::assert_snapshot!(refused_after_base("port_range = 18000"), @"config.toml:2: `port_range`: expected a list in brackets, found integer `18000`");
}

#[test]
fn paths() {
    insta::assert_snapshot!(refused_after_base("unit_dir = \"etc/systemd\""), @"config.toml:2: `unit_dir`: `etc/systemd` is not a full path: it does not begin with `/`");
    insta::assert_snapshot!(refused_after_base("unit_dir = \"/etc/../tmp\""), @"config.toml:2: `unit_dir`: `/etc/../tmp` is not a full path: it has a part `.` or `..`");
    insta::assert_snapshot!(refused_after_base("unit_dir = \"/etc/%h\""), @"config.toml:2: `unit_dir`: `/etc/%h` is not a full path: it has a control character or `%`");
}

#[test]
fn periods() {
    insta::assert_snapshot!(refused_after_base("expiry = { after = \"7 days\" }"), @"config.toml:2: `after` in [expiry]: `7 days` is not a length of time: write it like 45s, 20m, 1h30m or 7d, or `never`");
    insta::assert_snapshot!(refused_after_base("previews = { sleep_after = \"soon\" }"), @"config.toml:2: `sleep_after` in [previews]: `soon` is not a length of time: write it like 45s, 20m, 1h30m or 7d, or `never`");
    insta::assert_snapshot!(refused_after_base("expiry = { after = 7 }"), @"config.toml:2: `after` in [expiry]: expected a string, found integer `7`; put it in quotes");
}

#[test]
fn servers() {
    insta::assert_snapshot!(refused_after_base("[valkey]\nurl = \"127.0.0.1:6379\""), @"config.toml:3: `url` in [valkey]: it does not begin with one of redis://, valkey://, unix://, or has white space");
    insta::assert_snapshot!(refused_after_base("[postgresql]\nurl = \"mysql://localhost\""), @"config.toml:3: `url` in [postgresql]: it does not begin with one of postgresql://, postgres://, or has white space");
    insta::assert_snapshot!(refused_after_base("[valkey]"), @"config.toml:2: `url` is missing in [valkey]");
    insta::assert_snapshot!(refused_after_base("[valkey]\nurl = \"rediss://cache\""), @"config.toml:3: `url` in [valkey]: it does not begin with one of redis://, valkey://, unix://, or has white space");
    insta::assert_snapshot!(refused_after_base("[valkey]\nurl = \"redis://cache\"\ndatabases = 0"), @"config.toml:4: `databases` in [valkey]: 0 is not between 1 and 65536");
    insta::assert_snapshot!(refused_after_base("[postgresql]\nurl = \"postgres:///x\"\ntemplate = \"\""), @"config.toml:4: `template` in [postgresql]: it is not the name of a database: 1 to 63 bytes");
    let valkey = parse("base_domain = \"example.com\"\nvalkey.url = \"unix:///run/v.sock\"").valkey;
    assert_eq!(valkey.map(|it| (it.databases, it.forks)), Some((16, false)));
}

#[test]
fn text_that_is_not_toml() {
    insta::assert_snapshot!(refused("base_domain = example.com"), @"config.toml:1: this is not TOML: string values must be quoted, expected literal string");
    insta::assert_snapshot!(refused("base_domain = \"a\nb\""), @r#"config.toml:1: this is not TOML: invalid basic string, expected `"`"#);
    insta::assert_snapshot!(refused_after_base("base_domain = \"b\""), @"config.toml:2: this is not TOML: duplicate key");
    insta::assert_snapshot!(refused_after_base("[nix"), @"config.toml:2: this is not TOML: unclosed table, expected `]`");
    insta::assert_snapshot!(refused("\u{feff}\nbase_domain"), @"config.toml:2: this is not TOML: key with no value, expected `=`");
    insta::assert_snapshot!(refused(&"#".repeat(1024 * 1024 + 1)), @"config.toml:1: the file is larger than 1048576 bytes");
}
