//! The key cache over real sockets: rotation, floods, outages, and servers that misbehave.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, JwksPolicy, KeyStatus, ResourceServer,
    UnixTime,
    test_util::{Behaviour, SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use support::{Answer, World, ask, in_time, trusted};
use tokio::{io::AsyncWriteExt, net::TcpListener, runtime::Runtime, task::JoinSet};

async fn all_at_once(app: &Router, tokens: impl IntoIterator<Item = String>) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for token in tokens {
        let app = app.clone();
        requests.spawn(async move { ask(&app, &token).await });
    }
    in_time(requests.join_all()).await
}

fn junk(world: &World) -> String {
    let kid = format!("junk-{}", fastrand::u64(..));
    let key = world.issuer.key().with_kid(kid);
    key.sign(&world.issuer.claims(json!({})))
}

#[tokio::test]
async fn a_herd_on_a_cold_start_makes_one_fetch_and_all_are_answered() {
    let world = World::with(|policy| policy.keys_wait(Duration::from_secs(30))).await;
    world
        .issuer
        .behave(Behaviour::Slow(Duration::from_millis(200)));
    let token = world.issuer.mint(json!({}));
    let answers = all_at_once(&world.app, vec![token; 1_000]).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn nothing_is_fetched_before_it_is_needed() {
    let world = World::new().await;
    for token in ["", "x", "a.b.c"] {
        assert_ne!(world.ask(token).await.status, 200);
    }
    let stranger = world
        .issuer
        .mint(json!({ "iss": "https://stranger.example" }));
    assert_eq!(world.ask(&stranger).await.kind, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.issuer.fetches(), 0);
}

#[tokio::test]
async fn a_new_key_is_found_by_its_first_token() {
    let world = World::new().await;
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    world.issuer.rotate();
    let tokens = vec![world.issuer.mint(json!({})); 100];
    let answers = all_at_once(&world.app, tokens).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.issuer.fetches(), 2);
    assert_eq!(
        world.log.with_prefix("keys"),
        [
            "keys generation=1 keys=1 added=1 removed=0",
            "keys generation=2 keys=2 added=1 removed=0"
        ]
    );
}

#[tokio::test]
async fn a_thousand_random_kids_cause_two_fetches_and_are_refused() {
    let world = World::new().await;
    let good = world.issuer.mint(json!({}));
    assert_eq!(world.ask(&good).await.status, 200);
    let tokens: Vec<_> = (0..1_000).map(|_| junk(&world)).collect();
    let answers = all_at_once(&world.app, tokens).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.kind == Some("KEY_UNKNOWN"))
    );
    assert!(
        world.issuer.fetches() <= 3,
        "{} fetches",
        world.issuer.fetches()
    );
    assert_eq!(world.ask(&good).await.status, 200);
}

#[tokio::test]
async fn one_unknown_kid_causes_one_fetch() {
    let world = World::new().await;
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    let token = junk(&world);
    let answers = all_at_once(&world.app, vec![token; 1_000]).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    assert_eq!(world.issuer.fetches(), 2);
}

#[tokio::test]
async fn junk_delays_a_rotation_by_one_interval_at_most() {
    let world = World::new().await;
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    for _ in 0..3 {
        assert_eq!(world.ask(&junk(&world)).await.status, 401);
    }
    world.issuer.rotate();
    let rotated = world.issuer.mint(json!({}));
    assert_eq!(
        world.ask(&rotated).await.kind,
        Some("KEY_UNKNOWN"),
        "the bucket is empty"
    );
    in_time(world.until_fetched(Duration::from_secs(15))).await;
    assert_eq!(
        world.ask(&rotated).await.status,
        200,
        "seen without being asked for"
    );
}

#[tokio::test]
async fn kids_no_server_has_cause_no_fetch() {
    let world = World::new().await;
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    let key = world.issuer.key().with_kid("k".repeat(10_000));
    let token = key.sign(&world.issuer.claims(json!({})));
    assert_eq!(world.ask(&token).await.kind, Some("KEY_UNKNOWN"));
    let nameless = world
        .issuer
        .key()
        .sign_with_header(&json!({ "alg": "RS256" }), &world.issuer.claims(json!({})));
    assert_eq!(world.ask(&nameless).await.status, 200);
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn a_removed_key_is_refused_once_the_set_is_fetched_again() {
    let world = World::new().await;
    let old = world.issuer.key();
    let token = world
        .issuer
        .mint(json!({ "exp": world.clock.now().as_secs() + 86_400 }));
    assert_eq!(world.ask(&token).await.status, 200);
    world.issuer.rotate();
    world.issuer.remove(old.kid());
    assert_eq!(world.ask(&token).await.status, 200, "nobody knows yet");
    in_time(world.until_fetched(Duration::from_secs(3_600))).await;
    assert_eq!(world.ask(&token).await.kind, Some("KEY_UNKNOWN"));
    assert!(
        world
            .log
            .lines()
            .contains(&"keys generation=2 keys=1 added=1 removed=1".to_owned())
    );
}

#[tokio::test]
async fn a_key_replaced_under_its_kid_is_noticed_once() {
    let world = World::new().await;
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    let first = SigningKey::generate(Algorithm::Rs256);
    world.issuer.publish_only([first.jwk()]);
    world.issuer.sign_with(&first);
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    let second = SigningKey::generate(Algorithm::Rs256).with_kid(first.kid());
    world.issuer.publish_only([second.jwk()]);
    world.issuer.sign_with(&second);
    let fetches = world.issuer.fetches();
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);
    assert_eq!(world.issuer.fetches(), fetches + 1);

    // Forged signatures under a key that stays are worth one look.
    world.clock.advance(Duration::from_secs(60));
    let forged = SigningKey::generate(Algorithm::Rs256).with_kid(second.kid());
    for _ in 0..20 {
        let token = forged.sign(&world.issuer.claims(json!({})));
        assert_eq!(world.ask(&token).await.kind, Some("SIGNATURE_INVALID"));
    }
    assert_eq!(world.issuer.fetches(), fetches + 2);
}

#[tokio::test]
async fn without_keys_an_outage_is_our_fault_and_ends_by_itself() {
    for behaviour in [
        Behaviour::Down,
        Behaviour::Status(500),
        Behaviour::Status(404),
        Behaviour::Status(204),
        Behaviour::TooManyRequests(2),
        Behaviour::Body("<html>".to_owned()),
        Behaviour::Body(String::new()),
        Behaviour::Body(r#"{"keys":[]}"#.to_owned()),
        Behaviour::Body(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_owned()),
        Behaviour::Huge(10 * 1_024 * 1_024),
        Behaviour::Redirect("http://localhost:9/keys".to_owned()),
    ] {
        let world = World::new().await;
        world.issuer.behave(behaviour.clone());
        let token = world.issuer.mint(json!({}));
        for answer in all_at_once(&world.app, vec![token.clone(); 20]).await {
            assert_eq!(
                (answer.status, answer.kind),
                (503, Some("KEYS_UNAVAILABLE")),
                "{behaviour:?}"
            );
            assert_eq!(answer.challenge, None);
            assert!(
                answer
                    .retry_after
                    .is_some_and(|seconds| (1..=60).contains(&seconds))
            );
        }
        assert_eq!(
            world.issuer.fetches(),
            1,
            "{behaviour:?}: one attempt, then backing off"
        );
        assert!(matches!(
            world.layer.health()[0].status,
            KeyStatus::Down { .. }
        ));
        world.issuer.behave(Behaviour::Normal);
        in_time(world.until_fetched(Duration::from_secs(5))).await;
        assert_eq!(world.ask(&token).await.status, 200, "{behaviour:?}");
        assert_eq!(world.layer.health()[0].status, KeyStatus::Ready);
        let events = world.log.with_prefix("outage");
        assert_eq!(events.len(), 1, "{behaviour:?}: {events:?}");
        assert_eq!(world.log.with_prefix("recovery"), ["recovery after 1"]);
    }
}

#[tokio::test]
async fn with_keys_an_outage_changes_nothing_until_the_stale_cap() {
    let world = World::new().await;
    let exp = world.clock.now().as_secs() + 7 * 86_400;
    let token = world.issuer.mint(json!({ "exp": exp }));
    assert_eq!(world.ask(&token).await.status, 200);
    for behaviour in [
        Behaviour::Down,
        Behaviour::Status(503),
        Behaviour::Body("garbage".to_owned()),
        Behaviour::Huge(1_024 * 1_024),
    ] {
        world.issuer.behave(behaviour);
        in_time(world.until_fetched(Duration::from_secs(3_600))).await;
        assert_eq!(world.ask(&token).await.status, 200);
        assert_eq!(
            world.ask(&junk(&world)).await.kind,
            Some("KEYS_UNAVAILABLE"),
            "who knows?"
        );
        world.issuer.behave(Behaviour::Normal);
        in_time(world.until_fetched(Duration::from_secs(60))).await;
        assert_eq!(world.layer.health()[0].status, KeyStatus::Ready);
    }
    world.issuer.behave(Behaviour::Down);
    in_time(world.until_fetched(Duration::from_secs(3_600))).await;
    match world.layer.health()[0].status {
        KeyStatus::Degraded { age, stale } => {
            assert!(stale && age >= Duration::from_secs(3_600));
        }
        other => panic!("{other:?}"),
    }
    in_time(world.until_fetched(Duration::from_secs(3 * 3_600))).await;
    assert_eq!(
        world.ask(&token).await.kind,
        Some("KEYS_UNAVAILABLE"),
        "dead after four hours"
    );
}

#[tokio::test]
async fn a_known_key_does_not_wait_for_a_server_that_hangs() {
    let world = World::with(|policy| policy.miss_wait(Duration::from_secs(30))).await;
    let token = world.issuer.mint(json!({}));
    assert_eq!(world.ask(&token).await.status, 200);
    world
        .issuer
        .behave(Behaviour::Slow(Duration::from_secs(30)));
    let unknown = tokio::spawn({
        let (app, token) = (world.app.clone(), junk(&world));
        async move { ask(&app, &token).await }
    });
    while world.issuer.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        assert_eq!(world.ask(&token).await.status, 200);
    }
    assert!(
        !unknown.is_finished(),
        "the known key's requests went past the one that waits"
    );
    assert_eq!(
        in_time(unknown).await.unwrap().kind,
        Some("KEYS_UNAVAILABLE")
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[";
            stream.write_all(head).await.unwrap();
            open.push(stream);
        }
    });
    let origin = format!("http://{address}");
    let policy = JwksPolicy::default()
        .fetch_deadline(Duration::from_millis(300))
        .keys_wait(Duration::from_secs(30));
    let server_config = AuthorizationServer::okta_custom(&origin, "default")
        .audience("api://default")
        .jwks_policy(policy);
    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(server_config)
        .build()
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(AuthenticateLayer::new(resource_server));
    let key = SigningKey::generate(Algorithm::Es256);
    let header = json!({ "alg": "RS256", "kid": "x" });
    let claims = json!({ "iss": format!("{origin}/oauth2/default") });
    let answer = in_time(ask(&app, &key.sign_with_header(&header, &claims))).await;
    assert_eq!(answer.kind, Some("KEYS_UNAVAILABLE"));
    server.abort();
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_the_fetch() {
    let world = World::new().await;
    world
        .issuer
        .behave(Behaviour::Slow(Duration::from_millis(300)));
    let token = world.issuer.mint(json!({}));
    let request = tokio::spawn({
        let (app, token) = (world.app.clone(), token.clone());
        async move { ask(&app, &token).await }
    });
    while world.issuer.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    request.abort();
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed() {
    let world = World::new().await;
    let elsewhere = world.okta.custom("elsewhere");
    world
        .issuer
        .behave(Behaviour::Redirect(elsewhere.jwks_uri().to_owned()));
    let token = elsewhere.key().sign(&world.issuer.claims(json!({})));
    assert_eq!(world.ask(&token).await.status, 200);
    // A circle ends.
    let world = World::new().await;
    world
        .issuer
        .behave(Behaviour::Redirect(world.issuer.jwks_uri().to_owned()));
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 503);
    assert!(
        world.issuer.fetches() <= 5,
        "{} hops",
        world.issuer.fetches()
    );
}

#[tokio::test]
async fn unchanged_keys_are_not_sent_again() {
    let world = World::new().await;
    let token = world
        .issuer
        .mint(json!({ "exp": world.clock.now().as_secs() + 86_400 }));
    assert_eq!(world.ask(&token).await.status, 200);
    in_time(world.until_fetched(Duration::from_secs(3_600))).await;
    assert_eq!(
        (world.issuer.fetches(), world.issuer.revalidations()),
        (2, 1)
    );
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.layer.health()[0].status, KeyStatus::Ready);
}

#[tokio::test]
async fn the_life_of_keys_is_what_the_server_says_within_bounds() {
    for (cache_control, fresh_for, due_after) in [
        (None, 2_500, 3_600),
        (Some("max-age=600"), 400, 600),
        (Some("no-store"), 40, 60),
        (Some("max-age=0"), 40, 60),
        (Some("max-age=999999"), 2_500, 3_600),
    ] {
        let world = World::new().await;
        world.issuer.cache_control(cache_control);
        let token = world
            .issuer
            .mint(json!({ "exp": world.clock.now().as_secs() + 86_400 }));
        assert_eq!(world.ask(&token).await.status, 200);
        world.clock.advance(Duration::from_secs(fresh_for));
        assert_eq!(world.ask(&token).await.status, 200);
        assert_eq!(world.issuer.fetches(), 1, "{cache_control:?}: too soon");
        in_time(world.until_fetched(Duration::from_secs(due_after - fresh_for))).await;
        assert_eq!(world.issuer.fetches(), 2, "{cache_control:?}");
    }
}

#[tokio::test]
async fn an_empty_set_takes_the_keys_away_only_when_seen_twice() {
    let world = World::new().await;
    let token = world
        .issuer
        .mint(json!({ "exp": world.clock.now().as_secs() + 86_400 }));
    assert_eq!(world.ask(&token).await.status, 200);
    world.issuer.publish_only([]);
    world.ask(&junk(&world)).await;
    assert_eq!(world.ask(&token).await.status, 200, "once may be a mishap");
    in_time(world.until_fetched(Duration::from_secs(31))).await;
    assert_eq!(world.ask(&token).await.kind, Some("KEYS_UNAVAILABLE"));
}

#[tokio::test]
async fn servers_do_not_share_keys_floods_or_outages() {
    let okta = TestAuthorizationServer::start().await;
    let [a, b, c] = ["a", "b", "c"].map(|id| okta.custom(id));
    let org = okta.org();
    let custom =
        |id: &str| AuthorizationServer::okta_custom(okta.origin(), id).audience("api://default");
    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(custom("a"))
        .trust(custom("b"))
        .trust(custom("c"))
        .trust(AuthorizationServer::okta_org(okta.origin()).audience("0oatestclient"))
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(layer.clone());
    assert!(
        layer
            .prefetch()
            .await
            .iter()
            .all(|health| health.status == KeyStatus::Ready)
    );
    for issuer in [&a, &b, &org] {
        assert_eq!(
            ask(&app, &issuer.mint(json!({}))).await.status,
            200,
            "{issuer:?}"
        );
    }
    // Every key under every other issuer.
    for (signer, claimed) in [(&a, &b), (&b, &a), (&org, &a), (&a, &org)] {
        let token = signer.key().sign(&claimed.claims(json!({})));
        assert_eq!(ask(&app, &token).await.kind, Some("KEY_UNKNOWN"));
        let renamed = signer.key().with_kid(claimed.key().kid());
        let token = renamed.sign(&claimed.claims(json!({})));
        assert_eq!(ask(&app, &token).await.kind, Some("SIGNATURE_INVALID"));
    }
    a.behave(Behaviour::Down);
    let fetches = c.fetches();
    for number in 0..50 {
        let key = a.key().with_kid(format!("junk-{number}"));
        assert_ne!(ask(&app, &key.sign(&a.claims(json!({})))).await.status, 200);
    }
    assert_eq!(c.fetches(), fetches);
    c.rotate();
    assert_eq!(
        ask(&app, &c.mint(json!({}))).await.status,
        200,
        "c's bucket is its own"
    );
}

#[tokio::test]
async fn prefetch_gets_keys_before_the_first_request_and_does_not_insist() {
    let world = World::new().await;
    assert_eq!(
        in_time(world.layer.prefetch()).await[0].status,
        KeyStatus::Ready
    );
    world.issuer.behave(Behaviour::Down);
    assert_eq!(world.ask(&world.issuer.mint(json!({}))).await.status, 200);

    let world = World::new().await;
    world.issuer.behave(Behaviour::Status(500));
    let health = in_time(world.layer.prefetch()).await;
    assert!(matches!(health[0].status, KeyStatus::Down { .. }));
    assert_eq!(health[0].issuer, world.issuer.issuer());
}

#[tokio::test]
async fn asking_for_health_gets_the_keys() {
    let world = World::new().await;
    assert_eq!(
        world.layer.health()[0].status,
        KeyStatus::Down {
            retry_in: Duration::ZERO
        }
    );
    in_time(async {
        while world.layer.health()[0].status != KeyStatus::Ready {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_jumps_a_year_costs_one_fetch() {
    let world = World::new().await;
    let mint = || world.issuer.mint(json!({}));
    assert_eq!(world.ask(&mint()).await.status, 200);
    let year = 365 * 86_400;
    for (seconds, fetches) in [(year, 2), (0, 2), (year, 2), (0, 2)] {
        let wall = 1_767_225_600 + seconds;
        world.clock.set_wall(UnixTime::from_secs(wall));
        assert_eq!(world.ask(&mint()).await.status, 200);
        assert_eq!(world.issuer.fetches(), fetches, "at {seconds}");
    }
}

#[tokio::test]
async fn a_key_replaced_under_its_kid_by_one_for_another_algorithm_is_noticed() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let server = trusted(&okta).algorithms([Algorithm::Rs256, Algorithm::Es256]);
    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(server)
        .build()
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(AuthenticateLayer::new(resource_server));
    assert_eq!(ask(&app, &issuer.mint(json!({}))).await.status, 200);
    let ec = SigningKey::generate(Algorithm::Es256).with_kid(issuer.key().kid());
    issuer.sign_with(&ec);
    let token = issuer.mint(json!({}));
    assert_eq!(ask(&app, &token).await.kind, Some("ALGORITHM_REJECTED"));
    assert_eq!(issuer.fetches(), 2, "one look");
    issuer.publish_only([ec.jwk()]);
    assert_eq!(
        ask(&app, &token).await.kind,
        Some("ALGORITHM_REJECTED"),
        "for each generation of the set"
    );
}

#[tokio::test]
async fn a_suspended_machine_refreshes_when_it_wakes_late_in_the_life_of_its_keys() {
    let world = World::new().await;
    let token = world.issuer.mint(json!({ "exp": 2_000_000_000 }));
    assert_eq!(world.ask(&token).await.status, 200);
    let late = world.clock.now().as_secs() + 3_590;
    world.clock.set_wall(UnixTime::from_secs(late));
    assert_eq!(world.ask(&token).await.status, 200);
    in_time(world.until_fetched(Duration::ZERO)).await;
}

/// A resolver that panics, and counts how often it was asked to.
#[derive(Clone, Default)]
struct Panics(Arc<AtomicUsize>);

impl reqwest::dns::Resolve for Panics {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("this is a test");
    }
}

#[tokio::test]
async fn a_fetch_that_panics_is_not_tried_again_at_once() {
    let panics = Panics::default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(panics.clone())
        .build()
        .unwrap();
    let policy = JwksPolicy::default().keys_wait(Duration::from_millis(300));
    let server = AuthorizationServer::okta_custom("http://localhost:9", "default")
        .audience("api://default")
        .jwks_policy(policy);
    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(server)
        .build()
        .unwrap();
    let layer = AuthenticateLayer::builder(resource_server)
        .http_client(client)
        .build();
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    let claims = json!({ "iss": "http://localhost:9/oauth2/default" });
    let header = json!({ "alg": "RS256", "kid": "x" });
    let token = SigningKey::generate(Algorithm::Es256).sign_with_header(&header, &claims);
    for answer in all_at_once(&app, vec![token; 50]).await {
        assert_eq!(answer.kind, Some("KEYS_UNAVAILABLE"));
    }
    let attempts = panics.0.load(Ordering::SeqCst);
    assert!((1..=2).contains(&attempts), "{attempts} attempts");
}

#[test]
fn a_runtime_that_stands_still_is_replaced_by_the_next() {
    let (servers, okta, issuer, app, layer) = served_elsewhere();
    let still = new_runtime();
    still.block_on(layer.prefetch());
    // From here on nobody polls the runtime that the driver is on.
    issuer.rotate();
    let token = issuer.mint(json!({}));
    let serving = new_runtime();
    let first = serving.block_on(in_time(ask(&app, &token)));
    assert_eq!(first.kind, Some("KEYS_UNAVAILABLE"), "waited in vain");
    let second = serving.block_on(in_time(ask(&app, &token)));
    assert_eq!(second.status, 200);
    drop((still, okta, servers));
}

#[test]
fn a_runtime_that_was_shut_down_is_replaced_by_the_next() {
    let (servers, okta, issuer, app, _) = served_elsewhere();
    let token = issuer.mint(json!({}));

    // The fetch under way is lost with the first runtime.
    issuer.behave(Behaviour::Slow(Duration::from_secs(30)));
    new_runtime().block_on(async {
        let request = ask(&app, &token);
        let fetch_began = async {
            while issuer.fetches() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = request => panic!("answered without keys"),
            () = fetch_began => {}
        }
    });
    issuer.behave(Behaviour::Normal);
    let answer = new_runtime().block_on(in_time(ask(&app, &token)));
    assert_eq!(answer.status, 200);
    drop((okta, servers));
}

fn new_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// An authorization server on a runtime of its own, and a service that trusts it on none yet.
fn served_elsewhere() -> (
    Runtime,
    TestAuthorizationServer,
    TestIssuer,
    Router,
    AuthenticateLayer,
) {
    let servers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let okta = servers.block_on(TestAuthorizationServer::start());
    let issuer = okta.custom("default");
    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(trusted(&okta))
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(layer.clone());
    (servers, okta, issuer, app, layer)
}
