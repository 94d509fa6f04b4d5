//! The service itself. That its callers have valid tokens is seen to outside.

use std::{pin::Pin, time::Duration};

use portcullis::{AccessToken, Role};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::echo::{EchoRequest, EchoResponse, echo_server::Echo};

#[derive(Debug, Default)]
pub(crate) struct EchoService;

type Echoes = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for EchoService {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { message } = request.into_inner();
        Ok(Response::new(EchoResponse { message }))
    }

    type ServerStreamingEchoStream = Echoes;

    async fn server_streaming_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Echoes>, Status> {
        let EchoRequest { message } = request.into_inner();
        let echoes = tokio_stream::iter(std::iter::repeat(message))
            .map(|message| Ok(EchoResponse { message }))
            .throttle(Duration::from_secs(1));
        Ok(Response::new(Box::pin(echoes)))
    }

    async fn client_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let mut requests = request.into_inner();
        let mut message = String::new();
        while let Some(request) = requests.message().await? {
            message.push_str(&request.message);
            if message.len() > 1 << 20 {
                return Err(Status::resource_exhausted("more than a mebibyte"));
            }
        }
        Ok(Response::new(EchoResponse { message }))
    }

    type BidirectionalStreamingEchoStream = Echoes;

    async fn bidirectional_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Echoes>, Status> {
        // What a table of methods cannot say is asked here. Both refusals are gRPC statuses.
        AccessToken::from_extensions(request.extensions())?.require_role(Role::Admin)?;
        let echoes = request
            .into_inner()
            .map(|request| request.map(|EchoRequest { message }| EchoResponse { message }));
        Ok(Response::new(Box::pin(echoes)))
    }
}
