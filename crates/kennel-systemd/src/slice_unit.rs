//! The unit file of a project's or a branch's slice: what all of its programs have together.

use std::fmt::Write;

use kennel_core::config::{ResourceRequest, Share};
use kennel_core::{GitRef, ProjectName};

use crate::service_unit::escaped;

/// What one slice's unit file says.
#[derive(Debug, Clone)]
pub struct SliceUnit<'a> {
    /// The project.
    pub project: &'a ProjectName,
    /// The branch, if it is a branch's.
    pub git_ref: Option<&'a GitRef>,
    /// What it has.
    pub share: Share,
}

/// By this Kennel knows its own.
const MARKER: &str = "[X-Kennel]\nSlice=yes\n";

impl SliceUnit<'_> {
    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let project = self.project;
        let branch = self.git_ref.map(|git_ref| format!(" on {}", escaped(&git_ref.short())));
        let branch = branch.unwrap_or_default();
        let Share { most, weight } = self.share;
        let ResourceRequest { memory_max, cpu_quota, tasks_max } = most;
        let mut limits = String::new();
        for (key, limit) in [
            ("MemoryMax", memory_max.map(|it| it.to_string())),
            ("CPUQuota", cpu_quota.map(|it| it.to_string())),
            ("TasksMax", tasks_max.map(|it| it.to_string())),
        ] {
            if let Some(limit) = limit {
                // Into a text: it cannot fail.
                let _ = writeln!(limits, "{key}={limit}");
            }
        }
        format!(
            "\
# Written by kennel-deploy from /etc/kennel/projects.d/{project}.toml. What systemctl set-property says
# of the slice wins.
[Unit]
Description={project}{branch}

[Slice]
CPUWeight={weight}
IOWeight={weight}
{limits}
{MARKER}"
        )
    }
}

/// Whether Kennel wrote this unit file of a slice.
#[must_use]
pub fn is_own_slice(unit_file: &str) -> bool {
    unit_file.ends_with(MARKER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_project_and_of_a_preview() {
        let project = "shop".parse().unwrap();
        let git_ref = "refs/heads/50%".parse().unwrap();
        let mut share = Share::unlimited(200);
        share.most.memory_max = Some("1G".parse().unwrap());
        share.most.cpu_quota = Some("150%".parse().unwrap());
        share.most.tasks_max = Some(512);
        let of_project = SliceUnit { project: &project, git_ref: None, share }.render();
        insta::assert_snapshot!(of_project, @"
        # Written by kennel-deploy from /etc/kennel/projects.d/shop.toml. What systemctl set-property says
        # of the slice wins.
        [Unit]
        Description=shop

        [Slice]
        CPUWeight=200
        IOWeight=200
        MemoryMax=1073741824
        CPUQuota=150%
        TasksMax=512

        [X-Kennel]
        Slice=yes
        ");
        let share = Share::unlimited(20);
        let of_branch = SliceUnit { project: &project, git_ref: Some(&git_ref), share }.render();
        insta::assert_snapshot!(of_branch, @"
        # Written by kennel-deploy from /etc/kennel/projects.d/shop.toml. What systemctl set-property says
        # of the slice wins.
        [Unit]
        Description=shop on 50%%

        [Slice]
        CPUWeight=20
        IOWeight=20

        [X-Kennel]
        Slice=yes
        ");
        assert!(is_own_slice(&of_project) && is_own_slice(&of_branch));
        assert!(!is_own_slice("[Slice]\nCPUWeight=20\n"));
    }
}
