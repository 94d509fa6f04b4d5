//! What does it cost to verify a token that was never seen, over the bare signature check?
//!
//! ```text
//! cargo bench --all-features --bench verify
//! ```
//!
//! See BENCHMARKING.md for how to read it.

use std::{
    convert::Infallible, future::Future, hint::black_box, pin::pin, task::Context, time::Duration,
};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use divan::Bencher;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, ResourceServer, Role, RoleMapping,
    test_util::{FakeClock, SigningKey, TestAuthorizationServer},
    verify::{self, KeySet},
};
use serde_json::{Value, json};
use tower::{Layer, Service, service_fn};

fn main() {
    // Long enough to find a quiet moment on a busy machine.
    divan::Divan::default()
        .config_with_args()
        .min_time(Duration::from_secs(1))
        .main();
}

/// The claims of an Okta custom authorization server's token for a user in ten groups.
fn claims(issuer: &str, now: u64) -> Value {
    let groups: Vec<_> = (0..10).map(|n| format!("Group-{n:02}")).collect();
    json!({
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": issuer,
        "aud": "api://default",
        "sub": "joe.user@example.com",
        "iat": now,
        "exp": now + 3_600,
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["read:data", "write:data"],
        "auth_time": now,
        "groups": groups,
    })
}

fn trusted(domain: &str) -> AuthorizationServer {
    AuthorizationServer::okta_custom(domain, "default")
        .audience("api://default")
        .roles(RoleMapping::new().grant(Role::Write, ["Group-07"]))
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

/// The yardstick: the signature check of an RS256 token alone, with a key that was parsed before.
#[divan::bench]
fn signature_check_alone(bencher: Bencher<'_, '_>) {
    let (message, signature, n, e) = signed();
    let key: ParsedPublicKey = RsaPublicKeyComponents { n, e }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .unwrap();
    bencher.bench_local(|| {
        key.verify_sig(black_box(&message), black_box(&signature))
            .unwrap()
    });
}

/// The same with a key that is parsed for each check, which is what most libraries do.
#[divan::bench]
fn signature_check_with_key_parsing(bencher: Bencher<'_, '_>) {
    let (message, signature, n, e) = signed();
    bencher.bench_local(|| {
        let key = RsaPublicKeyComponents { n: &n, e: &e };
        key.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            black_box(&message),
            black_box(&signature),
        )
        .unwrap();
    });
}

fn signed() -> (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
    let key = SigningKey::generate(Algorithm::Rs256);
    let token = key.sign(&claims(
        "https://company.okta.com/oauth2/default",
        1_767_225_600,
    ));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let jwk = key.jwk();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    (
        message.as_bytes().to_vec(),
        signature,
        number("n"),
        number("e"),
    )
}

/// The pure core: headers, keys and a time make a verdict.
#[divan::bench(args = Algorithm::ALL)]
fn begin_and_finish(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let server = trusted("company.okta.com").algorithms([algorithm]);
    let resource_server = ResourceServer::builder().trust(server).build().unwrap();
    let server = &resource_server.authorization_servers()[0];
    let key = SigningKey::generate(algorithm);
    let jwks = json!({ "keys": [key.jwk()] }).to_string();
    let keys = KeySet::from_json(jwks.as_bytes(), server).unwrap();
    let now = 1_767_225_600;
    let headers = bearer(&key.sign(&claims(server.issuer(), now)));
    let now = portcullis::UnixTime::from_secs(now);
    bencher.bench_local(|| {
        verify::begin(black_box(&headers), &resource_server)
            .and_then(|pending| pending.finish(now, &keys))
            .unwrap()
    });
}

/// A whole request through the layer, keys at hand, RS256; less `bare_service` it is the cost of a
/// request.
#[divan::bench]
fn request_through_the_layer(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock = FakeClock::new();
    let okta = runtime.block_on(TestAuthorizationServer::start_at(clock.clone()));
    let issuer = okta.custom("default");
    let resource_server = ResourceServer::builder()
        .trust(trusted(okta.origin()))
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    runtime.block_on(layer.prefetch());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = issuer.key().sign(&claims(issuer.issuer(), now));
    bench_service(bencher, layer.layer(service_fn(hello)), &token);
}

/// The same service without the layer.
#[divan::bench]
fn bare_service(bencher: Bencher<'_, '_>) {
    bench_service(bencher, service_fn(hello), &"x".repeat(1_030));
}

async fn hello(_: Request<()>) -> Result<Response<&'static str>, Infallible> {
    Ok(Response::new("hello"))
}

fn bench_service<S>(bencher: Bencher<'_, '_>, mut service: S, token: &str)
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = Infallible>,
{
    let headers = bearer(token);
    let mut context = Context::from_waker(std::task::Waker::noop());
    bencher.bench_local(|| {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        let response = pin!(service.call(request)).poll(&mut context);
        let std::task::Poll::Ready(Ok(response)) = response else {
            panic!("it had to wait");
        };
        assert_eq!(response.status(), 200);
        response
    });
}
