//! Do two threads do twice the work of one, with the same token, and with many?
//!
//! ```text
//! cargo bench --all-features --bench contention
//! ```
//!
//! See BENCHMARKING.md for how to read it.
#![allow(clippy::disallowed_methods, reason = "benches measure time")]

mod support;

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use http::HeaderMap;
use portcullis::TokenCachePolicy;
use support::{World, ask, bearer, guarded, hello};

const ROUNDS: usize = 60;
/// What one thread does in a turn.
const TURN: Duration = Duration::from_millis(10);

/// A kind of request: to the bare service or through the layer, with one token or with many.
struct Case<'c> {
    name: &'static str,
    run: Box<dyn Fn(usize) + Sync + 'c>,
    count: usize,
    /// Requests a second of all threads together, with one and with two.
    rates: [Vec<f64>; 2],
}

impl<'c> Case<'c> {
    fn new(name: &'static str, run: impl Fn(usize) + Sync + 'c) -> Self {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < TURN * 5 {
            run(100);
            count += 100;
        }
        Self {
            name,
            run: Box::new(run),
            count: count / 5,
            rates: Default::default(),
        }
    }

    fn turn(&mut self, threads: usize) {
        let barrier = Barrier::new(threads);
        let took: Vec<_> = thread::scope(|scope| {
            let work = || {
                barrier.wait();
                let began = Instant::now();
                (self.run)(self.count);
                began.elapsed()
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let rate = |took: &Duration| self.count as f64 / took.as_secs_f64();
        self.rates[threads - 1].push(took.iter().map(rate).sum());
    }
}

fn main() {
    let world = World::new();
    let layer = world.layer(TokenCachePolicy::default());
    let many: Vec<_> = (world.tokens(1_000).iter())
        .map(|token| bearer(token))
        .collect();
    let one = &many[..1];
    let mut service = guarded(&layer);
    for headers in &many {
        assert_eq!(ask(&mut service, headers).status(), 200);
    }
    let bare = |tokens: &[HeaderMap], count: usize| {
        let mut service = hello();
        for headers in tokens.iter().cycle().take(count) {
            assert_eq!(ask(&mut service, headers).status(), 200);
        }
    };
    let warm = |tokens: &[HeaderMap], count: usize| {
        let mut service = guarded(&layer);
        for headers in tokens.iter().cycle().take(count) {
            assert_eq!(ask(&mut service, headers).status(), 200);
        }
    };
    // The yardstick of the machine: work that shares nothing at all.
    let alone = |count: usize| {
        let mut x = 1_u64;
        for _ in 0..count * 100 {
            x = std::hint::black_box(x.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7));
        }
    };
    let mut cases = [
        Case::new("arithmetic", alone),
        Case::new("bare, one token", |count| bare(one, count)),
        Case::new("warm, one token", |count| warm(one, count)),
        Case::new("bare, 1,000 tokens", |count| bare(&many, count)),
        Case::new("warm, 1,000 tokens", |count| warm(&many, count)),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.turn(1);
            case.turn(2);
        }
    }
    println!(
        "{:<22} {:>14} {:>14} {:>12} {:>12}",
        "case", "1 thread, 1/s", "2 threads, 1/s", "best of best", "median"
    );
    for case in cases {
        let [one, two] = case.rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            (rates[rates.len() - 1], rates[rates.len() / 2])
        });
        println!(
            "{:<22} {:>14.0} {:>14.0} {:>11.2}x {:>11.2}x",
            case.name,
            one.0,
            two.0,
            two.0 / one.0,
            two.1 / one.1
        );
    }
}
