//! Where people reach a service or site, beside the address that it is given.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::PathPrefix;
use super::refusal::Refusal;
use crate::{HostPattern, ServiceName};

/// The domains of a service or site, and what others answer under all of its names. As JSON: the
/// same keys as in `kennel.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// `custom_domain`: on the default branch only. A wildcard is for all hosts below that have no
    /// route of their own.
    pub custom_domain: Option<HostPattern>,
    /// `redirect_from`: other domains, from which visitors are sent to the custom one, which is one
    /// host then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_from: Vec<HostPattern>,
    /// `[routes]`: below which paths another service or site of the branch answers. None for `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<PathPrefix, PathTarget>,
}

impl Addresses {
    /// The most domains of one service or site that lead to its custom one.
    pub const MOST_REDIRECTS: usize = 32;

    /// All domains of its own, the custom one first.
    pub fn domains(&self) -> impl Iterator<Item = &HostPattern> {
        self.custom_domain.iter().chain(&self.redirect_from)
    }
}

/// Who answers below a path. In `kennel.toml` the name alone, or a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathTarget {
    /// `to`: the service or site.
    pub to: ServiceName,
    /// `strip_prefix`: whether the service gets paths without what they have been found by. Default
    /// false.
    pub strip_prefix: bool,
}

impl<'de> Deserialize<'de> for PathTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            to: ServiceName,
            #[serde(default)]
            strip_prefix: bool,
        }

        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = PathTarget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the name of a service or site, or { to = \"<name>\", strip_prefix = true }",
                )
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<PathTarget, E> {
                Ok(PathTarget { to: name.parse().map_err(E::custom)?, strip_prefix: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PathTarget, A::Error> {
                let Table { to, strip_prefix } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PathTarget { to, strip_prefix })
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}

/// What stands in the tables of services and sites.
pub(super) struct RawAddresses {
    pub(super) custom_domain: Option<Spanned<HostPattern>>,
    pub(super) redirect_from: Vec<Spanned<HostPattern>>,
}

impl RawAddresses {
    pub(super) fn settle(self) -> Result<Addresses, Refusal> {
        if let Some(first) = self.redirect_from.first() {
            let why = match self.custom_domain.as_ref().map(Spanned::get_ref) {
                Some(HostPattern::Host(_)) => None,
                Some(HostPattern::Wildcard(_)) => Some("`custom_domain` is not one host to send"),
                None => Some("there is no `custom_domain` to send"),
            };
            if let Some(why) = why {
                return Err(Refusal::at(first, format!("{why} its visitors to")));
            }
        }
        if let Some(first_too_many) = self.redirect_from.get(Addresses::MOST_REDIRECTS) {
            let most = Addresses::MOST_REDIRECTS;
            return Err(Refusal::at(first_too_many, format!("there are more than {most} domains")));
        }
        Ok(Addresses {
            custom_domain: self.custom_domain.map(Spanned::into_inner),
            redirect_from: self.redirect_from.into_iter().map(Spanned::into_inner).collect(),
            routes: BTreeMap::new(),
        })
    }
}
