//! Discovery against a certified authorization server: `oidc-provider`, on Node.
#![cfg(all(
    feature = "aws_lc_rs",
    feature = "axum",
    feature = "introspection",
    feature = "test-util"
))]

#[path = "support/example.rs"]
mod example;
mod support;

use std::{path::PathBuf, process::Stdio};

use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use example::in_time;
use portcullis::{
    AccessToken, Algorithm, AuthenticateLayer, AuthorizationServer, ClientAuthentication,
    Introspection, ResourceServer,
};
use serde_json::{Value, json};
use support::{Answer, Log, ask};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const RS256: &str = "https://api.example/jwt";
const ES256: &str = "https://api.example/es";
const OPAQUE: &str = "https://api.example/opaque";
const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// One that runs, until it is dropped.
struct Provider {
    _process: Child,
    issuer: String,
    token_endpoint: String,
    introspection_endpoint: String,
}

impl Provider {
    async fn start(arguments: &[&str]) -> Self {
        let directory = std::env::var_os("OIDC_PROVIDER").map(PathBuf::from);
        let directory = directory.expect("OIDC_PROVIDER: where `npm ci` was run");
        let mut process = Command::new("node")
            .arg("authorization_server.mjs")
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        let facts: Value = serde_json::from_str(&line).unwrap();
        let fact = |name: &str| facts[name].as_str().unwrap().to_owned();
        Self {
            _process: process,
            issuer: fact("issuer"),
            token_endpoint: fact("token_endpoint"),
            introspection_endpoint: fact("introspection_endpoint"),
        }
    }

    /// An access token for this resource, as the client `machine` gets it.
    async fn token(&self, resource: &str, scope: &str) -> String {
        let form = format!("grant_type=client_credentials&resource={resource}&scope={scope}");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(&self.token_endpoint)
            .basic_auth("machine", Some("machine-secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let response = in_time(request.send()).await.unwrap();
        let answer: Value = response.json().await.unwrap();
        match answer["access_token"].as_str() {
            Some(token) => token.to_owned(),
            None => panic!("{answer}"),
        }
    }

    fn discovered(&self, audience: &str) -> AuthorizationServer {
        AuthorizationServer::discover(&self.issuer).audience(audience)
    }
}

/// A service that says who calls, and what it may.
fn service(server: AuthorizationServer) -> (Router, Log) {
    async fn who(token: AccessToken) -> String {
        let scopes: Vec<_> = token.scopes().collect();
        format!("{:?} {}", token.client_id(), scopes.join(" "))
    }

    let resource_server = ResourceServer::builder()
        .token_cache(support::token_cache())
        .trust(server)
        .build()
        .unwrap();
    let log = Log::default();
    let layer = AuthenticateLayer::builder(resource_server)
        .audit(log.clone())
        .build();
    let app = Router::new().route("/", get(who)).layer(layer);
    (app, log)
}

async fn asked(server: AuthorizationServer, token: &str) -> Answer {
    let (app, _) = service(server);
    in_time(ask(&app, token)).await
}

async fn is_trusted_by_its_issuer_alone(provider: &Provider) {
    let scopes = "read:data%20write:data";
    let rs256 = provider.token(RS256, scopes).await;
    let es256 = provider.token(ES256, "read:data").await;

    let (app, log) = service(provider.discovered(RS256));
    let answer = in_time(ask(&app, &rs256)).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"Some("machine") read:data write:data"#),
        "{answer:?}"
    );
    assert_eq!(log.fetches(), 1);
    let lines = log.with_prefix("keys");
    assert_eq!(
        lines,
        ["keys generation=1 keys=1 added=1 removed=0"],
        "the one for RS256 signatures"
    );

    let strict = |audience| {
        let server = provider.discovered(audience).algorithms(BOTH);
        server.require_at_jwt()
    };
    assert_eq!(asked(strict(RS256), &rs256).await.status, 200);
    let answer = asked(strict(ES256), &es256).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"Some("machine") read:data"#),
        "{answer:?}"
    );

    for (server, token, kind) in [
        (strict(ES256), &rs256, "AUDIENCE_MISMATCH"),
        (strict(RS256), &es256, "AUDIENCE_MISMATCH"),
        (provider.discovered(ES256), &es256, "ALGORITHM_REJECTED"),
    ] {
        let answer = asked(server, token).await;
        assert_eq!((answer.status, answer.kind), (401, Some(kind)));
    }
    let (head, signature) = rs256.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let answer = asked(strict(RS256), &forged).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    // Nor are tokens that it alone can read.
    let opaque = provider.token(OPAQUE, "read:data").await;
    assert_eq!(asked(strict(RS256), &opaque).await.status, 401);
}

async fn is_not_trusted_under_another_name(provider: &Provider, issuer: String) {
    let token = provider.token(RS256, "read:data").await;
    let server = AuthorizationServer::discover(&issuer).audience(RS256);
    // A token that reaches its keys: the issuer in it is the provider's own.
    let server = server.issuer_alias(&provider.issuer);
    let answer = asked(server, &token).await;
    assert_eq!(
        (answer.status, answer.kind),
        (503, Some("KEYS_UNAVAILABLE")),
        "{issuer}"
    );
}

/// `OIDC_PROVIDER=target/node cargo test --all-features --test oidc_provider -- --ignored`, with
/// `tests/node` copied there and `npm ci` run in it.
#[tokio::test]
#[ignore = "needs Node with oidc-provider; .ci/run provides it"]
async fn a_certified_server_is_trusted_by_its_issuer_alone() {
    let provider = Provider::start(&[]).await;
    is_trusted_by_its_issuer_alone(&provider).await;
    let slash = format!("{}/", provider.issuer);
    is_not_trusted_under_another_name(&provider, slash).await;
    let localhost = provider.issuer.replace("127.0.0.1", "localhost");
    is_not_trusted_under_another_name(&provider, localhost).await;
}

#[tokio::test]
#[ignore = "needs Node with oidc-provider; .ci/run provides it"]
async fn a_certified_server_with_a_path_is_trusted_by_its_issuer_alone() {
    let provider = Provider::start(&["--path"]).await;
    assert!(provider.issuer.ends_with("/tenants/a"));
    is_trusted_by_its_issuer_alone(&provider).await;
    let slash = format!("{}/", provider.issuer);
    is_not_trusted_under_another_name(&provider, slash).await;
}

#[tokio::test]
#[ignore = "needs Node with oidc-provider; .ci/run provides it"]
async fn a_certified_server_is_asked_about_opaque_tokens_in_each_way() {
    let key = rcgen::KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "x": number(&point[1..33]), "y": number(&point[33..]),
    });
    let provider = Provider::start(&["--client-jwk", &jwk.to_string()]).await;
    let token = provider.token(OPAQUE, "read:data").await;
    let jwt = provider.token(RS256, "read:data").await;
    let trusting = |client: ClientAuthentication, audience| {
        let introspection = Introspection::new(&provider.introspection_endpoint, client);
        provider.discovered(audience).introspection(introspection)
    };
    let clients = [
        ClientAuthentication::basic("api", "api-secret"),
        ClientAuthentication::post("api-post", "api-post-secret"),
        ClientAuthentication::private_key_jwt("api-jwt", &key.serialize_pem()).unwrap(),
    ];
    for client in &clients {
        let answer = asked(trusting(client.clone(), OPAQUE), &token).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, r#"Some("machine") read:data"#),
            "{client:?}: {answer:?}"
        );
        let answer = asked(trusting(client.clone(), RS256), &token).await;
        assert_eq!(answer.kind, Some("AUDIENCE_MISMATCH"), "{client:?}");
        let answer = asked(trusting(client.clone(), RS256), &jwt).await;
        assert_eq!(
            answer.status, 200,
            "JWTs are verified as before: {answer:?}"
        );
        let junk = asked(
            trusting(client.clone(), OPAQUE),
            "fnwb_E74_modXahSqIISgBIAsbefHjL7Vt9",
        )
        .await;
        assert_eq!(
            (junk.status, junk.kind),
            (401, Some("TOKEN_INACTIVE")),
            "{client:?}"
        );
    }
    let wrong = ClientAuthentication::basic("api", "wrong");
    let answer = asked(trusting(wrong, OPAQUE), &token).await;
    assert_eq!(
        (answer.status, answer.kind),
        (503, Some("KEYS_UNAVAILABLE"))
    );
}
