//! GitHub Actions' tokens for workflows.

use super::{Setting, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    claim::ListClaim,
};

const HOST: Setting = Setting {
    name: "GitHub Enterprise Server host",
    expected: "its domain, such as \"github.company.example\"",
};

/// # GitHub Actions
impl AuthorizationServer {
    /// The tokens that workflows of GitHub Actions ask for.
    ///
    /// They have the issuer `https://token.actions.githubusercontent.com`, and live for minutes. The
    /// audience is what the workflow asks for; one of your own, since the default is the URL of the
    /// repository's owner.
    ///
    /// **Every repository on GitHub gets such tokens, with any audience that it asks for.** Say which may
    /// call:
    ///
    /// ```
    /// use portcullis::{AuthorizationServer, Role, RoleMapping};
    ///
    /// let github = AuthorizationServer::github_actions()
    ///     .audience("https://deploy.company.example")
    ///     .require_claim_value("repository_owner_id", ["123456"])
    ///     .require_claim_value("ref", ["refs/heads/main"])
    ///     .roles(RoleMapping::new().grant(Role::Write, ["company/deployments"]));
    /// ```
    ///
    /// Ids do not change when somebody renames or takes over a name, so `repository_owner_id` and
    /// `repository_id` are better than names. The form of `sub` is not the same for all repositories, and
    /// `environment` takes the place of the branch in it: compare the claims that it is made of instead.
    ///
    /// The repository's name, `repository`, is read as the one group. There are no scopes or clients.
    pub fn github_actions() -> WithoutAudience {
        workflows("https://token.actions.githubusercontent.com".to_owned())
    }

    /// As [`github_actions`](Self::github_actions), for a GitHub Enterprise Server: the issuer is
    /// `https://{host}/_services/token`.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a host that is none.
    pub fn github_actions_enterprise(host: &str) -> WithoutAudience {
        match HOST.origin(host) {
            Ok(origin) => workflows(format!("{origin}/_services/token")),
            Err(mistake) => WithoutAudience::new("", Err(mistake)),
        }
    }
}

fn workflows(issuer: String) -> WithoutAudience {
    preset(Ok(issuer), "/.well-known/jwks").with(|server| {
        server
            .client_claims::<&str>([])
            .groups_claim(ListClaim::string("repository"))
    })
}
