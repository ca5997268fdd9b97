//! `kennel-deploy`: the job behind `kennel-deploy@`, `kennel-teardown@`,
//! `kennel-restore` and `kennel-sleep`.

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kennel_core::{DeploymentId, DeploymentState, Layout};
use kennel_deploy::{
    DeployError, Host, deploy, keep_config, refresh, refresh_on_change, restore, settle, sleep,
    teardown, waits,
};
use kennel_systemd::{log_to_journal, ready};
use tracing::{error, warn};

/// Makes deployments serve, and ends them. Started by systemd; `kennelctl` is for people.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Make a deployment serve.
    Run {
        /// The deployment.
        id: DeploymentId,
    },
    /// Settle the row of a deployment whose program could not.
    Settle {
        /// The deployment.
        id: DeploymentId,
        /// How the program ended, as systemd says.
        #[arg(env = "SERVICE_RESULT", default_value = "success")]
        result: String,
    },
    /// Bring about the end that a deployment's row asks for.
    Teardown {
        /// The deployment.
        id: DeploymentId,
    },
    /// Make the host match the rows.
    Restore,
    /// Stop services that nobody has used for a while.
    Sleep,
    /// Publish the route table, if it is to say something else.
    Routes,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_journal();
    // The bus is spoken to on a thread of its own, beside files and databases.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let run = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments.job)),
        Err(error) => {
            error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run {
        Ok(code) => code,
        Err(error @ DeployError::Config(_)) => {
            error!("{}", error.chain());
            // EX_CONFIG's neighbour, as systemd and sysexits(3) users know it.
            ExitCode::from(64)
        }
        Err(error) => {
            error!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn run(job: Job) -> Result<ExitCode, DeployError> {
    let layout = Layout::default();
    let mut host = match Host::open(layout.clone()).await {
        Err(error @ DeployError::Config(_)) => {
            match job {
                Job::Run { id } => {
                    // systemd calls a program that ends without it a broken one.
                    ready(&format!("deployment {id} waits"));
                    waits(&layout, id, &error)?;
                }
                Job::Restore => restore_as_before(layout).await?,
                Job::Settle { .. } | Job::Teardown { .. } | Job::Sleep | Job::Routes => {}
            }
            return Err(error);
        }
        opened => opened?,
    };
    match job {
        Job::Run { id } => {
            ready(&format!("deployment {id}"));
            return Ok(match deploy(&mut host, id).await? {
                DeploymentState::Failed => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            });
        }
        Job::Settle { id, result } => settle(&mut host, id, &result).await?,
        Job::Teardown { id } => teardown(&mut host, id).await?,
        Job::Sleep => sleep(&mut host).await?,
        Job::Restore => {
            keep_config(&layout);
            restore(&mut host).await?;
        }
        // Whoever starts it by name waits for its end (systemd.exec(5)).
        Job::Routes if env::var_os("TRIGGER_UNIT").is_some() => {
            refresh_on_change(&mut host).await?;
        }
        Job::Routes => refresh(&mut host).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A mistake in the configuration takes down nothing that served. That this job has failed, and
/// why, is said all the same.
async fn restore_as_before(layout: Layout) -> Result<(), DeployError> {
    if let Some(mut host) = Host::open_as_before(layout).await? {
        warn!("what serves is restored with the configuration that could be used last");
        restore(&mut host).await?;
    }
    Ok(())
}
