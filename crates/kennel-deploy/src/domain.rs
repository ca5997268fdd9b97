//! Whether a service may have the domains that it asks for.

use kennel_core::config::{Addresses, ProjectConfig};
use kennel_core::{HostName, HostPattern};
use kennel_store::Deployment;

use crate::{DeployError, Host};

/// Claims the deployment's domains, if it asks for any and is on the default branch; other branches
/// carry the same `kennel.toml` and simply do not get them.
pub(crate) fn claim(
    host: &mut Host,
    deployment: &Deployment,
    project: &ProjectConfig,
) -> Result<(), DeployError> {
    let Some(wanted) = wanted(deployment, project) else { return Ok(()) };
    for domain in wanted.domains() {
        if is_reserved(domain, &host.config.control_host, &host.config.base_domain) {
            return Err(DeployError::DomainReserved(domain.clone()));
        }
        if !project.allows_domain(domain) {
            let project = project.name.clone();
            return Err(DeployError::DomainForbidden { project, domain: domain.clone() });
        }
    }
    let is_listed = |domain: &HostPattern| project.lists_domain(domain);
    Ok(host.state.claim_domains(wanted.domains(), &deployment.key, is_listed)??)
}

/// The addresses whose domains a deployment gets, if any.
pub(crate) fn wanted<'a>(
    deployment: &'a Deployment,
    project: &ProjectConfig,
) -> Option<&'a Addresses> {
    let on_default = deployment.key.git_ref.is_branch(&project.default_branch);
    deployment.settings.addresses().filter(|_| on_default)
}

/// `<label>.<project>.<base domain>` and everything deeper is Kennel's to give.
fn is_reserved(domain: &HostPattern, control: &HostName, base: &HostName) -> bool {
    let text = domain.to_string();
    let labels = text.strip_suffix(base.as_str()).map_or(0, |below| below.matches('.').count());
    let is_control = matches!(domain, HostPattern::Host(host) if host == control);
    is_control || (domain.domain().is_within(base) && labels >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_projects_and_the_control_host_are_kennels() {
        let host = |text: &str| text.parse::<HostName>().unwrap();
        let reserved = |text: &str| {
            is_reserved(&text.parse().unwrap(), &host("kennel.ex.org"), &host("ex.org"))
        };
        assert!(reserved("kennel.ex.org"));
        assert!(reserved("api-main.site.ex.org"));
        assert!(!reserved("shop.ex.org"));
        assert!(!reserved("ex.org"));
        assert!(!reserved("a.b.notex.org"));
        assert!(reserved("*.site.ex.org") && reserved("*.api-main.site.ex.org"));
        assert!(!reserved("*.ex.org") && !reserved("*.org") && !reserved("*.shop.org"));
    }
}
