//! authentik's OAuth 2.0 providers.

use super::{Setting, preset};
use crate::{
    algorithm::Algorithm,
    authorization_server::{AuthorizationServer, WithoutAudience},
};

const URL: Setting = Setting {
    name: "authentik URL",
    expected: "where authentik is, such as \"https://id.company.example\", with its path if it has one",
};
const APPLICATION: Setting = Setting {
    name: "authentik application",
    expected: "the application's slug, such as \"orders\"",
};

/// # authentik
impl AuthorizationServer {
    /// An application of authentik, with an OAuth 2.0 provider.
    ///
    /// `application` is the application's slug. Tokens have the issuer
    /// `{url}/application/o/{application}/`, with a slash at its end, and keys are at `{issuer}jwks/`. A
    /// provider in the issuer mode *global* writes `{url}/` instead: see
    /// [`issuer_alias`](Self::issuer_alias). The audience is the client id.
    ///
    /// A provider without a signing key signs with the client's secret (HS256): such tokens are refused,
    /// since whoever can check them can make them. Choose a key in the provider's settings; RS256 and
    /// ES256 are accepted.
    ///
    /// Access tokens are told from ID tokens by their `azp`, from which the client is read as well. Groups
    /// are read from `groups` and `entitlements`, scopes from `scope`, which there is from 2025.10 on.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a URL that is none, a slug that cannot
    /// be part of one.
    pub fn authentik(url: &str, application: &str) -> WithoutAudience {
        let issuer = URL.base_url(url).and_then(|url| {
            let application = APPLICATION.segment(application)?;
            Ok(format!("{url}/application/o/{application}/"))
        });
        preset(issuer, "/jwks/").with(|server| {
            server
                .algorithms([Algorithm::Rs256, Algorithm::Es256])
                .told_by_presence_of("azp")
                .client_claims(["azp"])
                .user_id_claim(None)
                .groups_claims(["groups", "entitlements"])
        })
    }
}
