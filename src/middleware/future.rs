//! The future of an authenticated service: named, and boxed only where it has to wait for keys.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

#[cfg(feature = "tonic")]
use super::response::of_handler;
use super::{
    authenticator::{Verdict, Wait, Waited, Witness},
    gate::Gate,
    grpc::Form,
    response::{FromInside, RejectionResponse, answer, answer_again},
};

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

type Keys = Pin<Box<dyn Future<Output = (Wait, Waited)> + Send>>;

pin_project! {
    #[project = Projected]
    enum State<S, F, Res, B, R> {
        Forward {
            #[pin]
            response: F,
            respond: R,
            witness: Option<Arc<Witness>>,
        },
        Reject { response: Option<Res> },
        Wait {
            keys: Keys,
            // The service that was ready, and the request that it is for. In a box, since what
            // waits is rare and would make every future large.
            parked: Option<Box<(S, Request<B>, Gate<R>)>>,
        },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(crate) const fn forward(
        response: S::Future,
        respond: R,
        witness: Option<Arc<Witness>>,
    ) -> Self {
        let state = State::Forward {
            response,
            respond,
            witness,
        };
        Self { state }
    }

    pub(crate) const fn reject(response: S::Response) -> Self {
        let response = Some(response);
        let state = State::Reject { response };
        Self { state }
    }

    pub(crate) fn wait(keys: Keys, ready: S, request: Request<B>, gate: Gate<R>) -> Self {
        let parked = Some(Box::new((ready, request, gate)));
        let state = State::Wait { keys, parked };
        Self { state }
    }
}

impl<S, B, R, ResBody> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
    ResBody: Default,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projected::Forward {
                    response,
                    respond,
                    witness,
                } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(FromInside(rejection)) = response.extensions_mut().remove() {
                        if let Some(witness) = witness {
                            witness.record(&rejection);
                        }
                        response = answer_again(response, &rejection, respond);
                    }
                    #[cfg(feature = "tonic")]
                    if let Some(rejection) = of_handler(&response) {
                        if let Some(witness) = witness {
                            witness.record(&rejection);
                        }
                        response.extensions_mut().insert(rejection);
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
                    let Some(parked) = parked.take() else {
                        return Poll::Pending;
                    };
                    let (mut service, mut request, gate) = *parked;
                    let next = match gate.judge_after(obtained, &request) {
                        Verdict::Admit(token, basis) => {
                            let witness = gate.admit(token, basis, &mut request);
                            State::Forward {
                                response: service.call(request),
                                respond: gate.respond,
                                witness,
                            }
                        }
                        Verdict::Reject(rejection) => {
                            let form = Form::of(&request);
                            State::Reject {
                                response: Some(answer(&rejection, &gate.respond, form)),
                            }
                        }
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
