//! The claims of a token: well formed, for us, and in time.

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::json::{Malformed, Members, Name, Object, RawString, Value};
use crate::{
    access_token::{Granted, Span, Times, Verified},
    authorization_server::{Audience, AuthorizationServer},
    claim::{ClaimPath, ClaimRule, ClaimValue, Demand, ListClaim, ListShape},
    issuer_template::{TENANT_CLAIM, Tenants},
    rejection::{Rejection, RejectionKind},
    scope::ScopeHierarchy,
    time::UnixTime,
};

/// Whether the claims are those of something that is not an access token, by what only such things
/// carry: logout tokens and security events `events`; ID tokens `nonce` and hashes of what they
/// were issued with (OpenID Connect Core §2, §3.3.2.11); Okta's ID tokens a `jti` of this form. Or by
/// what some authorization servers' ID tokens lack: the client.
pub(crate) fn is_other_kind(claims: Object<'_>, server: &AuthorizationServer) -> bool {
    let is_id_token = || {
        ["nonce", "at_hash", "c_hash"]
            .iter()
            .any(|name| claims.has(name))
            || matches!(claims.string("jti"), Ok(Some(jti)) if jti.starts_with("ID."))
    };
    let has_client = || server.client_claims.iter().any(|name| claims.has(name));
    claims.has("events")
        || (!server.id_tokens_accepted
            && (is_id_token() || (server.client_required && !has_client())))
}

/// Whether an introspection endpoint says that it is a refresh token, which it is asked about in the same
/// way.
pub(crate) fn is_refresh_token(claims: Object<'_>) -> bool {
    ["token_use", "token_type"].iter().any(|name| {
        let kind = claims.string(name);
        matches!(kind, Ok(Some(kind)) if kind.to_ascii_lowercase().starts_with("refresh"))
    })
}

/// What is asked of the claims before the signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Binding,
    Kind,
    Audience,
    Client,
    Claims,
    Times,
}

impl Check {
    /// In this order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Binding,
        Self::Kind,
        Self::Audience,
        Self::Client,
        Self::Claims,
        Self::Times,
    ];

    pub(crate) fn run(
        self,
        now: UnixTime,
        leeway: Duration,
        server: &AuthorizationServer,
        claims: Object<'_>,
    ) -> Result<(), RejectionKind> {
        let tells_kind = |rule: &&ClaimRule| rule.otherwise == RejectionKind::TokenTypeRejected;
        let mut rules = server.claim_rules.iter();
        match self {
            // RFC 9449 §7.2, RFC 8705 §3: bound to a key of the client's. Nothing here could check that
            // the sender has it, and taking it as a plain bearer token would undo what it is for.
            Self::Binding if claims.has("cnf") => Err(RejectionKind::BindingMissing),
            Self::Binding => Ok(()),
            // Before the others, since a token of another kind has other claims.
            Self::Kind => rules
                .filter(tells_kind)
                .try_for_each(|rule| judge_rule(rule, claims)),
            Self::Audience => judge_audience(server, claims),
            Self::Client => judge_client(server, claims),
            Self::Claims => rules.try_for_each(|rule| judge_rule(rule, claims)),
            Self::Times => {
                let times = read_times(server, claims).map_err(malformed)?;
                judge_times(now, leeway, &times)
            }
        }
    }
}

/// Whether the token is for us and in time, if it is what it says. Looked at before the signature,
/// since it costs little: what passes is not verified yet, and what does not is refused either way.
pub(crate) fn judge(
    now: UnixTime,
    leeway: Duration,
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Result<Times, RejectionKind> {
    for check in Check::ALL {
        check.run(now, leeway, server, claims)?;
    }
    read_times(server, claims).map_err(malformed)
}

/// Whether it is for one of the audiences that are accepted (RFC 7519 §4.1.3).
fn judge_audience(server: &AuthorizationServer, claims: Object<'_>) -> Result<(), RejectionKind> {
    let accepts = |audience: &str| match &server.audience {
        Audience::Any => true,
        Audience::AnyOf(accepted) => accepted.iter().any(|accepted| accepted == audience),
    };
    let is_for_us = |name: &str| {
        let mut is_accepted = matches!(server.audience, Audience::Any);
        for audience in claims.string_or_strings(name)?.unescaped() {
            is_accepted |= accepts(&audience?);
        }
        Ok(is_accepted)
    };
    let name = &*server.audience_claim;
    // Where another claim is the audience, an `aud` that is there must be one of ours as well.
    let also = (name != "aud" && claims.has("aud")).then_some("aud");
    for name in std::iter::once(name).chain(also) {
        if is_for_us(name).map_err(malformed)? {
            continue;
        }
        return Err(if claims.has(name) {
            RejectionKind::AudienceMismatch
        } else {
            RejectionKind::ClaimInvalid
        });
    }
    Ok(())
}

fn malformed(_: Malformed) -> RejectionKind {
    RejectionKind::ClaimInvalid
}

fn judge_client(server: &AuthorizationServer, claims: Object<'_>) -> Result<(), RejectionKind> {
    let client_id = client_id(server, claims).map_err(malformed)?;
    let is_allowed = |client: &str| match (&server.allowed_clients, &server.audience) {
        (Some(allowed), _) => allowed.contains(client),
        (None, Audience::AnyOf(audiences)) if server.client_is_audience => {
            audiences.iter().any(|audience| audience == client)
        }
        (None, _) => true,
    };
    if server.allowed_clients.is_none() && !server.client_is_audience {
        return Ok(());
    }
    let client_id = client_id
        .map(|client_id| client_id.unescape(claims.text()))
        .transpose()
        .map_err(malformed)?;
    if client_id.is_some_and(|client_id| is_allowed(&client_id)) {
        Ok(())
    } else {
        Err(RejectionKind::ClientNotAllowed)
    }
}

/// By whichever claim it is written in; if by several, they agree.
fn client_id(
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Result<Option<RawString>, Malformed> {
    let mut found: Option<RawString> = None;
    for name in &server.client_claims {
        let client_id = claims.raw_string(name)?;
        if let (Some(found), Some(client_id)) = (found, client_id)
            && found.unescape(claims.text())? != client_id.unescape(claims.text())?
        {
            return Err(Malformed);
        }
        found = found.or(client_id);
    }
    Ok(found)
}

/// The rejection of this kind, with what would help: another context does not, where the token lacks
/// something else.
pub(crate) fn rejection(
    server: &AuthorizationServer,
    kind: RejectionKind,
    claims: Object<'_>,
) -> Rejection {
    let mut rules = server.claim_rules.iter();
    let lacks_context =
        |rule: &ClaimRule| rule.path.names() == ["acr"] && judge_rule(rule, claims).is_err();
    if kind == RejectionKind::StepUpRequired && !rules.any(lacks_context) {
        return kind.into();
    }
    server.rejection(kind)
}

fn judge_rule(rule: &ClaimRule, claims: Object<'_>) -> Result<(), RejectionKind> {
    let is_met = at_path(claims, rule.path.names(), |value| {
        Ok(match (&rule.demand, value) {
            (Demand::Present, value) => value.is_some_and(|value| value.text() != "null"),
            (Demand::Absent, value) => value.is_none(),
            (Demand::OneOf(_), None) => false,
            (Demand::OneOf(accepted), Some(value)) => match value.elements() {
                Some(mut elements) => elements.any(|element| is_one_of(element, accepted)),
                None => is_one_of(value, accepted),
            },
        })
    });
    if is_met.map_err(malformed)? {
        Ok(())
    } else {
        Err(rule.otherwise)
    }
}

fn is_one_of(value: Value<'_>, accepted: &[ClaimValue]) -> bool {
    let text = value.text();
    let string = value.string().ok();
    let string = string.and_then(|string| value.unescaped(string).ok());
    accepted.iter().any(|accepted| match accepted {
        ClaimValue::String(accepted) => string.as_deref() == Some(accepted),
        ClaimValue::Integer(accepted) => text.parse() == Ok(*accepted),
        ClaimValue::Bool(true) => text == "true",
        ClaimValue::Bool(false) => text == "false",
    })
}

/// What `look` makes of the value at a path; of `None`, if there is no such value. What stands on the
/// way to it is an object.
fn at_path<T>(
    claims: Object<'_>,
    path: &[String],
    look: impl FnOnce(Option<Value<'_>>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let Some((first, rest)) = path.split_first() else {
        return look(None);
    };
    let mut value = claims.value(first);
    for name in rest {
        let Some(object) = value else { break };
        value = object.member(name)?;
    }
    look(value)
}

/// The tenant of a token, if it is one of those that are trusted: in its issuer, and the same in its
/// claim.
pub(crate) fn tenant_of<'a>(
    tenants: &Tenants,
    claims: Object<'a>,
) -> Result<Cow<'a, str>, RejectionKind> {
    let tenant = claims.string(TENANT_CLAIM).map_err(malformed)?;
    let issuer = claims.string("iss").map_err(malformed)?;
    match (tenant, issuer) {
        (Some(tenant), Some(issuer)) if tenants.of_issuer(&issuer) == Some(&*tenant) => Ok(tenant),
        (None, _) => Err(RejectionKind::ClaimInvalid),
        _ => Err(RejectionKind::ClaimRejected),
    }
}

fn read_times(server: &AuthorizationServer, claims: Object<'_>) -> Result<Times, Malformed> {
    let issued_at = claims.numeric_date("iat")?;
    let too_old_at = match (server.max_token_age, issued_at) {
        (None, _) => None,
        (Some(age), Some(issued_at)) => Some(issued_at.saturating_add(age)),
        (Some(_), None) => return Err(Malformed),
    };
    Ok(Times {
        not_before: claims.numeric_date("nbf")?,
        issued_at,
        expires_at: claims.numeric_date("exp")?.ok_or(Malformed)?,
        too_old_at,
    })
}

/// RFC 7519 §4.1.4 to §4.1.6: not on or after `exp`, not before `nbf`, nor before it was issued. And
/// not issued too long ago.
pub(crate) fn judge_times(
    now: UnixTime,
    leeway: Duration,
    times: &Times,
) -> Result<(), RejectionKind> {
    // Most need no leeway, and it is not added for them.
    let is_over = |at: UnixTime| now >= at && now >= at.saturating_add(leeway);
    let is_ahead = |start: UnixTime| start > now && start > now.saturating_add(leeway);
    if is_over(times.expires_at) {
        return Err(RejectionKind::TokenExpired);
    }
    if times.not_before.is_some_and(is_ahead) || times.issued_at.is_some_and(is_ahead) {
        return Err(RejectionKind::TokenNotYetValid);
    }
    if times.too_old_at.is_some_and(is_over) {
        return Err(RejectionKind::TokenTooOld);
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
    let issuer = claims.raw_string("iss")?.ok_or(Malformed)?;
    let client_id = client_id(server, claims)?;
    let subject = match claims.raw_string("sub")? {
        None if server.subject_may_be_client => client_id,
        subject => subject,
    };
    let subject = subject.ok_or(Malformed)?;
    if subject.unescape(claims.text())?.is_empty() {
        return Err(Malformed);
    }
    let token_id = claims.raw_string("jti")?;
    let user_id = match &server.user_id_claim {
        Some(name) => claims.raw_string(name)?,
        None => None,
    };
    let scopes = scopes(server, claims)?;
    let groups = Groups::read(server, claims)?;
    let groups_complete = are_groups_complete(server, claims)?;

    let span = Span::new(0, payload.len()).ok_or(Malformed)?;
    let mut text = Text(mem::take(payload));
    // What names of groups say that do not stand in the payload as they are, follows it.
    text.0.push_str(&groups.beside);
    let mut lists = Vec::with_capacity(scopes.len() + groups.list.len());
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
    if !server.scope_hierarchy.is_empty() {
        text.include(&mut lists, &server.scope_hierarchy)?;
    }
    let groups_from = lists.len();
    let mut claims_of_groups = RawStrings::new();
    for (group, claim) in groups.list {
        let group = text.keep(group)?;
        if is_kept(&server.group_filter, group.of(&text.0)) {
            lists.push(group);
            claims_of_groups.push(claim);
        }
    }
    let mut keep = |string| text.keep(string);
    let (issuer, subject) = (keep(issuer)?, keep(subject)?);
    let client_id = client_id.map(&mut keep).transpose()?;
    let user_id = user_id.map(&mut keep).transpose()?;
    let token_id = token_id.map(&mut keep).transpose()?;
    let text = text.0.into_boxed_str();
    let groups = lists.iter().skip(groups_from).map(|group| group.of(&text));
    let granted = match server.roles.grant_of(groups) {
        None => None,
        Some((role, at)) => Some(Granted {
            role,
            group: at.try_into().map_err(|_| Malformed)?,
            claim: *claims_of_groups.get(at).ok_or(Malformed)?,
        }),
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
        groups_complete,
        granted,
        groups_claims: Arc::clone(&server.groups_claims),
        times,
    })
}

/// A payload; behind it, what its strings say that are written with escapes, and what else is not in
/// it as it is.
struct Text(String);

impl Text {
    fn keep(&mut self, string: RawString) -> Result<Span, Malformed> {
        if !string.is_escaped {
            return Ok(string.span);
        }
        let unescaped = string.unescape(&self.0)?.into_owned();
        self.add(&unescaped)
    }

    fn add(&mut self, text: &str) -> Result<Span, Malformed> {
        let start = self.0.len();
        self.0.push_str(text);
        Span::new(start, self.0.len()).ok_or(Malformed)
    }

    /// Adds the scope tokens that those of the list include, and those that they include.
    fn include(
        &mut self,
        scopes: &mut Vec<Span>,
        hierarchy: &ScopeHierarchy,
    ) -> Result<(), Malformed> {
        let mut at = 0;
        while let Some(scope) = scopes.get(at) {
            for included in hierarchy.included_in(scope.of(&self.0)) {
                if !scopes.iter().any(|seen| seen.of(&self.0) == included) {
                    scopes.push(self.add(included)?);
                }
            }
            at += 1;
        }
        Ok(())
    }
}

type RawStrings<T> = SmallVec<[T; 16]>;

/// Each a string of tokens between spaces, as `scope` is (RFC 9068 §2.2.3), or an array of them, as
/// Okta's `scp` is; authorization servers mix the two. With each string: whether it is a list of
/// tokens.
fn scopes(
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Result<RawStrings<(RawString, bool)>, Malformed> {
    let mut scopes = RawStrings::new();
    for name in &server.scope_claims {
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

/// The groups of a token.
struct Groups {
    /// With each: which of the claims it stands in.
    list: RawStrings<(RawString, u8)>,
    /// What follows the payload: groups that do not stand in it as they are.
    beside: String,
    payload: usize,
}

impl Groups {
    fn read(server: &AuthorizationServer, claims: Object<'_>) -> Result<Self, Malformed> {
        let mut groups = Self::none_of(claims);
        for (claim, number) in server.groups_claims.iter().zip(0..=u8::MAX) {
            groups.add(claims, claim, number)?;
        }
        Ok(groups)
    }

    fn none_of(claims: Object<'_>) -> Self {
        Self {
            list: RawStrings::new(),
            beside: String::new(),
            payload: claims.text().len(),
        }
    }

    fn add(&mut self, claims: Object<'_>, claim: &ListClaim, number: u8) -> Result<(), Malformed> {
        at_path(claims, claim.path.names(), |value| match value {
            Some(value) => self.add_from(value, &claim.shape, number),
            None => Ok(()),
        })
    }

    fn add_from(
        &mut self,
        value: Value<'_>,
        shape: &ListShape,
        claim: u8,
    ) -> Result<(), Malformed> {
        match shape {
            ListShape::Strings => {
                for string in value.strings()? {
                    self.list.push((string?, claim));
                }
            }
            ListShape::String => self.list.push((value.string()?, claim)),
            ListShape::SpaceSeparated => self.add_split(value, ' ', claim)?,
            ListShape::CommaSeparated => self.add_split(value, ',', claim)?,
            ListShape::ObjectKeys => match value.elements() {
                Some(elements) => {
                    for element in elements {
                        self.add_keys(element, claim)?;
                    }
                }
                None => self.add_keys(value, claim)?,
            },
            ListShape::Field(name) => {
                for element in value.elements().ok_or(Malformed)? {
                    let members = element.members()?;
                    let object = Object::new(element.whole_text(), &members);
                    let name = object.raw_string(name)?.ok_or(Malformed)?;
                    self.list.push((name, claim));
                }
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, value: Value<'_>, claim: u8) -> Result<(), Malformed> {
        let members = value.members()?;
        for name in Object::new(value.whole_text(), &members).names() {
            let name = match name {
                Name::InText(span) => RawString::plain(span),
                Name::Unescaped(name) => self.keep_beside(name)?,
            };
            self.list.push((name, claim));
        }
        Ok(())
    }

    fn add_split(&mut self, value: Value<'_>, at: char, claim: u8) -> Result<(), Malformed> {
        for name in value.unescaped(value.string()?)?.split(at) {
            let name = name.trim_matches(' ');
            if !name.is_empty() {
                let name = self.keep_beside(name)?;
                self.list.push((name, claim));
            }
        }
        Ok(())
    }

    fn keep_beside(&mut self, name: &str) -> Result<RawString, Malformed> {
        let start = self.payload + self.beside.len();
        self.beside.push_str(name);
        let span = Span::new(start, start + name.len()).ok_or(Malformed)?;
        Ok(RawString::plain(span))
    }
}

/// Whether groups stand where they are read from, and not elsewhere: as a distributed claim (OpenID
/// Connect Core §5.6.2), or as Entra says it of too many (`hasgroups`).
fn are_groups_complete(
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Result<bool, Malformed> {
    let has_elsewhere = claims
        .value("hasgroups")
        .is_some_and(|v| v.text() != "false");
    if has_elsewhere {
        return Ok(false);
    }
    let Some(members) = claims.object("_claim_names")? else {
        return Ok(true);
    };
    let elsewhere = Object::new(claims.text(), &members);
    let is_elsewhere = |claim: &ListClaim| {
        claim
            .path
            .names()
            .first()
            .is_some_and(|name| elsewhere.has(name))
    };
    Ok(!server.groups_claims.iter().any(is_elsewhere))
}

/// The rules that the claims do not meet.
pub(crate) fn failed_rules<'s>(
    server: &'s AuthorizationServer,
    claims: Object<'_>,
) -> Vec<&'s ClaimRule> {
    let is_failed = |rule: &&ClaimRule| judge_rule(rule, claims).is_err();
    server.claim_rules.iter().filter(is_failed).collect()
}

/// The first of the claims that are looked at whatever the policy asks for that is missing or is not what
/// it has to be, and that. In the order in which they are judged and [read].
pub(crate) fn misread(
    server: &AuthorizationServer,
    claims: Object<'_>,
) -> Option<(ClaimPath, &'static str)> {
    let named = |name: &str, expected| Some((ClaimPath::nested([name]), expected));
    let is_string = |name: &&str| claims.string(name).is_ok();
    let mut clients = server.client_claims.iter().map(String::as_str);
    if let Some(name) = clients.find(|name| !is_string(name)) {
        return named(name, "a string");
    }
    let Ok(client) = client_id(server, claims) else {
        let name = server.client_claims.last()?;
        return named(name, "the client that the other claims name");
    };
    let time = ["exp", "nbf", "iat"].into_iter().find(|name| {
        let is_needed = *name == "exp" || (*name == "iat" && server.max_token_age.is_some());
        match claims.numeric_date(name) {
            Ok(time) => is_needed && time.is_none(),
            Err(_) => true,
        }
    });
    if let Some(name) = time {
        return named(name, "a number of seconds");
    }
    let has_subject = match claims.string("sub") {
        Ok(None) => server.subject_may_be_client && client.is_some(),
        Ok(Some(subject)) => !subject.is_empty(),
        Err(_) => false,
    };
    if !has_subject {
        return named("sub", "a non-empty string");
    }
    let mut strings = std::iter::once("jti").chain(server.user_id_claim.as_deref());
    if let Some(name) = strings.find(|name| !is_string(name)) {
        return named(name, "a string");
    }
    let are_scopes = |name: &String| {
        let strings = claims.string_or_strings(name);
        strings.is_ok_and(|strings| strings.unescaped().all(|string| string.is_ok()))
    };
    if let Some(name) = server.scope_claims.iter().find(|name| !are_scopes(name)) {
        return named(name, "a string, or a list of strings");
    }
    let are_groups = |claim: &ListClaim| Groups::none_of(claims).add(claims, claim, 0).is_ok();
    if let Some(claim) = server.groups_claims.iter().find(|claim| !are_groups(claim)) {
        return Some((claim.path.clone(), form_of(&claim.shape)));
    }
    let are_elsewhere = are_groups_complete(server, claims);
    are_elsewhere
        .err()
        .and_then(|_| named("_claim_names", "an object"))
}

const fn form_of(shape: &ListShape) -> &'static str {
    match shape {
        ListShape::Strings => "a list of strings",
        ListShape::String => "a string",
        ListShape::SpaceSeparated => "a string, with spaces between names",
        ListShape::CommaSeparated => "a string, with commas between names",
        ListShape::ObjectKeys => "an object, or a list of objects, whose keys are names",
        ListShape::Field(_) => "a list of objects with a name in each",
    }
}

/// Whether a group fits one of the patterns, if there are any.
fn is_kept(patterns: &[String], group: &str) -> bool {
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => group.starts_with(start),
                None => group == pattern,
            })
}
