//! How many instructions does a request take? Unlike times, they repeat on a noisy machine.
//!
//! ```text
//! cargo bench --all-features --bench instructions
//! ```
//!
//! Needs `valgrind`. See BENCHMARKING.md for how to read it.

mod support;

use std::{env, process::Command};

use http::HeaderMap;
use portcullis::{Algorithm, TokenCachePolicy};
use support::{SignatureCheck, World, ask, bearer, claims, guarded, hello, now};

const CASES: [&str; 6] = [
    "check",
    "bare",
    "warm",
    "cold",
    "cold, cache off",
    "expired",
];

/// As many requests as are counted.
const COUNT: usize = 200;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [flag, case] = &arguments[..]
        && flag == "--case"
    {
        run(case);
        return;
    }
    let counts = CASES.map(count);
    let Some(bare) = counts[1] else {
        println!("left out: it needs valgrind, and a system that valgrind works on");
        return;
    };
    println!("{:<18} {:>14} {:>14}", "case", "instructions", "less bare");
    for (case, count) in CASES.iter().zip(counts) {
        let count = count.unwrap_or(f64::NAN);
        println!("{case:<18} {count:>14.0} {:>14.0}", count - bare);
    }
}

/// Runs one case under callgrind, which counts inside of `count_here` alone.
fn count(case: &str) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*::count_here*")
        .arg(env::current_exe().ok()?)
        .args(["--case", case])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let (_, collected) = report.split_once("Collected : ")?;
    let instructions: f64 = collected.split_whitespace().next()?.parse().ok()?;
    Some(instructions / COUNT as f64)
}

fn run(case: &str) {
    let world = World::new();
    let tokens: Vec<_> = (world.tokens(COUNT).iter())
        .map(|token| bearer(token))
        .collect();
    let off = case == "cold, cache off";
    let layer = world.layer(if off {
        TokenCachePolicy::off()
    } else {
        TokenCachePolicy::default()
    });
    let mut service = guarded(&layer);
    let mut through = |headers: &HeaderMap| assert_eq!(ask(&mut service, headers).status(), 200);
    match case {
        "check" => {
            let check = SignatureCheck::new(Algorithm::Rs256);
            counted(&tokens, &mut |_| check.run());
        }
        "bare" => {
            let mut hello = hello();
            counted(&tokens, &mut |headers| drop(ask(&mut hello, headers)));
        }
        "warm" => {
            tokens.iter().for_each(&mut through);
            counted(&tokens, &mut through);
        }
        "expired" => {
            let expired: Vec<_> = (0..COUNT)
                .map(|id| {
                    let claims = claims(world.issuer.issuer(), now() - 7_200, id);
                    bearer(&world.issuer.key().sign(&claims))
                })
                .collect();
            let mut refused =
                |headers: &HeaderMap| assert_eq!(ask(&mut service, headers).status(), 401);
            counted(&expired, &mut refused);
        }
        _ => counted(&tokens, &mut through),
    }
}

/// Each of them was cloned before, since the first clone of a header value costs more.
fn counted(tokens: &[HeaderMap], run: &mut dyn FnMut(&HeaderMap)) {
    tokens.iter().for_each(|headers| drop(headers.clone()));
    count_here(tokens, run);
}

#[inline(never)]
fn count_here(tokens: &[HeaderMap], run: &mut dyn FnMut(&HeaderMap)) {
    for headers in tokens {
        run(headers);
    }
}
