//! What a program tells systemd about itself (sd_notify(3)). Silent without `$NOTIFY_SOCKET`.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The program is ready; `STATUS=` says what it does.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// `STATUS=`: one line in `systemctl status` that says what the program is doing.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The program reads its configuration again; [`ready`] ends it (`Type=notify-reload`).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!("reading the monotonic clock: {error}, ignoring: the reload times out"),
    }
}

/// What is under way, be it a start or a stop, may take this long from now, whatever `Timeout…Sec=`
/// says (`EXTEND_TIMEOUT_USEC=`). From `ExecStopPost=` it needs `NotifyAccess=exec`.
pub fn extend_timeout(by: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))]);
}

/// The program is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("telling systemd: {error}, ignoring: only the display suffers");
    }
}
