//! Whether the servers of preview databases answer.

use std::io;

use kennel_core::DatabaseServer;
use kennel_store::PreviewDatabase;

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

pub(in crate::doctor) fn preview_databases_unread(why: &str) -> Finding {
    Finding::skipped(PREVIEW, format!("PostgreSQL does not say which databases it has: {why}"))
}

pub(in crate::doctor) fn preview_databases_match(count: usize) -> Finding {
    let of = if count == 1 { "of one branch".to_owned() } else { format!("of {count} branches") };
    Finding::ok(PREVIEW, format!("PostgreSQL has the databases {of}, and no others"))
}

pub(in crate::doctor) fn preview_database_missing(it: &PreviewDatabase) -> Finding {
    let (name, project, branch) = (&it.name, &it.project, it.git_ref.short());
    Finding::failure(PREVIEW, format!("PostgreSQL has lost {name}, which is {project}/{branch}'s"))
        .run("kennelctl reconcile")
}

pub(in crate::doctor) fn preview_database_without_row(name: &str) -> Finding {
    Finding::warning(PREVIEW, format!("PostgreSQL's {name} belongs to no branch")).by_hand(format!(
        "if nobody needs it: DROP DATABASE IF EXISTS \"{name}\"; DROP ROLE IF EXISTS \"{name}\""
    ))
}
