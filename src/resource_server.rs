//! The policy: whom a resource server trusts, how strictly it reads the clock, and how much it
//! remembers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, header::AUTHORIZATION};

use crate::{
    authorization_server::AuthorizationServer,
    error::ConfigError,
    tenant::{Tenancy, TenantPolicy, TenantResolver},
    token_cache_policy::TokenCachePolicy,
};

/// A resource server's policy: the authorization servers it trusts, the clock leeway, and how many
/// verified tokens it remembers.
///
/// Plain data without keys or sockets, cheap to clone. Give it to an
/// [`AuthenticateLayer`](crate::AuthenticateLayer), or judge requests by hand with
/// [`verify`](crate::verify).
///
/// ```
/// use portcullis::{AuthorizationServer, ResourceServer};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api://orders"))
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "partners").audience("api://orders"))
///     .build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResourceServer(Arc<Policy>);

#[derive(Debug)]
struct Policy {
    authorization_servers: Vec<AuthorizationServer>,
    by_issuer: BTreeMap<Arc<str>, usize>,
    /// Those with an issuer for each tenant.
    with_tenants: Vec<usize>,
    /// The one that opaque tokens are from.
    of_opaque: Option<usize>,
    leeway: Duration,
    token_cache: TokenCachePolicy,
    token_header: Option<HeaderName>,
    tenancy: Option<Tenancy>,
}

impl ResourceServer {
    /// Starts a policy that trusts nobody.
    pub fn builder() -> ResourceServerBuilder {
        ResourceServerBuilder {
            authorization_servers: Vec::new(),
            leeway: Duration::from_secs(60),
            token_cache: TokenCachePolicy::default(),
            token_header: None,
            tenancy: None,
        }
    }

    /// The authorization servers that are trusted, in the order they were added.
    pub fn authorization_servers(&self) -> &[AuthorizationServer] {
        &self.0.authorization_servers
    }

    pub(crate) fn leeway(&self) -> Duration {
        self.0.leeway
    }

    /// The place in the list of the authorization server that opaque tokens are from.
    pub(crate) fn of_opaque(&self) -> Option<usize> {
        self.0.of_opaque
    }

    /// Where tokens are, if not in `Authorization`.
    pub(crate) fn token_header(&self) -> Option<&HeaderName> {
        self.0.token_header.as_ref()
    }

    /// How authorization servers are found that are not in the list.
    pub(crate) fn tenancy(&self) -> Option<&Tenancy> {
        self.0.tenancy.as_ref()
    }

    pub(crate) fn token_cache(&self) -> &TokenCachePolicy {
        &self.0.token_cache
    }

    /// The authorization server with exactly this issuer, and its place in the list.
    pub(crate) fn route(&self, issuer: &str) -> Option<(usize, &AuthorizationServer)> {
        let server = |index: usize| Some((index, self.0.authorization_servers.get(index)?));
        match self.0.by_issuer.get(issuer) {
            Some(index) => server(*index),
            None => self.0.with_tenants.iter().find_map(|index| {
                let (index, server) = server(*index)?;
                server.tenants.as_ref()?.of_issuer(issuer)?;
                Some((index, server))
            }),
        }
    }
}

/// Puts a [`ResourceServer`] together.
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceServerBuilder {
    authorization_servers: Vec<AuthorizationServer>,
    leeway: Duration,
    token_cache: TokenCachePolicy,
    token_header: Option<HeaderName>,
    tenancy: Option<Tenancy>,
}

impl ResourceServerBuilder {
    /// Also accepts the tokens of this authorization server, under its own policy and keys.
    pub fn trust(mut self, authorization_server: AuthorizationServer) -> Self {
        self.authorization_servers.push(authorization_server);
        self
    }

    /// Also accepts the tokens of authorization servers that this resolver knows, each under the policy and
    /// keys that it answers with. Those that are [trusted](Self::trust) come first, and it is not asked
    /// about them.
    ///
    /// To [judge by hand](crate::verify), resolve by hand.
    pub fn tenants(mut self, resolver: impl TenantResolver, policy: TenantPolicy) -> Self {
        self.tenancy = Some(Tenancy {
            resolver: Arc::new(resolver),
            policy,
        });
        self
    }

    /// How far clocks may disagree when `exp`, `nbf` and `iat` are checked
    /// ([RFC 7519 §4.1.4](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4)). Default 60
    /// seconds; at most 300.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How many verified tokens each layer remembers. Default 16,384, in at most 16 MiB. It only
    /// makes a difference to how long requests take.
    pub const fn token_cache(mut self, policy: TokenCachePolicy) -> Self {
        self.token_cache = policy;
        self
    }

    /// Takes tokens from this header, as they are and without a scheme, instead of from `Authorization`:
    /// for proxies that add a token of their own, such as Google's Identity-Aware Proxy
    /// (`x-goog-iap-jwt-assertion`) or Cloudflare Access (`cf-access-jwt-assertion`).
    ///
    /// Clients that send no token are told `TOKEN_MISSING`, as everywhere; the challenge speaks of
    /// `Bearer` all the same, since there is no scheme for a header of its own. `Authorization` itself is a
    /// [mistake](ConfigError::InvalidSetting).
    pub fn token_header(mut self, name: HeaderName) -> Self {
        self.token_header = Some(name);
        self
    }

    /// Checks the policy. No I/O takes place, here or because of it.
    ///
    /// # Errors
    ///
    /// The first mistake found, as a [`ConfigError`] that says what to write instead.
    pub fn build(self) -> Result<ResourceServer, ConfigError> {
        if self.authorization_servers.is_empty() && self.tenancy.is_none() {
            return Err(ConfigError::NoAuthorizationServer);
        }
        if self.leeway > Duration::from_secs(300) {
            return Err(ConfigError::out_of_range(
                "leeway",
                self.leeway,
                "at most 300 seconds",
            ));
        }
        if self.token_header == Some(AUTHORIZATION) {
            return Err(ConfigError::InvalidSetting {
                setting: "token header",
                found: AUTHORIZATION.to_string(),
                problem: "is where bearer tokens are anyway, behind their scheme",
                expected: "another header, or none",
            });
        }
        self.token_cache.check()?;
        if let Some(tenancy) = &self.tenancy {
            tenancy.policy.check()?;
        }
        let mut by_issuer = BTreeMap::new();
        let mut with_tenants = Vec::new();
        for (index, server) in self.authorization_servers.iter().enumerate() {
            server.check()?;
            if server.tenants.is_some() {
                let is_there = |other: &usize| {
                    let other: Option<&AuthorizationServer> =
                        self.authorization_servers.get(*other);
                    other.is_some_and(|other| other.issuer == server.issuer)
                };
                if with_tenants.iter().any(is_there) {
                    return Err(ConfigError::DuplicateIssuer {
                        issuer: server.issuer.to_string(),
                    });
                }
                with_tenants.push(index);
                continue;
            }
            for issuer in server.issuers() {
                if by_issuer.insert(Arc::clone(issuer), index).is_some() {
                    return Err(ConfigError::DuplicateIssuer {
                        issuer: issuer.to_string(),
                    });
                }
            }
        }
        // A tenant that is named has one policy, which counts before the one for any.
        let tenants = |index: &usize| self.authorization_servers.get(*index)?.tenants.as_ref();
        let is_for_any = |index: &usize| tenants(index).is_some_and(|t| t.allowed.is_none());
        with_tenants.sort_by_key(is_for_any);
        let listed: Vec<_> = with_tenants.iter().filter_map(tenants).collect();
        for (at, these) in listed.iter().enumerate() {
            let others = listed.iter().take(at);
            let twice = others
                .into_iter()
                .find_map(|others| these.shared_with(others));
            let twice = twice.or_else(|| {
                by_issuer
                    .keys()
                    .find(|issuer| these.allowed.is_some() && these.of_issuer(issuer).is_some())
                    .map(ToString::to_string)
            });
            if let Some(issuer) = twice {
                return Err(ConfigError::DuplicateIssuer { issuer });
            }
        }
        let introspecting = (self.authorization_servers.iter().enumerate())
            .filter(|(_, server)| server.introspection.is_some());
        let mut introspecting = introspecting.map(|(index, server)| (index, server.issuer()));
        let of_opaque = introspecting.next();
        if let (Some((_, issuer)), Some((_, other))) = (of_opaque, introspecting.next()) {
            return Err(ConfigError::SeveralIntrospections {
                issuer: issuer.to_owned(),
                other: other.to_owned(),
            });
        }
        let of_opaque = of_opaque.map(|(index, _)| index);
        Ok(ResourceServer(Arc::new(Policy {
            authorization_servers: self.authorization_servers,
            by_issuer,
            with_tenants,
            of_opaque,
            leeway: self.leeway,
            token_cache: self.token_cache,
            token_header: self.token_header,
            tenancy: self.tenancy,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(issuer: &str) -> AuthorizationServer {
        AuthorizationServer::with_issuer(issuer, "https://id.example/keys").audience("api")
    }

    #[test]
    fn issuers_are_compared_byte_for_byte() {
        let policy = ResourceServer::builder()
            .trust(server("https://id.example/a").issuer_alias("https://login.example/a"))
            .trust(server("https://id.example/"))
            .build()
            .unwrap();
        let routed = |issuer| policy.route(issuer).map(|(index, ..)| index);
        assert_eq!(routed("https://id.example/a"), Some(0));
        assert_eq!(routed("https://login.example/a"), Some(0));
        assert_eq!(routed("https://id.example/"), Some(1));
        for other in [
            "https://id.example",
            "https://id.example/a/",
            "https://id.example/A",
            "https://id.example:443/a",
            "https://id.example/%61",
            "HTTPS://id.example/a",
            "",
        ] {
            assert_eq!(routed(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_issuer_has_one_policy() {
        let error = ResourceServer::builder()
            .trust(server("https://a.example"))
            .trust(server("https://b.example").issuer_alias("https://a.example"))
            .build()
            .unwrap_err();
        assert!(matches!(error, ConfigError::DuplicateIssuer { .. }));
    }

    #[test]
    fn a_policy_without_anybody_or_with_an_hour_of_leeway_is_refused() {
        assert!(ResourceServer::builder().build().is_err());
        let lax = ResourceServer::builder()
            .trust(server("https://a.example"))
            .leeway(Duration::from_secs(3_600));
        assert!(lax.build().is_err());
    }
}
