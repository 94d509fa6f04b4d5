//! What the benches share: a token, a service, and a way to compare.
#![allow(dead_code, reason = "each bench uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "benches measure time")]

use std::{
    convert::Infallible,
    fs,
    future::Future,
    hint::black_box,
    path::PathBuf,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Request, Response, Uri, header::AUTHORIZATION};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, ResourceServer, TokenCachePolicy,
    middleware::Authenticate,
    test_util::{SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{Layer, Service, util::ServiceFn};

pub(crate) const AUDIENCE: &str = "api://default";

/// The claims of an Okta custom authorization server's token for a user in ten groups. With the
/// header and an RS256 signature it has about 1,030 characters.
pub(crate) fn claims(issuer: &str, now: u64, id: usize) -> Value {
    let groups: Vec<_> = (0..10).map(|n| format!("Team-Group-{n:02}")).collect();
    json!({
        "ver": 1,
        "jti": format!("AT.0mP4JKAZX1iACIT4vbEDF7LpvDVj{id:010}"),
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "joe@example.com",
        "iat": now,
        "exp": now + 3_600,
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["read:data", "write:data"],
        "auth_time": now,
        "groups": groups,
    })
}

pub(crate) fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// An authorization server on the loopback, and the runtime that it lives on.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) okta: TestAuthorizationServer,
    pub(crate) issuer: TestIssuer,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let okta = runtime.block_on(TestAuthorizationServer::start());
        let issuer = okta.custom("default");
        Self {
            runtime,
            okta,
            issuer,
        }
    }

    /// A policy that trusts the server.
    pub(crate) fn resource_server(
        &self,
        algorithms: impl IntoIterator<Item = Algorithm>,
        token_cache: TokenCachePolicy,
    ) -> ResourceServer {
        let okta = AuthorizationServer::okta_custom(self.okta.origin(), "default");
        ResourceServer::builder()
            .trust(okta.audience(AUDIENCE).algorithms(algorithms))
            .token_cache(token_cache)
            .build()
            .unwrap()
    }

    /// A layer that has its keys.
    pub(crate) fn layer_of(&self, resource_server: &ResourceServer) -> AuthenticateLayer {
        let layer = AuthenticateLayer::new(resource_server.clone());
        self.runtime.block_on(layer.prefetch());
        layer
    }

    /// The same, for RS256.
    pub(crate) fn layer(&self, token_cache: TokenCachePolicy) -> AuthenticateLayer {
        self.layer_of(&self.resource_server([Algorithm::Rs256], token_cache))
    }

    /// One request that may wait: for a token that causes a look at the keys, which it does once.
    pub(crate) fn settle(&self, service: &mut Guarded, headers: &HeaderMap) {
        let mut request = Request::new(());
        *request.headers_mut() = headers.clone();
        self.runtime.block_on(service.call(request)).unwrap();
    }

    pub(crate) fn token(&self, id: usize) -> String {
        let claims = claims(self.issuer.issuer(), now(), id);
        self.issuer.key().sign(&claims)
    }

    pub(crate) fn tokens(&self, count: usize) -> Vec<String> {
        (0..count).map(|id| self.token(id)).collect()
    }
}

/// A thread, to be asked for how long it ran.
pub(crate) struct Thread(PathBuf);

impl Thread {
    pub(crate) fn current() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
        Self(PathBuf::from("/proc").join(thread).join("schedstat"))
    }

    /// For how many nanoseconds it has run; `NaN` where the system does not tell.
    pub(crate) fn ran(&self) -> f64 {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let nanos = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        nanos.unwrap_or(f64::NAN)
    }
}

/// What was seen of a server in each round.
#[derive(Default)]
pub(crate) struct Rates {
    /// Answers a second.
    rates: Vec<f64>,
    /// Nanoseconds of the server's processor that an answer took.
    costs: Vec<f64>,
}

impl Rates {
    pub(crate) fn add(&mut self, rate: f64, cost: f64) {
        self.rates.push(rate);
        self.costs.push(cost);
    }

    /// A table of servers, of which the first is the bare one.
    pub(crate) fn print(servers: impl IntoIterator<Item = (&'static str, Self)>) {
        println!(
            "{:<22} {:>10} {:>10} {:>8} {:>14} {:>8}",
            "server", "best 1/s", "median 1/s", "of bare", "least cpu ns", "of bare"
        );
        let mut bare = None;
        for (name, mut seen) in servers {
            seen.rates.sort_by(f64::total_cmp);
            seen.costs.sort_by(f64::total_cmp);
            let best = seen.rates[seen.rates.len() - 1];
            let median = seen.rates[seen.rates.len() / 2];
            let cost = seen.costs[0];
            let (bare_best, bare_cost) = *bare.get_or_insert((best, cost));
            println!(
                "{name:<22} {best:>10.0} {median:>10.0} {:>8.3} {cost:>14.0} {:>8.3}",
                best / bare_best,
                bare_cost / cost
            );
        }
    }
}

pub(crate) type Hello = ServiceFn<fn(Request<()>) -> Hi>;
pub(crate) type Hi = std::future::Ready<Result<Response<&'static str>, Infallible>>;
pub(crate) type Guarded = Authenticate<Hello, portcullis::JsonRejection>;

/// The service behind the layer.
pub(crate) fn hello() -> Hello {
    tower::service_fn(|_| std::future::ready(Ok(Response::new("hello"))))
}

pub(crate) fn guarded(layer: &AuthenticateLayer) -> Guarded {
    layer.layer(hello())
}

/// The usual headers of a request, with this token.
pub(crate) fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.example.com"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    if !token.is_empty() {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    headers
}

/// One request, from its headers to the response, which must be there at once.
pub(crate) fn ask<S>(service: &mut S, headers: &HeaderMap) -> Response<&'static str>
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = Infallible>,
{
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_static("/orders/42");
    *request.headers_mut() = headers.clone();
    let mut context = Context::from_waker(Waker::noop());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("it had to wait"),
    }
}

/// The yardstick: one signature check with a key that was parsed before.
pub(crate) struct SignatureCheck {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// Of RSA keys.
    pub(crate) components: RsaPublicKeyComponents<Vec<u8>>,
    key: ParsedPublicKey,
}

impl SignatureCheck {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm);
        let claims = claims("https://company.okta.com/oauth2/default", now(), 0);
        let token = key.sign(&claims);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let jwk = key.jwk();
        let number = |name: &str| {
            let text = jwk[name].as_str().unwrap_or_default();
            URL_SAFE_NO_PAD.decode(text).unwrap()
        };
        let (n, e) = (number("n"), number("e"));
        let components = RsaPublicKeyComponents { n, e };
        let rsa = |parameters| components.to_parsed_public_key(parameters).unwrap();
        let ec = |parameters| {
            let point = [&[4][..], &number("x"), &number("y")].concat();
            ParsedPublicKey::new(parameters, point).unwrap()
        };
        let key = match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::Es512 => ec(&signature::ECDSA_P521_SHA512_FIXED),
            Algorithm::EdDsa => ParsedPublicKey::new(&signature::ED25519, number("x")).unwrap(),
            other => panic!("{other} is not known here"),
        };
        Self {
            message: message.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
            components,
            key,
        }
    }

    pub(crate) fn run(&self) {
        self.key
            .verify_sig(black_box(&self.message), black_box(&self.signature))
            .unwrap();
    }
}

/// Cases that are run in turns, a few milliseconds each, so that a noisy moment hits all of them
/// alike.
#[derive(Default)]
pub(crate) struct Cases<'c>(Vec<Case<'c>>);

struct Case<'c> {
    name: String,
    run: Box<dyn FnMut() + 'c>,
    times: Vec<f64>,
}

/// What one run of each case took, in nanoseconds.
pub(crate) struct Times(Vec<(String, f64, f64)>);

impl<'c> Cases<'c> {
    pub(crate) fn add(&mut self, name: impl Into<String>, run: impl FnMut() + 'c) {
        self.0.push(Case {
            name: name.into(),
            run: Box::new(run),
            times: Vec::new(),
        });
    }

    /// Runs them `rounds` times in turn.
    pub(crate) fn measure(mut self, rounds: usize) -> Times {
        const TURN: Duration = Duration::from_millis(2);
        let only: Vec<_> = std::env::args()
            .skip(1)
            .filter(|arg| !arg.starts_with('-'))
            .collect();
        if !only.is_empty() {
            self.0
                .retain(|case| only.iter().any(|part| case.name.contains(part.as_str())));
        }
        let counts: Vec<_> = (self.0.iter_mut())
            .map(|case| {
                let (began, mut count) = (Instant::now(), 0_u32);
                while began.elapsed() < 5 * TURN {
                    (case.run)();
                    count += 1;
                }
                (count / 5).max(1)
            })
            .collect();
        for _ in 0..rounds {
            for (case, count) in self.0.iter_mut().zip(&counts) {
                let began = Instant::now();
                for _ in 0..*count {
                    (case.run)();
                }
                let nanos = began.elapsed().as_nanos() as f64 / f64::from(*count);
                case.times.push(nanos);
            }
        }
        Times(
            (self.0.into_iter())
                .map(|mut case| {
                    case.times.sort_by(f64::total_cmp);
                    (case.name, case.times[0], case.times[case.times.len() / 2])
                })
                .collect(),
        )
    }
}

impl Times {
    /// The shortest time of a case; `NaN` if it was left out.
    pub(crate) fn least(&self, name: &str) -> f64 {
        let case = self.0.iter().find(|(other, ..)| other == name);
        case.map_or(f64::NAN, |(_, least, _)| *least)
    }

    /// The header of a table of [rows](Self::row).
    pub(crate) fn header(ratio: &str) {
        println!(
            "{:<36} {:>10} {:>10} {:>10} {ratio:>18}",
            "case", "least ns", "median ns", "net ns"
        );
    }

    /// A row of a table: a case, what it takes beyond `bare` takes, and that as a multiple of
    /// `yardstick`.
    pub(crate) fn row(&self, name: &str, bare: f64, yardstick: f64) {
        if let Some((_, least, median)) = self.0.iter().find(|(other, ..)| other == name) {
            let net = least - bare;
            let ratio = net / yardstick;
            println!("{name:<36} {least:>10.1} {median:>10.1} {net:>10.1} {ratio:>18.3}");
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, ..)| name.as_str())
    }
}
