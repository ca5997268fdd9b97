//! The program: arguments in, exit code out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kennel_core::{Layout, StorePath, error_chain};
use kennel_router::{Limits, RouterError, Settings, Sockets, cores};
use tracing::{error, info};

/// Kennel's reverse proxy and static server. Under systemd it takes its sockets from
/// kennel-router.socket and needs no arguments.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Listen here instead of taking sockets from systemd; may be repeated. For development.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Listen here with TLS; may be repeated. For development.
    #[arg(long, value_name = "ADDR", requires = "listen")]
    listen_tls: Vec<SocketAddr>,
    /// Answer questions about the router on this Unix socket. For development.
    #[arg(long, value_name = "PATH", requires = "listen")]
    status: Option<PathBuf>,
    /// When stopping, call on this Unix socket for a router that goes on meanwhile.
    #[arg(long, value_name = "PATH", default_value_os_t = Layout::default().router_relief())]
    relief: PathBuf,
    /// The route table.
    #[arg(long, value_name = "PATH", default_value_os_t = Layout::default().route_table())]
    table: PathBuf,
    /// The directory of certificates: `<name>.pem`, each with its key.
    #[arg(long, value_name = "DIR", default_value_os_t = Layout::default().certificates())]
    certificates: PathBuf,
    /// The passwords that routes ask for.
    #[arg(long, value_name = "PATH", default_value_os_t = Layout::default().logins())]
    logins: PathBuf,
    /// The directory of answers to certificate authorities.
    #[arg(long, value_name = "DIR", default_value_os_t = Layout::default().acme_challenges())]
    challenges: PathBuf,
    /// The journal's socket, for the access log.
    #[arg(long, value_name = "PATH", default_value = JOURNAL)]
    journal: PathBuf,
    /// Where Nix keeps what it builds.
    #[arg(long, value_name = "DIR", default_value = StorePath::STORE)]
    store: PathBuf,
    /// How many worker threads; one per core by default.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// Where systemd-journald listens (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to the terminal, and is no failure.
            let _written = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    kennel_systemd::log_to_journal();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            ExitCode::from(if error.is_of_set_up() { 64 } else { 1 })
        }
    }
}

fn run(arguments: Arguments) -> Result<(), RouterError> {
    let sockets = if arguments.listen.is_empty() {
        Sockets::from_systemd()?
    } else {
        let (http, https) = (&arguments.listen, &arguments.listen_tls);
        let sockets = Sockets::bind(http, https, arguments.status.as_deref())?;
        for (scheme, address) in sockets.addresses() {
            info!("listening on {scheme}://{address}");
        }
        sockets
    };
    let settings = Settings {
        table: arguments.table,
        certificates: arguments.certificates,
        logins: arguments.logins,
        challenges: arguments.challenges,
        journal: arguments.journal,
        store: arguments.store,
        relief: arguments.relief,
        workers: arguments.workers.unwrap_or_else(cores),
        limits: Limits::default(),
    };
    kennel_router::run(settings, sockets)
}
