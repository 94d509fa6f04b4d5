//! Watching decisions as they are made.
//!
//! Every decision, and everything that happens to the keys, is an [`Event`]: plain, borrowed data
//! that never contains a token. An [`AuditSink`] is told of each, after it was decided; sinks
//! observe and never decide. With none attached, nothing is built and no clock is read for them; with
//! one, the signature of a token that is refused for its claims is checked after all, so that the event
//! can say [whose it was](Decision::subject).
//!
//! ```
//! use portcullis::{AuthenticateLayer, AuthorizationServer, ResourceServer, audit::Event};
//!
//! let resource_server = ResourceServer::builder()
//!     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
//!     .build()?;
//! let authenticate = AuthenticateLayer::builder(resource_server)
//!     .audit(|event: &Event<'_>| {
//!         if let Event::Decision(decision) = event
//!             && let Some(rejection) = decision.rejection
//!         {
//!             eprintln!("{} {}: {}", decision.method, decision.path, rejection.kind());
//!         }
//!     })
//!     .build();
//! # Ok::<(), portcullis::ConfigError>(())
//! ```

use std::{fmt, sync::Arc};

mod event;
#[cfg(feature = "tracing")]
mod tracing;

pub use event::{
    Decision, Event, FetchFailure, KeyFacts, KeyFetch, KeysChanged, NoLongerTrusted, Outage,
    Recovery, TenantProblem, TenantUnresolved, TokenIntrospection, Trusted,
};

#[cfg(feature = "tracing")]
pub use self::tracing::TracingAudit;

/// Is told of every [`Event`].
///
/// Implemented for closures, and for `Arc`s of sinks.
///
/// The call is made on the request's own task, or on the task that fetches keys, so it must
/// return at once. Slow work belongs behind a bounded queue.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes note of `event`.
    fn record(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> AuditSink for F {
    fn record(&self, event: &Event<'_>) {
        self(event);
    }
}

impl<S: AuditSink + ?Sized> AuditSink for Arc<S> {
    fn record(&self, event: &Event<'_>) {
        (**self).record(event);
    }
}

/// The sinks that are attached.
#[derive(Clone, Default)]
pub(crate) struct Audit(Vec<Arc<dyn AuditSink>>);

impl Audit {
    pub(crate) fn attach(&mut self, sink: impl AuditSink) {
        self.0.push(Arc::new(sink));
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn record(&self, event: &Event<'_>) {
        for sink in &self.0 {
            sink.record(event);
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({})", self.0.len())
    }
}
