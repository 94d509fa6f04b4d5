//! What is asked of the allocator, counted: for a request, and for the tokens that are remembered.
//!
//! One test, and one thread: whatever else runs would be counted as well.
#![cfg(feature = "test-util")]

use std::{
    alloc::System,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, ResourceServer, Role, RoleMapping,
    TokenCachePolicy,
    test_util::{SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Reply = Ready<Result<Response<&'static str>, Infallible>>;

/// The allocations that `run` makes.
fn allocations(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    let change = region.change();
    change.allocations + change.reallocations
}

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn request(token: &str) -> Request<()> {
    let authorization = format!("Bearer {token}");
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert("authorization", authorization.parse().unwrap());
    request
}

/// The response, which must be there at once, and then everything is dropped.
fn ask<S>(service: &mut S, request: Request<()>) -> u16
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response.status().as_u16(),
        Poll::Pending => panic!("it had to wait"),
    }
}

async fn layer(okta: &TestAuthorizationServer, token_cache: TokenCachePolicy) -> AuthenticateLayer {
    let server = AuthorizationServer::okta_custom(okta.origin(), "default")
        .audience("api://default")
        .algorithms([Algorithm::Rs256, Algorithm::EdDsa])
        .roles(RoleMapping::new().grant(Role::Write, ["writers"]));
    let resource_server = ResourceServer::builder()
        .trust(server)
        .token_cache(token_cache)
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    layer.prefetch().await;
    layer
}

/// A token like Okta's for a user in ten groups.
fn token(issuer: &TestIssuer, id: usize) -> String {
    let groups: Vec<_> = (0..10).map(|n| format!("Team-Group-{n:02}")).collect();
    issuer.mint(json!({
        "jti": format!("AT.{id:09}"),
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["read:data", "write:data"],
        "groups": groups,
    }))
}

fn count_per_request(issuer: &TestIssuer, cached: &AuthenticateLayer, off: &AuthenticateLayer) {
    let hello = || tower::service_fn(|_: Request<()>| -> Reply { ready(Ok(Response::new("hi"))) });
    let mut services = [cached.layer(hello()), off.layer(hello())];
    let [cached, off] = &mut services;
    let good = token(issuer, 0);
    let with_role = issuer.mint(json!({ "groups": ["writers"] }));
    let count = |service: &mut _, token: &str| {
        let request = request(token);
        allocations(|| assert_eq!(ask(service, request), 200))
    };
    let bare = {
        let request = request(&good);
        let mut hello = hello();
        allocations(|| assert_eq!(ask(&mut hello, request), 200))
    };
    let (cold, warm) = (count(cached, &good), count(cached, &good));
    // The first value in a request's extensions takes three: the map, its table, and the value.
    assert_eq!(warm - bare, 3, "a remembered token");
    // Without aws_lc_rs the signature check makes a hundred of its own.
    let own = if cfg!(feature = "aws_lc_rs") { 0 } else { 200 };
    assert!(
        cold - bare <= 10 + own,
        "a token that comes for the first time takes {}",
        cold - bare
    );
    let uncached = count(off, &good);
    assert!(
        uncached - bare <= 8 + own,
        "without the cache it takes {}",
        uncached - bare
    );
    assert_eq!(count(off, &good), uncached, "each time");
    // The role is a second value.
    count(cached, &with_role);
    assert_eq!(
        count(cached, &with_role) - bare,
        4,
        "a remembered token with a role"
    );
    // The layer adds nothing where extensions hold something already, but the value.
    let mut request = request(&good);
    request.extensions_mut().insert("something");
    let inside = allocations(|| assert_eq!(ask(cached, request), 200));
    assert_eq!(inside - bare, 1, "with extensions that are there");
}

/// What the layer says that its tokens take is what they take.
fn count_what_is_remembered(
    issuer: &TestIssuer,
    layer: &AuthenticateLayer,
    max_bytes: usize,
    flood: usize,
) {
    let hello = || tower::service_fn(|_: Request<()>| -> Reply { ready(Ok(Response::new("hi"))) });
    let mut service = layer.layer(hello());
    let said = |layer: &AuthenticateLayer| layer.remembered_tokens().unwrap();
    let (before, said_before) = (in_use(), said(layer));
    for id in 0..100 {
        let request = request(&token(issuer, id));
        assert_eq!(ask(&mut service, request), 200);
    }
    let (taken, held) = (in_use() - before, said(layer));
    assert_eq!(held.count, said_before.count + 100);
    assert_eq!(taken, held.bytes - said_before.bytes);

    // And never more, however many come.
    for id in 100..flood {
        let request = request(&token(issuer, id));
        assert_eq!(ask(&mut service, request), 200);
        let held = said(layer);
        assert!(held.bytes <= max_bytes, "{held:?}");
        assert_eq!(
            in_use() - before,
            held.bytes - said_before.bytes,
            "after {id}"
        );
    }
}

/// So many valid tokens, one after the other.
fn flood(count: usize, max_bytes: usize) {
    let runtime = runtime();
    let okta = runtime.block_on(TestAuthorizationServer::start());
    let issuer = okta.custom("default");
    let key = SigningKey::generate(Algorithm::EdDsa);
    issuer.publish(key.jwk());
    issuer.sign_with(&key);
    let policy = TokenCachePolicy::default().max_bytes(max_bytes);
    let layer = runtime.block_on(layer(&okta, policy));
    count_what_is_remembered(&issuer, &layer, max_bytes, count);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn few_allocations_a_request_and_no_byte_more_than_said() {
    let runtime = runtime();
    let okta = runtime.block_on(TestAuthorizationServer::start());
    let issuer = okta.custom("default");
    let [cached, off] = [TokenCachePolicy::default(), TokenCachePolicy::off()]
        .map(|policy| runtime.block_on(layer(&okta, policy)));
    count_per_request(&issuer, &cached, &off);
    flood(4_000, 512 * 1_024);
}

/// Takes minutes: `cargo test --release --all-features --test memory -- --ignored`.
#[test]
#[ignore = "a million signatures take minutes"]
fn a_million_valid_tokens_stay_within_the_bound() {
    flood(1_000_000, 16 * 1_024 * 1_024);
}
