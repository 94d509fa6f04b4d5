//! What a request is let through or refused with, now or after a wait.

use std::{sync::Arc, time::Duration};

use http::{Request, header::AUTHORIZATION};

use super::{
    authenticator::{Authenticator, Basis, Mode, Terms, Verdict, Wait, Waited, Witness},
    lease::Lease,
};
use crate::{
    access_policy::{AccessPolicy, Rule},
    access_token::AccessToken,
};

/// Judge, terms and the maker of refusals.
#[derive(Clone, Debug)]
pub(crate) struct Gate<R> {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) mode: Mode,
    pub(crate) policy: Option<AccessPolicy>,
    /// How long what is open may outlive its token; `None` if it is not ended at all.
    pub(crate) grace: Option<Duration>,
    pub(crate) respond: R,
}

impl<R> Gate<R> {
    pub(crate) fn with_response<Q>(&self, respond: Q) -> Gate<Q> {
        Gate {
            authenticator: Arc::clone(&self.authenticator),
            mode: self.mode,
            policy: self.policy.clone(),
            grace: self.grace,
            respond,
        }
    }

    /// The verdict, if the keys are at hand.
    pub(crate) fn judge<B>(&self, request: &Request<B>) -> Verdict {
        match self.terms(request) {
            Some(terms) => self.authenticator.judge(request, terms),
            None => Verdict::Admit(None, None),
        }
    }

    /// The verdict after a wait.
    pub(crate) fn judge_after<B>(&self, obtained: (Wait, Waited), request: &Request<B>) -> Verdict {
        match self.terms(request) {
            Some(terms) => self.authenticator.judge_after(obtained, request, terms),
            None => Verdict::Admit(None, None),
        }
    }

    /// `None` if nothing is asked of the request, not even a look at its token.
    fn terms<B>(&self, request: &Request<B>) -> Option<Terms<'_>> {
        let rule = match &self.policy {
            Some(policy) => match policy.rule(request.method(), request.uri().path()) {
                Rule::Exempt => return None,
                rule => Some(rule),
            },
            None => None,
        };
        let mode = match rule {
            Some(Rule::Optional) => Mode::Optional,
            _ => self.mode,
        };
        Some(Terms {
            mode,
            rule,
            with_basis: self.grace.is_some(),
        })
    }

    /// Tells the handler who calls, and remembers what an event from further in would need.
    pub(crate) fn admit<B>(
        &self,
        token: Option<AccessToken>,
        basis: Option<Box<Basis>>,
        request: &mut Request<B>,
    ) -> Option<Arc<Witness>> {
        let authenticator = &self.authenticator;
        let witness = authenticator
            .audit
            .is_on()
            .then(|| Arc::new(Witness::new(authenticator, request, token.as_ref())));
        if let (Some(token), Some(basis), Some(grace)) = (&token, basis, self.grace) {
            let authenticator = Arc::clone(authenticator);
            let lease = Lease::new(authenticator, token, *basis, grace, witness.clone());
            request.extensions_mut().insert(Arc::new(lease));
        }
        AccessToken::into_extensions(token, request.extensions_mut());
        // So that whoever prints the headers further in does not print the token.
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        if let Some(name) = &authenticator.token_header
            && let Some(token) = request.headers_mut().get_mut(name)
        {
            token.set_sensitive(true);
        }
        witness
    }
}
