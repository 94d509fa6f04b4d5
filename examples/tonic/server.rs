//! A protected gRPC service, configured by the environment alone.
//!
//! ```text
//! AUTH_PROVIDERS=okta OKTA_ORG_DOMAIN=company.okta.com OKTA_AUDIENCE=api://default \
//! ADMIN_GROUPS=DataEngineers cargo run --all-features --example tonic
//!
//! TOKEN=… cargo run --all-features --example tonic-client
//! ```
//!
//! | `grpc.examples.echo.Echo` | who may |
//! |---|---|
//! | `UnaryEcho` | whoever has a valid token |
//! | `ServerStreamingEcho`: the message, once a second | scope `read:data` |
//! | `ClientStreamingEcho`: all messages, joined | scope `write:data` |
//! | `BidirectionalStreamingEcho`: each message, as it comes | role admin |
//!
//! `grpc.health.v1.Health` is open to everybody, and nothing else is there. Streams end with
//! UNAUTHENTICATED when their token expires.
//!
//! `LISTEN_ADDR` says where to listen (default `127.0.0.1:50051`), `RUST_LOG` what to log (default
//! `info`).

use std::{env, error::Error, process::ExitCode, time::Duration};

use portcullis::{
    AccessPolicy, AuthenticateLayer, Requirement, ResourceServer, audit::TracingAudit,
};
use tonic::transport::{Server, server::TcpIncoming};
use tracing_subscriber::EnvFilter;

mod echo;
mod service;

use echo::echo_server::EchoServer;
use service::EchoService;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let policy = AccessPolicy::builder()
        .require(
            "/grpc.examples.echo.Echo/ServerStreamingEcho",
            Requirement::all_scopes(["read:data"])?,
        )
        .require(
            "/grpc.examples.echo.Echo/ClientStreamingEcho",
            Requirement::all_scopes(["write:data"])?,
        )
        .require("/grpc.examples.echo.Echo/*", Requirement::token())
        .exempt_grpc_health()
        .build()?;
    let authenticate = AuthenticateLayer::builder(ResourceServer::from_env()?)
        .audit(TracingAudit::new())
        .build()
        .policy(policy);

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let incoming = address
        .parse()
        .map_err(Into::into)
        .and_then(|address| TcpIncoming::bind(address).map_err(Box::<dyn Error>::from))
        .map_err(|error| format!("LISTEN_ADDR is {address:?}: {error}"))?;
    println!("listening on http://{}", incoming.local_addr()?);

    // The service is up whether or not the authorization server is.
    let prefetch = authenticate.clone();
    tokio::spawn(async move { prefetch.prefetch().await });

    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<EchoServer<EchoService>>()
        .await;

    Server::builder()
        // A token may be as long as what is read by default in all.
        .http2_max_header_list_size(32 << 10)
        .layer(authenticate.end_streams(Duration::ZERO))
        .add_service(EchoServer::new(EchoService))
        .add_service(health)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
