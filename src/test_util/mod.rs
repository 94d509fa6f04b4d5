//! For tests, ours and yours: an authorization server, signing keys and a fake clock (feature
//! `test-util`).
//!
//! [`TestAuthorizationServer`] is an in-process server on a real loopback socket, shaped like
//! Okta. It mints tokens with any claims, rotates and removes keys, counts fetches, and misbehaves
//! on demand. [`FakeClock`] lets a test see a token expire without waiting for it.
//!
//! Everything here panics rather than return errors, and none of it belongs into a service.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
//! use portcullis::{AuthenticateLayer, AuthorizationServer, ResourceServer};
//! use portcullis::test_util::{FakeClock, TestAuthorizationServer};
//! use serde_json::json;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = FakeClock::new();
//! let okta = TestAuthorizationServer::start_at(clock.clone()).await;
//! let issuer = okta.custom("default");
//! let resource_server = ResourceServer::builder()
//!     .trust(AuthorizationServer::okta_custom(okta.origin(), "default").audience("api://default"))
//!     .build()?;
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(AuthenticateLayer::builder(resource_server).clock(clock.clock()).build());
//!
//! let token = issuer.mint(json!({ "sub": "joe" }));
//! let status = async |token: &str| {
//!     let request = Request::get("/").header("authorization", format!("Bearer {token}"));
//!     app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
//! };
//! assert_eq!(status(&token).await, StatusCode::OK);
//!
//! clock.advance(Duration::from_secs(2 * 3600));
//! assert_eq!(status(&token).await, StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the right answer"
)]

mod authorization_server;
mod clock;
mod signing_key;

pub use authorization_server::{Behaviour, TestAuthorizationServer, TestIssuer};
pub use clock::FakeClock;
pub use signing_key::SigningKey;
