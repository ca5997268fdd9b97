//! `kennelctl top`: what goes through the router, per service and site.
//!
//! The router counts since its start; two of its answers make a rate. Nothing is kept.

mod rate;
mod say;

use std::time::Duration;

use kennel_core::RouterTraffic;

use self::rate::Rates;
use crate::args::TopArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::status::router;
use crate::watch::{Frame, watch};

/// The router answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows rates again and again, or once.
pub(crate) fn run(host: &Host, args: &TopArgs) -> Result<Exit, Failure> {
    let every = Duration::from_secs(args.interval.into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let ask = || runtime.block_on(traffic(host));
    let mut before = ask()?;
    // The first rates need a while to be seen.
    std::thread::sleep(every.min(Duration::from_secs(1)));
    let mut look = || -> Result<Rates, Failure> {
        let now = ask()?;
        let mut rates = Rates::between(&before, &now);
        if let Some(asked) = &args.target {
            rates.retain(asked);
        }
        before = now;
        Ok(rates)
    };
    if args.json {
        host.terminal.json(&look()?)?;
        return Ok(Exit::Done);
    }
    if args.once {
        host.terminal.print(&look()?.render(host.terminal))?;
        return Ok(Exit::Done);
    }
    let asked = args.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let title = ["kennelctl top", &asked].join(" ");
    let title = format!("{}, until Ctrl-C", title.trim_end());
    watch(host, &title, every, &mut || {
        let text = look()?.render(host.terminal);
        Ok(Frame { says: text.clone(), text })
    })
}

async fn traffic(host: &Host) -> Result<RouterTraffic, Failure> {
    let socket = host.layout.router_socket();
    let asked = tokio::time::timeout(PATIENCE, router::get(&socket, "/traffic")).await;
    let asked = asked.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
    asked.map_err(|why| {
        if why == crate::say::router_not_permitted() {
            Failure::NotPermitted(socket)
        } else {
            Failure::RouterSilent(why)
        }
    })
}
