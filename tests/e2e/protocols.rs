//! A service of HTTP/2, and how a WebSocket ends when a new version takes over.

use std::io::{Read, Write};

use kennel_tests::{Kennel, LIMIT, Result, ensure, expect_deployment};

pub(crate) fn h2c_and_the_end_of_a_websocket(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("protocols")?;
    let sources = |version: &str| {
        kennel
            .sources()
            .service_with("calls", &format!("version = {version}\nh2c = true\n"))
            .service("talk", version)
            .kennel_toml(
                "[services.calls]\nprotocol = \"h2c\"\ndrain_secs = 0\n\
                 [services.talk]\ndrain_secs = 2\n",
            )
    };
    let pushed = project.push("main", &sources("one"), "two protocols")?;
    let calls = project.address("calls", "main");
    kennel.expect_page(&calls, "/", "one over HTTP/2", LIMIT)?;
    let old = expect_deployment(kennel, &project, "talk", &pushed.after, "active")?;

    let mut stream = kennel.host().netns()?.connect(80)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let host = project.address("talk", "main");
    write!(
        stream,
        "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let mut hello = [0; 5];
    stream.read_exact(&mut hello)?;
    ensure!(hello == *b"\x81\x03one", "{hello:?}");

    // It outlives the cutover, and ends with the drain: both sides hear 1001.
    let pushed = project.push("main", &sources("two"), "the next version")?;
    expect_deployment(kennel, &project, "talk", &pushed.after, "active")?;
    kennel.expect_page(&calls, "/", "two over HTTP/2", LIMIT)?;
    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    ensure!(word == [0x88, 2, 0x03, 0xe9], "{word:?}");
    let unit = old.unit();
    kennel.wait_for("what the old service heard", LIMIT, || {
        let log = kennel.host().run(&["journalctl", "-u", &unit, "-o", "cat"])?;
        let heard = log.contains("the socket was closed with 1001");
        ensure!(heard || !log.contains(" leaves"), "it was stopped first: {log}");
        Ok(heard.then_some(()))
    })?;
    Ok(())
}
