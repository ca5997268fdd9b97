//! The operator's configuration as it was when it could be used last.
//!
//! For kennel-restore alone: after a boot with a mistake in `config.toml`, what served serves again
//! as it did. Nothing new is made with it; that waits for the repair.

use std::fs;

use kennel_core::Layout;
use kennel_core::config::HostConfig;
use tracing::warn;

use crate::{DeployError, file};

/// Keeps a copy of what can be used now. Without one, a boot with a mistake starts nothing.
pub fn keep(layout: &Layout) {
    let Ok(text) = fs::read_to_string(layout.config()) else { return };
    let copy = layout.last_config();
    // It may have been edited since it was loaded.
    if parsed(layout, &text).is_none() || fs::read_to_string(&copy).is_ok_and(|kept| kept == text) {
        return;
    }
    // Who may read the original is the operator's to say.
    if let Err(error) = file::replace(&copy, &text, 0o600) {
        warn!("{}, ignoring: tried again by the next kennel-restore", error.chain());
    }
}

/// What was kept; none if nothing was, or if this version of Kennel cannot use it.
pub(crate) fn load(layout: &Layout) -> Result<Option<HostConfig>, DeployError> {
    let copy = layout.last_config();
    match fs::read_to_string(&copy) {
        Ok(text) => Ok(parsed(layout, &text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DeployError::file("read", &copy)(error)),
    }
}

fn parsed(layout: &Layout, text: &str) -> Option<HostConfig> {
    HostConfig::parse(text, &layout.last_config().display().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_that_could_be_used() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for path in [layout.config(), layout.last_config()] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let kept = || load(&layout).unwrap().map(|config| config.base_domain.to_string());
        keep(&layout);
        assert_eq!(kept(), None);
        for (text, then) in [
            ("base_domain = \"one.test\"\n", "one.test"),
            ("base_domain = \"two.test\"\n", "two.test"),
            ("base_domain = \"three.test\"\nbase = 1\n", "two.test"),
        ] {
            fs::write(layout.config(), text).unwrap();
            keep(&layout);
            assert_eq!(kept().as_deref(), Some(then));
        }
        fs::remove_file(layout.config()).unwrap();
        keep(&layout);
        assert_eq!(kept().as_deref(), Some("two.test"));
        fs::write(layout.last_config(), "of another version").unwrap();
        assert_eq!(kept(), None);
    }
}
