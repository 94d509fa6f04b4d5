//! Tokens in a header of their own.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use axum::{Router, body::Body, routing::any};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use portcullis::{
    AccessToken, AuthenticateLayer, ResourceServer,
    test_util::{TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use support::{Answer, Log, read, send, trusted};
use tower::ServiceExt;

const NAME: &str = "x-goog-iap-jwt-assertion";

struct World {
    okta: TestAuthorizationServer,
    issuer: TestIssuer,
    resource_server: ResourceServer,
    layer: AuthenticateLayer,
    app: Router,
    log: Log,
}

impl World {
    async fn new() -> Self {
        let okta = TestAuthorizationServer::start().await;
        let issuer = okta.custom("default");
        let resource_server = ResourceServer::builder()
            .trust(trusted(&okta))
            .token_cache(support::token_cache())
            .token_header(HeaderName::from_static(NAME))
            .build()
            .unwrap();
        let log = Log::default();
        let layer = AuthenticateLayer::builder(resource_server.clone())
            .audit(log.clone())
            .build();
        Self {
            okta,
            issuer,
            resource_server,
            app: app(layer.clone()),
            layer,
            log,
        }
    }

    fn token(&self, subject: &str) -> String {
        self.issuer.mint(json!({ "sub": subject }))
    }

    async fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        send(&self.app, request("GET", headers)).await
    }
}

/// Says who calls, and whether the token would be printed with the headers.
fn app(layer: AuthenticateLayer) -> Router {
    let who = |token: Option<AccessToken>, headers: HeaderMap| async move {
        let is_hidden = headers.get_all(NAME).iter().all(HeaderValue::is_sensitive);
        let subject = token.map_or("nobody".to_owned(), |token| token.subject().to_owned());
        format!("{subject} {is_hidden}")
    };
    Router::new().route("/", any(who)).layer(layer)
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_token_is_taken_from_it_as_it_is() {
    let world = World::new().await;
    let token = world.token("joe");
    for _ in 0..2 {
        let answer = world.ask(&[(NAME, &token)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "joe true"));
    }
    let upper = NAME.to_uppercase();
    assert_eq!(world.ask(&[(&upper, &token)]).await.status, 200);
}

#[tokio::test]
async fn authorization_is_not_looked_at() {
    let world = World::new().await;
    let (ours, other) = (world.token("joe"), world.token("eve"));
    let bearer = format!("Bearer {other}");
    for authorization in ["Basic dXNlcjpwYXNz", "Bearer x", "", "??", &bearer] {
        let answer = world
            .ask(&[("authorization", authorization), (NAME, &ours)])
            .await;
        assert_eq!(answer.body, "joe true", "{authorization:?}");
        let answer = world.ask(&[("authorization", authorization)]).await;
        assert_eq!(
            (answer.status, answer.kind, answer.challenge.as_deref()),
            (401, Some("TOKEN_MISSING"), Some("Bearer")),
            "{authorization:?}"
        );
    }
    let twice = [
        ("authorization", bearer.as_str()),
        ("authorization", "Basic x"),
        (NAME, &ours),
    ];
    assert_eq!(world.ask(&twice).await.body, "joe true");
}

#[tokio::test]
async fn what_is_not_one_token_is_malformed() {
    let world = World::new().await;
    let (token, other) = (world.token("joe"), world.token("eve"));
    for pair in [[&token, &other], [&other, &token], [&token, &token]] {
        let answer = world.ask(&[(NAME, pair[0]), (NAME, pair[1])]).await;
        assert_eq!(
            (answer.status, answer.kind),
            (400, Some("REQUEST_MALFORMED"))
        );
    }
    for value in [
        String::new(),
        format!("Bearer {token}"),
        format!("{token}, {token}"),
        format!("{token} x"),
        format!("\"{token}\""),
    ] {
        let answer = world.ask(&[(NAME, &value)]).await;
        assert_eq!(
            (answer.status, answer.kind),
            (400, Some("REQUEST_MALFORMED")),
            "{value:?}"
        );
    }
    let answer = world.ask(&[(NAME, "x.y.z")]).await;
    assert_eq!((answer.status, answer.kind), (401, Some("TOKEN_MALFORMED")));
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_ne!(world.ask(&[(NAME, &forged)]).await.status, 200);
}

#[tokio::test]
async fn a_token_may_be_missing_where_it_may_but_not_be_wrong() {
    let world = World::new().await;
    let app = app(world.layer.clone().optional());
    let token = world.token("joe");
    let bearer = format!("Bearer {token}");
    let ask = async |headers: &[(&str, &str)]| send(&app, request("GET", headers)).await;
    assert_eq!(ask(&[]).await.body, "nobody true");
    let answer = ask(&[("authorization", &bearer)]).await;
    assert_eq!(answer.body, "nobody true");
    assert_eq!(ask(&[(NAME, &token)]).await.body, "joe true");
    assert_eq!(ask(&[(NAME, "x.y.z")]).await.status, 401);
    assert_eq!(ask(&[(NAME, &token), (NAME, &token)]).await.status, 400);
}

#[tokio::test]
async fn a_grpc_client_is_told_in_its_way() {
    let world = World::new().await;
    let (token, bearer) = (world.token("joe"), format!("Bearer {}", world.token("eve")));
    let grpc = ("content-type", "application/grpc");
    for (headers, kind) in [
        (vec![grpc], "TOKEN_MISSING"),
        (vec![grpc, ("authorization", &bearer)], "TOKEN_MISSING"),
        (
            vec![grpc, (NAME, &token), (NAME, &token)],
            "REQUEST_MALFORMED",
        ),
        (vec![grpc, (NAME, "x.y.z")], "TOKEN_MALFORMED"),
    ] {
        let request = request("POST", &headers);
        let response = world.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "16", "{kind}");
        let answer = read(response).await;
        assert_eq!((answer.status, answer.kind), (200, Some(kind)));
        assert_eq!(answer.body, "");
    }
    let admitted = request("POST", &[grpc, (NAME, &token)]);
    let answer = send(&world.app, admitted).await;
    assert_eq!(answer.body, "joe true");
}

#[tokio::test]
async fn judging_by_hand_takes_it_from_there_as_well() {
    let world = World::new().await;
    let begin = |headers: &[(&'static str, String)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let begun = portcullis::verify::begin(&map, &world.resource_server);
        begun
            .map(|_| ())
            .map_err(|rejection| rejection.kind().as_str())
    };
    let token = world.token("joe");
    let bearer = format!("Bearer {token}");
    assert_eq!(begin(&[(NAME, token.clone())]), Ok(()));
    assert_eq!(begin(&[("authorization", bearer)]), Err("TOKEN_MISSING"));
    assert_eq!(
        begin(&[(NAME, token.clone()), (NAME, token)]),
        Err("REQUEST_MALFORMED")
    );
}

#[tokio::test]
async fn a_policy_that_is_replaced_does_not_move_the_header() {
    let world = World::new().await;
    let token = world.token("joe");
    let resource_server = ResourceServer::builder()
        .trust(trusted(&world.okta))
        .build()
        .unwrap();
    world.layer.reload(resource_server);
    assert_eq!(world.ask(&[(NAME, &token)]).await.status, 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(world.ask(&[("authorization", &bearer)]).await.status, 401);
    assert!(world.log.fetches() <= 2);
}

#[tokio::test]
async fn the_header_of_bearer_tokens_is_no_other_header() {
    let okta = TestAuthorizationServer::start().await;
    let builder = ResourceServer::builder().trust(trusted(&okta));
    let mistake = builder.token_header(HeaderName::from_static("authorization"));
    let mistake = mistake.build().unwrap_err().to_string();
    assert!(mistake.contains("token header"), "{mistake}");
}
