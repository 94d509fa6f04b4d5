//! Asks one authorization server about tokens: each once at a time, and not while it does not answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    audit::{Event, FetchFailure, TokenIntrospection},
    authorization_server::AuthorizationServer,
    introspection::Introspection,
    jwks::{Failed, read_body, retry_after},
    known_until::KnownUntil,
    single_flight::{Flight, Place, SingleFlight},
    surroundings::Surroundings,
    time::Moment,
};

/// The largest answer that is read; claims of tokens are not larger.
const MAX_ANSWER: usize = 32 * 1_024;

/// So many tokens may be asked about, or wait for it, at once.
const MAX_WAITING: usize = 4_096;

/// Of how many tokens it is remembered that they are not good, or get no answer.
const MAX_REMEMBERED: u64 = 10_000;

/// For how long nobody is asked after a failure, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub(crate) struct Introspector {
    server: Arc<AuthorizationServer>,
    surroundings: Surroundings,
    under_way: SingleFlight<Outcome>,
    turns: Semaphore,
    /// Tokens that are not good.
    inactive: KnownUntil,
    /// Tokens that get no answer.
    unanswered: KnownUntil,
    /// Nobody is asked before, in milliseconds of the monotonic clock.
    paused_until: AtomicU64,
}

/// What the authorization server says of a token.
#[derive(Clone)]
pub(crate) enum Outcome {
    /// These claims, and when they were asked for.
    Active(Arc<Map<String, Value>>, Moment),
    Inactive,
    /// Nothing; the next attempt is this far away.
    Unavailable(Duration),
}

impl Introspector {
    /// `None` if there is nowhere to ask.
    pub(crate) fn new(
        server: &Arc<AuthorizationServer>,
        surroundings: &Surroundings,
    ) -> Option<Arc<Self>> {
        let policy = server.introspection.as_ref()?;
        Some(Arc::new(Self {
            turns: Semaphore::new(policy.max_requests),
            server: Arc::clone(server),
            surroundings: surroundings.clone(),
            under_way: SingleFlight::new(),
            inactive: KnownUntil::new(MAX_REMEMBERED, policy.inactive_time),
            unanswered: KnownUntil::new(MAX_REMEMBERED, PAUSE.1),
            paused_until: AtomicU64::new(0),
        }))
    }

    /// Asks about a token, together with everybody else who asks about the same.
    pub(crate) async fn ask(self: &Arc<Self>, token: &str) -> Outcome {
        let now = self.surroundings.clock.now().monotonic;
        if now < self.inactive.of(token) {
            return Outcome::Inactive;
        }
        let paused_until = Duration::from_millis(self.paused_until.load(Ordering::Acquire));
        let until = self.unanswered.of(token).max(paused_until);
        if now < until {
            return Outcome::Unavailable(until.saturating_sub(now));
        }
        let (Some(mut outcome), Some(policy)) = (self.start(token), self.policy()) else {
            return Outcome::Unavailable(Duration::ZERO);
        };
        let answer = async {
            match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            }
        };
        let answer = tokio::time::timeout(policy.deadline, answer).await;
        let answer = answer.ok().flatten();
        answer.unwrap_or(Outcome::Unavailable(Duration::ZERO))
    }

    fn policy(&self) -> Option<&Introspection> {
        self.server.introspection.as_ref()
    }

    /// Starts to ask, unless somebody did.
    fn start(self: &Arc<Self>, token: &str) -> Option<Flight<Outcome>> {
        let introspector = Arc::clone(self);
        let exchange =
            |place: Arc<Place<Outcome>>| async move { introspector.exchange(place.about()).await };
        self.under_way.join(token, MAX_WAITING, exchange)
    }

    async fn exchange(&self, token: &str) -> Outcome {
        let Some(policy) = self.policy() else {
            return Outcome::Unavailable(Duration::ZERO);
        };
        let Ok(endpoint) = &policy.endpoint else {
            return Outcome::Unavailable(Duration::ZERO);
        };
        let began = self.surroundings.clock.now();
        let Ok(_turn) = tokio::time::timeout(policy.deadline, self.turns.acquire()).await else {
            // Says nothing of the authorization server.
            return Outcome::Unavailable(Duration::ZERO);
        };
        let asked = self.surroundings.clock.now();
        let answer = self.post(policy, endpoint, token);
        let answer = tokio::time::timeout(policy.deadline, answer)
            .await
            .unwrap_or_else(|_| Err(FetchFailure::Timeout.into()));
        let now = self.surroundings.clock.now().monotonic;
        let (outcome, failure) = match answer {
            Ok(Some(claims)) => (Outcome::Active(Arc::new(claims), asked), None),
            Ok(None) => {
                let until = now.saturating_add(policy.inactive_time);
                self.inactive.insert(token, until);
                (Outcome::Inactive, None)
            }
            Err(Failed {
                failure,
                retry_after,
            }) => {
                let pause = retry_after.unwrap_or_default().clamp(PAUSE.0, PAUSE.1);
                let until = now.saturating_add(pause);
                if is_about_all(failure) {
                    let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
                    self.paused_until.fetch_max(until, Ordering::AcqRel);
                } else {
                    self.unanswered.insert(token, until);
                }
                (Outcome::Unavailable(pause), Some(failure))
            }
        };
        let audit = &self.surroundings.audit;
        if audit.is_on() {
            audit.record(&Event::TokenIntrospection(TokenIntrospection {
                issuer: self.server.issuer(),
                endpoint,
                failure,
                active: matches!(outcome, Outcome::Active(..)),
                took: now.saturating_sub(began.monotonic),
            }));
        }
        outcome
    }

    /// The claims of a token that is active; `None` if it is not.
    async fn post(
        &self,
        policy: &Introspection,
        endpoint: &Url,
        token: &str,
    ) -> Result<Option<Map<String, Value>>, Failed> {
        let client = &self.surroundings.client;
        let client = client.client_for(endpoint).ok_or(FetchFailure::Client)?;
        let now = self.surroundings.clock.now().wall;
        let nonce = format!("{:032x}", fastrand::u128(..));
        let (form, authorization) = policy
            .client
            .request(token, endpoint, now.as_secs(), &nonce)
            .ok_or(FetchFailure::Client)?;
        let mut request = client
            .post(endpoint.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(authorization) = authorization {
            let mut value =
                HeaderValue::try_from(authorization).map_err(|_| FetchFailure::Client)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.send().await.map_err(|_| FetchFailure::Connection)?;
        if response.url() != endpoint {
            return Err(FetchFailure::OtherOrigin.into());
        }
        if response.status() != StatusCode::OK {
            return Err(Failed {
                failure: FetchFailure::Status(response.status().as_u16()),
                retry_after: retry_after(response.headers(), now),
            });
        }
        let body = read_body(response, MAX_ANSWER).await?;
        let mut claims: Map<String, Value> =
            serde_json::from_slice(&body).map_err(|_| FetchFailure::NotAnIntrospection)?;
        match claims.remove("active") {
            Some(Value::Bool(true)) => Ok(Some(claims)),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(FetchFailure::NotAnIntrospection.into()),
        }
    }
}

/// Whether a failure is likely to be that of every token, and not of one that was made to cause it.
const fn is_about_all(failure: FetchFailure) -> bool {
    matches!(
        failure,
        FetchFailure::Client
            | FetchFailure::Timeout
            | FetchFailure::Connection
            | FetchFailure::Status(401 | 429 | 500..)
    )
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Introspector")
            .field(&self.server.issuer)
            .finish()
    }
}
