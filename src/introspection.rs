//! Asking an authorization server whether a token is good (RFC 7662): where, as whom, and for how long
//! the answer holds.
#![cfg_attr(
    not(all(feature = "introspection", feature = "aws_lc_rs")),
    allow(dead_code, unreachable_pub, reason = "what is not offered is not used")
)]

use std::{fmt, sync::Arc, time::Duration};

use base64_simd::STANDARD;
use url::{Url, form_urlencoded};

use crate::{
    error::{ConfigError, without_userinfo},
    key_source::problem_of_url,
    signature::Signer,
};

/// Where an authorization server says whether a token is good, and how it is asked
/// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
///
/// For tokens that are opaque, which no key verifies, and for JWTs that only their issuer can judge,
/// such as those of Okta's org authorization server. The answer is then judged as the claims of a JWT
/// would be: `iss`, if it is there, the audience, the client, the times, everything that the
/// [`AuthorizationServer`](crate::AuthorizationServer) asks for. Where it lacks `iss`, it is the
/// authorization server's that was asked; `exp`, it holds as long as it is remembered; `sub`, it is the
/// client's. Where it lacks `aud`, which the RFC leaves open, it is refused as a token would be
/// (`CLAIM_INVALID`): see [`audience_claim`](crate::AuthorizationServer::audience_claim).
///
/// ```
/// use portcullis::{AuthorizationServer, ClientAuthentication, Introspection, ResourceServer};
///
/// let introspection = Introspection::new(
///     "https://company.okta.com/oauth2/default/v1/introspect",
///     ClientAuthentication::basic("0oa1b2c3", "the client's secret"),
/// );
/// let resource_server = ResourceServer::builder()
///     .trust(
///         AuthorizationServer::okta_custom("company.okta.com", "default")
///             .audience("api://orders")
///             .introspection(introspection),
///     )
///     .build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// # Security
///
/// A token that is revoked is refused once its answer is not remembered any more, after
/// [`cache_time`](Self::cache_time); streams that are open end with the token, and not before. Every
/// token that is no JWT is sent to the endpoint, so that whoever sends many makes as many requests there,
/// of which [so many](Self::max_requests) are under way at once; others then wait, and get 503.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspection {
    pub(crate) endpoint: Result<Url, ConfigError>,
    pub(crate) client: ClientAuthentication,
    pub(crate) cache_time: Duration,
    pub(crate) inactive_time: Duration,
    pub(crate) deadline: Duration,
    pub(crate) max_requests: usize,
    pub(crate) is_for_jwts: bool,
}

impl Introspection {
    /// Asks at this URL, as this client.
    #[must_use]
    pub fn new(endpoint: &str, client: ClientAuthentication) -> Self {
        let endpoint = Url::parse(endpoint).map_err(|_| invalid(endpoint, "is not a URL"));
        Self {
            endpoint,
            client,
            cache_time: Duration::from_secs(60),
            inactive_time: Duration::from_secs(10),
            deadline: Duration::from_secs(3),
            max_requests: 64,
            is_for_jwts: false,
        }
    }

    crate::jwks_policy::setters! {
        /// How long it is remembered that a token is good, and never longer than it is: as long as the
        /// [token cache](crate::TokenCachePolicy) has it. Default, and longest, 60 seconds; zero asks for
        /// every request.
        cache_time: Duration;
        /// How long it is remembered that a token is not good. Default 10 seconds; at most 60.
        inactive_time: Duration;
        /// How long an answer may take, waiting for its turn included. Default 3 seconds; at most 60.
        deadline: Duration;
        /// How many requests are under way at once; further ones wait for their turn. Default 64; 1 to
        /// 1,000.
        max_requests: usize;
    }

    /// Also asks about JWTs of this authorization server, instead of verifying them with its keys.
    #[must_use]
    pub const fn also_for_jwts(mut self) -> Self {
        self.is_for_jwts = true;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let endpoint = self.endpoint.as_ref().map_err(Clone::clone)?;
        // Tokens and the client's secret go there.
        if let Some(problem) = problem_of_url(endpoint, false) {
            return Err(invalid(endpoint.as_str(), problem));
        }
        if self.client.id().is_empty() {
            return Err(ConfigError::InvalidSetting {
                setting: "introspection client",
                found: String::new(),
                problem: "is empty",
                expected: "the id of a client that may introspect tokens",
            });
        }
        let tenth = Duration::from_millis(100);
        for (setting, found, min, expected) in [
            (
                "cache_time",
                self.cache_time,
                Duration::ZERO,
                "at most 60 seconds",
            ),
            (
                "inactive_time",
                self.inactive_time,
                Duration::ZERO,
                "at most 60 seconds",
            ),
            (
                "deadline",
                self.deadline,
                tenth,
                "100 milliseconds to 60 seconds",
            ),
        ] {
            if !(min..=MINUTE).contains(&found) {
                return Err(ConfigError::out_of_range(setting, found, expected));
            }
        }
        if !(1..=1_000).contains(&self.max_requests) {
            let (found, expected) = (self.max_requests, "1 to 1000");
            return Err(ConfigError::out_of_range("max_requests", found, expected));
        }
        Ok(())
    }
}

fn invalid(found: &str, problem: &'static str) -> ConfigError {
    ConfigError::InvalidSetting {
        setting: "introspection endpoint",
        found: without_userinfo(found),
        problem,
        expected: "an https URL",
    }
}

/// How a resource server proves which client of the authorization server it is
/// ([RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3),
/// [RFC 7523 §2.2](https://www.rfc-editor.org/rfc/rfc7523#section-2.2)).
#[derive(Clone, PartialEq)]
pub struct ClientAuthentication {
    id: String,
    method: Method,
}

#[derive(Clone, PartialEq)]
enum Method {
    Basic(Arc<str>),
    Post(Arc<str>),
    PrivateKeyJwt(Arc<Assertion>),
}

#[derive(Clone, PartialEq)]
struct Assertion {
    signer: Signer,
    kid: Option<String>,
    audience: Option<String>,
}

impl ClientAuthentication {
    /// Id and secret in the `Authorization` header (`client_secret_basic`).
    pub fn basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            method: Method::Basic(secret.into().into()),
        }
    }

    /// Id and secret in the form (`client_secret_post`).
    pub fn post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            method: Method::Post(secret.into().into()),
        }
    }

    /// A JWT that this key signs (`private_key_jwt`): RS256 of an RSA key, ES256 of one on P-256, EdDSA of
    /// an Ed25519 key. `pem` is the key as PKCS #8, `-----BEGIN PRIVATE KEY-----`. Needs the feature
    /// `aws_lc_rs`.
    ///
    /// Its audience is the endpoint's URL, unless [another](Self::assertion_audience) is set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidSetting`] if it is not such a key.
    #[cfg(feature = "aws_lc_rs")]
    pub fn private_key_jwt(id: impl Into<String>, pem: &str) -> Result<Self, ConfigError> {
        let signer = der_of_pem(pem).and_then(|der| Signer::from_pkcs8(&der));
        let assertion = Assertion {
            signer: signer.ok_or(ConfigError::InvalidSetting {
                setting: "introspection client's key",
                found: "…".to_owned(),
                problem: "cannot be used",
                expected: "an RSA, P-256 or Ed25519 key as PKCS #8 in PEM, -----BEGIN PRIVATE KEY-----",
            })?,
            kid: None,
            audience: None,
        };
        Ok(Self {
            id: id.into(),
            method: Method::PrivateKeyJwt(Arc::new(assertion)),
        })
    }

    /// The `kid` of the key that signs, for authorization servers that hold several of the client's.
    #[must_use]
    pub fn key_id(self, kid: impl Into<String>) -> Self {
        self.with_assertion(|assertion| assertion.kid = Some(kid.into()))
    }

    /// The `aud` of the JWT that proves who asks, where it is not the endpoint's URL: the issuer, for
    /// some authorization servers.
    #[must_use]
    pub fn assertion_audience(self, audience: impl Into<String>) -> Self {
        self.with_assertion(|assertion| assertion.audience = Some(audience.into()))
    }

    fn with_assertion(mut self, change: impl FnOnce(&mut Assertion)) -> Self {
        if let Method::PrivateKeyJwt(assertion) = &mut self.method {
            change(Arc::make_mut(assertion));
        }
        self
    }

    fn id(&self) -> &str {
        &self.id
    }

    /// The form that asks about a token, and the `Authorization` header that goes with it. `now` is in
    /// seconds since 1970, `nonce` is new each time.
    pub(crate) fn request(
        &self,
        token: &str,
        endpoint: &Url,
        now: u64,
        nonce: &str,
    ) -> Option<(String, Option<String>)> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("token_type_hint", "access_token");
        let mut authorization = None;
        match &self.method {
            Method::Basic(secret) => {
                // RFC 6749 §2.3.1: each of the two encoded like a form before they are joined.
                let encode =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let (id, secret): (String, String) = (encode(&self.id), encode(secret));
                let joined = STANDARD.encode_to_string(format!("{id}:{secret}"));
                authorization = Some(format!("Basic {joined}"));
            }
            Method::Post(secret) => {
                form.append_pair("client_id", &self.id);
                form.append_pair("client_secret", secret);
            }
            Method::PrivateKeyJwt(assertion) => {
                let audience = assertion.audience.as_deref().unwrap_or(endpoint.as_str());
                let claims = serde_json::json!({
                    "iss": self.id,
                    "sub": self.id,
                    "aud": audience,
                    "jti": nonce,
                    "iat": now,
                    "exp": now + 60,
                });
                let jwt = assertion.signer.jwt(assertion.kid.as_deref(), &claims)?;
                form.append_pair("client_id", &self.id);
                form.append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                form.append_pair("client_assertion", &jwt);
            }
        }
        Some((form.finish(), authorization))
    }
}

#[cfg(feature = "aws_lc_rs")]
fn der_of_pem(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode_to_vec(body).ok()
}

/// The client, and how; not its secret.
impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::Basic(_) => "client_secret_basic",
            Method::Post(_) => "client_secret_post",
            Method::PrivateKeyJwt(_) => "private_key_jwt",
        };
        f.debug_struct("ClientAuthentication")
            .field("id", &self.id)
            .field("method", &method)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "aws_lc_rs"))]
mod tests {
    use super::*;

    /// Or whoever makes it anew each time, as a resolver does, would have it forgotten each time what was
    /// learnt through it.
    #[test]
    fn the_same_client_by_the_same_means_is_the_same() {
        let pem = || rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (one, other) = (pem(), pem());
        let by = |id: &str, pem: &str| ClientAuthentication::private_key_jwt(id, pem).unwrap();
        assert!(by("api", &one) == by("api", &one));
        assert!(by("api", &one) != by("api", &other));
        assert!(by("api", &one) != by("other", &one));
        assert!(by("api", &one) != by("api", &one).key_id("1"));
        assert!(by("api", &one) != by("api", &one).assertion_audience("https://id.example"));
        let basic = ClientAuthentication::basic("api", "secret");
        assert!(basic != ClientAuthentication::post("api", "secret"));
        assert!(basic != ClientAuthentication::basic("api", "another"));
        assert!(basic == ClientAuthentication::basic("api", "secret"));
    }
}
