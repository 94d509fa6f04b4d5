//! A protected axum API, configured by the environment alone.
//!
//! ```text
//! AUTH_PROVIDERS=okta OKTA_ORG_DOMAIN=company.okta.com OKTA_AUDIENCE=api://default \
//! ADMIN_GROUPS=DataEngineers cargo run --features axum,tracing --example axum
//!
//! curl -i http://127.0.0.1:3000/health
//! curl -i http://127.0.0.1:3000/whoami -H "Authorization: Bearer $TOKEN"
//! ```
//!
//! `LISTEN_ADDR` says where to listen (default `127.0.0.1:3000`), `RUST_LOG` what to log (default
//! `info`). HTTP/1.1 and cleartext HTTP/2 are spoken.

use std::{env, error::Error, process::ExitCode};

use portcullis::{AuthenticateLayer, ResourceServer, audit::TracingAudit};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

mod api;

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
    let resource_server = ResourceServer::from_env()?;
    let authenticate = AuthenticateLayer::builder(resource_server)
        .audit(TracingAudit::new())
        .build();

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("LISTEN_ADDR is {address:?}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    // The service is up whether or not the authorization server is.
    let prefetch = authenticate.clone();
    tokio::spawn(async move { prefetch.prefetch().await });

    axum::serve(listener, api::router(authenticate)?).await?;
    Ok(())
}
