//! The unit file that starts a sleeping service when the router rings for it.
//!
//! A socket and not a path unit: systemd watches any number of sockets, and only 128 paths. It would
//! hand the bell itself to the service, which therefore is not told ([`crate::ServiceUnit::sleeps`]).

use std::path::Path;

use kennel_core::{DeploymentId, OutputKey};

use crate::service_unit::escaped;

/// What one bell's unit file says. Its name is the service's, with another suffix.
#[derive(Debug, Clone)]
pub struct WakeUnit<'a> {
    /// The deployment, which the file names so that Kennel knows its own.
    pub deployment: DeploymentId,
    /// Which service.
    pub key: &'a OutputKey,
    /// Where the router rings.
    pub bell: &'a Path,
}

impl WakeUnit<'_> {
    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let OutputKey { project, git_ref, service } = self.key;
        let id = self.deployment;
        let branch = escaped(&git_ref.short());
        let bell = escaped(&self.bell.display().to_string());
        format!(
            "\
# Written by kennel-deploy. Changes are lost with the next deployment.
[Unit]
Description=bell of {service} of {project} on {branch} (deployment {id})
StartLimitIntervalSec=0

[Socket]
ListenDatagram={bell}
# Rung once more while the service ran, it would not let it sleep.
FlushPending=yes
RemoveOnStop=yes
SocketGroup=kennel-router
SocketMode=0660
SocketUser=root
TriggerLimitIntervalSec=0

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
        let text = WakeUnit {
            deployment: DeploymentId::from_row(97),
            key: &OutputKey {
                project: "site".parse().unwrap(),
                git_ref: "refs/heads/50%".parse().unwrap(),
                service: "api".parse().unwrap(),
            },
            bell: Path::new("/run/kennel/wake/97"),
        }
        .render();
        assert_eq!(deployment_of(&text), Some(DeploymentId::from_row(97)));
        insta::assert_snapshot!(text, @"
        # Written by kennel-deploy. Changes are lost with the next deployment.
        [Unit]
        Description=bell of api of site on 50%% (deployment 97)
        StartLimitIntervalSec=0

        [Socket]
        ListenDatagram=/run/kennel/wake/97
        # Rung once more while the service ran, it would not let it sleep.
        FlushPending=yes
        RemoveOnStop=yes
        SocketGroup=kennel-router
        SocketMode=0660
        SocketUser=root
        TriggerLimitIntervalSec=0

        [X-Kennel]
        Deployment=97
        ");
    }
}
