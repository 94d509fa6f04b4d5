//! What is logged, at which level, and what never is.
#![cfg(all(feature = "axum", feature = "test-util", feature = "tracing"))]

mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use portcullis::{audit::TracingAudit, test_util::Behaviour};
use serde_json::json;
use support::World;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Buffer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn lines_say_what_happened_and_never_show_a_token() {
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("portcullis=trace")
        .with_ansi(false)
        .without_time()
        .with_writer(buffer.clone())
        .finish();
    // The tasks of a current-thread runtime run on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::build(
        |policy| policy,
        |builder| builder.audit(TracingAudit::new()),
    )
    .await;
    let url = world.issuer.jwks_uri().to_owned();
    let issuer = world.issuer.issuer().to_owned();
    let old = world.issuer.key();
    let tokens = [
        world
            .issuer
            .mint(json!({ "sub": "joe\nevil", "groups": ["admins"] })),
        world.issuer.mint(json!({ "sub": "joe", "exp": 1 })),
        world.issuer.mint(json!({ "iss": "https://evil.example" })),
        world.issuer.mint(json!({ "aud": "api://secret" })),
    ];
    for token in &tokens {
        world.ask(token).await;
    }
    world.ask("not-a-token").await;
    world.issuer.rotate();
    world.issuer.remove(old.kid());
    world.until_fetched(Duration::from_secs(3_600)).await;
    world.issuer.behave(Behaviour::Down);
    world.until_fetched(Duration::from_secs(3_600)).await;
    world.issuer.behave(Behaviour::Normal);
    world.until_fetched(Duration::from_secs(60)).await;

    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    for line in [
        format!(" INFO portcullis: authorization server added issuer=\"{issuer}\" keys={url}"),
        format!("DEBUG portcullis: key fetch issuer=\"{issuer}\" source={url} left_out=0"),
        format!(" INFO portcullis: keys changed issuer=\"{issuer}\" keys=1"),
        format!("DEBUG portcullis: token validated issuer=\"{issuer}\" subject=\"joe\\nevil\""),
        format!(
            " INFO portcullis: request refused kind=\"TOKEN_EXPIRED\" step=\"claims\" issuer=\"{issuer}\" subject=\"joe\""
        ),
        " INFO portcullis: request refused kind=\"ISSUER_UNKNOWN\" step=\"route\" method"
            .to_owned(),
        format!(
            " INFO portcullis: request refused kind=\"AUDIENCE_MISMATCH\" step=\"claims\" issuer=\"{issuer}\""
        ),
        format!(
            " WARN portcullis: keys cannot be fetched issuer=\"{issuer}\" failure=no connection keys_held=true"
        ),
        format!(" INFO portcullis: keys can be fetched again issuer=\"{issuer}\" failures=1"),
    ] {
        assert!(text.contains(&line), "{line}\nis not in\n{text}");
    }
    for token in &tokens {
        for part in token.split('.').skip(1) {
            assert!(!text.contains(&part[..20]), "a token was logged:\n{text}");
        }
    }
    for secret in ["evil.example", "api://secret", "not-a-token", "Bearer"] {
        assert!(!text.contains(secret), "{secret} was logged:\n{text}");
    }
}
