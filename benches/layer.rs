//! What does a request cost that goes through the layer: its token seen before, never seen before,
//! or refused?
//!
//! ```text
//! cargo bench --all-features --bench layer
//! ```
//!
//! See BENCHMARKING.md for how to read it.

mod support;

use std::{hint::black_box, time::Duration};

use portcullis::{Algorithm, TokenCachePolicy};
use support::{Cases, SignatureCheck, Times, World, ask, bearer, claims, guarded, hello, now};

fn main() {
    let world = World::new();
    let check = SignatureCheck::new(Algorithm::Rs256);
    let cached = world.layer(TokenCachePolicy::default());
    let uncached = world.layer(TokenCachePolicy::off());
    // So small that a token is given up long before its turn comes again.
    let crowded = world.layer(TokenCachePolicy::default().max_entries(64));
    let key = world.issuer.key();
    let sign = |claims: &serde_json::Value| bearer(&key.sign(claims));
    let good = &bearer(&world.token(0));
    let many: Vec<_> = world
        .tokens(2_000)
        .iter()
        .map(|token| bearer(token))
        .collect();
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims(world.issuer.issuer(), now(), 0);
        claims[name] = value;
        sign(&claims)
    };
    let token = world.token(0);
    println!("the token has {} characters", token.len());
    let forged = {
        let (message, _) = token.rsplit_once('.').unwrap();
        let other = world.token(1);
        bearer(&format!("{message}.{}", other.rsplit_once('.').unwrap().1))
    };
    // Seen while it was good, three seconds ago, at the very end of its leeway.
    let seen = {
        let headers = with("exp", (now() - 58).into());
        world.settle(&mut guarded(&cached), &headers);
        std::thread::sleep(Duration::from_secs(3));
        headers
    };
    let refused = [
        ("refused: no token", bearer("")),
        ("refused: garbage", bearer("garbage")),
        (
            "refused: 1,030 bytes of garbage",
            bearer(&"x".repeat(1_030)),
        ),
        (
            "refused: unknown issuer",
            with("iss", "https://evil.example".into()),
        ),
        ("refused: wrong audience", with("aud", "api://other".into())),
        ("refused: expired", with("exp", (now() - 3_600).into())),
        ("refused: expired, seen before", seen),
        ("refused: forged signature", forged),
    ];

    let mut cases = Cases::default();
    cases.add("signature check alone", || check.run());
    let mut bare = hello();
    cases.add("bare service", move || {
        assert_eq!(ask(&mut bare, black_box(good)).status(), 200);
    });
    let mut service = guarded(&cached);
    cases.add("warm", move || {
        assert_eq!(ask(&mut service, black_box(good)).status(), 200);
    });
    let mut service = guarded(&crowded);
    let mut tokens = many.iter().cycle();
    cases.add("cold: every token new", move || {
        let headers = tokens.next().unwrap();
        assert_eq!(ask(&mut service, black_box(headers)).status(), 200);
    });
    let mut service = guarded(&uncached);
    cases.add("cold: token cache off", move || {
        assert_eq!(ask(&mut service, black_box(good)).status(), 200);
    });
    for (name, headers) in &refused {
        let mut service = guarded(&cached);
        world.settle(&mut service, headers);
        cases.add(*name, move || {
            assert_eq!(ask(&mut service, black_box(headers)).status(), 401);
        });
    }
    let times = cases.measure(300);
    let bare = times.least("bare service");
    let warm = times.least("warm");
    println!("\nnet of the bare service, over the signature check:");
    Times::header("of the check");
    for name in times.names() {
        times.row(name, bare, times.least("signature check alone"));
    }
    println!("\nwhole requests, the service included, over a warm one that is let through:");
    Times::header("of warm");
    for (name, _) in &refused {
        times.row(name, 0.0, warm);
    }
}
