//! Tenants: found by a resolver, remembered for a while, forgotten in time, and kept apart.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, body::Body, routing::get};
use http::Request;
use http_body_util::BodyExt;
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, JwksPolicy, ResourceServer, Role,
    RoleMapping, TenantPolicy, TenantResolver, TenantsUnavailable, UnixTime,
    audit::{AuditSink, Event},
    test_util::{Behaviour, FakeClock, SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use support::{Answer, Log, ask, in_time, open_download, until};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);
const TRUST_TIME: Duration = Duration::from_secs(300);
const UNKNOWN_TIME: Duration = Duration::from_secs(30);

/// Whoever would wait for a resolver that hangs, waits longer than any test does.
const FOR_EVER: Duration = Duration::from_secs(60);

/// How the register of tenants answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    Fails,
    Hangs,
    Panics,
}

/// A register of tenants, as a database would be.
#[derive(Clone, Default)]
struct Register(Arc<Kept>);

#[derive(Default)]
struct Kept {
    tenants: Mutex<HashMap<String, AuthorizationServer>>,
    /// By the issuer.
    moods: watch::Sender<HashMap<String, Mood>>,
    asked: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Register {
    fn put(&self, issuer: &TestIssuer, server: AuthorizationServer) {
        let issuer = issuer.issuer().to_owned();
        self.0.tenants.lock().unwrap().insert(issuer, server);
    }

    fn remove(&self, issuer: &TestIssuer) {
        self.0.tenants.lock().unwrap().remove(issuer.issuer());
    }

    fn mood(&self, issuer: &TestIssuer, mood: Mood) {
        let issuer = issuer.issuer().to_owned();
        self.0.moods.send_modify(|moods| {
            moods.insert(issuer, mood);
        });
    }

    /// How often it was asked for an issuer.
    fn asked(&self, issuer: &TestIssuer) -> usize {
        let asked = self.0.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| *asked == issuer.issuer())
            .count()
    }
}

impl TenantResolver for Register {
    /// What it knows when it is asked, even if it takes its time.
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        struct Leaves<'k>(&'k Kept);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.at_once.fetch_sub(1, Ordering::SeqCst);
            }
        }

        let at_once = self.0.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let _leaves = Leaves(&self.0);
        self.0.asked.lock().unwrap().push(issuer.to_owned());
        let known = self.0.tenants.lock().unwrap().get(issuer).cloned();
        let mood = |moods: &HashMap<String, Mood>| {
            let mood = moods.get(issuer).copied();
            mood.unwrap_or(Mood::Answers)
        };
        let mut moods = self.0.moods.subscribe();
        let settled = moods.wait_for(|moods| mood(moods) != Mood::Hangs).await;
        let mood = mood(&settled.unwrap());
        match mood {
            Mood::Fails => Err(TenantsUnavailable::new()),
            Mood::Panics => panic!("this is a test"),
            Mood::Answers | Mood::Hangs => Ok(known),
        }
    }
}

/// A service that knows its tenants from a register.
struct World {
    okta: TestAuthorizationServer,
    clock: FakeClock,
    register: Register,
    layer: AuthenticateLayer,
    app: Router,
    log: Log,
}

impl World {
    async fn new() -> Self {
        Self::with(|policy| policy).await
    }

    async fn with(policy: impl FnOnce(TenantPolicy) -> TenantPolicy) -> Self {
        let clock = FakeClock::new();
        let okta = TestAuthorizationServer::start_at(clock.clone()).await;
        let register = Register::default();
        let policy = policy(
            TenantPolicy::default()
                .trust_time(TRUST_TIME)
                .unknown_time(UNKNOWN_TIME)
                .deadline(FOR_EVER),
        );
        let resource_server = ResourceServer::builder()
            .tenants(register.clone(), policy)
            .token_cache(support::token_cache())
            .build()
            .unwrap();
        let log = Log::default();
        let layer = AuthenticateLayer::builder(resource_server)
            .clock(clock.clock())
            .audit(log.clone())
            .build();
        let app = app(&layer);
        Self {
            okta,
            clock,
            register,
            layer,
            app,
            log,
        }
    }

    /// A tenant that the register knows.
    fn tenant(&self, id: &str) -> TestIssuer {
        let issuer = self.okta.custom(id);
        self.register.put(&issuer, self.server(id));
        issuer
    }

    fn server(&self, id: &str) -> AuthorizationServer {
        AuthorizationServer::okta_custom(self.okta.origin(), id).audience("api://default")
    }

    /// So many tenants that share one set of keys.
    fn many_tenants(&self, count: usize) -> (TestIssuer, Vec<String>) {
        let keys = self.okta.custom("many");
        let issuers: Vec<_> = (0..count)
            .map(|n| format!("{}/tenants/{n}", self.okta.origin()))
            .collect();
        let mut tenants = self.register.0.tenants.lock().unwrap();
        tenants.extend(issuers.iter().map(|issuer| {
            let server = AuthorizationServer::with_issuer(issuer, keys.jwks_uri());
            (issuer.clone(), server.audience("api://default"))
        }));
        drop(tenants);
        (keys, issuers)
    }

    async fn ask(&self, token: &str) -> Answer {
        in_time(ask(&self.app, token)).await
    }

    async fn kind(&self, token: &str) -> Option<&'static str> {
        self.ask(token).await.kind
    }

    fn start(&self, token: &str) -> JoinHandle<Answer> {
        let (app, token) = (self.app.clone(), token.to_owned());
        tokio::spawn(async move { ask(&app, &token).await })
    }

    /// Requests until one is refused for this.
    async fn until_refused_for(&self, token: &str, kind: &str) {
        in_time(async {
            while self.kind(token).await != Some(kind) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn unresolved(&self) -> Vec<String> {
        self.log.with_prefix("TenantUnresolved")
    }
}

/// Answers with the caller's role.
fn app(layer: &AuthenticateLayer) -> Router {
    async fn role(role: Option<Extension<Role>>) -> String {
        role.map_or_else(|| "none".to_owned(), |Extension(role)| role.to_string())
    }
    Router::new().route("/", get(role)).layer(layer.clone())
}

/// A token that outlives every test.
fn lasting(issuer: &TestIssuer) -> String {
    issuer.mint(json!({ "exp": 2_000_000_000, "groups": ["admins"] }))
}

fn admins_are(role: Role) -> RoleMapping {
    RoleMapping::new().grant(role, ["admins"])
}

/// An unsigned token of anybody's.
fn unsigned(issuer: &str) -> String {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    let key = KEY.get_or_init(|| SigningKey::generate(Algorithm::EdDsa));
    key.sign_with_header(
        &json!({ "alg": "RS256", "kid": "x" }),
        &json!({ "iss": issuer }),
    )
}

/// Polls everything that can go on, many times over.
async fn let_others_run() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tenants_tokens_are_judged_by_its_own_policy_alone() {
    let world = World::new().await;
    let [a, b] = ["a", "b"].map(|id| world.okta.custom(id));
    let server = |id: &str, role| {
        AuthorizationServer::okta_custom(world.okta.origin(), id)
            .audience(format!("api://{id}"))
            .roles(admins_are(role))
    };
    world.register.put(&a, server("a", Role::Admin));
    world.register.put(&b, server("b", Role::Read));
    for (issuer, audience, expected) in [
        (&a, "api://a", Ok("admin")),
        (&b, "api://b", Ok("read")),
        (&a, "api://b", Err("AUDIENCE_MISMATCH")),
        (&b, "api://a", Err("AUDIENCE_MISMATCH")),
    ] {
        let token = issuer.mint(json!({ "aud": audience, "groups": ["admins"] }));
        for _ in 0..2 {
            let answer = world.ask(&token).await;
            let found = answer.kind.map_or(Ok(&*answer.body), Err);
            assert_eq!(found, expected, "{issuer:?} {audience}");
        }
    }
    assert_eq!(world.layer.remembered_tenants(), 2);
}

#[tokio::test]
async fn keys_of_one_tenant_do_not_verify_tokens_of_another() {
    let world = World::new().await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    for issuer in [&a, &b] {
        assert_eq!(world.ask(&lasting(issuer)).await.status, 200);
    }
    for (signer, claimed) in [(&a, &b), (&b, &a)] {
        let token = signer.key().sign(&claimed.claims(json!({})));
        assert_eq!(world.kind(&token).await, Some("KEY_UNKNOWN"));
        let renamed = signer.key().with_kid(claimed.key().kid());
        let token = renamed.sign(&claimed.claims(json!({})));
        assert_eq!(world.kind(&token).await, Some("SIGNATURE_INVALID"));
    }
}

#[tokio::test]
async fn simultaneous_requests_of_one_issuer_ask_the_resolver_once() {
    let world = World::new().await;
    let [a, stranger] = [world.tenant("a"), world.okta.custom("stranger")];
    for issuer in [&a, &stranger] {
        world.register.mood(issuer, Mood::Hangs);
    }
    let mut requests = JoinSet::new();
    for token in [lasting(&a), lasting(&stranger)] {
        for _ in 0..200 {
            let (app, token) = (world.app.clone(), token.clone());
            requests.spawn(async move { ask(&app, &token).await.status });
        }
    }
    until(|| [&a, &stranger].map(|issuer| world.register.asked(issuer)) == [1, 1]).await;
    let_others_run().await;
    assert!(requests.try_join_next().is_none(), "all of them wait");
    for issuer in [&a, &stranger] {
        world.register.mood(issuer, Mood::Answers);
    }
    let answers = in_time(requests.join_all()).await;
    for (status, expected) in [(200, 200), (401, 200)] {
        let count = answers.iter().filter(|found| **found == status).count();
        assert_eq!(count, expected, "with {status}");
    }
    assert_eq!(world.register.asked(&a), 1);
    assert_eq!(world.register.asked(&stranger), 1);
    assert_eq!((a.fetches(), stranger.fetches()), (1, 0));
}

#[tokio::test]
async fn within_trust_time_the_resolver_is_not_asked_again() {
    let world = World::new().await;
    let a = world.tenant("a");
    for _ in 0..3 {
        assert_eq!(world.ask(&lasting(&a)).await.status, 200);
        world.clock.advance(TRUST_TIME / 3 - SECOND);
    }
    assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    let_others_run().await;
    assert_eq!(world.register.asked(&a), 1);
}

#[tokio::test]
async fn after_trust_time_nobody_waits_for_a_resolver_that_hangs_until_twice_the_time() {
    let world = World::new().await;
    let a = world.tenant("a");
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    world.register.mood(&a, Mood::Hangs);
    world.clock.advance(TRUST_TIME);
    // Both the remembered token and new ones; a request that waited would wait for ever.
    for _ in 0..10 {
        assert_eq!(world.ask(&token).await.status, 200);
        assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    }
    until(|| world.register.asked(&a) == 2).await;
    world.clock.advance(TRUST_TIME - SECOND);
    assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    assert_eq!(world.register.asked(&a), 2, "one question at a time");

    world.clock.advance(SECOND);
    let requests = [world.start(&token), world.start(&lasting(&a))];
    let_others_run().await;
    assert!(requests.iter().all(|request| !request.is_finished()));
    world.register.mood(&a, Mood::Answers);
    for request in requests {
        assert_eq!(in_time(request).await.unwrap().status, 200);
    }
    assert_eq!(a.fetches(), 1);
}

#[tokio::test]
async fn a_machine_that_was_suspended_asks_before_it_trusts_a_tenant_again() {
    let world = World::new().await;
    let a = world.tenant("a");
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    world.register.remove(&a);
    // The monotonic clock stands still meanwhile.
    let later = world.clock.now().as_secs() + 2 * TRUST_TIME.as_secs();
    world.clock.set_wall(UnixTime::from_secs(later));
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
}

/// Nobody waits for it twice.
#[tokio::test]
async fn while_the_resolver_fails_it_is_asked_in_the_background() {
    let world = World::with(|policy| policy.deadline(2 * SECOND)).await;
    let a = world.tenant("a");
    assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    world.register.mood(&a, Mood::Hangs);
    world.clock.advance(2 * TRUST_TIME);
    assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    until(|| world.unresolved().len() == 1).await;
    for _ in 0..3 {
        world.clock.advance(6 * SECOND);
        let asked = world.register.asked(&a);
        let settled = world.unresolved().len();
        assert_eq!(world.ask(&lasting(&a)).await.status, 200);
        assert_eq!(world.unresolved().len(), settled, "it was not waited for");
        until(|| world.register.asked(&a) > asked).await;
        until(|| world.unresolved().len() > settled).await;
    }
    world.register.remove(&a);
    world.register.mood(&a, Mood::Answers);
    world.clock.advance(6 * SECOND);
    assert_eq!(world.ask(&lasting(&a)).await.status, 200);
    world
        .until_refused_for(&lasting(&a), "ISSUER_UNKNOWN")
        .await;
}

#[tokio::test]
async fn an_answer_in_the_background_counts_for_another_trust_time() {
    let world = World::new().await;
    let a = world.tenant("a");
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    for asked in 2..5 {
        world.clock.advance(TRUST_TIME);
        assert_eq!(world.ask(&token).await.status, 200);
        until(|| world.register.asked(&a) == asked).await;
        // Once it is answered, nobody asks until the time is over.
        let_others_run().await;
        world.clock.advance(TRUST_TIME - SECOND);
        assert_eq!(world.ask(&token).await.status, 200);
        let_others_run().await;
        assert_eq!(world.register.asked(&a), asked);
        world.clock.advance(SECOND);
        assert_eq!(world.ask(&token).await.status, 200);
        until(|| world.register.asked(&a) == asked + 1).await;
        let_others_run().await;
        world.register.0.asked.lock().unwrap().pop();
    }
}

#[tokio::test]
async fn a_tenant_that_is_gone_is_refused_after_twice_the_trust_time_at_the_latest() {
    let world = World::new().await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    let [token_a, token_b] = [&a, &b].map(lasting);
    for token in [&token_a, &token_b] {
        assert_eq!(world.ask(token).await.status, 200);
    }
    for issuer in [&a, &b] {
        world.register.remove(issuer);
    }
    // One is asked for when the first time is over, and so is refused soon after.
    world.clock.advance(TRUST_TIME);
    assert_eq!(world.ask(&token_a).await.status, 200);
    world.until_refused_for(&token_a, "ISSUER_UNKNOWN").await;
    assert_eq!(world.kind(&lasting(&a)).await, Some("ISSUER_UNKNOWN"));
    // The other is not, and its first request has to wait for the answer.
    world.clock.advance(TRUST_TIME);
    assert_eq!(world.kind(&token_b).await, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.layer.remembered_tenants(), 0);
    let gone = [&a, &b].map(|issuer| format!("gone {}", issuer.issuer()));
    assert_eq!(world.log.with_prefix("gone"), gone);
}

#[tokio::test]
async fn a_tenant_that_is_forgotten_is_asked_for_with_the_next_request() {
    let world = World::new().await;
    let a = world.tenant("a");
    let token = lasting(&a);
    for _ in 0..2 {
        assert_eq!(world.ask(&token).await.status, 200);
    }
    world.register.remove(&a);
    assert_eq!(world.ask(&token).await.status, 200, "nobody knows yet");
    world.layer.forget_tenant(a.issuer());
    assert_eq!(world.layer.remembered_tenants(), 0);
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.register.asked(&a), 2);
}

#[tokio::test]
async fn a_tenant_that_is_added_is_known_when_it_is_no_longer_remembered_as_unknown() {
    let world = World::new().await;
    let a = world.okta.custom("a");
    let token = lasting(&a);
    for _ in 0..3 {
        assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
    }
    assert_eq!(world.register.asked(&a), 1);
    world.tenant("a");
    world.clock.advance(UNKNOWN_TIME - SECOND);
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.register.asked(&a), 1);
    world.clock.advance(SECOND);
    assert_eq!(world.ask(&token).await.status, 200);
}

#[tokio::test]
async fn a_tenant_that_is_added_is_known_at_once_if_it_is_forgotten_that_it_was_not() {
    let world = World::new().await;
    let a = world.okta.custom("a");
    let token = lasting(&a);
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
    world.tenant("a");
    world.layer.forget_tenant(a.issuer());
    assert_eq!(world.ask(&token).await.status, 200);
}

#[tokio::test]
async fn a_changed_policy_counts_once_it_is_resolved_and_the_keys_stay() {
    let world = World::new().await;
    let a = world.okta.custom("a");
    let token = lasting(&a);
    let server = || world.server("a").roles(admins_are(Role::Admin));
    world.register.put(&a, server());
    for _ in 0..2 {
        assert_eq!(world.ask(&token).await.body, "admin");
    }
    world
        .register
        .put(&a, world.server("a").roles(admins_are(Role::Read)));
    world.clock.advance(2 * TRUST_TIME);
    assert_eq!(world.ask(&token).await.body, "read", "a remembered token");
    assert_eq!(world.ask(&lasting(&a)).await.body, "read");

    let other = AuthorizationServer::okta_custom(world.okta.origin(), "a").audience("api://other");
    world.register.put(&a, other);
    world.clock.advance(TRUST_TIME);
    assert_eq!(world.ask(&token).await.status, 200, "nobody knows yet");
    world.until_refused_for(&token, "AUDIENCE_MISMATCH").await;
    assert_eq!(world.kind(&lasting(&a)).await, Some("AUDIENCE_MISMATCH"));
    assert_eq!(a.fetches(), 1);
}

#[tokio::test]
async fn keys_that_come_from_elsewhere_are_fetched_there() {
    let world = World::new().await;
    let [a, elsewhere] = [world.tenant("a"), world.okta.custom("elsewhere")];
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    let moved = AuthorizationServer::with_issuer(a.issuer(), elsewhere.jwks_uri());
    world.register.put(&a, moved.audience("api://default"));
    world.clock.advance(2 * TRUST_TIME);
    assert_eq!(
        world.kind(&token).await,
        Some("KEY_UNKNOWN"),
        "a remembered token of a key that is not there"
    );
    let token = elsewhere.key().sign(&a.claims(json!({})));
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(a.fetches(), 1);
}

#[tokio::test]
async fn while_the_resolver_fails_a_new_tenant_gets_503_and_a_known_one_goes_on_until_the_stale_cap()
 {
    let stale_cap = Duration::from_secs(1_800);
    let world = World::with(|policy| policy.stale_cap(stale_cap)).await;
    let [a, new] = ["a", "new"].map(|id| world.tenant(id));
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    for issuer in [&a, &new] {
        world.register.mood(issuer, Mood::Fails);
    }
    let answer = world.ask(&lasting(&new)).await;
    assert_eq!(
        (answer.status, answer.kind),
        (503, Some("KEYS_UNAVAILABLE"))
    );
    assert!(answer.retry_after.is_some_and(|seconds| seconds >= 1));
    assert_eq!(new.fetches(), 0);
    let unresolved = world.unresolved();
    assert!(
        unresolved.len() == 1
            && unresolved[0].contains(new.issuer())
            && unresolved[0].contains("Unavailable"),
        "{unresolved:?}"
    );

    for _ in 0..5 {
        world.clock.advance(TRUST_TIME);
        assert_eq!(world.ask(&token).await.status, 200);
        assert_eq!(world.ask(&lasting(&a)).await.status, 200);
        let_others_run().await;
    }
    world.clock.advance(TRUST_TIME - SECOND);
    assert_eq!(
        world.ask(&token).await.status,
        200,
        "a second before the cap"
    );
    // What was said just before it may count for a moment longer.
    world.clock.advance(10 * SECOND);
    assert_eq!(world.ask(&token).await.status, 503, "after the cap");
    assert_eq!(world.ask(&lasting(&a)).await.status, 503);
    world.register.mood(&a, Mood::Answers);
    assert_eq!(world.ask(&token).await.status, 200, "it recovers at once");
}

#[tokio::test]
async fn a_resolver_that_panics_or_hangs_is_a_503_within_the_deadline_and_others_are_answered() {
    let world = World::with(|policy| policy.deadline(SECOND)).await;
    let [panics, hangs, sound] = ["panics", "hangs", "sound"].map(|id| world.tenant(id));
    world.register.mood(&panics, Mood::Panics);
    world.register.mood(&hangs, Mood::Hangs);
    for bad in [&panics, &hangs] {
        let waits = world.start(&lasting(bad));
        until(|| world.register.asked(bad) == 1).await;
        assert_eq!(world.ask(&lasting(&sound)).await.status, 200);
        let answer = in_time(waits).await.unwrap();
        assert_eq!(answer.status, 503, "{bad:?}");
        assert!(answer.retry_after.is_some_and(|seconds| seconds >= 1));
    }
    until(|| world.unresolved().len() == 2).await;
    let unresolved = world.unresolved();
    assert!(unresolved[0].contains(panics.issuer()), "{unresolved:?}");
    assert!(unresolved[1].contains("TimedOut"), "{unresolved:?}");
    for bad in [&panics, &hangs] {
        world.register.mood(bad, Mood::Answers);
        assert_eq!(world.ask(&lasting(bad)).await.status, 200, "it recovers");
    }
}

#[tokio::test]
async fn a_known_tenant_goes_on_while_the_resolver_panics_or_hangs() {
    for mood in [Mood::Panics, Mood::Hangs] {
        let world = World::with(|policy| policy.deadline(SECOND)).await;
        let a = world.tenant("a");
        let token = lasting(&a);
        assert_eq!(world.ask(&token).await.status, 200);
        world.register.mood(&a, mood);
        // Past twice the time everybody waits, and then goes on with what was said before.
        for _ in 0..3 {
            world.clock.advance(2 * TRUST_TIME);
            for token in [&token, &lasting(&a)] {
                assert_eq!(world.ask(token).await.status, 200, "{mood:?}");
            }
        }
    }
}

#[tokio::test]
async fn made_up_issuers_keep_nobody_from_being_asked_about_a_known_tenant() {
    let world = World::with(|policy| policy.deadline(5 * SECOND).max_resolving(2)).await;
    let a = world.tenant("a");
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    world.clock.advance(2 * TRUST_TIME);
    // More than may wait, and the resolver answers none of them.
    let mut strangers = JoinSet::new();
    for n in 0..2_000 {
        let issuer = world.okta.origin().to_owned() + &format!("/strangers/{n}");
        world.register.0.moods.send_modify(|moods| {
            moods.insert(issuer.clone(), Mood::Hangs);
        });
        let (app, token) = (world.app.clone(), unsigned(&issuer));
        strangers.spawn(async move { ask(&app, &token).await.status });
    }
    until(|| world.register.0.at_once.load(Ordering::SeqCst) == 2).await;
    let asked = world.register.asked(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.register.asked(&a), asked + 1, "it has its own turn");
    world.register.remove(&a);
    world.clock.advance(2 * TRUST_TIME);
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
    let answers = in_time(strangers.join_all()).await;
    assert!(answers.iter().all(|status| *status == 503));
    let most_at_once = world.register.0.most_at_once.load(Ordering::SeqCst);
    assert_eq!(most_at_once, 3, "two of them, and the tenant");
    assert_eq!(world.layer.remembered_tenants(), 0);
}

/// Has nobody but its streams speak of a tenant, which had to make room for another.
async fn crowd_out(world: &World, tenant: &TestIssuer, other: &TestIssuer) {
    for _ in 0..3 {
        assert_eq!(world.layer.remembered_tenants(), 1);
        assert_eq!(world.ask(&lasting(other)).await.status, 200);
    }
    assert_eq!(world.layer.remembered_tenants(), 1);
    let asked = world.register.asked(tenant);
    let_others_run().await;
    assert_eq!(world.register.asked(tenant), asked);
}

#[tokio::test]
async fn a_stream_ends_within_a_minute_of_its_tenant_also_if_that_was_forgotten_meanwhile() {
    let world = World::with(|policy| policy.max_tenants(1)).await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    let (mut stream, pieces) = open_download(&world.layer, &lasting(&a)).await;
    let minute_goes_by = async || {
        crowd_out(&world, &a, &b).await;
        let before = world.register.asked(&a);
        world.clock.advance(60 * SECOND);
        until(|| world.register.asked(&a) > before).await;
        let_others_run().await;
    };
    minute_goes_by().await;
    world.register.mood(&a, Mood::Fails);
    minute_goes_by().await;
    pieces.send("second").unwrap();
    assert_eq!(in_time(stream.chunk()).await.unwrap().unwrap(), "second");
    world.register.mood(&a, Mood::Answers);
    world.register.remove(&a);
    minute_goes_by().await;
    assert!(in_time(stream.chunk()).await.is_err(), "it is aborted");
    let ended = world.log.with_prefix("decision");
    assert!(
        ended.last().unwrap().contains("ISSUER_UNKNOWN"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_stream_of_a_forgotten_tenant_ends_with_the_reload_that_trusts_it_no_more() {
    for has_other_keys in [false, true] {
        let world = World::with(|policy| policy.max_tenants(1)).await;
        let [a, b] = ["a", "b"].map(|id| world.tenant(id));
        let (mut stream, _pieces) = open_download(&world.layer, &lasting(&a)).await;
        crowd_out(&world, &a, &b).await;
        let mut after = ResourceServer::builder().trust(world.server("b"));
        if has_other_keys {
            let elsewhere = AuthorizationServer::with_issuer(a.issuer(), b.jwks_uri());
            after = after.trust(elsewhere.audience("api://default"));
        }
        world.layer.reload(after.build().unwrap());
        world.clock.advance(60 * SECOND);
        let end = in_time(stream.chunk()).await;
        assert!(end.is_err(), "other keys: {has_other_keys}");
    }
}

/// Nor does a body that always has more to send go on.
#[tokio::test]
async fn a_body_without_end_ends_with_its_tenant() {
    async fn endless() -> Body {
        Body::from_stream(futures_util::stream::repeat(Ok::<_, Infallible>("more")))
    }
    let world = World::with(|policy| policy.max_tenants(1)).await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    let layer = world.layer.clone().end_streams(Duration::ZERO);
    let app = Router::new().route("/", get(endless)).layer(layer);
    let request = Request::get("/").header("authorization", format!("Bearer {}", lasting(&a)));
    let request = request.body(Body::empty()).unwrap();
    let mut body = app.oneshot(request).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    crowd_out(&world, &a, &b).await;
    world.register.remove(&a);
    in_time(async {
        while body.frame().await.is_some_and(|frame| frame.is_ok()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn made_up_issuers_do_not_keep_a_stream_open() {
    let world = World::with(|policy| policy.max_tenants(1)).await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    let (mut stream, _pieces) = open_download(&world.layer, &lasting(&a)).await;
    crowd_out(&world, &a, &b).await;
    world.register.remove(&a);
    let mut strangers = JoinSet::new();
    for n in 0..1_024 {
        let issuer = format!("https://made-up.example/{n}");
        world.register.0.moods.send_modify(|moods| {
            moods.insert(issuer.clone(), Mood::Hangs);
        });
        let (app, token) = (world.app.clone(), unsigned(&issuer));
        strangers.spawn(async move { ask(&app, &token).await.status });
    }
    let_others_run().await;
    world.clock.advance(60 * SECOND);
    assert!(in_time(stream.chunk()).await.is_err(), "it is aborted");
}

#[tokio::test]
async fn another_issuers_authorization_server_or_a_mistake_is_not_used() {
    let world = World::new().await;
    let [other, mistaken] = ["other", "mistaken"].map(|id| world.okta.custom(id));
    world.register.put(&other, world.server("elsewhere"));
    let without_audience =
        AuthorizationServer::okta_custom(world.okta.origin(), "mistaken").audience("");
    world.register.put(&mistaken, without_audience);
    for (issuer, problem) in [(&other, "OtherIssuer"), (&mistaken, "Invalid(")] {
        let answer = world.ask(&lasting(issuer)).await;
        assert_eq!(answer.status, 503, "{problem}");
        assert!(answer.retry_after.is_some());
        let unresolved = world.unresolved();
        let last = unresolved.last().unwrap();
        assert!(
            last.contains(problem) && last.contains(issuer.issuer()),
            "{last}"
        );
        assert_eq!(issuer.fetches(), 0);
    }
    assert_eq!(world.layer.remembered_tenants(), 0);
}

#[tokio::test]
async fn a_mistake_in_a_known_tenants_policy_leaves_the_old_one_in_force() {
    let world = World::new().await;
    let a = world.tenant("a");
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    world.register.put(&a, world.server("elsewhere"));
    world.clock.advance(2 * TRUST_TIME);
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.unresolved().len(), 1);
}

#[tokio::test]
async fn issuers_that_are_too_long_never_reach_the_resolver() {
    let world = World::new().await;
    let issuer = |length: usize| format!("https://{}", "x".repeat(length - 8));
    for (length, asked) in [(513, 0), (10_000, 0), (512, 1)] {
        let token = unsigned(&issuer(length));
        assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
        let found = world.register.0.asked.lock().unwrap().len();
        assert_eq!(found, asked, "of {length} bytes");
    }
}

#[tokio::test]
async fn no_more_tenants_are_remembered_than_there_is_room_for_and_those_forgotten_come_back() {
    let world = World::with(|policy| policy.max_tenants(10)).await;
    let (keys, issuers) = world.many_tenants(60);
    for round in 0..2 {
        for issuer in &issuers {
            let token = keys.mint(json!({ "iss": issuer, "round": round }));
            assert_eq!(world.ask(&token).await.status, 200, "{issuer}");
            let remembered = world.layer.remembered_tenants();
            assert!(remembered <= 10, "{remembered}");
        }
    }
    assert_eq!(world.layer.remembered_tenants(), 10);
    assert_eq!(
        keys.fetches(),
        120,
        "each came back, and nobody else fetches"
    );
}

#[tokio::test]
async fn tokens_of_a_tenant_that_was_forgotten_for_lack_of_room_are_judged_anew() {
    let world = World::with(|policy| policy.max_tenants(1)).await;
    let [a, b] = ["a", "b"].map(|id| world.tenant(id));
    let token = lasting(&a);
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.ask(&lasting(&b)).await.status, 200);
    assert_eq!(world.layer.remembered_tenants(), 1);
    world.register.remove(&a);
    assert_eq!(world.kind(&token).await, Some("ISSUER_UNKNOWN"));
}

#[tokio::test]
async fn a_bad_neighbour_changes_nothing_for_another_tenant() {
    for behaviour in [
        Behaviour::Down,
        Behaviour::Slow(Duration::from_secs(60)),
        Behaviour::Body("garbage".to_owned()),
        Behaviour::Status(500),
        Behaviour::Normal,
    ] {
        let world = World::new().await;
        let [bad, good] = ["bad", "good"].map(|id| world.tenant(id));
        bad.behave(behaviour.clone());
        let junk = || {
            let key = bad.key().with_kid(format!("junk-{}", fastrand::u64(..)));
            key.sign(&bad.claims(json!({})))
        };
        // They wait, or not, while the other is served.
        let waiting: Vec<_> = (0..20).map(|_| world.start(&junk())).collect();
        for _ in 0..20 {
            assert_eq!(
                world.ask(&lasting(&good)).await.status,
                200,
                "{behaviour:?}"
            );
            let refused = world.start(&junk());
            tokio::task::yield_now().await;
            refused.abort();
        }
        assert_eq!(good.fetches(), 1, "{behaviour:?}");
        assert!(bad.fetches() <= 3, "{behaviour:?}: {}", bad.fetches());
        assert_eq!(world.register.asked(&good), 1);
        for request in waiting {
            request.abort();
        }
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_resolution() {
    let world = World::new().await;
    let a = world.tenant("a");
    world.register.mood(&a, Mood::Hangs);
    let first = world.start(&lasting(&a));
    until(|| world.register.asked(&a) == 1).await;
    let second = world.start(&lasting(&a));
    let_others_run().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    world.register.mood(&a, Mood::Answers);
    assert_eq!(in_time(second).await.unwrap().status, 200);
    assert_eq!(world.register.asked(&a), 1);

    // Nor if nobody is left who waits.
    let b = world.tenant("b");
    world.register.mood(&b, Mood::Hangs);
    let only = world.start(&lasting(&b));
    until(|| world.register.asked(&b) == 1).await;
    only.abort();
    world.register.mood(&b, Mood::Answers);
    until(|| world.layer.remembered_tenants() == 2).await;
    assert_eq!(world.ask(&lasting(&b)).await.status, 200);
    assert_eq!(world.register.asked(&b), 1);
}

#[tokio::test]
async fn what_was_asked_before_a_tenant_was_forgotten_does_not_count() {
    let world = World::new().await;
    let [added, removed] = [world.okta.custom("added"), world.tenant("removed")];
    for issuer in [&added, &removed] {
        world.register.mood(issuer, Mood::Hangs);
    }
    let waiting = [&added, &removed].map(|issuer| world.start(&lasting(issuer)));
    until(|| [&added, &removed].map(|issuer| world.register.asked(issuer)) == [1, 1]).await;
    world.tenant("added");
    world.register.remove(&removed);
    for issuer in [&added, &removed] {
        world.layer.forget_tenant(issuer.issuer());
        world.register.mood(issuer, Mood::Answers);
    }
    // Whoever waits is told what is known now.
    let [added_answer, removed_answer] = waiting;
    assert_eq!(in_time(added_answer).await.unwrap().status, 200);
    let answer = in_time(removed_answer).await.unwrap();
    assert_eq!(answer.kind, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.ask(&lasting(&added)).await.status, 200);
    assert_eq!(world.kind(&lasting(&removed)).await, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.layer.remembered_tenants(), 1);
}

#[tokio::test]
async fn authorization_servers_that_are_trusted_by_name_come_first() {
    let register = Register::default();
    let okta = TestAuthorizationServer::start().await;
    let [named, tenant] = ["named", "tenant"].map(|id| okta.custom(id));
    let server = |id: &str| AuthorizationServer::okta_custom(okta.origin(), id);
    register.put(&tenant, server("tenant").audience("api://default"));
    register.put(&named, server("named").audience("api://other"));
    let resource_server = ResourceServer::builder()
        .trust(server("named").audience("api://default"))
        .tenants(register.clone(), TenantPolicy::default())
        .token_cache(support::token_cache())
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    let app = app(&layer);
    for issuer in [&named, &tenant] {
        for _ in 0..2 {
            assert_eq!(ask(&app, &issuer.mint(json!({}))).await.status, 200);
        }
    }
    assert_eq!(
        [&named, &tenant].map(|issuer| register.asked(issuer)),
        [0, 1]
    );
    assert_eq!(layer.remembered_tenants(), 1);
    assert_eq!(layer.health().len(), 1, "tenants are not spoken of");
}

/// A sink that forgets every tenant that it hears of.
#[derive(Clone, Default)]
struct Forgets(Arc<Mutex<Option<AuthenticateLayer>>>);

impl AuditSink for Forgets {
    fn record(&self, event: &Event<'_>) {
        let issuer = match event {
            Event::TenantUnresolved(event) => event.unverified_issuer,
            Event::Trusted(event) => event.issuer,
            _ => return,
        };
        let layer = self.0.lock().unwrap().clone();
        if let Some(layer) = layer {
            layer.forget_tenant(issuer);
        }
    }
}

/// On a thread of its own, so that a lock that never comes back fails the test.
#[test]
fn an_audit_sink_may_forget_tenants() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let okta = TestAuthorizationServer::start().await;
            let register = Register::default();
            let [fails, known] = ["fails", "known"].map(|id| okta.custom(id));
            register.mood(&fails, Mood::Fails);
            let server = AuthorizationServer::okta_custom(okta.origin(), "known");
            register.put(&known, server.audience("api://default"));
            let resource_server = ResourceServer::builder()
                .tenants(register, TenantPolicy::default())
                .build()
                .unwrap();
            let sink = Forgets::default();
            let layer = AuthenticateLayer::builder(resource_server)
                .audit(sink.clone())
                .build();
            *sink.0.lock().unwrap() = Some(layer.clone());
            let app = app(&layer);
            assert_eq!(ask(&app, &lasting(&fails)).await.status, 503);
            assert_eq!(ask(&app, &lasting(&known)).await.status, 200);
        });
        let _ = done.send(());
    });
    let limit = Duration::from_secs(10);
    assert!(is_done.recv_timeout(limit).is_ok(), "it hangs");
}

#[tokio::test]
async fn keys_of_tenants_are_fetched_by_their_own_policy() {
    let world = World::new().await;
    let a = world.okta.custom("a");
    let policy = JwksPolicy::default().keys_wait(Duration::ZERO);
    world
        .register
        .put(&a, world.server("a").jwks_policy(policy));
    a.behave(Behaviour::Slow(Duration::from_millis(50)));
    assert_eq!(
        world.ask(&lasting(&a)).await.status,
        503,
        "it does not wait"
    );
    in_time(async {
        while world.ask(&lasting(&a)).await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(a.fetches(), 1);
}
