//! Whether the servers of preview databases answer.

use std::io;

use kennel_core::DatabaseServer;

use crate::doctor::finding::Finding;

const PREVIEW: &str = "databases.preview";

pub(in crate::doctor) fn preview_servers_answer(names: &[String]) -> Finding {
    let verb = if names.len() == 1 { "listens" } else { "listen" };
    Finding::ok(PREVIEW, format!("{} {verb}, for preview databases", names.join(" and ")))
}

pub(in crate::doctor) fn preview_server_silent(
    server: DatabaseServer,
    error: &io::Error,
) -> Finding {
    let key = server.as_str();
    let sentence = format!("{server} does not answer at `url` under [{key}]: {error}");
    Finding::failure(PREVIEW, sentence).by_hand(
        "start it, or mend `url` in config.toml; services with `preview_database` are not deployed \
         till then",
    )
}

pub(in crate::doctor) fn preview_server_unknown(server: DatabaseServer) -> Finding {
    let key = server.as_str();
    Finding::warning(PREVIEW, format!("`url` under [{key}] does not say where {server} is"))
        .by_hand("see docs/preview-databases.md")
}
