//! What has failed, so that it is not tried again too soon, and the operator can read why.

use std::collections::BTreeSet;
use std::time::Duration;

use kennel_core::{AcmeAttempt, AcmeAttempts, HostPattern, Layout, Timestamp};

use crate::{AcmeError, kept};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// After the first failure, the second and so on; then the last again and again. Let's Encrypt
/// allows five failures per name and hour.
const WAITS: [u64; 5] = [15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR];

/// How long everything waits when the authority says that it is enough for now.
const PAUSE: Duration = Duration::from_secs(HOUR);

/// The failures, as they are kept.
pub(crate) struct Attempts<'a> {
    layout: &'a Layout,
    kept: AcmeAttempts,
}

impl<'a> Attempts<'a> {
    /// Reads them. A file that cannot be read costs an attempt too early, and nothing else.
    pub(crate) fn load(layout: &'a Layout) -> Self {
        Self { layout, kept: kept::load_or_forget(&layout.acme_attempts()) }
    }

    /// Whether this name may be tried now.
    pub(crate) fn allow(&self, name: &HostPattern, now: Timestamp) -> bool {
        self.kept.names.get(name).is_none_or(|attempt| attempt.next <= now)
    }

    /// Whether anything may be tried now.
    pub(crate) fn is_paused(&self, now: Timestamp) -> bool {
        self.kept.paused_until.is_some_and(|until| now < until)
    }

    /// A name has failed. Returns when it is tried again.
    pub(crate) fn failed(
        &mut self,
        name: &HostPattern,
        why: &str,
        now: Timestamp,
    ) -> Result<Timestamp, AcmeError> {
        let before = self.kept.names.get(name).map_or(0, |attempt| attempt.failures);
        let wait = usize::try_from(before).ok().and_then(|at| WAITS.get(at)).or(WAITS.last());
        let next = now.plus(Duration::from_secs(wait.copied().unwrap_or(HOUR)));
        let attempt =
            AcmeAttempt { failures: before.saturating_add(1), at: now, next, why: why.to_owned() };
        self.kept.names.insert(name.clone(), attempt);
        self.store()?;
        Ok(next)
    }

    /// The authority wants to be left alone. Returns until when it is.
    pub(crate) fn pause(&mut self, now: Timestamp) -> Result<Timestamp, AcmeError> {
        let until = now.plus(PAUSE);
        self.kept.paused_until = Some(until);
        self.store()?;
        Ok(until)
    }

    /// A name has its certificate.
    pub(crate) fn succeeded(&mut self, name: &HostPattern) -> Result<(), AcmeError> {
        if self.kept.names.remove(name).is_some() { self.store() } else { Ok(()) }
    }

    /// Forgets what is not routed any more.
    pub(crate) fn keep_only(&mut self, names: &BTreeSet<HostPattern>) -> Result<(), AcmeError> {
        let before = self.kept.names.len();
        self.kept.names.retain(|name, _| names.contains(name));
        if self.kept.names.len() == before { Ok(()) } else { self.store() }
    }

    fn store(&self) -> Result<(), AcmeError> {
        kept::store(&self.layout.acme_attempts(), &self.kept, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn waits_grow_and_end_with_success() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.acme_attempts().parent().unwrap()).unwrap();
        let name: HostPattern = "a.example".parse().unwrap();
        let mut now = Timestamp::from_millis(0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let mut attempts = Attempts::load(&layout);
            assert!(attempts.allow(&name, now));
            let next = attempts.failed(&name, "it says no", now).unwrap();
            waits.push(next.since(now).as_secs() / MINUTE);
            let attempts = Attempts::load(&layout);
            assert!(!attempts.allow(&name, next.minus(Duration::from_secs(1))));
            now = next;
        }
        assert_eq!(waits, [15, 60, 240, 720, 1440, 1440]);

        let mut attempts = Attempts::load(&layout);
        let until = attempts.pause(now).unwrap();
        assert!(Attempts::load(&layout).is_paused(now) && !attempts.is_paused(until));
        attempts.succeeded(&name).unwrap();
        assert!(Attempts::load(&layout).allow(&name, now));
        fs::write(layout.acme_attempts(), "torn").unwrap();
        assert!(!Attempts::load(&layout).is_paused(now));
    }

    #[test]
    fn names_that_are_gone_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.acme_attempts().parent().unwrap()).unwrap();
        let [one, other]: [HostPattern; 2] =
            ["a.example", "b.example"].map(|it| it.parse().unwrap());
        let now = Timestamp::from_millis(0);
        let mut attempts = Attempts::load(&layout);
        attempts.failed(&one, "no", now).unwrap();
        attempts.failed(&other, "no", now).unwrap();
        attempts.keep_only(&BTreeSet::from([one.clone()])).unwrap();
        let attempts = Attempts::load(&layout);
        assert!(!attempts.allow(&one, now) && attempts.allow(&other, now));
    }
}
