//! Judges requests with the keys that are at hand, and says when to wait for others.

use std::{
    cell::LazyCell,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, Method, Request};

use super::directory::Directory;
use crate::{
    access_policy::Rule,
    access_token::AccessToken,
    audit::{Audit, Decision, Event, KeyFacts},
    introspector,
    jwks::{Answer, AtHand, Obtained, Snapshot, Want},
    lock::lock,
    rejection::{Rejection, RejectionKind},
    resource_server::ResourceServer,
    surroundings::Surroundings,
    tenants::{Lookup, Outcome, Tenants},
    time::{Clock, Moment},
    token_cache::{Entry, TokenCache},
    trusted::Trusted,
    verify::{self, Pending, Unrouted, Verification, VerificationKey},
};

#[derive(Debug)]
pub(crate) struct Authenticator {
    directory: ArcSwap<Directory>,
    /// Held while the directory is replaced.
    replacing: Mutex<()>,
    pub(crate) tokens: Option<TokenCache>,
    /// Where tokens are, if not in `Authorization`.
    pub(crate) token_header: Option<HeaderName>,
    pub(crate) clock: Clock,
    pub(crate) audit: Audit,
    surroundings: Surroundings,
}

/// Whether requests without a token are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Required,
    Optional,
}

/// What is asked of a request.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'t> {
    pub(crate) mode: Mode,
    /// By the access policy, if there is one.
    pub(crate) rule: Option<&'t Rule>,
    /// Whether it is to be said what a token was let in by.
    pub(crate) with_basis: bool,
}

pub(crate) enum Verdict {
    /// `None` is a request without a token, in the optional mode.
    Admit(Option<AccessToken>, Option<Box<Basis>>),
    Reject(Rejection),
    Wait(Wait),
}

/// What let a request in, beside the token itself.
pub(crate) struct Basis {
    pub(crate) trusted: Arc<Trusted>,
    /// `None` if the authorization server was asked about the token instead.
    pub(crate) key: Option<Arc<VerificationKey>>,
    pub(crate) generation: u64,
}

/// A token, as it was sent.
#[derive(Clone, Copy)]
struct Presented<'r> {
    credentials: &'r [u8],
    with_basis: bool,
}

impl<'r> Presented<'r> {
    #[inline]
    fn find(
        headers: &'r HeaderMap,
        token_header: Option<&HeaderName>,
        terms: Terms<'_>,
    ) -> Result<Self, RejectionKind> {
        let credentials = match token_header {
            None => verify::bearer_token(headers),
            Some(name) => verify::token_of_header(headers, name),
        };
        Ok(Self {
            credentials: credentials?,
            with_basis: terms.with_basis,
        })
    }

    /// Of a token that its authorization server was asked about.
    fn basis_without_key(self, trusted: &Arc<Trusted>) -> Option<Box<Basis>> {
        let basis = || Basis {
            trusted: Arc::clone(trusted),
            key: None,
            generation: 0,
        };
        self.with_basis.then(|| Box::new(basis()))
    }
}

async fn introspect(trusted: &Trusted, token: &str) -> introspector::Outcome {
    match &trusted.introspector {
        Some(introspector) => introspector.ask(token).await,
        None => introspector::Outcome::Unavailable(Duration::ZERO),
    }
}

/// What a request waits for.
pub(crate) struct Wait {
    arrived: Moment,
    on: WaitsOn,
    kid: Option<String>,
    /// What the token was refused for under a key of this generation, which may have been
    /// replaced.
    failed: Option<(u64, Rejection)>,
    limit: Duration,
}

/// Whom a request waits for.
enum WaitsOn {
    /// For keys of this one.
    Keys(Arc<Trusted>),
    /// For what becomes of this issuer, and then for keys, or for what it says of the token.
    Tenant {
        tenants: Arc<Tenants>,
        issuer: String,
        token: String,
    },
    /// For what this one says of the token.
    Introspection(Arc<Trusted>, String),
}

/// What came of a wait.
pub(crate) enum Waited {
    Obtained(Arc<Trusted>, Obtained),
    Unresolved(RejectionKind),
    Introspected(Arc<Trusted>, introspector::Outcome),
}

/// How far the judgement came.
struct Attempt {
    result: Result<AccessToken, Rejection>,
    trusted: Option<Arc<Trusted>>,
    key: Option<Key>,
    basis: Option<Box<Basis>>,
    remembered: bool,
}

/// The keys that were at hand, for the audit event.
struct Key {
    kid: Option<String>,
    snapshot: Arc<Snapshot>,
}

enum Step {
    Done(Attempt),
    Wait(Wait),
}

impl Attempt {
    fn refuse(rejection: impl Into<Rejection>, trusted: Option<Arc<Trusted>>) -> Self {
        Self {
            result: Err(rejection.into()),
            trusted,
            key: None,
            basis: None,
            remembered: false,
        }
    }

    /// Whether it was refused because there is no such key, as far as is known.
    fn misses_key(&self) -> bool {
        let rejection = self.result.as_ref().err();
        rejection.is_some_and(|rejection| rejection.kind() == RejectionKind::KeyUnknown)
    }
}

impl Authenticator {
    pub(crate) fn new(resource_server: ResourceServer, surroundings: Surroundings) -> Self {
        let tokens = TokenCache::new(resource_server.token_cache());
        let directory = Directory::new(resource_server, &surroundings, None);
        directory.announce(&surroundings.audit, None);
        // Keys from before the process are for its start: what was withdrawn since stays withdrawn.
        let surroundings = Surroundings {
            snapshot: Arc::default(),
            ..surroundings
        };
        Self {
            token_header: directory.resource_server.token_header().cloned(),
            directory: ArcSwap::from_pointee(directory),
            replacing: Mutex::new(()),
            tokens,
            clock: surroundings.clock.clone(),
            audit: surroundings.audit.clone(),
            surroundings,
        }
    }

    /// Who is trusted at the moment.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Trusts whom this policy trusts, from the next request on.
    pub(crate) fn reload(&self, resource_server: ResourceServer) {
        let replacing = lock(&self.replacing);
        let before = self.directory.load_full();
        let after = Directory::new(resource_server, &self.surroundings, Some(&before));
        let after = Arc::new(after);
        self.directory.store(Arc::clone(&after));
        // Only now, so that whoever finds that its policy was replaced finds the one that replaced it.
        before.retire(&after);
        drop(replacing);
        after.announce(&self.audit, Some(&before));
    }

    /// The verdict, if the keys are at hand: without a lock, and without waiting.
    pub(crate) fn judge<B>(&self, request: &Request<B>, terms: Terms<'_>) -> Verdict {
        // Most refusals do not depend on the time, so only who is told of them has to know it.
        let arrived = LazyCell::new(|| self.clock.now());
        if self.audit.is_on() {
            LazyCell::force(&arrived);
        }
        match self.attempt(&arrived, request.headers(), terms) {
            Step::Wait(wait) => Verdict::Wait(wait),
            Step::Done(attempt) => self.conclude(&arrived, request, terms, attempt, false),
        }
    }

    /// Waits for what the request needs, a bounded time.
    pub(crate) async fn wait(self: Arc<Self>, wait: Wait) -> (Wait, Waited) {
        let want = Want {
            kid: wait.kid.as_deref(),
            failed_with: wait.failed.as_ref().map(|(generation, _)| *generation),
            arrived: wait.arrived,
        };
        let (trusted, limit) = match &wait.on {
            WaitsOn::Keys(trusted) => (Arc::clone(trusted), wait.limit),
            WaitsOn::Introspection(trusted, token) => {
                let outcome = introspect(trusted, token).await;
                let trusted = Arc::clone(trusted);
                return (wait, Waited::Introspected(trusted, outcome));
            }
            WaitsOn::Tenant {
                tenants,
                issuer,
                token,
            } => match tenants.resolve(issuer, false).await {
                Outcome::Known(trusted) if trusted.server.introspects_jwts() => {
                    if let Ok(token) = Unrouted::parse(token.as_bytes())
                        && let Some(kind) = token.refused_by_itself(&trusted.server)
                    {
                        return (wait, Waited::Unresolved(kind));
                    }
                    let outcome = introspect(&trusted, token).await;
                    return (wait, Waited::Introspected(trusted, outcome));
                }
                Outcome::Known(trusted) => {
                    let limit = trusted.server.jwks.keys_wait;
                    (trusted, limit)
                }
                Outcome::Unknown => {
                    return (wait, Waited::Unresolved(RejectionKind::IssuerUnknown));
                }
                Outcome::Unavailable => {
                    return (wait, Waited::Unresolved(RejectionKind::KeysUnavailable));
                }
            },
        };
        let obtained = trusted.keys.obtain(want, limit).await;
        (wait, Waited::Obtained(trusted, obtained))
    }

    /// The verdict after the wait; never another wait.
    pub(crate) fn judge_after<B>(
        &self,
        (mut wait, waited): (Wait, Waited),
        request: &Request<B>,
        terms: Terms<'_>,
    ) -> Verdict {
        let failed = wait.failed.take().map(|(_, rejection)| rejection);
        let attempt = match waited {
            Waited::Unresolved(RejectionKind::KeysUnavailable) => {
                Attempt::refuse(Rejection::keys_unavailable(Duration::ZERO), None)
            }
            Waited::Unresolved(kind) => Attempt::refuse(kind, None),
            Waited::Introspected(trusted, outcome) => self
                .finish_introspected(&trusted, outcome, request.headers(), terms)
                .unwrap_or_else(|rejection| Attempt::refuse(rejection, Some(trusted))),
            Waited::Obtained(trusted, obtained) => {
                let refuse = |rejection| Attempt::refuse(rejection, Some(Arc::clone(&trusted)));
                match obtained {
                    Obtained::Keys(snapshot) => self
                        .finish_waiting(&trusted, &snapshot, request.headers(), terms)
                        .unwrap_or_else(refuse),
                    Obtained::Unknown => {
                        refuse(failed.unwrap_or_else(|| RejectionKind::KeyUnknown.into()))
                    }
                    // A token that does not fit the key that we hold is refused for that, or else every
                    // forgery would be a 503 during an outage.
                    Obtained::Unavailable(retry_in) => {
                        refuse(failed.unwrap_or_else(|| Rejection::keys_unavailable(retry_in)))
                    }
                }
            }
        };
        self.conclude(&&wait.arrived, request, terms, attempt, true)
    }

    /// What becomes of a token by what its authorization server says.
    fn finish_introspected(
        &self,
        trusted: &Arc<Trusted>,
        outcome: introspector::Outcome,
        headers: &HeaderMap,
        terms: Terms<'_>,
    ) -> Result<Attempt, Rejection> {
        let (answer, asked) = match outcome {
            introspector::Outcome::Active(answer, asked) => (answer, asked),
            introspector::Outcome::Inactive => return Err(RejectionKind::TokenInactive.into()),
            introspector::Outcome::Unavailable(wait) => {
                return Err(Rejection::keys_unavailable(wait));
            }
        };
        let presented = Presented::find(headers, self.token_header.as_ref(), terms)?;
        let now = self.clock.now();
        if let Ok(token) = Unrouted::parse(presented.credentials)
            && let Some(kind) = token.refused_by_itself(&trusted.server)
        {
            return Err(kind.into());
        }
        // The policy may have been replaced meanwhile, as in `finish_waiting`.
        let directory = self.directory.load();
        let issuer = trusted.server.issuer();
        let found = match directory.of_opaque() {
            Some(found) if found.server.issuer() == issuer => Lookup::Known(Arc::clone(found)),
            _ => directory.look_up(now, issuer),
        };
        let trusted = match &found {
            Lookup::Known(found) if found.server.introspection == trusted.server.introspection => {
                found
            }
            Lookup::Known(_) | Lookup::Ask => &trusted.for_once(),
            Lookup::Unknown => return Err(RejectionKind::IssuerUnknown.into()),
        };
        let introspection = trusted.server.introspection.as_ref();
        let cache_time = introspection.map_or(Duration::ZERO, |i| i.cache_time);
        let left = cache_time.saturating_sub(now.age_of(asked));
        let token = verify::introspected(
            &trusted.server,
            trusted.leeway,
            now.wall,
            (*answer).clone(),
            now.wall.saturating_add(left),
        )?;
        let verification = Verification {
            token,
            key: None,
            names_key: false,
        };
        if let Some(tokens) = &self.tokens
            && !left.is_zero()
        {
            let until = now.after(left).packed();
            tokens.insert(presented.credentials, trusted, &verification, until);
        }
        Ok(Attempt {
            trusted: self.audit.is_on().then(|| Arc::clone(trusted)),
            basis: presented.basis_without_key(trusted),
            result: Ok(verification.token),
            key: None,
            remembered: false,
        })
    }

    fn finish_waiting(
        &self,
        waited_for: &Arc<Trusted>,
        snapshot: &Arc<Snapshot>,
        headers: &HeaderMap,
        terms: Terms<'_>,
    ) -> Result<Attempt, Rejection> {
        let presented = Presented::find(headers, self.token_header.as_ref(), terms)?;
        let token = Unrouted::parse(presented.credentials)?;
        let now = self.clock.now();
        // The policy may have been replaced meanwhile. Keys that were fetched for another are not for
        // this one; the request then gets the verdict that it would have got when it came.
        let found = self.directory.load().look_up(now, &token.issuer()?);
        let trusted = match &found {
            Lookup::Known(trusted) if Arc::ptr_eq(&trusted.keys, &waited_for.keys) => trusted,
            Lookup::Known(_) | Lookup::Ask => &waited_for.for_once(),
            Lookup::Unknown => return Err(RejectionKind::IssuerUnknown.into()),
        };
        let mut pending = token.route(&trusted.server, trusted.leeway)?;
        Ok(self.finish(now, presented, trusted, &mut pending, snapshot))
    }

    fn attempt(
        &self,
        now: &impl Deref<Target = Moment>,
        headers: &HeaderMap,
        terms: Terms<'_>,
    ) -> Step {
        let refuse = |rejection, trusted| Step::Done(Attempt::refuse(rejection, trusted));
        let presented = match Presented::find(headers, self.token_header.as_ref(), terms) {
            Ok(presented) => presented,
            Err(kind) => return refuse(kind.into(), None),
        };
        if let Some(attempt) = self.recall(now, presented) {
            return Step::Done(attempt);
        }
        let token = match Unrouted::parse(presented.credentials) {
            Ok(token) => token,
            Err(rejection) => {
                let directory = self.directory.load();
                let may_be_opaque = verify::may_be_opaque(presented.credentials, &rejection);
                return match directory.of_opaque().filter(|_| may_be_opaque) {
                    Some(trusted) => Self::ask_about(presented, trusted, **now),
                    None => refuse(rejection, None),
                };
            }
        };
        let issuer = match token.issuer() {
            Ok(issuer) => issuer,
            Err(rejection) => return refuse(rejection, None),
        };
        let directory = self.directory.load();
        let trusted = match (directory.look_up(**now, &issuer), &directory.tenants) {
            (Lookup::Known(trusted), _) => trusted,
            (Lookup::Ask, Some(tenants)) => {
                return Step::Wait(Wait {
                    arrived: **now,
                    kid: token.unverified_kid().map(str::to_owned),
                    on: WaitsOn::Tenant {
                        tenants: Arc::clone(tenants),
                        issuer: issuer.into_owned(),
                        token: String::from_utf8_lossy(presented.credentials).into_owned(),
                    },
                    failed: None,
                    limit: Duration::ZERO,
                });
            }
            (Lookup::Unknown | Lookup::Ask, _) => {
                return refuse(RejectionKind::IssuerUnknown.into(), None);
            }
        };
        drop((directory, issuer));
        if trusted.server.introspects_jwts() {
            return match token.refused_by_itself(&trusted.server) {
                Some(kind) => refuse(kind.into(), None),
                None => Self::ask_about(presented, &trusted, **now),
            };
        }
        let mut pending = match token.route(&trusted.server, trusted.leeway) {
            Ok(pending) => pending,
            Err(rejection) => return refuse(rejection, None),
        };
        let now = **now;
        let at_hand = trusted.keys.at_hand(now);
        if let Some(snapshot) = at_hand.as_ref().and_then(AtHand::snapshot) {
            let attempt = self.finish(now, presented, &trusted, &mut pending, snapshot);
            let misses = pending.unverified_kid().is_some() && attempt.misses_key();
            if !misses {
                let generation = snapshot.generation;
                return self.reconsider(now, presented, &trusted, generation, pending, attempt);
            }
        }
        let kid = pending.unverified_kid();
        let want = Want {
            kid,
            failed_with: None,
            arrived: now,
        };
        match trusted.keys.ask(now, want) {
            Answer::Use(snapshot) => {
                Step::Done(self.finish(now, presented, &trusted, &mut pending, &snapshot))
            }
            Answer::Unknown => refuse(RejectionKind::KeyUnknown.into(), Some(Arc::clone(&trusted))),
            Answer::Unavailable(retry_in) => {
                let rejection = Rejection::keys_unavailable(retry_in);
                refuse(rejection, Some(Arc::clone(&trusted)))
            }
            Answer::Wait(limit) => Step::Wait(Wait {
                arrived: now,
                kid: kid.map(str::to_owned),
                on: WaitsOn::Keys(Arc::clone(&trusted)),
                failed: None,
                limit,
            }),
        }
    }

    /// Has the authorization server asked about a token.
    fn ask_about(presented: Presented<'_>, trusted: &Arc<Trusted>, now: Moment) -> Step {
        match std::str::from_utf8(presented.credentials) {
            Ok(token) => Step::Wait(Wait {
                arrived: now,
                kid: None,
                on: WaitsOn::Introspection(Arc::clone(trusted), token.to_owned()),
                failed: None,
                limit: Duration::ZERO,
            }),
            Err(_) => Step::Done(Attempt::refuse(RejectionKind::TokenMalformed, None)),
        }
    }

    /// The verdict on a token that was verified before, if its key is still the one for it. If not,
    /// the token is forgotten, and verified as if it came for the first time.
    fn recall(
        &self,
        now: &impl Deref<Target = Moment>,
        presented: Presented<'_>,
    ) -> Option<Attempt> {
        let tokens = self.tokens.as_ref()?;
        let found = tokens.find(presented.credentials)?;
        let entry = found.get()?;
        let now = **now;
        let trusted = entry.trusted();
        let Some(key) = entry.key() else {
            return self.recall_introspected(now, presented, entry);
        };
        let at_hand = trusted.keys.at_hand(now);
        let snapshot = at_hand.as_ref().and_then(AtHand::snapshot)?;
        let Some(result) = entry.verdict(now, snapshot.generation, &snapshot.keys) else {
            tokens.remove(presented.credentials);
            return None;
        };
        Some(Attempt {
            result,
            trusted: self.audit.is_on().then(|| Arc::clone(trusted)),
            key: self.audit.is_on().then(|| Key {
                kid: entry.kid().map(str::to_owned),
                snapshot: Arc::clone(snapshot),
            }),
            basis: presented.with_basis.then(|| {
                Box::new(Basis {
                    trusted: Arc::clone(trusted),
                    key: Some(Arc::clone(key)),
                    generation: snapshot.generation,
                })
            }),
            remembered: true,
        })
    }

    fn recall_introspected(
        &self,
        now: Moment,
        presented: Presented<'_>,
        entry: &Entry,
    ) -> Option<Attempt> {
        let trusted = entry.trusted();
        let Some(result) = entry.introspected(now) else {
            self.tokens.as_ref()?.remove(presented.credentials);
            return None;
        };
        Some(Attempt {
            result,
            trusted: self.audit.is_on().then(|| Arc::clone(trusted)),
            key: None,
            basis: presented.basis_without_key(trusted),
            remembered: true,
        })
    }

    /// A signature or an algorithm that does not fit the key that we hold may mean that the key was
    /// replaced under its id. The cache decides whether that is worth a look.
    fn reconsider(
        &self,
        now: Moment,
        presented: Presented<'_>,
        trusted: &Arc<Trusted>,
        generation: u64,
        mut pending: Pending<'_, '_>,
        attempt: Attempt,
    ) -> Step {
        let rejection = match &attempt.result {
            Err(rejection) if rejection.kind().may_be_for_another_key() => rejection.clone(),
            _ => return Step::Done(attempt),
        };
        let Some(kid) = pending.unverified_kid() else {
            return Step::Done(attempt);
        };
        let want = Want {
            kid: Some(kid),
            failed_with: Some(generation),
            arrived: now,
        };
        match trusted.keys.ask(now, want) {
            Answer::Wait(limit) => Step::Wait(Wait {
                arrived: now,
                on: WaitsOn::Keys(Arc::clone(trusted)),
                kid: Some(kid.to_owned()),
                failed: Some((generation, rejection)),
                limit,
            }),
            Answer::Use(snapshot) => {
                Step::Done(self.finish(now, presented, trusted, &mut pending, &snapshot))
            }
            Answer::Unknown | Answer::Unavailable(_) => Step::Done(attempt),
        }
    }

    fn finish(
        &self,
        now: Moment,
        presented: Presented<'_>,
        trusted: &Arc<Trusted>,
        pending: &mut Pending<'_, '_>,
        snapshot: &Arc<Snapshot>,
    ) -> Attempt {
        let key = self.audit.is_on().then(|| Key {
            kid: pending
                .unverified_kid()
                .filter(|kid| snapshot.keys.contains(kid))
                .map(str::to_owned),
            snapshot: Arc::clone(snapshot),
        });
        let result = pending.verify(now.wall, &snapshot.keys, self.audit.is_on());
        if let (Ok(verification), Some(tokens)) = (&result, &self.tokens) {
            let credentials = presented.credentials;
            tokens.insert(credentials, trusted, verification, snapshot.generation);
        }
        let basis = result.as_ref().ok().filter(|_| presented.with_basis);
        Attempt {
            trusted: self.audit.is_on().then(|| Arc::clone(trusted)),
            basis: basis.map(|verification| {
                Box::new(Basis {
                    trusted: Arc::clone(trusted),
                    key: verification.key.clone(),
                    generation: snapshot.generation,
                })
            }),
            result: result.map(|verification| verification.token),
            key,
            remembered: false,
        }
    }

    fn conclude<B>(
        &self,
        arrived: &impl Deref<Target = Moment>,
        request: &Request<B>,
        terms: Terms<'_>,
        attempt: Attempt,
        waited: bool,
    ) -> Verdict {
        let is_optional = terms.mode == Mode::Optional;
        // A token that is good, and not enough.
        let mut denied = None;
        let mut admit = |token: Option<AccessToken>, basis| {
            if let Some(rule) = terms.rule
                && let Err(rejection) = rule.check(token.as_ref())
            {
                denied = token;
                return Verdict::Reject(rejection);
            }
            Verdict::Admit(token, basis)
        };
        let verdict = match attempt.result {
            Ok(token) => admit(Some(token), attempt.basis),
            Err(rejection) if is_optional && rejection.kind() == RejectionKind::TokenMissing => {
                admit(None, None)
            }
            Err(rejection) => Verdict::Reject(rejection),
        };
        if self.audit.is_on() {
            let now = self.clock.now();
            let (token, rejection) = match &verdict {
                Verdict::Admit(token, _) => (token.as_ref(), None),
                Verdict::Reject(rejection) => (denied.as_ref(), Some(rejection)),
                Verdict::Wait(_) => (None, None),
            };
            self.audit.record(&Event::Decision(Decision {
                at: now.wall,
                method: request.method(),
                path: request.uri().path(),
                route: route_of(request),
                token,
                rejection,
                issuer: attempt
                    .trusted
                    .as_ref()
                    .map(|trusted| trusted.server.issuer()),
                keys: attempt.key.as_ref().map(|key| KeyFacts {
                    kid: key.kid.as_deref(),
                    generation: key.snapshot.generation,
                    age: key.snapshot.age(now),
                    stale: key.snapshot.age(now) >= key.snapshot.life,
                }),
                took: now.monotonic.saturating_sub(arrived.monotonic),
                waited,
                remembered: attempt.remembered,
            }));
        }
        verdict
    }
}

/// Remembers a request that is let through, for the event if it is refused further in, or its
/// stream is ended. There only if there are audit sinks.
pub(crate) struct Witness {
    authenticator: Arc<Authenticator>,
    method: Method,
    path: String,
    route: Option<String>,
    token: Option<AccessToken>,
}

impl Witness {
    pub(crate) fn new<B>(
        authenticator: &Arc<Authenticator>,
        request: &Request<B>,
        token: Option<&AccessToken>,
    ) -> Self {
        Self {
            authenticator: Arc::clone(authenticator),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: route_of(request).map(str::to_owned),
            token: token.cloned(),
        }
    }

    /// Tells the audit sinks.
    pub(crate) fn record(&self, rejection: &Rejection) {
        let now = self.authenticator.clock.now();
        self.authenticator.audit.record(&Event::Decision(Decision {
            at: now.wall,
            method: &self.method,
            path: &self.path,
            route: self.route.as_deref(),
            token: self.token.as_ref(),
            rejection: Some(rejection),
            issuer: self.token.as_ref().map(AccessToken::issuer),
            keys: None,
            took: Duration::ZERO,
            waited: false,
            remembered: false,
        }));
    }
}

#[cfg(feature = "axum")]
fn route_of<B>(request: &Request<B>) -> Option<&str> {
    let matched: &axum::extract::MatchedPath = request.extensions().get()?;
    Some(matched.as_str())
}

#[cfg(not(feature = "axum"))]
fn route_of<B>(_: &Request<B>) -> Option<&str> {
    None
}
