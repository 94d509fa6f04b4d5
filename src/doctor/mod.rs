//! What becomes of a token, and why: for whoever sets a resource server up.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    access_token::AccessToken,
    audit::FetchFailure,
    authorization_server::AuthorizationServer,
    introspector::{Introspector, Outcome},
    jwks::{Failed, Fetch, HttpClient, Reply},
    key_snapshot::KeySnapshot,
    key_source::KeySource,
    rejection::{Rejection, RejectionKind},
    resource_server::ResourceServer,
    surroundings::Surroundings,
    time::Clock,
    verify::{self, KeySet, Unrouted},
};

mod advice;
mod report;
mod walk;

pub use report::{CheckReport, Explanation, ServerReport};

use advice::{advice_on, report_of, why_not_trusted};
use walk::{
    ALGORITHM, AN_ACCESS_TOKEN, BINDING, FORM, ISSUER, KEY, KIND, SIGNATURE, TENANT, Walk, bare,
    form_of,
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
