//! systemd's units, asked for all at once with `systemctl show`.
//!
//! By the command and not over D-Bus: root's systemctl speaks to systemd directly, and answers when
//! the bus is what is broken.

use std::collections::BTreeMap;

use super::command;

const TARGET: &str = include_str!("../../../../units/kennel.target");

/// Kennel's own units that no target wants: started by others. Of templates the instance 0, which
/// no row ever has.
pub(super) const STARTED_BY_OTHERS: &[&str] = &[
    "kennel-api.service",
    "kennel-build@0.service",
    "kennel-deploy@0.service",
    "kennel-dispatch.service",
    "kennel-acme.service",
    "kennel-poll.service",
    "kennel-router-relief.service",
    "kennel-routes.service",
    "kennel-sleep.service",
    "kennel-sleep.timer",
    "kennel-sweep.service",
    "kennel-teardown@0.service",
    "kennel-tidy.service",
    "kennel-webhook-secrets.service",
    "kennel-webhook.service",
];

/// Others that Kennel needs, and every unit of its name.
const BESIDE: &[&str] = &[
    "dbus.service",
    "nix-daemon.service",
    "nix-daemon.socket",
    "polkit.service",
    "nix-gc.timer",
    "kennel*",
];

const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,DropInPaths,Listen,Result";

/// One unit, in systemd's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub(super) load: String,
    pub(super) active: String,
    pub(super) sub: String,
    /// `enabled`, `static`, `masked`, or empty.
    pub(super) file_state: String,
    pub(super) needs_reload: bool,
    pub(super) drop_ins: String,
    /// The addresses of a socket.
    pub(super) listens: Vec<String>,
    pub(super) result: String,
}

/// Units by name.
#[derive(Debug, Default)]
pub(super) struct Units(pub(super) BTreeMap<String, Unit>);

/// The units that kennel.target wants.
pub(super) fn wanted() -> impl Iterator<Item = &'static str> {
    TARGET.lines().filter_map(|line| line.strip_prefix("Wants="))
}

impl Units {
    /// Asks about Kennel's units, what they need, and every loaded unit that is called kennel.
    pub(super) async fn ask() -> Result<Self, String> {
        let mut argv = vec!["systemctl", "show", "--no-pager", PROPERTIES, "kennel.target"];
        argv.extend(
            wanted().chain(STARTED_BY_OTHERS.iter().copied()).chain(BESIDE.iter().copied()),
        );
        match command::ask(&argv).await {
            Ok(answer) if answer.succeeded => Ok(Self::parse(&answer.out)),
            Ok(answer) => {
                Err(answer.err.lines().next().unwrap_or("it does not say why").to_owned())
            }
            Err(silence) => Err(format!("systemctl {}", silence.why())),
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        let mut units = BTreeMap::new();
        for block in text.split("\n\n") {
            let mut unit = Unit::default();
            let mut id = None;
            for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
                let value = value.to_owned();
                match key {
                    "Id" => id = Some(value),
                    "LoadState" => unit.load = value,
                    "ActiveState" => unit.active = value,
                    "SubState" => unit.sub = value,
                    "UnitFileState" => unit.file_state = value,
                    "NeedDaemonReload" => unit.needs_reload = value == "yes",
                    "DropInPaths" => unit.drop_ins = value,
                    "Listen" => unit.listens.push(value),
                    "Result" => unit.result = value,
                    _ => {}
                }
            }
            units.extend(id.map(|id| (id, unit)));
        }
        Self(units)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Unit> {
        self.0.get(name)
    }

    pub(super) fn is_active(&self, name: &str) -> bool {
        self.get(name).is_some_and(Unit::is_active)
    }

    /// Whether it runs, or is about to, or is about to end.
    pub(super) fn is_busy(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|unit| !matches!(unit.active.as_str(), "" | "inactive" | "failed"))
    }

    /// The TCP ports that a socket unit listens on: of `[::]:80 (Stream)` it is 80.
    pub(super) fn ports(&self, socket: &str) -> Vec<u16> {
        let listens = self.get(socket).map(|unit| unit.listens.as_slice()).unwrap_or_default();
        let address = |listen: &String| {
            let address = listen.strip_suffix(" (Stream)")?;
            if address.starts_with('/') { None } else { address.rsplit_once(':')?.1.parse().ok() }
        };
        listens.iter().filter_map(address).collect()
    }
}

impl Unit {
    pub(super) fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_unit_is_looked_at() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../units");
        let mut shipped: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace('@', "@0"))
            .filter(|name| name.starts_with("kennel"))
            .collect();
        shipped.sort();
        let mut known: Vec<_> = wanted().chain(STARTED_BY_OTHERS.iter().copied()).collect();
        known.push("kennel.target");
        known.sort_unstable();
        assert_eq!(known, shipped);
    }

    #[test]
    fn what_systemctl_shows() {
        let units = Units::parse(
            "Id=kennel-router.socket\nLoadState=loaded\nActiveState=active\nSubState=running\n\
             Listen=[::]:80 (Stream)\nListen=127.0.0.1:8080 (Stream)\nNeedDaemonReload=no\n\n\
             Id=kennel-webhook.socket\nLoadState=masked\nActiveState=inactive\n\
             Listen=/run/kennel/webhook.sock (Stream)\nNeedDaemonReload=yes\n",
        );
        assert_eq!(units.ports("kennel-router.socket"), [80, 8080]);
        assert_eq!(units.ports("kennel-webhook.socket"), [0_u16; 0]);
        assert!(units.is_active("kennel-router.socket") && !units.is_busy("kennel-webhook.socket"));
        assert!(units.get("kennel-webhook.socket").unwrap().needs_reload);
    }
}
