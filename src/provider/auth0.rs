//! Auth0's tenants.

use super::{Setting, preset};
use crate::authorization_server::{AuthorizationServer, WithoutAudience};

const DOMAIN: Setting = Setting {
    name: "Auth0 domain",
    expected: "the tenant's domain, such as \"company.eu.auth0.com\", or its custom domain",
};

/// # Auth0
impl AuthorizationServer {
    /// An Auth0 tenant.
    ///
    /// `domain` is the tenant's domain, `company.eu.auth0.com`, or its custom domain. Tokens have the
    /// issuer `https://{domain}/`, with a slash at its end, and keys are at
    /// `https://{domain}/.well-known/jwks.json`. The audience is the identifier of the API. A token that
    /// was asked for without an audience is opaque, and refused.
    ///
    /// Tokens of both profiles are accepted, Auth0's own and that of RFC 9068. The client is read from
    /// `azp` and `client_id`, scopes from `scope`. Groups are where an Action of yours writes them:
    /// name that claim with [`groups_claim`](Self::groups_claim), such as `https://app.example/groups`.
    /// `permissions`, which RBAC adds, is what the user may do, whatever the client was allowed; read it
    /// as groups, or, if every client may do all of it, as [scopes](Self::scope_claims).
    ///
    /// A custom domain and the tenant's own are two issuers:
    /// [`issuer_alias`](Self::issuer_alias) adds the other one.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a domain that is none.
    pub fn auth0(domain: &str) -> WithoutAudience {
        let issuer = DOMAIN.origin(domain).map(|origin| format!("{origin}/"));
        preset(issuer, "/.well-known/jwks.json")
            .with(|server| server.told_by_client(["azp", "client_id"]))
    }
}
