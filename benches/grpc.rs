//! How many unary calls a second does a tonic server answer behind the layer, over a real socket?
//!
//! ```text
//! cargo bench --all-features --bench grpc
//! ```
//!
//! See BENCHMARKING.md for how to read it.
#![allow(clippy::disallowed_methods, reason = "benches measure time")]

mod support;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use portcullis::{AccessPolicy, Requirement, TokenCachePolicy};
use support::{Rates, Thread, World};
use tokio::{runtime::Runtime, task::JoinSet};
use tonic::{
    body::Body,
    metadata::AsciiMetadataValue,
    service::Routes,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, layer::util::Identity};

#[path = "../examples/tonic/echo.rs"]
mod echo;
#[path = "../examples/tonic/service.rs"]
mod service;

use echo::{EchoRequest, echo_client::EchoClient, echo_server::EchoServer};
use service::EchoService;

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_secs(1);
const CALLS_IN_FLIGHT: usize = 16;

/// A server on a thread of its own, and what was seen of it in each round.
struct Case {
    name: &'static str,
    channel: Channel,
    thread: Thread,
    seen: Rates,
}

impl Case {
    fn new<L, S, B>(client: &Runtime, name: &'static str, layer: L) -> Self
    where
        L: Layer<Routes, Service = S> + Clone + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (started, ready) = mpsc::channel::<(SocketAddr, Thread)>();
        thread::spawn(move || {
            let runtime = current_thread();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let address = incoming.local_addr().unwrap();
                started.send((address, Thread::current())).unwrap();
                Server::builder()
                    .layer(layer)
                    .add_service(EchoServer::new(EchoService))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        let (address, thread) = ready.recv().unwrap();
        let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
        Self {
            name,
            channel: client.block_on(endpoint.connect()).unwrap(),
            thread,
            seen: Rates::default(),
        }
    }

    fn round(&mut self, client: &Runtime, token: &AsciiMetadataValue) {
        let before = self.thread.ran();
        let began = Instant::now();
        let count = client.block_on(calls(&self.channel, token, began + ROUND));
        let rate = count / began.elapsed().as_secs_f64();
        self.seen.add(rate, (self.thread.ran() - before) / count);
    }
}

/// Makes calls until then, each of which has to succeed, and counts them.
async fn calls(channel: &Channel, token: &AsciiMetadataValue, until: Instant) -> f64 {
    let mut tasks = JoinSet::new();
    for _ in 0..CALLS_IN_FLIGHT {
        let mut client = EchoClient::new(channel.clone());
        let token = token.clone();
        tasks.spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < until {
                let message = "hello".to_owned();
                let mut request = tonic::Request::new(EchoRequest { message });
                request
                    .metadata_mut()
                    .insert("authorization", token.clone());
                client.unary_echo(request).await.unwrap();
                count += 1;
            }
            count
        });
    }
    tasks.join_all().await.into_iter().map(f64::from).sum()
}

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn main() {
    let world = World::new();
    let client = current_thread();
    let warm = || world.layer(TokenCachePolicy::default());
    let policy = AccessPolicy::builder()
        .require(
            "/grpc.examples.echo.Echo/UnaryEcho",
            Requirement::all_scopes(["read:data"]).unwrap(),
        )
        .build()
        .unwrap();
    let token = format!("Bearer {}", world.token(0)).parse().unwrap();
    let mut cases = [
        Case::new(&client, "bare", Identity::new()),
        Case::new(&client, "warm", warm()),
        Case::new(&client, "warm, access policy", warm().policy(policy)),
        Case::new(
            &client,
            "warm, streams guarded",
            warm().end_streams(Duration::ZERO),
        ),
        Case::new(
            &client,
            "every token verified",
            world.layer(TokenCachePolicy::off()),
        ),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.round(&client, &token);
        }
    }
    Rates::print(cases.map(|case| (case.name, case.seen)));
}
