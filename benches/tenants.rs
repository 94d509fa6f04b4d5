//! What do tenants cost: memory for each that is known, time for each request, and what do bad ones
//! cost the others?
//!
//! ```text
//! cargo bench --all-features --bench tenants
//! ```
//!
//! See BENCHMARKING.md for how to read it.
#![allow(clippy::disallowed_methods, reason = "benches measure time")]

mod support;

use std::{
    alloc::System,
    cell::RefCell,
    fs,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use http::{HeaderMap, Request};
use portcullis::{
    AuthenticateLayer, AuthorizationServer, ResourceServer, TenantPolicy, TenantResolver,
    TenantsUnavailable, TokenCachePolicy,
};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{AUDIENCE, Cases, Guarded, World, ask, bearer, claims, guarded, now};
use tower::Service;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TENANTS: usize = 10_000;
/// Whose tokens fit into the token cache.
const WARM: usize = 2_000;
const BAD: usize = 1_000;
const REQUESTS: usize = 3_000;
const NEWCOMERS: usize = 100;

fn in_use() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// What the system says that the process takes; with what is allocated in C, and in whole pages.
fn resident() -> f64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1);
    pages.map_or(f64::NAN, |pages| {
        pages.parse::<f64>().unwrap_or(f64::NAN) * 4_096.0
    })
}

/// Knows everybody by the path of the issuer. All have the same keys, but each set is fetched and
/// held for itself.
struct Register {
    sound: String,
    dead: String,
    hangs: String,
}

impl TenantResolver for Register {
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        let keys = if issuer.contains("/sound/") {
            &self.sound
        } else if issuer.contains("/dead/") {
            &self.dead
        } else {
            &self.hangs
        };
        let server = AuthorizationServer::with_issuer(issuer, keys);
        Ok(Some(server.audience(AUDIENCE)))
    }
}

/// Takes connections, as far as the system does, and says nothing; and a port where nobody listens.
struct BadServers {
    hangs: TcpListener,
    dead: u16,
}

impl BadServers {
    fn new() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            hangs: bind(),
            dead: bind().local_addr().unwrap().port(),
        }
    }
}

fn layer(world: &World, bad: &BadServers, cache: TokenCachePolicy) -> AuthenticateLayer {
    let hangs = bad.hangs.local_addr().unwrap().port();
    let register = Register {
        sound: world.issuer.jwks_uri().to_owned(),
        dead: format!("http://127.0.0.1:{}/keys", bad.dead),
        hangs: format!("http://127.0.0.1:{hangs}/keys"),
    };
    let policy = TenantPolicy::default()
        .max_tenants(20_000)
        .trust_time(Duration::from_secs(24 * 3_600));
    let resource_server = ResourceServer::builder()
        .tenants(register, policy)
        .token_cache(cache)
        .build()
        .unwrap();
    AuthenticateLayer::new(resource_server)
}

fn tokens(world: &World, kind: &str, count: usize) -> Vec<HeaderMap> {
    let (key, now) = (world.issuer.key(), now());
    let token = |n: usize| {
        let issuer = format!("{}/{kind}/{n}", world.okta.origin());
        bearer(&key.sign(&claims(&issuer, now, n)))
    };
    (0..count).map(token).collect()
}

/// A request that may wait.
fn status(world: &World, service: &mut Guarded, headers: &HeaderMap) -> u16 {
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    let response = world.runtime.block_on(service.call(request)).unwrap();
    response.status().as_u16()
}

fn settle(world: &World, layer: &AuthenticateLayer, tokens: &[HeaderMap]) {
    let mut service = guarded(layer);
    for token in tokens {
        assert_eq!(status(world, &mut service, token), 200);
    }
}

fn memory(world: &World, bad: &BadServers, tokens: &[HeaderMap]) -> AuthenticateLayer {
    let layer = layer(world, bad, TokenCachePolicy::off());
    settle(world, &layer, &tokens[..1]);
    let (heap, pages) = (in_use(), resident());
    settle(world, &layer, &tokens[1..]);
    // The connections of the last fetches close.
    thread::sleep(Duration::from_millis(200));
    let each = |before: f64, after: f64| (after - before) / (tokens.len() - 1) as f64;
    let remembered = layer.remembered_tenants();
    println!(
        "bytes of each of {remembered} idle tenants: {:.0} on the heap, {:.0} resident (with keys in C)",
        each(heap, in_use()),
        each(pages, resident())
    );
    layer
}

/// The same claims under an algorithm that is not on the list: refused right after the look-up.
fn refused(world: &World, tokens: &[HeaderMap]) -> Vec<HeaderMap> {
    let key = world.issuer.key();
    let token = |n: usize| {
        let issuer = format!("{}/sound/{n}", world.okta.origin());
        let header = json!({ "alg": "ES256", "kid": key.kid() });
        bearer(&key.sign_with_header(&header, &claims(&issuer, now(), n)))
    };
    (0..tokens.len()).map(token).collect()
}

fn time(world: &World, bad: &BadServers, many: &AuthenticateLayer, tokens: &[HeaderMap]) {
    let of_default = [bearer(&world.token(0))];
    // What many tokens take by themselves, whoever's they are.
    let of_default_in_turn: Vec<_> = (0..WARM).map(|n| bearer(&world.token(n))).collect();
    let wrong = refused(world, tokens);
    let wrong_default = {
        let header = json!({ "alg": "ES256", "kid": world.issuer.key().kid() });
        let claims = claims(world.issuer.issuer(), now(), 0);
        [bearer(
            &world.issuer.key().sign_with_header(&header, &claims),
        )]
    };
    let by_name = [TokenCachePolicy::off(), TokenCachePolicy::default()].map(|c| world.layer(c));
    let single = [TokenCachePolicy::off(), TokenCachePolicy::default()].map(|cache| {
        let layer = layer(world, bad, cache);
        settle(world, &layer, &tokens[..1]);
        layer
    });
    let many_cached = layer(world, bad, TokenCachePolicy::default());
    settle(world, &many_cached, tokens);
    // Those that are asked for again are remembered.
    settle(world, &many_cached, &tokens[..WARM]);
    settle(world, &by_name[1], &of_default);
    settle(world, &by_name[1], &of_default_in_turn);

    let mut cases = Cases::default();
    let mut add = |name: &str, layer: &AuthenticateLayer, tokens: &[HeaderMap], expected: u16| {
        let service = RefCell::new(guarded(layer));
        let tokens = tokens.to_vec();
        let mut next = 0;
        cases.add(name, move || {
            let found = ask(&mut *service.borrow_mut(), &tokens[next]).status();
            assert_eq!(found, expected);
            next = (next + 1) % tokens.len();
        });
    };
    let one = &tokens[..1];
    add("look-up, by name", &by_name[0], &wrong_default, 401);
    add("look-up, 1 tenant", &single[0], &wrong[..1], 401);
    add("look-up, 1 of 10,000", many, &wrong[..1], 401);
    add("look-up, 10,000 in turn", many, &wrong, 401);
    add("cold, by name", &by_name[0], &of_default, 200);
    add(
        "cold, by name in turn",
        &by_name[0],
        &of_default_in_turn,
        200,
    );
    add("cold, 1 tenant", &single[0], one, 200);
    add("cold, 1 of 10,000", many, one, 200);
    add("cold, 10,000 in turn", many, tokens, 200);
    add("warm, by name", &by_name[1], &of_default, 200);
    add(
        "warm, by name in turn",
        &by_name[1],
        &of_default_in_turn,
        200,
    );
    add("warm, 1 tenant", &single[1], one, 200);
    add("warm, 1 of 10,000", &many_cached, one, 200);
    add("warm, 2,000 in turn", &many_cached, &tokens[..WARM], 200);
    let times = cases.measure(100);
    println!(
        "\n{:<28} {:>10} {:>10} {:>18}",
        "request", "least ns", "of by name", "of by name in turn"
    );
    for name in times.names() {
        let (kind, _) = name.split_once(',').unwrap();
        let of = |other: &str| {
            let ratio = times.least(name) / times.least(&format!("{kind}, {other}"));
            // Not every kind has both.
            if ratio.is_nan() {
                "-".to_owned()
            } else {
                format!("{ratio:.3}")
            }
        };
        println!(
            "{name:<28} {:>10.0} {:>10} {:>18}",
            times.least(name),
            of("by name"),
            of("by name in turn")
        );
    }
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [50, 99].map(|percent| times[(times.len() * percent / 100).min(times.len() - 1)])
}

/// What tenant A's requests take, remembered and new, and those of newcomers, whose keys have to be
/// fetched; with how many of the newcomers were refused.
fn latencies(
    world: &World,
    layer: &AuthenticateLayer,
    new: &[HeaderMap],
    newcomers: &[HeaderMap],
) -> ([[f64; 2]; 3], usize) {
    let mut service = guarded(layer);
    let warm = &new[0];
    assert_eq!(status(world, &mut service, warm), 200);
    let mut times = [const { Vec::new() }; 3];
    // First, while the bad ones are asked for the first time.
    let mut refused = 0;
    for token in newcomers {
        let began = Instant::now();
        refused += usize::from(status(world, &mut service, token) != 200);
        times[2].push(began.elapsed().as_secs_f64() * 1e6);
    }
    for token in &new[1..] {
        for (token, times) in [warm, token].into_iter().zip(&mut times) {
            let began = Instant::now();
            assert_eq!(ask(&mut service, token).status(), 200);
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
        // So that it goes on for as long as the bad ones take to be given up.
        thread::sleep(Duration::from_millis(1));
    }
    (times.map(percentiles), refused)
}

fn neighbours(world: &World, bad: &BadServers) {
    let (key, now) = (world.issuer.key(), now());
    let issuer = format!("{}/sound/a", world.okta.origin());
    let new: Vec<_> = (0..2 * REQUESTS + 2)
        .map(|n| bearer(&key.sign(&claims(&issuer, now, n))))
        .collect();
    let (first, second) = new.split_at(REQUESTS + 1);
    let newcomers = tokens(world, "sound/new", 2 * NEWCOMERS);
    let (early, late) = newcomers.split_at(NEWCOMERS);
    let layer = layer(world, bad, TokenCachePolicy::default());
    let (alone, refused_alone) = latencies(world, &layer, first, early);

    let asked: Vec<_> = [
        tokens(world, "dead", BAD / 2),
        tokens(world, "hangs", BAD / 2),
    ]
    .concat()
    .into_iter()
    .map(|token| {
        let mut service = guarded(&layer);
        world.runtime.spawn(async move {
            loop {
                let mut request = Request::new(());
                *request.headers_mut() = token.clone();
                let response = service.call(request).await.unwrap();
                assert_eq!(response.status(), 503);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    })
    .collect();
    thread::sleep(Duration::from_millis(500));
    let (beside, refused_beside) = latencies(world, &layer, second, late);
    for task in asked {
        task.abort();
    }
    println!(
        "\n{:<28} {:>9} {:>9} {:>12} {:>12} {:>7} {:>7}",
        "microseconds", "p50 alone", "p99 alone", "p50 beside", "p99 beside", "ratio", "ratio"
    );
    let names = ["A, remembered", "A, new token", "newcomer, keys fetched"];
    for ((name, [a50, a99]), [b50, b99]) in names.into_iter().zip(alone).zip(beside) {
        println!(
            "{name:<28} {a50:>9.1} {a99:>9.1} {b50:>12.1} {b99:>12.1} {:>7.2} {:>7.2}",
            b50 / a50,
            b99 / a99
        );
    }
    println!(
        "newcomers that got 503: {refused_alone} of {NEWCOMERS} alone, {refused_beside} beside {BAD} \
         of which half are dead and half hang"
    );
}

fn main() {
    let world = World::new();
    let bad = BadServers::new();
    let tokens = tokens(&world, "sound", TENANTS);
    let many = memory(&world, &bad, &tokens);
    time(&world, &bad, &many, &tokens);
    neighbours(&world, &bad);
}
