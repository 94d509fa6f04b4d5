//! How many bytes does a remembered token take?
//!
//! ```text
//! cargo bench --all-features --bench memory
//! ```
//!
//! See BENCHMARKING.md for how to read it.

mod support;

use std::alloc::System;

use portcullis::{Algorithm, TokenCachePolicy, UnixTime, test_util::SigningKey, verify};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{World, ask, bearer, claims, guarded, now};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 1_000;

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn main() {
    println!(
        "{:<22} {:>7} {:>7} {:>9} {:>13} {:>22}",
        "token", "length", "claims", "in memory", "beside claims", "beside claims and token"
    );
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let world = World::new();
        let key = SigningKey::generate(algorithm);
        world.issuer.publish(key.jwk());
        let resource_server = world.resource_server([algorithm], TokenCachePolicy::default());
        let server = &resource_server.authorization_servers()[0];
        let tokens: Vec<_> = (0..COUNT)
            .map(|id| key.sign(&claims(world.issuer.issuer(), now(), id)))
            .collect();
        let headers: Vec<_> = tokens.iter().map(|token| bearer(token)).collect();

        // The claims alone: what a handler gets, and keeps for as long as it likes.
        let jwks = serde_json::json!({ "keys": [key.jwk()] }).to_string();
        let keys = verify::KeySet::from_json(jwks.as_bytes(), server).unwrap();
        let time = UnixTime::from_secs(now());
        let mut held = Vec::with_capacity(COUNT);
        let before = in_use();
        for headers in &headers {
            let pending = verify::begin(headers, &resource_server).unwrap();
            held.push(pending.finish(time, &keys).unwrap());
        }
        let claims = (in_use() - before) as f64 / COUNT as f64;
        drop(held);

        // What the layer says, which `tests/memory.rs` proves; its table has room for 16,384.
        let layer = world.layer_of(&resource_server);
        let mut service = guarded(&layer);
        let empty = layer.remembered_tokens().unwrap().bytes;
        for headers in &headers {
            assert_eq!(ask(&mut service, headers).status(), 200);
        }
        let full = layer.remembered_tokens().unwrap();
        assert_eq!(full.count, COUNT, "all of them are remembered");
        let taken = (full.bytes - empty) as f64 / COUNT as f64;
        let each = taken + empty as f64 / 16_384.0;
        let length = tokens[0].len() as f64;
        println!(
            "{:<22} {length:>7} {claims:>7.0} {each:>9.0} {:>13.0} {:>22.0}",
            algorithm.to_string(),
            each - claims,
            each - claims - length
        );
    }
}
