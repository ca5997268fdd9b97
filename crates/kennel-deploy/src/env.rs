//! The environment that a service gets.

use kennel_core::config::ServiceManifest;
use kennel_core::{HostName, Port, SecretName, SecretValue};
use kennel_store::Deployment;
use kennel_systemd::env_file;

/// The text of the deployment's environment file. What the repository sets comes first, so that
/// Kennel's own variables win whatever a later version lets a repository name.
pub(crate) fn render(
    deployment: &Deployment,
    manifest: &ServiceManifest,
    secrets: &[(SecretName, SecretValue)],
    port: Port,
    host: &HostName,
) -> String {
    let port = port.to_string();
    let branch = deployment.key.git_ref.short();
    let url = format!("http://{host}");
    let of_repository = manifest.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let of_kennel = [
        ("PORT", port.as_str()),
        ("KENNEL_PROJECT", deployment.key.project.as_str()),
        ("KENNEL_BRANCH", branch.as_str()),
        ("KENNEL_SERVICE", deployment.key.service.as_str()),
        ("KENNEL_COMMIT", deployment.sha.as_str()),
        ("KENNEL_URL", url.as_str()),
    ];
    let secrets = secrets.iter().map(|(name, value)| (name.as_str(), value.reveal()));
    env_file(of_repository.chain(secrets).chain(of_kennel))
}
