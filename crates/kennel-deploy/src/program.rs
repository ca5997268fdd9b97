//! Which program of a store path is the service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kennel_core::{Layout, ServiceName, StorePath};

use crate::DeployError;

/// `bin/<service>`, or the only executable in `bin/`.
///
/// # Errors
/// [`DeployError::NoProgram`], which lists what is there.
pub(crate) fn find(
    layout: &Layout,
    path: &StorePath,
    service: &ServiceName,
) -> Result<String, DeployError> {
    let bin = layout.store(path).join("bin");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&bin).into_iter().flatten().flatten() {
        // Follows links: programs in Nix packages often are some.
        let executable = fs::metadata(entry.path())
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if executable {
            programs.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    programs.sort();
    if programs.iter().any(|program| program == service.as_str()) {
        return Ok(service.to_string());
    }
    if let [only] = programs.as_slice() {
        return Ok(only.clone());
    }
    let found = if !bin.is_dir() {
        "there is no folder `bin`".to_owned()
    } else if programs.is_empty() {
        "nothing in it is executable".to_owned()
    } else {
        programs.truncate(20);
        format!("it holds {}", programs.join(", "))
    };
    Err(DeployError::NoProgram { path: path.clone(), wanted: service.to_string(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api";

    fn found(files: &[(&str, u32)]) -> String {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let path: StorePath = PATH.parse().unwrap();
        for (file, mode) in files {
            let file = layout.store(&path).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        match find(&layout, &path, &"api".parse().unwrap()) {
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
    fn otherwise_it_says_what_is_there() {
        insta::assert_snapshot!(found(&[("bin/a", 0o555), ("bin/b", 0o555)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; it holds a, b");
        insta::assert_snapshot!(found(&[("bin/a", 0o444)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; nothing in it is executable");
        insta::assert_snapshot!(found(&[("share/a", 0o444)]), @"/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api/bin holds no program called `api`; there is no folder `bin`");
    }
}
