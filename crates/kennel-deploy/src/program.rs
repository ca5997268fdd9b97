//! Which program of a store path is the service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kennel_core::config::ProgramPath;
use kennel_core::{Layout, ServiceName, StorePath};

use crate::DeployError;

/// `bin/<service>`, or the only executable in `bin/` beside the release program.
///
/// # Errors
/// [`DeployError::NoProgram`], which lists what is there.
pub(crate) fn find(
    layout: &Layout,
    path: &StorePath,
    service: &ServiceName,
    release: Option<&ProgramPath>,
) -> Result<String, DeployError> {
    let programs = programs(layout, path);
    if programs.iter().any(|program| program == service.as_str()) {
        return Ok(service.to_string());
    }
    let is_other = |program: &&String| release.is_none_or(|it| it.file_name() != *program);
    let mut others = programs.iter().filter(is_other);
    if let (Some(only), None) = (others.next(), others.next()) {
        return Ok(only.clone());
    }
    Err(missing(layout, path, service.as_str(), programs))
}

/// Whether `bin/<name>` can be run.
///
/// # Errors
/// [`DeployError::NoProgram`], which lists what is there.
pub(crate) fn ensure(layout: &Layout, path: &StorePath, name: &str) -> Result<(), DeployError> {
    let programs = programs(layout, path);
    if programs.iter().any(|program| program == name) {
        return Ok(());
    }
    Err(missing(layout, path, name, programs))
}

/// The executables in `bin/`, by name.
fn programs(layout: &Layout, path: &StorePath) -> Vec<String> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(layout.store(path).join("bin")).into_iter().flatten().flatten() {
        // Follows links: programs in Nix packages often are some.
        let executable = fs::metadata(entry.path())
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if executable {
            programs.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    programs.sort();
    programs
}

fn missing(
    layout: &Layout,
    path: &StorePath,
    wanted: &str,
    mut programs: Vec<String>,
) -> DeployError {
    let found = if !layout.store(path).join("bin").is_dir() {
        "there is no folder `bin`".to_owned()
    } else if programs.is_empty() {
        "nothing in it is executable".to_owned()
    } else {
        programs.truncate(20);
        format!("it holds {}", programs.join(", "))
    };
    DeployError::NoProgram { path: path.clone(), wanted: wanted.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api";

    fn found(files: &[(&str, u32)]) -> String {
        found_beside(files, None)
    }

    fn found_beside(files: &[(&str, u32)], release: Option<&str>) -> String {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let path: StorePath = PATH.parse().unwrap();
        let release: Option<ProgramPath> = release.map(|release| release.parse().unwrap());
        for (file, mode) in files {
            let file = layout.store(&path).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        match find(&layout, &path, &"api".parse().unwrap(), release.as_ref()) {
            Ok(program) => program,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn its_own_name_or_the_only_one() {
        assert_eq!(found(&[("bin/api", 0o555), ("bin/other", 0o555)]), "api");
        assert_eq!(found(&[("bin/server", 0o555), ("bin/readme", 0o444)]), "server");
    }

    #[test]
    fn the_release_program_is_not_the_service() {
        let both = [("bin/server", 0o555), ("bin/migrate", 0o555)];
        assert_eq!(found_beside(&both, Some("bin/migrate")), "server");
        let only = found_beside(&both[1..], Some("bin/migrate"));
        insta::assert_snapshot!(only, @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; it holds migrate");
    }

    #[test]
    fn otherwise_it_says_what_is_there() {
        insta::assert_snapshot!(found(&[("bin/a", 0o555), ("bin/b", 0o555)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; it holds a, b");
        insta::assert_snapshot!(found(&[("bin/a", 0o444)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; nothing in it is executable");
        insta::assert_snapshot!(found(&[("share/a", 0o444)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; there is no folder `bin`");
    }
}
