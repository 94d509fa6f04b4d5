//! The Tower layers.
//!
//! [`AuthenticateLayer`] finds out who calls; [`RequireLayer`], further in, what they may do.

mod authenticator;
mod directory;
mod end_streams;
mod future;
mod gate;
mod grpc;
mod guarded_body;
mod layer;
mod lease;
mod require;
mod response;
mod service;

pub use end_streams::{EndStreams, EndStreamsFuture, EndStreamsLayer, Unguarded};
pub use future::ResponseFuture;
pub use guarded_body::GuardedBody;
pub use layer::{AuthenticateLayer, AuthenticateLayerBuilder, KeyHealth, RememberedTokens};
pub use require::{Require, RequireFuture, RequireLayer};
pub use response::{EmptyRejection, JsonRejection, RejectionBody, RejectionResponse};
pub use service::Authenticate;

pub(crate) use grpc::Form;
#[cfg(feature = "tonic")]
pub(crate) use grpc::details;
#[cfg(feature = "axum")]
pub(crate) use response::FromInside;
pub(crate) use response::answer;
