//! Where a project's repository is fetched from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// What `git fetch` is given: `https://`, `http://`, `ssh://`, `git://` or `file://`, ssh's short
/// form `user@host:path`, or an absolute path on this host (git-fetch(1), "Git URLs"). At most
/// 1000 bytes, without white space, control characters or a password.
///
/// Remote helpers (`ext::…`, which runs commands) and anything that git could take for an option
/// are refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoUrl(String);

/// The schemes that git speaks without a helper that Kennel does not know.
const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

impl RepoUrl {
    /// The one word for `GIT_ALLOW_PROTOCOL` (git(1)): `https`, `http`, `ssh`, `git` or `file`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.0.starts_with('/') {
            return "file";
        }
        let scheme = self.0.split_once("://").map_or("ssh", |(scheme, _)| scheme);
        SCHEMES.into_iter().find(|known| *known == scheme).unwrap_or("ssh")
    }

    /// The repository's directory, if it lies on this host.
    #[must_use]
    pub fn local_path(&self) -> Option<&Path> {
        let path = self.0.strip_prefix("file://").unwrap_or(&self.0);
        path.starts_with('/').then(|| Path::new(path))
    }

    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 1000 {
            return Err("it has not 1 to 1000 characters");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("it has white space or a control character");
        }
        if text.starts_with('-') {
            return Err("it begins with `-`, which git takes for an option");
        }
        if text.starts_with('/') {
            return check_path(text);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !SCHEMES.contains(&scheme) {
                return Err("only https, http, ssh, git, file and absolute paths can be fetched");
            }
            return if scheme == "file" { check_path(rest) } else { check_remote(rest) };
        }
        // As git does: `host:path` is ssh if no slash stands before the colon.
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') => {
                if path.starts_with(':') {
                    return Err("git's remote helpers (`name::address`) can run commands");
                }
                if path.is_empty() || path.starts_with('-') {
                    return Err("its path is empty or begins with `-`");
                }
                check_authority(host)
            }
            Some(_) | None => Err("it is neither a URL nor an absolute path"),
        }
    }
}

/// `[user@]host[:port]/path`
fn check_remote(rest: &str) -> Result<(), &'static str> {
    let Some((authority, path)) = rest.split_once('/') else {
        return Err("it has no path after the host");
    };
    if path.is_empty() {
        return Err("it has no path after the host");
    }
    check_authority(authority)
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    // The last `@`, since a password may hold one.
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err("it holds a password, and every program on this host can read it here");
    }
    if host.is_empty() || host.starts_with(':') {
        return Err("it has no host");
    }
    // ssh would take such a host or user for an option; git refuses it too.
    if host.starts_with('-') || user.starts_with('-') {
        return Err("its host or user begins with `-`");
    }
    let address = host.starts_with('[');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if !address && !host.bytes().all(allowed) {
        return Err("its host has characters that no host name has");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("a path must be absolute, and file:// takes no host");
    }
    // Git decodes `%` in file URLs, and then `local_path` would name another directory.
    if path.contains('%') {
        return Err("`%` cannot stand in the path of a local repository");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("its path has a part `..`");
    }
    Ok(())
}

text_newtype!(RepoUrl, "repository address");
