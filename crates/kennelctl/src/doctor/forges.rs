//! Whether projects' forges answer, as kennel-poll has found out.

use std::io;

use kennel_core::{Layout, ProjectName};
use kennel_store::{Look, load_projects};

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    // A directory that cannot be read is a finding of the configuration's.
    let projects = load_projects(&facts.host.layout).unwrap_or_default();
    let names: Vec<_> = projects.into_values().flatten().map(|project| project.name).collect();
    judge(&facts.host.layout, &names)
}

fn judge(layout: &Layout, projects: &[ProjectName]) -> Vec<Finding> {
    let (mut findings, mut answered) = (Vec::new(), 0);
    for project in projects {
        match Look::load(layout, project) {
            Ok(Some(Look { trouble: Some(trouble), .. })) => {
                findings.push(say::forge_troubled(project, &trouble));
            }
            Ok(Some(_)) => answered += 1,
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return vec![say::forges_unseen()];
            }
            Err(error) => findings.push(say::forge_unknown(project, &error)),
        }
    }
    or_ok(findings, || say::forges_answer(answered, projects.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::said;
    use super::*;

    #[test]
    fn silent_forges_are_named() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.looks()).unwrap();
        let projects: Vec<ProjectName> = vec!["shop".parse().unwrap(), "site".parse().unwrap()];
        let mut look = Look::never("https://git.example.com/team/shop.git".parse().unwrap());
        look.save(&layout, &projects[0]).unwrap();
        insta::assert_snapshot!(said(&judge(&layout, &projects)), @"
        Network
          ok    forges  1 of 2 projects were looked for at their forges, and were there
        ");
        look.trouble =
            Some("https://git.example.com/team/shop.git cannot be reached: it sleeps".into());
        look.save(&layout, &projects[0]).unwrap();
        insta::assert_snapshot!(said(&judge(&layout, &projects)), @"
        Network
          warn  forges  shop: https://git.example.com/team/shop.git cannot be reached: it sleeps
                        do: mend it; kennel-poll asks again by itself, and takes nothing for deleted till then
        ");
    }
}
