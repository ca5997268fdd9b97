use super::*;
use crate::config::{Period, System};

const FORGE: &str = "forge = \"forgejo\"\n";

fn parse(text: &str) -> ProjectConfig {
    ProjectConfig::parse("site".parse().unwrap(), text, "site.toml").unwrap()
}

fn refused(text: &str) -> String {
    ProjectConfig::parse("site".parse().unwrap(), text, "site.toml").unwrap_err().to_string()
}

fn with(text: &str) -> String {
    format!("repo_url = \"/srv/site.git\"\n{FORGE}{text}")
}

fn branch(text: &str) -> Branch {
    text.parse().unwrap()
}

#[test]
fn production_comes_before_previews() {
    let project = parse(&with(
        "[limits]\nmemory_max = \"4G\"\nweight = 300\n\
         [preview_limits]\ncpu_quota = \"50%\"\ntasks_max = 64\n",
    ));
    assert_eq!((project.limits.weight, project.limits.most.cpu_quota), (300, None));
    assert_eq!(project.limits.most.memory_max, Some("4G".parse().unwrap()));
    let share = |git_ref: &str| project.share(&git_ref.parse().unwrap());
    assert_eq!(share("refs/heads/main"), Share::unlimited(100));
    assert_eq!(share("refs/heads/x").weight, 20);
    assert_eq!(share("refs/pull/7/head").most.tasks_max, Some(64));
    let limits = |text: &str| refused(&with(&format!("[limits]\n{text}")));
    insta::assert_snapshot!(limits("weight = 0"), @"site.toml:4: `weight` in [limits]: 0 is not between 1 and 10000");
    insta::assert_snapshot!(limits("tasks_max = 0"), @"site.toml:4: `tasks_max` in [limits]: 0 is not between 1 and 4194304");
    insta::assert_snapshot!(limits("memory = \"1G\""), @"site.toml:4: unknown key `memory` in [limits]; did you mean `memory_max`?");
}

#[test]
fn previews_sleep_if_somebody_says_so() {
    let host = |text: &str| {
        HostConfig::parse(&format!("base_domain = \"example.com\"\n{text}"), "config.toml").unwrap()
    };
    let service = |text: &str| {
        let text = format!("[services.api]\n{text}");
        let manifest = crate::config::Manifest::parse(&text, "kennel.toml").unwrap();
        manifest.services.into_values().next().unwrap()
    };
    let (previews, unsaid) = ("[previews]\nsleep_after = ", "");
    let minutes = |host_says: &str, project_says: &str, service_says: &str| {
        let project = parse(&with(project_says));
        let after = |git_ref: &str| {
            let after = project.sleep_after(
                &git_ref.parse().unwrap(),
                &service(service_says),
                &host(host_says),
            );
            after.map(|after| after.as_secs() / 60)
        };
        assert_eq!(after("refs/heads/x"), after("refs/pull/7/head"));
        (after("refs/heads/main"), after("refs/heads/x"))
    };
    let (ten, twenty) = (format!("{previews}\"10m\""), format!("{previews}\"20m\""));
    let never = format!("{previews}\"never\"");
    assert_eq!(minutes(unsaid, unsaid, unsaid), (None, None));
    assert_eq!(minutes(&ten, unsaid, unsaid), (None, Some(10)));
    assert_eq!(minutes(&ten, &twenty, unsaid), (None, Some(20)));
    assert_eq!(minutes(&ten, &never, unsaid), (None, None));
    assert_eq!(minutes(&ten, unsaid, "sleep_after = \"never\""), (None, None));
    assert_eq!(minutes(unsaid, &never, "sleep_after = \"30m\""), (Some(30), Some(30)));
}

#[test]
fn previews_are_for_those_who_may_come_in() {
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    let host = |text: &str| {
        let text = format!("base_domain = \"example.com\"\n[previews]\n{text}");
        HostConfig::parse(&text, "config.toml").unwrap()
    };
    let (open, closed) =
        (host(""), host(&format!("password = \"{HASH}\"\nallow_from = [\"10.0.0.0/8\"]\n")));
    let who = |text: &str, git_ref: &str, host: &HostConfig| {
        let (project, git_ref) = (parse(&with(text)), git_ref.parse().unwrap());
        let asks = project.preview_password(&git_ref, host).is_some();
        let from: Vec<String> = project
            .allow_from(&git_ref, host)
            .iter()
            .map(|list| list.iter().map(AddressRange::as_str).collect::<Vec<_>>().join(" "))
            .collect();
        format!("{asks} {}", from.join(", "))
    };
    let (main, next, pull) = ("refs/heads/main", "refs/heads/next", "refs/pull/5/head");
    assert_eq!(who("", main, &open), "false ");
    assert_eq!(who("", next, &open), "false ");
    // Production has nothing to do with it, whatever its name.
    assert_eq!(who("", main, &closed), "false ");
    assert_eq!(who("default_branch = \"next\"\n", next, &closed), "false ");
    for preview in [next, pull] {
        assert_eq!(who("", preview, &closed), "true 10.0.0.0/8");
        let own = "[previews]\npassword = \"none\"\nallow_from = [\"::/0\", \"0.0.0.0/0\"]\n";
        assert_eq!(who(own, preview, &closed), "false ::/0 0.0.0.0/0");
        let own = format!("[previews]\npassword = \"{HASH}\"\n");
        assert_eq!(who(&own, preview, &open), "true ");
    }
    let access = "[access]\nallow_from = [\"192.0.2.0/24\"]\n";
    assert_eq!(who(access, main, &closed), "false 192.0.2.0/24");
    assert_eq!(who(access, next, &closed), "true 192.0.2.0/24, 10.0.0.0/8");

    insta::assert_snapshot!(refused(&with("[previews]\npassword = \"hunter2\"\n")), @"site.toml:4: `password` in [previews]: this is not the Argon2id hash of a password: it does not begin with `$argon2id$`; `kennelctl password-hash` makes the line of a password; `none` asks for none");
    insta::assert_snapshot!(refused(&with("[access]\nallow_from = []\n")), @"site.toml:4: `allow_from` in [access]: it lets nobody in; name addresses and networks, or leave the key out to let everybody in");
    insta::assert_snapshot!(refused(&with("[previews]\nallow_from = [\"10.0.0.0/33\"]\n")), @"site.toml:4: `allow_from` in [previews]: `10.0.0.0/33` is not a range of addresses: its prefix is not 0 to 32, or to 128");
}

#[test]
fn two_keys_are_enough() {
    let project = parse(&with(""));
    assert_eq!(project.name.as_str(), "site");
    assert_eq!(project.default_branch, branch("main"));
    assert!(project.branches.matches(&branch("feature/x")));
    assert_eq!(project.pull_requests, PullRequestPolicy::Trusted);
    assert_eq!(project.domains, None);
    assert_eq!(project.systems, []);
    assert!(project.allows_domain(&"anything.test".parse().unwrap()));
    // All names at once are for the operator to give.
    assert!(!project.allows_domain(&"*.anything.test".parse().unwrap()));
    assert!(!project.lists_domain(&"anything.test".parse().unwrap()));
    assert_eq!(project.secrets_dir, PathBuf::from("/etc/kennel/secrets/site"));
}

#[test]
fn every_key_is_read() {
    let project = parse(
        r#"
        repo_url = "https://git.example.com/team/site.git"
        forge = "github"
        default_branch = "trunk"
        branches = ["release/*", "v?"]
        pull_requests = "none"
        domains = ["site.test", "*.site.test"]
        systems = ["x86_64-linux", "aarch64-linux"]
        secrets_dir = "/run/agenix/site"
        "#,
    );
    assert_eq!(project.repo_url.as_str(), "https://git.example.com/team/site.git");
    assert_eq!(project.forge, Some(Forge::Github));
    assert_eq!(project.pull_requests, PullRequestPolicy::None);
    for deploys in ["trunk", "release/1.0", "release/a/b", "v2"] {
        assert!(project.branches.matches(&branch(deploys)), "{deploys}");
    }
    for stays in ["main", "releases", "v10"] {
        assert!(!project.branches.matches(&branch(stays)), "{stays}");
    }
    for (host, allowed) in [
        ("site.test", true),
        ("a.b.site.test", true),
        ("mysite.test", false),
        ("test", false),
        ("*.site.test", true),
        ("*.a.site.test", true),
        ("*.mysite.test", false),
        ("*.test", false),
    ] {
        let host = host.parse().unwrap();
        assert_eq!(project.allows_domain(&host), allowed, "{host}");
        assert_eq!(project.lists_domain(&host), allowed, "{host}");
    }
    assert_eq!(project.secrets_dir, PathBuf::from("/run/agenix/site"));
    assert_eq!(
        project.systems.iter().map(System::as_str).collect::<Vec<_>>(),
        ["x86_64-linux", "aarch64-linux"]
    );
}

#[test]
fn empty_lists_mean_only_the_default_branch_and_no_domain() {
    let project = parse(&with("branches = []\ndomains = []"));
    assert!(project.branches.matches(&branch("main")));
    assert!(!project.branches.matches(&branch("other")));
    assert!(!project.allows_domain(&"site.test".parse().unwrap()));
}

#[test]
fn a_wildcard_is_not_for_the_domain_itself() {
    let pattern: DomainPattern = "*.site.test".parse().unwrap();
    let allows = |host: &str| pattern.allows(&host.parse().unwrap());
    assert!(allows("www.site.test"));
    assert!(!allows("site.test"));
    assert!(!allows("mysite.test"));
    let alone: DomainPattern = "site.test".parse().unwrap();
    assert!(!alone.allows(&"*.site.test".parse().unwrap()));
    assert!("*".parse::<DomainPattern>().is_err());
    assert!("*.*.test".parse::<DomainPattern>().is_err());
}

#[test]
fn refusals() {
    insta::assert_snapshot!(refused(FORGE), @"site.toml:1: `repo_url` is missing");
    insta::assert_snapshot!(refused("repo_url = \"/srv/site.git\"\nforge = \"gitlab\""), @"site.toml:2: `forge`: `gitlab` is none of forgejo, gitea, github");
    insta::assert_snapshot!(refused("repo_url = \"/srv/site.git\"\nforge = \"forgejoo\""), @"site.toml:2: `forge`: `forgejoo` is none of forgejo, gitea, github");
    insta::assert_snapshot!(refused(&with("pull_requests = \"everyone\"")), @"site.toml:3: `pull_requests`: `everyone` is none of trusted, all, none");
    insta::assert_snapshot!(refused(&with("default_branch = \"a b\"")), @r"site.toml:3: `default_branch`: `a b` is not a branch name: git allows no control characters, spaces or any of ~^:?*[\ in it");
    insta::assert_snapshot!(refused(&with("branches = [\"main\", \"a b\"]")), @r"site.toml:3: `branches`: `a b` is not a pattern for branches: no branch can match it: git allows no spaces, control characters or ~^:[\");
    insta::assert_snapshot!(refused(&with("branches = [\"refs/heads/main\"]")), @"site.toml:3: `branches`: `refs/heads/main` is not a pattern for branches: write the branch without refs/heads/");
    insta::assert_snapshot!(refused(&with("branches = \"main\"")), @r#"site.toml:3: `branches`: expected a list in brackets, found string "main""#);
    insta::assert_snapshot!(refused(&with("domains = [\"*site.test\"]")), @"site.toml:3: `domains`: `*site.test` is not a domain pattern: only a-z, 0-9, `-` and dots may stand in it (punycode for the rest)");
    insta::assert_snapshot!(refused(&with("systems = [\"x86_64\"]")), @"site.toml:3: `systems`: `x86_64` is not a system: write a processor and a kernel, such as `aarch64-linux`");
    insta::assert_snapshot!(refused(&with("systems = [\"x86_64-linux\", \"x86_64-linux\"]")), @"site.toml:3: `systems`: x86_64-linux stands in it twice");
    insta::assert_snapshot!(refused(&with("systems = []")), @"site.toml:3: `systems`: nothing can be built for no system; leave the key out for the host's own");
    insta::assert_snapshot!(refused(&with("secrets_dir = \"secrets\"")), @"site.toml:3: `secrets_dir`: `secrets` is not a full path: it does not begin with `/`");
    insta::assert_snapshot!(refused(&with("branch = \"main\"")), @"site.toml:3: unknown key `branch`; did you mean `branches`?");
    insta::assert_snapshot!(refused(&with("name = \"site\"")), @"site.toml:3: unknown key `name`; known keys here are repo_url, forge, default_branch, branches, pull_requests, domains, systems, secrets_dir, expire_after, expire_branches, limits, preview_limits, access, previews");
}

#[test]
fn addresses_that_git_would_misread() {
    let url = |url: &str| {
        url.parse::<RepoUrl>().map_or_else(|error| error.to_string(), |url| panic!("{url} passed"))
    };
    insta::assert_snapshot!(url(""), @"`` is not a repository address: it has not 1 to 1000 characters");
    insta::assert_snapshot!(url("--upload-pack=x"), @"`--upload-pack=x` is not a repository address: it begins with `-`, which git takes for an option");
    insta::assert_snapshot!(url("ext::sh -c x"), @"`ext::sh -c x` is not a repository address: it has white space or a control character");
    insta::assert_snapshot!(url("ext::sh"), @"`ext::sh` is not a repository address: git's remote helpers (`name::address`) can run commands");
    insta::assert_snapshot!(url("ftp://host/x"), @"`ftp://host/x` is not a repository address: only https, http, ssh, git, file and absolute paths can be fetched");
    insta::assert_snapshot!(url("https://user:token@host/x.git"), @"`https://user:token@host/x.git` is not a repository address: it holds a password, and every program on this host can read it here");
    insta::assert_snapshot!(url("https://user:to@ken@host/x.git"), @"`https://user:to@ken@host/x.git` is not a repository address: it holds a password, and every program on this host can read it here");
    insta::assert_snapshot!(url("https://host"), @"`https://host` is not a repository address: it has no path after the host");
    insta::assert_snapshot!(url("https:///x"), @"`https:///x` is not a repository address: it has no host");
    insta::assert_snapshot!(url("ssh://-oProxyCommand=x/y"), @"`ssh://-oProxyCommand=x/y` is not a repository address: its host or user begins with `-`");
    insta::assert_snapshot!(url("ssh://-x@host/y"), @"`ssh://-x@host/y` is not a repository address: its host or user begins with `-`");
    insta::assert_snapshot!(url("https://ho$st/y"), @"`https://ho$st/y` is not a repository address: its host has characters that no host name has");
    insta::assert_snapshot!(url("-host:path"), @"`-host:path` is not a repository address: it begins with `-`, which git takes for an option");
    insta::assert_snapshot!(url("git@host:"), @"`git@host:` is not a repository address: its path is empty or begins with `-`");
    insta::assert_snapshot!(url("git@host:-x"), @"`git@host:-x` is not a repository address: its path is empty or begins with `-`");
    insta::assert_snapshot!(url("./site.git"), @"`./site.git` is not a repository address: it is neither a URL nor an absolute path");
    insta::assert_snapshot!(url("file://host/x"), @"`file://host/x` is not a repository address: a path must be absolute, and file:// takes no host");
    insta::assert_snapshot!(url("file:///x/%2e%2e/y"), @"`file:///x/%2e%2e/y` is not a repository address: `%` cannot stand in the path of a local repository");
    insta::assert_snapshot!(url("/srv/../etc"), @"`/srv/../etc` is not a repository address: its path has a part `..`");
    insta::assert_snapshot!(url("https://host/x\n"), @r"`https://host/x\n` is not a repository address: it has white space or a control character");
    insta::assert_snapshot!(url(&format!("/{}", "x".repeat(1000))), @"`/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not a repository address: it has not 1 to 1000 characters");
}

#[test]
fn addresses_their_protocols_and_paths() {
    for (url, protocol, path) in [
        ("https://git.example.com/team/site.git", "https", None),
        ("https://user@git.example.com:8443/site", "https", None),
        ("http://[::1]:3000/site", "http", None),
        ("ssh://git@host:2222/site.git", "ssh", None),
        ("git@host:team/site.git", "ssh", None),
        ("host:site", "ssh", None),
        ("git://host/site", "git", None),
        ("file:///srv/site.git", "file", Some("/srv/site.git")),
        ("/srv/site.git", "file", Some("/srv/site.git")),
        ("/srv/with:colon://x", "file", Some("/srv/with:colon://x")),
    ] {
        let parsed: RepoUrl = url.parse().unwrap();
        assert_eq!(parsed.protocol(), protocol, "{url}");
        assert_eq!(parsed.local_path(), path.map(std::path::Path::new), "{url}");
    }
}

#[test]
fn production_is_the_default_branch_alone() {
    let project = parse(&with("default_branch = \"trunk\""));
    let scopes = |git_ref: &str| project.secret_scopes(&git_ref.parse().unwrap(), false);
    assert_eq!(scopes("refs/heads/trunk"), [SecretScope::Production, SecretScope::Both]);
    for other in ["refs/heads/main", "refs/heads/trunk2", "refs/heads/pr-1", "refs/pull/1/head"] {
        assert_eq!(scopes(other), [SecretScope::Preview, SecretScope::Both], "{other}");
    }
    for any in ["refs/heads/trunk", "refs/pull/1/head"] {
        assert_eq!(project.secret_scopes(&any.parse().unwrap(), true), [], "a fork's {any}");
    }
}

fn expires(text: &str, git_ref: &str, fork: bool) -> String {
    let host = HostConfig::parse("base_domain = \"example.com\"", "config.toml").unwrap();
    match parse(&with(text)).expires(&git_ref.parse().unwrap(), fork, &host) {
        Expires::Never => "never".to_owned(),
        Expires::Unused(length) => format!("unused for {}", Period(length)),
        Expires::Pushed(length) => format!("{} after the push", Period(length)),
    }
}

#[test]
fn branches_expire_by_the_longest_pattern_and_the_default_branch_never() {
    let (main, x, pull) = ("refs/heads/main", "refs/heads/feature/x", "refs/pull/5/head");
    assert_eq!(expires("", main, false), "never");
    assert_eq!(expires("", x, false), "unused for 7d");
    assert_eq!(expires("", pull, true), "1d after the push");
    let text = "default_branch = \"trunk\"\nexpire_after = \"12h\"\n[expire_branches]\n\
                \"*\" = \"2d\"\n\"feature/*\" = \"never\"\n\"trunk\" = \"1s\"";
    assert_eq!(expires(text, "refs/heads/trunk", false), "never");
    assert_eq!(expires(text, main, false), "unused for 2d");
    assert_eq!(expires(text, x, false), "never");
    assert_eq!(expires(text, pull, false), "unused for 12h");
    assert_eq!(expires(text, pull, true), "12h after the push");
    let never = "expire_after = \"never\"";
    assert_eq!(expires(never, x, false), "never");
    assert_eq!(expires(never, pull, true), "1d after the push");
}

#[test]
fn lengths_of_life_are_checked() {
    insta::assert_snapshot!(refused(&with("expire_after = \"soon\"")), @"site.toml:3: `expire_after`: `soon` is not a length of time: write it like 45s, 20m, 1h30m or 7d, or `never`");
    insta::assert_snapshot!(refused(&with("[expire_branches]\n\"a b\" = \"1d\"")), @r"site.toml:4: [expire_branches]: `a b` is not a pattern for branches: no branch can match it: git allows no spaces, control characters or ~^:[\");
    insta::assert_snapshot!(refused(&with("[expire_branches]\n\"a/*\" = 1")), @"site.toml:4: `a/*` in [expire_branches]: expected a string, found integer `1`; put it in quotes");
}
