//! tonic: a rejection as a status, refusals with tonic's body, and services that keep their name
//! (feature `tonic`).

use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http_body_util::Full;
use tonic::{Code, Status, body::Body, metadata::MetadataMap, server::NamedService};

use crate::{
    middleware::{Authenticate, EndStreams, RejectionBody, Require, details},
    rejection::{Rejection, RejectionKind},
};

/// The same answer as from a layer, so that handlers can use `token.require_scope(..)?`: code and
/// message, the details, and `www-authenticate` among the metadata. The rejection itself is the
/// status's [source](std::error::Error::source), which is how the
/// [`AuthenticateLayer`](crate::AuthenticateLayer) outside knows of it, and tells the audit sinks; not of
/// one that ends a stream that has begun.
///
/// ```
/// use portcullis::{AccessToken, Role};
/// use tonic::{Request, Response, Status};
///
/// async fn delete(request: Request<()>) -> Result<Response<()>, Status> {
///     let token = AccessToken::from_extensions(request.extensions())?;
///     token.require_role(Role::Admin)?;
///     Ok(Response::new(()))
/// }
/// ```
impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let challenge = rejection.challenge();
        let metadata = challenge.map(|challenge| (WWW_AUTHENTICATE, challenge));
        let mut status = Self::with_details_and_metadata(
            Code::from(i32::from(rejection.kind().grpc_code())),
            rejection.message(),
            details(&rejection).into(),
            MetadataMap::from_headers(metadata.into_iter().collect()),
        );
        status.set_source(Arc::new(rejection));
        status
    }
}

impl From<RejectionKind> for Status {
    fn from(kind: RejectionKind) -> Self {
        Rejection::from(kind).into()
    }
}

impl RejectionBody for Body {
    fn from_text(text: &'static str) -> Self {
        Self::new(Full::<bytes::Bytes>::from(text))
    }
}

impl<S: NamedService, R> NamedService for Authenticate<S, R> {
    const NAME: &'static str = S::NAME;
}

impl<S: NamedService, R> NamedService for EndStreams<S, R> {
    const NAME: &'static str = S::NAME;
}

impl<S: NamedService, R> NamedService for Require<S, R> {
    const NAME: &'static str = S::NAME;
}
