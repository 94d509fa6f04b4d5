//! The future of an authenticated service: named, and boxed only where it has to wait for keys.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    authenticator::{RequestFacts, Verdict, Wait},
    gate::Gate,
    response::{FromInside, RejectionResponse, answer, answer_again},
};
use crate::jwks::Obtained;

pin_project! {
    /// The response of an [`Authenticate`](crate::middleware::Authenticate).
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, S::Response, B, R>,
    }
}

type Keys = Pin<Box<dyn Future<Output = (Wait, Obtained)> + Send>>;

pin_project! {
    #[project = Projected]
    enum State<S, F, Res, B, R> {
        Forward {
            #[pin]
            response: F,
            gate: Gate<R>,
            facts: Option<Box<RequestFacts>>,
        },
        Reject { response: Option<Res> },
        Wait {
            keys: Keys,
            // The service that was ready, and the request that it is for.
            parked: Option<(S, Request<B>, Gate<R>)>,
        },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(crate) const fn forward(
        response: S::Future,
        gate: Gate<R>,
        facts: Option<Box<RequestFacts>>,
    ) -> Self {
        let state = State::Forward {
            response,
            gate,
            facts,
        };
        Self { state }
    }

    pub(crate) const fn reject(response: S::Response) -> Self {
        let response = Some(response);
        let state = State::Reject { response };
        Self { state }
    }

    pub(crate) const fn wait(keys: Keys, ready: S, request: Request<B>, gate: Gate<R>) -> Self {
        let parked = Some((ready, request, gate));
        let state = State::Wait { keys, parked };
        Self { state }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projected::Forward {
                    response,
                    gate,
                    facts,
                } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(FromInside(rejection)) = response.extensions_mut().remove() {
                        if let Some(facts) = facts {
                            gate.authenticator.record_inner(facts, &rejection);
                        }
                        response = answer_again(response, &rejection, &gate.respond);
                    }
                    return Poll::Ready(Ok(response));
                }
                Projected::Reject { response } => {
                    // A future that is polled after it is done stays pending.
                    return response
                        .take()
                        .map_or(Poll::Pending, |r| Poll::Ready(Ok(r)));
                }
                Projected::Wait { keys, parked } => {
                    let obtained = ready!(keys.as_mut().poll(cx));
                    let Some((mut service, request, gate)) = parked.take() else {
                        return Poll::Pending;
                    };
                    let next = match gate
                        .authenticator
                        .judge_after(obtained, &request, gate.mode)
                    {
                        Verdict::Admit(token) => {
                            let (request, facts) = gate.admit(token, request);
                            State::Forward {
                                response: service.call(request),
                                gate,
                                facts,
                            }
                        }
                        Verdict::Reject(rejection) => State::Reject {
                            response: Some(answer(&rejection, &gate.respond)),
                        },
                        // `judge_after` never asks for another wait.
                        Verdict::Wait(_) => return Poll::Pending,
                    };
                    state.set(next);
                }
            }
        }
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
