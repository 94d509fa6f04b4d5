//! Opaque tokens, and others that only their authorization server can judge.
#![cfg(all(feature = "axum", feature = "introspection", feature = "test-util"))]

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Form, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use portcullis::{
    AccessToken, AuthenticateLayer, AuthorizationServer, ClientAuthentication, Introspection,
    ResourceServer, Role, RoleMapping, TenantPolicy, TenantResolver, TenantsUnavailable, UnixTime,
    test_util::FakeClock,
};
use serde_json::{Value, json};
use support::{Log, ask, in_time, is_token_cache_off, open_download, token_cache};
use tokio::{net::TcpListener, task::JoinSet};

/// An authorization server that knows its tokens, and answers as it is told to.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    tokens: HashMap<String, Value>,
    /// What to answer instead.
    instead: Option<Instead>,
    asked: Vec<(HeaderMap, HashMap<String, String>)>,
}

#[derive(Clone)]
enum Instead {
    Status(u16),
    Body(String),
    Nothing,
    Elsewhere,
}

impl Endpoint {
    async fn start(&self) -> String {
        let app = Router::new()
            .route("/introspect", post(answer))
            .route("/elsewhere", post(answer))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        origin
    }

    fn knows(&self, token: &str, answer: Value) {
        self.0
            .lock()
            .unwrap()
            .tokens
            .insert(token.to_owned(), answer);
    }

    fn behave(&self, instead: Option<Instead>) {
        self.0.lock().unwrap().instead = instead;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

async fn answer(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let (instead, answer) = {
        let mut inner = endpoint.0.lock().unwrap();
        let answer = inner.tokens.get(&form["token"]).cloned();
        inner.asked.push((headers, form));
        (inner.instead.clone(), answer)
    };
    match instead {
        Some(Instead::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Instead::Body(body)) => body.into_response(),
        Some(Instead::Nothing) => std::future::pending().await,
        Some(Instead::Elsewhere) => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response()
        }
        None => match answer {
            Some(answer) => answer.to_string().into_response(),
            None => json!({ "active": false }).to_string().into_response(),
        },
    }
}

struct Scene {
    endpoint: Endpoint,
    origin: String,
    clock: FakeClock,
    app: Router,
    log: Log,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|introspection| introspection).await
    }

    async fn of(client: ClientAuthentication) -> Self {
        Self::build(client, |introspection| introspection).await
    }

    async fn with(introspection: impl FnOnce(Introspection) -> Introspection) -> Self {
        let client = ClientAuthentication::basic("api", "s3:cret/ü");
        Self::build(client, introspection).await
    }

    async fn build(
        client: ClientAuthentication,
        introspection: impl FnOnce(Introspection) -> Introspection,
    ) -> Self {
        let endpoint = Endpoint::default();
        let origin = endpoint.start().await;
        let introspection =
            introspection(Introspection::new(&format!("{origin}/introspect"), client));
        let trusted = AuthorizationServer::introspected(&origin, introspection)
            .audience("api://orders")
            .roles(RoleMapping::new().grant(Role::Admin, ["admins"]));
        let clock = FakeClock::new();
        let policy = ResourceServer::builder()
            .trust(trusted)
            .token_cache(token_cache());
        let log = Log::default();
        let layer = AuthenticateLayer::builder(policy.build().unwrap())
            .clock(clock.clock())
            .audit(log.clone())
            .build();
        let app = Router::new()
            .route(
                "/",
                get(|token: AccessToken| async move {
                    let scopes: Vec<_> = token.scopes().collect();
                    format!(
                        "{} {:?} {}",
                        token.subject(),
                        token.role(),
                        scopes.join(",")
                    )
                }),
            )
            .layer(layer);
        Self {
            endpoint,
            origin,
            clock,
            app,
            log,
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    /// The answer to a token that is good for an hour.
    fn good(&self, changes: Value) -> Value {
        let mut answer = json!({
            "active": true, "iss": self.origin, "aud": "api://orders", "sub": "joe",
            "client_id": "0oa1", "scope": "orders:read orders:write", "token_type": "Bearer",
            "exp": self.now() + 3_600, "iat": self.now(), "groups": ["admins"],
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                answer.as_object_mut().unwrap().remove(name);
            } else {
                answer[name] = value.clone();
            }
        }
        answer
    }

    async fn status(&self, token: &str) -> (u16, Option<&'static str>) {
        let answer = ask(&self.app, token).await;
        (answer.status, answer.kind)
    }
}

#[tokio::test]
async fn an_active_token_is_judged_by_what_the_answer_says_of_it() {
    let scene = Scene::new().await;
    let kind_of = async |changes: Value| {
        let token = format!("opaque-{}", fastrand::u64(..));
        scene.endpoint.knows(&token, scene.good(changes));
        scene.status(&token).await
    };
    scene.endpoint.knows("opaque", scene.good(json!({})));
    let answer = ask(&scene.app, "opaque").await;
    assert_eq!(answer.body, "joe Some(Admin) orders:read,orders:write");
    for (what, changes) in [
        ("no issuer", json!({ "iss": null })),
        ("several audiences", json!({ "aud": ["x", "api://orders"] })),
        ("no expiry", json!({ "exp": null })),
        ("a client's own", json!({ "sub": null })),
    ] {
        assert_eq!(kind_of(changes).await.0, 200, "{what}");
    }
    for (changes, kind) in [
        (json!({ "iss": "https://other.example" }), "ISSUER_UNKNOWN"),
        (json!({ "iss": 1 }), "ISSUER_UNKNOWN"),
        (json!({ "aud": null }), "CLAIM_INVALID"),
        (json!({ "aud": "api://other" }), "AUDIENCE_MISMATCH"),
        (json!({ "exp": scene.now() - 61 }), "TOKEN_EXPIRED"),
        (json!({ "nbf": scene.now() + 61 }), "TOKEN_NOT_YET_VALID"),
        (json!({ "exp": "soon" }), "CLAIM_INVALID"),
        (json!({ "sub": null, "client_id": null }), "CLAIM_INVALID"),
        (json!({ "groups": "admins" }), "CLAIM_INVALID"),
        (json!({ "cnf": { "jkt": "x" } }), "BINDING_MISSING"),
        (json!({ "token_type": "DPoP" }), "BINDING_MISSING"),
        (
            json!({ "token_use": "refresh_token" }),
            "TOKEN_TYPE_REJECTED",
        ),
        (
            json!({ "token_type": "refresh_token" }),
            "TOKEN_TYPE_REJECTED",
        ),
        (json!({ "nonce": "x" }), "TOKEN_TYPE_REJECTED"),
        (json!({ "active": false }), "TOKEN_INACTIVE"),
    ] {
        assert_eq!(
            kind_of(changes.clone()).await,
            (401, Some(kind)),
            "{changes}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_is_our_trouble_and_not_the_callers() {
    for instead in [
        Instead::Status(401),
        Instead::Status(500),
        Instead::Body(String::new()),
        Instead::Body("<html>".to_owned()),
        Instead::Body("[]".to_owned()),
        Instead::Body("{}".to_owned()),
        Instead::Body(r#"{"active":"true"}"#.to_owned()),
        Instead::Body(r#"{"active":1}"#.to_owned()),
        Instead::Body(format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(40_000))),
        Instead::Elsewhere,
    ] {
        let scene = Scene::new().await;
        scene.endpoint.knows("opaque", scene.good(json!({})));
        scene.endpoint.behave(Some(instead));
        let answer = ask(&scene.app, "opaque").await;
        assert_eq!(
            (answer.status, answer.kind),
            (503, Some("KEYS_UNAVAILABLE"))
        );
        // Nobody asks again at once, and then all is well.
        scene.endpoint.behave(None);
        let asked = scene.endpoint.asked();
        assert_eq!(scene.status("opaque").await.0, 503);
        assert_eq!(scene.endpoint.asked(), asked);
        scene.clock.advance(Duration::from_secs(2));
        assert_eq!(scene.status("opaque").await.0, 200);
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let scene = Scene::with(|i| i.deadline(Duration::from_millis(200))).await;
    scene.endpoint.behave(Some(Instead::Nothing));
    assert_eq!(scene.status("opaque").await.0, 503);
}

#[tokio::test]
async fn an_answer_holds_as_long_as_it_may_and_no_longer_than_the_token() {
    if is_token_cache_off() {
        return;
    }
    let scene = Scene::new().await;
    scene
        .endpoint
        .knows("opaque-token-long", scene.good(json!({})));
    scene.endpoint.knows(
        "opaque-token-short",
        scene.good(json!({ "exp": scene.now() + 1 })),
    );
    for _ in 0..3 {
        assert_eq!(scene.status("opaque-token-long").await.0, 200);
        assert_eq!(scene.status("opaque-token-short").await.0, 200);
    }
    assert_eq!(scene.endpoint.asked(), 2);
    scene.clock.advance(Duration::from_secs(58));
    scene
        .endpoint
        .knows("opaque-token-long", json!({ "active": false }));
    assert_eq!(
        scene.status("opaque-token-long").await.0,
        200,
        "58 seconds later"
    );
    scene.clock.advance(Duration::from_secs(3));
    assert_eq!(
        scene.status("opaque-token-long").await,
        (401, Some("TOKEN_INACTIVE")),
        "61 seconds later"
    );
    assert_eq!(
        scene.status("opaque-token-short").await,
        (401, Some("TOKEN_EXPIRED")),
        "leeway included"
    );
}

#[tokio::test]
async fn an_answer_does_not_hold_longer_for_a_machine_that_was_suspended() {
    let scene = Scene::new().await;
    scene.endpoint.knows("opaque", scene.good(json!({})));
    assert_eq!(scene.status("opaque").await.0, 200);
    scene.endpoint.knows("opaque", json!({ "active": false }));
    // The monotonic clock stands still meanwhile.
    let later = scene.clock.now().as_secs() + 61;
    scene.clock.set_wall(UnixTime::from_secs(later));
    let inactive = (401, Some("TOKEN_INACTIVE"));
    assert_eq!(scene.status("opaque").await, inactive);
}

/// Those that end alike, as some servers' do, are as good as others.
#[tokio::test]
async fn every_opaque_token_is_remembered() {
    if is_token_cache_off() {
        return;
    }
    let scene = Scene::new().await;
    let token = |n: usize| format!("{n}-of-the-same-authorization-server");
    for _ in 0..3 {
        for n in 0..100 {
            scene.endpoint.knows(&token(n), scene.good(json!({})));
            assert_eq!(scene.status(&token(n)).await.0, 200);
        }
    }
    assert_eq!(scene.endpoint.asked(), 100);
}

#[tokio::test]
async fn without_a_time_to_hold_every_request_asks() {
    let scene = Scene::with(|i| i.cache_time(Duration::ZERO)).await;
    scene.endpoint.knows("opaque", scene.good(json!({})));
    for asked in 1..=3 {
        assert_eq!(scene.status("opaque").await.0, 200);
        assert_eq!(scene.endpoint.asked(), asked);
    }
}

#[tokio::test]
async fn many_requests_with_one_token_ask_once() {
    let scene = Scene::new().await;
    scene.endpoint.knows("opaque", scene.good(json!({})));
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let app = scene.app.clone();
        requests.spawn(async move { ask(&app, "opaque").await.status });
    }
    assert!(
        requests
            .join_all()
            .await
            .iter()
            .all(|status| *status == 200)
    );
    assert_eq!(scene.endpoint.asked(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_active_is_asked_about_again_after_a_while() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        assert_eq!(scene.status("later").await, (401, Some("TOKEN_INACTIVE")));
    }
    assert_eq!(scene.endpoint.asked(), 1);
    scene.endpoint.knows("later", scene.good(json!({})));
    scene.clock.advance(Duration::from_secs(11));
    assert_eq!(scene.status("later").await.0, 200);
}

#[tokio::test]
async fn a_flood_of_garbage_is_bounded() {
    let scene = Scene::with(|i| i.max_requests(2)).await;
    let mut requests = JoinSet::new();
    for n in 0..500 {
        let app = scene.app.clone();
        requests.spawn(async move { ask(&app, &format!("junk-{n}")).await.status });
    }
    let answers = requests.join_all().await;
    assert!(answers.iter().all(|status| [401, 503].contains(status)));
    // What is not even a token is not asked about.
    let asked = scene.endpoint.asked();
    for bad in ["a b", "ü", "", &"x".repeat(20_000)] {
        let status = ask(&scene.app, bad).await.status;
        assert!([400, 401].contains(&status), "{status}");
    }
    assert_eq!(scene.endpoint.asked(), asked);
}

#[tokio::test]
async fn the_client_proves_who_it_is() {
    let scene = Scene::new().await;
    scene.status("opaque").await;
    let (headers, form) = scene.endpoint.0.lock().unwrap().asked[0].clone();
    // base64("api:s3%3Acret%2F%C3%BC")
    assert_eq!(
        headers["authorization"],
        "Basic YXBpOnMzJTNBY3JldCUyRiVDMyVCQw=="
    );
    assert_eq!(form.get("token").map(String::as_str), Some("opaque"));
    assert!(!form.contains_key("client_secret"));

    let client = ClientAuthentication::post("api", "s3cret");
    assert!(!format!("{client:?}").contains("s3cret"));
    let scene = Scene::of(client).await;
    scene.status("opaque").await;
    let (headers, form) = scene.endpoint.0.lock().unwrap().asked[0].clone();
    assert!(!headers.contains_key("authorization"));
    assert_eq!(
        (&*form["client_id"], &*form["client_secret"]),
        ("api", "s3cret")
    );
}

#[tokio::test]
async fn jwts_and_opaque_tokens_go_side_by_side() {
    let endpoint = Endpoint::default();
    let origin = endpoint.start().await;
    let clock = FakeClock::new();
    let okta = portcullis::test_util::TestAuthorizationServer::start_at(clock.clone()).await;
    let issuer = okta.custom("default");
    let client = ClientAuthentication::basic("api", "secret");
    let introspection = Introspection::new(&format!("{origin}/introspect"), client);
    let server = AuthorizationServer::okta_custom(okta.origin(), "default")
        .audience("api://default")
        .introspection(introspection);
    let policy = ResourceServer::builder()
        .trust(server)
        .token_cache(token_cache());
    let layer = AuthenticateLayer::builder(policy.build().unwrap())
        .clock(clock.clock())
        .build();
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    assert_eq!(ask(&app, &issuer.mint(json!({}))).await.status, 200);
    assert_eq!(
        ask(&app, &issuer.mint(json!({ "aud": "x" }))).await.status,
        401
    );
    assert_eq!(endpoint.asked(), 0, "JWTs are verified here");
    endpoint.knows(
        "opaque",
        json!({ "active": true, "aud": "api://default", "sub": "joe" }),
    );
    assert_eq!(ask(&app, "opaque").await.status, 200);
    assert_eq!(endpoint.asked(), 1);
    // Nor is a JWT asked about that was changed to look like none.
    for end in ["=", "A", "~"] {
        let changed = format!("{}{end}", issuer.mint(json!({})));
        assert_eq!(ask(&app, &changed).await.status, 401, "{end}");
    }
    assert_eq!(endpoint.asked(), 1);
    // A signature that does not fit is no reason to ask.
    let mut forged = issuer.mint(json!({}));
    forged.truncate(forged.len() - 8);
    forged.push_str("AAAAAAAA");
    assert_eq!(ask(&app, &forged).await.status, 401);
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn sinks_hear_of_answers_and_never_of_tokens() {
    let scene = Scene::new().await;
    scene.endpoint.knows("opaque-s3cret", scene.good(json!({})));
    scene.status("opaque-s3cret").await;
    scene.endpoint.behave(Some(Instead::Status(500)));
    scene.status("other-s3cret").await;
    let lines = scene.log.with_prefix("introspection");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("active=true") && lines[1].contains("500"),
        "{lines:?}"
    );
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
}

#[test]
fn what_cannot_be_asked_is_a_mistake() {
    let client = || ClientAuthentication::basic("api", "secret");
    let build = |introspection: Introspection| {
        let server = AuthorizationServer::introspected("https://id.example", introspection);
        ResourceServer::builder()
            .trust(server.audience("api"))
            .build()
    };
    let good = || Introspection::new("https://id.example/introspect", client());
    assert!(build(good()).is_ok());
    for endpoint in [
        "",
        "introspect",
        "http://id.example/introspect",
        "https://u:p@id.example/",
    ] {
        let error = build(Introspection::new(endpoint, client()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("introspection endpoint") && !error.contains("u:p"),
            "{error}"
        );
    }
    let minute = Duration::from_secs(61);
    for bad in [
        good().cache_time(minute),
        good().inactive_time(minute),
        good().deadline(Duration::ZERO),
        good().max_requests(0),
        Introspection::new(
            "https://id.example/introspect",
            ClientAuthentication::basic("", "x"),
        ),
    ] {
        assert!(build(bad.clone()).is_err(), "{bad:?}");
    }
    let server = |issuer: &str| AuthorizationServer::introspected(issuer, good()).audience("api");
    let several = ResourceServer::builder()
        .trust(server("https://a.example"))
        .trust(server("https://b.example"))
        .build();
    assert!(
        several
            .unwrap_err()
            .to_string()
            .contains("https://b.example")
    );
}

#[tokio::test]
async fn a_jwt_that_is_asked_about_is_still_what_it_is() {
    let scene = Scene::new().await;
    let clock = scene.clock.clone();
    let okta = portcullis::test_util::TestAuthorizationServer::start_at(clock).await;
    let issuer = okta.custom("default");
    for (claims, kind) in [
        (json!({}), None),
        (json!({ "nonce": "x" }), Some("TOKEN_TYPE_REJECTED")),
        (json!({ "jti": "ID.1" }), Some("TOKEN_TYPE_REJECTED")),
        (json!({ "cnf": { "jkt": "x" } }), Some("BINDING_MISSING")),
    ] {
        let mut claims = claims;
        claims["iss"] = scene.origin.clone().into();
        let token = issuer.mint(claims);
        // The answer says nothing of it.
        scene.endpoint.knows(&token, scene.good(json!({})));
        assert_eq!(ask(&scene.app, &token).await.kind, kind);
    }
    assert_eq!(scene.endpoint.asked(), 1, "nobody is asked in vain");
}

/// A resolver of one tenant, and whom it knows it as.
struct One(String, AuthorizationServer);

impl TenantResolver for One {
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        Ok((issuer == self.0).then(|| self.1.clone()))
    }
}

#[tokio::test]
async fn a_tenant_that_introspects_is_known_as_the_resolver_knows_it() {
    let endpoint = Endpoint::default();
    let origin = endpoint.start().await;
    let client = ClientAuthentication::basic("api", "secret");
    let introspection = Introspection::new(&format!("{origin}/introspect"), client);
    let alias = format!("{origin}/");
    let server = AuthorizationServer::introspected(&origin, introspection)
        .audience("api://orders")
        .issuer_alias(&alias);
    let resolver = One(alias.clone(), server);
    let policy = ResourceServer::builder().tenants(resolver, TenantPolicy::default());
    let layer = AuthenticateLayer::new(policy.build().unwrap());
    let okta = portcullis::test_util::TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");

    // Nobody is asked about a token that is refused anyway.
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(layer.clone());
    let bound = issuer.mint(json!({ "iss": alias, "cnf": { "jkt": "x" } }));
    assert_eq!(ask(&app, &bound).await.kind, Some("BINDING_MISSING"));
    assert_eq!(endpoint.asked(), 0);

    // The answer does not say whose the token is; its stream goes on all the same.
    let token = issuer.mint(json!({ "iss": alias }));
    let answer = json!({ "active": true, "aud": "api://orders", "sub": "x" });
    endpoint.knows(&token, answer);
    let (mut stream, pieces) = open_download(&layer, &token).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    pieces.send("second").unwrap();
    assert_eq!(in_time(stream.chunk()).await.unwrap().unwrap(), "second");
}

#[tokio::test]
async fn a_token_that_gets_no_answer_takes_it_from_nobody_else() {
    for status in [400, 403, 404, 413] {
        let scene = Scene::new().await;
        scene
            .endpoint
            .knows("a-good-opaque-token", scene.good(json!({})));
        scene.endpoint.behave(Some(Instead::Status(status)));
        assert_eq!(scene.status("../../../../etc/passwd").await.0, 503);
        scene.endpoint.behave(None);
        assert_eq!(scene.status("a-good-opaque-token").await.0, 200, "{status}");
    }
}
