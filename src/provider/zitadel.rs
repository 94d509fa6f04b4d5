//! Zitadel's instances.

use super::{Setting, preset};
use crate::{authorization_server::AuthorizationServer, claim::ListClaim};

const DOMAIN: Setting = Setting {
    name: "Zitadel domain",
    expected: "the instance's domain, such as \"company-a1b2c3.zitadel.cloud\"",
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
    /// `urn:zitadel:iam:org:project:{project_id}:roles` and `urn:zitadel:iam:org:project:roles`, an
    /// object with the roles as its keys. In which organizations a role was granted is not looked at.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a domain that is none, an empty
    /// project id.
    pub fn zitadel(domain: &str, project_id: &str) -> Self {
        preset(DOMAIN.origin(domain), "/oauth/v2/keys")
            .audience(project_id)
            .client_claims(["client_id", "azp"])
            .groups_claims(
                [
                    format!("urn:zitadel:iam:org:project:{project_id}:roles"),
                    "urn:zitadel:iam:org:project:roles".to_owned(),
                ]
                .map(ListClaim::object_keys),
            )
    }
}
