//! Amazon Cognito's user pools.

use super::{Setting, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    error::ConfigError,
};

const REGION: Setting = Setting {
    name: "Cognito region",
    expected: "the region of the user pool, such as \"eu-west-1\"",
};
const POOL: Setting = Setting {
    name: "Cognito user pool id",
    expected: "the id of the user pool, such as \"eu-west-1_a1B2c3D4e\"",
};

/// # Amazon Cognito
impl AuthorizationServer {
    /// A user pool of Amazon Cognito; its access tokens.
    ///
    /// Tokens have the issuer `https://cognito-idp.{region}.amazonaws.com/{user_pool_id}`, keys are at
    /// `{issuer}/.well-known/jwks.json`. Access tokens have no `aud`: the audience is the id of the app
    /// client, from `client_id`; name every one that may call.
    ///
    /// Accepted is the claim `token_use` of access tokens, `access`, alone. Scopes are read from `scope`,
    /// groups from `cognito:groups`. A user pool that is replicated to other regions has other issuers
    /// there: see [`issuer_alias`](Self::issuer_alias).
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a region or an id that is none, a
    /// user pool of another region.
    pub fn cognito(region: &str, user_pool_id: &str) -> WithoutAudience {
        pool(region, user_pool_id).with(|server| {
            server
                .told_by("token_use", "access")
                .audience_claim("client_id")
        })
    }

    /// A user pool of Amazon Cognito; its ID tokens, for an API that is called with them.
    ///
    /// As [`cognito`](Self::cognito), but the claim `token_use` is `id`, and the audience is the id of
    /// the app client, from `aud`. ID tokens have no scopes.
    ///
    /// # Security
    ///
    /// As for [`dangerous_accept_id_tokens`](Self::dangerous_accept_id_tokens): they are made for the
    /// client, not for an API. Attributes that users may change themselves are in them as claims.
    ///
    /// # Errors
    ///
    /// As for [`cognito`](Self::cognito).
    pub fn cognito_id_tokens(region: &str, user_pool_id: &str) -> WithoutAudience {
        pool(region, user_pool_id)
            .with(|server| server.told_by("token_use", "id").client_claims(["aud"]))
    }
}

fn pool(region: &str, user_pool_id: &str) -> WithoutAudience {
    preset(issuer(region, user_pool_id), "/.well-known/jwks.json")
        .with(|server| server.groups_claim("cognito:groups"))
}

fn issuer(region: &str, user_pool_id: &str) -> Result<String, ConfigError> {
    let (region, id) = (REGION.label(region)?, POOL.segment(user_pool_id)?);
    match id.split_once('_') {
        Some((of, rest)) if of == region && !rest.is_empty() => {
            Ok(format!("https://cognito-idp.{region}.amazonaws.com/{id}"))
        }
        Some((_, rest)) if !rest.is_empty() => Err(POOL.mistake(id, "is of another region")),
        _ => Err(POOL.mistake(id, "has no region in front of it")),
    }
}
