//! What a route asks of a token, beyond being valid.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    grpc::Form,
    response::{FromInside, JsonRejection, RejectionResponse, answer},
};
use crate::{
    access_token::AccessToken, error::ConfigError, rejection::Rejection, requirement::Requirement,
    role::Role,
};

/// Lets only requests through whose token has a scope, or whose groups amount to a role.
///
/// Goes inside an [`AuthenticateLayer`](crate::AuthenticateLayer), on a route or on a router; add
/// several, one `route_layer` each, to ask for several things. Answers 403 if the token is not enough, 401 if there is none
/// (in the optional mode), and 500 if there is no `AuthenticateLayer` outside, so that a route
/// that was left unprotected by mistake lets nobody in.
///
/// ```
/// use axum::{Router, routing::{delete, get}};
/// use portcullis::{AuthenticateLayer, AuthorizationServer, RequireLayer, ResourceServer, Role};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
///     .build()?;
/// let app: Router = Router::new()
///     .route("/data", get(|| async { "data" }).route_layer(RequireLayer::all_scopes(["read:data"])?))
///     .route("/data", delete(|| async { "gone" }).route_layer(RequireLayer::role(Role::Admin)))
///     .layer(AuthenticateLayer::new(resource_server));
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RequireLayer<R = JsonRejection> {
    requirement: Arc<Requirement>,
    respond: R,
}

impl RequireLayer {
    /// All of this is needed.
    pub fn new(requirement: Requirement) -> Self {
        Self {
            requirement: Arc::new(requirement),
            respond: JsonRejection,
        }
    }

    /// Every one of these scopes is needed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidScope`] if one is not a scope token of RFC 6749 §3.3, or there is
    /// none.
    pub fn all_scopes<T: Into<String>>(
        scopes: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        Requirement::all_scopes(scopes).map(Self::new)
    }

    /// At least one of these scopes is needed.
    ///
    /// # Errors
    ///
    /// As for [`all_scopes`](Self::all_scopes).
    pub fn any_scope<T: Into<String>>(
        scopes: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        Requirement::any_scope(scopes).map(Self::new)
    }

    /// This role is needed, or a higher one.
    pub fn role(at_least: Role) -> Self {
        Self::new(Requirement::role(at_least))
    }
}

impl<R> RequireLayer<R> {
    /// Makes the response in another way, for services whose body cannot be made from text. The
    /// `AuthenticateLayer` outside has the last word: it makes the body again in its own way, and
    /// keeps headers that layers in between have added.
    pub fn with_response<Q>(self, respond: Q) -> RequireLayer<Q> {
        RequireLayer {
            requirement: self.requirement,
            respond,
        }
    }
}

impl<S, R: Clone> Layer<S> for RequireLayer<R> {
    type Service = Require<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Require {
            inner,
            requirement: Arc::clone(&self.requirement),
            respond: self.respond.clone(),
        }
    }
}

/// The service made by a [`RequireLayer`].
#[derive(Clone, Debug)]
pub struct Require<S, R> {
    inner: S,
    requirement: Arc<Requirement>,
    respond: R,
}

impl<S, R, B, ResBody> Service<Request<B>> for Require<S, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: RejectionResponse<ResBody>,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future, Response<ResBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.check(request.extensions()) {
            Ok(()) => Either::Forward {
                response: self.inner.call(request),
            },
            Err(rejection) => {
                let mut response = answer(&rejection, &self.respond, Form::of(&request));
                response.extensions_mut().insert(FromInside(rejection));
                Either::Reject {
                    response: Some(response),
                }
            }
        };
        RequireFuture { state }
    }
}

impl<S, R> Require<S, R> {
    fn check(&self, extensions: &Extensions) -> Result<(), Rejection> {
        self.requirement
            .check(AccessToken::from_extensions(extensions)?)
    }
}

pin_project! {
    /// The response of a [`Require`].
    pub struct RequireFuture<F, Res> {
        #[pin]
        state: Either<F, Res>,
    }
}

pin_project! {
    #[project = EitherProjected]
    enum Either<F, Res> {
        Forward {
            #[pin]
            response: F,
        },
        Reject { response: Option<Res> },
    }
}

impl<F: Future<Output = Result<Res, E>>, Res, E> Future for RequireFuture<F, Res> {
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            EitherProjected::Forward { response } => response.poll(cx),
            // A future that is polled after it is done stays pending.
            EitherProjected::Reject { response } => response
                .take()
                .map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}

impl<F, Res> fmt::Debug for RequireFuture<F, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}
