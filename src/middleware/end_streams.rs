//! Ends what is open when the token that let it in does.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    AuthenticateLayer, JsonRejection,
    grpc::Form,
    guarded_body::GuardedBody,
    lease::Lease,
    response::{RejectionResponse, answer},
    service::Authenticate,
};
use crate::rejection::Rejection;

/// An [`AuthenticateLayer`] that also ends what is open when the token that let it in does. Made by
/// [`AuthenticateLayer::end_streams`].
#[derive(Clone, Debug)]
#[must_use]
pub struct EndStreamsLayer<R = JsonRejection> {
    authenticate: AuthenticateLayer<R>,
    grace: Duration,
}

impl<R> EndStreamsLayer<R> {
    pub(crate) const fn new(authenticate: AuthenticateLayer<R>, grace: Duration) -> Self {
        Self {
            authenticate,
            grace,
        }
    }
}

impl<S, R: Clone> Layer<S> for EndStreamsLayer<R> {
    type Service = Authenticate<EndStreams<S, R>, Unguarded<R>>;

    fn layer(&self, inner: S) -> Self::Service {
        let respond = self.authenticate.gate.respond.clone();
        let inner = EndStreams {
            inner,
            respond: respond.clone(),
        };
        let mut gate = self.authenticate.gate.with_response(Unguarded(respond));
        gate.grace = Some(self.grace);
        Authenticate::new(inner, gate)
    }
}

/// Makes refusals with bodies that need no guard.
#[derive(Clone, Copy, Debug)]
pub struct Unguarded<R>(R);

impl<B, R: RejectionResponse<B>> RejectionResponse<GuardedBody<B>> for Unguarded<R> {
    fn response(&self, rejection: &Rejection, head: Response<()>) -> Response<GuardedBody<B>> {
        let response = self.0.response(rejection, head);
        response.map(GuardedBody::unguarded)
    }
}

/// The service made by an [`EndStreamsLayer`], inside of its [`Authenticate`].
#[derive(Clone, Debug)]
pub struct EndStreams<S, R> {
    inner: S,
    respond: R,
}

impl<S, R, B, ResBody> Service<Request<B>> for EndStreams<S, R>
where
    S: Service<Request<GuardedBody<B>>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody> + Clone,
    B: Body,
    ResBody: Body + Default,
{
    type Response = Response<GuardedBody<ResBody>>;
    type Error = S::Error;
    type Future = EndStreamsFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let lease = request.extensions_mut().remove::<Arc<Lease>>();
        let form = Form::of(&request);
        let request = request.map(|body| match &lease {
            Some(lease) => GuardedBody::request(body, Arc::clone(lease)),
            None => GuardedBody::unguarded(body),
        });
        EndStreamsFuture {
            response: self.inner.call(request),
            lease,
            form,
            respond: self.respond.clone(),
        }
    }
}

pin_project! {
    /// The response of an [`EndStreams`].
    pub struct EndStreamsFuture<F, R> {
        #[pin]
        response: F,
        lease: Option<Arc<Lease>>,
        form: Form,
        respond: R,
    }
}

impl<F, E, R, ResBody> Future for EndStreamsFuture<F, R>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    R: RejectionResponse<ResBody>,
    ResBody: Body + Default,
{
    type Output = Result<Response<GuardedBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let Some(lease) = this.lease.take() else {
            return Poll::Ready(Ok(response.map(GuardedBody::unguarded)));
        };
        // Whatever the handler made of half a request: its client is told what became of it.
        if let Some(kind) = lease.request_cut() {
            let response = answer(&lease.cut(kind), this.respond, *this.form);
            return Poll::Ready(Ok(response.map(GuardedBody::unguarded)));
        }
        let (parts, body) = response.into_parts();
        let body = GuardedBody::response(body, &parts.headers, lease);
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}

impl<F, R> fmt::Debug for EndStreamsFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndStreamsFuture").finish_non_exhaustive()
    }
}
