//! What a project, or each of its previews, has of the host.

use serde::Deserialize;
use toml::Spanned;

use super::refusal::{Refusal, whole_number};
use super::{CpuQuota, MemorySize, ResourceRequest, Resources};

/// All programs of it together: the most, and what they get where there is not enough for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// `memory_max`, `cpu_quota`, `tasks_max`; none is no limit.
    pub most: ResourceRequest,
    /// `weight`: of processors and disks, against what is beside it; 1 to 10000
    /// (`CPUWeight=` in systemd.resource-control(5)).
    pub weight: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShare {
    memory_max: Option<MemorySize>,
    cpu_quota: Option<CpuQuota>,
    tasks_max: Option<Spanned<i64>>,
    weight: Option<Spanned<i64>>,
}

impl Share {
    /// What systemd gives who says nothing, and default branches.
    pub(super) const WHOLE: u32 = 100;

    /// What previews get where nobody says: a sixth of the processor that production wants as well.
    pub(super) const PREVIEW: u32 = 20;

    /// No limit, and a weight.
    #[must_use]
    pub fn unlimited(weight: u32) -> Self {
        Self { most: ResourceRequest::default(), weight }
    }
}

impl RawShare {
    pub(super) fn settle(self, weight: u32) -> Result<Share, Refusal> {
        let tasks = self.tasks_max.as_ref();
        let number = |tasks| whole_number(Some(tasks), Resources::TASKS, 0);
        Ok(Share {
            most: ResourceRequest {
                memory_max: self.memory_max,
                cpu_quota: self.cpu_quota,
                tasks_max: tasks.map(number).transpose()?,
            },
            weight: whole_number(self.weight.as_ref(), 1..=10_000, weight)?,
        })
    }
}
