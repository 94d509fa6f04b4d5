//! What the tests of the layer share: a protected service, and a way to ask it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::Response, routing::get};
use http::Request;
use http_body_util::BodyExt;
use portcullis::{
    AccessToken, AuthenticateLayer, AuthenticateLayerBuilder, AuthorizationServer, JwksPolicy,
    Rejection, ResourceServer, Role, RoleMapping, TokenCachePolicy,
    audit::{AuditSink, Event},
    test_util::{FakeClock, TestAuthorizationServer, TestIssuer},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::ServiceExt;

/// Everything the tests wait for ends long before this.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(50), future)
        .await
        .expect("it hangs")
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    in_time(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits longer for keys than a busy machine takes.
pub(crate) fn patient() -> JwksPolicy {
    JwksPolicy::default()
        .keys_wait(Duration::from_secs(30))
        .miss_wait(Duration::from_secs(30))
}

/// Time goes by until the next fetch of keys, or look at them, has completed.
pub(crate) async fn until_fetched(log: &Log, clock: &FakeClock, step: Duration) {
    let before = log.fetches();
    clock.advance(step);
    until(|| log.fetches() != before).await;
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A response of which more is to come when it is told so.
pub(crate) async fn open_download(
    layer: &AuthenticateLayer,
    token: &str,
) -> (reqwest::Response, mpsc::UnboundedSender<&'static str>) {
    let (pieces, body) = mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(body)));
    let download = async move || {
        let pieces = body.lock().unwrap().take().unwrap();
        let pieces = UnboundedReceiverStream::new(pieces);
        Body::from_stream(futures_util::StreamExt::map(pieces, Ok::<_, Infallible>))
    };
    let app = Router::new()
        .route("/", get(download))
        .layer(layer.clone().end_streams(Duration::ZERO));
    let address = serve(app).await;
    pieces.send("first").unwrap();
    let request = http_client().get(format!("http://{address}/"));
    let mut response = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(in_time(response.chunk()).await.unwrap().unwrap(), "first");
    (response, pieces)
}

/// An authorization server with the issuer `default`, and a service that trusts it.
pub(crate) struct World {
    pub(crate) okta: TestAuthorizationServer,
    pub(crate) issuer: TestIssuer,
    pub(crate) clock: FakeClock,
    pub(crate) layer: AuthenticateLayer,
    pub(crate) app: Router,
    pub(crate) log: Log,
}

/// The token cache of the tests: as it is by default, or off, if the environment says so. Nothing
/// but the time that they take may depend on it.
pub(crate) fn token_cache() -> TokenCachePolicy {
    if is_token_cache_off() {
        TokenCachePolicy::off()
    } else {
        TokenCachePolicy::default()
    }
}

pub(crate) fn is_token_cache_off() -> bool {
    std::env::var("TEST_TOKEN_CACHE").is_ok_and(|value| value == "off")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|policy| policy).await
    }

    pub(crate) async fn with(policy: impl FnOnce(JwksPolicy) -> JwksPolicy) -> Self {
        Self::build(policy, |builder| builder).await
    }

    pub(crate) async fn build(
        policy: impl FnOnce(JwksPolicy) -> JwksPolicy,
        configure: impl FnOnce(AuthenticateLayerBuilder) -> AuthenticateLayerBuilder,
    ) -> Self {
        let clock = FakeClock::new();
        let okta = TestAuthorizationServer::start_at(clock.clone()).await;
        let issuer = okta.custom("default");
        let resource_server = ResourceServer::builder()
            .trust(trusted(&okta).jwks_policy(policy(JwksPolicy::default())))
            .token_cache(token_cache())
            .build()
            .unwrap();
        let log = Log::default();
        let builder = AuthenticateLayer::builder(resource_server)
            .clock(clock.clock())
            .audit(log.clone());
        let layer = configure(builder).build();
        let app = Router::new()
            .route(
                "/",
                get(|token: AccessToken| async move { token.subject().to_owned() }),
            )
            .layer(layer.clone());
        Self {
            okta,
            issuer,
            clock,
            layer,
            app,
            log,
        }
    }

    pub(crate) async fn ask(&self, token: &str) -> Answer {
        ask(&self.app, token).await
    }

    /// Time goes by until the next fetch of keys has completed.
    pub(crate) async fn until_fetched(&self, step: Duration) {
        let before = self.log.fetches();
        self.clock.advance(step);
        while self.log.fetches() == before {
            tokio::task::yield_now().await;
        }
    }
}

/// The issuer `default` of a test server, with roles.
pub(crate) fn trusted(okta: &TestAuthorizationServer) -> AuthorizationServer {
    AuthorizationServer::okta_custom(okta.origin(), "default")
        .audience("api://default")
        .roles(
            RoleMapping::new()
                .grant(Role::Admin, ["admins"])
                .grant(Role::Write, ["writers"])
                .grant(Role::Read, ["readers"]),
        )
}

/// What a caller sees, and what outer layers do.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: Option<&'static str>,
    pub(crate) challenge: Option<String>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

pub(crate) async fn ask(app: &Router, token: &str) -> Answer {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    send(app, request.body(Body::empty()).unwrap()).await
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    read(response).await
}

pub(crate) async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let header = |name| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        kind: parts
            .extensions
            .get::<Rejection>()
            .map(|rejection| rejection.kind().as_str()),
        challenge: header("www-authenticate"),
        retry_after: header("retry-after").map(|seconds| seconds.parse().unwrap()),
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// An audit sink that keeps a line for each event.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn fetches(&self) -> usize {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.starts_with("fetch"))
            .count()
    }

    pub(crate) fn with_prefix(&self, prefix: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.starts_with(prefix));
        lines
    }
}

impl AuditSink for Log {
    fn record(&self, event: &Event<'_>) {
        let line = match event {
            Event::Trusted(trusted) => format!("trusted {}", trusted.issuer),
            Event::NoLongerTrusted(gone) => format!("gone {}", gone.issuer),
            Event::Decision(decision) => format!(
                "decision {} {} {} subject={} issuer={} step={} waited={}",
                decision.method,
                decision.route.unwrap_or(decision.path),
                decision.rejection.map_or("ALLOWED", |r| r.kind().as_str()),
                decision.subject().unwrap_or("-"),
                decision
                    .issuer
                    .map_or("-", |issuer| issuer.rsplit('/').next().unwrap()),
                decision.failed_step().map_or("-", |step| step.as_str()),
                decision.waited,
            ),
            Event::KeyFetch(fetch) => format!(
                "fetch failure={:?} left_out={}{}",
                fetch.failure,
                fetch.left_out,
                fetch
                    .metadata_failure
                    .map_or_else(String::new, |failure| format!(" metadata={failure:?}"))
            ),
            Event::TokenIntrospection(asked) => format!(
                "introspection active={} failure={:?}",
                asked.active, asked.failure
            ),
            Event::KeysChanged(change) => format!(
                "keys generation={} keys={} added={} removed={}",
                change.generation,
                change.keys,
                change.added.len(),
                change.removed.len()
            ),
            Event::Outage(outage) => {
                format!("outage {:?} held={}", outage.failure, outage.keys_held)
            }
            Event::Recovery(recovery) => format!("recovery after {}", recovery.failures),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}
