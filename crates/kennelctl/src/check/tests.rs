use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kennel_core::Layout;

use super::*;

/// A tree with a good configuration of one project.
fn good() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["etc/kennel/projects.d", "etc/kennel/webhook-secrets", "etc/systemd/system"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    put(&root, "etc/kennel/config.toml", "base_domain = \"example.com\"\n", 0o644);
    let site = "repo_url = \"https://git.test/site.git\"\nforge = \"forgejo\"\n";
    put(&root, "etc/kennel/projects.d/site.toml", site, 0o644);
    put(&root, "etc/kennel/webhook-secrets/site", &"s".repeat(32), 0o600);
    mode(&root, "etc/kennel/webhook-secrets", 0o700);
    root
}

fn put(root: &tempfile::TempDir, path: &str, text: &str, with_mode: u32) {
    fs::write(root.path().join(path), text).unwrap();
    mode(root, path, with_mode);
}

fn mode(root: &tempfile::TempDir, path: &str, mode: u32) {
    fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// What the check of the tree says, and how it ends.
fn said(root: &tempfile::TempDir) -> String {
    let findings = everything(&Layout::under(root.path()));
    let text = render(&findings, Terminal::plain());
    format!("{}{:?}", text.replace(root.path().to_str().unwrap(), ""), findings.exit())
}

fn said_of(root: &tempfile::TempDir, path: &Path, kind: Option<Kind>) -> String {
    let text = match one_file(path, kind) {
        Ok(findings) => {
            format!("{}{:?}", render(&findings, Terminal::plain()), findings.exit())
        }
        Err(failure) => format!("{}\n{:?}", failure.chain(), failure.exit()),
    };
    text.replace(root.path().to_str().unwrap(), "")
}

#[test]
fn all_good() {
    insta::assert_snapshot!(said(&good()), @"
    3 files checked: all good
    Done
    ");
}

#[test]
fn nothing_there_at_all() {
    insta::assert_snapshot!(said(&tempfile::tempdir().unwrap()), @r#"
    error: /etc/kennel/config.toml does not exist; write one with at least `base_domain = "example.com"`
    note: /etc/kennel/projects.d configures no project yet; write one as <project>.toml, see `kennelctl check --help`
    error: /etc/kennel/webhook-secrets does not exist, and without it the receiver of webhooks cannot start; make it with `install -d -m 700`
    1 file checked: 2 errors, 1 note
    BadConfiguration
    "#);
}

#[test]
fn every_file_s_first_problem_with_its_line() {
    let root = good();
    put(
        &root,
        "etc/kennel/config.toml",
        "base_domain = \"example.com\"\n\n[limts]\ntasks_max = 3\n",
        0o644,
    );
    put(
        &root,
        "etc/kennel/projects.d/site.toml",
        "repo_url = \"ext::sh -c x\"\nforge = \"forgejo\"\n",
        0o644,
    );
    put(&root, "etc/kennel/projects.d/router.toml", "", 0o644);
    put(&root, "etc/kennel/projects.d/Site.toml", "", 0o644);
    put(&root, "etc/kennel/projects.d/site.toml.bak", "", 0o644);
    put(&root, "etc/kennel/projects.d/.site.toml.swp", "", 0o644);
    insta::assert_snapshot!(said(&root), @r#"
    error: /etc/kennel/config.toml:3: unknown key `limts`; did you mean `limits`?
      |
    3 | [limts]
      |  ^
    error: /etc/kennel/projects.d/Site.toml does not configure a project: `Site` is not a project name: only a-z, 0-9 and `-` may stand in it; rename it
    error: /etc/kennel/projects.d/router.toml does not configure a project: `router` is not a project name: it is reserved, because Kennel's own units and users are named so; rename it
    error: /etc/kennel/projects.d/site.toml:1: `repo_url`: `ext::sh -c x` is not a repository address: it has white space or a control character
      |
    1 | repo_url = "ext::sh -c x"
      |            ^
    note: /etc/kennel/projects.d/site.toml.bak is ignored, since its name does not end in .toml; rename or remove it
    5 files checked: 4 errors, 1 note
    BadConfiguration
    "#);
}

#[test]
fn directories_and_repositories_that_are_not_there() {
    let root = good();
    put(
        &root,
        "etc/kennel/config.toml",
        "base_domain = \"example.com\"\nunit_dir = \"/run/systemd/system\"\n",
        0o644,
    );
    put(
        &root,
        "etc/kennel/projects.d/site.toml",
        "repo_url = \"/srv/site.git\"\nforge = \"gitea\"\n",
        0o644,
    );
    insta::assert_snapshot!(said(&root), @"
    error: /etc/kennel/config.toml names the unit_dir /run/systemd/system, which does not exist; make or correct it
    error: /etc/kennel/projects.d/site.toml names the repository /srv/site.git, which does not exist; correct repo_url
    3 files checked: 2 errors
    BadConfiguration
    ");
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    fs::create_dir_all(root.path().join("srv/site.git")).unwrap();
    assert!(said(&root).ends_with("all good\nDone"));
}

#[test]
fn secrets_that_are_none() {
    let root = good();
    for name in ["blog", "docs", "shop", "wiki"] {
        let text = format!("repo_url = \"https://git.test/{name}.git\"\nforge = \"github\"\n");
        put(&root, &format!("etc/kennel/projects.d/{name}.toml"), &text, 0o644);
    }
    put(&root, "etc/kennel/webhook-secrets/blog", " \n", 0o600);
    put(&root, "etc/kennel/webhook-secrets/docs", "letmein\n", 0o644);
    fs::create_dir(root.path().join("etc/kennel/webhook-secrets/shop")).unwrap();
    put(&root, "etc/kennel/webhook-secrets/gone", &"s".repeat(32), 0o600);
    mode(&root, "etc/kennel/webhook-secrets", 0o755);
    insta::assert_snapshot!(said(&root), @"
    error: /etc/kennel/webhook-secrets has mode 0755, so that others may list webhook secrets; use `chmod 700`
    error: /etc/kennel/webhook-secrets/blog is empty, and anybody can sign with that; put the secret into it
    error: /etc/kennel/webhook-secrets/docs has mode 0644, so that others may read it; use `chmod 600`
    note: /etc/kennel/webhook-secrets/docs has only 7 bytes; 32 random characters cannot be guessed
    note: /etc/kennel/webhook-secrets/gone belongs to no project: there is no projects.d/gone.toml; remove or rename it
    error: /etc/kennel/webhook-secrets/shop is not a file, and the receiver of webhooks takes no other; remove it
    error: /etc/kennel/webhook-secrets/wiki does not exist, so that every webhook of wiki is refused; put the secret into it that the forge signs with, mode 600
    11 files checked: 5 errors, 2 notes
    BadConfiguration
    ");
}

#[test]
fn secrets_that_would_keep_the_receiver_from_starting() {
    let root = good();
    put(&root, "etc/kennel/webhook-secrets/site", &"s".repeat(1024 * 1024 + 1), 0o600);
    insta::assert_snapshot!(said(&root), @"
    error: /etc/kennel/webhook-secrets/site has 1048577 bytes, and with it systemd hands over no secret at all (limit: 1 MiB for all together); remove it; is it a secret?
    3 files checked: 1 error
    BadConfiguration
    ");
    put(&root, "etc/kennel/webhook-secrets/site", &"s".repeat(600 * 1024), 0o600);
    put(&root, "etc/kennel/webhook-secrets/other", &"s".repeat(600 * 1024), 0o600);
    insta::assert_snapshot!(said(&root), @"
    note: /etc/kennel/webhook-secrets/other belongs to no project: there is no projects.d/other.toml; remove or rename it
    error: /etc/kennel/webhook-secrets holds 1228800 bytes, and systemd hands over at most 1 MiB; remove what is no secret
    4 files checked: 1 error, 1 note
    BadConfiguration
    ");
    fs::remove_dir_all(root.path().join("etc/kennel/webhook-secrets")).unwrap();
    insta::assert_snapshot!(said(&root), @"
    error: /etc/kennel/webhook-secrets does not exist, and without it the receiver of webhooks cannot start; make it with `install -d -m 700`
    2 files checked: 1 error
    BadConfiguration
    ");
}

#[test]
fn one_file_by_its_name_or_as_it_is_called() {
    let root = good();
    let at = |path: &str| root.path().join(path);
    put(&root, "kennel.toml", "[services.api]\nhelth_check = \"/up\"\n", 0o644);
    insta::assert_snapshot!(said_of(&root, &at("kennel.toml"), None), @r#"
    error: /kennel.toml:2: unknown key `helth_check` in [services.api]; did you mean `health_check`?
      |
    2 | helth_check = "/up"
      | ^
    1 file checked: 1 error
    BadConfiguration
    "#);
    put(
        &root,
        "kennel.toml",
        "[services.api]\npreview_database = true\nsecrets = [\"A\"]\n",
        0o644,
    );
    insta::assert_snapshot!(said_of(&root, &at("kennel.toml"), None), @"
    1 file checked: all good
    Done
    ");
    fs::write(at("kennel.toml"), b"# \xff\n").unwrap();
    insta::assert_snapshot!(said_of(&root, &at("kennel.toml"), None), @"
    error: /kennel.toml cannot be read: stream did not contain valid UTF-8; see `ls -l` and `file`
    1 file checked: 1 error
    BadConfiguration
    ");
    insta::assert_snapshot!(said_of(&root, &at("missing/kennel.toml"), None), @"
    /missing/kennel.toml does not exist
    NotFound
    ");
    insta::assert_snapshot!(said_of(&root, &at("etc/kennel/projects.d/site.toml"), None), @"
    1 file checked: all good
    Done
    ");
    put(&root, "new.toml", "forge = \"github\"\n", 0o644);
    insta::assert_snapshot!(said_of(&root, &at("new.toml"), None), @"
    what /new.toml configures does not follow from its name; add `--as host`, `--as project` or `--as repository`
    Usage
    ");
    insta::assert_snapshot!(said_of(&root, &at("new.toml"), Some(Kind::Project)), @r#"
    error: /new.toml:1: `repo_url` is missing
      |
    1 | forge = "github"
      | ^
    1 file checked: 1 error
    BadConfiguration
    "#);
    put(&root, "etc/kennel/projects.d/api.toml", "", 0o644);
    insta::assert_snapshot!(said_of(&root, &at("etc/kennel/projects.d/api.toml"), None), @"
    /etc/kennel/projects.d/api.toml is called like no project can be; rename it: `api` is not a project name: it is reserved, because Kennel's own units and users are named so
    BadConfiguration
    ");
}

#[test]
fn services_secrets() {
    let root = good();
    let put_secret = |path: &str, text: &str, with_mode| {
        let path = format!("etc/kennel/secrets/{path}");
        let directory = root.path().join(&path).parent().unwrap().to_owned();
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        put(&root, &path, text, with_mode);
    };
    put_secret("site/JWT_SECRET.cred", "c2VhbGVk\n", 0o600);
    put_secret("site/production/JWT_SECRET.cred", "c2VhbGVk\n", 0o600);
    put_secret("site/preview/TLS_KEY", "x", 0o400);
    insta::assert_snapshot!(said(&root), @"
    6 files checked: all good
    Done
    ");
    put_secret("site/OPEN", "the value itself", 0o644);
    put_secret("site/EMPTY", "\n", 0o600);
    put_secret("site/JWT_SECRET", "twice", 0o600);
    put_secret("site/notes.txt", "the value itself", 0o600);
    put_secret("site/preview/production/A", "x", 0o600);
    put_secret("gone/A", "x", 0o600);
    mode(&root, "etc/kennel/secrets/site/production", 0o777);
    insta::assert_snapshot!(said(&root), @"
    note: /etc/kennel/secrets/site/notes.txt is no secret: `notes.txt` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it; rename or remove it
    error: /etc/kennel/secrets/site/production has mode 0777, so that others may put secrets there; use `chmod go-w`
    note: /etc/kennel/secrets/site/preview/production is no secret: `production` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it; rename or remove it
    error: /etc/kennel/secrets/site/EMPTY cannot be handed over: it is empty; deployments that name it fail until then
    error: /etc/kennel/secrets/site/JWT_SECRET.cred cannot be used: /etc/kennel/secrets/site/JWT_SECRET is there twice, plain and as /etc/kennel/secrets/site/JWT_SECRET.cred; remove one of them; deployments that name it fail until then
    error: /etc/kennel/secrets/site/OPEN has mode 0644, so that others may read it; use `chmod 600`
    note: /etc/kennel/secrets/gone belongs to no project: there is no projects.d/gone.toml; remove or rename it
    9 files checked: 4 errors, 3 notes
    BadConfiguration
    ");
}

#[test]
fn directories_of_secrets_that_kennel_deploy_does_not_find() {
    let root = good();
    let named = |path: &str| {
        let text = format!("repo_url = \"https://git.test/x.git\"\nsecrets_dir = \"{path}\"\n");
        put(&root, "etc/kennel/projects.d/site.toml", &text, 0o644);
        said(&root)
    };
    insta::assert_snapshot!(named("/run/agenix"), @"
    error: /etc/kennel/projects.d/site.toml names the secrets_dir /run/agenix, which does not exist; make or correct it
    3 files checked: 1 error
    BadConfiguration
    ");
    insta::assert_snapshot!(named("/root/secrets"), @"
    error: /etc/kennel/projects.d/site.toml names the secrets_dir /root/secrets, which kennel-deploy does not see; let it lie outside of /home, /root, /run/user, /tmp and /var/tmp
    3 files checked: 1 error
    BadConfiguration
    ");
    // Where other programs' secrets lie as well.
    fs::create_dir_all(root.path().join("run/agenix")).unwrap();
    put(&root, "run/agenix/wireguard.key", "x", 0o400);
    put(&root, "run/agenix/A", "x", 0o400);
    insta::assert_snapshot!(named("/run/agenix"), @"
    4 files checked: all good
    Done
    ");
}
