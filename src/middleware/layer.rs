//! The layer that authenticates, and how it is put together.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tower_layer::Layer;

use super::{
    authenticator::{Authenticator, Mode},
    end_streams::EndStreamsLayer,
    gate::Gate,
    response::JsonRejection,
    service::Authenticate,
};
use crate::{
    access_policy::AccessPolicy,
    audit::{Audit, AuditSink},
    jwks::{HttpClient, KeyStatus},
    key_snapshot::KeySnapshot,
    resource_server::ResourceServer,
    surroundings::Surroundings,
    time::Clock,
};

/// Lets only requests with a valid access token through, and tells handlers whose it is.
///
/// A request that passes has the [`AccessToken`](crate::AccessToken) in its extensions and, if its
/// groups amount to one, the [`Role`](crate::Role). A request that does not is answered with the
/// status, the challenge and the body that [`RejectionKind`](crate::RejectionKind) lists.
///
/// Clones share the keys and the [verified tokens](crate::TokenCachePolicy) that are remembered; two
/// layers do not. The layer needs a Tokio runtime with I/O and time enabled where the
/// service runs; making it needs none, does no I/O and never blocks.
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use portcullis::{AccessToken, AuthenticateLayer, AuthorizationServer, ResourceServer};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
///     .build()?;
/// let app: Router = Router::new()
///     .route(
///         "/whoami",
///         get(|Extension(token): Extension<AccessToken>| async move { token.subject().to_owned() }),
///     )
///     .layer(AuthenticateLayer::new(resource_server))
///     .route("/health", get(|| async { "public: added after the layer" }));
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthenticateLayer<R = JsonRejection> {
    pub(crate) gate: Gate<R>,
}

impl AuthenticateLayer {
    /// The layer for this policy, with every setting at its default.
    pub fn new(resource_server: ResourceServer) -> Self {
        Self::builder(resource_server).build()
    }

    /// Starts a layer for this policy, to attach audit sinks or change where time and HTTP come
    /// from.
    pub fn builder(resource_server: ResourceServer) -> AuthenticateLayerBuilder {
        AuthenticateLayerBuilder {
            resource_server,
            clock: Clock::system(),
            client: HttpClient::default(),
            audit: Audit::default(),
            snapshot: KeySnapshot::default(),
        }
    }
}

impl<R> AuthenticateLayer<R> {
    /// Also lets requests *without* a bearer token through, without an
    /// [`AccessToken`](crate::AccessToken) in their extensions. A token that is there must still be
    /// valid.
    ///
    /// Handlers tell the two apart by `Option<AccessToken>`; those that take an `AccessToken`, and
    /// routes under a [`RequireLayer`](crate::RequireLayer), still answer 401 without one.
    pub fn optional(mut self) -> Self {
        self.gate.mode = Mode::Optional;
        self
    }

    /// Asks of requests what this table says, and lets those through unseen that it exempts.
    ///
    /// It is looked at after the token was verified, and has the last word: a request without a
    /// valid token is 401 wherever the table asks for one, and [`optional`](Self::optional) changes
    /// nothing. Where a token may be missing, the
    /// [table says so](crate::AccessPolicyBuilder::optional).
    ///
    /// ```
    /// use portcullis::{AccessPolicy, AuthenticateLayer, AuthorizationServer, Requirement, ResourceServer, Role};
    ///
    /// let resource_server = ResourceServer::builder()
    ///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
    ///     .build()?;
    /// let policy = AccessPolicy::builder()
    ///     .require("/orders.v1.Orders/Delete", Requirement::role(Role::Admin))
    ///     .require("/orders.v1.Orders/*", Requirement::all_scopes(["orders:read"])?)
    ///     .exempt_grpc_health()
    ///     .build()?;
    /// let authenticate = AuthenticateLayer::new(resource_server).policy(policy);
    /// # Ok::<(), portcullis::ConfigError>(())
    /// ```
    pub fn policy(mut self, policy: AccessPolicy) -> Self {
        self.gate.policy = Some(policy);
        self
    }

    /// Also ends what is open when the token that let it in does: when it has expired, leeway and
    /// `grace` included, or when its key was withdrawn. To be called last: what was set before
    /// counts, and what is returned is a layer alone, so keep a clone for
    /// [`prefetch`](Self::prefetch) and [`health`](Self::health).
    ///
    /// - A gRPC call of which messages are still to come ends with UNAUTHENTICATED and the details of
    ///   [`TokenExpired`](crate::RejectionKind::TokenExpired) or
    ///   [`KeyUnknown`](crate::RejectionKind::KeyUnknown): streams from the server, from the client, and both.
    /// - An HTTP response of which more is to come, such as server-sent events or a long download, is
    ///   aborted, so that nobody takes the half for the whole.
    /// - A handler that has yet to read all of its request gets an error in its stead, and whatever it
    ///   makes of it is answered 401, or UNAUTHENTICATED.
    /// - A handler that has read its request and takes long is not interrupted. An answer whose data
    ///   comes only then has one piece of it: one gRPC message, or a body that is there at once.
    ///   Its end may come five seconds later.
    ///
    /// Audit sinks are told of what is ended, as of a request that is refused further in.
    ///
    /// Not ended are connections that were upgraded, such as WebSockets. A client that reads nothing
    /// keeps its response open, but gets no more of it. An outage ends nothing, however long, since the
    /// keys may still be published. Withdrawn keys are noticed when keys are fetched, as
    /// [`JwksPolicy`](crate::JwksPolicy) says; a clock that was set, or a machine that was suspended,
    /// within a minute.
    ///
    /// It changes the type of the bodies that the service inside sees to
    /// [`GuardedBody`](crate::middleware::GuardedBody). Without it, nothing is watched.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::Router;
    /// use portcullis::{AuthenticateLayer, AuthorizationServer, ResourceServer};
    ///
    /// let resource_server = ResourceServer::builder()
    ///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
    ///     .build()?;
    /// let authenticate = AuthenticateLayer::new(resource_server).end_streams(Duration::from_secs(30));
    /// let app: Router = Router::new().layer(authenticate);
    /// # Ok::<(), portcullis::ConfigError>(())
    /// ```
    pub fn end_streams(self, grace: Duration) -> EndStreamsLayer<R> {
        EndStreamsLayer::new(self, grace)
    }

    /// Makes the response to refused HTTP requests in another way, such as with a body of your own.
    /// Refusals by a [`RequireLayer`](crate::RequireLayer) or an extractor further in are made the
    /// same way.
    pub fn with_response<Q>(self, respond: Q) -> AuthenticateLayer<Q> {
        AuthenticateLayer {
            gate: self.gate.with_response(respond),
        }
    }

    /// Gets the keys of all authorization servers, so that the first request need not wait. Waits
    /// for them as long as a request would, and returns how things stand then. Nothing depends on
    /// it: keys that could not be had are tried again in the background.
    pub async fn prefetch(&self) -> Vec<KeyHealth> {
        let directory = self.gate.authenticator.directory();
        let mut fetches: Vec<_> = directory
            .iter()
            .map(|trusted| Box::pin(trusted.keys.prefetch()))
            .collect();
        poll_fn(|cx| {
            fetches.retain_mut(|fetch| fetch.as_mut().poll(cx).is_pending());
            if fetches.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.health()
    }

    /// How many verified tokens are remembered, and what room they take; `None` if the
    /// [token cache](crate::TokenCachePolicy) is off.
    #[must_use]
    pub fn remembered_tokens(&self) -> Option<RememberedTokens> {
        let load = self.gate.authenticator.tokens.as_ref()?.load();
        Some(RememberedTokens {
            count: load.entries,
            bytes: load.bytes,
        })
    }

    /// Whether the keys of each authorization server are at hand, for a readiness probe; not those of
    /// tenants.
    ///
    /// Returns at once. Where nobody has asked for keys yet, they are asked for now, so that a
    /// service that gets no requests before it is ready becomes ready.
    #[must_use]
    pub fn health(&self) -> Vec<KeyHealth> {
        let directory = self.gate.authenticator.directory();
        directory
            .iter()
            .map(|trusted| KeyHealth {
                issuer: trusted.server.issuer().to_owned(),
                status: trusted.keys.status(),
            })
            .collect()
    }

    /// The keys that are held, for the next process to [start with](AuthenticateLayerBuilder::key_snapshot);
    /// not those of tenants.
    #[must_use]
    pub fn key_snapshot(&self) -> KeySnapshot {
        let directory = self.gate.authenticator.directory();
        KeySnapshot {
            key_sets: directory
                .iter()
                .filter_map(|trusted| trusted.keys.save())
                .collect(),
        }
    }

    /// Forgets what is known of a [tenant](crate::ResourceServerBuilder::tenants), or that the issuer is no
    /// tenant's: the resolver is asked again with the next request. For a tenant that was added, changed
    /// or removed just now.
    pub fn forget_tenant(&self, issuer: &str) {
        if let Some(tenants) = &self.gate.authenticator.directory().tenants {
            tenants.forget(issuer);
        }
    }

    /// How many [tenants](crate::ResourceServerBuilder::tenants) are remembered at the moment.
    #[must_use]
    pub fn remembered_tenants(&self) -> u64 {
        let directory = self.gate.authenticator.directory();
        directory
            .tenants
            .as_ref()
            .map_or(0, |tenants| tenants.count())
    }

    /// Trusts whom this policy trusts from now on, without a restart: every request that comes after
    /// this has returned is judged by it, in all clones of the layer and all services that were made
    /// with it.
    ///
    /// Authorization servers that are in both policies keep their keys, unless what their keys depend
    /// on is not the same: where they come from, the algorithms, the [`JwksPolicy`](crate::JwksPolicy).
    /// Remembered tokens of those whose policy did not change at all stay remembered. Requests that
    /// wait for keys go on waiting. What [`end_streams`](Self::end_streams) watches ends with its
    /// authorization server. The [token cache](crate::TokenCachePolicy) keeps its size,
    /// and tokens come in the header that they came in.
    ///
    /// ```
    /// use portcullis::{AuthenticateLayer, AuthorizationServer, ConfigError, ResourceServer};
    ///
    /// fn also_trust(layer: &AuthenticateLayer, tenant: &str) -> Result<(), ConfigError> {
    ///     let policy = ResourceServer::builder()
    ///         .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
    ///         .trust(AuthorizationServer::auth0(tenant).audience("api"))
    ///         .build()?;
    ///     layer.reload(policy);
    ///     Ok(())
    /// }
    /// ```
    /// [Tenants](crate::ResourceServerBuilder::tenants) are forgotten, unless the policy was made from the same
    /// builder, and so has the same resolver.
    pub fn reload(&self, resource_server: ResourceServer) {
        self.gate.authenticator.reload(resource_server);
    }
}

/// What the [token cache](crate::TokenCachePolicy) of a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RememberedTokens {
    /// How many tokens.
    pub count: usize,
    /// What they take, the room for entries that are not there included; as
    /// [`max_bytes`](crate::TokenCachePolicy::max_bytes) counts.
    pub bytes: usize,
}

/// Whether the keys of one authorization server are at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyHealth {
    /// Its issuer.
    pub issuer: String,
    /// How its keys stand.
    pub status: KeyStatus,
}

impl<S, R: Clone> Layer<S> for AuthenticateLayer<R> {
    type Service = Authenticate<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate::new(inner, self.gate.clone())
    }
}

/// Puts an [`AuthenticateLayer`] together.
#[derive(Debug)]
#[must_use]
pub struct AuthenticateLayerBuilder {
    resource_server: ResourceServer,
    clock: Clock,
    client: HttpClient,
    audit: Audit,
    snapshot: KeySnapshot,
}

impl AuthenticateLayerBuilder {
    /// Also tells this sink of every decision and of everything that happens to the keys.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit.attach(sink);
        self
    }

    /// Fetches keys with this client, for its proxies, certificates or name resolution.
    ///
    /// Time and size limits are kept whatever the client. Redirects are the client's own, though an
    /// answer from another origin is not used: build it with
    /// [`redirect::Policy::none()`](reqwest::redirect::Policy::none).
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.client = HttpClient::given(client);
        self
    }

    /// Starts with these keys, until they are fetched: see [`KeySnapshot`]. They are for the authorization
    /// servers that they were fetched from, and for no others.
    pub fn key_snapshot(mut self, snapshot: KeySnapshot) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// Reads the time from this clock: for tests, with the feature `test-util`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The layer.
    pub fn build(self) -> AuthenticateLayer {
        let surroundings = Surroundings {
            clock: self.clock,
            client: self.client,
            audit: self.audit,
            snapshot: Arc::new(self.snapshot),
        };
        let authenticator = Arc::new(Authenticator::new(self.resource_server, surroundings));
        let gate = Gate {
            authenticator,
            mode: Mode::Required,
            policy: None,
            grace: None,
            respond: JsonRejection,
        };
        AuthenticateLayer { gate }
    }
}
