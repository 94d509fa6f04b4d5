//! The API that both axum examples serve.

use axum::{
    Json, Router,
    routing::{get, post},
};
use portcullis::{AccessToken, AuthenticateLayer, ConfigError, RequireLayer, Role};
use serde_json::{Value, json};

/// | route | who may |
/// |---|---|
/// | `GET /health` | everybody |
/// | `GET /whoami` | whoever has a valid token |
/// | `GET /data` | scope `read:data` |
/// | `POST /data` | scope `write:data` |
/// | `GET /admin` | role admin |
pub(crate) fn router(authenticate: AuthenticateLayer) -> Result<Router, ConfigError> {
    let read = get(|| async { Json(json!({ "data": [1, 2, 3] })) })
        .route_layer(RequireLayer::all_scopes(["read:data"])?);
    let write = post(|| async { Json(json!({ "written": true })) })
        .route_layer(RequireLayer::all_scopes(["write:data"])?);
    let admin = get(|| async { Json(json!({ "welcome": "admin" })) })
        .route_layer(RequireLayer::role(Role::Admin));
    Ok(Router::new()
        .route("/whoami", get(whoami))
        .route("/data", read.merge(write))
        .route("/admin", admin)
        .route_layer(authenticate)
        // Added after the layer: public.
        .route("/health", get(|| async { "ok" })))
}

async fn whoami(token: AccessToken) -> Json<Value> {
    Json(json!({
        "subject": token.subject(),
        "issuer": token.issuer(),
        "scopes": token.scopes().collect::<Vec<_>>(),
        "groups": token.groups().collect::<Vec<_>>(),
        "role": token.role().map(Role::as_str),
    }))
}
