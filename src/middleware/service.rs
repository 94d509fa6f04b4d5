//! The service that authenticates.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    authenticator::Verdict,
    future::ResponseFuture,
    gate::Gate,
    grpc::Form,
    response::{RejectionResponse, answer},
};

/// The service made by an [`AuthenticateLayer`](crate::AuthenticateLayer).
#[derive(Clone, Debug)]
pub struct Authenticate<S, R> {
    inner: S,
    gate: Gate<R>,
}

impl<S, R> Authenticate<S, R> {
    pub(crate) const fn new(inner: S, gate: Gate<R>) -> Self {
        Self { inner, gate }
    }
}

impl<S, R, B, ResBody> Service<Request<B>> for Authenticate<S, R>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    R: RejectionResponse<ResBody> + Clone,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let gate = &self.gate;
        match gate.judge(&request) {
            Verdict::Admit(token, basis) => {
                let witness = gate.admit(token, basis, &mut request);
                ResponseFuture::forward(self.inner.call(request), gate.respond.clone(), witness)
            }
            Verdict::Reject(rejection) => {
                let form = Form::of(&request);
                ResponseFuture::reject(answer(&rejection, &gate.respond, form))
            }
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
