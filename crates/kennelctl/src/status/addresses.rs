//! The addresses of deployments, from the route table that the router reads.
//!
//! Not computed from names and configuration: what is published is what answers.

use std::collections::BTreeMap;

use kennel_core::{DeploymentId, Layout, PathRoute, RouteTable};
use kennel_store::{Https, load_host};

/// Which addresses lead to which deployment.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// The published generation; none if there is no table.
    pub(crate) generation: Option<u64>,
    of: BTreeMap<DeploymentId, Vec<String>>,
}

impl Addresses {
    /// Reads the table, or says why not.
    pub(crate) fn read(layout: &Layout) -> Result<Self, String> {
        let path = layout.route_table();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let table: RouteTable =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        table.check_version().map_err(|error| error.to_string())?;
        let https = load_host(layout).ok().map(|config| Https::look(layout, &config));
        Ok(Self::of_table(&table, https.as_ref()))
    }

    /// A deployment's addresses, its own host before custom domains.
    pub(crate) fn of(&self, deployment: DeploymentId) -> Vec<String> {
        self.of.get(&deployment).cloned().unwrap_or_default()
    }
}

impl Addresses {
    fn of_table(table: &RouteTable, https: Option<&Https>) -> Self {
        let mut of: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (host, routes) in &table.hosts {
            let url = https.map_or_else(|| format!("http://{host}"), |https| https.url(host));
            for PathRoute { prefix, target, .. } in routes {
                // Kennel's own programs are no deployments, and who is sent elsewhere is counted there.
                let Some(deployment) = target.deployment() else { continue };
                of.entry(deployment).or_default().push(format!("{url}{prefix}"));
            }
        }
        for addresses in of.values_mut() {
            for address in addresses.iter_mut() {
                // The root goes without its slash, as people write it.
                if address.matches('/').count() == 3 && address.ends_with('/') {
                    address.pop();
                }
            }
            addresses.sort_by_key(|address| std::cmp::Reverse(address.matches('.').count()));
        }
        Self { generation: Some(table.generation), of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_table() {
        let table: RouteTable = serde_json::from_str(
            r#"{"version":1,"generation":7,"hosts":{
                "shop.test":[{"prefix":"/","target":{"kind":"service","deployment":3,"port":18000,"health_check":"/health"}}],
                "api-main.shop.example.com":[{"prefix":"/","target":{"kind":"service","deployment":3,"port":18000,"health_check":"/health"}}],
                "kennel.example.com":[{"prefix":"/webhook/","target":{"kind":"socket","path":"/run/kennel/webhook.sock"}}]}}"#,
        )
        .unwrap();
        let addresses = Addresses::of_table(&table, None);
        assert_eq!(addresses.generation, Some(7));
        assert_eq!(
            addresses.of(DeploymentId::from_row(3)),
            ["http://api-main.shop.example.com", "http://shop.test"]
        );
        assert!(addresses.of(DeploymentId::from_row(4)).is_empty());
    }

    #[test]
    fn a_table_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        let path = layout.route_table();
        assert!(Addresses::read(&layout).unwrap_err().starts_with(path.to_str().unwrap()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, r#"{"version":2,"generation":1,"hosts":{}}"#).unwrap();
        insta::assert_snapshot!(Addresses::read(&layout).unwrap_err(), @"the route table has format 2, and this program reads 1; install matching versions of kennel-router and kennel-deploy");
    }
}
