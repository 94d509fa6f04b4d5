//! What does it cost to verify a token that was never seen, over the bare signature check?
//!
//! ```text
//! cargo bench --all-features --bench verify
//! ```
//!
//! See BENCHMARKING.md for how to read it.

mod support;

use std::hint::black_box;

use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use http::HeaderMap;
use portcullis::{
    Algorithm, AuthorizationServer, ResourceServer, UnixTime,
    test_util::SigningKey,
    verify::{self, KeySet},
};
use serde_json::json;
use support::{AUDIENCE, Cases, SignatureCheck, Times, bearer, claims, now};

/// A policy, its keys, and a token.
struct Scene {
    resource_server: ResourceServer,
    keys: KeySet,
    headers: HeaderMap,
}

fn scene(algorithm: Algorithm) -> Scene {
    let server = AuthorizationServer::okta_custom("company.okta.com", "default")
        .audience(AUDIENCE)
        .algorithms([algorithm]);
    let key = SigningKey::generate(algorithm);
    let jwks = json!({ "keys": [key.jwk()] }).to_string();
    Scene {
        keys: KeySet::from_json(jwks.as_bytes(), &server).unwrap(),
        headers: bearer(&key.sign(&claims(server.issuer(), now(), 0))),
        resource_server: ResourceServer::builder().trust(server).build().unwrap(),
    }
}

fn main() {
    let time = UnixTime::from_secs(now());
    let scenes: Vec<_> = (Algorithm::ALL.iter())
        .map(|&algorithm| (algorithm, SignatureCheck::new(algorithm), scene(algorithm)))
        .collect();
    let mut cases = Cases::default();
    for (algorithm, check, scene) in &scenes {
        cases.add(format!("{algorithm}: check alone"), || check.run());
        cases.add(format!("{algorithm}: begin and finish"), || {
            verify::begin(black_box(&scene.headers), &scene.resource_server)
                .and_then(|pending| pending.finish(time, &scene.keys))
                .unwrap();
        });
        if *algorithm == Algorithm::Rs256 {
            cases.add("RS256: check, key parsed each time", || {
                let (message, signature) = (black_box(&check.message), black_box(&check.signature));
                (check.components)
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .unwrap();
            });
        }
    }
    let times = cases.measure(150);
    Times::header("of the check");
    for name in times.names() {
        let (algorithm, _) = name.split_once(':').unwrap();
        times.row(name, 0.0, times.least(&format!("{algorithm}: check alone")));
    }
}
