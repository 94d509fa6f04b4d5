//! The claims of a token whose signature is good: well formed, for us, and in time.

use std::{sync::Arc, time::Duration};

use super::json::{Malformed, Object};
use crate::{
    access_token::{AccessToken, Verified},
    authorization_server::{Audience, AuthorizationServer},
    rejection::{Rejection, RejectionKind},
    time::UnixTime,
};

/// Whether the claims are those of something that is not an access token, by what only such things
/// carry: logout tokens and security events `events`; ID tokens `nonce` and hashes of what they
/// were issued with (OpenID Connect Core §2, §3.3.2.11); Okta's ID tokens a `jti` of this form.
pub(crate) fn is_other_kind(claims: &Object, server: &AuthorizationServer) -> bool {
    let is_id_token = || {
        ["nonce", "at_hash", "c_hash"]
            .iter()
            .any(|name| claims.has(name))
            || matches!(claims.string("jti"), Ok(Some(jti)) if jti.starts_with("ID."))
    };
    claims.has("events") || (!server.id_tokens_accepted && is_id_token())
}

/// Every check on the claims, in order.
pub(crate) fn validate(
    now: UnixTime,
    leeway: Duration,
    issuer: &Arc<str>,
    server: &AuthorizationServer,
    claims: Object,
) -> Result<AccessToken, Rejection> {
    let read = read(&claims, issuer, server).map_err(|Malformed| RejectionKind::ClaimInvalid)?;
    let verdict = judge(now, leeway, server, &claims, &read);
    let Claims { mut verified, .. } = read;
    match verdict {
        Err(kind) => Err(Rejection::from(kind).with_subject(&verified.subject)),
        Ok(()) => {
            verified.role = server
                .roles
                .role_of(verified.groups.iter().map(String::as_str));
            verified.json = claims.into_text();
            Ok(AccessToken::new(verified))
        }
    }
}

struct Claims {
    verified: Verified,
    audience: Option<Vec<String>>,
    not_before: Option<UnixTime>,
}

/// Everything that is looked at must have its type, also where it is optional.
fn read(
    claims: &Object,
    issuer: &Arc<str>,
    server: &AuthorizationServer,
) -> Result<Claims, Malformed> {
    let client_id = match (
        claims.owned_string("client_id")?,
        claims.owned_string("cid")?,
    ) {
        (Some(client_id), Some(cid)) if client_id != cid => return Err(Malformed),
        (client_id, cid) => client_id.or(cid),
    };
    Ok(Claims {
        audience: claims.string_or_strings("aud")?,
        not_before: claims.numeric_date("nbf")?,
        verified: Verified {
            issuer: Arc::clone(issuer),
            subject: claims.owned_string("sub")?.ok_or(Malformed)?,
            client_id,
            user_id: claims.owned_string("uid")?,
            token_id: claims.owned_string("jti")?,
            scope: scope(claims)?,
            groups: groups(claims, &server.groups_claim.0)?,
            role: None,
            issued_at: claims.numeric_date("iat")?,
            expires_at: claims.numeric_date("exp")?.ok_or(Malformed)?,
            json: String::new(),
        },
    })
}

fn judge(
    now: UnixTime,
    leeway: Duration,
    server: &AuthorizationServer,
    claims: &Object,
    read: &Claims,
) -> Result<(), RejectionKind> {
    // RFC 9449 §7.2, RFC 8705 §3: bound to a key of the client's. Nothing here could check that
    // the sender has it, and taking it as a plain bearer token would undo what it is for.
    if claims.has("cnf") {
        return Err(RejectionKind::BindingMissing);
    }
    if let Audience::AnyOf(accepted) = &server.audience {
        let audience = read
            .audience
            .as_deref()
            .ok_or(RejectionKind::ClaimInvalid)?;
        if !audience.iter().any(|value| accepted.contains(value)) {
            return Err(RejectionKind::AudienceMismatch);
        }
    }
    if let Some(allowed) = &server.allowed_clients {
        let client_id = read.verified.client_id.as_ref();
        if !client_id.is_some_and(|client_id| allowed.contains(client_id)) {
            return Err(RejectionKind::ClientNotAllowed);
        }
    }
    // RFC 7519 §4.1.4: not accepted on or after `exp`.
    if now >= read.verified.expires_at.saturating_add(leeway) {
        return Err(RejectionKind::TokenExpired);
    }
    let latest_start = now.saturating_add(leeway);
    let starts = [read.not_before, read.verified.issued_at];
    if starts
        .into_iter()
        .flatten()
        .any(|start| start > latest_start)
    {
        return Err(RejectionKind::TokenNotYetValid);
    }
    Ok(())
}

/// `scope`, a string of tokens between spaces (RFC 9068 §2.2.3), and Okta's `scp`, an array;
/// authorization servers mix the two, so each may have either shape.
fn scope(claims: &Object) -> Result<Vec<String>, Malformed> {
    let mut scope = Vec::new();
    let mut add = |token: &str| {
        if !token.is_empty() && !scope.iter().any(|seen| seen == token) {
            scope.push(token.to_owned());
        }
    };
    for name in ["scope", "scp"] {
        match claims.string(name) {
            Ok(text) => text
                .iter()
                .flat_map(|text| text.split(' '))
                .for_each(&mut add),
            Err(Malformed) => claims
                .strings(name)?
                .iter()
                .flatten()
                .for_each(|token| add(token)),
        }
    }
    Ok(scope)
}

fn groups(claims: &Object, path: &[String]) -> Result<Vec<String>, Malformed> {
    match path {
        [] => Ok(Vec::new()),
        [name] => Ok(claims.strings(name)?.unwrap_or_default()),
        [name, rest @ ..] => match claims.object(name)? {
            Some(object) => groups(&object, rest),
            None => Ok(Vec::new()),
        },
    }
}
