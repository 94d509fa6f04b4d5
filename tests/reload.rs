//! The policy is replaced while requests are served: what changed counts from then on, and what did
//! not goes on as it was.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, routing::get};
use portcullis::{
    AuthenticateLayer, AuthorizationServer, KeyStatus, ResourceServer, ResourceServerBuilder, Role,
    RoleMapping, TenantPolicy, TenantResolver, TenantsUnavailable,
    test_util::{Behaviour, TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use support::{World, ask, http_client, in_time, open_download, serve, trusted, until};
use tokio::{sync::watch, task::JoinSet};

fn server(okta: &TestAuthorizationServer, id: &str) -> AuthorizationServer {
    AuthorizationServer::okta_custom(okta.origin(), id).audience("api://default")
}

fn admins_are(role: Role) -> RoleMapping {
    RoleMapping::new().grant(role, ["admins"])
}

fn policy(servers: impl IntoIterator<Item = AuthorizationServer>) -> ResourceServerBuilder {
    let servers = servers.into_iter();
    let builder = ResourceServer::builder().token_cache(support::token_cache());
    servers.fold(builder, ResourceServerBuilder::trust)
}

fn reload(layer: &AuthenticateLayer, servers: impl IntoIterator<Item = AuthorizationServer>) {
    layer.reload(policy(servers).build().unwrap());
}

/// Answers with the caller's role.
fn app(layer: &AuthenticateLayer) -> Router {
    async fn role(role: Option<Extension<Role>>) -> String {
        role.map_or_else(|| "none".to_owned(), |Extension(role)| role.to_string())
    }
    Router::new().route("/", get(role)).layer(layer.clone())
}

/// A token of somebody in the group `admins`.
fn admin(issuer: &TestIssuer) -> String {
    issuer.mint(json!({ "groups": ["admins"] }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_request_of_an_issuer_that_stays_is_let_through() {
    const RELOADS: usize = 500;
    let okta = Arc::new(TestAuthorizationServer::start().await);
    let stays = okta.custom("stays");
    let others: Vec<_> = (0..4).map(|n| okta.custom(&format!("other-{n}"))).collect();
    let layer = AuthenticateLayer::new(policy([server(&okta, "stays")]).build().unwrap());
    let app = app(&layer);
    let address = serve(app.clone()).await;
    assert_eq!(ask(&app, &admin(&stays)).await.status, 200);

    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for task in 0..4 {
        let (app, stays) = (app.clone(), stays.clone());
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        load.spawn(async move {
            let warm = admin(&stays);
            let client = http_client();
            for number in 0.. {
                let token = if number % 4 == 0 {
                    admin(&stays)
                } else {
                    warm.clone()
                };
                let status = if task == 0 {
                    let request = client.get(format!("http://{address}/")).bearer_auth(token);
                    request.send().await.unwrap().status().as_u16()
                } else {
                    ask(&app, &token).await.status
                };
                assert_eq!(status, 200, "request {number} of task {task}");
                answered.fetch_add(1, Ordering::Relaxed);
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    // Others come and go, and are asked for as well.
    for other in others.clone() {
        let (app, is_over) = (app.clone(), Arc::clone(&is_over));
        load.spawn(async move {
            let token = admin(&other);
            while !is_over.load(Ordering::Relaxed) {
                let answer = ask(&app, &token).await;
                assert!(matches!(answer.status, 200 | 401), "{answer:?}");
                tokio::task::yield_now().await;
            }
        });
    }
    for number in 0..RELOADS {
        let roles = [Role::Admin, Role::Write, Role::Read][number % 3];
        let stays = server(&okta, "stays").roles(admins_are(roles));
        let others = (0..4).filter(|other| (number >> other) % 2 == 0);
        let others = others.map(|other| server(&okta, &format!("other-{other}")));
        reload(&layer, others.chain([stays]));
        let so_far = answered.load(Ordering::Relaxed);
        until(|| answered.load(Ordering::Relaxed) > so_far).await;
    }
    is_over.store(true, Ordering::Relaxed);
    in_time(load.join_all()).await;
    assert!(answered.load(Ordering::Relaxed) >= RELOADS);
    assert_eq!(stays.fetches(), 1);
}

#[tokio::test]
async fn tokens_of_an_issuer_that_is_removed_are_refused_from_the_first_request_on() {
    let world = World::new().await;
    let other = world.okta.custom("other");
    let servers = || [trusted(&world.okta), server(&world.okta, "other")];
    reload(&world.layer, servers());
    for issuer in [&world.issuer, &other] {
        let token = admin(issuer);
        for _ in 0..2 {
            assert_eq!(world.ask(&token).await.status, 200);
        }
    }
    let (remembered, kept) = (admin(&world.issuer), admin(&other));
    for token in [&remembered, &kept] {
        assert_eq!(world.ask(token).await.status, 200);
    }
    reload(&world.layer, [server(&world.okta, "other")]);
    assert_eq!(world.ask(&remembered).await.kind, Some("ISSUER_UNKNOWN"));
    let new = admin(&world.issuer);
    assert_eq!(world.ask(&new).await.kind, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.ask(&kept).await.status, 200);
    assert_eq!((world.issuer.fetches(), other.fetches()), (1, 1));

    // If it comes back, nothing is known of it.
    reload(&world.layer, servers());
    assert_eq!(world.ask(&remembered).await.status, 200);
    assert_eq!((world.issuer.fetches(), other.fetches()), (2, 1));
}

#[tokio::test]
async fn a_changed_policy_counts_from_the_first_request_on() {
    let world = World::new().await;
    let issuer = &world.issuer;
    let app = app(&world.layer);
    let server = || server(&world.okta, "default").roles(admins_are(Role::Admin));
    let now = world.clock.now().as_secs();
    let remembered =
        issuer.mint(json!({ "groups": ["admins"], "exp": now - 50, "iat": now - 500 }));
    let found = async |token: &str| {
        let answer = ask(&app, token).await;
        answer.kind.map_or(answer.body, str::to_owned)
    };
    let both = async |expected: &str, changed: &str| {
        // The remembered one twice: what was decided anew is remembered anew.
        let new = issuer.mint(json!({ "groups": ["admins"], "exp": now - 50, "iat": now - 500 }));
        for token in [&remembered, &remembered, &new] {
            assert_eq!(found(token).await, expected, "{changed}");
        }
    };
    let cases = [
        ("as it was", policy([server()]), "admin"),
        (
            "roles",
            policy([server().roles(admins_are(Role::Read))]),
            "read",
        ),
        ("roles again", policy([server()]), "admin"),
        (
            "audience",
            policy([
                AuthorizationServer::okta_custom(world.okta.origin(), "default")
                    .audience("api://other"),
            ]),
            "AUDIENCE_MISMATCH",
        ),
        (
            "another audience beside it",
            policy([server().audience("api://other")]),
            "admin",
        ),
        (
            "leeway",
            policy([server()]).leeway(Duration::from_secs(10)),
            "TOKEN_EXPIRED",
        ),
        ("leeway again", policy([server()]), "admin"),
        (
            "max_token_age",
            policy([server().max_token_age(Duration::from_secs(60))]),
            "TOKEN_TOO_OLD",
        ),
    ];
    for (changed, policy, expected) in cases {
        world.layer.reload(policy.build().unwrap());
        both(expected, changed).await;
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn tokens_of_an_issuer_whose_policy_is_the_same_stay_remembered() {
    if support::is_token_cache_off() {
        return;
    }
    let world = World::new().await;
    let token = admin(&world.issuer);
    assert_eq!(world.ask(&token).await.status, 200);
    let before = world.layer.remembered_tokens();
    reload(
        &world.layer,
        [trusted(&world.okta), server(&world.okta, "other")],
    );
    // Its key is not fetched again, nor its signature checked: the key set is not even there.
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.layer.remembered_tokens(), before);
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn keys_are_fetched_again_if_what_they_depend_on_changed() {
    let world = World::new().await;
    let elsewhere = world.okta.custom("elsewhere");
    let token = admin(&world.issuer);
    assert_eq!(world.ask(&token).await.status, 200);
    let moved = AuthorizationServer::with_issuer(world.issuer.issuer(), elsewhere.jwks_uri());
    reload(&world.layer, [moved.audience("api://default")]);
    assert_eq!(world.ask(&token).await.kind, Some("KEY_UNKNOWN"));
    let token = elsewhere.key().sign(&world.issuer.claims(json!({})));
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!(world.issuer.fetches(), 1);
}

#[tokio::test]
async fn requests_that_wait_for_keys_get_their_answer() {
    let slow = Behaviour::Slow(Duration::from_millis(300));
    for (change, expected) in [
        ("nothing", Ok("admin")),
        ("roles", Ok("read")),
        ("removed", Err("ISSUER_UNKNOWN")),
    ] {
        let world = World::with(|policy| policy.keys_wait(Duration::from_secs(30))).await;
        let app = app(&world.layer);
        world.issuer.behave(slow.clone());
        let waits = tokio::spawn({
            let (app, token) = (app.clone(), admin(&world.issuer));
            async move { ask(&app, &token).await }
        });
        until(|| world.issuer.fetches() == 1).await;
        // As it was, but for what is changed.
        let jwks = portcullis::JwksPolicy::default().keys_wait(Duration::from_secs(30));
        let as_it_was = trusted(&world.okta).jwks_policy(jwks);
        let after = match change {
            "roles" => as_it_was.roles(admins_are(Role::Read)),
            "removed" => server(&world.okta, "other"),
            _ => as_it_was,
        };
        reload(&world.layer, [after, server(&world.okta, "another")]);
        let answer = in_time(waits).await.unwrap();
        let found = answer.kind.map_or(Ok(&*answer.body), Err);
        assert_eq!(found, expected, "{change}");
        assert_eq!(world.issuer.fetches(), 1, "{change}");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_issuer_is_removed_and_not_when_its_policy_changes() {
    let world = World::new().await;
    let other = world.okta.custom("other");
    let removed_later = || server(&world.okta, "other");
    reload(&world.layer, [trusted(&world.okta), removed_later()]);
    let (mut stays, to_stay) = open_download(&world.layer, &admin(&world.issuer)).await;
    let (mut ends, _to_end) = open_download(&world.layer, &admin(&other)).await;

    let changed = || server(&world.okta, "default").roles(admins_are(Role::Read));
    reload(&world.layer, [changed(), removed_later()]);
    to_stay.send("second").unwrap();
    assert_eq!(in_time(stays.chunk()).await.unwrap().unwrap(), "second");

    reload(&world.layer, [changed()]);
    assert!(in_time(ends.chunk()).await.is_err(), "it is aborted");
    let ended = world.log.with_prefix("decision");
    let last = ended.last().unwrap();
    assert!(last.contains("ISSUER_UNKNOWN"), "{ended:?}");
    let gone = format!("gone {}", other.issuer());
    assert_eq!(world.log.with_prefix("gone"), [gone]);
    to_stay.send("third").unwrap();
    assert_eq!(in_time(stays.chunk()).await.unwrap().unwrap(), "third");
}

#[tokio::test]
async fn prefetch_and_health_speak_of_the_new_policy() {
    let world = World::new().await;
    let new = world.okta.custom("new");
    assert_eq!(world.layer.health()[0].issuer, world.issuer.issuer());
    reload(&world.layer, [server(&world.okta, "new")]);
    let health = in_time(world.layer.prefetch()).await;
    assert_eq!(health.len(), 1);
    assert_eq!(health[0].issuer, new.issuer());
    assert_eq!(health[0].status, KeyStatus::Ready);
    assert_eq!(world.layer.health(), health);
    new.behave(Behaviour::Down);
    assert_eq!(world.ask(&admin(&new)).await.status, 200);
}

#[tokio::test]
async fn keys_of_an_issuer_that_was_removed_are_not_fetched_any_more() {
    let world = World::new().await;
    let other = world.okta.custom("other");
    let servers = || [trusted(&world.okta), server(&world.okta, "other")];
    reload(&world.layer, servers());
    in_time(world.layer.prefetch()).await;
    assert_eq!((world.issuer.fetches(), other.fetches()), (1, 1));
    reload(&world.layer, [server(&world.okta, "other")]);
    for hours in 0..3 {
        let before = other.fetches();
        world.clock.advance(Duration::from_secs(3_600));
        until(|| other.fetches() > before).await;
        assert_eq!(world.issuer.fetches(), 1, "after {hours} hours");
    }
}

/// Knows one tenant, whom it names when it is let.
#[derive(Clone)]
struct One {
    server: AuthorizationServer,
    is_let: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
}

impl One {
    fn new(server: AuthorizationServer) -> Self {
        Self {
            server,
            is_let: watch::Sender::new(true),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl TenantResolver for One {
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut is_let = self.is_let.subscribe();
        let _ = is_let.wait_for(|is_let| *is_let).await;
        Ok((self.server.issuer() == issuer).then(|| self.server.clone()))
    }
}

/// Nobody is a tenant.
struct Nobody;

impl TenantResolver for Nobody {
    async fn resolve(&self, _: &str) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        Ok(None)
    }
}

fn tenant_policy() -> TenantPolicy {
    TenantPolicy::default().deadline(Duration::from_secs(60))
}

#[tokio::test]
async fn tenants_stay_with_their_resolver_and_go_with_it() {
    let world = World::new().await;
    let tenant = world.okta.custom("tenant");
    let resolver = One::new(server(&world.okta, "tenant"));
    let builder = policy([]).tenants(resolver.clone(), tenant_policy());
    world.layer.reload(builder.clone().build().unwrap());
    let token = admin(&tenant);
    assert_eq!(world.ask(&token).await.status, 200);
    let builder = builder.trust(trusted(&world.okta));
    world.layer.reload(builder.build().unwrap());
    assert_eq!(world.ask(&token).await.status, 200);
    assert_eq!((resolver.asked(), tenant.fetches()), (1, 1));
    assert_eq!(world.layer.remembered_tenants(), 1);

    let (mut download, _pieces) = open_download(&world.layer, &token).await;
    let another = policy([]).tenants(Nobody, tenant_policy());
    world.layer.reload(another.build().unwrap());
    assert_eq!(world.ask(&token).await.kind, Some("ISSUER_UNKNOWN"));
    assert_eq!(world.layer.remembered_tenants(), 0);
    assert!(in_time(download.chunk()).await.is_err(), "it is aborted");
}

/// Whether it is asked for the first time, or again while requests go on.
#[tokio::test]
async fn what_a_resolver_says_after_it_was_replaced_is_not_relied_upon() {
    for is_known in [false, true] {
        let world = World::new().await;
        let tenant = world.okta.custom("tenant");
        let resolver = One::new(server(&world.okta, "tenant"));
        let builder = policy([]).tenants(resolver.clone(), tenant_policy());
        world.layer.reload(builder.build().unwrap());
        let token = admin(&tenant);
        if is_known {
            assert_eq!(world.ask(&token).await.status, 200);
            world.clock.advance(Duration::from_secs(300));
        }
        resolver.is_let.send_replace(false);
        let asked = resolver.asked();
        let request = tokio::spawn({
            let (app, token) = (world.app.clone(), token.clone());
            async move { ask(&app, &token).await }
        });
        until(|| resolver.asked() > asked).await;
        let another = policy([]).tenants(Nobody, tenant_policy());
        world.layer.reload(another.build().unwrap());
        resolver.is_let.send_replace(true);
        // It came before.
        let status = in_time(request).await.unwrap().status;
        assert_eq!(status, 200, "known: {is_known}");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let answer = world.ask(&token).await;
        assert_eq!(answer.kind, Some("ISSUER_UNKNOWN"), "known: {is_known}");
    }
}

#[tokio::test]
async fn tenants_are_remembered_when_nothing_but_the_leeway_changes() {
    let world = World::new().await;
    let tenant = world.okta.custom("tenant");
    let resolver = One::new(server(&world.okta, "tenant"));
    let builder = policy([]).tenants(resolver.clone(), tenant_policy());
    let reload = |leeway| {
        let policy = builder.clone().leeway(Duration::from_secs(leeway));
        world.layer.reload(policy.build().unwrap());
    };
    reload(60);
    let app = app(&world.layer);
    let expired = world.clock.now().as_secs() - 30;
    let token = tenant.mint(json!({ "exp": expired }));
    assert_eq!(ask(&app, &token).await.status, 200);
    for _ in 0..2 {
        reload(0);
        assert_eq!(ask(&app, &token).await.kind, Some("TOKEN_EXPIRED"));
        reload(60);
        assert_eq!(ask(&app, &token).await.status, 200);
    }
    assert_eq!((resolver.asked(), tenant.fetches()), (1, 1));
}

#[tokio::test]
async fn a_tenant_that_is_trusted_by_name_from_now_on_is_judged_by_that_policy() {
    for is_known in [false, true] {
        let world = World::new().await;
        let tenant = world.okta.custom("tenant");
        let as_tenant = server(&world.okta, "tenant").roles(admins_are(Role::Admin));
        let resolver = One::new(as_tenant);
        let builder = policy([]).tenants(resolver.clone(), tenant_policy());
        world.layer.reload(builder.clone().build().unwrap());
        let (app, token) = (app(&world.layer), admin(&tenant));
        let by_name = server(&world.okta, "tenant").roles(admins_are(Role::Read));
        let builder = builder.trust(by_name);
        if is_known {
            assert_eq!(ask(&app, &token).await.body, "admin");
            world.layer.reload(builder.build().unwrap());
        } else {
            resolver.is_let.send_replace(false);
            let request = tokio::spawn({
                let (app, token) = (app.clone(), token.clone());
                async move { ask(&app, &token).await }
            });
            until(|| resolver.asked() == 1).await;
            world.layer.reload(builder.build().unwrap());
            resolver.is_let.send_replace(true);
            assert_eq!(in_time(request).await.unwrap().status, 200);
        }
        for token in [&token, &token, &admin(&tenant)] {
            assert_eq!(ask(&app, token).await.body, "read", "known: {is_known}");
        }
    }
}
