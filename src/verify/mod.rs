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

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    access_token::AccessToken,
    algorithm::Algorithm,
    authorization_server::AuthorizationServer,
    claim::{ClaimPath, ClaimRule},
    rejection::{Rejection, RejectionKind},
    resource_server::ResourceServer,
    time::UnixTime,
};

mod bearer;
mod claims;
mod json;
mod key_set;
mod parse;

pub(crate) use bearer::{bearer_token, token_of_header};
pub(crate) use claims::{Check, judge_times};
pub(crate) use key_set::VerificationKey;
pub use key_set::{InvalidKeySet, KeySet};

use bearer::is_token68;
use key_set::Selection;
use parse::UnverifiedToken;

/// The first half of a verdict: steps that need no key.
///
/// In order: one `Authorization` header with a bearer token, or one
/// [other](crate::ResourceServerBuilder::token_header) with a token; a compact JWS of an acceptable type;
/// a trusted issuer, compared exactly; an algorithm from that issuer's list; nothing that marks it
/// as another kind of token.
///
/// # Errors
///
/// The [`Rejection`] of the first step that fails. A token that passes is **not verified**.
pub fn begin<'r>(
    headers: &'r HeaderMap,
    resource_server: &'r ResourceServer,
) -> Result<Pending<'r, 'r>, Rejection> {
    let credentials = match resource_server.token_header() {
        None => bearer_token(headers),
        Some(name) => token_of_header(headers, name),
    };
    begin_with(credentials?, resource_server)
}

/// [`begin`], with what follows the scheme.
pub(crate) fn begin_with<'r>(
    credentials: &'r [u8],
    resource_server: &'r ResourceServer,
) -> Result<Pending<'r, 'r>, Rejection> {
    let token = Unrouted::parse(credentials)?;
    let server = {
        let issuer = token.issuer()?;
        let (_, server) = resource_server
            .route(&issuer)
            .ok_or(RejectionKind::IssuerUnknown)?;
        server
    };
    token.route(server, resource_server.leeway())
}

/// Whether the form of a token that was refused for this is that of an opaque one: it is no JWS, not
/// one that was changed to look like none, and not too large.
pub(crate) fn may_be_opaque(credentials: &[u8], refused: &Rejection) -> bool {
    let is_jwe = || credentials.iter().filter(|b| **b == b'.').count() == 4;
    credentials.len() <= parse::MAX_TOKEN_BYTES
        && match refused.kind() {
            RejectionKind::TokenMalformed => !parse::has_header(credentials),
            RejectionKind::TokenTypeRejected => is_jwe(),
            _ => false,
        }
}

/// Judges what the authorization server says of a token (RFC 7662 §2.2), as if the token had said it.
pub(crate) fn introspected(
    server: &AuthorizationServer,
    leeway: Duration,
    now: UnixTime,
    answer: serde_json::Map<String, serde_json::Value>,
    believed_until: UnixTime,
) -> Result<AccessToken, Rejection> {
    use serde_json::Value;

    match answer.get("iss") {
        None => {}
        Some(Value::String(issuer)) if server.is_of(issuer) => {}
        Some(_) => return Err(RejectionKind::IssuerUnknown.into()),
    }
    // RFC 9449 §6.2: bound, like one with `cnf`.
    if let Some(Value::String(kind)) = answer.get("token_type")
        && kind.eq_ignore_ascii_case("dpop")
    {
        return Err(RejectionKind::BindingMissing.into());
    }
    let malformed = |_| Rejection::from(RejectionKind::ClaimInvalid);
    let mut payload = completed(server, now, answer, believed_until);
    let members = json::Members::of(&payload).map_err(malformed)?;
    let claims = json::Object::new(&payload, &members);
    if claims::is_other_kind(claims, server) || claims::is_refresh_token(claims) {
        return Err(RejectionKind::TokenTypeRejected.into());
    }
    if let Some(tenants) = &server.tenants {
        claims::tenant_of(tenants, claims)?;
    }
    let times = claims::judge(now, leeway, server, claims)
        .map_err(|kind| claims::rejection(server, kind, claims))?;
    let verified = claims::read(server, times, &mut payload, &members).map_err(malformed)?;
    Ok(AccessToken::new(verified))
}

/// The claims that an answer stands for. What it leaves open is what it has to be: it is the one that
/// was asked, a client's own token is the client's, and until `believed_until` it is good.
pub(crate) fn completed(
    server: &AuthorizationServer,
    now: UnixTime,
    mut answer: serde_json::Map<String, serde_json::Value>,
    believed_until: UnixTime,
) -> String {
    if !answer.contains_key("iss") {
        answer.insert("iss".to_owned(), server.issuer().into());
    }
    if !answer.contains_key("exp") {
        // Up to the next whole second.
        let until = believed_until.max(now).as_secs().saturating_add(1);
        answer.insert("exp".to_owned(), until.into());
    }
    if !answer.contains_key("sub")
        && let Some(client) = answer.get("client_id").cloned()
    {
        answer.insert("sub".to_owned(), client);
    }
    serde_json::Value::Object(answer).to_string()
}

/// A token that was taken apart, of which it is not known yet whether its issuer is trusted.
pub(crate) struct Unrouted<'r>(Box<UnverifiedToken<'r>>);

impl<'r> Unrouted<'r> {
    pub(crate) fn parse(credentials: &'r [u8]) -> Result<Self, Rejection> {
        let token = UnverifiedToken::parse(credentials).map_err(|kind| {
            if is_token68(credentials) {
                kind
            } else {
                RejectionKind::RequestMalformed
            }
        })?;
        Ok(Self(token))
    }

    /// Who is to be asked for the key, if it is trusted.
    pub(crate) fn issuer(&self) -> Result<Cow<'_, str>, Rejection> {
        let issuer = self.0.claims().string("iss");
        let issuer = issuer.map_err(RejectionKind::from)?;
        Ok(issuer.ok_or(RejectionKind::IssuerUnknown)?)
    }

    pub(crate) fn unverified_kid(&self) -> Option<&str> {
        self.0.kid()
    }

    /// What can be said against a token that its authorization server judges: another kind of token stays
    /// one, and a bound one bound, whatever the answer leaves out.
    pub(crate) fn refused_by_itself(&self, server: &AuthorizationServer) -> Option<RejectionKind> {
        if self.is_other_kind(server) {
            return Some(RejectionKind::TokenTypeRejected);
        }
        let is_bound = self.0.claims().has("cnf");
        is_bound.then_some(RejectionKind::BindingMissing)
    }

    fn is_other_kind(&self, server: &AuthorizationServer) -> bool {
        claims::is_other_kind(self.0.claims(), server)
            || (server.at_jwt_required && !self.0.is_at_jwt)
    }

    /// Goes on under the policy for its issuer.
    pub(crate) fn route<'s>(
        self,
        server: &'s AuthorizationServer,
        leeway: Duration,
    ) -> Result<Pending<'r, 's>, Rejection> {
        let algorithm = self
            .0
            .algorithm
            .filter(|algorithm| server.algorithms.contains(algorithm))
            .ok_or(RejectionKind::AlgorithmRejected)?;
        if self.is_other_kind(server) {
            return Err(RejectionKind::TokenTypeRejected.into());
        }
        Ok(Pending {
            token: self.0,
            algorithm,
            server,
            leeway,
        })
    }
}

/// A token that waits for its key. It tells which keys are needed, and nothing it claims.
#[must_use = "a pending token is not verified; call `finish`"]
pub struct Pending<'r, 's> {
    token: Box<UnverifiedToken<'r>>,
    algorithm: Algorithm,
    server: &'s AuthorizationServer,
    leeway: Duration,
}

impl<'s> Pending<'_, 's> {
    /// Whose keys are needed.
    pub const fn authorization_server(&self) -> &'s AuthorizationServer {
        self.server
    }

    /// The id of the key that is needed, as the token says.
    ///
    /// # Security
    ///
    /// Whoever sent the request chose it, at any length. Look keys up by it, and nothing else.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.token.kid()
    }

    /// The second half of a verdict: key, claims, signature.
    ///
    /// In order: exactly one key that fits; no sender constraint; audience; client; claims that the
    /// policy requires or forbids; `exp`, `nbf` and `iat` against `now`; the signature; the types of all claims that are looked at. A token
    /// that is refused for its claims is refused without a look at its signature, so such a refusal
    /// does not say who made it.
    ///
    /// It does *not* check revocation, or scopes and roles: that is for the route, see
    /// [`AccessToken::require_scope`] and [`AccessToken::require_role`].
    ///
    /// # Errors
    ///
    /// The [`Rejection`] of the first step that fails.
    pub fn finish(mut self, now: UnixTime, keys: &KeySet) -> Result<AccessToken, Rejection> {
        self.verify(now, keys, false)
            .map(|verification| verification.token)
    }

    /// [`finish`](Self::finish), with the key that verified the token. With `name_refused`, the
    /// signature of a token that is refused for its claims is checked as well, to tell in the
    /// rejection whose it was; which rejection it is does not depend on that.
    ///
    /// A token that is refused may be tried again with other keys; one that passes is used up.
    pub(crate) fn verify(
        &mut self,
        now: UnixTime,
        keys: &KeySet,
        name_refused: bool,
    ) -> Result<Verification, Rejection> {
        let key = match keys.select(self.unverified_kid(), self.algorithm) {
            Selection::Key(key) => key,
            Selection::None => return Err(RejectionKind::KeyUnknown.into()),
            Selection::OtherAlgorithm => return Err(RejectionKind::AlgorithmRejected.into()),
            Selection::Ambiguous => return Err(RejectionKind::KeyAmbiguous.into()),
        };
        let (token, server) = (&mut self.token, self.server);
        if let Some(tenants) = &server.tenants {
            let tenant = claims::tenant_of(tenants, token.claims())?;
            if !tenants.is_key_of(key.issuer(), &tenant) {
                return Err(RejectionKind::IssuerUnknown.into());
            }
        }
        let is_signed = || key.verify(token.signing_input, &token.signature);
        let times = match claims::judge(now, self.leeway, server, token.claims()) {
            Ok(times) => times,
            Err(kind) => {
                let rejection = claims::rejection(server, kind, token.claims());
                return Err(if name_refused && is_signed() {
                    token.refused(rejection)
                } else {
                    rejection
                });
            }
        };
        if !is_signed() {
            return Err(RejectionKind::SignatureInvalid.into());
        }
        let read = claims::read(server, times, &mut token.payload, &token.members);
        let Ok(verified) = read else {
            return Err(token.refused(RejectionKind::ClaimInvalid.into()));
        };
        Ok(Verification {
            token: AccessToken::new(verified),
            key: Some(Arc::clone(key)),
            names_key: token.kid.is_some(),
        })
    }
}

/// A second look at claims that were refused, for whoever says why.
pub(crate) struct SecondLook<'t> {
    text: &'t str,
    members: json::Members,
}

impl<'t> SecondLook<'t> {
    pub(crate) fn at(text: &'t str) -> Option<Self> {
        let members = json::Members::of(text).ok()?;
        Some(Self { text, members })
    }

    fn claims(&self) -> json::Object<'_> {
        json::Object::new(self.text, &self.members)
    }

    /// Whether their tenant is one that is trusted.
    pub(crate) fn is_of_trusted_tenant(&self, server: &AuthorizationServer) -> bool {
        let tenants = server.tenants.as_ref();
        tenants.is_none_or(|tenants| claims::tenant_of(tenants, self.claims()).is_ok())
    }

    /// The first of the [checks](Check) that they do not pass.
    pub(crate) fn failed_check(
        &self,
        server: &AuthorizationServer,
        now: UnixTime,
        leeway: Duration,
    ) -> Option<Check> {
        Check::ALL
            .into_iter()
            .find(|check| check.run(now, leeway, server, self.claims()).is_err())
    }

    /// The rules that they do not meet.
    pub(crate) fn failed_rules<'s>(&self, server: &'s AuthorizationServer) -> Vec<&'s ClaimRule> {
        claims::failed_rules(server, self.claims())
    }

    /// The first claim that is missing or is not what it has to be, and that.
    pub(crate) fn misread(
        &self,
        server: &AuthorizationServer,
    ) -> Option<(ClaimPath, &'static str)> {
        claims::misread(server, self.claims())
    }
}

/// A verified token, and what it was verified with.
pub(crate) struct Verification {
    pub(crate) token: AccessToken,
    /// `None` if its authorization server was asked instead.
    pub(crate) key: Option<Arc<VerificationKey>>,
    /// Whether the token names its key, rather than leaving it to be the only one that fits.
    pub(crate) names_key: bool,
}

impl fmt::Debug for Pending<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("issuer", &self.server.issuer)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
