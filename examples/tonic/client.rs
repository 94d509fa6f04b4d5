//! Calls each method of the `tonic` example, and prints what comes back.
//!
//! ```text
//! TOKEN=… cargo run --all-features --example tonic-client
//! ```
//!
//! `SERVER` says where it is (default `http://127.0.0.1:50051`). Without `TOKEN` none is sent.

use std::{env, error::Error};

use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};
use tonic_types::StatusExt;

mod echo;

use echo::{EchoRequest, EchoResponse, echo_client::EchoClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = env::var("SERVER").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());
    let authorization: Option<MetadataValue<Ascii>> = match env::var("TOKEN") {
        Ok(token) => Some(format!("Bearer {}", token.trim()).parse()?),
        Err(_) => None,
    };
    let channel = Endpoint::new(server)?.connect().await?;
    let mut client = EchoClient::with_interceptor(channel, move |mut request: Request<()>| {
        if let Some(authorization) = &authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        Ok(request)
    });
    let hello = || EchoRequest {
        message: "hello".to_owned(),
    };

    let answer = client.unary_echo(hello()).await;
    print("UnaryEcho", answer.map(tonic::Response::into_inner));

    match client.server_streaming_echo(hello()).await {
        Ok(answers) => {
            let first = answers.into_inner().take(3);
            print_all("ServerStreamingEcho", first).await;
        }
        Err(status) => print("ServerStreamingEcho", Err(status)),
    }

    let requests = tokio_stream::iter([hello(), hello()]);
    let answer = client.client_streaming_echo(requests).await;
    print(
        "ClientStreamingEcho",
        answer.map(tonic::Response::into_inner),
    );

    let requests = tokio_stream::iter([hello(), hello()]);
    match client.bidirectional_streaming_echo(requests).await {
        Ok(answers) => print_all("BidirectionalStreamingEcho", answers.into_inner()).await,
        Err(status) => print("BidirectionalStreamingEcho", Err(status)),
    }
    Ok(())
}

async fn print_all(
    what: &str,
    mut answers: impl Stream<Item = Result<EchoResponse, Status>> + Unpin,
) {
    while let Some(answer) = answers.next().await {
        print(what, answer);
    }
}

fn print(what: &str, answer: Result<EchoResponse, Status>) {
    match answer {
        Ok(EchoResponse { message }) => println!("{what}: {message:?}"),
        Err(status) => {
            println!("{what}: {:?}: {}", status.code(), status.message());
            if let Some(info) = status.get_details_error_info() {
                println!("  reason: {} of {}", info.reason, info.domain);
            }
            if let Some(retry) = status.get_details_retry_info() {
                println!("  try again in: {:?}", retry.retry_delay);
            }
            if let Some(challenge) = status.metadata().get("www-authenticate") {
                println!("  www-authenticate: {challenge:?}");
            }
        }
    }
}
