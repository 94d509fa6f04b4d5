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
    process::Command,
    sync::mpsc,
    thread,
};

use axum::{Router, routing::get};
use portcullis::TokenCachePolicy;
use support::{Thread, World};

const ROUNDS: usize = 21;

/// A server, and what was seen of it in each round.
struct Server {
    name: &'static str,
    address: SocketAddr,
    thread: Thread,
    /// Requests a second.
    rates: Vec<f64>,
    /// Nanoseconds of the server's processor that a request took.
    costs: Vec<f64>,
}

impl Server {
    fn new(name: &'static str, protected: Router) -> Self {
        let (address, thread) = serve(protected);
        Self {
            name,
            address,
            thread,
            rates: Vec::new(),
            costs: Vec::new(),
        }
    }

    fn round(&mut self, token: &str) -> Option<()> {
        let before = self.thread.ran();
        let (count, rate) = wrk(self.address, token)?;
        self.rates.push(rate);
        self.costs.push((self.thread.ran() - before) / count);
        Some(())
    }
}

/// Serves on a thread of its own, until the process ends.
fn serve(app: Router) -> (SocketAddr, Thread) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (started, ready) = mpsc::channel();
    thread::spawn(move || {
        started.send(Thread::current()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    (address, ready.recv().unwrap())
}

/// How many requests one thread with 16 connections got answered in a second, all of them with 200;
/// and how many that were a second.
fn wrk(address: SocketAddr, token: &str) -> Option<(f64, f64)> {
    let output = Command::new("wrk")
        .args(["-t1", "-c16", "-d1s"])
        .arg("-H")
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!("http://{address}/"))
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(!report.contains("Non-2xx"), "refused: {report}");
    let (before, _) = report.split_once(" requests in ")?;
    let count = before.split_whitespace().next_back()?.parse().ok()?;
    let (_, rest) = report.split_once("Requests/sec:")?;
    let rate = rest.split_whitespace().next()?.parse().ok()?;
    Some((count, rate))
}

fn main() {
    let world = World::new();
    let router = || Router::new().route("/", get(|| async { "hello" }));
    let [warm, cold] = [TokenCachePolicy::default(), TokenCachePolicy::off()]
        .map(|policy| router().layer(world.layer(policy)));
    let token = world.token(0);
    let mut servers = [
        Server::new("bare", router()),
        Server::new("warm", warm),
        Server::new("every token verified", cold),
    ];
    for _ in 0..ROUNDS {
        for server in &mut servers {
            if server.round(&token).is_none() {
                println!("left out: it needs wrk");
                return;
            }
        }
    }
    println!(
        "{:<22} {:>10} {:>10} {:>8} {:>14} {:>8}",
        "server", "best 1/s", "median 1/s", "of bare", "least cpu ns", "of bare"
    );
    let mut bare = None;
    for mut server in servers {
        server.rates.sort_by(f64::total_cmp);
        server.costs.sort_by(f64::total_cmp);
        let best = server.rates[ROUNDS - 1];
        let median = server.rates[ROUNDS / 2];
        let cost = server.costs[0];
        let (bare_best, bare_cost) = *bare.get_or_insert((best, cost));
        println!(
            "{:<22} {best:>10.0} {median:>10.0} {:>8.3} {cost:>14.0} {:>8.3}",
            server.name,
            best / bare_best,
            bare_cost / cost
        );
    }
}
