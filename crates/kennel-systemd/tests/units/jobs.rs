//! The template units that the dispatcher may start.

use std::collections::BTreeSet;
use std::fs;

use kennel_core::{BuildId, DeploymentId, Job};

use crate::repository;
use crate::unit::all;

#[test]
fn the_dispatcher_may_start_exactly_the_jobs() {
    let rule = fs::read_to_string(repository().join("polkit-1/rules.d/50-kennel.rules")).unwrap();
    let pattern = r"/^kennel-((build|deploy|teardown)@[1-9][0-9]{0,18}|routes)\.service$/";
    assert_eq!(rule.matches(pattern).count(), 1);
    // And that kennel-acme may have the router reload.
    assert_eq!(rule.matches("polkit.Result.YES").count(), 2);
    assert!(rule.contains(r#"["start", "stop", "reset-failed"]"#));
    assert!(rule.contains(r#"question.indexOf("transient") < 0"#));
    let templates: BTreeSet<_> =
        all().into_iter().map(|unit| unit.name).filter(|name| name.contains('@')).collect();
    let jobs = [
        Job::Build(BuildId::from_row(7)),
        Job::Deploy(DeploymentId::from_row(7)),
        Job::Teardown(DeploymentId::from_row(7)),
    ];
    let jobs: BTreeSet<_> = jobs.map(|job| job.unit().to_string().replace('7', "")).into();
    assert_eq!(templates, jobs);
    let named = ["build", "deploy", "teardown"].map(|job| format!("kennel-{job}@.service"));
    assert_eq!(templates, named.into());
    let routes = Job::Routes.unit();
    assert!(all().iter().any(|unit| unit.name == routes.as_str()));
}
