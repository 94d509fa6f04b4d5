//! Keys that one process leaves to the next.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::time::Duration;

use axum::{Router, routing::get};
use portcullis::{
    AuthenticateLayer, AuthorizationServer, JwksPolicy, KeySnapshot, KeyStatus, ResourceServer,
    test_util::{Behaviour, FakeClock, TestIssuer},
};
use serde_json::{Value, json};
use support::{World, ask, token_cache, trusted};

const HOUR: Duration = Duration::from_secs(3_600);

/// What a process that runs since an hour leaves.
async fn an_hour_later(world: &World) -> Value {
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    world.issuer.behave(Behaviour::Down);
    world.clock.advance(HOUR);
    serde_json::to_value(world.layer.key_snapshot()).unwrap()
}

/// The process after that, which knows of time what the wall clock says.
fn next_process(world: &World, clock: &FakeClock, snapshot: Value) -> (AuthenticateLayer, Router) {
    next_with(clock, trusted(&world.okta), snapshot)
}

fn next_with(
    clock: &FakeClock,
    server: AuthorizationServer,
    snapshot: Value,
) -> (AuthenticateLayer, Router) {
    let snapshot: KeySnapshot = serde_json::from_value(snapshot).unwrap();
    let policy = ResourceServer::builder()
        .trust(server)
        .token_cache(token_cache());
    let layer = AuthenticateLayer::builder(policy.build().unwrap())
        .clock(clock.clock())
        .key_snapshot(snapshot)
        .build();
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(layer.clone());
    (layer, app)
}

fn fresh(issuer: &TestIssuer) -> String {
    issuer.mint(json!({}))
}

#[tokio::test]
async fn during_an_outage_a_new_process_serves_as_the_old_one() {
    let world = World::new().await;
    let snapshot = an_hour_later(&world).await;
    let (layer, app) = next_process(&world, &world.clock, snapshot);
    assert_eq!(ask(&app, &fresh(&world.issuer)).await.status, 200);
    let status = layer.prefetch().await[0].status;
    assert!(
        matches!(status, KeyStatus::Degraded { age, stale: true } if age >= HOUR && age < HOUR * 2),
        "{status:?}"
    );
    // The hour before the snapshot counts.
    world.clock.advance(3 * HOUR - Duration::from_secs(60));
    assert_eq!(ask(&app, &fresh(&world.issuer)).await.status, 200);
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(ask(&app, &fresh(&world.issuer)).await.status, 503);
}

/// As [`an_hour_later`], and its server is back, with another key; a token by the old one.
async fn an_hour_later_with_another_key(world: &World) -> (String, Value) {
    let old = world.issuer.key();
    let by_old_key = old.sign(&world.issuer.claims(json!({})));
    let snapshot = an_hour_later(world).await;
    world.issuer.rotate();
    world.issuer.remove(old.kid());
    world.issuer.behave(Behaviour::Normal);
    (by_old_key, snapshot)
}

#[tokio::test]
async fn the_server_has_the_last_word_as_soon_as_it_answers() {
    let world = World::new().await;
    let (by_old_key, snapshot) = an_hour_later_with_another_key(&world).await;
    let (layer, app) = next_process(&world, &world.clock, snapshot);
    layer.prefetch().await;
    assert_eq!(ask(&app, &fresh(&world.issuer)).await.status, 200);
    assert_eq!(ask(&app, &by_old_key).await.kind, Some("KEY_UNKNOWN"));
}

#[tokio::test]
async fn keys_too_old_of_another_place_or_from_the_future_are_not_used() {
    let world = World::new().await;
    let snapshot = an_hour_later(&world).await;
    let token = fresh(&world.issuer);
    let change = |name: &str, value: Value| {
        let mut snapshot = snapshot.clone();
        snapshot["key_sets"][0][name] = value;
        snapshot
    };
    let now = snapshot["key_sets"][0]["fetched_at"].as_u64().unwrap() + HOUR.as_secs();
    for (what, snapshot) in [
        ("as it is", snapshot.clone()),
        (
            "too old",
            change("fetched_at", json!(now - 4 * HOUR.as_secs())),
        ),
        ("in the future", change("fetched_at", json!(now + 60))),
        (
            "another issuer",
            change("issuer", json!("https://id.example")),
        ),
        (
            "from elsewhere",
            change("source", json!("https://id.example/keys")),
        ),
        ("no keys", change("keys", json!([]))),
        (
            "no JWKs",
            change("keys", json!([1, "x", {"kty": "oct", "k": "c2VjcmV0"}])),
        ),
        ("nothing", json!({ "key_sets": [] })),
    ] {
        let (_, app) = next_process(&world, &world.clock, snapshot);
        let expected = if what == "as it is" { 200 } else { 503 };
        assert_eq!(ask(&app, &token).await.status, expected, "{what}");
    }
    let strict = JwksPolicy::default().stale_cap(Duration::ZERO);
    let server = trusted(&world.okta).jwks_policy(strict);
    let (_, app) = next_with(&world.clock, server, snapshot);
    assert_eq!(ask(&app, &token).await.status, 503, "no stale keys at all");
}

#[tokio::test]
async fn a_snapshot_says_nothing_that_is_not_public() {
    let world = World::new().await;
    let snapshot = an_hour_later(&world).await;
    let members = snapshot["key_sets"][0]["keys"][0].as_object().unwrap();
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n"]);
    let untouched = World::new().await;
    assert!(untouched.layer.key_snapshot().is_empty());
}

#[tokio::test]
async fn a_reload_does_not_bring_back_what_was_withdrawn_since_the_start() {
    let world = World::new().await;
    let (by_old_key, snapshot) = an_hour_later_with_another_key(&world).await;
    let (layer, app) = next_process(&world, &world.clock, snapshot);
    assert_eq!(ask(&app, &fresh(&world.issuer)).await.status, 200);
    assert_eq!(ask(&app, &by_old_key).await.kind, Some("KEY_UNKNOWN"));
    // Other keys of the same server, as far as is known: the policy for fetching them changed.
    world.issuer.behave(Behaviour::Down);
    let server = trusted(&world.okta).jwks_policy(JwksPolicy::default().max_keys(7));
    layer.reload(ResourceServer::builder().trust(server).build().unwrap());
    assert_eq!(ask(&app, &by_old_key).await.status, 503);
}
