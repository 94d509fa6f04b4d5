//! Whatever issuers strangers make up, what is remembered of them stays small.
//!
//! One test, and one thread: whatever else runs would be counted as well.
#![cfg(feature = "test-util")]

use std::{
    alloc::System,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
use portcullis::{
    AuthenticateLayer, AuthorizationServer, ResourceServer, TenantPolicy, TenantResolver,
    TenantsUnavailable, test_util::TestAuthorizationServer,
};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::{Layer, Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Knows one tenant, and counts how often it is asked.
#[derive(Clone)]
struct One {
    server: AuthorizationServer,
    asked: Arc<AtomicUsize>,
}

impl TenantResolver for One {
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok((self.server.issuer() == issuer).then(|| self.server.clone()))
    }
}

/// A token that nobody signed, of an issuer on the host of the tenant.
fn unsigned(origin: &str, number: usize) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(json!({ "alg": "RS256", "kid": "x" }).to_string());
    let issuer = format!("{origin}/oauth2/stranger-{number}");
    let claims = encode(json!({ "iss": issuer, "aud": "api://default" }).to_string());
    format!("{header}.{claims}.{}", "A".repeat(342))
}

fn request(token: &str) -> Request<()> {
    let mut request = Request::new(());
    let authorization = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", authorization);
    request
}

#[tokio::test]
async fn a_hundred_thousand_strangers_cause_no_fetch_and_take_no_more_room_than_ten_thousand() {
    const REMEMBERED: usize = 10_000;
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let server = AuthorizationServer::okta_custom(okta.origin(), "default");
    let resolver = One {
        server: server.audience("api://default"),
        asked: Arc::default(),
    };
    let policy = TenantPolicy::default().max_unknown(REMEMBERED as u64);
    let resource_server = ResourceServer::builder()
        .tenants(resolver.clone(), policy)
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    let mut service = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new("hello"))
    }));
    let before = in_use();
    let mut most = [0; 10];
    for (tenth, most) in most.iter_mut().enumerate() {
        for number in 0..10_000 {
            let token = unsigned(okta.origin(), tenth * 10_000 + number);
            let service = service.ready().await.unwrap();
            let response = service.call(request(&token)).await.unwrap();
            assert_eq!(response.status(), 401);
            if number % 1_000 == 0 {
                *most = (*most).max(in_use().saturating_sub(before));
            }
        }
        assert_eq!(layer.remembered_tenants(), 0);
    }
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 100_000);
    assert_eq!(issuer.fetches(), 0);
    let [.., last] = most;
    assert!(
        last < REMEMBERED * 512,
        "{} bytes for each that is remembered",
        last / REMEMBERED
    );
    assert!(
        last < most[2] + most[2] / 4,
        "it grows with each stranger: {most:?}"
    );
    // And the tenant is served as if nothing had happened.
    let token = issuer.mint(json!({}));
    let response = service.ready().await.unwrap().call(request(&token)).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(issuer.fetches(), 1);
}
