//! Where systemd listens for the programs.

use kennel_core::Layout;

use crate::unit::Unit;

#[test]
fn sockets_are_where_programs_look() {
    let layout = Layout::default();
    for (unit, key, path) in [
        ("kennel-dispatch.socket", "ListenDatagram", layout.bell()),
        ("kennel-webhook.socket", "ListenStream", layout.webhook_socket()),
        ("kennel-api.socket", "ListenStream", layout.api_socket()),
        ("kennel-router-status.socket", "ListenStream", layout.router_socket()),
        ("kennel-router-relief.socket", "ListenStream", layout.router_relief()),
    ] {
        assert!(Unit::load(unit).says(&format!("{key}={}", path.display())), "{unit}");
    }
}
