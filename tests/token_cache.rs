//! Tokens that are remembered: nothing changes but the time that they take.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use portcullis::{
    AccessToken, Algorithm, AuthenticateLayer, RequireLayer, ResourceServer, Role,
    TokenCachePolicy,
    audit::Event,
    test_util::{Behaviour, FakeClock, SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use support::{ask, trusted};

/// Two gates before the same authorization server: one remembers tokens, one does not.
struct Pair {
    _okta: TestAuthorizationServer,
    issuer: TestIssuer,
    clock: FakeClock,
    gates: [Gate; 2],
}

struct Gate {
    app: Router,
    layer: AuthenticateLayer,
    /// Whether each decision was made from memory.
    remembered: Arc<Mutex<Vec<bool>>>,
}

impl Gate {
    fn new(okta: &TestAuthorizationServer, clock: &FakeClock, policy: TokenCachePolicy) -> Self {
        let algorithms = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
        let resource_server = ResourceServer::builder()
            .trust(trusted(okta).algorithms(algorithms))
            .token_cache(policy)
            .build()
            .unwrap();
        let remembered = Arc::<Mutex<Vec<bool>>>::default();
        let sink = Arc::clone(&remembered);
        let layer = AuthenticateLayer::builder(resource_server)
            .clock(clock.clock())
            .audit(move |event: &Event<'_>| {
                if let Event::Decision(decision) = event {
                    sink.lock().unwrap().push(decision.remembered);
                }
            })
            .build();
        let app = Router::new()
            .route(
                "/",
                get(|token: AccessToken| async move { format!("{token:?}") }),
            )
            .layer(layer.clone());
        Self {
            app,
            layer,
            remembered,
        }
    }

    async fn fetched(&self, clock: &FakeClock, by: Duration, issuer: &TestIssuer) {
        let before = issuer.fetches();
        clock.advance(by);
        while issuer.fetches() == before {
            tokio::task::yield_now().await;
        }
    }
}

impl Pair {
    async fn new() -> Self {
        let clock = FakeClock::new();
        let okta = TestAuthorizationServer::start_at(clock.clone()).await;
        let issuer = okta.custom("default");
        let policies = [TokenCachePolicy::default(), TokenCachePolicy::off()];
        let gates = policies.map(|policy| Gate::new(&okta, &clock, policy));
        Self {
            _okta: okta,
            issuer,
            clock,
            gates,
        }
    }

    /// What both say, which must be the same.
    async fn ask(&self, token: &str) -> (u16, Option<&'static str>) {
        let [ours, theirs] = [
            ask(&self.gates[0].app, token).await,
            ask(&self.gates[1].app, token).await,
        ];
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        (ours.status, ours.kind)
    }

    /// Whether the last decision of the gate that remembers was from memory.
    fn was_remembered(&self) -> bool {
        let [ours, theirs] = [0, 1].map(|gate: usize| self.gates[gate].remembered.lock().unwrap());
        assert_eq!(theirs.last(), Some(&false));
        *ours.last().unwrap()
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }
}

#[tokio::test]
async fn a_token_is_remembered_once_it_has_passed() {
    let pair = Pair::new().await;
    let token = pair.issuer.mint(json!({}));
    assert_eq!(pair.ask(&token).await.0, 200);
    assert!(!pair.was_remembered());
    assert_eq!(pair.ask(&token).await.0, 200);
    assert!(pair.was_remembered());
    let refused = pair.issuer.mint(json!({ "aud": "api://other" }));
    for _ in 0..2 {
        assert_eq!(pair.ask(&refused).await.1, Some("AUDIENCE_MISMATCH"));
        assert!(!pair.was_remembered());
    }
    let held = pair.gates[0].layer.remembered_tokens().unwrap();
    assert_eq!(held.count, 1);
    assert_eq!(pair.gates[1].layer.remembered_tokens(), None);
}

/// Leeway is 60 seconds: the last second in which it passes, and the first in which it does not.
#[tokio::test]
async fn a_remembered_token_expires_at_the_same_instant() {
    let pair = Pair::new().await;
    let token = pair.issuer.mint(json!({ "exp": pair.now() + 300 }));
    assert_eq!(pair.ask(&token).await.0, 200);
    pair.clock.advance(Duration::from_secs(359));
    assert_eq!(pair.ask(&token).await.0, 200);
    assert!(pair.was_remembered());
    pair.clock.advance(Duration::from_millis(999));
    assert_eq!(pair.ask(&token).await.0, 200);
    pair.clock.advance(Duration::from_millis(1));
    for _ in 0..2 {
        assert_eq!(pair.ask(&token).await, (401, Some("TOKEN_EXPIRED")));
    }
    // A clock that is set back makes it good again, as it would be if it came for the first time.
    pair.clock
        .set_wall(portcullis::UnixTime::from_secs(pair.now() - 100));
    assert_eq!(pair.ask(&token).await.0, 200);
    pair.clock
        .set_wall(portcullis::UnixTime::from_secs(pair.now() - 600));
    assert_eq!(pair.ask(&token).await, (401, Some("TOKEN_NOT_YET_VALID")));
}

/// A key that leaves the set takes its tokens with it, and leaves those of others alone.
#[tokio::test]
async fn a_token_is_refused_with_the_next_request_after_its_key_was_withdrawn() {
    let pair = Pair::new().await;
    let old = pair.issuer.key();
    let token = pair.issuer.mint(json!({ "exp": pair.now() + 36_000 }));
    pair.issuer.rotate();
    let other = pair.issuer.mint(json!({ "exp": pair.now() + 36_000 }));
    for _ in 0..2 {
        assert_eq!(pair.ask(&token).await.0, 200);
        assert_eq!(pair.ask(&other).await.0, 200);
    }
    assert!(pair.was_remembered());
    pair.issuer.remove(old.kid());
    for gate in &pair.gates {
        // Both gates come to know of it: the second fetch may have begun with the first.
        gate.fetched(&pair.clock, Duration::from_secs(3_600), &pair.issuer)
            .await;
    }
    while pair.gates.iter().any(|gate| {
        let health = gate.layer.health();
        !matches!(health[0].status, portcullis::KeyStatus::Ready)
    }) {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.ask(&token).await, (401, Some("KEY_UNKNOWN")));
    assert!(!pair.was_remembered());
    assert_eq!(pair.ask(&other).await.0, 200);
    assert!(pair.was_remembered(), "its key is still there");
    assert_eq!(pair.gates[0].layer.remembered_tokens().unwrap().count, 1);
}

/// Where no keys can be used, nothing can be said of a token, remembered or not.
#[tokio::test]
async fn without_keys_a_remembered_token_is_not_let_through() {
    let pair = Pair::new().await;
    let token = pair.issuer.mint(json!({ "exp": pair.now() + 360_000 }));
    for _ in 0..2 {
        assert_eq!(pair.ask(&token).await.0, 200);
    }
    pair.issuer.behave(Behaviour::Status(500));
    pair.clock.advance(Duration::from_secs(5 * 3_600));
    let answer = ask(&pair.gates[0].app, &token).await;
    assert_eq!(
        (answer.status, answer.kind),
        (503, Some("KEYS_UNAVAILABLE"))
    );
}

/// Every single byte counts.
#[tokio::test]
async fn a_remembered_token_with_one_other_character_is_another_token() {
    let pair = Pair::new().await;
    let key = SigningKey::generate(Algorithm::EdDsa);
    pair.issuer.publish(key.jwk());
    pair.issuer.sign_with(&key);
    let token = pair.issuer.mint(json!({}));
    for _ in 0..2 {
        assert_eq!(pair.ask(&token).await.0, 200);
    }
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let answer = ask(&pair.gates[0].app, std::str::from_utf8(&bytes).unwrap()).await;
        assert_eq!(answer.status, 401, "with another character at {at}");
        assert!(!pair.gates[0].remembered.lock().unwrap().last().unwrap());
    }
    for other in [
        format!("{token}A"),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
    ] {
        assert_eq!(ask(&pair.gates[0].app, &other).await.status, 401);
    }
    assert_eq!(pair.ask(&token).await.0, 200);
    assert!(pair.was_remembered());
}

#[tokio::test]
async fn scopes_and_roles_are_asked_for_on_every_request() {
    let pair = Pair::new().await;
    let layer = &pair.gates[0].layer;
    let app = |require: RequireLayer| {
        Router::new()
            .route("/", get(|| async { "in" }).route_layer(require))
            .layer(layer.clone())
    };
    let reading = app(RequireLayer::all_scopes(["read:data"]).unwrap());
    let writing = app(RequireLayer::all_scopes(["write:data"]).unwrap());
    let admin = app(RequireLayer::role(Role::Admin));
    let token = pair
        .issuer
        .mint(json!({ "scp": ["read:data"], "groups": ["readers"] }));
    for _ in 0..3 {
        assert_eq!(ask(&reading, &token).await.status, 200);
        assert_eq!(ask(&writing, &token).await.kind, Some("SCOPE_INSUFFICIENT"));
        assert_eq!(ask(&admin, &token).await.kind, Some("ROLE_INSUFFICIENT"));
    }
    assert_eq!(layer.remembered_tokens().unwrap().count, 1);
}

/// All are let through, and what is remembered of them stays within its bound.
#[tokio::test]
async fn a_flood_of_valid_tokens_stays_within_the_bound() {
    let clock = FakeClock::new();
    let okta = TestAuthorizationServer::start_at(clock.clone()).await;
    let issuer = okta.custom("default");
    let key = SigningKey::generate(Algorithm::EdDsa);
    issuer.publish(key.jwk());
    issuer.sign_with(&key);
    let gate = Gate::new(&okta, &clock, TokenCachePolicy::default().max_bytes(65_536));
    for n in 0..2_000 {
        let token = issuer.mint(json!({ "jti": n.to_string() }));
        assert_eq!(ask(&gate.app, &token).await.status, 200);
        let held = gate.layer.remembered_tokens().unwrap();
        assert!(held.bytes <= 65_536, "{held:?}");
    }
    let held = gate.layer.remembered_tokens().unwrap();
    assert!(held.count >= 20 && held.bytes >= 50_000, "{held:?}");
}

#[test]
fn a_bound_below_one_token_is_a_mistake() {
    let build = |policy| {
        let server = portcullis::AuthorizationServer::okta_custom("company.okta.com", "default");
        ResourceServer::builder()
            .trust(server.audience("api"))
            .token_cache(policy)
            .build()
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(build(TokenCachePolicy::default().max_bytes(0)), Ok(()));
    assert_eq!(build(TokenCachePolicy::default().max_entries(0)), Ok(()));
    assert_eq!(
        build(TokenCachePolicy::default().max_bytes(1_000)).unwrap_err(),
        "token_cache max_bytes is 1000: write at least 65536, or 0 for none"
    );
}
