//! What a service may use: the operator's limits and a repository's request.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serialize};

use super::{CpuQuota, MemorySize};

/// What a service's unit gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `MemoryMax=`. The operator's default limit is 2 GiB.
    pub memory_max: MemorySize,
    /// `CPUQuota=`. The operator's default limit is 200%.
    pub cpu_quota: CpuQuota,
    /// `TasksMax=`: threads and processes, 1 to 4194304 (the kernel's own maximum). The operator's
    /// default limit is 512.
    #[serde(deserialize_with = "tasks")]
    pub tasks_max: u32,
}

/// What a `kennel.toml` asks for; none where it leaves the operator's limit as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceRequest {
    /// See [`Resources::memory_max`].
    pub memory_max: Option<MemorySize>,
    /// See [`Resources::cpu_quota`].
    pub cpu_quota: Option<CpuQuota>,
    /// See [`Resources::tasks_max`].
    #[serde(default, deserialize_with = "maybe_tasks")]
    pub tasks_max: Option<u32>,
}

impl Resources {
    /// What `tasks_max` may be; the end is `PID_MAX_LIMIT` of a 64-bit kernel, proc_pid_max(5).
    pub(super) const TASKS: RangeInclusive<u32> = 1..=4_194_304;

    /// What forks get where `config.toml` says nothing: 512 MiB, 100%, 128 tasks.
    pub(super) const FORKS: Self = Self {
        memory_max: MemorySize::FORKS_LIMIT,
        cpu_quota: CpuQuota::FORKS_LIMIT,
        tasks_max: 128,
    };

    /// The lower of the two, one by one.
    pub(super) fn at_most(self, limits: &Self) -> Self {
        Self {
            memory_max: self.memory_max.min(limits.memory_max),
            cpu_quota: self.cpu_quota.min(limits.cpu_quota),
            tasks_max: self.tasks_max.min(limits.tasks_max),
        }
    }
}

impl Default for Resources {
    /// The operator's limits where `config.toml` names none: 2 GiB, 200%, 512 tasks.
    fn default() -> Self {
        Self {
            memory_max: MemorySize::DEFAULT_LIMIT,
            cpu_quota: CpuQuota::DEFAULT_LIMIT,
            tasks_max: 512,
        }
    }
}

impl ResourceRequest {
    /// What the service gets: what it asked for, never more than the limits, and the limits where
    /// it asked for nothing.
    #[must_use]
    pub fn within(&self, limits: &Resources) -> Resources {
        let asked = Resources {
            memory_max: self.memory_max.unwrap_or(limits.memory_max),
            cpu_quota: self.cpu_quota.unwrap_or(limits.cpu_quota),
            tasks_max: self.tasks_max.unwrap_or(limits.tasks_max),
        };
        asked.at_most(limits)
    }
}

fn tasks<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(from)?;
    u32::try_from(number).ok().filter(|n| Resources::TASKS.contains(n)).ok_or_else(|| {
        let (least, most) = Resources::TASKS.into_inner();
        serde::de::Error::custom(format!("{number} is not between {least} and {most}"))
    })
}

fn maybe_tasks<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    struct Tasks(#[serde(deserialize_with = "tasks")] u32);
    Ok(Option::<Tasks>::deserialize(from)?.map(|tasks| tasks.0))
}
