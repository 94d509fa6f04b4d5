//! What a request is let through or refused with, now or after a wait.

use std::sync::Arc;

use http::{Request, header::AUTHORIZATION};

use super::authenticator::{Authenticator, Mode, RequestFacts};
use crate::{access_token::AccessToken, rejection::Rejection};

/// Judge, mode and the maker of refusals.
#[derive(Clone, Debug)]
pub(crate) struct Gate<R> {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) mode: Mode,
    pub(crate) respond: R,
}

impl<R> Gate<R> {
    /// Tells the handler who calls, and remembers what an event from further in would need.
    pub(crate) fn admit<B>(
        &self,
        token: Option<AccessToken>,
        request: &mut Request<B>,
    ) -> Option<Box<Witness>> {
        let witness = self.authenticator.audit.is_on().then(|| {
            Box::new(Witness {
                authenticator: Arc::clone(&self.authenticator),
                facts: RequestFacts::of(request, token.as_ref()),
            })
        });
        AccessToken::into_extensions(token, request.extensions_mut());
        // So that whoever prints the headers further in does not print the token.
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        witness
    }
}

/// Tells the audit sinks, if there are any, of a refusal from further in.
pub(crate) struct Witness {
    authenticator: Arc<Authenticator>,
    facts: RequestFacts,
}

impl Witness {
    pub(crate) fn record(&self, rejection: &Rejection) {
        self.authenticator.record_inner(&self.facts, rejection);
    }
}
