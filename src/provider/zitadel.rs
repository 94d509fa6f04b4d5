//! Zitadel's instances.

use super::{Setting, preset};
use crate::{
    authorization_server::AuthorizationServer,
    claim::{Demand, ListClaim},
    rejection::RejectionKind,
};

const DOMAIN: Setting = Setting {
    name: "Zitadel domain",
    expected: "the instance's domain, such as \"company-a1b2c3.zitadel.cloud\"",
};

const PROJECT: Setting = Setting {
    name: "Zitadel project id",
    expected: "the id of the project that the API belongs to, such as \"257713952794870157\"",
};

/// # Zitadel
impl AuthorizationServer {
    /// An instance of Zitadel, and the project that the API belongs to.
    ///
    /// Tokens have the issuer `https://{domain}`, keys are at `{issuer}/oauth/v2/keys`, and the audience
    /// is the project's id, which clients ask for with the scope
    /// `urn:zitadel:iam:org:project:id:{project_id}:aud`. An application's tokens are opaque unless its
    /// settings ask for JWTs.
    ///
    /// The client is read from `client_id` and `azp`, groups from the roles in the project,
    /// `urn:zitadel:iam:org:project:{project_id}:roles`, an object with the roles as its keys. Not read
    /// is `urn:zitadel:iam:org:project:roles`: it has the roles in the project of the *client*, which
    /// may be anybody's. In which organizations a role was granted is not looked at;
    /// if the project is granted to others, require `urn:zitadel:iam:user:resourceowner:id`. Access tokens are
    /// told from ID tokens by their `jti`, too.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a domain that is none, an empty
    /// project id.
    pub fn zitadel(domain: &str, project_id: &str) -> Self {
        let issuer = DOMAIN.origin(domain).and_then(|origin| {
            PROJECT.segment(project_id)?;
            Ok(origin)
        });
        let roles = format!("urn:zitadel:iam:org:project:{project_id}:roles");
        preset(issuer, "/oauth/v2/keys")
            .audience(project_id)
            .client_claims(["client_id", "azp"])
            .groups_claim(ListClaim::object_keys(roles))
            .rule("jti", Demand::Present, RejectionKind::TokenTypeRejected)
    }
}
