//! The files of a repository that is pushed, made of the samples under `tests/samples/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::host::Host;

/// The samples, ready to be put together: the service is compiled, the builder is at hand.
#[derive(Clone, Debug)]
pub struct Samples {
    flake: Arc<[u8]>,
    busybox: Arc<[u8]>,
    service: Arc<[u8]>,
    site: Arc<[(String, Vec<u8>)]>,
    spa: Arc<[(String, Vec<u8>)]>,
}

impl Samples {
    /// Compiles the service and reads the rest. It is the host's busybox that builds.
    ///
    /// # Errors
    /// When `rustc` fails or a file is missing.
    pub fn prepare(checkout: &Checkout, host: &Host) -> Result<Self> {
        let samples = checkout.root().join("tests/samples");
        Ok(Self {
            flake: read(&samples.join("flake.nix"))?.into(),
            busybox: host.read("usr/bin/busybox")?.into(),
            service: compile(checkout, "service")?.into(),
            site: read_folder(&samples.join("site"), "")?.into(),
            spa: read_folder(&samples.join("spa"), "")?.into(),
        })
    }

    /// A repository with the flake and its tools, and neither a service nor a site.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let mut sources = Sources { samples: self.clone(), files: BTreeMap::new() };
        sources.put("flake.nix", &self.flake, false);
        sources.put("tools/busybox", &self.busybox, true);
        sources.put("program/service", &self.service, true);
        sources
    }
}

/// The files of one commit.
#[derive(Clone, Debug)]
pub struct Sources {
    samples: Samples,
    files: BTreeMap<String, File>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct File {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether its mode in git is 100755.
    pub executable: bool,
}

impl Sources {
    /// Adds the sample service under this name; its answers say `version`.
    #[must_use]
    pub fn service(self, name: &str, version: &str) -> Self {
        self.service_with(name, &format!("version = {version}\n"))
    }

    /// Adds the sample service with a whole `service.conf`; `tests/samples/service/main.rs` lists
    /// its keys.
    #[must_use]
    pub fn service_with(self, name: &str, conf: &str) -> Self {
        self.file(&format!("services/{name}/service.conf"), conf)
    }

    /// Adds the sample site under this name, with `text` as its headline.
    #[must_use]
    pub fn site(mut self, name: &str, text: &str) -> Self {
        for (path, bytes) in self.samples.site.clone().iter() {
            let page = String::from_utf8_lossy(bytes);
            let bytes = page.replace("It was pushed, and here it is.", text);
            self.put(&format!("sites/{name}/{path}"), bytes.as_bytes(), false);
        }
        self
    }

    /// Adds the sample app of one page under this name; `kennel.toml` says that it is one.
    #[must_use]
    pub fn spa(mut self, name: &str) -> Self {
        for (path, bytes) in self.samples.spa.clone().iter() {
            self.put(&format!("sites/{name}/{path}"), bytes, false);
        }
        self
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.put(path, bytes.as_ref(), false);
        self
    }

    /// Leaves a file out.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// Sets `kennel.toml`; without this it names every service and site.
    #[must_use]
    pub fn kennel_toml(self, text: &str) -> Self {
        self.file("kennel.toml", text)
    }

    /// All files by path, with a `kennel.toml`.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, File> {
        let mut files = self.files.clone();
        files.entry("kennel.toml".to_owned()).or_insert_with(|| File {
            bytes: self.default_kennel_toml().into_bytes(),
            executable: false,
        });
        files
    }

    fn put(&mut self, path: &str, bytes: &[u8], executable: bool) {
        self.files.insert(path.to_owned(), File { bytes: bytes.to_vec(), executable });
    }

    fn default_kennel_toml(&self) -> String {
        let mut text = String::new();
        for name in self.folders("services/") {
            text.push_str(&format!("[services.{name}]\nhealth_check = \"/health\"\n\n"));
        }
        for name in self.folders("sites/") {
            let spa = self
                .samples
                .spa
                .iter()
                .all(|(path, _)| self.files.contains_key(&format!("sites/{name}/{path}")));
            let spa = if spa { "spa = true\n" } else { "" };
            text.push_str(&format!("[static_sites.{name}]\n{spa}\n"));
        }
        text
    }

    fn folders(&self, below: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(below)?.split('/').next().map(str::to_owned))
            .collect();
        names.dedup();
        names
    }
}

/// A sample of one file as a static program, so that it runs where only itself was copied to.
///
/// # Errors
/// When `rustc` fails.
pub fn compile(checkout: &Checkout, name: &str) -> Result<Vec<u8>> {
    let source = &checkout.root().join("tests/samples").join(name).join("main.rs");
    let folder = checkout.target().join("samples");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let program = folder.join(name);
    if !is_newer(&program, source) {
        // Two test runs at once both compile; each renames a whole program into place.
        let new = folder.join(format!("{name}.{}", std::process::id()));
        let status = Command::new("rustc")
            .args(["--edition", "2024", "-O", "-C", "strip=symbols", "-C", "panic=abort"])
            .args(["-C", "target-feature=+crt-static", "-o"])
            .args([&new, source])
            .status()
            .context("cannot run rustc")?;
        if !status.success() {
            bail!("rustc cannot compile {} ({status})", source.display());
        }
        fs::rename(&new, &program)?;
    }
    read(&program)
}

fn is_newer(program: &Path, source: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    matches!((changed(program), changed(source)), (Some(program), Some(source)) if program > source)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_folder(folder: &Path, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files.extend(read_folder(&entry.path(), &format!("{name}/"))?);
        } else {
            files.push((name, read(&entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kennel_toml_names_what_is_there() {
        let samples = Samples {
            flake: Arc::from(*b"flake"),
            busybox: Arc::from(*b"busybox"),
            service: Arc::from(*b"service"),
            site: Arc::from([("index.html".to_owned(), b"site".to_vec())]),
            spa: Arc::from([("app.js".to_owned(), b"app".to_vec())]),
        };
        let sources = samples.sources().service("api", "v1").site("web", "hello").spa("app");
        let files = sources.files();
        assert_eq!(
            String::from_utf8_lossy(&files["kennel.toml"].bytes),
            "[services.api]\nhealth_check = \"/health\"\n\n\
             [static_sites.app]\nspa = true\n\n[static_sites.web]\n\n"
        );
        assert!(files["tools/busybox"].executable);
        let own = sources.kennel_toml("x").files();
        assert_eq!(own["kennel.toml"].bytes, b"x");
    }
}
