//! Google: ID tokens, Identity-Aware Proxy, Firebase.

use super::{Setting, preset};
use crate::{
    algorithm::Algorithm,
    authorization_server::{AuthorizationServer, WithoutAudience},
};

const PROJECT: Setting = Setting {
    name: "Firebase project id",
    expected: "the project's id, such as \"company-app\"",
};

/// # Google
impl AuthorizationServer {
    /// Google's ID tokens, of users and of service accounts. Google's access tokens are opaque, and for
    /// Google's own APIs.
    ///
    /// Tokens have the issuer `https://accounts.google.com`, and now and then `accounts.google.com`. The
    /// audience is the OAuth client id, and so has to be the client, `azp`: a service account of anybody's
    /// gets tokens with any audience that it asks for. For those of service accounts, or of an app with a
    /// client id of its own, say whose with [`allowed_clients`](Self::allowed_clients). There are no
    /// scopes or groups.
    ///
    /// Everybody with a Google account has such a token. For those of your company, require the domain:
    ///
    /// ```
    /// use portcullis::AuthorizationServer;
    ///
    /// let google = AuthorizationServer::google_id_tokens()
    ///     .audience("1234.apps.googleusercontent.com")
    ///     .require_claim_value("hd", ["company.example"])
    ///     .require_claim_value("email_verified", [true]);
    /// ```
    ///
    /// # Security
    ///
    /// As for [`dangerous_accept_id_tokens`](Self::dangerous_accept_id_tokens): whoever runs the client
    /// has its users' tokens.
    pub fn google_id_tokens() -> WithoutAudience {
        let keys = "https://www.googleapis.com/oauth2/v3/certs";
        Self::with_issuer("https://accounts.google.com", keys).with(|server| {
            server
                .issuer_alias("accounts.google.com")
                .client_claims(["azp"])
                .client_is_audience()
                .dangerous_accept_id_tokens()
        })
    }

    /// The assertions that Google's Identity-Aware Proxy adds to requests that it lets through.
    ///
    /// They have the issuer `https://cloud.google.com/iap`, and are signed with ES256. The audience is
    /// `/projects/{number}/global/backendServices/{id}`, `/projects/{number}/apps/{id}` and the like. They come in a
    /// header of their own: name it with
    /// [`token_header`](crate::ResourceServerBuilder::token_header), `x-goog-iap-jwt-assertion`.
    pub fn google_iap() -> WithoutAudience {
        let keys = "https://www.gstatic.com/iap/verify/public_key-jwk";
        Self::with_issuer("https://cloud.google.com/iap", keys).with(|server| {
            server
                .algorithms([Algorithm::Es256])
                .client_claims::<&str>([])
                .dangerous_accept_id_tokens()
        })
    }

    /// The ID tokens of a project of Firebase Authentication, or of Google's Identity Platform.
    ///
    /// Tokens have the issuer `https://securetoken.google.com/{project_id}`, and the project's id as
    /// audience. Groups are where you write them, as a custom claim.
    ///
    /// Whoever signs up has such a token; so have anonymous users, if they are enabled, and those of every
    /// tenant of the Identity Platform. [`require_claim_value`](Self::require_claim_value) on
    /// `/firebase/sign_in_provider`, and [`forbid_claim`](Self::forbid_claim) on `/firebase/tenant`, are
    /// for those who are not welcome.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a project id that is none.
    pub fn firebase(project_id: &str) -> Self {
        let keys = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
        let issuer = PROJECT
            .segment(project_id)
            .map(|id| format!("https://securetoken.google.com/{id}"));
        preset(issuer, "")
            .audience(project_id)
            .jwks_uri(keys)
            .client_claims::<&str>([])
            .dangerous_accept_id_tokens()
    }
}
