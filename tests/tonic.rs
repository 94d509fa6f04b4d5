//! The layer around tonic services, over real sockets.
#![cfg(all(
    feature = "tonic",
    feature = "axum",
    feature = "introspection",
    feature = "tracing",
    feature = "test-util"
))]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use axum::routing::get;
use http::HeaderMap;
use portcullis::{
    AccessPolicy, AccessToken, RequireLayer, Requirement, Role,
    test_util::{Behaviour, TestAuthorizationServer},
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, AsciiMetadataValue, MetadataKey},
    service::Routes,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig},
};
use tonic_types::StatusExt;
use tower::Layer;

#[path = "../examples/tonic/echo.rs"]
mod echo;
#[path = "support/example.rs"]
mod example;
#[path = "support/grpc.rs"]
mod grpc;
#[path = "../examples/tonic/service.rs"]
mod service;
mod support;

use echo::{EchoRequest, EchoResponse, echo_client::EchoClient, echo_server::EchoServer};
use example::{Example, command, in_time};
use grpc::{
    BIDIRECTIONAL, Case, UNARY, client, connect, every_kind, saying, serve, serve_with, with_token,
};
use service::EchoService;
use support::World;

async fn unary(address: SocketAddr, token: &str) -> Result<String, Status> {
    let mut client = client(address).await;
    let answer = client
        .unary_echo(with_token(token, saying("hello")))
        .await?;
    Ok(answer.into_inner().message)
}

async fn bidirectional(address: SocketAddr, token: &str) -> Result<(), Status> {
    let request = with_token(token, tokio_stream::iter([saying("hello")]));
    let mut client = client(address).await;
    client
        .bidirectional_streaming_echo(request)
        .await
        .map(|_| ())
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

async fn call(case: &Case) -> Status {
    let mut client = client(case.address).await;
    let fill = |metadata: &mut tonic::metadata::MetadataMap| {
        for value in &case.authorization {
            metadata.append("authorization", value.parse().unwrap());
        }
    };
    match case.method {
        UNARY => {
            let mut request = Request::new(saying("hello"));
            fill(request.metadata_mut());
            client.unary_echo(request).await.map(|_| ()).unwrap_err()
        }
        BIDIRECTIONAL => {
            let mut request = Request::new(tokio_stream::iter([saying("hello")]));
            fill(request.metadata_mut());
            let answer = client.bidirectional_streaming_echo(request).await;
            answer.map(|_| ()).unwrap_err()
        }
        other => panic!("{other} is not called here"),
    }
}

#[tokio::test]
async fn every_kind_of_rejection_is_a_status_with_details() {
    let (cases, _worlds) = every_kind().await;
    let mut seen = BTreeSet::new();
    for case in &cases {
        let status = in_time(call(case)).await;
        let what = case.reason;
        assert_eq!(i32::from(status.code()), case.code, "{what}: {status:?}");
        assert_eq!(status.message(), case.message, "{what}");
        let challenge = status.metadata().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap());
        assert_eq!(challenge, case.challenge, "{what}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, case.reason);
        assert_eq!(info.domain, "portcullis");
        let metadata = case
            .metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(info.metadata, metadata.into_iter().collect());
        let retry = status.get_details_retry_info();
        assert_eq!(retry.is_some(), case.has_retry, "{what}");
        if let Some(retry) = retry {
            let delay = retry.retry_delay.unwrap();
            assert!((1..=5).contains(&delay.as_secs()), "{delay:?}");
        }
        seen.insert(case.reason);
    }
    assert_eq!(seen.len(), 25, "{seen:?}");
}

/// What gRPC calls trailers-only: one frame of headers, and the end.
#[tokio::test]
async fn a_refusal_is_headers_alone_with_the_content_type_of_the_call() {
    let world = World::new().await;
    let address = serve(world.layer.clone());
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let response = client
            .post(format!("http://{address}{UNARY}"))
            .header("content-type", content_type)
            .header("te", "trailers")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], content_type);
        assert_eq!(headers["grpc-status"], "16");
        assert_eq!(headers["grpc-message"], "a bearer token is needed");
        assert_eq!(headers["www-authenticate"], "Bearer");
        let details = headers["grpc-status-details-bin"].to_str().unwrap();
        assert!(!details.ends_with('='), "{details}");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    // What is not a call is answered as HTTP.
    for request in [
        client
            .get(format!("http://{address}{UNARY}"))
            .header("content-type", "application/grpc"),
        client
            .post(format!("http://{address}{UNARY}"))
            .header("content-type", "application/json"),
        client.post(format!("http://{address}{UNARY}")),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(!response.headers().contains_key("grpc-status"));
    }
}

#[tokio::test]
async fn all_four_kinds_of_call_pass_with_a_good_token() {
    let world = World::new().await;
    let address = serve(world.layer.clone());
    let token = world.issuer.mint(json!({ "groups": ["admins"] }));
    let mut client = client(address).await;
    let two = || {
        with_token(
            &token,
            tokio_stream::iter([saying("hello"), saying("hello")]),
        )
    };
    assert_eq!(unary(address, &token).await.unwrap(), "hello");
    let answers = client
        .server_streaming_echo(with_token(&token, saying("hello")))
        .await;
    let first = in_time(answers.unwrap().into_inner().next()).await;
    assert_eq!(first.unwrap().unwrap().message, "hello");
    let answer = client.client_streaming_echo(two()).await.unwrap();
    assert_eq!(answer.into_inner().message, "hellohello");
    let answers = client.bidirectional_streaming_echo(two()).await.unwrap();
    let answers: Vec<_> = in_time(answers.into_inner().collect()).await;
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn one_service_can_be_protected_beside_an_open_one() {
    let world = World::new().await;
    let (_, health) = tonic_health::server::health_reporter();
    // Each of these keeps the name of the service, by which calls are routed to it.
    let echo = RequireLayer::role(Role::Read).layer(EchoServer::new(EchoService));
    let echo = world.layer.clone().end_streams(Duration::ZERO).layer(echo);
    let address = serve_with(Server::builder(), Routes::new(health).add_service(echo));
    let mut open = tonic_health::pb::health_client::HealthClient::new(connect(address).await);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(open.check(request).await.is_ok());
    let status = unary(address, "").await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_MISSING");
    let status = unary(address, &world.issuer.mint(json!({})))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ROLE_INSUFFICIENT");
    let reader = world.issuer.mint(json!({ "groups": ["readers"] }));
    assert_eq!(unary(address, &reader).await.unwrap(), "hello");
}

#[tokio::test]
async fn one_layer_and_one_policy_guard_grpc_and_http_on_one_port() {
    let world = World::new().await;
    let policy = AccessPolicy::builder()
        .require(UNARY, Requirement::all_scopes(["echo"]).unwrap())
        .require(
            "GET /users/{id}/balance",
            Requirement::all_scopes(["balance"]).unwrap(),
        )
        .exempt("/health")
        .build()
        .unwrap();
    let app = Routes::new(EchoServer::new(EchoService))
        .into_axum_router()
        .route(
            "/users/{id}/balance",
            get(|token: AccessToken| async move { token.subject().to_owned() }),
        )
        .route("/health", get(|| async { "ok" }))
        .layer(
            world
                .layer
                .clone()
                .policy(policy)
                .end_streams(Duration::ZERO),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str, token: &str| {
        let request = http
            .get(format!("http://{address}{path}"))
            .bearer_auth(token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let balance = world
        .issuer
        .mint(json!({ "scp": ["balance"], "sub": "joe" }));
    let echo = world.issuer.mint(json!({ "scp": ["echo"] }));
    assert_eq!(
        ask("/users/7/balance", &balance).await,
        (200, "joe".to_owned())
    );
    let (status, body) = ask("/users/7/balance", &echo).await;
    assert!(
        status == 403 && body.contains("SCOPE_INSUFFICIENT"),
        "{status} {body}"
    );
    assert_eq!(ask("/health", "junk").await.0, 200);
    let (status, body) = ask("/elsewhere", &echo).await;
    assert!(
        status == 403 && body.contains("POLICY_DENIED"),
        "{status} {body}"
    );

    assert_eq!(unary(address, &echo).await.unwrap(), "hello");
    let status = unary(address, &balance).await.unwrap_err();
    assert_eq!(reason(&status), "SCOPE_INSUFFICIENT");

    // HTTP/1.1 with a gRPC content type: a clear status too.
    let request = http
        .post(format!("http://{address}{UNARY}"))
        .header("content-type", "application/grpc");
    let response = in_time(request.send()).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_11);
    assert_eq!(response.headers()["grpc-status"], "16");
}

#[tokio::test]
async fn methods_that_no_rule_names_get_the_default() {
    let world = World::new().await;
    let policy =
        AccessPolicy::builder().require("/grpc.examples.echo.Echo/Known", Requirement::token());
    let denying = policy.clone().build().unwrap();
    let asking = policy.otherwise(Requirement::token()).build().unwrap();
    let denying = serve(world.layer.clone().policy(denying));
    let asking = serve(world.layer.clone().policy(asking));
    let token = world.issuer.mint(json!({}));
    let method = async |address: SocketAddr, path: &'static str, token: &str| {
        let mut grpc = tonic::client::Grpc::new(connect(address).await);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<EchoRequest, EchoResponse>::default();
        let answer = grpc
            .unary(with_token(token, saying("hello")), path, codec)
            .await;
        answer.unwrap_err().code()
    };
    for path in [
        "/grpc.examples.echo.Echo/Unknown",
        "/no.Such/Method",
        "/",
        "/a/../b",
    ] {
        assert_eq!(
            method(denying, path, &token).await,
            Code::PermissionDenied,
            "{path}"
        );
        assert_eq!(
            method(asking, path, "").await,
            Code::Unauthenticated,
            "{path}"
        );
    }
    assert_eq!(
        method(asking, "/no.Such/Method", &token).await,
        Code::Unimplemented
    );
    assert_eq!(
        method(denying, "/grpc.examples.echo.Echo/Known", &token).await,
        Code::Unimplemented
    );
}

#[tokio::test]
async fn health_is_exempt_only_when_asked_and_its_handler_sees_no_token() {
    let world = World::new().await;
    let policy = || AccessPolicy::builder().otherwise(Requirement::token());
    for (policy, passes) in [(policy(), false), (policy().exempt_grpc_health(), true)] {
        let (_, health) = tonic_health::server::health_reporter();
        let routes = Routes::new(health).add_service(EchoServer::new(EchoService));
        let layer = world.layer.clone().policy(policy.build().unwrap());
        let address = serve_with(Server::builder().layer(layer), routes);
        let mut client = tonic_health::pb::health_client::HealthClient::new(connect(address).await);
        for token in ["", "junk"] {
            let request = with_token(token, tonic_health::pb::HealthCheckRequest::default());
            assert_eq!(client.check(request).await.is_ok(), passes);
        }
        assert!(unary(address, "").await.is_err());
    }
    // An exempt handler must not take a token for verified that nobody looked at.
    let exempt = AccessPolicy::builder().exempt("/*").build().unwrap();
    let address = serve(world.layer.clone().policy(exempt));
    let admin = world.issuer.mint(json!({ "groups": ["admins"] }));
    let status = bidirectional(address, &admin).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_MISSING");
}

#[tokio::test]
async fn refusals_by_policy_and_by_handlers_are_events() {
    let world = World::new().await;
    let policy = AccessPolicy::builder()
        .require(UNARY, Requirement::all_scopes(["echo"]).unwrap())
        .otherwise(Requirement::token())
        .build()
        .unwrap();
    let address = serve(world.layer.clone().policy(policy));
    let token = world.issuer.mint(json!({ "sub": "joe" }));
    unary(address, &token).await.unwrap_err();
    bidirectional(address, &token).await.unwrap_err();
    assert_eq!(
        world.log.with_prefix("decision"),
        [
            format!(
                "decision POST {UNARY} SCOPE_INSUFFICIENT subject=joe issuer=default step=authorize waited=true"
            ),
            format!(
                "decision POST {BIDIRECTIONAL} ALLOWED subject=joe issuer=default step=- waited=false"
            ),
            format!(
                "decision POST {BIDIRECTIONAL} ROLE_INSUFFICIENT subject=joe issuer=default step=authorize waited=false"
            ),
        ]
    );
}

#[tokio::test]
async fn a_refusal_by_a_handler_is_one_event_however_many_layers_see_it() {
    let world = World::new().await;
    let address = serve((world.layer.clone(), world.layer.clone()));
    let token = world.issuer.mint(json!({}));
    bidirectional(address, &token).await.unwrap_err();
    let mut events = world.log.with_prefix("decision");
    events.retain(|event| event.contains("ROLE_INSUFFICIENT"));
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn where_a_token_is_optional_a_bad_one_is_still_refused() {
    let world = World::new().await;
    let policy = AccessPolicy::builder()
        .optional("/grpc.examples.echo.Echo/*")
        .build()
        .unwrap();
    let address = serve(world.layer.clone().policy(policy.clone()));
    assert!(unary(address, "").await.is_ok());
    assert!(unary(address, &world.issuer.mint(json!({}))).await.is_ok());
    assert_eq!(
        reason(&unary(address, "junk").await.unwrap_err()),
        "TOKEN_MALFORMED"
    );
    // The handler is told who calls, and that nobody does.
    for (token, expected) in [
        (String::new(), Some("TOKEN_MISSING")),
        (world.issuer.mint(json!({ "groups": ["admins"] })), None),
    ] {
        let answer = bidirectional(address, &token).await;
        assert_eq!(
            answer.err().map(|status| reason(&status)).as_deref(),
            expected
        );
    }
    // What the table asks a token for, it asks it for also in the optional mode.
    let address = serve(
        world.layer.clone().optional().policy(
            AccessPolicy::builder()
                .otherwise(Requirement::token())
                .build()
                .unwrap(),
        ),
    );
    assert_eq!(
        reason(&unary(address, "").await.unwrap_err()),
        "TOKEN_MISSING"
    );
}

#[tokio::test]
async fn it_is_the_same_over_tls() {
    let world = World::new().await;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap()
        .layer(world.layer.clone().end_streams(Duration::ZERO));
    let address = serve_with(server, Routes::new(EchoServer::new(EchoService)));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certified.cert.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::new(format!("https://{address}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    let mut client = EchoClient::new(channel);
    let token = world.issuer.mint(json!({}));
    assert!(
        client
            .unary_echo(with_token(&token, saying("hello")))
            .await
            .is_ok()
    );
    let status = client.unary_echo(saying("hello")).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_MISSING");
}

/// gRPC-Web, with its layer inside of ours and outside.
#[tokio::test]
async fn grpc_web_is_answered_as_grpc_web() {
    let world = World::new().await;
    let web = tonic_web::GrpcWebLayer::new;
    let routes = || Routes::new(EchoServer::new(EchoService));
    let inside = Server::builder()
        .accept_http1(true)
        .layer(world.layer.clone())
        .layer(web());
    let outside = Server::builder()
        .accept_http1(true)
        .layer(web())
        .layer(world.layer.clone());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = world.issuer.mint(json!({}));
    for (address, is_inside) in [
        (serve_with(inside, routes()), true),
        (serve_with(outside, routes()), false),
    ] {
        for content_type in ["application/grpc-web+proto", "application/grpc-web"] {
            let ask = || {
                let request = http.post(format!("http://{address}{UNARY}"));
                request
                    .header("content-type", content_type)
                    .body(&b"\0\0\0\0\x07\x0a\x05hello"[..])
            };
            let refused = ask().send().await.unwrap();
            assert_eq!(refused.status(), 200);
            assert!(
                refused.headers()["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("application/grpc-web")
            );
            let headers: HeaderMap = refused.headers().clone();
            let body = refused.bytes().await.unwrap();
            let text = format!("{headers:?} {}", String::from_utf8_lossy(&body));
            assert!(text.contains("a bearer token is needed"), "{text}");
            if is_inside {
                assert_eq!(headers["content-type"], content_type);
                assert_eq!(headers["grpc-status"], "16");
                let exposed = headers["access-control-expose-headers"].to_str().unwrap();
                assert!(exposed.contains("grpc-status") && exposed.contains("www-authenticate"));
            }
            let answer = ask().bearer_auth(&token).send().await.unwrap();
            let body = answer.bytes().await.unwrap();
            assert!(
                body.starts_with(b"\0\0\0\0\x07\x0a\x05hello\x80"),
                "{body:?}"
            );
        }
    }
}

#[tokio::test]
async fn metadata_of_every_sort() {
    let world = World::new().await;
    let address = serve(world.layer.clone());
    let mut client = client(address).await;
    let token = world.issuer.mint(json!({}));
    let bearer = format!("Bearer {token}");
    let rows: [(&[&str], Option<&str>); 10] = [
        (&[&bearer], None),
        (&[&format!("bearer {token}")], None),
        (&[], Some("TOKEN_MISSING")),
        (&["Basic dXNlcjpwYXNz"], Some("TOKEN_MISSING")),
        (&["Bearer"], Some("REQUEST_MALFORMED")),
        (&["Bearer "], Some("REQUEST_MALFORMED")),
        (&[""], Some("REQUEST_MALFORMED")),
        (&[&bearer, &bearer], Some("REQUEST_MALFORMED")),
        (&[&bearer, "Basic dXNlcjpwYXNz"], Some("REQUEST_MALFORMED")),
        (
            &[&format!("Bearer {}", "x".repeat(15_000))],
            Some("TOKEN_MALFORMED"),
        ),
    ];
    for (values, expected) in rows {
        let mut request = Request::new(saying("hello"));
        for value in values {
            let value: AsciiMetadataValue = value.parse().unwrap();
            request.metadata_mut().append("authorization", value);
        }
        let answer = in_time(client.unary_echo(request)).await;
        let found = answer.err().map(|status| reason(&status));
        assert_eq!(found.as_deref(), expected, "{values:?}");
    }

    // Bytes that are no text, a key of the binary sort, and keys that look alike.
    let mut request = Request::new(saying("hello"));
    let bytes = AsciiMetadataValue::try_from(&b"Bearer \xff\xfe"[..]).unwrap();
    request.metadata_mut().insert("authorization", bytes);
    let status = client.unary_echo(request).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_MALFORMED");
    let mut request = Request::new(saying("hello"));
    let value = tonic::metadata::MetadataValue::from_bytes(bearer.as_bytes());
    request
        .metadata_mut()
        .insert_bin("authorization-bin", value);
    for name in ["proxy-authorization", "x-authorization", "authority"] {
        let name: MetadataKey<Ascii> = name.parse().unwrap();
        request.metadata_mut().insert(name, bearer.parse().unwrap());
    }
    let status = client.unary_echo(request).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_MISSING");

    // As long as a token may be: more than tonic reads by default.
    let roomy = Server::builder()
        .http2_max_header_list_size(32 << 10)
        .layer(world.layer.clone());
    let roomy = serve_with(roomy, Routes::new(EchoServer::new(EchoService)));
    let long = world.issuer.mint(json!({ "filler": "x".repeat(11_500) }));
    assert!((16_000..=16_384).contains(&long.len()), "{}", long.len());
    assert_eq!(unary(roomy, &long).await.unwrap(), "hello");
    assert!(in_time(unary(address, &long)).await.is_err());

    // Larger than the server reads at all: refused by it, and the connection goes on.
    let mut request = with_token(&token, saying("hello"));
    request
        .metadata_mut()
        .insert("x-huge", "x".repeat(60_000).parse().unwrap());
    assert!(in_time(client.unary_echo(request)).await.is_err());
    assert!(
        in_time(client.unary_echo(with_token(&token, saying("hello"))))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_while_keys_are_fetched_leaves_nothing_behind() {
    let world = World::new().await;
    world
        .issuer
        .behave(Behaviour::Slow(Duration::from_millis(300)));
    let address = serve(world.layer.clone().end_streams(Duration::ZERO));
    let token = world.issuer.mint(json!({}));
    let mut client = client(address).await;
    let hung_up = client.unary_echo(with_token(&token, saying("hello")));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), hung_up)
            .await
            .is_err()
    );
    let answer = in_time(client.unary_echo(with_token(&token, saying("hello")))).await;
    assert_eq!(answer.unwrap().into_inner().message, "hello");
    assert_eq!(world.issuer.fetches(), 1);
}

/// The `tonic` example, called by the `tonic-client` example, both as processes of their own.
#[tokio::test]
async fn the_examples_show_what_each_caller_may_do() {
    let okta = TestAuthorizationServer::start().await;
    let server = Example::start("tonic", &okta, &[]).await;
    let issuer = okta.custom("default");
    let admin = json!({ "scp": ["read:data", "write:data"], "groups": ["DataEngineers"] });
    let unary = "UnaryEcho: \"hello\"";
    let rows = [
        (
            issuer.mint(admin),
            vec![
                unary,
                "ServerStreamingEcho: \"hello\"",
                "ClientStreamingEcho: \"hellohello\"",
                "BidirectionalStreamingEcho: \"hello\"",
            ],
        ),
        (
            issuer.mint(json!({ "scp": ["read:data"] })),
            vec![
                unary,
                "ServerStreamingEcho: \"hello\"",
                "ClientStreamingEcho: PermissionDenied: the token lacks a scope that is needed here: write:data",
                "BidirectionalStreamingEcho: PermissionDenied: the token's role is not sufficient here: admin is needed",
            ],
        ),
        (
            String::new(),
            vec![
                "UnaryEcho: Unauthenticated: a bearer token is needed",
                "ServerStreamingEcho: Unauthenticated: a bearer token is needed",
                "  reason: TOKEN_MISSING of portcullis",
                "  www-authenticate: \"Bearer\"",
            ],
        ),
    ];
    for (token, expected) in rows {
        let mut env = BTreeMap::from([("SERVER", &*server.origin)]);
        if !token.is_empty() {
            env.insert("TOKEN", &token);
        }
        let output = in_time(command("tonic-client", &env).output())
            .await
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        for line in expected {
            assert!(
                printed.lines().any(|printed| printed == line),
                "{line} is not in\n{printed}"
            );
        }
    }
    let address = server.address().parse().unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(connect(address).await);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(health.check(request).await.is_ok());
}

/// The same cases, seen by the Python client. Needs its packages (tests/python/requirements.txt):
/// `PYTHON=venv/bin/python cargo test --all-features --test tonic -- --ignored`.
#[tokio::test]
#[ignore = "needs Python with grpcio; .ci/run provides it"]
async fn the_python_client_sees_every_kind_of_rejection() {
    let (cases, worlds) = every_kind().await;
    let world = &worlds[0];
    let token = world.issuer.mint(json!({ "groups": ["admins"] }));
    let script = json!({
        "refused": cases.iter().map(Case::to_json).collect::<Vec<_>>(),
        "admitted": { "address": serve(world.layer.clone()).to_string(), "token": token },
    });
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut python = tokio::process::Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/grpc_test.py"
        ))
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin
        .write_all(script.to_string().as_bytes())
        .await
        .unwrap();
    drop(stdin);
    assert!(in_time(python.wait()).await.unwrap().success());
}
