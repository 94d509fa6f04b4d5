//! A token on its way through the checks, and what is said of each.

use std::{sync::Arc, time::Duration};

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::report::{CheckReport, ServerReport};
use crate::{
    access_token::AccessToken,
    authorization_server::{Audience, AuthorizationServer},
    claim::{ClaimPath, ClaimRule, ClaimValue, Demand, ListClaim},
    rejection::{Rejection, RejectionKind},
    time::UnixTime,
    verify::{Check, KeySet, SecondLook},
};

pub(super) const FORM: &str = "form";
pub(super) const ISSUER: &str = "issuer";
pub(super) const ALGORITHM: &str = "algorithm";
pub(super) const KIND: &str = "kind of token";
pub(super) const KEY: &str = "key";
pub(super) const TENANT: &str = "tenant";
pub(super) const BINDING: &str = "sender constraint";
const AUDIENCE: &str = "audience";
const CLIENT: &str = "client";
const CLAIMS: &str = "required claims";
const TIMES: &str = "times";
pub(super) const SIGNATURE: &str = "signature";
const TYPES: &str = "types of claims";

pub(super) const AN_ACCESS_TOKEN: &str = "an access token, by all that it says";

/// In the order in which they are made.
const CHECKS: [&str; 13] = [
    FORM, ISSUER, ALGORITHM, KIND, KEY, TENANT, BINDING, AUDIENCE, CLIENT, CLAIMS, TIMES,
    SIGNATURE, TYPES,
];
/// A token on its way through the checks.
pub(super) struct Walk {
    pub(super) servers: Vec<ServerReport>,
    pub(super) checks: Vec<CheckReport>,
    pub(super) now: UnixTime,
    leeway: Duration,
    /// What the token says; nobody verified it.
    header: Value,
    claims: Value,
    /// The claims, as they are written.
    payload: String,
    /// The groups that grant a role, and the claims that groups are read from, once it is known whose
    /// token it is.
    pub(super) granting: Vec<String>,
    pub(super) groups_claims: Arc<[ListClaim]>,
}

impl Walk {
    pub(super) fn new(token: &str, now: UnixTime, leeway: Duration) -> Self {
        let mut parts = token.split('.').map(|part| {
            let text = URL_SAFE_NO_PAD.decode_to_vec(part).ok()?;
            String::from_utf8(text).ok()
        });
        let mut part = || parts.next().flatten().unwrap_or_default();
        let checks = CHECKS.map(|name| CheckReport {
            name,
            passed: None,
            detail: String::new(),
        });
        let mut walk = Self {
            servers: Vec::new(),
            checks: checks.into(),
            now,
            leeway,
            header: serde_json::from_str(&part()).unwrap_or_default(),
            claims: Value::Null,
            payload: String::new(),
            granting: Vec::new(),
            groups_claims: Arc::default(),
        };
        walk.reads(part());
        walk
    }

    /// These are the claims.
    pub(super) fn reads(&mut self, payload: String) {
        self.claims = serde_json::from_str(&payload).unwrap_or_default();
        self.payload = payload;
    }

    fn set(&mut self, name: &str, passed: bool, detail: impl Into<String>) {
        if let Some(check) = self.checks.iter_mut().find(|check| check.name == name) {
            check.passed = Some(passed);
            check.detail = detail.into();
        }
    }

    pub(super) fn passes(&mut self, name: &str, detail: impl Into<String>) {
        self.set(name, true, detail);
    }

    pub(super) fn fails(
        &mut self,
        name: &str,
        rejection: Rejection,
        detail: impl Into<String>,
    ) -> Result<AccessToken, Rejection> {
        self.set(name, false, detail);
        Err(rejection)
    }

    /// All that come before one passed.
    pub(super) fn passes_up_to(
        &mut self,
        end: Option<&str>,
        server: &AuthorizationServer,
        keys: &KeySet,
    ) {
        self.granting = server.roles.groups().map(str::to_owned).collect();
        self.groups_claims = Arc::clone(&server.groups_claims);
        let after_key = [
            KIND, KEY, TENANT, BINDING, AUDIENCE, CLIENT, CLAIMS, TIMES, SIGNATURE, TYPES,
        ];
        for name in after_key {
            // Its claims are looked at a second time for that, after the key.
            let is_end = if end == Some(KIND) {
                name == AUDIENCE
            } else {
                Some(name) == end
            };
            if is_end {
                return;
            }
            let detail = match name {
                KIND => AN_ACCESS_TOKEN.to_owned(),
                KEY if keys.is_empty() => "none is needed".to_owned(),
                KEY => self.header("kid"),
                TENANT if server.tenants.is_none() => "one issuer, one tenant".to_owned(),
                TENANT => self.claim("tid"),
                BINDING => "none, a plain bearer token".to_owned(),
                AUDIENCE => self.claim(&server.audience_claim),
                CLIENT if server.allowed_clients.is_none() && !server.client_is_audience => {
                    "any will do".to_owned()
                }
                CLIENT => self.clients(server),
                CLAIMS if server.claim_rules.is_empty() => "none".to_owned(),
                CLAIMS => {
                    let rules = server.claim_rules.iter();
                    list(rules.map(|rule| self.claim_at(&rule.path)), ", ")
                }
                TIMES => self.times(),
                SIGNATURE if keys.is_empty() => {
                    "the authorization server says that it is active".to_owned()
                }
                SIGNATURE => "it is of that key".to_owned(),
                _ => "as they should be".to_owned(),
            };
            self.passes(name, detail);
        }
    }

    /// A parameter of the header, as it is shown.
    pub(super) fn header(&self, name: &str) -> String {
        shown(name, self.header.get(name))
    }

    fn claim(&self, name: &str) -> String {
        shown(name, self.claims.get(name))
    }

    fn value_at(&self, path: &ClaimPath) -> Option<&Value> {
        let mut names = path.names().iter();
        names.try_fold(&self.claims, |value, name| value.get(name))
    }

    fn claim_at(&self, path: &ClaimPath) -> String {
        shown(&path.to_string(), self.value_at(path))
    }

    fn clients(&self, server: &AuthorizationServer) -> String {
        let claims = server.client_claims.iter();
        let named = claims.filter(|claim| self.claims.get(claim.as_str()).is_some());
        let named = list(named.map(|claim| self.claim(claim)), ", ");
        if named.is_empty() {
            format!("no `{}`", server.client_claims.join("` or `"))
        } else {
            named
        }
    }

    /// The check that the claims do not pass; the last, if they pass all that are made before it.
    pub(super) fn refused_at(&self, server: &AuthorizationServer) -> &'static str {
        let Some(look) = SecondLook::at(&self.payload) else {
            return TYPES;
        };
        if !look.is_of_trusted_tenant(server) {
            return TENANT;
        }
        match look.failed_check(server, self.now, self.leeway) {
            Some(Check::Binding) => BINDING,
            Some(Check::Kind) => KIND,
            Some(Check::Audience) => AUDIENCE,
            Some(Check::Client) => CLIENT,
            Some(Check::Claims) => CLAIMS,
            Some(Check::Times) => TIMES,
            None => TYPES,
        }
    }

    fn seconds(&self, name: &str) -> Option<u64> {
        let number = self.claims.get(name)?;
        number
            .as_u64()
            .or_else(|| Some(number.as_f64()?.max(0.0) as u64))
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "a JWT with {}, {}, {}",
            self.header("alg"),
            self.header("kid"),
            self.header("typ")
        )
    }

    pub(super) fn why_not_a_token(&self) -> String {
        if self.header.get("crit").is_some() || self.header.get("b64").is_some() {
            return "its header has critical parameters, of which none is understood".to_owned();
        }
        match self.header.get("typ") {
            Some(typ) => format!("its type is {typ}, and not that of an access token"),
            None => "it is not one token, or has characters that tokens have not: was a part of it cut off, or quoted?".to_owned(),
        }
    }

    pub(super) fn why_not_this_algorithm(&self, server: &AuthorizationServer) -> String {
        let accepted: Vec<_> = server.algorithms.iter().map(|alg| alg.as_str()).collect();
        let accepted = accepted.join(", ");
        let alg = self
            .header
            .get("alg")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let advice = if alg.starts_with("HS") {
            "the authorization server signs with a secret that it shares, so that whoever can check tokens can make them: have it sign with a key"
        } else {
            "if it signs with that, add it to the algorithms that are accepted"
        };
        format!(
            "{} is not accepted, but {accepted}: {advice}",
            self.header("alg")
        )
    }

    pub(super) fn why_another_kind(&self, server: &AuthorizationServer) -> String {
        if self.claims.get("events").is_some() {
            return "it has `events`, as logout tokens and security events do".to_owned();
        }
        let id_token = |mark: &str| {
            format!(
                "an ID token, for it has {mark}: send the access token instead, which the client got with it"
            )
        };
        let marks = ["nonce", "at_hash", "c_hash"];
        if let Some(mark) = marks.iter().find(|mark| self.claims.get(**mark).is_some()) {
            return id_token(&format!("`{mark}`"));
        }
        let jti = self.claims.get("jti").and_then(Value::as_str);
        if jti.is_some_and(|jti| jti.starts_with("ID.")) {
            return id_token("a `jti` that begins with \"ID.\"");
        }
        let tells_refresh = |name: &&str| {
            let kind = self.claims.get(*name).and_then(Value::as_str);
            kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("refresh"))
        };
        if let Some(name) = ["token_use", "token_type"].into_iter().find(tells_refresh) {
            return format!("a refresh token, by {}", self.claim(name));
        }
        if server.at_jwt_required {
            return format!("{}, where only `at+jwt` is accepted", self.header("typ"));
        }
        let claims = server.client_claims.join("` or `");
        format!("an ID token, for it names no client (`{claims}`): send the access token instead")
    }

    fn times(&self) -> String {
        let (now, exp) = (self.now.as_secs(), self.seconds("exp").unwrap_or_default());
        format!(
            "it expires in {}, on {}",
            span(exp.saturating_sub(now)),
            date(exp)
        )
    }

    pub(super) fn why_not(
        &self,
        at: &str,
        kind: RejectionKind,
        server: &AuthorizationServer,
        keys: &KeySet,
    ) -> String {
        let now = self.now.as_secs();
        let kids: Vec<_> = keys.kids().collect();
        match (at, kind) {
            (KEY, RejectionKind::KeyUnknown) if self.header.get("kid").is_none() => format!(
                "the token does not name its key, and none of those of {} fits",
                server.issuer()
            ),
            (KEY, RejectionKind::KeyUnknown) => format!(
                "{} is not among the keys of {}, which are {}: the token is of another environment or authorization server, or its key was withdrawn",
                self.header("kid"), server.issuer(), kids.join(", ")
            ),
            (KEY, RejectionKind::KeyAmbiguous) => {
                "the token does not name its key, and several would fit".to_owned()
            }
            (KEY, _) => format!("the key with {} is for another algorithm", self.header("kid")),
            (TENANT, RejectionKind::ClaimInvalid) => {
                format!("{}, which has to say whose token it is", self.claim("tid"))
            }
            (TENANT, _) => format!(
                "{} is not the tenant of its issuer, or the key is not one that signs for it",
                self.claim("tid")
            ),
            (SIGNATURE, _) => "it is not of the key that the token names: the token was changed, or it is of another environment whose keys have the same ids".to_owned(),
            (BINDING, _) => "the token is bound to a key of its client (`cnf`), which is not checked here: have the client ask for a plain bearer token".to_owned(),
            (KIND, _) => self.why_not_by_rules(KIND, server)
                .unwrap_or_else(|| self.why_another_kind(server)),
            (AUDIENCE, _) => self.why_not_the_audience(server),
            (CLIENT, RejectionKind::ClientNotAllowed) => {
                format!("its client, {}, is not on the list", self.clients(server))
            }
            (CLAIMS, _) => {
                let why = self.why_not_by_rules(CLAIMS, server).unwrap_or_default();
                if kind == RejectionKind::StepUpRequired {
                    format!("{why}. The user has to sign in again, in a way that gives it that")
                } else {
                    why
                }
            }
            (TIMES, RejectionKind::TokenExpired) => {
                let exp = self.seconds("exp").unwrap_or_default();
                format!(
                    "it expired {} ago, on {}: the client has to get another",
                    span(now.saturating_sub(exp)), date(exp)
                )
            }
            (TIMES, RejectionKind::TokenNotYetValid) => {
                let start = self.seconds("nbf").max(self.seconds("iat")).unwrap_or_default();
                format!(
                    "it is valid in {}, on {}: is the clock of this machine right? It says {}",
                    span(start.saturating_sub(now)), date(start), date(now)
                )
            }
            (TIMES, RejectionKind::TokenTooOld) => self.why_too_old(server),
            (ISSUER, _) => format!("the answer is about a token of {}", self.claim("iss")),
            _ => self.why_misread(server),
        }
    }

    fn why_too_old(&self, server: &AuthorizationServer) -> String {
        let issued = self.seconds("iat").unwrap_or_default();
        format!(
            "it was issued {} ago, on {}, where {} are accepted, and {} of leeway: the client has to get another",
            span(self.now.as_secs().saturating_sub(issued)),
            date(issued),
            span(server.max_token_age.unwrap_or_default().as_secs()),
            span(self.leeway.as_secs())
        )
    }

    fn why_not_the_audience(&self, server: &AuthorizationServer) -> String {
        let accepted: &[String] = match &server.audience {
            Audience::AnyOf(accepted) => accepted,
            Audience::Any => &[],
        };
        let is_accepted = |name: &&str| {
            let found = self.claims.get(*name).and_then(strings);
            found.is_some_and(|found| {
                server.audience == Audience::Any
                    || found
                        .iter()
                        .any(|found| accepted.iter().any(|a| a == found))
            })
        };
        let names = [&*server.audience_claim, "aud"];
        let name = names.iter().find(|name| !is_accepted(name));
        let name = name.unwrap_or(&"aud");
        let claim = self.claim(name);
        let found = match self.claims.get(*name) {
            None => Vec::new(),
            Some(value) => match strings(value) {
                Some(found) => found,
                None => return format!("{claim} is neither a string nor a list of strings"),
            },
        };
        for (found, accepted) in found
            .iter()
            .flat_map(|f| accepted.iter().map(move |a| (f, a)))
        {
            if let Some(difference) = difference(found, accepted) {
                return format!(
                    "{found:?} is not {accepted:?}: they differ in {difference}, and audiences are compared exactly. Write it as the token has it: `…_AUDIENCE` in the settings"
                );
            }
        }
        let this_api = match &found[..] {
            [] => String::new(),
            [found] => {
                format!("; or, if this API is {found:?}, accept that: `…_AUDIENCE` in the settings")
            }
            _ => "; or, if this API is one of these, accept that: `…_AUDIENCE` in the settings"
                .to_owned(),
        };
        let accepted = list(
            accepted.iter().map(|accepted| format!("{accepted:?}")),
            " or ",
        );
        format!(
            "{claim}, where {accepted} is accepted: have the client ask for a token for this API{this_api}"
        )
    }

    /// What the policy asks for and the token does not have; of the kind of token, or else.
    fn why_not_by_rules(&self, at: &str, server: &AuthorizationServer) -> Option<String> {
        let look = SecondLook::at(&self.payload)?;
        let mut rules = look.failed_rules(server);
        if at == KIND {
            rules.retain(|rule| rule.otherwise == RejectionKind::TokenTypeRejected);
        }
        let why = list(rules.iter().map(|rule| self.why_not_by(rule)), "; ");
        (!why.is_empty()).then_some(why)
    }

    fn why_not_by(&self, rule: &ClaimRule) -> String {
        let path = &rule.path;
        let asked = match &rule.demand {
            Demand::Present => "has to be there".to_owned(),
            Demand::Absent => "must not be there".to_owned(),
            Demand::OneOf(values) => {
                let values = list(values.iter().map(written), " or ");
                format!("has to be or to contain {values}")
            }
        };
        format!(
            "`{path}` {asked}, and the token has {}",
            self.claim_at(path)
        )
    }

    fn why_misread(&self, server: &AuthorizationServer) -> String {
        let look = SecondLook::at(&self.payload);
        let Some((path, expected)) = look.and_then(|look| look.misread(server)) else {
            return "a claim that is read is missing, or written in another way".to_owned();
        };
        let outermost = path.names().first();
        let outermost = outermost.and_then(|name| Some((name, self.claims.get(name)?)));
        match (self.value_at(&path), outermost) {
            (None, Some((name, value))) => format!(
                "{} is not an object, where `{path}` is read",
                shown(name, Some(value))
            ),
            (None, None) => format!("no `{path}`, which has to be {expected}"),
            (Some(_), _) => format!("{} is not {expected}", self.claim_at(&path)),
        }
    }

    /// What a token that is let through may do.
    pub(super) fn grants(&self, token: &AccessToken) -> Vec<String> {
        let role = match token.role_grant() {
            Some(grant) => format!(
                "{}, for the group {:?} in `{}`",
                grant.role, grant.group, grant.claim
            ),
            None if !token.groups_complete() => {
                "none; the token does not name all groups of its user".to_owned()
            }
            None if self.granting.is_empty() => "none: no group grants one".to_owned(),
            None => format!(
                "none: the groups that grant one are {}, compared exactly",
                self.granting.join(", ")
            ),
        };
        vec![
            format!("subject  {}", token.subject()),
            format!("client   {}", token.client_id().unwrap_or("not named")),
            format!("scopes   {}", or_none(list(token.scopes(), ", "))),
            format!("groups   {}", self.groups(token)),
            format!("role     {role}"),
        ]
    }

    /// The groups of a token; where it has no claim that they are read from, that.
    fn groups(&self, token: &AccessToken) -> String {
        let read = &self.groups_claims;
        if read
            .iter()
            .any(|claim| self.value_at(&claim.path).is_some())
        {
            return or_none(list(token.groups(), ", "));
        }
        if read.is_empty() {
            return "none: no claim is read".to_owned();
        }
        let read = list(read.iter().map(|claim| format!("`{}`", claim.path)), " or ");
        let similar = self.like_groups();
        if similar.is_empty() {
            format!("none: read from {read}, which the token does not have")
        } else {
            let similar = list(similar.iter().map(|claim| format!("`{claim}`")), ", ");
            format!(
                "none: read from {read}, which the token does not have. It has {similar}: `…_GROUPS_CLAIM` in the settings says which to read"
            )
        }
    }

    /// Claims that look like groups.
    fn like_groups(&self) -> Vec<ClaimPath> {
        let ends = ["/groups", ":groups", "/roles", ":roles"];
        let names = self.claims.as_object().into_iter().flat_map(|o| o.keys());
        let alike = names.filter(|name| {
            matches!(name.as_str(), "groups" | "roles")
                || ends.iter().any(|end| name.ends_with(end))
        });
        let mut alike: Vec<_> = alike
            .map(|name| ClaimPath::nested([name.as_str()]))
            .collect();
        let of_keycloak = ClaimPath::nested(["realm_access", "roles"]);
        if self.value_at(&of_keycloak).is_some() {
            alike.push(of_keycloak);
        }
        alike
    }
}
fn list<T: AsRef<str>>(items: impl Iterator<Item = T>, between: &str) -> String {
    let mut list = String::new();
    for (at, item) in items.enumerate() {
        if at > 0 {
            list.push_str(between);
        }
        list.push_str(item.as_ref());
    }
    list
}

fn or_none(list: String) -> String {
    if list.is_empty() {
        "none".to_owned()
    } else {
        list
    }
}

/// The token alone, of what may have been copied with it.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    let header = "authorization:";
    let credentials = match text.split_at_checked(header.len()) {
        Some((name, value)) if name.eq_ignore_ascii_case(header) => value.trim_start(),
        _ => text,
    };
    let (scheme, token) = credentials
        .split_once(char::is_whitespace)
        .unwrap_or((credentials, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        token.trim_start()
    } else {
        credentials
    }
}

/// The string, or the strings of a list.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        value => Some(vec![value.as_str()?]),
    }
}

fn written(value: &ClaimValue) -> String {
    match value {
        ClaimValue::String(text) => format!("{text:?}"),
        ClaimValue::Integer(number) => number.to_string(),
        ClaimValue::Bool(truth) => truth.to_string(),
    }
}

/// A member as it stands in JSON, shortened.
fn shown(name: &str, value: Option<&Value>) -> String {
    match value {
        None => format!("no `{name}`"),
        Some(value) => {
            let text = value.to_string();
            let short: String = text.chars().take(120).collect();
            let more = if short.len() < text.len() { "…" } else { "" };
            format!("`{name}` {short}{more}")
        }
    }
}

pub(super) fn form_of(token: &str) -> String {
    let parts = token.split('.').count();
    match parts {
        3 => "three parts, but not a JWT: was it changed on its way, or cut off?".to_owned(),
        5 => "an encrypted token (JWE), which only the one that it is encrypted for can read: have the authorization server sign it alone".to_owned(),
        _ => format!(
            "not a JWT, which has three parts with dots between them, but {parts}: an opaque token. The authorization server writes those where no audience was asked for, or where its settings say so; or introspect them"
        ),
    }
}

/// In what small thing alone two names differ.
pub(super) fn difference(one: &str, other: &str) -> Option<&'static str> {
    let (one, other) = (one.trim_end_matches('/'), other.trim_end_matches('/'));
    if one == other {
        Some("a slash at the end")
    } else if one.eq_ignore_ascii_case(other) {
        Some("upper and lower case")
    } else {
        None
    }
}
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn date(seconds: u64) -> String {
    // The year 9999 is the last that can be written so.
    let seconds = Duration::from_secs(seconds.min(253_402_300_799));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + seconds)
}
