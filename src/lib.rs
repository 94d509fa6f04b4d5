//! An OAuth 2.0 **resource server** as a Tower layer: the gate in front of an axum router, a tonic
//! service, or any `tower::Service<http::Request<_>>`.
//!
//! It takes the bearer token off a request, finds the signing key of the authorization server that
//! issued it, verifies signature, issuer, audience, times and type, maps groups to the roles
//! `admin`, `write` and `read`, and hands the handler a verified [`AccessToken`]. Whatever does not
//! pass is answered with the status and the challenge that
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) asks for; gRPC calls with a status and details
//! of their own.
//!
//! - [`AuthorizationServer`] says whose tokens are accepted and on what terms. There are presets for Okta,
//!   Auth0, Entra, Keycloak, Cognito, Google and others; any server with metadata is [found by
//!   it](AuthorizationServer::discover).
//! - [`ResourceServer`] puts them together, in code, [from the
//!   environment](ResourceServer::from_env) or [from a file](ResourceServerConfig). Any number of tenants is
//!   what a [`TenantResolver`] knows.
//! - [`AuthenticateLayer`] is the gate. It holds the keys, and remembers the tokens that passed, to
//!   be [quicker the next time](TokenCachePolicy).
//! - [`RequireLayer`], further in, asks for scopes or a role; an [`AccessPolicy`] says what each gRPC
//!   method and HTTP route needs, in one table.
//! - [`AuthenticateLayer::end_streams`] ends streams when their token expires.
//! - [`AccessToken`] is what handlers receive.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, portcullis::ConfigError> {
//! use axum::{Router, routing::get};
//! use portcullis::{AccessToken, AuthenticateLayer, AuthorizationServer, RequireLayer, ResourceServer};
//!
//! let okta = AuthorizationServer::okta_custom("company.okta.com", "default").audience("api://orders");
//! let resource_server = ResourceServer::builder().trust(okta).build()?;
//!
//! let app = Router::new()
//!     .route("/me", get(|token: AccessToken| async move { token.subject().to_owned() }))
//!     .route("/orders", get(|| async { "[]" }).route_layer(RequireLayer::all_scopes(["orders:read"])?))
//!     .layer(AuthenticateLayer::new(resource_server));
//! # Ok(app)
//! # }
//! ```
//!
//! # What is checked
//!
//! In this order; the first that fails decides the answer, a [`RejectionKind`].
//!
//! 1. One `Authorization` header, with the scheme `Bearer` in any case and one token. Tokens in
//!    the query, a form or a cookie are not looked at.
//! 2. A compact JWS of at most 16 KiB: three parts in canonical base64url; header and claims JSON
//!    objects in UTF-8 without duplicate members, nested 32 deep and with 256 members at most. No
//!    `crit` or `b64`; a `typ` of `JWT`, `at+jwt` or none.
//! 3. The issuer, `iss`: exactly that of a trusted authorization server.
//! 4. The algorithm, `alg`: on that server's list, by default RS256 alone. `none` and HMAC cannot
//!    be on it.
//! 5. Not marked as something else: `events` (logout tokens, security events); `nonce`, `at_hash`,
//!    `c_hash` or a `jti` that starts with `ID.` (ID tokens).
//! 6. The key: one of that server's, by `kid` and algorithm; a token without a `kid` needs exactly
//!    one key that fits. See [`JwksPolicy`] for how keys are fetched and how long they are used.
//! 7. No `cnf`: a token that is bound to a key of its client (DPoP, mutual TLS) is refused, since
//!    nothing here could check the binding.
//! 8. The audience, `aud`: one of the server's, compared exactly.
//! 9. The client, if clients are restricted. `client_id` and `cid` agree.
//! 10. The times: before `exp`, not before `nbf` or `iat`, give or take the leeway.
//! 11. The signature. It costs most, so what is refused either way is refused before; a token that
//!     is refused for 7 to 10 may be forged as well.
//! 12. The claims that are looked at have the right types: `sub` and `exp`, which are needed;
//!     `aud`, `nbf`, `iat`, `scope`, `scp`, `client_id`, `cid`, `uid`, `jti` and the groups claim,
//!     where they are there. Those of 8 to 10 are looked at there.
//! 13. What the route or the access policy asks for: scopes, or a role.
//!
//! What an [`AccessPolicy`] exempts is let through before 1.
//!
//! Not checked: whether a token was revoked before it expired, unless its authorization server [is
//! asked](Introspection); `auth_time`, and `acr` and `amr` unless [something is
//! required](AuthorizationServer::require_acr) of them; and, but for
//! [`end_streams`](AuthenticateLayer::end_streams), anything of a stream after it was let through.
//!
//! # gRPC
//!
//! A `POST` with the content type `application/grpc`, with `-web`, `-web-text` or a `+…` behind, is
//! a call, whatever the version of HTTP. It is answered with HTTP 200, trailers-only: `grpc-status`,
//! `grpc-message` (the [message](Rejection::message)), `grpc-status-details-bin` with a
//! `google.rpc.ErrorInfo` (its `reason` is the [code](RejectionKind::as_str), its `domain`
//! `portcullis`, its metadata the `scope` or `role` that is missing) and, where it is known how long
//! to wait, a `RetryInfo`, and `www-authenticate`. gRPC-Web is answered so that pages of another
//! origin can read it, where a CORS layer outside lets them. All this needs no feature; `tonic` adds
//! what makes it one with tonic. axum's extractors answer as to any HTTP request.
//!
//! tonic's server reads 16 KiB of headers in all by default, which is less than the largest token
//! that is accepted here; see its `http2_max_header_list_size`.
//!
//! # Features
//!
//! | feature | what for |
//! |---|---|
//! | `aws_lc_rs` (default) | signatures by aws-lc-rs; needs a C compiler. It is the one used if both are on |
//! | `rust_crypto` | signatures by the RustCrypto crates, in pure Rust: slower, no ES512, RSA keys to 4096 bits |
//! | `axum` | [`AccessToken`] as an extractor, [`Rejection`] as a response |
//! | `tonic` | [`Rejection`] as a `tonic::Status`, services that keep their name, refusals with tonic's body |
//! | `introspection` | opaque tokens, by asking their authorization server (RFC 7662) |
//! | `tracing` | `TracingAudit`, the [audit] sink that logs |
//! | `test-util` | an authorization server, signing keys and a fake clock for tests |
//!
//! Features add to the API and change nothing else. One of the first two is needed.
//!
//! # Versions of Rust
//!
//! 1.88 and later. A newer one may be needed by a minor release, though never one that is less
//! than six months old.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::needless_pass_by_value,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod access_policy;
mod access_token;
mod algorithm;
pub mod audit;
mod authorization_server;
mod challenge;
mod claim;
mod doctor;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod introspection;
mod introspector;
mod issuer_template;
mod jwks;
mod jwks_policy;
mod key_snapshot;
mod key_source;
mod known_until;
mod lock;
pub mod middleware;
mod provider;
mod rejection;
mod requirement;
mod resource_server;
mod role;
mod scope;
mod settings;
mod signature;
mod single_flight;
#[cfg(feature = "tonic")]
mod status;
mod surroundings;
mod tenant;
mod tenants;
#[cfg(feature = "test-util")]
pub mod test_util;
mod time;
mod token_cache;
mod token_cache_policy;
mod trusted;
pub mod verify;

pub use access_policy::{AccessPolicy, AccessPolicyBuilder};
pub use access_token::{AccessToken, RoleGrant};
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use authorization_server::{AuthorizationServer, WithoutAudience};
pub use claim::{ClaimPath, ClaimValue, ListClaim};
pub use doctor::{CheckReport, Doctor, Explanation, ServerReport, explain};
pub use error::ConfigError;
#[cfg(feature = "introspection")]
pub use introspection::{ClientAuthentication, Introspection};
pub use jwks::KeyStatus;
pub use jwks_policy::JwksPolicy;
pub use key_snapshot::KeySnapshot;
pub use middleware::{
    AuthenticateLayer, AuthenticateLayerBuilder, EmptyRejection, EndStreamsLayer, JsonRejection,
    KeyHealth, RejectionBody, RejectionResponse, RememberedTokens, RequireLayer,
};
pub use rejection::{Rejection, RejectionKind, Step};
pub use requirement::Requirement;
pub use resource_server::{ResourceServer, ResourceServerBuilder};
pub use role::{Role, RoleMapping};
pub use scope::{ScopeHierarchy, ScopeRequirement};
pub use settings::{ResourceServerConfig, SettingMistake, SettingsError};
pub use tenant::{TenantPolicy, TenantResolver, TenantsUnavailable};
pub use time::{Clock, UnixTime};
pub use token_cache_policy::TokenCachePolicy;

/// The README's examples, compiled and run.
#[cfg(all(doctest, feature = "axum", feature = "test-util", feature = "tonic"))]
#[doc = include_str!("../README.md")]
struct Readme;
