//! gRPC servers on loopback sockets, and a call for each kind of rejection with what must come of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http::{Request, Response};
use portcullis::{
    AccessPolicy, AuthenticateLayer, AuthorizationServer, ClientAuthentication, Introspection,
    RequireLayer, Requirement, ResourceServer, Role,
    test_util::{Behaviour, SigningKey},
};
use serde_json::{Value, json};
use tonic::{
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, layer::util::Identity};

use crate::support::{World, token_cache, trusted};
use crate::{
    echo::{EchoRequest, echo_client::EchoClient, echo_server::EchoServer},
    service::EchoService,
};

pub(crate) const UNARY: &str = "/grpc.examples.echo.Echo/UnaryEcho";
pub(crate) const BIDIRECTIONAL: &str = "/grpc.examples.echo.Echo/BidirectionalStreamingEcho";

/// The echo service behind `layer`, until the runtime ends.
pub(crate) fn serve<L, S, B>(layer: L) -> SocketAddr
where
    L: Layer<Routes, Service = S> + Clone + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_with(
        Server::builder().layer(layer),
        Routes::new(EchoServer::new(EchoService)),
    )
}

/// These services behind the layers of `server`, until the runtime ends.
pub(crate) fn serve_with<L, S, B>(mut server: Server<L>, routes: Routes) -> SocketAddr
where
    L: Layer<Routes, Service = S> + Clone + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    tokio::spawn(server.add_routes(routes).serve_with_incoming(incoming));
    address
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

pub(crate) async fn client(address: SocketAddr) -> EchoClient<Channel> {
    EchoClient::new(connect(address).await)
}

pub(crate) fn saying(message: &str) -> EchoRequest {
    EchoRequest {
        message: message.to_owned(),
    }
}

/// A request with this token; none if it is empty.
pub(crate) fn with_token<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// A call, and what a client must see of it.
pub(crate) struct Case {
    pub(crate) reason: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) method: &'static str,
    /// The values of `authorization`.
    pub(crate) authorization: Vec<String>,
    pub(crate) code: i32,
    pub(crate) message: &'static str,
    pub(crate) challenge: Option<&'static str>,
    /// The metadata of the `ErrorInfo`.
    pub(crate) metadata: Option<(&'static str, &'static str)>,
    pub(crate) has_retry: bool,
}

impl Case {
    /// For a client that is not written in Rust.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "reason": self.reason,
            "address": self.address.to_string(),
            "method": self.method,
            "authorization": self.authorization,
            "code": self.code,
            "message": self.message,
            "challenge": self.challenge,
            "metadata": self.metadata.map(|(key, value)| json!({ key: value })).unwrap_or(json!({})),
            "has_retry": self.has_retry,
        })
    }
}

/// Every kind of rejection, each from a server that runs; they live as long as what is returned
/// beside.
pub(crate) async fn every_kind() -> (Vec<Case>, Vec<World>) {
    let world = World::new().await;
    let down = World::new().await;
    down.issuer.behave(Behaviour::Down);
    let ambiguous = World::new().await;
    ambiguous.issuer.rotate();

    let layer = || world.layer.clone();
    let policy = AccessPolicy::builder()
        .require(UNARY, Requirement::all_scopes(["read:data"]).unwrap())
        .build()
        .unwrap();
    let layer_for = |server: AuthorizationServer| {
        let policy = ResourceServer::builder().token_cache(token_cache());
        AuthenticateLayer::builder(policy.trust(server).build().unwrap())
            .clock(world.clock.clock())
            .build()
    };
    let server = || trusted(&world.okta);
    let picky = layer_for(server().allowed_clients(["another"]));
    let demands = serve(layer_for(server().require_claim("department")));
    let stronger = serve(layer_for(server().require_acr(["phr", "phrh"])));
    let young = serve(layer_for(server().max_token_age(Duration::from_secs(60))));
    let writers = serve((layer(), RequireLayer::role(Role::Write)));
    let inactive = World::new().await;
    inactive
        .issuer
        .behave(Behaviour::Body(r#"{"active":false}"#.to_owned()));
    let introspection = Introspection::new(
        inactive.issuer.jwks_uri(),
        ClientAuthentication::basic("api", "secret"),
    );
    let introspecting = serve(layer_for(server().introspection(introspection)));
    let plain = serve(layer());
    let demanding = serve(layer().policy(policy));
    let either = serve((layer(), RequireLayer::any_scope(["50%:a", "b"]).unwrap()));
    let picky = serve(picky);
    let unlayered = serve(RequireLayer::role(Role::Read));
    let open = serve(Identity::new());
    let (ambiguous_address, down_address) =
        (serve(ambiguous.layer.clone()), serve(down.layer.clone()));

    let issuer = &world.issuer;
    let now = world.clock.now().as_secs();
    let signed = |header: Value| {
        issuer
            .key()
            .sign_with_header(&header, &issuer.claims(json!({})))
    };
    let forged = SigningKey::generate(portcullis::Algorithm::Rs256)
        .with_kid(issuer.key().kid())
        .sign(&issuer.claims(json!({})));
    let nameless = (ambiguous.issuer.key()).sign_with_header(
        &json!({ "alg": "RS256" }),
        &ambiguous.issuer.claims(json!({})),
    );

    let case = |reason, address, token: String, message| Case {
        reason,
        address,
        method: UNARY,
        authorization: vec![format!("Bearer {token}")],
        code: 16,
        message,
        challenge: None,
        metadata: None,
        has_retry: false,
    };
    let invalid_token = |mut case: Case, challenge: &'static str| {
        case.challenge = Some(challenge);
        case
    };
    macro_rules! invalid_token {
        ($reason:literal, $address:expr, $token:expr, $message:literal) => {
            invalid_token(
                case($reason, $address, $token, $message),
                concat!(
                    r#"Bearer error="invalid_token", error_description=""#,
                    $message,
                    r#"""#
                ),
            )
        };
    }
    const BARE: Option<&str> = Some("Bearer");
    let good = || issuer.mint(json!({}));
    let cases = vec![
        Case {
            authorization: vec![],
            challenge: BARE,
            ..case(
                "TOKEN_MISSING",
                plain,
                String::new(),
                "a bearer token is needed",
            )
        },
        Case {
            authorization: vec!["Basic dXNlcjpwYXNz".to_owned()],
            challenge: BARE,
            ..case(
                "TOKEN_MISSING",
                plain,
                String::new(),
                "a bearer token is needed",
            )
        },
        Case {
            authorization: vec![format!("Bearer {}", good()), format!("Bearer {}", good())],
            challenge: Some(
                r#"Bearer error="invalid_request", error_description="the Authorization header is malformed""#,
            ),
            ..case(
                "REQUEST_MALFORMED",
                plain,
                String::new(),
                "the Authorization header is malformed",
            )
        },
        Case {
            authorization: vec!["Bearer".to_owned()],
            challenge: Some(
                r#"Bearer error="invalid_request", error_description="the Authorization header is malformed""#,
            ),
            ..case(
                "REQUEST_MALFORMED",
                plain,
                String::new(),
                "the Authorization header is malformed",
            )
        },
        invalid_token!(
            "TOKEN_MALFORMED",
            plain,
            "a.b.c".to_owned(),
            "the token is malformed"
        ),
        invalid_token!(
            "TOKEN_TYPE_REJECTED",
            plain,
            signed(json!({ "alg": "RS256", "typ": "dpop+jwt" })),
            "the token is not an access token of an accepted type"
        ),
        invalid_token!(
            "ISSUER_UNKNOWN",
            plain,
            issuer.mint(json!({ "iss": "https://evil.example" })),
            "the token's issuer is not trusted here"
        ),
        invalid_token!(
            "ALGORITHM_REJECTED",
            plain,
            signed(json!({ "alg": "none" })),
            "the token's signature algorithm is not accepted"
        ),
        invalid_token!(
            "KEY_UNKNOWN",
            plain,
            signed(json!({ "alg": "RS256", "kid": "junk" })),
            "the token's signing key is not known"
        ),
        invalid_token!(
            "KEY_AMBIGUOUS",
            ambiguous_address,
            nameless,
            "the token does not say which key signed it"
        ),
        Case {
            code: 14,
            has_retry: true,
            ..case(
                "KEYS_UNAVAILABLE",
                down_address,
                down.issuer.mint(json!({})),
                "tokens cannot be verified at the moment",
            )
        },
        invalid_token!(
            "SIGNATURE_INVALID",
            plain,
            forged,
            "the token's signature is not valid"
        ),
        invalid_token!(
            "CLAIM_INVALID",
            plain,
            issuer.mint(json!({ "exp": "soon" })),
            "a claim of the token is missing or malformed"
        ),
        invalid_token!(
            "BINDING_MISSING",
            plain,
            issuer.mint(json!({ "cnf": { "jkt": "x" } })),
            "the token is sender-constrained and came without proof"
        ),
        invalid_token!(
            "AUDIENCE_MISMATCH",
            plain,
            issuer.mint(json!({ "aud": "api://other" })),
            "the token is meant for another audience"
        ),
        invalid_token!(
            "CLIENT_NOT_ALLOWED",
            picky,
            good(),
            "the token's client is not allowed here"
        ),
        invalid_token!(
            "TOKEN_EXPIRED",
            plain,
            issuer.mint(json!({ "exp": now - 60 })),
            "the token has expired"
        ),
        invalid_token!(
            "TOKEN_NOT_YET_VALID",
            plain,
            issuer.mint(json!({ "nbf": now + 61 })),
            "the token is not valid yet"
        ),
        Case {
            code: 7,
            challenge: Some(
                r#"Bearer error="insufficient_scope", error_description="the token lacks a scope that is needed here", scope="read:data""#,
            ),
            metadata: Some(("scope", "read:data")),
            ..case(
                "SCOPE_INSUFFICIENT",
                demanding,
                good(),
                "the token lacks a scope that is needed here: read:data",
            )
        },
        Case {
            code: 16,
            challenge: BARE,
            authorization: vec![],
            ..case(
                "TOKEN_MISSING",
                demanding,
                String::new(),
                "a bearer token is needed",
            )
        },
        // By a layer further in, with a character that has to be escaped in `grpc-message`.
        Case {
            code: 7,
            challenge: Some(
                r#"Bearer error="insufficient_scope", error_description="the token lacks a scope that is needed here", scope="50%:a b""#,
            ),
            metadata: Some(("scope", "50%:a b")),
            ..case(
                "SCOPE_INSUFFICIENT",
                either,
                good(),
                "the token lacks a scope that is needed here: one of 50%:a b",
            )
        },
        // By the handler.
        Case {
            method: BIDIRECTIONAL,
            code: 7,
            challenge: BARE,
            metadata: Some(("role", "admin")),
            ..case(
                "ROLE_INSUFFICIENT",
                plain,
                good(),
                "the token's role is not sufficient here: admin is needed",
            )
        },
        Case {
            method: BIDIRECTIONAL,
            code: 7,
            challenge: BARE,
            ..case(
                "POLICY_DENIED",
                demanding,
                good(),
                "the access policy does not allow this request",
            )
        },
        invalid_token!(
            "TOKEN_INACTIVE",
            introspecting,
            "an-opaque-token".to_owned(),
            "the token is not active"
        ),
        invalid_token!(
            "CLAIM_REJECTED",
            demands,
            good(),
            "a claim of the token is not accepted here"
        ),
        invalid_token!(
            "TOKEN_TOO_OLD",
            young,
            issuer.mint(json!({ "iat": now - 120 })),
            "the token was issued too long ago"
        ),
        Case {
            challenge: Some(
                r#"Bearer error="insufficient_user_authentication", error_description="a stronger authentication of the user is needed", acr_values="phr phrh""#,
            ),
            metadata: Some(("acr_values", "phr phrh")),
            ..case(
                "STEP_UP_REQUIRED",
                stronger,
                good(),
                "a stronger authentication of the user is needed: one of phr phrh",
            )
        },
        Case {
            code: 7,
            challenge: BARE,
            ..case(
                "GROUPS_INCOMPLETE",
                writers,
                issuer.mint(json!({ "groups": null, "_claim_names": { "groups": "src1" } })),
                "the token does not name all groups of its user",
            )
        },
        Case {
            code: 13,
            ..case(
                "LAYER_MISSING",
                unlayered,
                good(),
                "this route asks for a token, but no AuthenticateLayer is outside it",
            )
        },
        Case {
            method: BIDIRECTIONAL,
            code: 13,
            ..case(
                "LAYER_MISSING",
                open,
                good(),
                "this route asks for a token, but no AuthenticateLayer is outside it",
            )
        },
    ];
    (cases, vec![world, down, ambiguous, inactive])
}
