//! The Tower layers: the contract, the extensions, requirements, modes, bodies and events.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{convert::Infallible, future::Future, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    routing::{get, post},
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use portcullis::{
    AccessToken, Algorithm, AuthenticateLayer, EmptyRejection, Rejection, RejectionKind,
    RequireLayer, Role, ScopeRequirement,
    test_util::{Behaviour, SigningKey},
};
use serde_json::{Value, json};
use support::{Answer, World, ask, send};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const BARE: &str = "Bearer";

fn request(method: &str, path: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

async fn get_with(app: &Router, path: &str, token: Option<&str>) -> Answer {
    send(app, request("GET", path, token)).await
}

#[tokio::test]
async fn handlers_learn_who_calls_in_every_way_there_is() {
    async fn by_extractor(token: AccessToken) -> String {
        token.subject().to_owned()
    }
    async fn by_extension(Extension(token): Extension<AccessToken>) -> String {
        token.subject().to_owned()
    }
    async fn by_role(Extension(role): Extension<Role>) -> String {
        role.to_string()
    }
    async fn by_option(token: Option<AccessToken>) -> String {
        token.map_or("nobody", |_| "somebody").to_owned()
    }
    async fn by_claims(token: AccessToken) -> String {
        #[derive(serde::Deserialize)]
        struct Claims {
            department: String,
        }
        token
            .claims_as::<Claims>()
            .map_or_else(|error| error.to_string(), |c| c.department)
    }
    let world = World::new().await;
    let app = Router::new()
        .route("/extractor", get(by_extractor))
        .route("/extension", get(by_extension))
        .route("/role", get(by_role))
        .route("/option", get(by_option))
        .route("/claims", get(by_claims))
        .layer(world.layer.clone());
    let token = world.issuer.mint(json!({
        "sub": "joe", "groups": ["writers"], "department": "Sales",
    }));
    for (path, body) in [
        ("/extractor", "joe"),
        ("/extension", "joe"),
        ("/role", "write"),
        ("/option", "somebody"),
        ("/claims", "Sales"),
    ] {
        let answer = get_with(&app, path, Some(&token)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
}

#[tokio::test]
async fn extensions_that_came_with_a_request_are_replaced() {
    let world = World::new().await;
    let admin = world.issuer.mint(json!({ "groups": ["admins"] }));
    let nobody = world.issuer.mint(json!({ "sub": "nobody" }));
    // A layer outside has left an admin's token and role; the one inside finds another token.
    let app = Router::new()
        .route(
            "/",
            get(
                |role: Option<Extension<Role>>, token: Option<AccessToken>| async move {
                    format!("{:?} {:?}", role.is_some(), token.is_some())
                },
            ),
        )
        .layer(
            ServiceBuilder::new()
                .layer(world.layer.clone())
                .map_request(move |mut request: Request<Body>| {
                    let inner = format!("Bearer {nobody}");
                    if request.headers().contains_key("x-anonymous") {
                        request.headers_mut().remove("authorization");
                    } else {
                        request
                            .headers_mut()
                            .insert("authorization", inner.parse().unwrap());
                    }
                    request
                })
                .layer(world.layer.clone().optional()),
        );
    assert_eq!(get_with(&app, "/", Some(&admin)).await.body, "false true");
    let mut anonymous = request("GET", "/", Some(&admin));
    anonymous
        .headers_mut()
        .insert("x-anonymous", "1".parse().unwrap());
    assert_eq!(send(&app, anonymous).await.body, "false false");
}

#[tokio::test]
async fn routes_ask_for_scopes_and_roles() {
    let world = World::new().await;
    let ok = || get(|| async { "ok" });
    let app = Router::new()
        .route(
            "/all",
            ok().layer(RequireLayer::all_scopes(["a", "b"]).unwrap()),
        )
        .route(
            "/any",
            ok().layer(RequireLayer::any_scope(["a", "b"]).unwrap()),
        )
        .route("/write", ok().layer(RequireLayer::role(Role::Write)))
        .route(
            "/both",
            ok().route_layer(RequireLayer::role(Role::Read))
                .route_layer(RequireLayer::all_scopes(["a"]).unwrap()),
        )
        .route(
            "/handler",
            get(|token: AccessToken| async move {
                token.require_scope(&ScopeRequirement::all_of(["b"]).unwrap())?;
                token.require_role(Role::Admin)?;
                Ok::<_, Rejection>("ok")
            }),
        )
        .layer(world.layer.clone());
    let scope_challenge = |scope: &str| {
        format!(
            r#"Bearer error="insufficient_scope", error_description="the token lacks a scope that is needed here", scope="{scope}""#
        )
    };
    let both = Some(scope_challenge("a b"));
    let bare = Some(BARE.to_owned());
    let no_scope = Some("SCOPE_INSUFFICIENT");
    let no_role = Some("ROLE_INSUFFICIENT");
    for (path, scopes, groups, status, kind, challenge) in [
        ("/all", vec!["b", "a"], vec![], 200, None, None),
        ("/all", vec!["a"], vec![], 403, no_scope, both.clone()),
        ("/all", vec!["a b"], vec![], 403, no_scope, both.clone()),
        (
            "/all",
            vec!["aa", "bb"],
            vec![],
            403,
            no_scope,
            both.clone(),
        ),
        ("/any", vec!["b"], vec![], 200, None, None),
        ("/any", vec!["c"], vec![], 403, no_scope, both.clone()),
        ("/write", vec![], vec!["writers"], 200, None, None),
        ("/write", vec![], vec!["admins"], 200, None, None),
        (
            "/write",
            vec![],
            vec!["readers"],
            403,
            no_role,
            bare.clone(),
        ),
        (
            "/write",
            vec!["a", "b"],
            vec!["others"],
            403,
            no_role,
            bare.clone(),
        ),
        ("/write", vec![], vec![], 403, no_role, bare.clone()),
        ("/both", vec!["a"], vec!["readers"], 200, None, None),
        (
            "/both",
            vec!["b"],
            vec!["readers"],
            403,
            no_scope,
            Some(scope_challenge("a")),
        ),
        ("/both", vec!["a"], vec![], 403, no_role, bare.clone()),
        ("/handler", vec!["b"], vec!["admins"], 200, None, None),
        (
            "/handler",
            vec!["a"],
            vec!["admins"],
            403,
            no_scope,
            Some(scope_challenge("b")),
        ),
        ("/handler", vec!["b"], vec![], 403, no_role, bare.clone()),
    ] {
        let token = world
            .issuer
            .mint(json!({ "scp": scopes, "groups": groups }));
        let answer = get_with(&app, path, Some(&token)).await;
        let seen = (answer.status, answer.kind, answer.challenge);
        assert_eq!(
            seen,
            (status, kind, challenge),
            "{path} {scopes:?} {groups:?}"
        );
        if let Some(kind) = kind {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["code"], kind);
        }
    }
}

#[tokio::test]
async fn without_the_layer_outside_nobody_gets_in() {
    let ok = || get(|| async { "ok" });
    let app: Router = Router::new()
        .route(
            "/scope",
            ok().layer(RequireLayer::all_scopes(["a"]).unwrap()),
        )
        .route("/role", ok().layer(RequireLayer::role(Role::Read)))
        .route("/token", get(|_: AccessToken| async { "ok" }))
        .route("/option", get(|_: Option<AccessToken>| async { "ok" }));
    for path in ["/scope", "/role", "/token", "/option"] {
        let answer = get_with(&app, path, Some("a.b.c")).await;
        assert_eq!(
            (answer.status, answer.kind),
            (500, Some("LAYER_MISSING")),
            "{path}"
        );
        assert!(answer.body.contains("AuthenticateLayer"), "{}", answer.body);
        assert_eq!(answer.challenge, None);
    }
}

#[tokio::test]
async fn optional_means_without_a_token_not_with_a_bad_one() {
    let world = World::new().await;
    let app = Router::new()
        .route(
            "/",
            get(|token: Option<AccessToken>| async move {
                token.map_or("nobody".to_owned(), |token| token.subject().to_owned())
            }),
        )
        .route("/needed", get(|_: AccessToken| async { "ok" }))
        .route(
            "/scope",
            get(|| async { "ok" }).layer(RequireLayer::all_scopes(["a"]).unwrap()),
        )
        .layer(world.layer.clone().optional());
    let token = world.issuer.mint(json!({ "sub": "joe", "scp": ["a"] }));
    let expired = world.issuer.mint(json!({ "exp": 1 }));
    assert_eq!(get_with(&app, "/", None).await.body, "nobody");
    assert_eq!(get_with(&app, "/", Some(&token)).await.body, "joe");
    assert_eq!(
        get_with(&app, "/", Some(&expired)).await.kind,
        Some("TOKEN_EXPIRED")
    );
    assert_eq!(
        get_with(&app, "/", Some("")).await.kind,
        Some("REQUEST_MALFORMED")
    );
    let mut basic = request("GET", "/", None);
    basic
        .headers_mut()
        .insert("authorization", "Basic eDp5".parse().unwrap());
    assert_eq!(send(&app, basic).await.body, "nobody");
    for path in ["/needed", "/scope"] {
        let answer = get_with(&app, path, None).await;
        let seen = (answer.status, answer.kind, answer.challenge.as_deref());
        assert_eq!(seen, (401, Some("TOKEN_MISSING"), Some(BARE)), "{path}");
        assert_eq!(get_with(&app, path, Some(&token)).await.status, 200);
    }
}

#[tokio::test]
async fn routes_added_after_the_layer_are_public() {
    let world = World::new().await;
    let app = Router::new()
        .route("/private", get(|| async { "ok" }))
        .layer(world.layer.clone())
        .route("/public", get(|| async { "ok" }));
    assert_eq!(get_with(&app, "/public", None).await.status, 200);
    assert_eq!(get_with(&app, "/public", Some("garbage")).await.status, 200);
    assert_eq!(get_with(&app, "/private", None).await.status, 401);
}

#[tokio::test]
async fn bodies_can_be_made_otherwise_also_for_refusals_from_inside() {
    let world = World::new().await;
    let layer = world
        .layer
        .clone()
        .with_response(|rejection: &Rejection, head: Response<()>| {
            let mut response = head.map(|()| Body::from(format!("no: {}", rejection.kind())));
            response.headers_mut().insert("x-own", "1".parse().unwrap());
            response
        });
    let app = Router::new()
        .route(
            "/scope",
            get(|| async { "ok" }).layer(RequireLayer::all_scopes(["a"]).unwrap()),
        )
        .route(
            "/handler",
            get(|token: AccessToken| async move { token.require_role(Role::Admin) }),
        )
        .layer(layer);
    let token = world.issuer.mint(json!({}));
    for (path, token, status, kind) in [
        ("/scope", None, 401, "TOKEN_MISSING"),
        ("/scope", Some(&token), 403, "SCOPE_INSUFFICIENT"),
        ("/handler", Some(&token), 403, "ROLE_INSUFFICIENT"),
    ] {
        let answer = get_with(&app, path, token.map(String::as_str)).await;
        assert_eq!((answer.status, answer.kind), (status, Some(kind)));
        assert_eq!(answer.body, format!("no: {kind}"));
        assert!(answer.challenge.is_some());
    }
    // What a closure forgets to keep is put back: outer layers learn the reason all the same.
    let forgetful = world
        .layer
        .clone()
        .with_response(|_: &Rejection, _: Response<()>| {
            Response::builder().status(418).body(Body::empty()).unwrap()
        });
    let app = Router::new().route("/", get(|| async {})).layer(forgetful);
    let answer = get_with(&app, "/", None).await;
    assert_eq!((answer.status, answer.kind), (418, Some("TOKEN_MISSING")));
}

#[tokio::test]
async fn what_layers_in_between_do_to_a_refusal_stays() {
    let world = World::new().await;
    let hide = |mut response: Response<Body>| {
        response
            .headers_mut()
            .insert("set-cookie", "a=b".parse().unwrap());
        response.extensions_mut().insert("of a layer in between");
        if response.headers().contains_key("x-hide") {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    };
    let app = Router::new()
        .route(
            "/shown",
            get(|| async {}).route_layer(RequireLayer::role(Role::Admin)),
        )
        .route(
            "/hidden",
            get(|| async {
                (
                    [("x-hide", "1")],
                    Rejection::from(RejectionKind::RoleInsufficient),
                )
            }),
        )
        .layer(
            ServiceBuilder::new()
                .layer(world.layer.clone())
                .map_response(hide),
        );
    let token = world.issuer.mint(json!({}));
    for (path, status) in [("/shown", 403), ("/hidden", 404)] {
        let request = request("GET", path, Some(&token));
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["set-cookie"], "a=b", "{path}");
        assert!(response.extensions().get::<&str>().is_some());
        assert!(response.extensions().get::<Rejection>().is_some());
        assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
        assert_eq!(
            response
                .headers()
                .get_all("www-authenticate")
                .iter()
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn any_service_and_body_will_do() {
    let world = World::new().await;
    let token = world.issuer.mint(json!({}));
    let bare = service_fn(|request: Request<()>| async move {
        let token = AccessToken::from_extensions(request.extensions()).unwrap();
        Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(
            token.subject().to_owned(),
        )))
    });
    let mut service = world.layer.layer(bare);
    let ask = |token: &str| {
        let value = format!("Bearer {token}");
        Request::builder()
            .header("authorization", value)
            .body(())
            .unwrap()
    };
    let response = service
        .ready()
        .await
        .unwrap()
        .call(ask(&token))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let response = service.ready().await.unwrap().call(ask("x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    // A body that cannot be made from text.
    #[derive(Default)]
    struct Own;
    let bare = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Own)) });
    let layer = world.layer.clone().with_response(EmptyRejection::new());
    let require = RequireLayer::role(Role::Admin).with_response(EmptyRejection::new());
    let mut service = layer.layer(require.layer(bare));
    let response = service
        .ready()
        .await
        .unwrap()
        .call(ask(&token))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// Tower's contract: the service that was polled ready is the one that is called, whether or not
/// the request has to wait for keys in between.
#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let world = World::new().await;
    let token = world.issuer.mint(json!({}));
    let request = || {
        let value = format!("Bearer {token}");
        Request::builder()
            .header("authorization", value)
            .body(())
            .unwrap()
    };
    // With a limit of one, a clone that was not polled ready panics when called.
    let limited = || {
        let inner = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::default()))
        });
        ServiceBuilder::new().concurrency_limit(1).service(inner)
    };
    let mut service = world.layer.layer(limited());
    for round in ["waits for keys", "keys at hand"] {
        let response = service
            .ready()
            .await
            .unwrap()
            .call(request())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{round}");
    }
}

#[tokio::test]
async fn readiness_and_calls_reach_the_inner_service_and_refusals_do_not() {
    let world = World::new().await;
    let token = world.issuer.mint(json!({}));
    world.layer.prefetch().await;
    let (mock, mut handle) = tower_test::mock::pair::<Request<()>, Response<String>>();
    let mut service = world.layer.layer(mock);
    handle.allow(0);
    let mut ready = tokio_test::task::spawn(service.ready());
    tokio_test::assert_pending!(ready.poll(), "not ready while the inner service is not");
    handle.allow(1);
    tokio_test::assert_ready_ok!(ready.poll());
    drop(ready);
    let refused = service.call(Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    tokio_test::assert_pending!(tokio_test::task::spawn(handle.next_request()).poll());

    service.ready().await.unwrap();
    let value = format!("Bearer {token}");
    let admitted = Request::builder()
        .header("authorization", value)
        .body(())
        .unwrap();
    let response = tokio::spawn(service.call(admitted));
    let (seen, send) = handle.next_request().await.unwrap();
    assert!(seen.extensions().get::<AccessToken>().is_some());
    assert!(
        seen.headers()["authorization"].is_sensitive(),
        "not printed by `Debug`"
    );
    send.send_response(Response::new("hello".to_owned()));
    assert_eq!(response.await.unwrap().unwrap().body(), "hello");
}

/// Keys at hand: the verdict is there when `call` returns, without a task, a timer or a runtime.
#[test]
fn a_request_whose_key_is_at_hand_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    runtime.block_on(world.layer.prefetch());
    drop(runtime);
    let inner =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("in".to_owned())) });
    let mut service = world.layer.layer(inner);
    for (token, status) in [(world.issuer.mint(json!({})), 200), ("x".to_owned(), 401)] {
        let value = format!("Bearer {token}");
        let request = Request::builder().header("authorization", value);
        let response = service.call(request.body(()).unwrap());
        let response = tokio_test::assert_ready_ok!(tokio_test::task::spawn(response).poll());
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn futures_are_send_and_named() {
    fn is_send<F: Future + Send>(_: &F) {}
    let world = World::new().await;
    let inner =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let mut service = world.layer.layer(inner);
    let future = service.ready().await.unwrap().call(Request::new(()));
    is_send(&future);
    assert!(format!("{future:?}").starts_with("ResponseFuture"));
    drop(future);
}

/// Every kind, with its exact status and challenge, as a caller sees it.
#[tokio::test]
async fn the_rejection_matrix() {
    let world = World::new().await;
    let issuer = &world.issuer;
    let key = issuer.key();
    let claims = issuer.claims(json!({}));
    let with_header = |header: Value| key.sign_with_header(&header, &claims);
    let mut forged = issuer.mint(json!({}));
    forged.truncate(forged.len() - 342);
    forged.push_str(&"A".repeat(342));
    let good = issuer.mint(json!({}));
    let down = World::new().await;
    down.issuer.behave(Behaviour::Down);
    let unlayered: Router = Router::new().route("/", get(|_: AccessToken| async {}));
    let demanding = Router::new()
        .route("/", get(|| async {}))
        .layer(RequireLayer::all_scopes(["a"]).unwrap())
        .layer(world.layer.clone());
    let roleful = Router::new()
        .route("/", get(|| async {}))
        .layer(RequireLayer::role(Role::Read))
        .layer(world.layer.clone());
    let nothing = portcullis::AccessPolicy::builder().build().unwrap();
    let denied = Router::new()
        .route("/", get(|| async {}))
        .layer(world.layer.clone().policy(nothing));
    let picky = {
        let server = support::trusted(&world.okta).allowed_clients(["another"]);
        let resource_server = portcullis::ResourceServer::builder()
            .token_cache(support::token_cache())
            .trust(server)
            .build()
            .unwrap();
        let clock = world.clock.clock();
        let layer = AuthenticateLayer::builder(resource_server)
            .clock(clock)
            .build();
        Router::new().route("/", get(|| async {})).layer(layer)
    };
    let now = world.clock.now().as_secs();
    let ambiguous = World::new().await;
    ambiguous.issuer.rotate();
    let nameless = ambiguous.issuer.key().sign_with_header(
        &json!({ "alg": "RS256" }),
        &ambiguous.issuer.claims(json!({})),
    );

    use RejectionKind as Kind;
    let app = &world.app;
    let cases: Vec<(Kind, &Router, String)> = vec![
        (Kind::RequestMalformed, app, "a b".to_owned()),
        (Kind::TokenMalformed, app, "a.b.c".to_owned()),
        (
            Kind::TokenTypeRejected,
            app,
            with_header(json!({ "alg": "RS256", "typ": "dpop+jwt" })),
        ),
        (
            Kind::IssuerUnknown,
            app,
            issuer.mint(json!({ "iss": "https://evil.example" })),
        ),
        (
            Kind::AlgorithmRejected,
            app,
            with_header(json!({ "alg": "none" })),
        ),
        (
            Kind::KeyUnknown,
            app,
            with_header(json!({ "alg": "RS256", "kid": "junk" })),
        ),
        (Kind::KeyAmbiguous, &ambiguous.app, nameless),
        (
            Kind::KeysUnavailable,
            &down.app,
            down.issuer.mint(json!({})),
        ),
        (Kind::SignatureInvalid, app, forged),
        (
            Kind::ClaimInvalid,
            app,
            issuer.mint(json!({ "exp": "soon" })),
        ),
        (
            Kind::BindingMissing,
            app,
            issuer.mint(json!({ "cnf": { "jkt": "x" } })),
        ),
        (
            Kind::AudienceMismatch,
            app,
            issuer.mint(json!({ "aud": "api://other" })),
        ),
        (Kind::ClientNotAllowed, &picky, good.clone()),
        (
            Kind::TokenExpired,
            app,
            issuer.mint(json!({ "exp": now - 60 })),
        ),
        (
            Kind::TokenNotYetValid,
            app,
            issuer.mint(json!({ "nbf": now + 61 })),
        ),
        (Kind::ScopeInsufficient, &demanding, good.clone()),
        (Kind::RoleInsufficient, &roleful, good.clone()),
        (Kind::PolicyDenied, &denied, good.clone()),
        (Kind::LayerMissing, &unlayered, good.clone()),
    ];
    let missing = get_with(app, "/", None).await;
    let mut seen = vec![(Kind::TokenMissing, missing)];
    for (kind, app, token) in cases {
        seen.push((kind, ask(app, &token).await));
    }
    for (kind, answer) in seen {
        assert_eq!(answer.kind, Some(kind.as_str()));
        let described = |code: &str| {
            Some(format!(
                r#"Bearer error="{code}", error_description="{}""#,
                kind.description()
            ))
        };
        let (status, challenge) = match kind {
            Kind::TokenMissing => (401, Some(BARE.to_owned())),
            Kind::RequestMalformed => (400, described("invalid_request")),
            Kind::ScopeInsufficient => (
                403,
                described("insufficient_scope").map(|text| text + r#", scope="a""#),
            ),
            Kind::RoleInsufficient | Kind::PolicyDenied => (403, Some(BARE.to_owned())),
            Kind::KeysUnavailable => (503, None),
            Kind::LayerMissing => (500, None),
            _ => (401, described("invalid_token")),
        };
        assert_eq!(
            (answer.status, answer.challenge),
            (status, challenge),
            "{kind:?}"
        );
        assert_eq!(answer.retry_after.is_some(), status == 503);
        let body = format!(r#"{{"code":"{kind}","message":"{}"}}"#, kind.description());
        assert_eq!(answer.body, body);
    }
}

#[tokio::test]
async fn every_decision_is_an_event() {
    let world = World::new().await;
    let app = Router::new()
        .route(
            "/orders/{id}",
            get(|| async { "ok" }).layer(RequireLayer::role(Role::Admin)),
        )
        .route("/orders/{id}", post(|| async { "ok" }))
        .route_layer(world.layer.clone());
    let token = world.issuer.mint(json!({ "sub": "joe" }));
    let expired = world.issuer.mint(json!({ "sub": "joe", "exp": 1 }));
    send(&app, request("POST", "/orders/7", Some(&token))).await;
    send(&app, request("GET", "/orders/7?secret=1", Some(&token))).await;
    send(&app, request("GET", "/orders/7", Some(&expired))).await;
    send(&app, request("GET", "/orders/7", None)).await;
    assert_eq!(
        world.log.lines(),
        [
            format!("trusted {}", world.issuer.issuer()),
            "fetch failure=None left_out=0".to_owned(),
            "keys generation=1 keys=1 added=1 removed=0".to_owned(),
            "decision POST /orders/{id} ALLOWED subject=joe issuer=default step=- waited=true".to_owned(),
            "decision GET /orders/{id} ALLOWED subject=joe issuer=default step=- waited=false".to_owned(),
            "decision GET /orders/{id} ROLE_INSUFFICIENT subject=joe issuer=default step=authorize waited=false".to_owned(),
            "decision GET /orders/{id} TOKEN_EXPIRED subject=joe issuer=default step=claims waited=false".to_owned(),
            "decision GET /orders/{id} TOKEN_MISSING subject=- issuer=- step=extract waited=false".to_owned(),
        ]
    );
}

/// A subject is named where the signature is good, also if the token is refused before it would be
/// looked at, and never where it is not.
#[tokio::test]
async fn a_subject_is_named_only_if_it_was_signed() {
    let world = World::new().await;
    let stranger = SigningKey::generate(Algorithm::Rs256).with_kid(world.issuer.key().kid());
    for (changes, kind) in [
        (json!({ "exp": 1 }), "TOKEN_EXPIRED"),
        (json!({ "aud": "api://other" }), "AUDIENCE_MISMATCH"),
        (json!({ "groups": 1 }), "CLAIM_INVALID"),
    ] {
        let claims = world.issuer.claims(changes);
        let subject = claims["sub"].as_str().unwrap().to_owned();
        let last = || world.log.with_prefix("decision").pop().unwrap();
        world.ask(&world.issuer.key().sign(&claims)).await;
        assert!(
            last().contains(&format!("{kind} subject={subject} ")),
            "{}",
            last()
        );
        world.ask(&stranger.sign(&claims)).await;
        assert!(last().contains("subject=- "), "{}", last());
    }
}

#[tokio::test]
async fn a_token_expires_at_the_very_second() {
    let world = World::new().await;
    let token = world.issuer.mint(json!({}));
    assert_eq!(world.ask(&token).await.status, 200);
    world.clock.advance(Duration::from_secs(3_600 + 59));
    assert_eq!(world.ask(&token).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.ask(&token).await.kind, Some("TOKEN_EXPIRED"));
}

#[test]
fn public_types_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<AccessToken>();
    shared::<AuthenticateLayer>();
    shared::<Rejection>();
    shared::<portcullis::ResourceServer>();
    shared::<portcullis::test_util::TestIssuer>();
}
