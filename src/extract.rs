//! axum: the token as an argument of a handler, and a rejection as its result (feature `axum`).

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    access_token::AccessToken,
    middleware::{Form, FromInside, JsonRejection, answer},
    rejection::{Rejection, RejectionKind},
};

/// Without an `AuthenticateLayer` outside: 500. Without a token, in the optional mode: 401.
impl<S: Sync> FromRequestParts<S> for AccessToken {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions).cloned()
    }
}

/// `None` only where the `AuthenticateLayer` let a request through without a token, in the
/// optional mode; without such a layer outside: 500.
impl<S: Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        match Self::from_extensions(&parts.extensions) {
            Ok(token) => Ok(Some(token.clone())),
            Err(rejection) if rejection.kind() == RejectionKind::TokenMissing => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

/// The same answer as from a layer, so that handlers can use `token.require_scope(..)?`.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = answer(&self, &JsonRejection, Form::Http);
        response.extensions_mut().insert(FromInside(self));
        response
    }
}
