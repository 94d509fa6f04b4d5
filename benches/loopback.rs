//! How many requests a second does an axum server answer behind the layer, over a real socket?
//!
//! ```text
//! cargo bench --all-features --bench loopback
//! ```
//!
//! Needs `wrk`. See BENCHMARKING.md for how to read it.

mod support;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Command, ExitCode},
    thread,
};

use axum::{Router, routing::get};
use portcullis::TokenCachePolicy;
use support::World;

const ROUNDS: usize = 9;

/// Serves on a thread of its own, until the process ends.
fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    address
}

/// Requests a second, of one thread with 16 connections for a second; all of them answered 200.
fn wrk(address: SocketAddr, token: &str) -> Option<f64> {
    let output = Command::new("wrk")
        .args(["-t1", "-c16", "-d1s"])
        .arg("-H")
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!("http://{address}/"))
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(!report.contains("Non-2xx"), "refused: {report}");
    let (_, rest) = report.split_once("Requests/sec:")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn main() -> ExitCode {
    let world = World::new();
    let router = || Router::new().route("/", get(|| async { "hello" }));
    let layers = [TokenCachePolicy::default(), TokenCachePolicy::off()].map(|policy| {
        let layer = world.layer(policy);
        router().layer(layer)
    });
    let [warm, cold] = layers;
    let token = world.token(0);
    let mut cases = [
        ("bare", serve(router()), Vec::new()),
        ("warm", serve(warm), Vec::new()),
        ("every token verified", serve(cold), Vec::new()),
    ];
    for _ in 0..ROUNDS {
        for (_, address, rates) in &mut cases {
            let Some(rate) = wrk(*address, &token) else {
                eprintln!("this bench needs wrk");
                return ExitCode::FAILURE;
            };
            rates.push(rate);
        }
    }
    println!(
        "{:<22} {:>10} {:>10} {:>8} {:>8}",
        "server", "best 1/s", "median 1/s", "of bare", "median"
    );
    let mut bare = None;
    for (name, _, mut rates) in cases {
        rates.sort_by(f64::total_cmp);
        let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
        let (bare_best, bare_median) = *bare.get_or_insert((best, median));
        println!(
            "{name:<22} {best:>10.0} {median:>10.0} {:>8.3} {:>8.3}",
            best / bare_best,
            median / bare_median
        );
    }
    ExitCode::SUCCESS
}
