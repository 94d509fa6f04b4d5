//! The claims of a token: well formed, for us, and in time.

use std::{mem, time::Duration};

use smallvec::SmallVec;

use super::json::{Malformed, Members, Object, RawString};
use crate::{
    access_token::{Span, Times, Verified},
    authorization_server::{Audience, AuthorizationServer},
    rejection::RejectionKind,
    time::UnixTime,
};

/// Whether the claims are those of something that is not an access token, by what only such things
/// carry: logout tokens and security events `events`; ID tokens `nonce` and hashes of what they
/// were issued with (OpenID Connect Core §2, §3.3.2.11); Okta's ID tokens a `jti` of this form.
pub(crate) fn is_other_kind(claims: Object<'_>, server: &AuthorizationServer) -> bool {
    let is_id_token = || {
        ["nonce", "at_hash", "c_hash"]
            .iter()
            .any(|name| claims.has(name))
            || matches!(claims.string("jti"), Ok(Some(jti)) if jti.starts_with("ID."))
    };
    claims.has("events") || (!server.id_tokens_accepted && is_id_token())
}

/// Whether the token is for us and in time, if it is what it says. Looked at before the signature,
/// since it costs little: what passes is not verified yet, and what does not is refused either way.
pub(crate) fn judge(
    now: UnixTime,
    leeway: Duration,
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Result<Times, RejectionKind> {
    // RFC 9449 §7.2, RFC 8705 §3: bound to a key of the client's. Nothing here could check that
    // the sender has it, and taking it as a plain bearer token would undo what it is for.
    if claims.has("cnf") {
        return Err(RejectionKind::BindingMissing);
    }
    judge_audience(server, claims)?;
    judge_client(server, claims)?;
    let times = read_times(claims).map_err(malformed)?;
    judge_times(now, leeway, &times)?;
    Ok(times)
}

/// Whether it is for one of the audiences that are accepted (RFC 7519 §4.1.3).
fn judge_audience(server: &AuthorizationServer, claims: Object<'_>) -> Result<(), RejectionKind> {
    let accepts = |audience: &str| match &server.audience {
        Audience::Any => true,
        Audience::AnyOf(accepted) => accepted.iter().any(|accepted| accepted == audience),
    };
    let mut is_accepted = matches!(server.audience, Audience::Any);
    let audiences = claims.string_or_strings("aud").map_err(malformed)?;
    for audience in audiences.unescaped() {
        is_accepted |= accepts(&audience.map_err(malformed)?);
    }
    if is_accepted {
        Ok(())
    } else if claims.has("aud") {
        Err(RejectionKind::AudienceMismatch)
    } else {
        Err(RejectionKind::ClaimInvalid)
    }
}

fn malformed(_: Malformed) -> RejectionKind {
    RejectionKind::ClaimInvalid
}

fn judge_client(server: &AuthorizationServer, claims: Object<'_>) -> Result<(), RejectionKind> {
    let client_id = client_id(claims).map_err(malformed)?;
    let Some(allowed) = &server.allowed_clients else {
        return Ok(());
    };
    let client_id = client_id
        .map(|client_id| client_id.unescape(claims.text()))
        .transpose()
        .map_err(malformed)?;
    if client_id.is_some_and(|client_id| allowed.contains(&*client_id)) {
        Ok(())
    } else {
        Err(RejectionKind::ClientNotAllowed)
    }
}

/// `client_id` (RFC 9068 §2.2), or Okta's `cid`; not one of each.
fn client_id(claims: Object<'_>) -> Result<Option<RawString>, Malformed> {
    let (client_id, cid) = (claims.raw_string("client_id")?, claims.raw_string("cid")?);
    if let (Some(client_id), Some(cid)) = (client_id, cid)
        && client_id.unescape(claims.text())? != cid.unescape(claims.text())?
    {
        return Err(Malformed);
    }
    Ok(client_id.or(cid))
}

fn read_times(claims: Object<'_>) -> Result<Times, Malformed> {
    Ok(Times {
        not_before: claims.numeric_date("nbf")?,
        issued_at: claims.numeric_date("iat")?,
        expires_at: claims.numeric_date("exp")?.ok_or(Malformed)?,
    })
}

/// RFC 7519 §4.1.4 to §4.1.6: not on or after `exp`, not before `nbf`, nor before it was issued.
pub(crate) fn judge_times(
    now: UnixTime,
    leeway: Duration,
    times: &Times,
) -> Result<(), RejectionKind> {
    if now >= times.expires_at.saturating_add(leeway) {
        return Err(RejectionKind::TokenExpired);
    }
    let latest_start = now.saturating_add(leeway);
    let starts = [times.not_before, times.issued_at];
    if starts
        .into_iter()
        .flatten()
        .any(|start| start > latest_start)
    {
        return Err(RejectionKind::TokenNotYetValid);
    }
    Ok(())
}

/// What the token says, once its signature is good; takes the payload with it. Everything that is looked at must have its
/// type, also where it is optional.
pub(crate) fn read(
    server: &AuthorizationServer,
    times: Times,
    payload: &mut String,
    members: &Members,
) -> Result<Verified, Malformed> {
    let claims = Object::new(payload, members);
    let required = |name| claims.raw_string(name)?.ok_or(Malformed);
    let (issuer, subject) = (required("iss")?, required("sub")?);
    let client_id = client_id(claims)?;
    let (user_id, token_id) = (claims.raw_string("uid")?, claims.raw_string("jti")?);
    let scopes = scopes(claims)?;
    let groups = groups(claims, &server.groups_claim.0)?;

    let span = Span::new(0, payload.len()).ok_or(Malformed)?;
    let mut text = Text(mem::take(payload));
    let mut lists = Vec::with_capacity(scopes.len() + groups.len());
    for (scope, is_list) in scopes {
        let scope = text.keep(scope)?;
        if is_list {
            for token in words(scope, &text.0) {
                add_once(&mut lists, token, &text.0);
            }
        } else {
            add_once(&mut lists, scope, &text.0);
        }
    }
    let groups_from = lists.len();
    for group in groups {
        lists.push(text.keep(group)?);
    }
    let mut keep = |string| text.keep(string);
    let (issuer, subject) = (keep(issuer)?, keep(subject)?);
    let client_id = client_id.map(&mut keep).transpose()?;
    let user_id = user_id.map(&mut keep).transpose()?;
    let token_id = token_id.map(&mut keep).transpose()?;
    let text = text.0.into_boxed_str();
    let role = {
        let groups = lists.iter().skip(groups_from);
        server.roles.role_of(groups.map(|group| group.of(&text)))
    };
    Ok(Verified {
        text,
        payload: span,
        issuer,
        subject,
        client_id,
        user_id,
        token_id,
        lists: lists.into_boxed_slice(),
        groups_from,
        role,
        times,
    })
}

/// A payload; behind it, what its strings say that are written with escapes.
struct Text(String);

impl Text {
    fn keep(&mut self, string: RawString) -> Result<Span, Malformed> {
        if !string.is_escaped {
            return Ok(string.span);
        }
        let unescaped = string.unescape(&self.0)?.into_owned();
        let start = self.0.len();
        self.0.push_str(&unescaped);
        Span::new(start, self.0.len()).ok_or(Malformed)
    }
}

type RawStrings<T> = SmallVec<[T; 16]>;

/// `scope`, a string of tokens between spaces (RFC 9068 §2.2.3), and Okta's `scp`, an array;
/// authorization servers mix the two, so each may have either shape. With each string: whether it
/// is a list of tokens.
fn scopes(claims: Object<'_>) -> Result<RawStrings<(RawString, bool)>, Malformed> {
    let mut scopes = RawStrings::new();
    for name in ["scope", "scp"] {
        let strings = claims.string_or_strings(name)?;
        let is_list = strings.is_lone();
        for string in strings {
            scopes.push((string?, is_list));
        }
    }
    Ok(scopes)
}

/// What stands between spaces.
fn words(span: Span, text: &str) -> impl Iterator<Item = Span> {
    let mut start = span.start();
    span.of(text).split(' ').filter_map(move |word| {
        let word = Span::new(start, start + word.len());
        start = word?.end() + 1;
        word
    })
}

fn add_once(list: &mut Vec<Span>, token: Span, text: &str) {
    if token.len() > 0 && !list.iter().any(|seen| seen.of(text) == token.of(text)) {
        list.push(token);
    }
}

fn groups(claims: Object<'_>, path: &[String]) -> Result<RawStrings<RawString>, Malformed> {
    match path {
        [] => Ok(RawStrings::new()),
        [name] => claims.strings(name)?.collect(),
        [name, rest @ ..] => match claims.object(name)? {
            Some(members) => groups(Object::new(claims.text(), &members), rest),
            None => Ok(RawStrings::new()),
        },
    }
}
