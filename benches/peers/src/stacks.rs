//! Each library as a Tower service in front of one that answers 200. All of them are asked for the
//! same checks: the signature (RS256 alone, where that can be said), the issuer, the audience, the
//! expiry.
#![allow(dead_code, reason = "each program uses a part of it")]

use std::{
    fmt::Debug,
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use aliri::{jwa, jwt};
use aliri_clock::UnixTime;
use aliri_oauth2::{HasScope, Scope};
use axum::handler::Handler;
use axum_jwt_auth::{Decoder, RemoteJwksDecoder};
use http::{HeaderMap, Request, Response, StatusCode};
use huskarl_axum::layers::ValidatorLayer;
use huskarl_core::EndpointUrl;
use huskarl_resource_server::validator::custom::CustomValidator;
use jwt_authorizer::{IntoLayer, JwtAuthorizer, layer::AuthorizationLayer};
use oauth_resource_server::{KeyNaming, OAuthConfig, OAuthValidator, axum::AuthLayer};
use portcullis::TokenCachePolicy;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};

use crate::support::{AUDIENCE, World, bearer, claims, guarded, hello, now};

/// What a handler would read of the token, for the libraries that leave the type to the user.
#[derive(Clone, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    cid: String,
    uid: String,
    scp: Vec<String>,
    groups: Vec<String>,
}

/// The same for huskarl-resource-server, which keeps the registered claims in a type of its own.
#[derive(Clone, Deserialize)]
struct PrivateClaims {
    cid: String,
    uid: String,
    scp: Vec<String>,
    groups: Vec<String>,
}

/// The same in aliri's types, through which it asks for what it checks.
#[derive(Clone, Deserialize)]
struct AliriClaims {
    iss: jwt::Issuer,
    aud: jwt::Audiences,
    sub: jwt::Subject,
    iat: u64,
    exp: UnixTime,
    cid: String,
    uid: String,
    scp: Scope,
    groups: Vec<String>,
}

impl jwt::CoreClaims for AliriClaims {
    fn nbf(&self) -> Option<UnixTime> {
        None
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &jwt::Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&jwt::IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&jwt::SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for AliriClaims {
    fn scope(&self) -> &Scope {
        &self.scp
    }
}

/// The services behind the layers; each layer is compared with the one behind it alone.
pub(crate) const BARE: &str = "bare service";
pub(crate) const BARE_AXUM_08: &str = "bare handler, axum 0.8";
pub(crate) const BARE_AXUM_07: &str = "bare handler, axum 0.7";

type Body08 = axum::body::Body;
type Body07 = axum_07::body::Body;

type Ask = Box<dyn FnMut(&HeaderMap, Option<&Runtime>) -> StatusCode>;

/// A service, ready to be asked.
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    /// The name of the one that it is compared with.
    pub(crate) bare: &'static str,
    ask: Ask,
}

impl Stack {
    /// One request, from its headers to the status of the response, which must be there at once.
    pub(crate) fn ask(&mut self, headers: &HeaderMap) -> StatusCode {
        (self.ask)(headers, None)
    }

    /// One request that may wait, since some look for other keys when a token does not fit theirs.
    fn ask_and_wait(&mut self, headers: &HeaderMap, runtime: &Runtime) -> StatusCode {
        (self.ask)(headers, Some(runtime))
    }
}

struct Stacks<'w> {
    world: &'w World,
    good: &'w HeaderMap,
    list: Vec<Stack>,
}

impl Stacks<'_> {
    /// Adds a service once it has its keys, which is when it lets the good token through.
    fn add<B, S, R>(&mut self, name: &'static str, bare: &'static str, mut service: S)
    where
        S: Service<Request<B>, Response = Response<R>> + 'static,
        S::Error: Debug,
        B: Default,
    {
        let mut stack = Stack {
            name,
            bare,
            ask: Box::new(move |headers, runtime| ask(&mut service, headers, runtime)),
        };
        for attempt in 0.. {
            let status = stack.ask_and_wait(self.good, &self.world.runtime);
            if status == 200 {
                break;
            }
            assert!(attempt < 200, "{name} says {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.list.push(stack);
    }
}

/// Without a runtime, so that none takes part in what is measured, or with one, if it has to wait.
fn ask<S, B, R>(service: &mut S, headers: &HeaderMap, runtime: Option<&Runtime>) -> StatusCode
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Debug,
    B: Default,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let mut request = Request::new(B::default());
    *request.headers_mut() = headers.clone();
    let response = pin!(service.call(request));
    let response = match runtime {
        Some(runtime) => runtime.block_on(response),
        None => match response.poll(&mut context) {
            Poll::Ready(response) => response,
            Poll::Pending => panic!("it had to wait"),
        },
    };
    black_box(response.unwrap()).status()
}

async fn hello_axum() -> &'static str {
    "hello"
}

async fn hello_with_claims(claims: axum_jwt_auth::Claims<Claims>) -> &'static str {
    black_box(claims);
    "hello"
}

/// jsonwebtoken has two backends; a process chooses one for each of its versions.
pub(crate) fn choose_backend() {
    if std::env::args().any(|arg| arg == "--rust-crypto") {
        println!("jsonwebtoken 10 and 11 check signatures by rust_crypto");
        let _ = jsonwebtoken_10::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        let _ = jsonwebtoken_11::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    } else {
        println!("jsonwebtoken 10 and 11 check signatures by aws_lc_rs");
        let _ = jsonwebtoken_10::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let _ = jsonwebtoken_11::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    }
}

/// All of them, with the keys that `world` serves.
pub(crate) fn stacks(world: &World, good: &HeaderMap) -> Vec<Stack> {
    let axum_08 = || Handler::<((),), ()>::with_state(hello_axum, ());
    let axum_07 = || axum_07::handler::Handler::<((),), ()>::with_state(hello_axum, ());
    let ours = |policy| guarded(&world.layer(policy));
    let mut stacks = Stacks {
        world,
        good,
        list: Vec::new(),
    };
    stacks.add(BARE, BARE, hello());
    stacks.add::<Body08, _, _>(BARE_AXUM_08, BARE_AXUM_08, axum_08());
    stacks.add::<Body07, _, _>(BARE_AXUM_07, BARE_AXUM_07, axum_07());
    stacks.add("portcullis, warm", BARE, ours(TokenCachePolicy::default()));
    stacks.add("portcullis, cold", BARE, ours(TokenCachePolicy::off()));
    let layer = jwt_authorizer(world);
    stacks.add::<Body07, _, _>(
        "jwt-authorizer 0.15.0",
        BARE_AXUM_07,
        layer.layer(axum_07()),
    );
    let handler = hello_with_claims.with_state(axum_jwt_auth(world));
    stacks.add::<Body08, _, _>("axum-jwt-auth 0.7.0", BARE_AXUM_08, handler);
    let service = tower_oauth2(world).into_layer().layer(hello());
    stacks.add("tower-oauth2-resource-server 0.12.5", BARE, service);
    let service = oauth_resource_server(world).layer(axum_08());
    stacks.add("oauth-resource-server 0.4.1", BARE_AXUM_08, service);
    let layer = ValidatorLayer::builder().validator(huskarl(world)).build();
    let service = layer.authenticated().layer(axum_08());
    stacks.add("huskarl-resource-server 0.11.12", BARE_AXUM_08, service);
    let service = aliri_tower::Oauth2Authorizer::new()
        .with_claims::<AliriClaims>()
        .with_terse_error_handler::<Body08>()
        .jwt_layer(aliri(world))
        .layer(axum_08());
    stacks.add::<Body08, _, _>("aliri_tower 0.6.1", BARE_AXUM_08, service);
    stacks.list
}

fn jwt_authorizer(world: &World) -> AuthorizationLayer<Claims> {
    let validation = jwt_authorizer::Validation::new()
        .iss(&[world.issuer.issuer()])
        .aud(&[AUDIENCE])
        .algs(vec![jsonwebtoken_9::Algorithm::RS256]);
    let authorizer = JwtAuthorizer::<Claims>::from_jwks_url(world.issuer.jwks_uri())
        .validation(validation)
        .build();
    world.runtime.block_on(authorizer).unwrap().into_layer()
}

fn axum_jwt_auth(world: &World) -> Decoder<Claims> {
    let mut validation = jsonwebtoken_10::Validation::new(jsonwebtoken_10::Algorithm::RS256);
    validation.set_issuer(&[world.issuer.issuer()]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let decoder = RemoteJwksDecoder::builder()
        .jwks_url(world.issuer.jwks_uri().to_owned())
        .validation(validation)
        .build()
        .unwrap();
    world.runtime.block_on(decoder.initialize()).unwrap();
    Arc::new(decoder)
}

/// The issuer is asked for apart: with the address of the keys alone it would not be checked.
fn tower_oauth2(world: &World) -> OAuth2ResourceServer<Claims> {
    let issuer = world.issuer.issuer();
    let checks = ClaimsValidationSpec::new()
        .iss(issuer)
        .aud(&vec![AUDIENCE.to_owned()])
        .exp(true);
    let tenant = TenantConfiguration::builder(issuer)
        .jwks_url(world.issuer.jwks_uri())
        .claims_validation(checks)
        .allowed_algorithms(&[jsonwebtoken_11::Algorithm::RS256])
        .build();
    let tenant = world.runtime.block_on(tenant).unwrap();
    let server = OAuth2ResourceServer::builder().add_tenant(tenant).build();
    world.runtime.block_on(server).unwrap()
}

/// `allow_unscoped_tokens`, since nobody here asks for a scope.
fn oauth_resource_server(world: &World) -> AuthLayer {
    let config = OAuthConfig {
        enabled: true,
        issuer: world.issuer.issuer().to_owned(),
        jwks_uri: Some(world.issuer.jwks_uri().to_owned()),
        audience: AUDIENCE.to_owned(),
        resource: "http://127.0.0.1/".to_owned(),
        algorithms: vec!["RS256".to_owned()],
        allow_unscoped_tokens: true,
        ..OAuthConfig::default()
    };
    let config = config.resolve(KeyNaming::Dotted("oauth")).unwrap();
    let validator = Arc::new(OAuthValidator::new(&config.unwrap()).unwrap());
    let _entered = world.runtime.enter();
    validator.spawn_background_refresh();
    AuthLayer::builder().oauth(validator).build().unwrap()
}

/// Its validator for RFC 9068 wants `typ: at+jwt` and `client_id`, which Okta does not write.
fn huskarl(world: &World) -> CustomValidator<PrivateClaims> {
    world.runtime.block_on(async {
        let client = huskarl_reqwest::ReqwestClient::builder().build();
        CustomValidator::builder()
            .with_claims::<PrivateClaims>()
            .iss(world.issuer.issuer())
            .aud(AUDIENCE)
            .allowed_signing_algorithms(vec!["RS256".to_owned()])
            .jwks_uri(world.issuer.jwks_uri().parse::<EndpointUrl>().unwrap())
            .jwks_source(client.await.unwrap())
            .build()
            .await
            .unwrap()
    })
}

fn aliri(world: &World) -> aliri_oauth2::Authority {
    let validator = jwt::CoreValidator::default()
        .add_approved_algorithm(jwa::Algorithm::RS256)
        .require_issuer(jwt::Issuer::from(world.issuer.issuer()))
        .add_allowed_audience(jwt::Audience::from(AUDIENCE))
        .check_expiration();
    let jwks_uri = world.issuer.jwks_uri().to_owned();
    let authority = aliri_oauth2::Authority::new_from_url(jwks_uri, validator);
    world.runtime.block_on(authority).unwrap()
}

/// Tokens that nobody should let through, each wrong in one way.
pub(crate) struct Bad<'w> {
    world: &'w World,
    tokens: Vec<(&'static str, HeaderMap)>,
}

impl<'w> Bad<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let key = world.issuer.key();
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims(world.issuer.issuer(), now(), 0);
            claims[name] = value;
            bearer(&key.sign(&claims))
        };
        // A signature of the same key, but of another token.
        let (token, other) = (world.token(0), world.token(1));
        let (message, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let tokens = vec![
            ("signature", bearer(&format!("{message}.{signature}"))),
            ("audience", with("aud", "api://other".into())),
            ("issuer", with("iss", "https://other.example.com".into())),
            ("expiry", with("exp", (now() - 3_600).into())),
        ];
        Self { world, tokens }
    }

    /// What a stack lets through that it should refuse.
    pub(crate) fn passed_by(&self, stack: &mut Stack) -> Vec<&'static str> {
        let mut passed = Vec::new();
        for (what, headers) in &self.tokens {
            let status = stack.ask_and_wait(headers, &self.world.runtime);
            match status.as_u16() {
                200 => passed.push(*what),
                401 | 403 => {}
                _ => println!("{} says {status} to another {what}", stack.name),
            }
        }
        passed
    }
}
