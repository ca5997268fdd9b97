//! The round: every name that wants a certificate, one after the other.

use std::collections::BTreeSet;

use instant_acme::{Account, CertificateIdentifier};
use kennel_core::config::{Acme, HostConfig};
use kennel_core::{HostPattern, Layout, Timestamp, error_chain};
use kennel_store::{load_host, parse_certificate, whole_file};
use kennel_systemd::{Manager, status};
use tracing::{error, info, warn};

use crate::attempts::Attempts;
use crate::dns::{DnsProvider, clean_up};
use crate::names::Names;
use crate::order::{OrderError, order};
use crate::renewals::Renewals;
use crate::{AcmeError, account, challenge, dns, say};

const ROUTER: &str = "kennel-router.service";

/// How often one name is ordered at a time.
const ORDERS: u32 = 5;

/// Orders what is missing and what is due, until nothing is that may be tried now. Without
/// `[acme]` it does nothing.
///
/// # Errors
/// [`AcmeError`] if nothing can be ordered at all.
pub async fn run(layout: &Layout) -> Result<(), AcmeError> {
    let config = load_host(layout)?;
    let Some(acme) = &config.acme else { return Ok(()) };
    let mut round = Round {
        layout,
        config: &config,
        acme,
        attempts: Attempts::load(layout),
        renewals: Renewals::load(layout),
        account: None,
        dns: dns::provider(acme)?,
        tried: BTreeSet::new(),
    };
    let names = Names::look(layout, &config)?;
    names.clean_up(layout, now())?;
    round.attempts.keep_only(&names.wanted())?;
    round.renewals.keep_only(&names.wanted())?;
    if let Some(dns) = &round.dns {
        // What a run that was killed has left.
        clean_up(layout, &**dns).await?;
    }
    round.ask_when(&names).await?;
    // What is routed may change meanwhile, and whoever asks for another round is not heard.
    while let Some((next, more)) = round.next()? {
        status(&say::ordering(&next.name, more));
        round.get(&next).await?;
    }
    Ok(())
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// What is ordered.
struct Next {
    name: HostPattern,
    /// One of those that want it.
    host: HostPattern,
    /// The certificate that it takes the place of, if the authority knows of that.
    replaced: Option<CertificateIdentifier<'static>>,
}

struct Round<'a> {
    layout: &'a Layout,
    config: &'a HostConfig,
    acme: &'a Acme,
    attempts: Attempts<'a>,
    renewals: Renewals<'a>,
    account: Option<Account>,
    dns: Option<Box<dyn DnsProvider>>,
    tried: BTreeSet<HostPattern>,
}

impl Round<'_> {
    /// Asks the authority when it wants its certificates to be renewed. One that does not answer is
    /// no reason to order nothing: who orders says so.
    async fn ask_when(&mut self, names: &Names) -> Result<(), AcmeError> {
        let questions = self.renewals.questions(names.own(), now());
        if questions.is_empty() || self.attempts.is_paused(now()) {
            return Ok(());
        }
        match account::open(self.layout, self.acme).await {
            Ok(account) => {
                self.renewals.ask(&account, questions, now()).await?;
                self.account = Some(account);
            }
            Err(error) => warn!("{}", error_chain(&error)),
        }
        Ok(())
    }

    /// The next one, and how many are left after it.
    fn next(&mut self) -> Result<Option<(Next, usize)>, AcmeError> {
        let now = now();
        if self.attempts.is_paused(now) {
            return Ok(None);
        }
        let names = Names::look(self.layout, self.config)?;
        let mut left = names
            .wanting(&self.renewals, now)
            .filter(|(name, _)| !self.tried.contains(*name) && self.attempts.allow(name, now));
        let Some((name, hosts)) = left.next() else { return Ok(None) };
        let Some(host) = hosts.first() else { return Ok(None) };
        let mut own = names.own().filter(|(own, _)| *own == name);
        let replaced = own.next().and_then(|(_, own)| self.renewals.replaced(name, own));
        let next = Next { name: name.clone(), host: HostPattern::clone(host), replaced };
        let more = left.count();
        self.tried.insert(next.name.clone());
        Ok(Some((next, more)))
    }

    /// Gets one certificate, or writes down why not.
    async fn get(&mut self, next: &Next) -> Result<(), AcmeError> {
        let Next { name, host, replaced } = next;
        if let Err(why) = challenge::leads_here(self.layout, host).await {
            return self.failed(name, &why);
        }
        match self.order(name, replaced.as_ref()).await {
            Ok(pem) => {
                self.keep(name, &pem)?;
                self.attempts.succeeded(name)?;
                self.tell_router(name).await
            }
            Err(OrderError::Own(error)) => Err(error),
            // Not this name's fault.
            Err(OrderError::Authority(source)) => {
                Err(AcmeError::Authority { directory: self.acme.directory.clone(), source })
            }
            Err(failure) => {
                if failure.is_rate_limit() {
                    let until = self.attempts.pause(now())?;
                    error!("{}", say::paused(&failure.to_string(), until.since(now())));
                }
                self.failed(name, &error_chain(&failure))
            }
        }
    }

    fn failed(&mut self, name: &HostPattern, why: &str) -> Result<(), AcmeError> {
        let next = self.attempts.failed(name, why, now())?;
        warn!("{}", say::failed(name, why, next.since(now())));
        Ok(())
    }

    /// Orders, and again if only what was between the authority and this host stood in the way.
    async fn order(
        &mut self,
        name: &HostPattern,
        replaced: Option<&CertificateIdentifier<'static>>,
    ) -> Result<String, OrderError> {
        let mut left = ORDERS;
        let dns = match &self.dns {
            Some(dns) if dns::serves(&**dns, name).await.map_err(OrderError::Dns)? => Some(&**dns),
            Some(_) | None => None,
        };
        loop {
            left -= 1;
            let account = match &self.account {
                Some(account) => account,
                None => self.account.insert(account::open(self.layout, self.acme).await?),
            };
            match order(self.layout, account, name, replaced.cloned(), dns).await {
                Err(error) if left > 0 && error.is_unknown_account() => {
                    self.account = None;
                    account::forget(self.layout)?;
                }
                Err(error) if left > 0 && error.is_bad_nonce() => {}
                ordered => return ordered,
            }
        }
    }

    /// Key and certificates go into one file, so that they always fit.
    fn keep(&self, name: &HostPattern, pem: &str) -> Result<(), AcmeError> {
        let path = self.layout.certificate(name);
        let facts = parse_certificate(pem.as_bytes())
            .map_err(|why| AcmeError::Content { path: path.clone(), why })?;
        whole_file::replace(&path, pem, 0o640).map_err(AcmeError::file("write", &path))?;
        info!("{}", say::got(name, &facts, now()));
        Ok(())
    }

    /// A router that does not run reads it when it starts.
    async fn tell_router(&self, name: &HostPattern) -> Result<(), AcmeError> {
        let told = async {
            let manager = Manager::connect().await?;
            if manager.state(ROUTER).await?.is_over() {
                Ok(())
            } else {
                manager.reload(ROUTER).await
            }
        };
        told.await
            .map_err(|source| AcmeError::Router { name: name.clone(), source: Box::new(source) })
    }
}
