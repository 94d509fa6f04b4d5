//! GitHub Actions' tokens for workflows.

use super::{Setting, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    claim::ListClaim,
    error::ConfigError,
};

const OWNER: Setting = Setting {
    name: "GitHub owner id",
    expected: "the number that `https://api.github.com/users/{owner}` says",
};

const HOST: Setting = Setting {
    name: "GitHub Enterprise Server host",
    expected: "its domain, such as \"github.company.example\"",
};

/// # GitHub Actions
impl AuthorizationServer {
    /// The tokens that workflows of GitHub Actions ask for, in the repositories of these owners.
    ///
    /// They have the issuer `https://token.actions.githubusercontent.com`, and live for minutes. The
    /// audience is what the workflow asks for; one of your own, since the default is the URL of the
    /// repository's owner.
    ///
    /// Every repository on GitHub gets such tokens, with any audience that it asks for. So `owner_ids`
    /// says whose may call, as the claim `repository_owner_id` does: a number, that of
    /// `https://api.github.com/users/{owner}`. Names can change hands; ids cannot. Claims narrow it down:
    ///
    /// ```
    /// use portcullis::{AuthorizationServer, Role, RoleMapping};
    ///
    /// let github = AuthorizationServer::github_actions(["123456"])
    ///     .audience("https://deploy.company.example")
    ///     .require_claim_value("ref", ["refs/heads/main"])
    ///     .roles(RoleMapping::new().grant(Role::Write, ["company/deployments"]));
    /// ```
    ///
    /// The form of `sub` is not the same for all repositories, and
    /// `environment` takes the place of the branch in it: compare the claims that it is made of instead.
    ///
    /// The repository's name, `repository`, is read as the one group. There are no scopes or clients.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): no owner, or an id that is no number.
    pub fn github_actions<I: Into<String>>(
        owner_ids: impl IntoIterator<Item = I>,
    ) -> WithoutAudience {
        let ids: Vec<String> = owner_ids.into_iter().map(Into::into).collect();
        let is_number = |id: &&String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        let issuer = match ids.iter().find(|id| !is_number(id)) {
            Some(id) => Err(OWNER.mistake(id, "is not a number")),
            None if ids.is_empty() => Err(OWNER.mistake("", "is missing")),
            None => Ok("https://token.actions.githubusercontent.com".to_owned()),
        };
        workflows(issuer).with(|server| server.require_claim_value("repository_owner_id", ids))
    }

    /// As [`github_actions`](Self::github_actions), for a GitHub Enterprise Server: the issuer is
    /// `https://{host}/_services/token`. Every repository there may call.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a host that is none.
    pub fn github_actions_enterprise(host: &str) -> WithoutAudience {
        workflows(
            HOST.origin(host)
                .map(|origin| format!("{origin}/_services/token")),
        )
    }
}

fn workflows(issuer: Result<String, ConfigError>) -> WithoutAudience {
    preset(issuer, "/.well-known/jwks").with(|server| {
        server
            .client_claims::<&str>([])
            .groups_claim(ListClaim::string("repository"))
    })
}
