//! What there is to know of a decision and of the keys.

use std::{fmt, time::Duration};

use http::Method;
use url::Url;

use crate::{
    access_token::AccessToken,
    error::ConfigError,
    rejection::{Rejection, Step},
    time::UnixTime,
};

/// Something that was decided, or that happened to the keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An authorization server is trusted from now on.
    Trusted(Trusted<'a>),
    /// An authorization server is not trusted any more: a reload left it out, or the resolver of tenants
    /// says that its issuer is none any more.
    NoLongerTrusted(NoLongerTrusted<'a>),
    /// An authorization server was asked about a token.
    TokenIntrospection(TokenIntrospection<'a>),
    /// Whether an issuer is a tenant's could not be told.
    TenantUnresolved(TenantUnresolved<'a>),
    /// A request was let through or refused.
    Decision(Decision<'a>),
    /// An authorization server was asked for its keys.
    KeyFetch(KeyFetch<'a>),
    /// The keys of an authorization server are not the same as before.
    KeysChanged(KeysChanged<'a>),
    /// An authorization server's keys could not be fetched, for the first time since they last
    /// could.
    Outage(Outage<'a>),
    /// An authorization server's keys could be fetched again.
    Recovery(Recovery<'a>),
}

/// An authorization server is trusted from now on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trusted<'a> {
    /// Its issuer.
    pub issuer: &'a str,
    /// Where its keys are: a URL, of its key set or its metadata, or a path.
    pub keys: &'a str,
}

/// An authorization server is not trusted any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NoLongerTrusted<'a> {
    /// Its issuer.
    pub issuer: &'a str,
}

/// A request was let through or refused.
///
/// A request that is let through by the [`AuthenticateLayer`](crate::AuthenticateLayer) and refused
/// further in, for lack of a scope or a role, is two decisions; so is one whose stream was
/// [ended](crate::AuthenticateLayer::end_streams). The second has neither keys nor a duration. Of
/// what an access policy exempts there is none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decision<'a> {
    /// When, by the wall clock.
    pub at: UnixTime,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path, without the query.
    pub path: &'a str,
    /// The route that matched, such as `/orders/{id}`, where it is known (feature `axum`, layer
    /// added by `route_layer` or to the routes of a `Router`).
    pub route: Option<&'a str>,
    /// The verified token. Absent where there is none: refused before it was verified, or let
    /// through without one in the optional mode.
    pub token: Option<&'a AccessToken>,
    /// Why it was refused; `None` if it was let through.
    pub rejection: Option<&'a Rejection>,
    /// The authorization server, as configured, of a token that got past the step
    /// [`Route`](Step::Route).
    pub issuer: Option<&'a str>,
    /// The keys that were at hand.
    pub keys: Option<KeyFacts<'a>>,
    /// How long the decision took, waiting for keys included.
    pub took: Duration,
    /// Whether it had to wait for keys.
    pub waited: bool,
    /// Whether the token had been verified before and was remembered; `false` for a refusal further
    /// in.
    pub remembered: bool,
}

impl Decision<'_> {
    /// Whether the request was let through.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.rejection.is_none()
    }

    /// The step at which it was refused.
    #[must_use]
    pub fn failed_step(&self) -> Option<Step> {
        self.rejection.map(|rejection| rejection.kind().step())
    }

    /// Whom the token is about, once its signature was verified, whether or not it was then let
    /// through.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self.token {
            Some(token) => Some(token.subject()),
            None => self.rejection.and_then(Rejection::subject),
        }
    }

    /// The client that the token was issued to, of a verified token.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.token.and_then(AccessToken::client_id)
    }
}

/// An authorization server was asked about a token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenIntrospection<'a> {
    /// Whom.
    pub issuer: &'a str,
    /// Where.
    pub endpoint: &'a Url,
    /// Why there was no usable answer; `None` if there was.
    pub failure: Option<FetchFailure>,
    /// Whether the token is active, if there was an answer.
    pub active: bool,
    /// How long it took.
    pub took: Duration,
}

/// Whether an issuer is a tenant's could not be told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TenantUnresolved<'a> {
    /// The issuer, as a token says that nobody verified: whoever sent it chose it. At most 512 bytes.
    pub unverified_issuer: &'a str,
    /// Why not.
    pub problem: TenantProblem,
}

/// Why it could not be told whether an issuer is a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantProblem {
    /// The resolver said so.
    #[error("the tenants are not available")]
    Unavailable,
    /// The resolver did not answer in time.
    #[error("the resolver did not answer in time")]
    TimedOut,
    /// The resolver panicked.
    #[error("the resolver panicked")]
    Panicked,
    /// The resolver's authorization server has another issuer.
    #[error("the resolver answered with the authorization server of another issuer")]
    OtherIssuer,
    /// The resolver's authorization server is not configured right.
    #[error("the resolver answered with a mistake: {0}")]
    Invalid(ConfigError),
}

/// The key, and the set that it is from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFacts<'a> {
    /// The key's id; `None` if the set has no key of the token's `kid`, or the token has none.
    pub kid: Option<&'a str>,
    /// Counts the changes of the set.
    pub generation: u64,
    /// How long ago the set was fetched.
    pub age: Duration,
    /// Whether the set is past its life, and in use because its server cannot be reached.
    pub stale: bool,
}

/// An authorization server was asked for its keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFetch<'a> {
    /// Whose keys.
    pub issuer: &'a str,
    /// Where: a URL, of its key set or its metadata, or a path.
    pub source: &'a str,
    /// Why there was no usable answer; `None` if there was.
    pub failure: Option<FetchFailure>,
    /// Why the metadata that says where the keys are could not be had, if they were asked for where they
    /// were the last time.
    pub metadata_failure: Option<FetchFailure>,
    /// How many keys of the set cannot be used.
    pub left_out: usize,
    /// How long it took.
    pub took: Duration,
}

/// Why keys, or an answer, could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchFailure {
    /// No HTTP client could be made: most likely the system has no CA certificates.
    Client,
    /// No answer within the deadline.
    Timeout,
    /// No connection, or one that broke.
    Connection,
    /// An answer with this status, redirects to another origin included.
    Status(u16),
    /// An answer from another origin than the one that was asked.
    OtherOrigin,
    /// An answer larger than is read.
    TooLarge,
    /// An answer that is not a JWK Set.
    NotAKeySet,
    /// A JWK Set without a key that can be used.
    NoUsableKey,
    /// Metadata that is none: not JSON, or without `issuer` and `jwks_uri`.
    NotMetadata,
    /// Metadata of another issuer.
    OtherIssuer,
    /// Metadata whose `jwks_uri` is on plain http, or on a host that it is not expected on.
    UnacceptableJwksUri,
    /// Metadata that is redirected.
    Redirected,
    /// A file that cannot be read, or is none.
    Unreadable,
    /// An answer that does not say whether the token is active.
    NotAnIntrospection,
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => {
                f.write_str("no HTTP client could be made; are CA certificates installed?")
            }
            Self::Timeout => f.write_str("no answer in time"),
            Self::Connection => f.write_str("no connection"),
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::OtherOrigin => f.write_str("redirected to another origin"),
            Self::TooLarge => f.write_str("answered with too much"),
            Self::NotAKeySet => f.write_str("answered with something that is not a key set"),
            Self::NotMetadata => f.write_str("answered with something that is not metadata"),
            Self::OtherIssuer => f.write_str("answered with the metadata of another issuer"),
            Self::UnacceptableJwksUri => {
                f.write_str("answered with a jwks_uri on plain http or on another origin")
            }
            Self::Redirected => f.write_str("redirected the request for its metadata"),
            Self::NotAnIntrospection => {
                f.write_str("answered with something that is no introspection response")
            }
            Self::Unreadable => f.write_str("the file cannot be read"),
            Self::NoUsableKey => f.write_str("answered with a set without a usable key"),
        }
    }
}

/// The keys of an authorization server are not the same as before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeysChanged<'a> {
    /// Whose keys.
    pub issuer: &'a str,
    /// Counts the changes.
    pub generation: u64,
    /// How many keys there are now.
    pub keys: usize,
    /// The ids that are new.
    pub added: &'a [String],
    /// The ids that are gone: tokens signed with those keys are refused from now on.
    pub removed: &'a [String],
}

/// An authorization server's keys could not be fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outage<'a> {
    /// Whose keys.
    pub issuer: &'a str,
    /// Why.
    pub failure: FetchFailure,
    /// Whether there are keys from before, so that tokens go on being accepted for now.
    pub keys_held: bool,
}

/// An authorization server's keys could be fetched again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovery<'a> {
    /// Whose keys.
    pub issuer: &'a str,
    /// How many attempts had failed.
    pub failures: u32,
}
