//! What a refused caller is told.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{
        ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING, VARY,
        WWW_AUTHENTICATE,
    },
};
use http_body_util::{
    BodyExt as _, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::grpc::{self, Form};
use crate::rejection::Rejection;

/// Makes the response to an HTTP request that is refused. gRPC calls are answered natively, without
/// it.
///
/// Status, `WWW-Authenticate` and `Retry-After` are already in the response it is given; what is
/// left is the body, and its `Content-Type`. Implemented for closures of the same shape, and by
/// [`JsonRejection`] (the default) and [`EmptyRejection`].
///
/// ```
/// use http::Response;
/// use portcullis::{AuthenticateLayer, AuthorizationServer, Rejection, ResourceServer};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
///     .build()?;
/// let authenticate = AuthenticateLayer::new(resource_server).with_response(
///     |rejection: &Rejection, response: Response<()>| {
///         response.map(|()| axum::body::Body::from(format!("no: {rejection}")))
///     },
/// );
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
pub trait RejectionResponse<B> {
    /// The response: `head` with a body.
    fn response(&self, rejection: &Rejection, head: Response<()>) -> Response<B>;
}

impl<B, F: Fn(&Rejection, Response<()>) -> Response<B>> RejectionResponse<B> for F {
    fn response(&self, rejection: &Rejection, head: Response<()>) -> Response<B> {
        self(rejection, head)
    }
}

/// A small JSON body: `{"code":"TOKEN_EXPIRED","message":"the token has expired"}`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct JsonRejection;

/// A body that [`JsonRejection`] can make.
///
/// Implemented for the bodies of axum and tonic (features of these names), those of
/// `http-body-util`, and plain texts. For another, implement it, or give the layer a
/// [response](crate::AuthenticateLayer::with_response) of yours.
#[diagnostic::on_unimplemented(
    note = "for the bodies of axum and tonic, enable the feature `axum` or `tonic` of portcullis"
)]
pub trait RejectionBody {
    /// A body with this text.
    fn from_text(text: &'static str) -> Self;
}

macro_rules! from_text {
    ($($body:ty),*) => {
        $(impl RejectionBody for $body {
            fn from_text(text: &'static str) -> Self {
                Self::from(text)
            }
        })*
    };
}

from_text!(&'static str, String, Vec<u8>, Bytes, Full<Bytes>);

#[cfg(feature = "axum")]
from_text!(axum::body::Body);

impl<E> RejectionBody for BoxBody<Bytes, E> {
    fn from_text(text: &'static str) -> Self {
        Self::new(Full::from(text).map_err(|never| match never {}))
    }
}

impl<E> RejectionBody for UnsyncBoxBody<Bytes, E> {
    fn from_text(text: &'static str) -> Self {
        Self::new(Full::from(text).map_err(|never| match never {}))
    }
}

impl<B: RejectionBody> RejectionResponse<B> for JsonRejection {
    fn response(&self, rejection: &Rejection, head: Response<()>) -> Response<B> {
        let mut response = head.map(|()| B::from_text(rejection.kind().wire().body));
        response.headers_mut().insert(
            CONTENT_TYPE,
            const { HeaderValue::from_static("application/json") },
        );
        response
    }
}

/// No body: for services whose body type cannot be made from text.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EmptyRejection;

impl EmptyRejection {
    /// The responder.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<B: Default> RejectionResponse<B> for EmptyRejection {
    fn response(&self, _: &Rejection, head: Response<()>) -> Response<B> {
        head.map(|()| B::default())
    }
}

/// Marks a refusal from further in, which the [`AuthenticateLayer`](crate::AuthenticateLayer)
/// outside has yet to record, and to give the body that it gives its own.
#[derive(Clone)]
pub(crate) struct FromInside(pub(crate) Rejection);

/// What a tonic handler refused its call for, where its status was made of a rejection and no layer
/// has taken note of it.
#[cfg(feature = "tonic")]
pub(crate) fn of_handler<B>(response: &Response<B>) -> Option<Rejection> {
    use std::error::Error as _;

    let extensions = response.extensions();
    let status: &tonic::Status = extensions.get()?;
    if extensions.get::<Rejection>().is_some() {
        return None;
    }
    status.source()?.downcast_ref().cloned()
}

/// The whole response to a rejection, in the form that the request wants.
pub(crate) fn answer<B: Default>(
    rejection: &Rejection,
    respond: &impl RejectionResponse<B>,
    form: Form,
) -> Response<B> {
    let mut response = match grpc::headers(rejection, form) {
        None => http_answer(rejection, respond),
        Some(headers) => {
            let mut response = Response::new(B::default());
            *response.headers_mut() = headers;
            response
        }
    };
    response.extensions_mut().insert(rejection.clone());
    response
}

fn http_answer<B>(rejection: &Rejection, respond: &impl RejectionResponse<B>) -> Response<B> {
    let mut head = Response::new(());
    *head.status_mut() = rejection.kind().status();
    if let Some(challenge) = rejection.challenge() {
        head.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = rejection.retry_after() {
        head.headers_mut()
            .insert(RETRY_AFTER, seconds.as_secs().into());
    }
    respond.response(rejection, head)
}

/// The response to a rejection from further in, made the way of the layer outside. What layers in
/// between did to it stays: headers they added, and all of it where they changed the status. The
/// answer to a gRPC call is the same whoever makes it, and stays as it is.
pub(crate) fn answer_again<B: Default>(
    inner: Response<B>,
    rejection: &Rejection,
    respond: &impl RejectionResponse<B>,
) -> Response<B> {
    if inner.status() != rejection.kind().status() {
        return inner;
    }
    let mut response = answer(rejection, respond, Form::Http);
    let (parts, _) = inner.into_parts();
    let ours: HeaderMap = response.headers().clone();
    for (name, value) in &parts.headers {
        let is_list = [VARY, SET_COOKIE].contains(name);
        let is_ours = ours.contains_key(name) && !is_list;
        if !is_ours && !OF_THE_BODY.contains(name) && !ours.get_all(name).iter().any(|v| v == value)
        {
            response.headers_mut().append(name, value.clone());
        }
    }
    let mut extensions = parts.extensions;
    extensions.extend(std::mem::take(response.extensions_mut()));
    *response.extensions_mut() = extensions;
    response
}

/// What belongs to a body that is replaced.
const OF_THE_BODY: [HeaderName; 9] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    TRANSFER_ENCODING,
];
