//! An OAuth 2.0 resource server as a Tower layer.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access_token;
mod algorithm;
pub mod audit;
mod authorization_server;
mod challenge;
mod env;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod jwks;
mod jwks_policy;
pub mod middleware;
mod provider;
mod rejection;
mod resource_server;
mod role;
mod scope;
#[cfg(feature = "test-util")]
pub mod test_util;
mod time;
pub mod verify;

pub use access_token::AccessToken;
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use authorization_server::{AuthorizationServer, ClaimPath, WithoutAudience};
pub use env::{EnvError, EnvMistake};
pub use error::ConfigError;
pub use jwks::KeyStatus;
pub use jwks_policy::JwksPolicy;
pub use middleware::{
    AuthenticateLayer, AuthenticateLayerBuilder, EmptyRejection, JsonRejection, KeyHealth,
    RejectionResponse, RequireLayer,
};
pub use rejection::{Rejection, RejectionKind, Step};
pub use resource_server::{ResourceServer, ResourceServerBuilder};
pub use role::{Role, RoleMapping};
pub use scope::ScopeRequirement;
pub use time::{Clock, UnixTime};
