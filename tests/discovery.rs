//! Keys by discovery: which metadata is asked for, which is believed, and what becomes of keys when it
//! changes or cannot be had.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LOCATION},
};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthenticateLayerBuilder, AuthorizationServer, KeyStatus,
    ResourceServer,
    test_util::{FakeClock, SigningKey, TestAuthorizationServer},
};
use serde_json::{Value, json};
use support::{Answer, Log, ask, in_time, patient, until_fetched};
use tokio::{net::TcpListener, task::AbortHandle, task::JoinSet};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const HOUR: Duration = Duration::from_secs(3_600);

/// What a path answers.
#[derive(Clone)]
enum Reply {
    Status(u16),
    Body(String),
    /// 304 to whoever has it.
    Tagged(String, &'static str),
    Redirect(String),
    /// This many bytes, announced or not.
    Huge {
        bytes: usize,
        announced: bool,
    },
    /// No answer.
    Hang,
    /// A beginning, and no end.
    Endless,
}

impl Reply {
    fn json(value: &Value) -> Self {
        Self::Body(value.to_string())
    }
}

/// A web server of which each test says what it answers. What nothing was said of is 404.
struct Site {
    origin: String,
    state: Arc<Mutex<SiteState>>,
    task: AbortHandle,
}

#[derive(Default)]
struct SiteState {
    replies: HashMap<String, Reply>,
    asked: Vec<String>,
    headers: Vec<HeaderMap>,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<SiteState>>::default();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            origin,
            state,
            task: tokio::spawn(serve).abort_handle(),
        }
    }

    fn port(&self) -> &str {
        self.origin.rsplit(':').next().unwrap()
    }

    fn set(&self, path: &str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.insert(path.to_owned(), reply);
    }

    /// The paths that were asked for since the last time, in their order.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// The entity tags that askers had.
    fn tags(&self) -> Vec<Option<String>> {
        let headers = std::mem::take(&mut self.state.lock().unwrap().headers);
        let tag = |headers: &HeaderMap| Some(headers.get(IF_NONE_MATCH)?.to_str().ok()?.to_owned());
        headers.iter().map(tag).collect()
    }

    /// Connections are refused from now on.
    async fn stop(&self) {
        self.task.abort();
        let address = self.origin.strip_prefix("http://").unwrap();
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(state): State<Arc<Mutex<SiteState>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        let reply = state.replies.get(&path).cloned();
        state.asked.push(path);
        state.headers.push(request.headers().clone());
        reply
    };
    let status = |status: u16| StatusCode::from_u16(status).unwrap();
    match reply.unwrap_or(Reply::Status(404)) {
        Reply::Status(code) => status(code).into_response(),
        Reply::Body(body) => body.into_response(),
        Reply::Tagged(body, tag) => match request.headers().get(IF_NONE_MATCH) {
            Some(held) if held == tag => (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response(),
            _ => ([(ETAG, tag)], body).into_response(),
        },
        Reply::Redirect(to) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Reply::Huge {
            bytes,
            announced: true,
        } => ([(CONTENT_LENGTH, bytes)], " ".repeat(bytes)).into_response(),
        Reply::Huge { bytes, .. } => {
            let chunk = || Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1_024]));
            let chunks = stream::iter((0..bytes.div_ceil(1_024)).map(move |_| chunk()));
            Body::from_stream(chunks).into_response()
        }
        Reply::Hang => std::future::pending().await,
        Reply::Endless => {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
    }
}

/// A site that is an authorization server, and a service that trusts it by its issuer alone.
struct World {
    site: Site,
    issuer: String,
    key: SigningKey,
    clock: FakeClock,
    layer: AuthenticateLayer,
    app: Router,
    log: Log,
}

impl World {
    /// With an issuer at this path, whose metadata and keys are where they should be.
    async fn new(path: &str) -> Self {
        Self::with(path, |server| server).await
    }

    async fn with(
        path: &str,
        configure: impl FnOnce(AuthorizationServer) -> AuthorizationServer,
    ) -> Self {
        let site = Site::start().await;
        let issuer = format!("{}{path}", site.origin);
        let world = Self::build(site, issuer, configure, |builder| builder);
        world.publish("/keys", &[&world.key]);
        world.point_to(&world.url("/keys"));
        world
    }

    fn build(
        site: Site,
        issuer: String,
        configure: impl FnOnce(AuthorizationServer) -> AuthorizationServer,
        configure_layer: impl FnOnce(AuthenticateLayerBuilder) -> AuthenticateLayerBuilder,
    ) -> Self {
        let server = AuthorizationServer::discover(&issuer)
            .audience("api")
            .algorithms([Algorithm::Es256])
            .jwks_policy(patient());
        let resource_server = ResourceServer::builder()
            .token_cache(support::token_cache())
            .trust(configure(server))
            .build()
            .unwrap();
        let (clock, log) = (FakeClock::new(), Log::default());
        let builder = AuthenticateLayer::builder(resource_server)
            .clock(clock.clock())
            .audit(log.clone());
        let layer = configure_layer(builder).build();
        let app = Router::new()
            .route("/", get(|| async {}))
            .layer(layer.clone());
        Self {
            site,
            issuer,
            key: SigningKey::generate(Algorithm::Es256),
            clock,
            layer,
            app,
            log,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.site.origin)
    }

    fn publish(&self, path: &str, keys: &[&SigningKey]) {
        self.site.set(path, Reply::Body(jwks(keys)));
    }

    /// Where the first document of this issuer is.
    fn document(&self) -> String {
        format!("{OAUTH}{}", &self.issuer[self.site.origin.len()..])
    }

    fn point_to(&self, jwks_uri: &str) {
        let metadata = metadata(&self.issuer, jwks_uri);
        self.site.set(&self.document(), Reply::json(&metadata));
    }

    fn token_by(&self, key: &SigningKey) -> String {
        let now = self.clock.now().as_secs();
        let exp = now + 7 * 86_400;
        key.sign(&json!({
            "iss": self.issuer, "aud": "api", "sub": "joe", "iat": now, "exp": exp,
        }))
    }

    fn token(&self) -> String {
        self.token_by(&self.key)
    }

    async fn ask(&self, token: &str) -> Answer {
        in_time(ask(&self.app, token)).await
    }

    async fn is_refused_for(&self, failure: &str) {
        let answer = self.ask(&self.token()).await;
        assert_eq!(
            (answer.status, answer.kind),
            (503, Some("KEYS_UNAVAILABLE")),
            "{failure}"
        );
        assert_eq!(
            self.log.with_prefix("fetch"),
            [format!("fetch failure=Some({failure}) left_out=0")]
        );
        assert_eq!(
            self.log.with_prefix("outage"),
            [format!("outage {failure} held=false")]
        );
    }

    /// Time goes by until the next fetch of keys has completed.
    async fn until_fetched(&self, step: Duration) {
        until_fetched(&self.log, &self.clock, step).await;
    }

    fn status(&self) -> KeyStatus {
        self.layer.health()[0].status
    }

    fn last_fetch(&self) -> String {
        self.log.with_prefix("fetch").pop().unwrap()
    }
}

/// Gives up soon on a server that hangs, though not on a machine that is busy.
fn hasty(server: AuthorizationServer) -> AuthorizationServer {
    server.jwks_policy(patient().fetch_deadline(Duration::from_secs(2)))
}

fn metadata(issuer: &str, jwks_uri: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["code"],
    })
}

fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn metadata_is_looked_for_where_the_rfcs_say_and_in_their_order() {
    let at_root = vec![OAUTH.to_owned(), OPENID.to_owned()];
    let at_path = vec![
        "/.well-known/oauth-authorization-server/t/a".to_owned(),
        "/.well-known/openid-configuration/t/a".to_owned(),
        "/t/a/.well-known/openid-configuration".to_owned(),
    ];
    for (path, places) in [
        ("", &at_root),
        ("/", &at_root),
        ("/t/a", &at_path),
        ("/t/a/", &at_path),
    ] {
        for there in 0..places.len() {
            let statuses = [404, 400, 401, 403, 410].map(Reply::Status);
            let page = Reply::Body("<!doctype html><title>Welcome</title>".to_owned());
            let others = Reply::json(&metadata("https://id.example", "https://id.example/keys"));
            for missing in statuses.into_iter().chain([page, others]) {
                let world = World::new(path).await;
                let good = metadata(&world.issuer, &world.url("/keys"));
                for place in places {
                    world.site.set(place, missing.clone());
                }
                world.site.set(&places[there], Reply::json(&good));
                let mut expected = places[..=there].to_vec();
                expected.push("/keys".to_owned());
                assert_eq!(world.ask(&world.token()).await.status, 200, "{path:?}");
                assert_eq!(world.site.asked(), expected, "{path:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_issuer_without_metadata_has_no_keys() {
    let world = World::new("/t/a").await;
    world.site.set(&world.document(), Reply::Status(404));
    world.is_refused_for("Status(404)").await;
    assert_eq!(world.site.asked().len(), 3);
    // Once it is published, it is found.
    world.point_to(&world.url("/keys"));
    world.until_fetched(Duration::from_secs(5)).await;
    assert_eq!(world.ask(&world.token()).await.status, 200);
    assert_eq!(world.log.with_prefix("recovery"), ["recovery after 1"]);
}

#[tokio::test]
async fn of_a_server_that_is_in_trouble_no_other_document_is_asked_for() {
    for (reply, failure) in [
        (Reply::Status(500), "Status(500)"),
        (Reply::Status(503), "Status(503)"),
        (Reply::Status(429), "Status(429)"),
        (Reply::Status(204), "Status(204)"),
        (Reply::Hang, "Timeout"),
        (Reply::Endless, "Timeout"),
    ] {
        let world = World::with("/t/a", hasty).await;
        let metadata = metadata(&world.issuer, &world.url("/keys"));
        for place in [format!("{OPENID}/t/a"), format!("/t/a{OPENID}")] {
            world.site.set(&place, Reply::json(&metadata));
        }
        world.site.set(&world.document(), reply);
        world.is_refused_for(failure).await;
        assert_eq!(world.site.asked(), [world.document()], "{failure}");
    }
    let world = World::new("").await;
    world.site.stop().await;
    world.is_refused_for("Connection").await;
}

#[tokio::test]
async fn one_deadline_covers_metadata_and_keys() {
    let world = World::with("", hasty).await;
    world.site.set("/keys", Reply::Endless);
    world.is_refused_for("Timeout").await;
    assert_eq!(world.site.asked(), [OAUTH, "/keys"]);
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    for issuer in [
        "ORIGIN/t/a/",
        "ORIGIN/t/A",
        "ORIGIN/T/a",
        "ORIGIN/t",
        "ORIGIN",
        "ORIGIN/t/%61",
        "ORIGIN/t%2Fa",
        "ORIGIN/t/./a",
        "ORIGIN/t/a?",
        "ORIGIN/t/a#",
        " ORIGIN/t/a",
        "HTTP://127.0.0.1:PORT/t/a",
        "http://127.0.0.1:0PORT/t/a",
        "http://127.1:PORT/t/a",
        "http://localhost:PORT/t/a",
        "http://127.0.0.1/t/a",
        "https://evil.example",
        "",
    ] {
        let world = World::new("/t/a").await;
        let issuer = issuer
            .replace("ORIGIN", &world.site.origin)
            .replace("PORT", world.site.port());
        let metadata = metadata(&issuer, &world.url("/keys"));
        world.site.set(&world.document(), Reply::json(&metadata));
        world.is_refused_for("OtherIssuer").await;
        assert!(
            !world.site.asked().contains(&"/keys".to_owned()),
            "{issuer}"
        );
    }
}

#[tokio::test]
async fn what_is_not_metadata_is_not_taken_for_it() {
    for body in [
        "",
        "<html>",
        "null",
        "{}",
        r#"{"issuer":"ISSUER","jwks_uri":"KEYS"} trailing"#,
        r#"{"issuer":"ISSUER","jwks_uri":"KEYS""#,
        r#"[{"issuer":"ISSUER","jwks_uri":"KEYS"}]"#,
        r#"["ISSUER","KEYS"]"#,
        r#"{"issuer":"ISSUER"}"#,
        r#"{"jwks_uri":"KEYS"}"#,
        r#"{"Issuer":"ISSUER","jwks_uri":"KEYS"}"#,
        r#"{"issuer":["ISSUER"],"jwks_uri":"KEYS"}"#,
        r#"{"issuer":"ISSUER","jwks_uri":["KEYS"]}"#,
        r#"{"issuer":"ISSUER","jwks_uri":null}"#,
        r#"{"issuer":"ISSUER","jwks_uri":""}"#,
        r#"{"issuer":"ISSUER","jwks_uri":"/keys"}"#,
        r#"{"issuer":"ISSUER","jwks_uri":"//127.0.0.1/keys"}"#,
        // Which of the two is meant?
        r#"{"issuer":"ISSUER","jwks_uri":"KEYS","jwks_uri":"KEYS"}"#,
        r#"{"issuer":"ISSUER","issuer":"ISSUER","jwks_uri":"KEYS"}"#,
    ] {
        let world = World::new("").await;
        let body = body
            .replace("ISSUER", &world.issuer)
            .replace("KEYS", &world.url("/keys"));
        world.site.set(OAUTH, Reply::Body(body.clone()));
        world.is_refused_for("NotMetadata").await;
        assert_eq!(world.site.asked(), [OAUTH, OPENID], "{body}");
    }
}

#[tokio::test]
async fn keys_are_not_fetched_from_wherever_metadata_says() {
    let elsewhere = Site::start().await;
    let other = elsewhere.port();
    for uri in [
        "http://keys.example/keys",
        "https://keys.example/keys",
        "https://127.0.0.1/keys",
        "https://127.0.0.1:PORT/keys",
        "http://127.0.0.1/keys",
        "http://127.0.0.1:OTHER/keys",
        "http://127.0.0.2:PORT/keys",
        "http://localhost:PORT/keys",
        "http://localhost:OTHER/keys",
        "http://[::1]:PORT/keys",
        "http://[::ffff:127.0.0.1]:PORT/keys",
        "http://127.0.0.1.evil.example:PORT/keys",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:PORT@evil.example/keys",
        "http://127.0.0.1:PORT@127.0.0.1:OTHER/keys",
        "http://127.0.0.1:PORT%2F@127.0.0.1:OTHER/keys",
        "http://localhost:OTHER\\@127.0.0.1:PORT/keys",
        "http://user@127.0.0.1:PORT/keys",
        "http://user:password@127.0.0.1:PORT/keys",
        "http://:password@127.0.0.1:PORT/keys",
        "http://127.0.0.1:PORT/keys#fragment",
        "file:///etc/keys",
        "file://127.0.0.1:PORT/keys",
        "data:application/json,{\"keys\":[]}",
        "ftp://127.0.0.1:PORT/keys",
        "ws://127.0.0.1:PORT/keys",
        "blob:http://127.0.0.1:PORT/keys",
        "javascript:alert(1)",
        "unix:/run/keys",
    ] {
        let world = World::new("").await;
        let uri = uri
            .replace("PORT", world.site.port())
            .replace("OTHER", other);
        world.point_to(&uri);
        // `file:` has no port, and is no URL with one.
        let failure = match uri.strip_prefix("file://127") {
            Some(_) => "NotMetadata",
            None => "UnacceptableJwksUri",
        };
        world.is_refused_for(failure).await;
        assert!(!world.site.asked().contains(&"/keys".to_owned()), "{uri}");
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[tokio::test]
async fn redirected_metadata_is_not_used() {
    let elsewhere = Site::start().await;
    for target in [
        "/metadata",
        "HERE/metadata",
        "ELSEWHERE/metadata",
        "https://evil.example/metadata",
        "file:///etc/metadata",
        "data:application/json,{}",
    ] {
        let world = World::new("").await;
        let good = Reply::json(&metadata(&world.issuer, &world.url("/keys")));
        world.site.set("/metadata", good.clone());
        elsewhere.set("/metadata", good);
        let target = match target.strip_prefix("ELSEWHERE") {
            Some(path) => format!("{}{path}", elsewhere.origin),
            None => target.replace("HERE", &world.site.origin),
        };
        world.site.set(OAUTH, Reply::Redirect(target.clone()));
        world.is_refused_for("Redirected").await;
        let asked = world.site.asked();
        assert!(!asked.contains(&"/keys".to_owned()), "{target}");
        assert!(!asked.contains(&OPENID.to_owned()), "{target}");
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[tokio::test]
async fn a_client_that_follows_redirects_anywhere_changes_nothing() {
    let follows = |builder: AuthenticateLayerBuilder| {
        builder.http_client(reqwest::Client::builder().no_proxy().build().unwrap())
    };
    let elsewhere = Site::start().await;
    let world = |site: Site| {
        let issuer = site.origin.clone();
        World::build(site, issuer, |server| server, follows)
    };
    // The metadata.
    let redirected = world(Site::start().await);
    redirected.publish("/keys", &[&redirected.key]);
    let good = metadata(&redirected.issuer, &redirected.url("/keys"));
    elsewhere.set("/metadata", Reply::json(&good));
    let to = format!("{}/metadata", elsewhere.origin);
    redirected.site.set(OAUTH, Reply::Redirect(to));
    redirected.is_refused_for("Redirected").await;
    assert_eq!(redirected.site.asked(), [OAUTH]);
    // The key set.
    let redirected = world(Site::start().await);
    elsewhere.set("/keys", Reply::Body(jwks(&[&redirected.key])));
    redirected.point_to(&redirected.url("/keys"));
    let to = format!("{}/keys", elsewhere.origin);
    redirected.site.set("/keys", Reply::Redirect(to));
    redirected.is_refused_for("OtherOrigin").await;
}

#[tokio::test]
async fn keys_may_be_redirected_within_their_origin() {
    let world = World::new("").await;
    world.publish("/moved", &[&world.key]);
    world
        .site
        .set("/keys", Reply::Redirect("/moved".to_owned()));
    assert_eq!(world.ask(&world.token()).await.status, 200);
    assert_eq!(world.site.asked(), [OAUTH, "/keys", "/moved"]);
    let elsewhere = Site::start().await;
    let world = World::new("").await;
    elsewhere.set("/keys", Reply::Body(jwks(&[&world.key])));
    let to = format!("{}/keys", elsewhere.origin);
    world.site.set("/keys", Reply::Redirect(to));
    world.is_refused_for("Status(302)").await;
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[tokio::test]
async fn metadata_larger_than_is_read_is_refused() {
    let with_limit = |server: AuthorizationServer| server.jwks_policy(patient().max_body(4_096));
    for announced in [true, false] {
        let world = World::with("", with_limit).await;
        let bytes = 1_024 * 1_024;
        world.site.set(OAUTH, Reply::Huge { bytes, announced });
        world.is_refused_for("TooLarge").await;
        assert_eq!(world.site.asked(), [OAUTH]);
    }
    // What fits to the byte is read.
    let world = World::with("", with_limit).await;
    let mut text = metadata(&world.issuer, &world.url("/keys")).to_string();
    text.push_str(&" ".repeat(4_096 - text.len()));
    world.site.set(OAUTH, Reply::Body(text));
    assert_eq!(world.ask(&world.token()).await.status, 200);
}

#[tokio::test]
async fn a_jwks_uri_that_changes_is_followed_and_keys_of_the_old_one_are_gone() {
    let world = World::new("").await;
    let (old, new) = (&world.key, SigningKey::generate(Algorithm::Es256));
    assert_eq!(world.ask(&world.token_by(old)).await.status, 200);
    world.publish("/new", &[&new]);
    world.point_to(&world.url("/new"));
    world.site.asked();
    world.until_fetched(HOUR).await;
    assert_eq!(world.site.asked(), [OAUTH, "/new"]);
    assert_eq!(world.ask(&world.token_by(&new)).await.status, 200);
    let answer = world.ask(&world.token_by(old)).await;
    assert_eq!(answer.kind, Some("KEY_UNKNOWN"));
    assert_eq!(
        world.log.with_prefix("keys"),
        [
            "keys generation=1 keys=1 added=1 removed=0",
            "keys generation=2 keys=1 added=1 removed=1"
        ]
    );
}

#[tokio::test]
async fn the_entity_tag_of_a_key_set_is_sent_to_that_key_set_alone() {
    let world = World::new("").await;
    let (old, new) = (&world.key, SigningKey::generate(Algorithm::Es256));
    // Two servers that count their versions: the first of each is "1".
    let tag = "\"1\"";
    world.site.set("/keys", Reply::Tagged(jwks(&[old]), tag));
    world.site.set("/new", Reply::Tagged(jwks(&[&new]), tag));
    assert_eq!(world.ask(&world.token_by(old)).await.status, 200);
    world.until_fetched(HOUR).await;
    let had = Some(tag.to_owned());
    assert_eq!(world.site.tags(), [None, None, None, had]);
    world.point_to(&world.url("/new"));
    world.until_fetched(HOUR).await;
    assert_eq!(world.site.tags(), [None, None]);
    assert_eq!(world.ask(&world.token_by(&new)).await.status, 200);
}

#[tokio::test]
async fn an_entity_tag_is_not_sent_to_another_key_set_after_a_failure_either() {
    for failure in [Reply::Status(500), Reply::Body("<html>".to_owned())] {
        let world = World::new("").await;
        let (old, new) = (&world.key, SigningKey::generate(Algorithm::Es256));
        let tag = "\"1\"";
        world.site.set("/keys", Reply::Tagged(jwks(&[old]), tag));
        assert_eq!(world.ask(&world.token_by(old)).await.status, 200);
        world.site.set("/new", failure);
        world.point_to(&world.url("/new"));
        world.until_fetched(HOUR).await;
        world.site.tags();
        world.site.set("/new", Reply::Tagged(jwks(&[&new]), tag));
        world.until_fetched(Duration::from_secs(60)).await;
        assert_eq!(world.site.tags(), [None, None]);
        assert_eq!(world.ask(&world.token_by(&new)).await.status, 200);
        let answer = world.ask(&world.token_by(old)).await;
        assert_eq!(answer.kind, Some("KEY_UNKNOWN"));
    }
}

#[tokio::test]
async fn keys_are_refreshed_where_they_were_while_metadata_cannot_be_had() {
    for (reply, failure) in [
        (Reply::Status(500), "Status(500)"),
        (Reply::Status(404), "Status(404)"),
        (Reply::Status(429), "Status(429)"),
        (Reply::Redirect("/elsewhere".to_owned()), "Redirected"),
        (Reply::Hang, "Timeout"),
        (Reply::Endless, "Timeout"),
    ] {
        let world = World::with("", hasty).await;
        assert_eq!(world.ask(&world.token()).await.status, 200);
        world.site.set(OAUTH, reply);
        let rotated = SigningKey::generate(Algorithm::Es256);
        world.publish("/keys", &[&rotated]);
        world.until_fetched(HOUR).await;
        assert_eq!(
            world.last_fetch(),
            format!("fetch failure=None left_out=0 metadata={failure}")
        );
        assert_eq!(world.ask(&world.token_by(&rotated)).await.status, 200);
        let answer = world.ask(&world.token()).await;
        assert_eq!(answer.kind, Some("KEY_UNKNOWN"), "withdrawn");
    }
}

#[tokio::test]
async fn keys_are_refreshed_on_another_host_while_the_issuer_is_down() {
    let keys = Site::start().await;
    let world = World::with("", |server| server.jwks_host("127.0.0.1")).await;
    keys.set("/keys", Reply::Body(jwks(&[&world.key])));
    world.point_to(&format!("{}/keys", keys.origin));
    assert_eq!(world.ask(&world.token()).await.status, 200);
    world.site.stop().await;
    world.until_fetched(HOUR).await;
    assert_eq!(keys.asked(), ["/keys"; 2]);
    assert_eq!(world.status(), KeyStatus::Ready);
    assert_eq!(world.ask(&world.token()).await.status, 200);
}

#[tokio::test]
async fn metadata_that_is_suddenly_wrong_is_an_outage() {
    let evil = Site::start().await;
    let attacker = SigningKey::generate(Algorithm::Es256);
    evil.set("/keys", Reply::Body(jwks(&[&attacker])));
    let evil_keys = format!("{}/keys", evil.origin);
    for (issuer, keys, failure) in [
        (Some("https://evil.example"), None, "OtherIssuer"),
        (None, Some(evil_keys.as_str()), "UnacceptableJwksUri"),
        (None, Some("/keys"), "NotMetadata"),
    ] {
        let world = World::new("").await;
        assert_eq!(world.ask(&world.token()).await.status, 200);
        let good = world.url("/keys");
        let wrong = metadata(
            issuer.unwrap_or(&world.issuer),
            keys.unwrap_or(good.as_str()),
        );
        world.site.set(OAUTH, Reply::json(&wrong));
        world.site.asked();
        world.until_fetched(HOUR).await;
        assert_eq!(
            world.last_fetch(),
            format!("fetch failure=Some({failure}) left_out=0")
        );
        let asked = world.site.asked();
        assert!(!asked.contains(&"/keys".to_owned()), "{asked:?}");
        assert!(matches!(
            world.status(),
            KeyStatus::Degraded { stale: true, .. }
        ));
        assert_eq!(world.ask(&world.token()).await.status, 200, "{failure}");
        let forged = world.ask(&world.token_by(&attacker)).await;
        assert_eq!(forged.kind, Some("KEYS_UNAVAILABLE"));
        world.until_fetched(3 * HOUR).await;
        let answer = world.ask(&world.token()).await;
        assert_eq!(answer.kind, Some("KEYS_UNAVAILABLE"), "past the stale cap");
        world.point_to(&good);
        world.until_fetched(Duration::from_secs(60)).await;
        assert_eq!(world.ask(&world.token()).await.status, 200);
    }
    assert_eq!(evil.asked(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_is_named_may_have_the_keys() {
    for (host, uri) in [
        ("localhost", "http://localhost:PORT/keys"),
        ("LocalHost", "http://localhost:PORT/keys"),
        ("127.0.0.1", "http://127.0.0.1:PORT/keys"),
    ] {
        let keys = Site::start().await;
        let world = World::with("", |server| server.jwks_host(host)).await;
        keys.set("/keys", Reply::Body(jwks(&[&world.key])));
        let uri = uri.replace("PORT", keys.port());
        world.point_to(&uri);
        assert_eq!(world.ask(&world.token()).await.status, 200, "{host}");
        assert_eq!(keys.asked(), ["/keys"]);
    }
    for uri in [
        "http://keys.example/keys",
        "https://www.keys.example/keys",
        "https://keys.example.evil.example/keys",
        "https://user@keys.example/keys",
        "https://keys.example@evil.example/keys",
    ] {
        let world = World::with("", |server| server.jwks_host("keys.example")).await;
        world.point_to(uri);
        world.is_refused_for("UnacceptableJwksUri").await;
    }
}

#[test]
fn what_is_no_host_is_refused_when_the_policy_is_made() {
    for host in [
        "",
        "https://keys.example",
        "keys.example:8443",
        "keys.example/keys",
        "*.keys.example ",
        "::1",
    ] {
        let server = AuthorizationServer::discover("https://id.example")
            .audience("api")
            .jwks_host(host);
        assert!(
            ResourceServer::builder().trust(server).build().is_err(),
            "{host:?}"
        );
    }
}

#[tokio::test]
async fn plain_http_is_for_those_who_ask_for_it() {
    let discover = || AuthorizationServer::discover("http://id.example").audience("api");
    let build = |server| ResourceServer::builder().trust(server).build();
    assert!(build(discover()).is_err());
    assert!(build(discover().dangerous_allow_plain_http()).is_ok());

    let site = Site::start().await;
    let address = site
        .origin
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .resolve("id.example", address)
        .build()
        .unwrap();
    let issuer = format!("http://id.example:{}", site.port());
    let world = World::build(
        site,
        issuer,
        AuthorizationServer::dangerous_allow_plain_http,
        |builder| builder.http_client(client),
    );
    world.publish("/keys", &[&world.key]);
    let keys = format!("{}/keys", world.issuer);
    let good = metadata(&world.issuer, &keys);
    world.site.set(OAUTH, Reply::json(&good));
    assert_eq!(world.ask(&world.token()).await.status, 200);
}

#[tokio::test]
async fn a_jwks_uri_that_is_given_is_used_without_metadata() {
    let site = Site::start().await;
    let issuer = "https://id.example".to_owned();
    let keys = format!("{}/keys", site.origin);
    let world = World::build(site, issuer, |s| s.jwks_uri(&keys), |b| b);
    world.publish("/keys", &[&world.key]);
    assert_eq!(world.ask(&world.token()).await.status, 200);
    assert_eq!(world.site.asked(), ["/keys"]);
}

async fn all_at_once(world: &World, tokens: Vec<String>) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for token in tokens {
        let app = world.app.clone();
        requests.spawn(async move { ask(&app, &token).await });
    }
    in_time(requests.join_all()).await
}

#[tokio::test]
async fn a_new_key_is_found_by_its_first_token() {
    let world = World::new("").await;
    assert_eq!(world.ask(&world.token()).await.status, 200);
    let new = SigningKey::generate(Algorithm::Es256);
    world.publish("/keys", &[&world.key, &new]);
    world.site.asked();
    let answers = all_at_once(&world, vec![world.token_by(&new); 100]).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.site.asked(), [OAUTH, "/keys"], "one refresh");
}

#[tokio::test]
async fn unknown_keys_cause_no_more_than_the_refreshes_that_are_allowed() {
    let world = World::new("").await;
    assert_eq!(world.ask(&world.token()).await.status, 200);
    world.site.asked();
    let junk = |number| world.token_by(&world.key.clone().with_kid(format!("junk-{number}")));
    let answers = all_at_once(&world, (0..500).map(junk).collect()).await;
    assert!(answers.iter().all(|a| a.kind == Some("KEY_UNKNOWN")));
    for number in 500..520 {
        let answer = world.ask(&junk(number)).await;
        assert_eq!(answer.kind, Some("KEY_UNKNOWN"));
    }
    let asked = world.site.asked();
    assert_eq!(asked, [OAUTH, "/keys", OAUTH, "/keys"]);
    assert_eq!(world.ask(&world.token()).await.status, 200);
}

/// So that a service that finds its authorization server by discovery is tested as it is.
#[tokio::test]
async fn the_authorization_server_for_tests_has_metadata() {
    let okta = TestAuthorizationServer::start().await;
    for issuer in [okta.custom("default"), okta.custom("other"), okta.org()] {
        let server = AuthorizationServer::discover(issuer.issuer())
            .audience("api://default")
            .audience("0oatestclient");
        let policy = ResourceServer::builder().trust(server).build().unwrap();
        let app = Router::new()
            .route("/", get(|| async {}))
            .layer(AuthenticateLayer::new(policy));
        let answer = in_time(ask(&app, &issuer.mint(json!({})))).await;
        assert_eq!(answer.status, 200, "{issuer:?} {answer:?}");
    }
}
