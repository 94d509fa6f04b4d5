//! What is trusted of one authorization server.

use std::{collections::HashSet, sync::Arc};

use url::{Host, Url};

use crate::{
    algorithm::Algorithm,
    error::{ConfigError, without_userinfo},
    jwks_policy::JwksPolicy,
    role::RoleMapping,
};

/// An authorization server whose access tokens are accepted, and the policy for them.
///
/// Start with a preset, [`okta_custom`](Self::okta_custom) or [`okta_org`](Self::okta_org), or
/// with [`with_issuer`](Self::with_issuer) for any other, and say which audience its tokens must carry. Without an
/// audience there is no `AuthorizationServer`, and the code does not compile:
///
/// ```compile_fail
/// use portcullis::{AuthorizationServer, ResourceServer};
///
/// let okta = AuthorizationServer::okta_custom("company.okta.com", "default");
/// ResourceServer::builder().trust(okta).build();
/// ```
///
/// ```
/// use portcullis::{AuthorizationServer, ResourceServer, Role, RoleMapping};
///
/// let okta = AuthorizationServer::okta_custom("company.okta.com", "default")
///     .audience("api://orders")
///     .roles(RoleMapping::new().grant(Role::Admin, ["OrderAdmins"]));
/// ResourceServer::builder().trust(okta).build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// A mistake in an argument, such as a placeholder domain, is reported by
/// [`build`](crate::ResourceServerBuilder::build).
///
/// # Defaults
///
/// Algorithm RS256 alone; any client; groups from the claim `groups`; no roles; the
/// [default key policy](JwksPolicy::default).
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthorizationServer {
    pub(crate) issuer: Arc<str>,
    pub(crate) aliases: Vec<Arc<str>>,
    pub(crate) jwks_uri: Result<Url, ConfigError>,
    pub(crate) audience: Audience,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) allowed_clients: Option<HashSet<String>>,
    pub(crate) groups_claim: ClaimPath,
    pub(crate) roles: RoleMapping,
    pub(crate) jwks: JwksPolicy,
    pub(crate) at_jwt_required: bool,
    pub(crate) id_tokens_accepted: bool,
    plain_http_allowed: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Audience {
    AnyOf(Vec<String>),
    Any,
}

/// An authorization server that still lacks its audience.
#[derive(Clone, Debug)]
#[must_use = "say which audience its tokens must carry"]
pub struct WithoutAudience(AuthorizationServer);

impl WithoutAudience {
    pub(crate) fn new(issuer: impl Into<Arc<str>>, jwks_uri: Result<Url, ConfigError>) -> Self {
        Self(AuthorizationServer {
            issuer: issuer.into(),
            aliases: Vec::new(),
            jwks_uri,
            audience: Audience::AnyOf(Vec::new()),
            algorithms: vec![Algorithm::Rs256],
            allowed_clients: None,
            groups_claim: ClaimPath::from("groups"),
            roles: RoleMapping::new(),
            jwks: JwksPolicy::default(),
            at_jwt_required: false,
            id_tokens_accepted: false,
            plain_http_allowed: false,
        })
    }

    /// Tokens must be meant for `audience`: it must be the `aud` claim or among its values,
    /// compared exactly ([RFC 7519 §4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
    pub fn audience(self, audience: impl Into<String>) -> AuthorizationServer {
        self.0.audience(audience)
    }

    /// Accepts tokens for any audience, or for none.
    ///
    /// # Security
    ///
    /// Every API that shares the authorization server can then replay the tokens it receives
    /// here. You owe another check that tells your tokens from theirs.
    pub fn dangerous_accept_any_audience(self) -> AuthorizationServer {
        AuthorizationServer {
            audience: Audience::Any,
            ..self.0
        }
    }
}

impl AuthorizationServer {
    /// An authorization server with this issuer, and its key set at this URL.
    ///
    /// `issuer` is compared with the `iss` claim byte for byte, so write it as the tokens carry
    /// it, with or without a trailing slash.
    pub fn with_issuer(issuer: impl Into<String>, jwks_uri: &str) -> WithoutAudience {
        let url = Url::parse(jwks_uri).map_err(|_| ConfigError::InvalidJwksUri {
            found: without_userinfo(jwks_uri),
            problem: "is not a URL",
        });
        WithoutAudience::new(issuer.into(), url)
    }

    /// Also accepts tokens for this audience; after
    /// [`dangerous_accept_any_audience`](WithoutAudience::dangerous_accept_any_audience), for this
    /// one alone.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        match &mut self.audience {
            Audience::AnyOf(audiences) => audiences.push(audience.into()),
            Audience::Any => self.audience = Audience::AnyOf(vec![audience.into()]),
        }
        self
    }

    /// Also accepts this issuer, under the same policy and keys: for an authorization server that
    /// is reached by several names, such as an Okta one with issuer mode *Dynamic*.
    pub fn issuer_alias(mut self, issuer: impl Into<String>) -> Self {
        self.aliases.push(issuer.into().into());
        self
    }

    /// Accepts these signature algorithms, instead of RS256 alone.
    ///
    /// A token's own `alg` only ever picks from this list. A key that names its algorithm is used
    /// for that one; a key that does not, for those of the list that fit its type.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms.clear();
        for algorithm in algorithms {
            if !self.algorithms.contains(&algorithm) {
                self.algorithms.push(algorithm);
            }
        }
        self
    }

    /// Accepts tokens that were issued to these clients only (`client_id`, or Okta's `cid`).
    /// By default, any client of the authorization server's will do.
    pub fn allowed_clients<C: Into<String>>(
        mut self,
        clients: impl IntoIterator<Item = C>,
    ) -> Self {
        self.allowed_clients = Some(clients.into_iter().map(Into::into).collect());
        self
    }

    /// Reads groups from this claim, an array of strings, instead of `groups`.
    pub fn groups_claim(mut self, claim: impl Into<ClaimPath>) -> Self {
        self.groups_claim = claim.into();
        self
    }

    /// Which groups of this authorization server grant which role. By default, none does.
    pub fn roles(mut self, roles: RoleMapping) -> Self {
        self.roles = roles;
        self
    }

    /// How its keys are fetched, and how long they are used.
    pub fn jwks_policy(mut self, policy: JwksPolicy) -> Self {
        self.jwks = policy;
        self
    }

    /// Requires the token type `at+jwt`
    /// ([RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4)). By default `JWT` and no
    /// type are accepted as well, since most authorization servers write those.
    pub const fn require_at_jwt(mut self) -> Self {
        self.at_jwt_required = true;
        self
    }

    /// Also accepts ID tokens.
    ///
    /// # Security
    ///
    /// An ID token tells a client who signed in; it was not issued for an API, carries no scope,
    /// and is not guarded like an access token. Whoever obtains one from any of your clients'
    /// logs can then call this API.
    pub const fn dangerous_accept_id_tokens(mut self) -> Self {
        self.id_tokens_accepted = true;
        self
    }

    /// Fetches keys over plain HTTP from hosts other than this machine.
    ///
    /// # Security
    ///
    /// Whoever can change the traffic in between can sign tokens that are accepted here.
    pub const fn dangerous_allow_plain_http(mut self) -> Self {
        self.plain_http_allowed = true;
        self
    }

    /// The issuer, as configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Every issuer whose tokens this policy is for.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.issuer).chain(&self.aliases)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let jwks_uri = self.jwks_uri.as_ref().map_err(Clone::clone)?;
        if let Some(problem) = problem_of_url(jwks_uri, self.plain_http_allowed) {
            return Err(ConfigError::InvalidJwksUri {
                found: without_userinfo(jwks_uri.as_str()),
                problem,
            });
        }
        for issuer in self.issuers() {
            let problem = match Url::parse(issuer) {
                Err(_) => Some("is not a URL"),
                Ok(url) if url.query().is_some() => Some("has a query"),
                Ok(url) => problem_of_url(&url, self.plain_http_allowed),
            };
            if let Some(problem) = problem {
                return Err(ConfigError::InvalidIssuer {
                    found: without_userinfo(issuer),
                    problem,
                });
            }
        }
        let issuer = || self.issuer.to_string();
        if let Audience::AnyOf(audiences) = &self.audience
            && audiences.iter().any(|audience| audience.trim().is_empty())
        {
            return Err(ConfigError::EmptyAudience { issuer: issuer() });
        }
        let problem = if self.algorithms.is_empty() {
            Some("are none: write at least one, such as RS256")
        } else if self.algorithms.iter().any(|alg| !alg.is_supported()) {
            Some("include ES512, which needs the feature aws_lc_rs")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(ConfigError::InvalidAlgorithms {
                issuer: issuer(),
                problem,
            });
        }
        if self.groups_claim.0.is_empty() || self.groups_claim.0.iter().any(String::is_empty) {
            return Err(ConfigError::EmptyClaimPath { issuer: issuer() });
        }
        self.jwks.check()
    }
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn problem_of_url(url: &Url, plain_http_allowed: bool) -> Option<&'static str> {
    match url.scheme() {
        "https" => {}
        "http" if plain_http_allowed || is_loopback(url) => {}
        "http" => return Some("is plain http"),
        _ => return Some("is not an https URL"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has a user name or password");
    }
    url.fragment().map(|_| "has a fragment")
}

/// Where in the claims something stands: a name, or several, one inside the other.
///
/// Names are taken literally, dots and slashes included, so `https://app/roles` and
/// `cognito:groups` are one name each.
///
/// ```
/// use portcullis::ClaimPath;
///
/// let top_level = ClaimPath::from("groups");
/// let nested = ClaimPath::nested(["realm_access", "roles"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(pub(crate) Vec<String>);

impl ClaimPath {
    /// A member of a member: `nested(["realm_access", "roles"])` is `{"realm_access":{"roles":…}}`.
    #[must_use]
    pub fn nested<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for ClaimPath {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl From<String> for ClaimPath {
    fn from(name: String) -> Self {
        Self(vec![name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "https://id.example/keys";

    fn problem(issuer: &str, jwks_uri: &str) -> Option<String> {
        AuthorizationServer::with_issuer(issuer, jwks_uri)
            .audience("api")
            .check()
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn https_is_needed_except_for_this_machine() {
        assert_eq!(problem("https://id.example", KEYS), None);
        for origin in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(problem(origin, &format!("{origin}/keys")), None, "{origin}");
        }
        for bad in [
            "http://id.example",
            "http://localhost.evil.example",
            "ftp://id.example",
            "id.example",
            "",
        ] {
            assert!(problem(bad, KEYS).is_some(), "issuer {bad:?} was taken");
            assert!(
                problem("https://id.example", bad).is_some(),
                "keys at {bad:?} were taken"
            );
        }
        let http =
            AuthorizationServer::with_issuer("http://id.internal", "http://id.internal/keys")
                .audience("api");
        assert!(http.clone().check().is_err());
        assert!(http.dangerous_allow_plain_http().check().is_ok());
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        let server =
            || AuthorizationServer::with_issuer("https://id.example", KEYS).audience("api");
        assert!(server().audience("").check().is_err());
        assert!(server().algorithms([]).check().is_err());
        assert!(server().groups_claim("").check().is_err());
        assert!(server().issuer_alias("id.example").check().is_err());
        assert!(problem("https://id.example?x=1", KEYS).is_some());
        assert!(problem("https://user@id.example", KEYS).is_some());
    }
}
