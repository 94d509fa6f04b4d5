//! What a request is let through or refused with, now or after a wait.

use std::sync::Arc;

use http::{Request, header::AUTHORIZATION};

use super::authenticator::{Authenticator, Mode, RequestFacts};
use crate::access_token::AccessToken;

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
        mut request: Request<B>,
    ) -> (Request<B>, Option<Box<RequestFacts>>) {
        let facts = self
            .authenticator
            .audit
            .is_on()
            .then(|| Box::new(RequestFacts::of(&request, token.as_ref())));
        AccessToken::into_extensions(token, request.extensions_mut());
        // So that whoever prints the headers further in does not print the token.
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        (request, facts)
    }
}
