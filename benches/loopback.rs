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
use support::{Rates, Thread, World};

const ROUNDS: usize = 21;

/// A server, and what was seen of it in each round.
struct Server {
    name: &'static str,
    address: SocketAddr,
    thread: Thread,
    seen: Rates,
}

impl Server {
    fn new(name: &'static str, protected: Router) -> Self {
        let (address, thread) = serve(protected);
        Self {
            name,
            address,
            thread,
            seen: Rates::default(),
        }
    }

    fn round(&mut self, token: &str) -> Option<()> {
        let before = self.thread.ran();
        let (count, rate) = wrk(self.address, token)?;
        self.seen.add(rate, (self.thread.ran() - before) / count);
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
    Rates::print(servers.map(|server| (server.name, server.seen)));
}
