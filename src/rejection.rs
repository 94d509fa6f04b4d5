//! Why a request was refused, and the one table that says how that looks on the wire.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};

use crate::{
    challenge::{challenge, is_scope_token, with_parameter},
    role::Role,
};

/// Why a request was refused.
///
/// Opaque, cheap to clone, and free of anything from the token: it can be logged, counted and sent
/// as it is. The layer puts it into the *response's* extensions, so that layers outside can tell
/// why. [`kind`](Self::kind) says which check failed.
///
/// ```
/// use portcullis::{Rejection, RejectionKind};
///
/// let rejection = Rejection::from(RejectionKind::TokenExpired);
/// assert_eq!(rejection.kind().as_str(), "TOKEN_EXPIRED");
/// assert_eq!(rejection.kind().status(), 401);
/// assert_eq!(rejection.to_string(), "the token has expired");
/// ```
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    needed: Option<Needed>,
    retry_after: Option<Duration>,
    /// Who it was, where the signature had been verified; for the audit event alone.
    subject: Option<Arc<str>>,
}

/// A scope that is needed.
#[derive(Debug)]
pub(crate) struct MissingScope {
    pub(crate) challenge: HeaderValue,
    /// The scope tokens, separated by spaces.
    pub(crate) scope: String,
    /// Whether all of them are needed, or any.
    pub(crate) all: bool,
}

/// Authentication contexts of which one is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingAuthentication {
    /// `None` if they cannot be in a header.
    challenge: Option<HeaderValue>,
    /// Separated by spaces.
    pub(crate) acr_values: String,
}

impl MissingAuthentication {
    pub(crate) fn new(acr_values: &[String]) -> Self {
        let is_sound = !acr_values.is_empty() && acr_values.iter().all(|acr| is_scope_token(acr));
        let acr_values = acr_values.join(" ");
        let challenge = RejectionKind::StepUpRequired
            .challenge()
            .filter(|_| is_sound)
            .and_then(|challenge| with_parameter(&challenge, "acr_values", &acr_values));
        Self {
            challenge,
            acr_values,
        }
    }

    pub(crate) const fn is_sound(&self) -> bool {
        self.challenge.is_some()
    }
}

/// What the token would have needed, where more would have helped.
#[derive(Clone)]
pub(crate) enum Needed {
    Scope(Arc<MissingScope>),
    Role(Role),
    Authentication(Arc<MissingAuthentication>),
}

impl Rejection {
    /// Which check failed.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The value of `WWW-Authenticate`, where one belongs to the answer.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        match &self.needed {
            Some(Needed::Scope(missing)) => Some(missing.challenge.clone()),
            Some(Needed::Authentication(missing)) => missing.challenge.clone(),
            _ => self.kind.challenge(),
        }
    }

    /// A sentence for people: the kind's [description](RejectionKind::description) and, where a
    /// scope or a role is missing, which. It is what gRPC clients get as `grpc-message`.
    ///
    /// ```
    /// use portcullis::{AccessToken, Role};
    ///
    /// fn told(token: &AccessToken) -> String {
    ///     // "the token's role is not sufficient here: admin is needed"
    ///     token.require_role(Role::Admin).map_or_else(|r| r.message().into_owned(), |()| String::new())
    /// }
    /// ```
    #[must_use]
    pub fn message(&self) -> Cow<'static, str> {
        let description = self.kind.description();
        match &self.needed {
            None => Cow::Borrowed(description),
            Some(Needed::Scope(missing)) => {
                let MissingScope { scope, all, .. } = &**missing;
                let one_of = if *all { "" } else { "one of " };
                Cow::Owned(format!("{description}: {one_of}{scope}"))
            }
            Some(Needed::Role(role)) => Cow::Owned(format!("{description}: {role} is needed")),
            Some(Needed::Authentication(missing)) => {
                Cow::Owned(format!("{description}: one of {}", missing.acr_values))
            }
        }
    }

    pub(crate) const fn needed(&self) -> Option<&Needed> {
        self.needed.as_ref()
    }

    /// How long the caller should wait before trying again, where that is known; whole seconds,
    /// at least one.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    pub(crate) fn with_subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(crate) fn scope_insufficient(missing: Arc<MissingScope>) -> Self {
        Self {
            needed: Some(Needed::Scope(missing)),
            ..RejectionKind::ScopeInsufficient.into()
        }
    }

    pub(crate) fn role_insufficient(needed: Role) -> Self {
        Self {
            needed: Some(Needed::Role(needed)),
            ..RejectionKind::RoleInsufficient.into()
        }
    }

    pub(crate) fn step_up_required(missing: Arc<MissingAuthentication>) -> Self {
        Self {
            needed: Some(Needed::Authentication(missing)),
            ..RejectionKind::StepUpRequired.into()
        }
    }

    pub(crate) fn keys_unavailable(retry_after: Duration) -> Self {
        let whole_seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self {
            retry_after: Some(Duration::from_secs(whole_seconds.max(1))),
            ..RejectionKind::KeysUnavailable.into()
        }
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self {
            kind,
            needed: None,
            retry_after: None,
            subject: None,
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rejection").field(&self.kind).finish()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.description())
    }
}

impl std::error::Error for Rejection {}

/// What the wire shows of a rejection.
pub(crate) struct Wire {
    pub(crate) status: StatusCode,
    pub(crate) grpc: u8,
    pub(crate) code: &'static str,
    pub(crate) description: &'static str,
    pub(crate) body: &'static str,
}

/// Writes the enum, the list of its kinds and the one table from kind to wire, so that a kind
/// cannot be added without saying how it is answered.
macro_rules! rejection_kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident: $status:ident, $challenge:ident, grpc $grpc:literal, $step:ident,
            $code:literal, $description:literal;
    )*) => {
        /// Which check refused a request.
        ///
        /// | HTTP | kinds |
        /// |---|---|
        /// | 400 `invalid_request` | [`RequestMalformed`](Self::RequestMalformed) |
        /// | 401, challenge without `error` | [`TokenMissing`](Self::TokenMissing) |
        /// | 401 `invalid_token` | everything that is wrong with a token |
        /// | 401 `insufficient_user_authentication` | [`StepUpRequired`](Self::StepUpRequired) |
        /// | 403 `insufficient_scope` | [`ScopeInsufficient`](Self::ScopeInsufficient) |
        /// | 403, challenge without `error` | [`RoleInsufficient`](Self::RoleInsufficient), [`GroupsIncomplete`](Self::GroupsIncomplete), [`PolicyDenied`](Self::PolicyDenied) |
        /// | 503 with `Retry-After` | [`KeysUnavailable`](Self::KeysUnavailable) |
        /// | 500 | [`LayerMissing`](Self::LayerMissing) |
        ///
        /// A gRPC call is answered with its [own status](Self::grpc_code) instead: UNAUTHENTICATED
        /// for 400 and 401, PERMISSION_DENIED for 403, UNAVAILABLE for 503, INTERNAL for 500.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RejectionKind {
            $($(#[$doc])* $kind,)*
        }

        impl RejectionKind {
            /// Every kind.
            #[cfg(test)]
            pub(crate) const ALL: [Self; [$($code),*].len()] = [$(Self::$kind),*];

            pub(crate) const fn wire(self) -> Wire {
                match self {
                    $(Self::$kind => Wire {
                        status: StatusCode::$status,
                        grpc: $grpc,
                        code: $code,
                        description: $description,
                        body: concat!(
                            r#"{"code":""#, $code, r#"","message":""#, $description, r#""}"#
                        ),
                    },)*
                }
            }

            /// The value of `WWW-Authenticate`, where one belongs to the answer.
            pub(crate) fn challenge(self) -> Option<HeaderValue> {
                match self {
                    $(Self::$kind => challenge!($challenge, $description),)*
                }
            }

            /// The step at which a request is refused for this reason.
            #[must_use]
            pub const fn step(self) -> Step {
                match self {
                    $(Self::$kind => Step::$step,)*
                }
            }
        }
    };
}

rejection_kinds! {
    /// There is no bearer token: no `Authorization` header, or one of another scheme.
    TokenMissing: UNAUTHORIZED, BARE, grpc 16, Extract,
        "TOKEN_MISSING", "a bearer token is needed";
    /// Several `Authorization` headers, or `Bearer` and something else than one token
    /// (RFC 6750 §2.1).
    RequestMalformed: BAD_REQUEST, INVALID_REQUEST, grpc 16, Extract,
        "REQUEST_MALFORMED", "the Authorization header is malformed";
    /// The token is not a compact JWS of at most 16 KiB with a JSON header and JSON claims
    /// (RFC 7515 §7.1, RFC 7519 §7.2).
    TokenMalformed: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Parse,
        "TOKEN_MALFORMED", "the token is malformed";
    /// It is a token, but not an access token: an ID token, a logout token, a DPoP proof, an
    /// encrypted token, or one with critical header parameters (RFC 7515 §4.1.11).
    TokenTypeRejected: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Parse,
        "TOKEN_TYPE_REJECTED", "the token is not an access token of an accepted type";
    /// The `iss` claim names no trusted authorization server.
    IssuerUnknown: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Route,
        "ISSUER_UNKNOWN", "the token's issuer is not trusted here";
    /// The `alg` of the header is not on the authorization server's list, or the key that the
    /// token names is for another one.
    AlgorithmRejected: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Route,
        "ALGORITHM_REJECTED", "the token's signature algorithm is not accepted";
    /// The authorization server has no such key.
    KeyUnknown: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Key,
        "KEY_UNKNOWN", "the token's signing key is not known";
    /// The token does not say which of several keys signed it.
    KeyAmbiguous: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Key,
        "KEY_AMBIGUOUS", "the token does not say which key signed it";
    /// The keys cannot be had at the moment, so nothing can be said of the token.
    KeysUnavailable: SERVICE_UNAVAILABLE, NONE, grpc 14, Key,
        "KEYS_UNAVAILABLE", "tokens cannot be verified at the moment";
    /// The signature does not fit the key that is held. So it is during an outage, too, though the
    /// key may have been replaced under its id meanwhile: else every forgery would be a 503.
    SignatureInvalid: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Signature,
        "SIGNATURE_INVALID", "the token's signature is not valid";
    /// The authorization server says that the token is not active (RFC 7662 §2.2): expired, revoked, or
    /// not one of its own.
    TokenInactive: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Signature,
        "TOKEN_INACTIVE", "the token is not active";
    /// A claim that is needed is missing or has the wrong type.
    ClaimInvalid: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "CLAIM_INVALID", "a claim of the token is missing or malformed";
    /// A claim does not say what the authorization server's policy asks for, or is there though it must
    /// not be.
    ClaimRejected: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "CLAIM_REJECTED", "a claim of the token is not accepted here";
    /// The user signed in under another authentication context (`acr`), or by other methods (`amr`),
    /// than is needed (RFC 9470).
    StepUpRequired: UNAUTHORIZED, INSUFFICIENT_USER_AUTHENTICATION, grpc 16, Claims,
        "STEP_UP_REQUIRED", "a stronger authentication of the user is needed";
    /// The token is bound to a key of the client's (`cnf`), and nothing here checks the binding.
    BindingMissing: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "BINDING_MISSING", "the token is sender-constrained and came without proof";
    /// The token is for another resource server.
    AudienceMismatch: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "AUDIENCE_MISMATCH", "the token is meant for another audience";
    /// The token was issued to a client that is not on the list.
    ClientNotAllowed: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "CLIENT_NOT_ALLOWED", "the token's client is not allowed here";
    /// The token's time is over.
    TokenExpired: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "TOKEN_EXPIRED", "the token has expired";
    /// The token's time has not come: `nbf` or `iat` lies in the future.
    TokenNotYetValid: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "TOKEN_NOT_YET_VALID", "the token is not valid yet";
    /// The token was issued longer ago than is accepted.
    TokenTooOld: UNAUTHORIZED, INVALID_TOKEN, grpc 16, Claims,
        "TOKEN_TOO_OLD", "the token was issued too long ago";
    /// The token lacks a scope that the route needs.
    ScopeInsufficient: FORBIDDEN, INSUFFICIENT_SCOPE, grpc 7, Authorize,
        "SCOPE_INSUFFICIENT", "the token lacks a scope that is needed here";
    /// The token's groups do not amount to the role that the route needs.
    RoleInsufficient: FORBIDDEN, BARE, grpc 7, Authorize,
        "ROLE_INSUFFICIENT", "the token's role is not sufficient here";
    /// The role is not sufficient, and the token does not name all groups: the user has too many for
    /// it, and which they are is not known.
    GroupsIncomplete: FORBIDDEN, BARE, grpc 7, Authorize,
        "GROUPS_INCOMPLETE", "the token does not name all groups of its user";
    /// The access policy lets nobody do this, or the path is written in a way that other software may
    /// read as another path (see [`AccessPolicy`](crate::AccessPolicy)).
    PolicyDenied: FORBIDDEN, BARE, grpc 7, Authorize,
        "POLICY_DENIED", "the access policy does not allow this request";
    /// A requirement or an extractor found no `AuthenticateLayer` outside it: the operator's
    /// mistake, answered so that nobody gets in.
    LayerMissing: INTERNAL_SERVER_ERROR, NONE, grpc 13, Authorize,
        "LAYER_MISSING", "this route asks for a token, but no AuthenticateLayer is outside it";
}

impl RejectionKind {
    /// The stable code, of the form `[A-Z_]+`: for logs, metrics, JSON bodies and gRPC details.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.wire().code
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.wire().status
    }

    /// The gRPC status code of the answer to a gRPC call, as a number: 16 UNAUTHENTICATED, 7
    /// PERMISSION_DENIED, 14 UNAVAILABLE or 13 INTERNAL.
    #[must_use]
    pub const fn grpc_code(self) -> u8 {
        self.wire().grpc
    }

    /// Whether a token refused for this could pass under another key of the same id.
    pub(crate) const fn may_be_for_another_key(self) -> bool {
        matches!(self, Self::SignatureInvalid | Self::AlgorithmRejected)
    }

    /// A fixed sentence for people; the same text as in `error_description`.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.wire().description
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The steps that a request goes through, in this order.
///
/// A token that is refused at [`Claims`](Self::Claims) may be forged as well: what is refused either
/// way is refused before its signature is checked. A few claims are looked at after that, and count as
/// the same step. Whether it was signed is what
/// [`Decision::subject`](crate::audit::Decision::subject) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Find the token in the headers.
    Extract,
    /// Take it apart and look at its type.
    Parse,
    /// Find its authorization server by its issuer, and check the algorithm against its list.
    Route,
    /// Find the key.
    Key,
    /// Check the claims.
    Claims,
    /// Check the signature.
    Signature,
    /// Check scopes and roles against what the route needs.
    Authorize,
}

impl Step {
    /// A lower-case name, for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Parse => "parse",
            Self::Route => "route",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Authorize => "authorize",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 §3: `error` and `error_description` hold %x20-21 / %x23-5B / %x5D-7E only.
    #[test]
    fn challenges_are_within_the_grammar_and_where_they_belong() {
        let is_quotable = |text: &str| {
            text.bytes()
                .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E))
        };
        for kind in RejectionKind::ALL {
            let wire = kind.wire();
            assert!(is_quotable(wire.description), "{kind:?}");
            let is_callers = matches!(wire.status.as_u16(), 400 | 401 | 403);
            assert_eq!(kind.challenge().is_some(), is_callers, "{kind:?}");
        }
    }

    #[test]
    fn codes_are_stable_distinct_and_fit_grpc_error_info() {
        let mut codes: Vec<_> = RejectionKind::ALL.iter().map(|k| k.as_str()).collect();
        for code in &codes {
            assert!(code.len() <= 63 && code.bytes().all(|b| b == b'_' || b.is_ascii_uppercase()));
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RejectionKind::ALL.len());
    }

    #[test]
    fn statuses_and_grpc_codes_agree_about_who_is_to_blame() {
        for kind in RejectionKind::ALL {
            let grpc = match kind.status().as_u16() {
                400 | 401 => 16,
                403 => 7,
                503 => 14,
                500 => 13,
                other => panic!("{kind:?} answers {other}"),
            };
            assert_eq!(kind.grpc_code(), grpc, "{kind:?}");
        }
    }

    #[test]
    fn messages_read_as_lower_case_sentences() {
        for kind in RejectionKind::ALL {
            let text = kind.description();
            assert!(
                text.starts_with(char::is_lowercase) && !text.ends_with('.'),
                "{text}"
            );
            let body: serde_json::Value = serde_json::from_str(kind.wire().body).unwrap();
            assert_eq!(body["code"], kind.as_str());
            assert_eq!(body["message"], text);
        }
    }

    #[test]
    fn debug_output_does_not_name_the_subject() {
        let rejection = Rejection::from(RejectionKind::TokenExpired).with_subject("joe");
        assert_eq!(
            format!("{rejection:?} {rejection}"),
            "Rejection(TokenExpired) the token has expired"
        );
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (wait, told) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            let rejection = Rejection::keys_unavailable(Duration::from_millis(wait));
            assert_eq!(rejection.retry_after(), Some(Duration::from_secs(told)));
        }
    }
}
