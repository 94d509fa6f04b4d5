//! The sink that logs.

use super::{AuditSink, Decision, Event};

/// Logs every event through [`tracing`](https://docs.rs/tracing), under the target `portcullis`.
///
/// | event | level |
/// |---|---|
/// | an authorization server is trusted; keys changed; recovery | INFO |
/// | a request was let through; a fetch of keys, or a token introspection | DEBUG |
/// | a request was refused, with kind and issuer | INFO; DEBUG without a token; WARN if it is the operator's to mend |
/// | an outage; a tenant that could not be resolved | WARN |
///
/// Tokens are never logged. Subjects are, at DEBUG for requests that are let through.
///
/// ```
/// use portcullis::{AuthenticateLayer, AuthorizationServer, ResourceServer, audit::TracingAudit};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
///     .build()?;
/// let authenticate = AuthenticateLayer::builder(resource_server).audit(TracingAudit::new()).build();
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingAudit;

impl TracingAudit {
    /// The sink.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// `event!` wants its level at compile time; the fields are the same at each.
macro_rules! refused {
    ($level:ident, $decision:ident, $rejection:ident) => {
        tracing::$level!(
            target: "portcullis",
            kind = $rejection.kind().as_str(),
            step = $rejection.kind().step().as_str(),
            issuer = $decision.issuer,
            subject = $decision.subject(),
            method = %$decision.method,
            path = $decision.path,
            "request refused"
        )
    };
}

impl AuditSink for TracingAudit {
    fn record(&self, event: &Event<'_>) {
        match event {
            Event::Trusted(trusted) => tracing::info!(
                target: "portcullis",
                issuer = trusted.issuer,
                keys = %trusted.keys,
                "authorization server added"
            ),
            Event::NoLongerTrusted(gone) => tracing::info!(
                target: "portcullis",
                issuer = gone.issuer,
                "authorization server removed"
            ),
            Event::TokenIntrospection(asked) => tracing::debug!(
                target: "portcullis",
                issuer = asked.issuer,
                endpoint = %asked.endpoint,
                failure = asked.failure.map(tracing::field::display),
                active = asked.active,
                took = ?asked.took,
                "token introspection"
            ),
            Event::TenantUnresolved(unresolved) => tracing::warn!(
                target: "portcullis",
                unverified_issuer = unresolved.unverified_issuer,
                problem = %unresolved.problem,
                "tenant not resolved"
            ),
            Event::Decision(decision) => log_decision(decision),
            Event::KeyFetch(fetch) => tracing::debug!(
                target: "portcullis",
                issuer = fetch.issuer,
                source = %fetch.source,
                failure = fetch.failure.map(tracing::field::display),
                metadata_failure = fetch.metadata_failure.map(tracing::field::display),
                left_out = fetch.left_out,
                took = ?fetch.took,
                "key fetch"
            ),
            Event::KeysChanged(change) => tracing::info!(
                target: "portcullis",
                issuer = change.issuer,
                keys = change.keys,
                added = ?change.added,
                removed = ?change.removed,
                "keys changed"
            ),
            Event::Outage(outage) => tracing::warn!(
                target: "portcullis",
                issuer = outage.issuer,
                failure = %outage.failure,
                keys_held = outage.keys_held,
                "keys cannot be fetched"
            ),
            Event::Recovery(recovery) => tracing::info!(
                target: "portcullis",
                issuer = recovery.issuer,
                failures = recovery.failures,
                "keys can be fetched again"
            ),
        }
    }
}

fn log_decision(decision: &Decision<'_>) {
    match decision.rejection {
        None => match decision.token {
            Some(token) => tracing::debug!(
                target: "portcullis",
                issuer = token.issuer(),
                subject = token.subject(),
                client_id = token.client_id(),
                role = token.role().map(tracing::field::display),
                "token validated"
            ),
            None => tracing::debug!(
                target: "portcullis",
                method = %decision.method,
                path = decision.path,
                "request without a token let through"
            ),
        },
        // Health checks and first requests of browsers would drown the rest.
        Some(rejection) => match rejection.kind().status().as_u16() {
            401 if decision.failed_step() == Some(crate::Step::Extract) => {
                refused!(debug, decision, rejection);
            }
            500.. => refused!(warn, decision, rejection),
            _ => refused!(info, decision, rejection),
        },
    }
}
