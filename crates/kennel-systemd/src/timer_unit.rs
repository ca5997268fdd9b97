//! The unit file that starts a deployed timer's service at its times.

use kennel_core::config::Schedule;
use kennel_core::{DeploymentId, OutputKey};

use crate::service_unit::escaped;

/// What one timer's unit file says. Its name is the service's, with another suffix.
#[derive(Debug, Clone)]
pub struct TimerUnit<'a> {
    /// The deployment, which the file names so that Kennel knows its own.
    pub deployment: DeploymentId,
    /// Which timer.
    pub key: &'a OutputKey,
    /// When it elapses.
    pub schedule: &'a Schedule,
}

impl TimerUnit<'_> {
    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let OutputKey { project, git_ref, service } = self.key;
        let (id, schedule) = (self.deployment, self.schedule);
        let branch = escaped(&git_ref.short());
        format!(
            "\
# Written by kennel-deploy. Changes are lost with the next deployment.
[Unit]
Description=timer of {service} of {project} on {branch} (deployment {id})

[Timer]
OnCalendar={schedule}
# The default may be a minute late.
AccuracySec=1s
# What was missed while the host was down is made up for, once.
Persistent=yes

[X-Kennel]
Deployment={id}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment_of;

    #[test]
    fn the_whole_file() {
        let text = TimerUnit {
            deployment: DeploymentId::from_row(97),
            key: &OutputKey {
                project: "site".parse().unwrap(),
                git_ref: "refs/heads/50%".parse().unwrap(),
                service: "tidy".parse().unwrap(),
            },
            schedule: &"Mon..Fri 02:30".parse().unwrap(),
        }
        .render();
        assert_eq!(deployment_of(&text), Some(DeploymentId::from_row(97)));
        insta::assert_snapshot!(text, @"
        # Written by kennel-deploy. Changes are lost with the next deployment.
        [Unit]
        Description=timer of tidy of site on 50%% (deployment 97)

        [Timer]
        OnCalendar=Mon..Fri 02:30
        # The default may be a minute late.
        AccuracySec=1s
        # What was missed while the host was down is made up for, once.
        Persistent=yes

        [X-Kennel]
        Deployment=97
        ");
    }
}
