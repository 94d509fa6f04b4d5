//! What becomes of a token, and why: for whoever sets a resource server up.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64_simd::URL_SAFE_NO_PAD;
use http::{HeaderMap, Response};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    access_token::AccessToken,
    audit::FetchFailure,
    authorization_server::{Audience, AuthorizationServer},
    claim::{ClaimPath, ClaimRule, ClaimValue, Demand, ListClaim},
    introspector::{Introspector, Outcome},
    jwks::{Failed, Fetch, HttpClient, Reply},
    key_snapshot::KeySnapshot,
    key_source::KeySource,
    middleware::{Form, JsonRejection, answer},
    rejection::{Rejection, RejectionKind},
    resource_server::ResourceServer,
    surroundings::Surroundings,
    time::{Clock, UnixTime},
    verify::{self, Check, KeySet, SecondLook, Unrouted},
};

/// Says what becomes of a token under a policy, and why.
///
/// Gets the keys of every authorization server, once and without a cache; asks about an opaque token
/// where that is configured; and walks the token through each check. The verdict is that of an
/// [`AuthenticateLayer`](crate::AuthenticateLayer) with the same policy, right now. What a route asks for
/// beyond that is not looked at. If `token` is empty, the policy and the keys alone are looked at.
///
/// ```no_run
/// # async fn doctor() -> Result<(), portcullis::SettingsError> {
/// use portcullis::ResourceServer;
///
/// let resource_server = ResourceServer::from_env()?;
/// println!("{}", portcullis::explain("eyJhbGciOi…", &resource_server).await);
/// # Ok(())
/// # }
/// ```
///
/// # Security
///
/// The explanation shows claims of the token, whether or not they are true, and never its signature. It is
/// for the operator, and not for whoever sent the token.
pub async fn explain(token: &str, resource_server: &ResourceServer) -> Explanation {
    Doctor::new(resource_server.clone()).explain(token).await
}

/// Explains tokens with a client or a clock of yours; see [`explain`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Doctor {
    resource_server: ResourceServer,
    clock: Clock,
    client: HttpClient,
}

/// What becomes of a token, and why. Made to be printed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// What to look at in the policy, though it is none that is refused.
    pub advice: Vec<String>,
    /// What came of getting each authorization server's keys.
    pub authorization_servers: Vec<ServerReport>,
    /// Each check, in the order in which they are made.
    pub checks: Vec<CheckReport>,
    /// The verified token, or what its client is told.
    pub verdict: Result<AccessToken, Rejection>,
    now: UnixTime,
    granted: Vec<String>,
    has_token: bool,
    has_tenants: bool,
}

/// What came of getting the keys of one authorization server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerReport {
    /// Its issuer.
    pub issuer: String,
    /// Where its keys are, or the metadata that says so.
    pub source: String,
    /// Where its keys are, if its metadata says so.
    pub jwks_uri: Option<String>,
    /// How many keys can be used, and how many cannot; or why there are none. Where tokens are
    /// introspected, none are needed.
    pub keys: Result<(usize, usize), String>,
}

/// What came of one check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckReport {
    /// What is checked.
    pub name: &'static str,
    /// `None` if an earlier check failed.
    pub passed: Option<bool>,
    /// What was found, and what to do about it.
    pub detail: String,
}

const FORM: &str = "form";
const ISSUER: &str = "issuer";
const ALGORITHM: &str = "algorithm";
const KIND: &str = "kind of token";
const KEY: &str = "key";
const TENANT: &str = "tenant";
const BINDING: &str = "sender constraint";
const AUDIENCE: &str = "audience";
const CLIENT: &str = "client";
const CLAIMS: &str = "required claims";
const TIMES: &str = "times";
const SIGNATURE: &str = "signature";
const TYPES: &str = "types of claims";

const AN_ACCESS_TOKEN: &str = "an access token, by all that it says";

/// In the order in which they are made.
const CHECKS: [&str; 13] = [
    FORM, ISSUER, ALGORITHM, KIND, KEY, TENANT, BINDING, AUDIENCE, CLIENT, CLAIMS, TIMES,
    SIGNATURE, TYPES,
];

impl Doctor {
    /// For this policy.
    pub fn new(resource_server: ResourceServer) -> Self {
        Self {
            resource_server,
            clock: Clock::system(),
            client: HttpClient::default(),
        }
    }

    /// Reads the time from this clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Asks with this client.
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = HttpClient::given(client);
        self
    }

    /// Says what becomes of this token, and why. `Authorization:` and `Bearer` in front of it, and white
    /// space around it, do not count. Without a token, looks at the policy and the keys alone.
    pub async fn explain(&self, token: &str) -> Explanation {
        let token = bare(token);
        let mut walk = Walk::new(token, self.clock.now().wall, self.resource_server.leeway());
        let mut servers = Vec::new();
        for server in self.resource_server.authorization_servers() {
            servers.push((server.clone(), self.keys_of(server, &mut walk).await));
        }
        let advice = self.resource_server.authorization_servers().iter();
        let mut advice: Vec<_> = advice.flat_map(advice_on).collect();
        if self.resource_server.leeway() > Duration::from_secs(120) {
            let leeway = self.resource_server.leeway().as_secs();
            advice.push(format!(
                "a leeway of {leeway} s keeps expired tokens alive: 60 s is enough for clocks"
            ));
        }
        let verdict = self.judge(&mut walk, token, servers).await;
        let granted = verdict
            .as_ref()
            .map_or_else(|_| Vec::new(), |token| walk.grants(token));
        Explanation {
            advice,
            authorization_servers: walk.servers,
            checks: walk.checks,
            verdict,
            now: walk.now,
            granted,
            has_token: !token.is_empty(),
            has_tenants: self.resource_server.tenancy().is_some(),
        }
    }

    async fn judge(
        &self,
        walk: &mut Walk,
        token: &str,
        mut servers: Vec<(AuthorizationServer, Result<KeySet, FetchFailure>)>,
    ) -> Result<AccessToken, Rejection> {
        let leeway = self.resource_server.leeway();
        if token.is_empty() {
            return walk.fails(
                FORM,
                RejectionKind::TokenMissing.into(),
                "there is no token",
            );
        }
        let unrouted = match Unrouted::parse(token.as_bytes()) {
            Ok(unrouted) => unrouted,
            Err(rejection) if verify::may_be_opaque(token.as_bytes(), &rejection) => {
                let Some(index) = self.resource_server.of_opaque() else {
                    let detail = form_of(token);
                    return walk.fails(FORM, rejection, detail);
                };
                walk.passes(
                    FORM,
                    "an opaque token, which its authorization server is asked about",
                );
                let server = self.resource_server.authorization_servers().get(index);
                return self.introspect(walk, token, server).await;
            }
            Err(rejection) => {
                let detail = walk.why_not_a_token();
                return walk.fails(FORM, rejection, detail);
            }
        };
        walk.passes(FORM, walk.summary());
        let issuer = match unrouted.issuer() {
            Ok(issuer) => issuer.into_owned(),
            Err(rejection) => return walk.fails(ISSUER, rejection, "the token has no `iss`"),
        };
        let mut index = self.resource_server.route(&issuer).map(|(index, _)| index);
        if let (None, Some(tenancy)) = (index, self.resource_server.tenancy()) {
            let resolved = tenancy.resolver.resolve(&issuer);
            match tokio::time::timeout(tenancy.policy.deadline, resolved).await {
                Ok(Ok(Some(server))) if server.is_of(&issuer) && server.check().is_ok() => {
                    let keys = self.keys_of(&server, walk).await;
                    index = Some(servers.len());
                    servers.push((server, keys));
                }
                Ok(Ok(None)) => {}
                Ok(Ok(Some(_))) => {
                    let detail = "the resolver of tenants answered with another authorization server, or with one that is not configured right";
                    return walk.fails(ISSUER, Rejection::keys_unavailable(Duration::ZERO), detail);
                }
                Ok(Err(_)) | Err(_) => {
                    let detail = "the resolver of tenants did not answer";
                    return walk.fails(ISSUER, Rejection::keys_unavailable(Duration::ZERO), detail);
                }
            }
        }
        let Some((server, keys)) = index.and_then(|index| servers.get(index)) else {
            let known = servers.iter().map(|(server, _)| server);
            let has_tenants = self.resource_server.tenancy().is_some();
            let detail = why_not_trusted(&issuer, known, has_tenants);
            return walk.fails(ISSUER, RejectionKind::IssuerUnknown.into(), detail);
        };
        walk.passes(ISSUER, format!("{issuer} is trusted"));
        if server.introspects_jwts() {
            if let Some(kind) = unrouted.refused_by_itself(server) {
                let is_bound = kind == RejectionKind::BindingMissing;
                let at = if is_bound { BINDING } else { KIND };
                let detail = if is_bound {
                    walk.why_not(at, kind, server, &KeySet::default())
                } else {
                    walk.why_another_kind(server)
                };
                return walk.fails(at, kind.into(), detail);
            }
            return self.introspect(walk, token, Some(server)).await;
        }
        let mut pending = match unrouted.route(server, leeway) {
            Ok(pending) => pending,
            Err(rejection) if rejection.kind() == RejectionKind::AlgorithmRejected => {
                let detail = walk.why_not_this_algorithm(server);
                return walk.fails(ALGORITHM, rejection, detail);
            }
            Err(rejection) => {
                walk.passes(ALGORITHM, walk.header("alg"));
                let detail = walk.why_another_kind(server);
                return walk.fails(KIND, rejection, detail);
            }
        };
        walk.passes(ALGORITHM, walk.header("alg"));
        let keys = match keys {
            Ok(keys) => keys,
            Err(failure) => {
                walk.passes(KIND, AN_ACCESS_TOKEN);
                let detail = format!(
                    "its keys cannot be had ({failure}), as said above. Requests wait for them, and then get 503"
                );
                return walk.fails(KEY, Rejection::keys_unavailable(Duration::ZERO), detail);
            }
        };
        match pending.verify(walk.now, keys, false) {
            Ok(verification) => {
                walk.passes_up_to(None, server, keys);
                Ok(verification.token)
            }
            Err(rejection) => {
                let at = match rejection.kind() {
                    RejectionKind::KeyUnknown
                    | RejectionKind::KeyAmbiguous
                    | RejectionKind::AlgorithmRejected => KEY,
                    RejectionKind::IssuerUnknown => TENANT,
                    RejectionKind::SignatureInvalid => SIGNATURE,
                    _ => walk.refused_at(server),
                };
                walk.passes_up_to(Some(at), server, keys);
                let detail = walk.why_not(at, rejection.kind(), server, keys);
                walk.fails(at, rejection, detail)
            }
        }
    }

    async fn introspect(
        &self,
        walk: &mut Walk,
        token: &str,
        server: Option<&AuthorizationServer>,
    ) -> Result<AccessToken, Rejection> {
        let unavailable = || Rejection::keys_unavailable(Duration::ZERO);
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            client: self.client.clone(),
            audit: crate::audit::Audit::default(),
            snapshot: Arc::new(KeySnapshot::default()),
        };
        let Some(server) = server else {
            return Err(unavailable());
        };
        let asked = Introspector::new(&Arc::new(server.clone()), &surroundings);
        let outcome = match asked {
            Some(introspector) => introspector.ask(token).await,
            None => Outcome::Unavailable(Duration::ZERO),
        };
        match outcome {
            Outcome::Unavailable(_) => {
                let detail = "the introspection endpoint gave no usable answer: is its URL right, and may the client ask there?";
                walk.fails(SIGNATURE, unavailable(), detail)
            }
            Outcome::Inactive => {
                let detail = format!(
                    "{} says that the token is not active: it expired, was revoked, or is another's",
                    server.issuer()
                );
                walk.fails(SIGNATURE, RejectionKind::TokenInactive.into(), detail)
            }
            Outcome::Active(claims, _) => {
                let leeway = self.resource_server.leeway();
                let claims = (*claims).clone();
                let introspection = server.introspection.as_ref();
                let until = introspection.map_or(Duration::ZERO, |i| i.cache_time);
                let until = walk.now.saturating_add(until);
                walk.reads(verify::completed(server, walk.now, claims.clone(), until));
                let verdict = verify::introspected(server, leeway, walk.now, claims, until);
                if !matches!(&verdict, Err(other) if other.kind() == RejectionKind::IssuerUnknown) {
                    walk.passes(ISSUER, format!("the answer is of {}", server.issuer()));
                    walk.passes(ALGORITHM, "any: the authorization server judges the token");
                }
                match verdict {
                    Ok(token) => {
                        walk.passes_up_to(None, server, &KeySet::default());
                        Ok(token)
                    }
                    Err(rejection) => {
                        let at = match rejection.kind() {
                            RejectionKind::IssuerUnknown => ISSUER,
                            // Of these two, some are told before the claims are looked at.
                            RejectionKind::BindingMissing => BINDING,
                            RejectionKind::TokenTypeRejected => KIND,
                            _ => walk.refused_at(server),
                        };
                        let detail = walk.why_not(at, rejection.kind(), server, &KeySet::default());
                        walk.fails(at, rejection, detail)
                    }
                }
            }
        }
    }

    /// Its keys; what came of getting them is reported.
    async fn keys_of(
        &self,
        server: &AuthorizationServer,
        walk: &mut Walk,
    ) -> Result<KeySet, FetchFailure> {
        let discovered = Mutex::default();
        let fetch = Fetch {
            client: &self.client,
            server,
            discovered: &discovered,
            reader: &Arc::new(Semaphore::new(1)),
            etag: None,
            now: walk.now,
        };
        let keys = match &server.keys {
            Ok(source) => keys_by(fetch, source).await,
            Err(_) => Err(FetchFailure::NoUsableKey),
        };
        let discovered = discovered.into_inner();
        let discovered = discovered.unwrap_or_else(PoisonError::into_inner);
        walk.servers
            .push(report_of(server, discovered.jwks_uri.as_ref(), &keys));
        keys
    }
}

async fn keys_by(fetch: Fetch<'_>, source: &KeySource) -> Result<KeySet, FetchFailure> {
    let server = fetch.server;
    match fetch.run(source).await {
        Ok(Reply::Body { body, .. }) => {
            let keys = KeySet::from_json(&body, server).map_err(|_| FetchFailure::NotAKeySet)?;
            if keys.is_empty() {
                return Err(FetchFailure::NoUsableKey);
            }
            Ok(keys)
        }
        Ok(Reply::NotModified { .. }) => Err(FetchFailure::NotAKeySet),
        Err(Failed { failure, .. }) => Err(failure),
    }
}

/// A token on its way through the checks.
struct Walk {
    servers: Vec<ServerReport>,
    checks: Vec<CheckReport>,
    now: UnixTime,
    leeway: Duration,
    /// What the token says; nobody verified it.
    header: Value,
    claims: Value,
    /// The claims, as they are written.
    payload: String,
    /// The groups that grant a role, and the claims that groups are read from, once it is known whose
    /// token it is.
    granting: Vec<String>,
    groups_claims: Arc<[ListClaim]>,
}

impl Walk {
    fn new(token: &str, now: UnixTime, leeway: Duration) -> Self {
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
    fn reads(&mut self, payload: String) {
        self.claims = serde_json::from_str(&payload).unwrap_or_default();
        self.payload = payload;
    }

    fn set(&mut self, name: &str, passed: bool, detail: impl Into<String>) {
        if let Some(check) = self.checks.iter_mut().find(|check| check.name == name) {
            check.passed = Some(passed);
            check.detail = detail.into();
        }
    }

    fn passes(&mut self, name: &str, detail: impl Into<String>) {
        self.set(name, true, detail);
    }

    fn fails(
        &mut self,
        name: &str,
        rejection: Rejection,
        detail: impl Into<String>,
    ) -> Result<AccessToken, Rejection> {
        self.set(name, false, detail);
        Err(rejection)
    }

    /// All that come before one passed.
    fn passes_up_to(&mut self, end: Option<&str>, server: &AuthorizationServer, keys: &KeySet) {
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
    fn header(&self, name: &str) -> String {
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
    fn refused_at(&self, server: &AuthorizationServer) -> &'static str {
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

    fn summary(&self) -> String {
        format!(
            "a JWT with {}, {}, {}",
            self.header("alg"),
            self.header("kid"),
            self.header("typ")
        )
    }

    fn why_not_a_token(&self) -> String {
        if self.header.get("crit").is_some() || self.header.get("b64").is_some() {
            return "its header has critical parameters, of which none is understood".to_owned();
        }
        match self.header.get("typ") {
            Some(typ) => format!("its type is {typ}, and not that of an access token"),
            None => "it is not one token, or has characters that tokens have not: was a part of it cut off, or quoted?".to_owned(),
        }
    }

    fn why_not_this_algorithm(&self, server: &AuthorizationServer) -> String {
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

    fn why_another_kind(&self, server: &AuthorizationServer) -> String {
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

    fn why_not(
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
    fn grants(&self, token: &AccessToken) -> Vec<String> {
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
fn bare(text: &str) -> &str {
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

fn form_of(token: &str) -> String {
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
fn difference(one: &str, other: &str) -> Option<&'static str> {
    let (one, other) = (one.trim_end_matches('/'), other.trim_end_matches('/'));
    if one == other {
        Some("a slash at the end")
    } else if one.eq_ignore_ascii_case(other) {
        Some("upper and lower case")
    } else {
        None
    }
}

fn why_not_trusted<'s>(
    issuer: &str,
    trusted: impl Iterator<Item = &'s AuthorizationServer>,
    has_tenants: bool,
) -> String {
    let mut others = Vec::new();
    let normal = |text: &str| Url::parse(text).map(|url| url.to_string());
    for server in trusted {
        let known = server.issuer();
        let difference = if let Some(difference) = difference(issuer, known) {
            difference
        } else if issuer
            .strip_prefix("http://")
            .is_some_and(|rest| known.strip_prefix("https://") == Some(rest))
        {
            "http in place of https"
        } else if normal(issuer).is_ok_and(|issuer| normal(known) == Ok(issuer)) {
            "how it is written"
        } else {
            others.push(known);
            continue;
        };
        return format!(
            "{issuer:?} is not {known:?}: they differ in {difference}, and issuers are compared exactly. Write it as the token has it"
        );
    }
    let host = |text: &str| {
        Url::parse(text)
            .ok()
            .and_then(|url| Some(url.host_str()?.to_owned()))
    };
    if let Some(known) = others.iter().find(|known| host(known) == host(issuer))
        && known.contains("/oauth2/")
        && !issuer.contains("/oauth2/")
    {
        return format!(
            "{issuer:?} is Okta's org authorization server, whose access tokens are for Okta alone: have the client ask {known:?} for one"
        );
    }
    let is_placeholder = issuer.contains(['{', '}']);
    let advice = if is_placeholder {
        ". It is a placeholder"
    } else {
        ": the token is of another authorization server, tenant or environment, or this one is to be trusted, too"
    };
    if others.is_empty() {
        return format!(
            "{issuer:?} is no tenant's, says the resolver, and no other authorization server is trusted"
        );
    }
    let resolved = if has_tenants {
        "is no tenant's, says the resolver, and "
    } else {
        "is "
    };
    format!(
        "{issuer:?} {resolved}not trusted, but {}{advice}",
        others.join(", ")
    )
}

fn report_of(
    server: &AuthorizationServer,
    jwks_uri: Option<&Url>,
    keys: &Result<KeySet, FetchFailure>,
) -> ServerReport {
    let source = server.keys.as_ref().map(ToString::to_string);
    ServerReport {
        issuer: server.issuer().to_owned(),
        source: source.unwrap_or_default(),
        jwks_uri: jwks_uri.map(ToString::to_string),
        keys: match keys {
            Ok(keys) => Ok((keys.len(), keys.left_out())),
            Err(_) if server.keys == Ok(KeySource::Nowhere) => Ok((0, 0)),
            Err(failure) => Err(advice_on_failure(*failure)),
        },
    }
}

fn advice_on_failure(failure: FetchFailure) -> String {
    let advice = match failure {
        FetchFailure::Connection => {
            ": is the name right, and may this machine reach it? If it has a certificate of its own, the system has to trust that"
        }
        FetchFailure::Timeout => ": is there a firewall or a proxy in between?",
        FetchFailure::Status(404) => {
            ": there is no such authorization server, or its keys are elsewhere"
        }
        FetchFailure::Status(401 | 403) => ": keys are public; this is something else, or a proxy",
        FetchFailure::OtherIssuer => ": write the issuer exactly as its metadata has it",
        FetchFailure::UnacceptableJwksUri => {
            ": name its host with `jwks_host`, or its URL with `jwks_uri`, if that is right"
        }
        FetchFailure::NoUsableKey => ": are its algorithms on the list?",
        FetchFailure::NotAKeySet | FetchFailure::NotMetadata => ": is the URL right?",
        _ => "",
    };
    format!("{failure}{advice}")
}

/// What is sound, and probably not meant.
fn advice_on(server: &AuthorizationServer) -> Vec<String> {
    let issuer = server.issuer();
    let mut advice = Vec::new();
    let mut say = |text: &str| advice.push(format!("{issuer}: {text}"));
    let host = Url::parse(issuer)
        .ok()
        .and_then(|url| Some(url.host_str()?.to_owned()));
    let host = host.unwrap_or_default();
    let has_slash = issuer.ends_with('/');
    if host.ends_with(".auth0.com") && !has_slash {
        say("Auth0's issuers end in a slash, and this one does not");
    }
    if issuer.contains("/application/o/") && !has_slash {
        say("authentik's issuers end in a slash, and this one does not");
    }
    if has_slash
        && [".okta.com", ".oktapreview.com", ".amazonaws.com"]
            .iter()
            .any(|end| host.ends_with(end))
    {
        say("issuers of this product do not end in a slash, and this one does");
    }
    if (host.ends_with(".okta.com") || host.ends_with(".oktapreview.com"))
        && !issuer.contains("/oauth2/")
        && !server.introspects_jwts()
    {
        say(
            "this is the org authorization server, whose access tokens cannot be verified by anybody but Okta: use a custom one, or introspect",
        );
    }
    if ["/common/", "/organizations/", "/consumers/"]
        .iter()
        .any(|tenant| issuer.contains(tenant))
    {
        say("no token has this issuer: each has its tenant's. Use the preset for several tenants");
    }
    if server
        .tenants
        .as_ref()
        .is_some_and(|tenants| tenants.allowed.is_none())
    {
        say("every tenant there is, is trusted: anybody can make one. Name those that you mean");
    }
    match &server.audience {
        Audience::Any => {
            say("any audience is accepted, so that other APIs can use here what they were sent")
        }
        Audience::AnyOf(audiences) => {
            for audience in audiences {
                if audience.contains(['{', '}', '<', '>'])
                    || audience.to_ascii_lowercase().contains("your-")
                {
                    say(&format!(
                        "the audience {audience:?} looks like a placeholder"
                    ));
                }
                if audience == "account" {
                    say(
                        "the audience \"account\" is in every token of a Keycloak realm: add an audience mapper, and use that",
                    );
                }
            }
        }
    }
    if server.jwks.ttl_cap > Duration::from_secs(3_600) {
        let hours = server.jwks.ttl_cap.as_secs() / 3_600;
        say(&format!(
            "keys are used for up to {hours} h after they were withdrawn: an hour is enough"
        ));
    }
    if server.plain_http_allowed {
        say("keys are fetched over plain http, by whoever answers");
    }
    advice
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn date(seconds: u64) -> String {
    // The year 9999 is the last that can be written so.
    let seconds = Duration::from_secs(seconds.min(253_402_300_799));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + seconds)
}

impl Explanation {
    /// Whether nothing is wrong: the token is let through or, where there is none, the keys of all
    /// authorization servers can be had.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut servers = self.authorization_servers.iter();
        self.verdict.is_ok() || (!self.has_token && servers.all(|server| server.keys.is_ok()))
    }

    fn write_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe token, on {}", date(self.now.as_secs()))?;
        self.checks.iter().try_for_each(|check| {
            let verdict = match check.passed {
                Some(true) => "passed",
                Some(false) => "FAILED",
                None => "not reached",
            };
            let line = format!("  {verdict:<11} {:<18} {}", check.name, check.detail);
            writeln!(f, "{}", line.trim_end())
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Authorization servers")?;
        for server in &self.authorization_servers {
            write!(f, "{server}")?;
        }
        match (self.has_tenants, self.authorization_servers.is_empty()) {
            (true, true) => writeln!(f, "  none but the tenants that the resolver knows")?,
            (true, false) => writeln!(f, "  and the tenants that the resolver knows")?,
            (false, _) => {}
        }
        if !self.advice.is_empty() {
            writeln!(f, "\nAdvice")?;
            for advice in &self.advice {
                writeln!(f, "  {advice}")?;
            }
        }
        if !self.has_token {
            return writeln!(
                f,
                "\nNo token was given: only settings and keys were looked at."
            );
        }
        self.write_checks(f)?;
        match &self.verdict {
            Ok(_) => {
                writeln!(f, "\nIt is let through, unless the route asks for more.")?;
                let mut granted = self.granted.iter();
                granted.try_for_each(|line| writeln!(f, "  {line}"))
            }
            Err(rejection) => write_answers(f, rejection),
        }
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.issuer)?;
        let (source, by) = match &self.jwks_uri {
            Some(jwks_uri) => (jwks_uri, ", by its metadata"),
            None => (&self.source, ""),
        };
        let (usable, others) = match &self.keys {
            Ok((0, 0)) => return writeln!(f, "    no keys: its tokens are introspected"),
            Ok(keys) => *keys,
            Err(why) => return writeln!(f, "    keys at {source}{by}: {why}"),
        };
        let noun = if usable == 1 { "key" } else { "keys" };
        write!(f, "    keys at {source}{by}: {usable} {noun}")?;
        if others > 0 {
            write!(f, ", and {others} that cannot be used")?;
        }
        writeln!(f)
    }
}

/// What a client is told that speaks HTTP, and one that speaks gRPC.
fn write_answers(f: &mut fmt::Formatter<'_>, rejection: &Rejection) -> fmt::Result {
    writeln!(f, "\nThe client is told")?;
    let http: Response<String> = answer(rejection, &JsonRejection, Form::Http);
    writeln!(f, "  HTTP {}", http.status())?;
    write_headers(f, http.headers())?;
    if !http.body().is_empty() {
        writeln!(f, "    {}", http.body())?;
    }
    let grpc: Response<String> = answer(rejection, &JsonRejection, Form::Grpc("application/grpc"));
    writeln!(f, "  gRPC")?;
    write_headers(f, grpc.headers())
}

fn write_headers(f: &mut fmt::Formatter<'_>, headers: &HeaderMap) -> fmt::Result {
    headers.iter().try_for_each(|(name, value)| {
        writeln!(
            f,
            "    {name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        )
    })
}
