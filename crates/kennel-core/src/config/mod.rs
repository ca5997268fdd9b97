//! Configuration: the operator's `config.toml` and `projects.d/<project>.toml`, the repository's
//! `kennel.toml`.
//!
//! Text comes in, settled values or one [`Problem`] with its line come out; reading files is the
//! callers' part. Each kind goes raw, then settled: serde fills a private `Raw…` struct that knows
//! every key and no other, and one `TryFrom` turns it into newtypes and defaults. Whatever a
//! [`Manifest`] holds was written by strangers; nothing in it can carry a newline or a `..` into a
//! unit file or a path, and only environment values may hold a `%`.

mod acme;
mod acme_dns;
mod address_range;
mod addresses;
mod body_size;
mod branch_patterns;
mod cpu_quota;
mod document;
mod domain_pattern;
mod env;
mod flake_output;
mod health_path;
mod host;
mod lifetime;
mod manifest;
mod memory_size;
mod password_hash;
mod path;
mod path_prefix;
mod period;
mod previews;
mod problem;
mod program_path;
mod project;
mod rate_limit;
mod refusal;
mod repo_url;
mod request_limits;
mod resources;
mod router;
mod routes;
mod schedule;
mod seconds;
mod share;
mod strategy;
mod system;
mod tls;

pub use acme::{Acme, ExternalAccount};
pub use acme_dns::{AcmeDns, Cloudflare, Rfc2136, TsigAlgorithm};
pub use address_range::AddressRange;
pub use addresses::{Addresses, PathTarget};
pub use body_size::BodySize;
pub use branch_patterns::BranchPatterns;
pub use cpu_quota::CpuQuota;
pub use domain_pattern::DomainPattern;
pub use env::{EnvName, EnvValue};
pub use flake_output::FlakeOutput;
pub use health_path::HealthPath;
pub use host::{Expiry, Forks, HostConfig, NixConfig, PortRange, Postgresql, Retention, Valkey};
pub use lifetime::Lifetime;
pub use manifest::{Manifest, ProgramManifest, ServiceManifest, SiteManifest, TimerManifest};
pub use memory_size::MemorySize;
pub use password_hash::{HashParts, NoPasswordHash, PasswordHash};
pub use path_prefix::PathPrefix;
pub use period::Period;
pub use previews::{PreviewPassword, Previews};
pub use problem::Problem;
pub use program_path::ProgramPath;
pub use project::{Expires, ProjectConfig, PullRequestPolicy};
pub use rate_limit::{BadRateLimit, RateLimit};
pub use repo_url::RepoUrl;
pub use request_limits::RequestLimits;
pub use resources::{ResourceRequest, Resources};
pub use router::{AccessLog, RouterConfig};
pub use schedule::Schedule;
pub use share::Share;
pub use strategy::Strategy;
pub use system::System;
