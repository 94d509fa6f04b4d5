//! The pure core: from headers to a verdict, without I/O and with the time as an argument.
//!
//! Keys are the only thing a verdict may have to wait for, so it comes in two plain calls.
//! [`begin`] takes the token off the headers, takes it apart and finds its authorization server;
//! [`Pending::finish`] finds the key and checks signature and claims. What lies between, getting
//! the keys, is the caller's. [`AuthenticateLayer`](crate::AuthenticateLayer) is such a caller; use
//! this module where there is no Tower.
//!
//! ```
//! use http::{HeaderMap, header::AUTHORIZATION};
//! use portcullis::{AuthorizationServer, RejectionKind, ResourceServer, UnixTime, verify};
//!
//! let resource_server = ResourceServer::builder()
//!     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
//!     .build()?;
//! let keys = verify::KeySet::from_json(
//!     br#"{"keys":[]}"#,
//!     &resource_server.authorization_servers()[0],
//! )?;
//! let mut headers = HeaderMap::new();
//! headers.insert(AUTHORIZATION, "Bearer not-a-token".parse()?);
//!
//! let verdict = verify::begin(&headers, &resource_server)
//!     .and_then(|pending| pending.finish(UnixTime::from_secs(1_700_000_000), &keys));
//! assert_eq!(verdict.unwrap_err().kind(), RejectionKind::TokenMalformed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, sync::Arc};

use http::HeaderMap;

use crate::{
    access_token::AccessToken,
    algorithm::Algorithm,
    authorization_server::AuthorizationServer,
    rejection::{Rejection, RejectionKind},
    resource_server::ResourceServer,
    time::UnixTime,
};

mod bearer;
mod claims;
mod json;
mod key_set;
mod parse;
mod signature;

pub use key_set::{InvalidKeySet, KeySet};

use key_set::Selection;
use parse::UnverifiedToken;

/// The first half of a verdict: steps that need no key.
///
/// In order: one `Authorization` header with a bearer token; a compact JWS of an acceptable type;
/// a trusted issuer, compared exactly; an algorithm from that issuer's list; nothing that marks it
/// as another kind of token.
///
/// # Errors
///
/// The [`Rejection`] of the first step that fails. A token that passes is **not verified**.
pub fn begin<'r>(
    headers: &'r HeaderMap,
    resource_server: &'r ResourceServer,
) -> Result<Pending<'r>, Rejection> {
    let token = UnverifiedToken::parse(bearer::bearer_token(headers)?)?;
    let iss = token.claims.string("iss").map_err(RejectionKind::from)?;
    let (index, issuer, server) = iss
        .and_then(|iss| resource_server.route(&iss))
        .ok_or(RejectionKind::IssuerUnknown)?;
    let algorithm = token
        .algorithm
        .filter(|algorithm| server.algorithms.contains(algorithm))
        .ok_or(RejectionKind::AlgorithmRejected)?;
    if claims::is_other_kind(&token.claims, server) || (server.at_jwt_required && !token.is_at_jwt)
    {
        return Err(RejectionKind::TokenTypeRejected.into());
    }
    Ok(Pending {
        token,
        algorithm,
        index,
        issuer,
        server,
        resource_server,
    })
}

/// A token that waits for its key. It tells which keys are needed, and nothing it claims.
#[must_use = "a pending token is not verified; call `finish`"]
pub struct Pending<'r> {
    token: UnverifiedToken<'r>,
    algorithm: Algorithm,
    index: usize,
    issuer: &'r Arc<str>,
    server: &'r AuthorizationServer,
    resource_server: &'r ResourceServer,
}

impl<'r> Pending<'r> {
    /// Whose keys are needed; also its place in
    /// [`authorization_servers`](ResourceServer::authorization_servers).
    pub const fn authorization_server(&self) -> (usize, &'r AuthorizationServer) {
        (self.index, self.server)
    }

    /// The id of the key that is needed, as the token says.
    ///
    /// # Security
    ///
    /// Whoever sent the request chose it, at any length. Look keys up by it, and nothing else.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.token.kid.as_deref()
    }

    /// The second half of a verdict: key, signature, claims.
    ///
    /// In order: exactly one key that fits; the signature; the types of all claims that are
    /// looked at; no sender constraint; audience; client; `exp`, `nbf` and `iat` against `now`.
    ///
    /// It does *not* check revocation, or scopes and roles: that is for the route, see
    /// [`AccessToken::require_scope`] and [`AccessToken::require_role`].
    ///
    /// # Errors
    ///
    /// The [`Rejection`] of the first step that fails.
    pub fn finish(self, now: UnixTime, keys: &KeySet) -> Result<AccessToken, Rejection> {
        let key = match keys.select(self.unverified_kid(), self.algorithm) {
            Selection::Key(key) => key,
            Selection::None => return Err(RejectionKind::KeyUnknown.into()),
            Selection::OtherAlgorithm => return Err(RejectionKind::AlgorithmRejected.into()),
            Selection::Ambiguous => return Err(RejectionKind::KeyAmbiguous.into()),
        };
        if !key.verify(self.token.signing_input.as_bytes(), &self.token.signature) {
            return Err(RejectionKind::SignatureInvalid.into());
        }
        claims::validate(
            now,
            self.resource_server.leeway(),
            self.issuer,
            self.server,
            self.token.claims,
        )
    }
}

impl fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("issuer", &self.issuer)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
