//! The service that authenticates.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    authenticator::{Authenticator, Mode, RequestFacts, Verdict},
    future::ResponseFuture,
    response::{RejectionResponse, answer},
};
use crate::access_token::AccessToken;

/// The service made by an [`AuthenticateLayer`](crate::AuthenticateLayer).
#[derive(Clone, Debug)]
pub struct Authenticate<S, R> {
    inner: S,
    gate: Gate<R>,
}

/// What a request is judged by and refused with, now or after a wait.
#[derive(Clone, Debug)]
pub(crate) struct Gate<R> {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) mode: Mode,
    pub(crate) respond: R,
}

impl<S, R> Authenticate<S, R> {
    pub(crate) const fn new(
        inner: S,
        authenticator: Arc<Authenticator>,
        mode: Mode,
        respond: R,
    ) -> Self {
        let gate = Gate {
            authenticator,
            mode,
            respond,
        };
        Self { inner, gate }
    }
}

impl<S, R, B, ResBody> Service<Request<B>> for Authenticate<S, R>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gate = &self.gate;
        match gate.authenticator.judge(&request, gate.mode) {
            Verdict::Admit(token) => {
                let (request, facts) = gate.admit(token, request);
                ResponseFuture::forward(self.inner.call(request), gate.clone(), facts)
            }
            Verdict::Reject(rejection) => ResponseFuture::reject(answer(&rejection, &gate.respond)),
            Verdict::Wait(wait) => {
                // The service that is ready goes with the request, and a clone stays: see
                // https://docs.rs/tower-service/0.3/tower_service/trait.Service.html#be-careful-when-cloning-inner-services
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let wait = Arc::clone(&gate.authenticator).wait(wait);
                ResponseFuture::wait(Box::pin(wait), ready, request, gate.clone())
            }
        }
    }
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
        (request, facts)
    }
}
