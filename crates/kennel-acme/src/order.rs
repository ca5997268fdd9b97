//! One certificate for one name, from the order to the file's text.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use kennel_core::{HostPattern, Layout};

use crate::AcmeError;
use crate::challenge::Answer;
use crate::dns::{DnsError, DnsProvider, Proof, ProofError, clean_up};

/// How long the authority may take for each step. It may have to ask from several places.
const PATIENCE: Duration = Duration::from_secs(90);

/// There is no certificate for this name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// The authority's own words.
    #[error("{}", words(.0))]
    Refused(Problem),
    /// It asks for another kind of proof.
    #[error("the certificate authority offers no proof {0}")]
    NoChallenge(&'static str),
    /// The proof in DNS.
    #[error(transparent)]
    Dns(DnsError),
    /// It has ended the order and does not say why.
    #[error("the certificate authority has ended the order without a reason")]
    Ended,
    /// It does not answer, or not as ACME says.
    #[error("the certificate authority does not answer as it should")]
    Authority(#[source] Error),
    /// This side.
    #[error(transparent)]
    Own(#[from] AcmeError),
}

impl OrderError {
    /// Whether the authority says that it is enough for now (RFC 8555 §6.6).
    pub(crate) fn is_rate_limit(&self) -> bool {
        self.is_of_type("rateLimited")
    }

    /// Whether the authority does not know the account any more.
    pub(crate) fn is_unknown_account(&self) -> bool {
        self.is_of_type("accountDoesNotExist")
    }

    /// Whether the authority has taken several numbers of requests for used ones (RFC 8555 §6.5).
    pub(crate) fn is_bad_nonce(&self) -> bool {
        self.is_of_type("badNonce")
    }

    fn is_of_type(&self, kind: &str) -> bool {
        let Self::Refused(problem) = self else { return false };
        problem.r#type.as_deref().is_some_and(|it| it == format!("{ERRORS}{kind}"))
    }
}

/// What all kinds of errors begin with (RFC 8555 §6.7).
const ERRORS: &str = "urn:ietf:params:acme:error:";

impl From<ProofError> for OrderError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Dns(error) => Self::Dns(error),
            ProofError::Own(error) => Self::Own(error),
        }
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            other => Self::Authority(other),
        }
    }
}

fn words(problem: &Problem) -> String {
    let all = std::iter::once(problem.detail.clone());
    let parts = problem.subproblems.iter().map(|it| it.detail.clone());
    let all: Vec<String> = all.chain(parts).flatten().collect();
    let kind = problem.r#type.as_deref().unwrap_or("a problem without a type");
    let kind = kind.strip_prefix(ERRORS).unwrap_or(kind);
    format!("{} ({kind})", if all.is_empty() { "no reason given".into() } else { all.join("; ") })
}

/// Gets a certificate. Returns its key and its certificates in PEM form.
pub(crate) async fn order(
    layout: &Layout,
    account: &Account,
    name: &HostPattern,
    replaced: Option<CertificateIdentifier<'static>>,
    dns: Option<&dyn DnsProvider>,
) -> Result<String, OrderError> {
    let ordered = fulfil(layout, account, name, replaced, dns).await;
    if let Some(dns) = dns {
        // Whatever came of it.
        clean_up(layout, dns).await?;
    }
    ordered
}

async fn fulfil(
    layout: &Layout,
    account: &Account,
    name: &HostPattern,
    replaced: Option<CertificateIdentifier<'static>>,
    dns: Option<&dyn DnsProvider>,
) -> Result<String, OrderError> {
    let mut order = begin(account, name, replaced).await?;
    let _answers = answer(layout, &mut order, name, dns).await?;
    let patience = RetryPolicy::new().timeout(PATIENCE);
    match order.poll_ready(&patience).await? {
        OrderStatus::Ready => {}
        _ => return Err(refusal(&mut order).await),
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok(format!("{key}{chain}"))
}

async fn begin(
    account: &Account,
    name: &HostPattern,
    replaced: Option<CertificateIdentifier<'static>>,
) -> Result<Order, OrderError> {
    let wanted = [Identifier::Dns(name.to_string())];
    if let Some(replaced) = replaced {
        match account.new_order(&NewOrder::new(&wanted).replaces(replaced)).await {
            Ok(order) => return Ok(order),
            // That it replaces something is a favour, and no reason to go without.
            Err(error) => {
                let error = OrderError::from(error);
                if error.is_rate_limit() || error.is_unknown_account() {
                    return Err(error);
                }
            }
        }
    }
    Ok(account.new_order(&NewOrder::new(&wanted)).await?)
}

/// Puts the answers to the authority's questions into DNS, or where the router finds them, and says
/// so.
async fn answer(
    layout: &Layout,
    order: &mut Order,
    name: &HostPattern,
    dns: Option<&dyn DnsProvider>,
) -> Result<Vec<Answer>, OrderError> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            // Proven lately, and believed for a while.
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(OrderError::Ended),
        }
        let (kind, how) = match dns {
            Some(_) => (ChallengeType::Dns01, "in DNS (dns-01)"),
            None => (ChallengeType::Http01, "over HTTP (http-01)"),
        };
        let challenge = authorization.challenge(kind);
        let mut challenge = challenge.ok_or(OrderError::NoChallenge(how))?;
        let text = challenge.key_authorization();
        match dns {
            Some(dns) => Proof::new(name.domain(), text.dns_value()).give(layout, dns).await?,
            None => answers.push(Answer::give(layout, &challenge.token, text.as_str())?),
        }
        challenge.set_ready().await?;
    }
    Ok(answers)
}

/// Why a proof was not believed.
async fn refusal(order: &mut Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let state = match authorization {
            Ok(mut authorization) => match authorization.refresh().await {
                Ok(state) => state.challenges.iter().find_map(|it| it.error.clone()),
                Err(error) => return error.into(),
            },
            Err(error) => return error.into(),
        };
        if let Some(problem) = state {
            return OrderError::Refused(problem);
        }
    }
    OrderError::Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authoritys_own_words() {
        let problem = |json: &str| serde_json::from_str::<Problem>(json).unwrap();
        let refused = OrderError::Refused(problem(
            r#"{"type": "urn:ietf:params:acme:error:unauthorized", "status": 403,
                "detail": "192.0.2.1: Invalid response from http://a.example/: 404"}"#,
        ));
        insta::assert_snapshot!(refused, @"192.0.2.1: Invalid response from http://a.example/: 404 (unauthorized)");
        assert!(!refused.is_rate_limit() && !refused.is_unknown_account());
        let refused =
            OrderError::Refused(problem(r#"{"type": "urn:ietf:params:acme:error:rateLimited"}"#));
        insta::assert_snapshot!(refused, @"no reason given (rateLimited)");
        assert!(refused.is_rate_limit());
    }
}
