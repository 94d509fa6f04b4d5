//! The Tower layers.
//!
//! [`AuthenticateLayer`] finds out who calls; [`RequireLayer`], further in, what they may do.

mod authenticator;
mod future;
mod gate;
mod layer;
mod require;
mod response;
mod service;

pub use future::ResponseFuture;
pub use layer::{AuthenticateLayer, AuthenticateLayerBuilder, KeyHealth, RememberedTokens};
pub use require::{Require, RequireFuture, RequireLayer};
pub use response::{EmptyRejection, JsonRejection, RejectionResponse};
pub use service::Authenticate;

#[cfg(feature = "axum")]
pub(crate) use response::{FromInside, answer};
