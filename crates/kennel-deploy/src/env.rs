//! The environment that a service gets.

use kennel_core::config::ProgramManifest;
use kennel_core::{Port, SecretName, SecretValue};
use kennel_store::Deployment;
use kennel_systemd::env_file;

use crate::databases::Urls;

/// The text of the deployment's environment file. What the repository sets comes first, so that
/// Kennel's own variables win whatever a later version lets a repository name. `address` is where
/// it listens and what leads there, for a service.
pub(crate) fn render(
    deployment: &Deployment,
    manifest: &ProgramManifest,
    secrets: &[(SecretName, SecretValue)],
    databases: &Urls,
    address: Option<(Port, &str)>,
) -> String {
    let address = address.map(|(port, url)| (port.to_string(), url));
    let branch = deployment.key.git_ref.short();
    let of_repository = manifest.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let of_kennel = [
        ("KENNEL_PROJECT", deployment.key.project.as_str()),
        ("KENNEL_BRANCH", branch.as_str()),
        ("KENNEL_SERVICE", deployment.key.service.as_str()),
        ("KENNEL_COMMIT", deployment.sha.as_str()),
    ];
    let of_address =
        address.iter().flat_map(|(port, url)| [("PORT", port.as_str()), ("KENNEL_URL", *url)]);
    let secrets = secrets.iter().map(|(name, value)| (name.as_str(), value.reveal()));
    let own = databases.variables().chain(of_address).chain(of_kennel);
    env_file(of_repository.chain(secrets).chain(own))
}

/// The same text with another port. The last such line is Kennel's own, whatever a secret of several
/// lines has in it: [`render`] puts Kennel's variables last.
pub(crate) fn with_port(text: &str, port: Port) -> String {
    const NAME: &str = "PORT=";
    let begin = match text.rfind(&format!("\n{NAME}")) {
        Some(newline) => newline + 1,
        None if text.starts_with(NAME) => 0,
        None => return text.to_owned(),
    };
    let (before, line) = text.split_at(begin);
    let after = line.find('\n').map_or("", |end| line.split_at(end).1);
    format!("{before}{}{after}", env_file([("PORT", port.to_string().as_str())]).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kennels_own_port_changes() {
        let port = |number: u16| number.try_into().unwrap();
        let text = env_file([
            ("LOG", "PORT=1"),
            ("KEY", "a\nPORT=2\nb"),
            ("PORT", "18000"),
            ("KENNEL_PROJECT", "site"),
        ]);
        let moved = with_port(&text, port(18001));
        assert_eq!(moved, text.replace("18000", "18001"));
        assert_eq!(with_port(&text, port(18000)), text);
        assert_eq!(with_port("PORT=\"1\"\n", port(2000)), "PORT=\"2000\"\n");
        assert_eq!(with_port("A=\"1\"\n", port(2000)), "A=\"1\"\n");
    }
}
