//! Keycloak's realms.

use super::{Setting, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    error::ConfigError,
};

const URL: Setting = Setting {
    name: "Keycloak URL",
    expected: "where Keycloak is, such as \"https://id.company.example\", with its path if it has one",
};
const URL_WITH_REALM: Setting = Setting {
    name: URL.name,
    expected: "only what is in front of \"/realms/…\"",
};
const REALM: Setting = Setting {
    name: "Keycloak realm",
    expected: "the realm's name, such as \"company\"",
};

/// # Keycloak
impl AuthorizationServer {
    /// A realm of Keycloak, or of Red Hat's build of it.
    ///
    /// `url` is where clients reach Keycloak, `https://id.company.example`, with the path that it has,
    /// which up to version 16 was `/auth`. Tokens have the issuer `{url}/realms/{realm}`, keys are at
    /// `{issuer}/protocol/openid-connect/certs`. The audience is what an audience mapper adds, often the
    /// client id of the API; `account`, which is there without one, is in every token of the realm.
    ///
    /// If the API reaches Keycloak by another name, the issuer stays what it is, and
    /// [`jwks_uri`](Self::jwks_uri) says where the keys are.
    ///
    /// Accepted is the claim `typ` of access tokens, `Bearer`, alone. The client is read from `azp` and
    /// `client_id`, scopes from `scope`, groups from the realm's roles (`realm_access`). The roles of a
    /// client, or groups that a mapper writes, are a line each:
    ///
    /// ```
    /// use portcullis::{AuthorizationServer, ClaimPath};
    ///
    /// let keycloak = AuthorizationServer::keycloak("https://id.company.example", "company")
    ///     .audience("orders.api")
    ///     .also_groups_claim(ClaimPath::nested(["resource_access", "orders.api", "roles"]))
    ///     .also_groups_claim("groups");
    /// ```
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a URL that is none, or that has
    /// a realm in it already, a realm that cannot be part of one.
    pub fn keycloak(url: &str, realm: &str) -> WithoutAudience {
        let issuer = base(url).and_then(|base| {
            let realm = REALM.segment(realm)?;
            Ok(format!("{base}/realms/{realm}"))
        });
        preset(issuer, "/protocol/openid-connect/certs").with(|server| {
            server
                .told_by("typ", "Bearer")
                .client_claims(["azp", "client_id"])
                .groups_claim("/realm_access/roles")
        })
    }
}

/// Where Keycloak is, which realms come behind.
fn base(url: &str) -> Result<String, ConfigError> {
    let base = URL.base_url(url)?;
    if format!("{base}/").contains("/realms/") {
        return Err(URL_WITH_REALM.mistake(url, "has a realm in it"));
    }
    Ok(base)
}
