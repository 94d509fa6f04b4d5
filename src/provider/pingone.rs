//! PingOne's environments.

use super::{Setting, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    issuer_template::is_guid,
};

const DOMAIN: Setting = Setting {
    name: "PingOne domain",
    expected: "the domain of the region, such as \"auth.pingone.eu\"",
};
const ENVIRONMENT: Setting = Setting {
    name: "PingOne environment id",
    expected: "the environment's id, a GUID",
};

/// # PingOne
impl AuthorizationServer {
    /// An environment of PingOne.
    ///
    /// `domain` is that of the region, `auth.pingone.com`, `auth.pingone.eu` and the like. Tokens have the
    /// issuer `https://{domain}/{environment_id}/as`, keys are at `{issuer}/jwks`. The audience is that of
    /// a custom resource. The client is read from `client_id`, scopes from `scope`, groups from `groups`
    /// and `p1.permissions`.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a domain that is none, an environment
    /// that is no GUID.
    pub fn pingone(domain: &str, environment_id: &str) -> WithoutAudience {
        let issuer = DOMAIN.origin(domain).and_then(|origin| {
            if is_guid(environment_id) {
                Ok(format!(
                    "{origin}/{}/as",
                    environment_id.to_ascii_lowercase()
                ))
            } else {
                Err(ENVIRONMENT.mistake(environment_id, "is not a GUID"))
            }
        });
        preset(issuer, "/jwks").with(|server| {
            server
                .told_by_client(["client_id"])
                .subject_may_be_client()
                .groups_claims(["groups", "p1.permissions"])
        })
    }
}
