//! Microsoft Entra ID, formerly Azure AD.

use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    issuer_template::{IssuerTemplate, Tenants},
};

const V1: &str = "https://sts.windows.net/{tenantid}/";
const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
const KEYS: &str = "https://login.microsoftonline.com/{tenantid}/discovery/v2.0/keys";

/// # Microsoft Entra
impl AuthorizationServer {
    /// One tenant of Microsoft Entra ID.
    ///
    /// `tenant` is the directory's id, a GUID: issuers are written with it, not with a domain. Tokens of
    /// both versions are accepted, since the *API's* manifest decides which it gets:
    /// `https://login.microsoftonline.com/{tenant}/v2.0` and `https://sts.windows.net/{tenant}/`. The
    /// audience of the former is the client id of the API's registration; of the latter that, or its
    /// App ID URI, such as `api://…`.
    ///
    /// Beyond the usual checks, the claim `tid` is the tenant, and the key is one that signs for it. The
    /// client is read from `azp` and `appid`, scopes from `scp`, groups from `roles` (app roles) and
    /// `groups` (ids of groups). A token of a user with more than 200 groups has none of them: see
    /// [`groups_complete`](crate::AccessToken::groups_complete).
    ///
    /// Any application of the tenant gets a token for the API, without scopes and roles, unless the API's
    /// registration requires assignment: ask for a scope or a role on each route. Map app roles and ids
    /// of groups to roles, rather than names of groups, which others may choose.
    ///
    /// An application with a signing key of its own (claims mapping) has its keys at
    /// `…/{tenant}/discovery/v2.0/keys?appid={client id}`: see [`jwks_uri`](Self::jwks_uri). National clouds
    /// have other hosts, and no preset.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a tenant that is no GUID, such as
    /// `common`.
    pub fn entra(tenant: &str) -> WithoutAudience {
        let tenant = &*tenant.to_ascii_lowercase();
        let fill = |template| IssuerTemplate::of(template).fill(tenant);
        Self::with_issuer(fill(V2), &fill(KEYS)).with(|server| of_tenants(server, Some(&[tenant])))
    }

    /// Several tenants of Microsoft Entra ID, for an API that is registered for accounts in any.
    ///
    /// Tokens of these tenants are accepted, in the way of [`entra`](Self::entra). `sub` and `oid` name
    /// a user within a tenant only.
    ///
    /// # Errors
    ///
    /// As for [`entra`](Self::entra), and if no tenant is named.
    pub fn entra_multi_tenant<'t>(tenants: impl IntoIterator<Item = &'t str>) -> WithoutAudience {
        let tenants: Vec<_> = tenants.into_iter().collect();
        common().with(|server| of_tenants(server, Some(&tenants)))
    }

    /// Every tenant of Microsoft Entra ID there is, and personal accounts.
    ///
    /// # Security
    ///
    /// Anybody can make a tenant, with users and groups as they like. You owe a check of the issuer,
    /// or of the claim `tid`, wherever it matters who calls. Do not map roles.
    pub fn dangerous_entra_any_tenant() -> WithoutAudience {
        common().with(|server| of_tenants(server, None))
    }
}

fn common() -> WithoutAudience {
    AuthorizationServer::with_issuer(V2, &IssuerTemplate::of(KEYS).fill("common"))
}

fn of_tenants(server: AuthorizationServer, allowed: Option<&[&str]>) -> AuthorizationServer {
    server
        .tenants(Tenants {
            issuers: vec![IssuerTemplate::of(V2), IssuerTemplate::of(V1)],
            allowed: allowed.map(|allowed| {
                allowed
                    .iter()
                    .map(|tenant| tenant.to_ascii_lowercase())
                    .collect()
            }),
            key_issuer: IssuerTemplate::of(V2),
        })
        .told_by_client(["azp", "appid"])
        .user_id_claim(Some("oid"))
        .scope_claims(["scp"])
        .groups_claims(["roles", "groups"])
}
