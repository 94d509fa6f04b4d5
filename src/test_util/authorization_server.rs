//! An authorization server on a loopback socket.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{
    Request, Response, StatusCode,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use super::{FakeClock, SigningKey};
use crate::{algorithm::Algorithm, lock::lock, time::Clock};

/// An authorization server of the shape of Okta's, on `http://127.0.0.1` and a free port.
///
/// It serves the key sets of its [custom](Self::custom) and [org](Self::org) issuers at the paths
/// that Okta uses, and ends when it is dropped.
pub struct TestAuthorizationServer {
    origin: String,
    clock: Clock,
    issuers: Issuers,
    task: AbortHandle,
}

/// By the path of the key set.
type Issuers = Arc<Mutex<HashMap<String, TestIssuer>>>;

impl TestAuthorizationServer {
    /// Starts a server whose tokens are minted at the system's time.
    ///
    /// # Panics
    ///
    /// If there is no loopback socket to be had.
    pub async fn start() -> Self {
        Self::start_with(Clock::system()).await
    }

    /// Starts a server whose tokens are minted at the time of `clock`.
    ///
    /// # Panics
    ///
    /// If there is no loopback socket to be had.
    pub async fn start_at(clock: FakeClock) -> Self {
        Self::start_with(clock.clock()).await
    }

    async fn start_with(clock: Clock) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback socket");
        let address = listener.local_addr().expect("its address");
        let issuers = Issuers::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&issuers))).abort_handle();
        Self {
            origin: format!("http://{address}"),
            clock,
            issuers,
            task,
        }
    }

    /// Its origin, which takes the place of the Okta domain.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A custom authorization server; made, with one RS256 key, when first asked for.
    #[must_use]
    pub fn custom(&self, id: &str) -> TestIssuer {
        let path = format!("/oauth2/{id}");
        self.issuer(&path, format!("{path}/v1/keys"), "api://default")
    }

    /// The org authorization server; made, with one RS256 key, when first asked for.
    #[must_use]
    pub fn org(&self) -> TestIssuer {
        self.issuer("", "/oauth2/v1/keys".to_owned(), "0oatestclient")
    }

    fn issuer(&self, path: &str, keys_path: String, audience: &str) -> TestIssuer {
        let mut issuers = lock(&self.issuers);
        let issuer = issuers.entry(keys_path).or_insert_with_key(|keys_path| {
            let key = SigningKey::generate(Algorithm::Rs256);
            TestIssuer(Arc::new(Issuer {
                issuer: format!("{}{path}", self.origin),
                jwks_uri: format!("{}{keys_path}", self.origin),
                audience: audience.to_owned(),
                clock: self.clock.clone(),
                state: Mutex::new(IssuerState {
                    published: vec![key.jwk()],
                    key,
                    behaviour: Behaviour::Normal,
                    cache_control: None,
                    fetches: 0,
                    revalidations: 0,
                }),
            }))
        });
        issuer.clone()
    }
}

impl Drop for TestAuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for TestAuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAuthorizationServer")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// How an issuer answers when it is asked for its keys.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Behaviour {
    /// With its keys.
    #[default]
    Normal,
    /// Not at all: the connection is closed.
    Down,
    /// With its keys, after this long.
    Slow(Duration),
    /// With this status and an empty body.
    Status(u16),
    /// With 429 and this `Retry-After`, in seconds.
    TooManyRequests(u64),
    /// With 200 and this body.
    Body(String),
    /// With 200 and this many bytes.
    Huge(usize),
    /// With 302 to this URL.
    Redirect(String),
}

/// One issuer of a [`TestAuthorizationServer`]. Clones are the same issuer.
#[derive(Clone)]
pub struct TestIssuer(Arc<Issuer>);

struct Issuer {
    issuer: String,
    jwks_uri: String,
    audience: String,
    clock: Clock,
    state: Mutex<IssuerState>,
}

struct IssuerState {
    /// The key that tokens are signed with.
    key: SigningKey,
    /// The JWKs that are published.
    published: Vec<Value>,
    behaviour: Behaviour,
    cache_control: Option<String>,
    fetches: usize,
    revalidations: usize,
}

impl TestIssuer {
    /// The issuer, as in `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Where its keys are.
    #[must_use]
    pub fn jwks_uri(&self) -> &str {
        &self.0.jwks_uri
    }

    /// The claims of an ordinary token: valid for an hour, for the audience `api://default`
    /// (custom) or `0oatestclient` (org). `changes` are laid over them; a `null` takes a claim out.
    #[must_use]
    pub fn claims(&self, changes: Value) -> Value {
        let now = self.0.clock.now().wall.as_secs();
        let mut claims = json!({
            "ver": 1,
            "jti": format!("AT.{:016x}", fastrand::u64(..)),
            "iss": self.0.issuer,
            "aud": self.0.audience,
            "iat": now,
            "exp": now + 3_600,
            "cid": "0oatestclient",
            "uid": "00utestuser",
            "scp": ["openid"],
            "sub": "joe.user@example.com",
        });
        if let (Value::Object(claims), Value::Object(changes)) = (&mut claims, changes) {
            for (name, value) in changes {
                match value {
                    Value::Null => claims.remove(&name),
                    value => claims.insert(name, value),
                };
            }
        }
        claims
    }

    /// A token with these [claims](Self::claims), signed with the current key.
    #[must_use]
    pub fn mint(&self, changes: Value) -> String {
        self.key().sign(&self.claims(changes))
    }

    /// The key that tokens are signed with.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        self.lock().key.clone()
    }

    /// Signs with a new key from now on, and publishes it beside the others.
    #[allow(clippy::must_use_candidate, reason = "rotating is the point")]
    pub fn rotate(&self) -> SigningKey {
        let key = SigningKey::generate(Algorithm::Rs256);
        self.sign_with(&key);
        self.publish(key.jwk());
        key
    }

    /// Signs with this key from now on; does not publish it.
    pub fn sign_with(&self, key: &SigningKey) {
        self.lock().key = key.clone();
    }

    /// Also publishes this JWK.
    pub fn publish(&self, jwk: Value) {
        self.lock().published.push(jwk);
    }

    /// Publishes exactly these JWKs.
    pub fn publish_only(&self, jwks: impl IntoIterator<Item = Value>) {
        self.lock().published = jwks.into_iter().collect();
    }

    /// Publishes the key of this id no longer.
    pub fn remove(&self, kid: &str) {
        self.lock().published.retain(|jwk| jwk["kid"] != kid);
    }

    /// Answers in this way from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// Sends this `Cache-Control` from now on.
    pub fn cache_control(&self, value: Option<&str>) {
        self.lock().cache_control = value.map(str::to_owned);
    }

    /// How often it was asked for its keys, whatever it answered.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.lock().fetches
    }

    /// How often it answered 304, since the asker had the current keys.
    #[must_use]
    pub fn revalidations(&self) -> usize {
        self.lock().revalidations
    }

    fn lock(&self) -> MutexGuard<'_, IssuerState> {
        lock(&self.0.state)
    }

    /// Where RFC 8414 and OpenID Connect Discovery look for it.
    fn has_metadata_at(&self, path: &str) -> bool {
        let origin = origin_of(self.issuer());
        let own = &self.issuer()[origin.len()..];
        path == format!("/.well-known/oauth-authorization-server{own}")
            || path == format!("{own}/.well-known/openid-configuration")
    }

    /// `None` closes the connection.
    fn metadata(&self) -> Option<Response<Full<hyper::body::Bytes>>> {
        let is_down = matches!(self.lock().behaviour, Behaviour::Down);
        let metadata = json!({ "issuer": self.issuer(), "jwks_uri": self.jwks_uri() });
        (!is_down).then(|| Response::new(metadata.to_string().into()))
    }

    /// `None` closes the connection.
    async fn answer(
        &self,
        request: &Request<Incoming>,
    ) -> Option<Response<Full<hyper::body::Bytes>>> {
        let behaviour = {
            let mut state = self.lock();
            state.fetches += 1;
            state.behaviour.clone()
        };
        let mut response = Response::new(Full::default());
        let status = |status: u16| StatusCode::from_u16(status).expect("a status");
        match behaviour {
            Behaviour::Normal => {}
            Behaviour::Down => return None,
            Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
            Behaviour::Status(code) => {
                *response.status_mut() = status(code);
                return Some(response);
            }
            Behaviour::TooManyRequests(seconds) => {
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                return Some(response);
            }
            Behaviour::Body(body) => return Some(response.map(|_| body.into())),
            Behaviour::Huge(bytes) => return Some(response.map(|_| " ".repeat(bytes).into())),
            Behaviour::Redirect(url) => {
                *response.status_mut() = StatusCode::FOUND;
                let url = url.parse().expect("a URL");
                response.headers_mut().insert(LOCATION, url);
                return Some(response);
            }
        }
        let mut state = self.lock();
        let body = json!({ "keys": state.published }).to_string();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = format!("\"{:x}\"", hasher.finish());
        if let Some(value) = &state.cache_control {
            let value = value.parse().expect("a header value");
            response.headers_mut().insert(CACHE_CONTROL, value);
        }
        let is_current = request
            .headers()
            .get(IF_NONE_MATCH)
            .is_some_and(|held| held == etag.as_str());
        response
            .headers_mut()
            .insert(ETAG, etag.parse().expect("a header value"));
        if is_current {
            state.revalidations += 1;
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = body.into();
        }
        Some(response)
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestIssuer").field(&self.0.issuer).finish()
    }
}

/// What is in front of a URL's path.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find('/').map_or(url.len(), |path| host + path);
    &url[..end]
}

async fn serve(listener: TcpListener, issuers: Issuers) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let issuers = Arc::clone(&issuers);
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path();
            let (of_keys, of_metadata) = {
                let issuers = lock(&issuers);
                let of_metadata = issuers.values().find(|issuer| issuer.has_metadata_at(path));
                (issuers.get(path).cloned(), of_metadata.cloned())
            };
            async move {
                let answer = match (of_keys, of_metadata) {
                    (Some(issuer), _) => issuer.answer(&request).await,
                    (None, Some(issuer)) => issuer.metadata(),
                    (None, None) => {
                        let mut response = Response::new(Full::default());
                        *response.status_mut() = StatusCode::NOT_FOUND;
                        Some(response)
                    }
                };
                answer.ok_or_else(|| io::Error::other("down"))
            }
        });
        connections.spawn(async move {
            // A client that hangs up is no concern of the server's.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
