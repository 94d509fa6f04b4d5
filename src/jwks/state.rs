//! When to fetch keys, whom to make wait, and what to refuse: a state machine of values.
//!
//! It reads no clock, sends nothing and never waits; it is told the time and what happened, and
//! answers what to do. One for each authorization server, so that none affects another.
//!
//! | key set | key id in it | key id not in it |
//! |---|---|---|
//! | fresh | use it | miss |
//! | soft, near the end of its life | use it; a refresh is under way | miss |
//! | stale, past its life | use it while the server cannot be reached | miss |
//! | none, or dead | wait for the one fetch; while backing off, refuse at once | the same |
//!
//! A miss joins a fetch under way, or starts one if the bucket has a token. It never waits for the
//! bucket: without a token it is refused at once, and the next refresh that the bucket allows is
//! scheduled, whether or not anybody asks again. So junk ids delay the sight of a rotation by one
//! refill interval at most.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::snapshot::{Etag, Freshness, Grace, Snapshot, View};
use crate::{jwks_policy::JwksPolicy, time::Moment, verify::KeySet};

/// No authorization server's key ids are longer.
const MAX_KID_BYTES: usize = 256;

/// Timers that are this late are not taken for a process that was asleep.
const SLACK: Duration = Duration::from_secs(1);

/// Durations here are points on the monotonic clock unless they say otherwise.
pub(crate) struct State {
    policy: JwksPolicy,
    snapshot: Option<Arc<Snapshot>>,
    fetch: Fetch,
    /// Fetches that failed since the last that did not.
    failures: u32,
    /// A refresh that a miss asked for.
    refresh: Option<Refresh>,
    bucket: Bucket,
    /// Key ids that were asked about in vain, and until when that counts.
    settled: HashMap<String, Duration>,
    /// The server publishes no usable key, while we still hold some.
    probation: Option<Probation>,
    /// When keys were taken over from another process.
    inherited: Option<Moment>,
    /// Whether anybody has asked for keys yet.
    wanted: bool,
    /// Since when somebody waits for a fetch that was not begun.
    neglected_since: Option<Duration>,
    /// Counts the changes of the keys.
    generation: u64,
}

#[derive(Clone, Copy)]
enum Fetch {
    Idle,
    InFlight {
        started: Moment,
        /// The keys could still be used when it started.
        in_time: bool,
    },
    Backoff {
        since: Moment,
        lasts: Duration,
        lasts_without_keys: Duration,
    },
}

/// An empty set was seen once.
#[derive(Clone, Copy)]
struct Probation {
    since: Moment,
    /// The keys could still be used when the server was asked.
    in_time: bool,
}

#[derive(Clone, Copy)]
struct Refresh {
    at: Duration,
    /// Whether the bucket was charged for it.
    is_paid: bool,
}

/// What a request needs.
#[derive(Clone, Copy)]
pub(crate) struct Want<'k> {
    pub(crate) kid: Option<&'k str>,
    /// The signature did not fit under a key of this generation.
    pub(crate) failed_with: Option<u64>,
    pub(crate) arrived: Moment,
}

pub(crate) enum Answer {
    Use(Arc<Snapshot>),
    /// Ask again when a fetch has completed; give up after this long.
    Wait(Duration),
    /// The authorization server has no such key, as far as we may ask.
    Unknown,
    /// Nothing can be said; the next attempt is this far away.
    Unavailable(Duration),
}

/// What the driver is to do.
pub(crate) enum Plan {
    /// Fetch now, and report with [`State::complete`] or [`State::abort`].
    Fetch {
        etag: Option<Etag>,
        /// The last one failed.
        is_retry: bool,
    },
    Sleep(Duration),
    /// Nothing, until somebody asks.
    Rest,
}

/// How a fetch ended.
pub(crate) enum Outcome {
    /// `max_age` as the server says, less the time that the answer spent in caches.
    Keys {
        keys: KeySet,
        max_age: Option<Duration>,
        etag: Option<Etag>,
    },
    NotModified {
        max_age: Option<Duration>,
    },
    Failed {
        retry_after: Option<Duration>,
    },
}

/// What changed by it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Key ids that are new, and that are gone.
    pub(crate) keys: Option<(Vec<String>, Vec<String>)>,
    pub(crate) outage_began: bool,
    /// The number of failures that it ended.
    pub(crate) outage_ended: Option<u32>,
}

/// Whether an authorization server's keys are at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyStatus {
    /// Keys are held, and within their life.
    Ready,
    /// Keys are held, but they could not be refreshed. Tokens are accepted for now.
    Degraded {
        /// How long ago the keys were fetched.
        age: Duration,
        /// Whether they are past their life, so that the authorization server may have withdrawn
        /// some of them without our knowing.
        stale: bool,
    },
    /// No keys are held. Requests with tokens of this authorization server get 503.
    Down {
        /// How long until the next attempt; zero if it is due or under way.
        retry_in: Duration,
    },
}

impl State {
    pub(crate) fn new(now: Moment, policy: JwksPolicy) -> Self {
        Self {
            bucket: Bucket {
                tokens: policy.miss_burst,
                counted: now.monotonic,
            },
            policy,
            snapshot: None,
            fetch: Fetch::Idle,
            failures: 0,
            refresh: None,
            settled: HashMap::new(),
            probation: None,
            inherited: None,
            wanted: false,
            neglected_since: None,
            generation: 0,
        }
    }

    /// Takes over keys that another process had, as if they had been past their life ever since: they
    /// are used if their server cannot be reached, and not longer than if this process had them.
    pub(crate) fn inherit(&mut self, now: Moment, keys: KeySet, age: Duration) {
        if self.snapshot.is_some() || keys.is_empty() || age >= self.policy.stale_cap {
            return;
        }
        self.generation += 1;
        self.inherited = Some(now);
        self.snapshot = Some(Arc::new(Snapshot {
            keys: Arc::new(keys),
            generation: self.generation,
            asked: now,
            born: now,
            inherited: age,
            soft: Duration::ZERO,
            life: Duration::ZERO,
            hard: self.policy.stale_cap.saturating_sub(age),
            fresh_until: 0,
            etag: None,
        }));
    }

    #[cfg(all(test, feature = "test-util"))]
    pub(crate) fn remembered_kids(&self) -> usize {
        self.settled.len()
    }

    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// What to do for a request whose key is not simply at hand.
    pub(crate) fn ask(&mut self, now: Moment, want: Want<'_>) -> Answer {
        self.wanted = true;
        let answer = self.answer(now, want);
        if let (Answer::Wait(_), Fetch::Idle | Fetch::Backoff { .. }) = (&answer, self.fetch) {
            self.neglected_since.get_or_insert(now.monotonic);
        }
        answer
    }

    fn answer(&mut self, now: Moment, want: Want<'_>) -> Answer {
        let Some(snapshot) = self.usable(now) else {
            return self.without_keys(now);
        };
        let Some(kid) = want.kid else {
            return Answer::Use(snapshot);
        };
        let is_known_failure = want.failed_with == Some(snapshot.generation);
        if snapshot.keys.contains(kid) && !is_known_failure {
            return Answer::Use(snapshot);
        }
        if want.failed_with.is_some() && !is_known_failure {
            // The key has gone since the signature failed under it.
            return Answer::Unknown;
        }
        self.miss(now, want, kid, &snapshot)
    }

    fn miss(&mut self, now: Moment, want: Want<'_>, kid: &str, snapshot: &Snapshot) -> Answer {
        if kid.len() > MAX_KID_BYTES {
            return Answer::Unknown;
        }
        if self.refresh.is_some_and(|refresh| refresh.is_paid) {
            // On its way; whoever asked for it asks again when told to wait.
            return Answer::Wait(self.policy.miss_wait);
        }
        let settled_until = self.settled.get(kid).copied().unwrap_or_default();
        let is_settled = now.monotonic < settled_until;
        match self.fetch {
            Fetch::InFlight { .. } => return Answer::Wait(self.policy.miss_wait),
            // A signature that was looked at once is bad, whether or not the server answers.
            Fetch::Backoff { .. } if is_settled && want.failed_with.is_some() => {
                return Answer::Unknown;
            }
            // The last fetch failed, so we don't know what the server has.
            Fetch::Backoff { .. } => {
                let wait = self.backoff_left(now);
                return if wait.is_zero() {
                    Answer::Wait(self.policy.miss_wait)
                } else {
                    Answer::Unavailable(wait)
                };
            }
            Fetch::Idle => {}
        }
        // An empty set that is not yet believed says nothing.
        if let Some(left) = self.confirmation_left(now) {
            return Answer::Unavailable(left);
        }
        // The server was asked after the request came, and had no such key.
        if snapshot.asked.monotonic > want.arrived.monotonic {
            return Answer::Unknown;
        }
        if is_settled || !self.bucket.take(now, &self.policy) {
            if settled_until < Duration::MAX {
                let allowed = self.bucket.next_token(now, &self.policy);
                self.schedule(allowed.max(settled_until));
            }
            return Answer::Unknown;
        }
        // A key may be published any moment; a signature that fails under a key that we hold is
        // worth one look for each generation of the set.
        let until = match want.failed_with {
            None => now.monotonic + self.policy.miss_interval,
            Some(_) => Duration::MAX,
        };
        self.settle(now, kid, until);
        self.refresh = Some(Refresh {
            at: now.monotonic,
            is_paid: true,
        });
        Answer::Wait(self.policy.miss_wait)
    }

    fn settle(&mut self, now: Moment, kid: &str, until: Duration) {
        if self.settled.len() >= self.policy.unknown_kids {
            self.settled.retain(|_, until| now.monotonic < *until);
        }
        if self.settled.len() < self.policy.unknown_kids {
            self.settled.insert(kid.to_owned(), until);
        }
    }

    fn schedule(&mut self, at: Duration) {
        if self.refresh.is_none_or(|refresh| at < refresh.at) {
            self.refresh = Some(Refresh { at, is_paid: false });
        }
    }

    fn without_keys(&self, now: Moment) -> Answer {
        match self.attempt_in(now) {
            Duration::ZERO => Answer::Wait(self.policy.keys_wait),
            wait => Answer::Unavailable(wait),
        }
    }

    /// How long until the next attempt, while there are no keys; zero if it is due or under way.
    fn attempt_in(&self, now: Moment) -> Duration {
        match self.fetch {
            Fetch::InFlight { .. } => Duration::ZERO,
            Fetch::Idle => self.confirmation_left(now).unwrap_or_default(),
            Fetch::Backoff { .. } => self.backoff_left(now),
        }
    }

    /// The key set, if it may be used without further ado.
    pub(crate) fn usable(&self, now: Moment) -> Option<Arc<Snapshot>> {
        self.view()
            .filter(|view| view.is_usable(now))
            .map(|view| view.snapshot)
    }

    /// What to show to those who only read.
    pub(crate) fn view(&self) -> Option<View> {
        let snapshot = Arc::clone(self.snapshot.as_ref()?);
        let grace = match self.fetch {
            Fetch::InFlight {
                started,
                in_time: true,
            } => Some(Grace {
                since: started,
                lasts: self.policy.fetch_deadline + SLACK,
            }),
            Fetch::Backoff { since, lasts, .. } => Some(Grace {
                since,
                lasts: lasts + SLACK,
            }),
            Fetch::Idle => match (self.inherited, self.probation) {
                // Until their server has been asked.
                (Some(since), _) => Some(Grace {
                    since,
                    lasts: self.policy.fetch_deadline + SLACK,
                }),
                // Until the empty set is looked at again, nothing has changed.
                (None, Some(p)) if p.in_time => Some(Grace {
                    since: p.since,
                    lasts: self.confirmation_gap() + SLACK,
                }),
                (None, _) => None,
            },
            Fetch::InFlight { .. } => None,
        };
        Some(View { snapshot, grace })
    }

    /// How long until the next attempt after a failure; zero if it is due, or none failed.
    fn backoff_left(&self, now: Moment) -> Duration {
        match self.fetch {
            Fetch::Backoff {
                since,
                lasts,
                lasts_without_keys,
            } => {
                let holds_keys = self
                    .snapshot
                    .as_ref()
                    .is_some_and(|snapshot| snapshot.freshness(now) != Freshness::Dead);
                let lasts = if holds_keys {
                    lasts
                } else {
                    lasts_without_keys
                };
                lasts.saturating_sub(now.age_of(since))
            }
            Fetch::Idle | Fetch::InFlight { .. } => Duration::ZERO,
        }
    }

    /// Says that keys are wanted, without needing them now.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// What to do next. [`Plan::Fetch`] is taken as begun.
    pub(crate) fn plan(&mut self, now: Moment) -> Plan {
        // Dead once is dead, also if a clock is set back.
        self.snapshot
            .take_if(|snapshot| snapshot.freshness(now) == Freshness::Dead);
        self.neglected_since = None;
        let (due_in, is_for_miss) = match self.fetch {
            Fetch::InFlight { .. } => return Plan::Rest,
            Fetch::Backoff { .. } => (self.backoff_left(now), false),
            Fetch::Idle => {
                let due_in = match (&self.snapshot, self.confirmation_left(now)) {
                    (_, Some(left)) => left,
                    (Some(snapshot), None) => snapshot.soft.saturating_sub(snapshot.age(now)),
                    (None, None) if self.wanted => Duration::ZERO,
                    (None, None) => return Plan::Rest,
                };
                match self.refresh {
                    Some(refresh) if refresh.at.saturating_sub(now.monotonic) < due_in => {
                        (refresh.at.saturating_sub(now.monotonic), !refresh.is_paid)
                    }
                    _ => (due_in, false),
                }
            }
        };
        if !due_in.is_zero() {
            return Plan::Sleep(due_in);
        }
        if is_for_miss && !self.bucket.take(now, &self.policy) {
            let at = self.bucket.next_token(now, &self.policy);
            self.refresh = Some(Refresh { at, is_paid: false });
            return Plan::Sleep(at.saturating_sub(now.monotonic));
        }
        self.refresh = None;
        self.begin(now);
        Plan::Fetch {
            etag: self
                .snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.etag.clone()),
            is_retry: self.failures > 0,
        }
    }

    /// The fetch begins now. To be said again, often, as long as it has to wait for others.
    pub(crate) fn begin(&mut self, now: Moment) {
        // As long as the keys could be used just now, this is no late awakening.
        let in_time = self.view().is_some_and(|view| view.is_usable(now));
        self.inherited = None;
        self.fetch = Fetch::InFlight {
            started: now,
            in_time,
        };
    }

    /// Whether nobody carries out the plan: somebody waits for a fetch that was not begun, or that
    /// goes on past its deadline.
    pub(crate) fn is_neglected(&self, now: Moment) -> bool {
        let (since, patience) = match (self.fetch, self.neglected_since) {
            (Fetch::InFlight { started, .. }, _) => {
                (started.monotonic, self.policy.fetch_deadline + SLACK)
            }
            (Fetch::Idle | Fetch::Backoff { .. }, Some(since)) => (since, SLACK),
            (Fetch::Idle | Fetch::Backoff { .. }, None) => return false,
        };
        now.monotonic.saturating_sub(since) > patience
    }

    /// The fetch will not be completed. It is made up for at once.
    pub(crate) fn abort(&mut self) {
        if let Fetch::InFlight { .. } = self.fetch {
            self.fetch = Fetch::Idle;
            self.refresh = Some(Refresh {
                at: Duration::ZERO,
                is_paid: true,
            });
        }
    }

    /// The fetch ended. `random` is a number from 0 up to 1.
    pub(crate) fn complete(&mut self, now: Moment, outcome: Outcome, random: f64) -> Changes {
        let Fetch::InFlight { started, in_time } = self.fetch else {
            return Changes::default();
        };
        self.fetch = Fetch::Idle;
        match outcome {
            Outcome::Failed { retry_after } => self.failed(now, retry_after, random),
            Outcome::Keys { keys, .. } if keys.is_empty() => self.emptied(now, in_time, random),
            Outcome::Keys {
                mut keys,
                max_age,
                etag,
            } => {
                let before = self.snapshot.take();
                let same = before
                    .as_ref()
                    .filter(|before| before.keys.same_keys(&keys));
                let changed = match same {
                    Some(_) => None,
                    None => Some(difference(before.as_deref(), &keys)),
                };
                let keys = match same {
                    Some(before) => Arc::clone(&before.keys),
                    None => {
                        if let Some(before) = &before {
                            keys.take_over(&before.keys);
                        }
                        Arc::new(keys)
                    }
                };
                if changed.is_some() {
                    self.generation += 1;
                    // What the new keys tell need not be asked again; what failed under the old
                    // ones may pass now.
                    self.settled
                        .retain(|kid, until| *until != Duration::MAX && !keys.contains(kid));
                }
                self.apply((started, now), keys, max_age, etag, random);
                self.succeeded(changed)
            }
            Outcome::NotModified { max_age } => match self.snapshot.take() {
                Some(snapshot) => {
                    let keys = Arc::clone(&snapshot.keys);
                    // What it does not say again still holds (RFC 9111 §4.3.4).
                    let max_age = max_age.or(Some(snapshot.life));
                    self.apply((started, now), keys, max_age, snapshot.etag.clone(), random);
                    self.succeeded(None)
                }
                None => self.failed(now, None, random),
            },
        }
    }

    fn apply(
        &mut self,
        (asked, answered): (Moment, Moment),
        keys: Arc<KeySet>,
        max_age: Option<Duration>,
        etag: Option<Etag>,
        random: f64,
    ) {
        let cap = self.policy.ttl_cap;
        let life = max_age
            .unwrap_or(cap)
            .clamp(self.policy.ttl_min.min(cap), cap);
        // An answer that was read late, since the process was stopped, took no longer than this.
        let took = answered.age_of(asked).min(self.policy.fetch_deadline);
        let born = asked.after(took.saturating_sub(life / 2));
        let ahead = f64::from(self.policy.refresh_ahead_percent) / 100.0;
        // Servers that started together should not refresh together.
        let soft = life.mul_f64(ahead * (0.9 + 0.2 * random));
        self.snapshot = Some(Arc::new(Snapshot {
            keys,
            generation: self.generation,
            asked,
            born,
            inherited: Duration::ZERO,
            soft,
            life,
            hard: life.max(self.policy.stale_cap),
            fresh_until: born.after(soft).packed(),
            etag,
        }));
    }

    fn succeeded(&mut self, keys: Option<(Vec<String>, Vec<String>)>) -> Changes {
        self.probation = None;
        let failures = std::mem::take(&mut self.failures);
        Changes {
            keys,
            outage_began: false,
            outage_ended: (failures > 0).then_some(failures),
        }
    }

    fn failed(&mut self, now: Moment, retry_after: Option<Duration>, random: f64) -> Changes {
        let policy = &self.policy;
        let doubled = policy.backoff_min * 2_u32.saturating_pow(self.failures.min(16));
        // Full jitter, but for a tenth: never at once.
        let jitter = 0.1 + 0.9 * random;
        let asked_for = retry_after.unwrap_or_default();
        let wait = |longest: Duration, longest_asked_for: Duration| {
            let ours = doubled.min(longest).mul_f64(jitter);
            ours.max(asked_for.min(longest_asked_for))
        };
        // Not longer than keys live, so that a key withdrawn in between is not used longer.
        let longest = policy.backoff_max.min(policy.ttl_cap);
        self.fetch = Fetch::Backoff {
            since: now,
            lasts: wait(longest, longest),
            lasts_without_keys: wait(
                longest.min(policy.backoff_max_without_keys),
                policy.backoff_max,
            ),
        };
        self.failures = self.failures.saturating_add(1);
        Changes {
            outage_began: self.failures == 1,
            ..Changes::default()
        }
    }

    /// A set without a usable key: a mishap, or all keys withdrawn. Believed when seen twice.
    fn emptied(&mut self, now: Moment, in_time: bool, random: f64) -> Changes {
        if self.snapshot.is_none() {
            return self.failed(now, None, random);
        }
        match self.confirmation_left(now) {
            None => {
                self.probation = Some(Probation {
                    since: now,
                    in_time,
                });
                Changes::default()
            }
            Some(left) if !left.is_zero() => Changes::default(),
            Some(_) => {
                self.probation = None;
                let before = self.snapshot.take();
                Changes {
                    keys: Some(difference(before.as_deref(), &KeySet::default())),
                    ..self.failed(now, None, random)
                }
            }
        }
    }

    /// How long until an empty set is looked at again, if the last one was.
    fn confirmation_left(&self, now: Moment) -> Option<Duration> {
        let age = now.age_of(self.probation?.since);
        Some(self.confirmation_gap().saturating_sub(age))
    }

    /// A tenth of the keys' life, and half a minute at most.
    fn confirmation_gap(&self) -> Duration {
        let life = self.snapshot.as_ref().map_or(Duration::ZERO, |s| s.life);
        (life / 10).min(Duration::from_secs(30))
    }

    pub(crate) fn status(&self, now: Moment) -> KeyStatus {
        match self.usable(now) {
            None => KeyStatus::Down {
                retry_in: self.attempt_in(now),
            },
            Some(snapshot)
                if self.failures == 0
                    && self.probation.is_none()
                    && snapshot.freshness(now) != Freshness::Stale =>
            {
                KeyStatus::Ready
            }
            Some(snapshot) => KeyStatus::Degraded {
                age: snapshot.age(now),
                stale: snapshot.freshness(now) == Freshness::Stale,
            },
        }
    }
}

/// The key ids of `after` that are new, and those of `before` that are gone. A key that was
/// replaced under its id is both.
fn difference(before: Option<&Snapshot>, after: &KeySet) -> (Vec<String>, Vec<String>) {
    let none = KeySet::default();
    let before = before.map_or(&none, |snapshot| &*snapshot.keys);
    let changed = |of: &KeySet, against: &KeySet| {
        of.kids()
            .filter(|kid| !of.same_key(against, kid))
            .map(str::to_owned)
            .collect()
    };
    (changed(after, before), changed(before, after))
}

/// How many refreshes misses may cause.
struct Bucket {
    tokens: u32,
    /// Up to when refills are counted in `tokens`.
    counted: Duration,
}

impl Bucket {
    fn refill(&mut self, now: Moment, policy: &JwksPolicy) {
        while self.tokens < policy.miss_burst
            && now.monotonic.saturating_sub(self.counted) >= policy.miss_interval
        {
            self.tokens += 1;
            self.counted += policy.miss_interval;
        }
        // What does not fit is not saved up.
        if self.tokens >= policy.miss_burst {
            self.counted = now.monotonic;
        }
    }

    fn take(&mut self, now: Moment, policy: &JwksPolicy) -> bool {
        self.refill(now, policy);
        let has_one = self.tokens > 0;
        self.tokens -= u32::from(has_one);
        has_one
    }

    /// When there is a token, or was.
    fn next_token(&mut self, now: Moment, policy: &JwksPolicy) -> Duration {
        self.refill(now, policy);
        if self.tokens > 0 {
            now.monotonic
        } else {
            self.counted + policy.miss_interval
        }
    }
}
