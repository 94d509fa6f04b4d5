//! How far apart do ten thousand open streams end when their token expires, and what do they cost
//! until then?
//!
//! ```text
//! cargo bench --all-features --bench streams
//! ```
//!
//! See BENCHMARKING.md for how to read it.
#![allow(clippy::disallowed_methods, reason = "benches measure time")]

mod support;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portcullis::{
    AuthenticateLayer, AuthorizationServer, ResourceServer, middleware::EndStreamsLayer,
};
use support::{AUDIENCE, Thread, World, claims, now};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

#[path = "../examples/tonic/echo.rs"]
mod echo;

use echo::{
    EchoRequest, EchoResponse,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};

const CONNECTIONS: usize = 100;
const STREAMS_EACH: usize = 100;
/// How long the streams are watched while nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// From the token's issue to its expiry: what it takes to open the streams, and the idle time.
const LIFE: u64 = 30;

/// Answers with one message, and then with nothing for as long as the stream is open.
struct Silent;

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Silent {
    async fn unary_echo(&self, _: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type ServerStreamingEchoStream = Answers;

    async fn server_streaming_echo(
        &self,
        _: Request<EchoRequest>,
    ) -> Result<Response<Answers>, Status> {
        let first = tokio_stream::once(Ok(EchoResponse::default()));
        Ok(Response::new(Box::pin(
            first.chain(tokio_stream::pending()),
        )))
    }

    async fn client_streaming_echo(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type BidirectionalStreamingEchoStream = Answers;

    async fn bidirectional_streaming_echo(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Serves on a thread of its own.
fn serve(layer: EndStreamsLayer) -> (SocketAddr, Thread) {
    let (started, ready) = mpsc::channel();
    thread::spawn(move || {
        current_thread().block_on(async {
            let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = incoming.local_addr().unwrap();
            started.send((address, Thread::current())).unwrap();
            Server::builder()
                .layer(layer)
                .add_service(EchoServer::new(Silent))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
    });
    ready.recv().unwrap()
}

/// Opens a stream, hears its first message, and says how long after `expiry` it was ended, in
/// milliseconds.
async fn stream(
    channel: Channel,
    token: String,
    expiry: SystemTime,
    open: tokio::sync::mpsc::Sender<()>,
) -> f64 {
    let mut request = Request::new(EchoRequest::default());
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    let answers = EchoClient::new(channel)
        .server_streaming_echo(request)
        .await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    drop(open);
    let end = answers.next().await.unwrap().unwrap_err();
    let ended = SystemTime::now();
    assert_eq!(end.code(), Code::Unauthenticated, "{end}");
    match ended.duration_since(expiry) {
        Ok(late) => late.as_secs_f64() * 1e3,
        Err(early) => -early.duration().as_secs_f64() * 1e3,
    }
}

fn main() {
    let world = World::new();
    let okta = AuthorizationServer::okta_custom(world.okta.origin(), "default");
    let resource_server = ResourceServer::builder()
        .trust(okta.audience(AUDIENCE))
        .leeway(Duration::ZERO)
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new(resource_server);
    world.runtime.block_on(layer.prefetch());
    let (address, thread) = serve(layer.end_streams(Duration::ZERO));

    let issued = now();
    let expiry = UNIX_EPOCH + Duration::from_secs(issued + LIFE);
    let client = current_thread();
    let mut ends = client.block_on(async {
        let (opening, mut all_open) = tokio::sync::mpsc::channel(1);
        let mut streams = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
            let channel = endpoint.connect().await.unwrap();
            for id in 0..STREAMS_EACH {
                // Each has a token of its own; all expire in the same second.
                let mut claims = claims(world.issuer.issuer(), issued, connection * STREAMS_EACH + id);
                claims["exp"] = (issued + LIFE).into();
                let token = world.issuer.key().sign(&claims);
                streams.spawn(stream(channel.clone(), token, expiry, opening.clone()));
            }
        }
        drop(opening);
        all_open.recv().await;
        let open = SystemTime::now();
        let left = expiry.duration_since(open).unwrap_or_default();
        println!("{} streams open, {:.1} s before their tokens expire", streams.len(), left.as_secs_f64());
        assert!(left > IDLE + Duration::from_secs(1), "too slow a machine for this LIFE");
        let before = thread.ran();
        tokio::time::sleep(IDLE).await;
        let idle = (thread.ran() - before) / 1e6;
        println!(
            "server's processor over {} s in which nothing happened: {idle:.1} ms, {:.3} % of a core",
            IDLE.as_secs(),
            idle / IDLE.as_secs_f64() / 10.0
        );
        let before = thread.ran();
        let ends = streams.join_all().await;
        let cut = (thread.ran() - before) / 1e6;
        println!(
            "server's processor while all of them were ended: {cut:.1} ms, {:.1} µs a stream",
            cut * 1e3 / ends.len() as f64
        );
        ends
    });
    ends.sort_by(f64::total_cmp);
    let at = |part: f64| ends[((ends.len() - 1) as f64 * part) as usize];
    println!(
        "ended after the expiry, in ms: first {:.1}, half {:.1}, 99 % {:.1}, last {:.1}; first to last {:.1}",
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0),
        at(1.0) - at(0.0)
    );
}
