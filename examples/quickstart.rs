//! An authorization server and a protected API in one process, and requests that pass and fail.
//!
//! ```text
//! cargo run --all-features --example quickstart
//! ```
//!
//! It prints each request with its answer, then stays up so that you can try the `curl` lines.

use std::error::Error;

use portcullis::{
    AuthenticateLayer, AuthorizationServer, ResourceServer, Role, RoleMapping,
    test_util::TestAuthorizationServer,
};
use reqwest::{Client, Method};
use serde_json::json;
use tokio::net::TcpListener;

mod api;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The stand-in for Okta. A real service has the next statement alone.
    let okta = TestAuthorizationServer::start().await;

    let resource_server = ResourceServer::builder()
        .trust(
            AuthorizationServer::okta_custom(okta.origin(), "default")
                .audience("api://default")
                .roles(
                    RoleMapping::new()
                        .grant(Role::Admin, ["DataEngineers"])
                        .grant(Role::Write, ["ETLDevelopers"])
                        .grant(Role::Read, ["DataAnalysts"]),
                ),
        )
        .build()?;
    let api = api::router(AuthenticateLayer::new(resource_server))?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, api).await });

    let issuer = okta.custom("default");
    let mint = |name: &str, groups: &[&str], scopes: &[&str]| {
        issuer.mint(json!({
            "sub": format!("{name}@example.com"),
            "groups": groups,
            "scp": scopes,
            "exp": issuer.claims(json!({}))["exp"].as_u64().unwrap_or_default() + 24 * 3_600,
        }))
    };
    let admin = mint(
        "ada",
        &["Everyone", "DataEngineers"],
        &["read:data", "write:data"],
    );
    let writer = mint(
        "wim",
        &["Everyone", "ETLDevelopers"],
        &["read:data", "write:data"],
    );
    let reader = mint("rita", &["Everyone", "DataAnalysts"], &["read:data"]);
    let stranger = mint("sam", &["Everyone"], &["openid"]);
    let expired = issuer.mint(json!({ "exp": 1_700_000_000 }));
    let elsewhere = issuer.mint(json!({ "aud": "api://another" }));
    let (signed, _) = admin.rsplit_once('.').unwrap_or_default();
    let forged = format!("{signed}.{}", "A".repeat(342));

    println!(
        "The API is at {origin}, its authorization server at {}.\n",
        issuer.issuer()
    );
    let client = Client::builder().no_proxy().build()?;
    for (who, token, method, path) in [
        ("nobody", None, "GET", "/health"),
        ("nobody", None, "GET", "/whoami"),
        ("admin", Some(&admin), "GET", "/whoami"),
        ("admin", Some(&admin), "POST", "/data"),
        ("admin", Some(&admin), "GET", "/admin"),
        ("writer", Some(&writer), "POST", "/data"),
        ("writer", Some(&writer), "GET", "/admin"),
        ("reader", Some(&reader), "GET", "/data"),
        ("reader", Some(&reader), "POST", "/data"),
        ("stranger", Some(&stranger), "GET", "/whoami"),
        ("stranger", Some(&stranger), "GET", "/data"),
        ("admin, token expired", Some(&expired), "GET", "/whoami"),
        (
            "admin, token for another API",
            Some(&elsewhere),
            "GET",
            "/whoami",
        ),
        ("admin, signature forged", Some(&forged), "GET", "/whoami"),
    ] {
        let method: Method = method.parse()?;
        let mut request = client.request(method.clone(), format!("{origin}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        println!("{who}: {method} {path}");
        println!("  {}", response.status());
        if let Some(challenge) = response.headers().get("www-authenticate") {
            println!("  WWW-Authenticate: {}", challenge.to_str()?);
        }
        println!("  {}\n", response.text().await?.trim_end());
    }

    println!("Try it yourself; the tokens are good for a day, and only here:\n");
    for (who, token) in [
        ("ADMIN", &admin),
        ("WRITER", &writer),
        ("READER", &reader),
        ("STRANGER", &stranger),
    ] {
        println!("{who}={token}");
    }
    println!();
    println!("curl -i {origin}/whoami");
    println!("curl -i {origin}/whoami -H \"Authorization: Bearer $READER\"");
    println!("curl -i {origin}/data -H \"Authorization: Bearer $STRANGER\"");
    println!("curl -i -X POST {origin}/data -H \"Authorization: Bearer $WRITER\"");
    println!("curl -i {origin}/admin -H \"Authorization: Bearer $ADMIN\"");
    println!("\nOr try a gRPC server with the same tokens, in another terminal:\n");
    println!(
        "export AUTH_PROVIDERS=okta OKTA_ORG_DOMAIN={}",
        okta.origin()
    );
    println!("export OKTA_AUDIENCE=api://default ADMIN_GROUPS=DataEngineers");
    println!("cargo run --all-features --example tonic # or: flight");
    println!("\nand its client in a third, where the lines with the tokens went too:\n");
    println!("TOKEN=\"$ADMIN\" cargo run --all-features --example tonic-client");
    println!("\nStop with Ctrl-C.");
    server.await??;
    Ok(())
}
