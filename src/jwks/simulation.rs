//! The key cache's invariants, under random interleavings of requests, clock steps and server
//! behaviours, on a virtual clock.
//!
//! The world here does what `cache` does around [`State`]: it carries out the plan, completes
//! fetches, and asks again for requests that wait. Names I1 to I12 are those of the list in
//! CONTRIBUTING.md.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    snapshot::Freshness,
    state::{Answer, KeyStatus, Outcome, Plan, State, Want},
};
use crate::{
    algorithm::Algorithm,
    authorization_server::AuthorizationServer,
    jwks_policy::JwksPolicy,
    test_util::SigningKey,
    time::{Moment, UnixTime},
    verify::KeySet,
};

const KEYS: usize = 4;
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Action {
    /// Time goes by, and timers fire.
    Advance(Duration),
    /// The process is stopped: both clocks go on, timers fire late.
    Pause(Duration),
    /// The machine is suspended: the wall clock alone goes on.
    Suspend(Duration),
    /// Somebody sets the wall clock.
    SetWall {
        forward: bool,
    },
    /// A token of this key.
    Request(usize),
    /// A token whose key id means nothing.
    Junk(u32),
    /// A bad signature under this key's id.
    BadSignature(usize),
    Publish(usize),
    Withdraw(usize),
    Server(Mode),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Answers after this long.
    Up(Duration),
    Failing {
        retry_after: Option<Duration>,
    },
    Hanging,
    /// Publishes an empty set.
    Empty,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let seconds = |max: u64| (0..max * 1_000).prop_map(Duration::from_millis);
    let mode = prop_oneof![
        4 => seconds(4).prop_map(Mode::Up),
        2 => prop::option::of(seconds(30)).prop_map(|retry_after| Mode::Failing { retry_after }),
        2 => Just(Mode::Hanging),
        1 => Just(Mode::Empty),
    ];
    let action = prop_oneof![
        6 => seconds(5).prop_map(Action::Advance),
        3 => seconds(100).prop_map(Action::Advance),
        1 => seconds(1_000).prop_map(Action::Advance),
        1 => seconds(20_000).prop_map(Action::Pause),
        1 => seconds(20_000).prop_map(Action::Suspend),
        1 => any::<bool>().prop_map(|forward| Action::SetWall { forward }),
        10 => (0..KEYS).prop_map(Action::Request),
        6 => any::<u32>().prop_map(Action::Junk),
        2 => (0..3_u32).prop_map(Action::Junk),
        2 => (0..KEYS).prop_map(Action::BadSignature),
        2 => (0..KEYS).prop_map(Action::Publish),
        2 => (0..KEYS).prop_map(Action::Withdraw),
        3 => mode.prop_map(Action::Server),
    ];
    prop::collection::vec(action, 1..120)
}

fn policies() -> impl Strategy<Value = JwksPolicy> {
    let ttl_cap = prop_oneof![Just(2_u64), Just(60), Just(3_600)];
    let stale_cap = prop_oneof![Just(0_u64), Just(4 * 3_600)];
    (ttl_cap, stale_cap, 1..4_u32).prop_map(|(ttl_cap, stale_cap, burst)| {
        JwksPolicy::default()
            .ttl_cap(Duration::from_secs(ttl_cap))
            .stale_cap(Duration::from_secs(stale_cap))
            .miss_burst(burst)
            .unknown_kids(8)
    })
}

fn kid(key: usize) -> String {
    format!("key-{key}")
}

fn server() -> AuthorizationServer {
    AuthorizationServer::with_issuer("https://id.example", "https://id.example/keys")
        .audience("api")
        .algorithms([Algorithm::EdDsa])
}

fn key_set(published: &[usize]) -> KeySet {
    static JWKS: OnceLock<Vec<serde_json::Value>> = OnceLock::new();
    let jwks = JWKS.get_or_init(|| {
        let keys = (0..KEYS).map(|key| SigningKey::generate(Algorithm::EdDsa).with_kid(kid(key)));
        keys.map(|key| key.jwk()).collect()
    });
    let keys: Vec<_> = published.iter().map(|&key| &jwks[key]).collect();
    let json = serde_json::json!({ "keys": keys }).to_string();
    KeySet::from_json(json.as_bytes(), &server()).unwrap()
}

struct Waiting {
    kid: String,
    failed_with: Option<u64>,
    arrived: Moment,
    until: Duration,
}

struct World {
    policy: JwksPolicy,
    now: Moment,
    state: State,
    mode: Mode,
    published: Vec<usize>,
    /// When the fetch under way ends, and what will have been answered.
    fetch: Option<(Duration, Option<Vec<usize>>, Option<Duration>)>,
    waiting: Vec<Waiting>,
    starts: Vec<Duration>,
    /// Those of them that were answered.
    answered_starts: Vec<Duration>,
    failed_starts: usize,
    clock_jumps: usize,
    changes_of_mode: usize,
    /// Keys that the server withdrew, and since when both that holds and it is reachable.
    withdrawn: BTreeMap<usize, Duration>,
    /// Keys that are published, and since when a request for them was refused although the
    /// server is reachable.
    refused_since: BTreeMap<usize, Duration>,
    /// No fetch was made yet since the process was stopped or a clock jumped, and one was due.
    overslept: bool,
    /// The fetch under way began before that.
    fetch_is_older: bool,
    /// The server's last answer was an empty set.
    empty_seen: bool,
    random: u64,
}

impl World {
    fn new(policy: JwksPolicy) -> Self {
        let now = Moment {
            monotonic: Duration::from_secs(1_000),
            wall: UnixTime::from_secs(2_000_000_000),
        };
        Self {
            state: State::new(now, policy.clone()),
            policy,
            now,
            mode: Mode::Up(Duration::ZERO),
            published: vec![0, 1],
            fetch: None,
            waiting: Vec::new(),
            starts: Vec::new(),
            answered_starts: Vec::new(),
            failed_starts: 0,
            clock_jumps: 0,
            changes_of_mode: 0,
            withdrawn: BTreeMap::new(),
            refused_since: BTreeMap::new(),
            overslept: false,
            fetch_is_older: false,
            empty_seen: false,
            random: 1,
        }
    }

    fn random(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn jump(&mut self, monotonic: Duration, wall: Duration) {
        self.now.monotonic += monotonic;
        self.now.wall = self.now.wall.saturating_add(wall);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Advance(by) => self.advance(*by),
            Action::Pause(by) => {
                self.jump(*by, *by);
                self.oversleep();
            }
            Action::Suspend(by) => {
                self.jump(Duration::ZERO, *by);
                self.oversleep();
                self.clock_jumps += 1;
            }
            Action::SetWall { forward } => {
                self.now.wall = if *forward {
                    self.now.wall.saturating_add(YEAR)
                } else {
                    UnixTime::from_secs(self.now.wall.as_secs().saturating_sub(YEAR.as_secs()))
                };
                self.oversleep();
                self.clock_jumps += 1;
            }
            Action::Request(key) => self.request(kid(*key), None),
            Action::Junk(number) => self.request(format!("junk-{number}"), None),
            Action::BadSignature(key) => {
                let held = self.state.usable(self.now);
                let generation = held
                    .as_ref()
                    .filter(|s| s.keys.contains(&kid(*key)))
                    .map(|s| s.generation);
                if generation.is_some() {
                    self.request(kid(*key), generation);
                }
            }
            Action::Publish(key) => {
                if !self.published.contains(key) {
                    self.published.push(*key);
                    self.withdrawn.remove(key);
                }
            }
            Action::Withdraw(key) => {
                if self.published.len() > 1 && self.published.contains(key) {
                    self.published.retain(|published| published != key);
                    self.withdrawn.insert(*key, self.now.monotonic);
                    self.refused_since.remove(key);
                }
            }
            Action::Server(mode) => {
                self.mode = *mode;
                self.changes_of_mode += 1;
                self.not_reachable_before(self.now.monotonic);
            }
        }
    }

    fn oversleep(&mut self) {
        self.overslept = true;
        self.fetch_is_older = true;
    }

    /// What was counted from the time that the server was reachable starts again.
    fn not_reachable_before(&mut self, at: Duration) {
        for since in self.withdrawn.values_mut() {
            *since = at.max(*since);
        }
        self.refused_since.clear();
    }

    /// Lets time go by, stopping wherever a timer fires.
    fn advance(&mut self, by: Duration) {
        let end = self.now.monotonic + by;
        loop {
            let wake = self.drive();
            self.overslept &= self.fetch.is_some() || self.empty_seen;
            let fetched = self.fetch.as_ref().map(|(at, ..)| *at);
            let given_up = self.waiting.iter().map(|waiting| waiting.until).min();
            let next = [wake, fetched, given_up].into_iter().flatten().min();
            let step = next
                .unwrap_or(end)
                .min(end)
                .saturating_sub(self.now.monotonic);
            self.jump(step, step);
            let is_over = next.is_none_or(|next| next > end);
            self.complete_fetch();
            self.waiting
                .retain(|waiting| waiting.until > self.now.monotonic);
            if is_over {
                return;
            }
        }
    }

    /// Carries out the plan; returns when to look at it again.
    fn drive(&mut self) -> Option<Duration> {
        match self.state.plan(self.now) {
            Plan::Rest => None,
            Plan::Sleep(duration) => {
                assert!(!duration.is_zero(), "the driver spins");
                Some(self.now.monotonic + duration)
            }
            Plan::Fetch { .. } => {
                assert!(self.fetch.is_none(), "I1: two fetches at once");
                self.starts.push(self.now.monotonic);
                self.fetch_is_older = false;
                let (takes, answer, retry_after) = match self.mode {
                    // What is withdrawn while the answer is on its way is in it.
                    Mode::Up(latency) => (latency, Some(self.published.clone()), None),
                    Mode::Failing { retry_after } => (Duration::ZERO, None, retry_after),
                    Mode::Hanging => (DEADLINE, None, None),
                    Mode::Empty => (Duration::ZERO, Some(Vec::new()), None),
                };
                self.fetch = Some((self.now.monotonic + takes, answer, retry_after));
                None
            }
        }
    }

    fn complete_fetch(&mut self) {
        let Some((_, answer, retry_after)) =
            self.fetch.take_if(|(at, ..)| *at <= self.now.monotonic)
        else {
            return;
        };
        // An empty set does not make up for having slept.
        self.overslept &= self.fetch_is_older || answer == Some(Vec::new());
        self.empty_seen = answer == Some(Vec::new()) || (self.empty_seen && answer.is_none());
        let before = self.state.snapshot().cloned();
        let random = self.random();
        let failed = answer.is_none();
        let outcome = match answer {
            None => Outcome::Failed { retry_after },
            Some(keys) => Outcome::Keys {
                keys: key_set(&keys),
                max_age: None,
                etag: None,
            },
        };
        let changes = self.state.complete(self.now, outcome, random);
        let after = self.state.snapshot().cloned();
        if failed || after.is_none() {
            self.failed_starts += 1;
        } else {
            self.answered_starts.extend(self.starts.last());
        }
        if failed {
            let same = match (&before, &after) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                (before, after) => before.is_none() && after.is_none(),
            };
            assert!(same, "I3: a failed fetch changed the keys");
            // The server asked to be left alone, so it is as good as unreachable.
            let left_alone = retry_after.unwrap_or_default().min(self.policy.backoff_max);
            self.not_reachable_before(self.now.monotonic + left_alone);
        } else if let (Some(before), Some(after)) = (&before, &after) {
            assert!(
                before.asked.monotonic <= after.asked.monotonic,
                "I8: an older answer overwrote a newer one"
            );
        }
        if let (None, Some(before), Some(after)) = (changes.keys, &before, &after) {
            assert!(
                before.keys.same_keys(&after.keys),
                "a change was not reported"
            );
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.ask(waiting);
        }
    }

    fn request(&mut self, kid: String, failed_with: Option<u64>) {
        // I2: whoever's key is at hand does not wait. A process that slept when it should have
        // refreshed does not know whether it is.
        if failed_with.is_none()
            && !self.overslept
            && let Some(held) = self.state.snapshot().cloned()
            && held.freshness(self.now) != Freshness::Dead
            && held.keys.contains(&kid)
        {
            let want = Want {
                kid: Some(&kid),
                failed_with: None,
                arrived: self.now,
            };
            assert!(
                matches!(self.state.ask(self.now, want), Answer::Use(_)),
                "I2: had to wait for a key at hand, {:?}",
                held.freshness(self.now)
            );
        }
        self.ask(Waiting {
            kid,
            failed_with,
            arrived: self.now,
            until: Duration::MAX,
        });
        // Whoever is told to wait asks again at once; then the driver wakes.
        for waiting in std::mem::take(&mut self.waiting) {
            self.ask(waiting);
        }
        self.drive();
        self.complete_fetch();
    }

    fn ask(&mut self, mut waiting: Waiting) {
        let want = Want {
            kid: Some(&waiting.kid),
            failed_with: waiting.failed_with,
            arrived: waiting.arrived,
        };
        let key = (0..KEYS).find(|&key| kid(key) == waiting.kid);
        match self.state.ask(self.now, want) {
            Answer::Use(snapshot) => {
                let latest = self.state.snapshot().expect("keys are held");
                assert!(
                    Arc::ptr_eq(latest, &snapshot),
                    "I4: keys were used that another set has replaced"
                );
                assert!(
                    snapshot.freshness(self.now) != Freshness::Dead,
                    "I5: dead keys were used"
                );
                if let Some(key) = key.filter(|_| snapshot.keys.contains(&waiting.kid)) {
                    self.accepted(key);
                }
            }
            Answer::Unknown => {
                if waiting.failed_with.is_none() {
                    assert!(
                        matches!(self.state.status(self.now), KeyStatus::Ready),
                        "I11: a key was called unknown while the server could not be asked"
                    );
                }
                if let Some(key) = key.filter(|_| waiting.failed_with.is_none()) {
                    self.refused(key);
                }
            }
            Answer::Unavailable(wait) => {
                assert!(
                    wait <= self.policy.backoff_max,
                    "I10: the next attempt is too far away"
                );
            }
            Answer::Wait(limit) => {
                waiting.until = waiting.until.min(self.now.monotonic + limit);
                self.waiting.push(waiting);
            }
        }
        assert!(self.state.remembered_kids() <= 8, "I9: kids pile up");
    }

    fn accepted(&mut self, key: usize) {
        self.refused_since.remove(&key);
        if let (Some(since), Mode::Up(_)) = (self.withdrawn.get(&key), self.mode) {
            let exposure = self.now.monotonic.saturating_sub(*since);
            // Where keys live about as long as a fetch may take, the fetch comes on top.
            let fetch = if self.policy.ttl_cap < 2 * DEADLINE {
                DEADLINE
            } else {
                Duration::ZERO
            };
            assert!(
                exposure <= self.policy.ttl_cap + DEADLINE + fetch,
                "I5: a withdrawn key was used for {exposure:?}"
            );
        }
    }

    fn refused(&mut self, key: usize) {
        if !self.published.contains(&key) || !matches!(self.mode, Mode::Up(_)) || self.overslept {
            return;
        }
        let since = *self.refused_since.entry(key).or_insert(self.now.monotonic);
        let refused_for = self.now.monotonic - since;
        assert!(
            refused_for <= self.policy.miss_interval + DEADLINE,
            "a published key was called unknown for {refused_for:?}"
        );
    }

    /// I1 and I12: fetches are bounded by time, whatever was requested, in every stretch of it.
    fn check_fetches(&self, began: Duration) {
        let elapsed = (self.now.monotonic - began).as_secs_f64();
        let jumps = self.clock_jumps as f64;
        let soft = 0.8 * 0.9 * self.policy.ttl_cap.as_secs_f64();
        for stretch in [1.0, 15.0, 100.0, 1_000.0, f64::INFINITY] {
            let stretch = elapsed.min(stretch);
            let misses = f64::from(self.policy.miss_burst)
                + stretch / self.policy.miss_interval.as_secs_f64();
            // An empty set is looked at twice.
            let regular = 2.0 * (1.0 + stretch / soft);
            let allowed = 1.0 + misses + regular + jumps + 2.0 * self.changes_of_mode as f64;
            let mut first = 0;
            for (last, start) in self.answered_starts.iter().enumerate() {
                while (*start - self.answered_starts[first]).as_secs_f64() > stretch {
                    first += 1;
                }
                let fetches = last + 1 - first;
                assert!(
                    fetches as f64 <= allowed,
                    "I1, I12: {fetches} fetches in {stretch} s, at most {allowed} are due"
                );
            }
        }
        let shortest_backoff = 0.1 * self.policy.backoff_min.as_secs_f64();
        assert!(
            self.failed_starts as f64 <= 1.0 + jumps + elapsed / shortest_backoff,
            "I1: {} failed fetches in {elapsed} s",
            self.failed_starts
        );
    }

    /// I10: once the server answers, keys are there within the longest backoff and one fetch.
    fn check_recovery(&mut self) {
        self.mode = Mode::Up(Duration::from_millis(100));
        self.request(kid(self.published[0]), None);
        self.advance(self.policy.backoff_max + DEADLINE + DEADLINE);
        self.request(kid(self.published[0]), None);
        self.advance(DEADLINE);
        let status = self.state.status(self.now);
        assert_eq!(status, KeyStatus::Ready, "I10");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_happens(policy in policies(), actions in actions()) {
        let mut world = World::new(policy);
        let began = world.now.monotonic;
        for action in &actions {
            world.act(action);
        }
        world.check_fetches(began);
        world.check_recovery();
    }
}

#[test]
fn a_flood_of_junk_is_bounded_by_time_alone() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.starts.len(), 1);
    for number in 0..100_000 {
        world.act(&Action::Junk(number));
    }
    assert_eq!(world.starts.len(), 3, "two at once");
    world.advance(Duration::from_secs(14));
    assert_eq!(world.starts.len(), 3);
    world.advance(Duration::from_secs(1));
    assert_eq!(
        world.starts.len(),
        4,
        "one more per interval, though nobody asked again"
    );
}

#[test]
fn a_quiet_day_does_not_save_up_for_a_flood() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    for number in 0..10 {
        world.act(&Action::Junk(number));
    }
    world.advance(Duration::from_secs(86_400));
    let before = world.starts.len();
    for number in 0..1_000 {
        world.act(&Action::Junk(1_000 + number));
    }
    assert_eq!(world.starts.len() - before, 2);
}

#[test]
fn junk_delays_the_sight_of_a_rotation_by_one_interval_at_most() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    for number in 0..10 {
        world.act(&Action::Junk(number));
    }
    world.act(&Action::Publish(3));
    world.advance(Duration::from_secs(15));
    let held = world.state.snapshot().expect("keys");
    assert!(
        held.keys.contains(&kid(3)),
        "seen without anybody asking for it"
    );
}

#[test]
fn an_idle_server_learns_of_a_withdrawn_key_in_time() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    world.act(&Action::Withdraw(0));
    world.advance(Duration::from_secs(3_600));
    let held = world.state.snapshot().expect("keys");
    assert!(!held.keys.contains(&kid(0)));
}

#[test]
fn a_process_that_slept_asks_before_it_uses_keys_past_their_life() {
    for sleep in [
        Action::Pause(Duration::from_secs(3_601)),
        Action::Suspend(Duration::from_secs(3_601)),
    ] {
        let mut world = World::new(JwksPolicy::default());
        world.request(kid(0), None);
        world.advance(Duration::from_secs(1));
        world.act(&sleep);
        let want = |arrived| Want {
            kid: Some("key-0"),
            failed_with: None,
            arrived,
        };
        assert!(
            matches!(world.state.ask(world.now, want(world.now)), Answer::Wait(_)),
            "{sleep:?}"
        );
        world.mode = Mode::Failing { retry_after: None };
        world.drive();
        world.complete_fetch();
        assert!(
            matches!(world.state.ask(world.now, want(world.now)), Answer::Use(_)),
            "the server cannot be reached, so they do after all: {sleep:?}"
        );
    }
}

#[test]
fn a_process_that_slept_through_a_backoff_asks_at_once() {
    let mut world = World::new(JwksPolicy::default().ttl_cap(Duration::from_secs(2)));
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    world.mode = Mode::Failing {
        retry_after: Some(Duration::from_secs(30)),
    };
    world.act(&Action::Junk(1));
    world.act(&Action::Pause(Duration::from_secs(4)));
    let before = world.starts.len();
    world.request(kid(0), None);
    assert_eq!(world.starts.len(), before + 1);
    let held = world.state.usable(world.now);
    assert!(held.is_some(), "and uses its keys if it is asked in vain");
}

#[test]
fn an_empty_set_is_believed_when_seen_twice() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    world.mode = Mode::Empty;
    world.act(&Action::Junk(1));
    assert!(world.state.snapshot().is_some(), "once may be a mishap");
    world.advance(Duration::from_secs(29));
    assert!(world.state.snapshot().is_some());
    world.advance(Duration::from_secs(2));
    assert!(world.state.snapshot().is_none(), "twice is an answer");
    assert!(matches!(
        world.state.status(world.now),
        KeyStatus::Down { .. }
    ));
}

#[test]
fn an_empty_set_after_an_outage_is_no_reason_to_refuse_or_to_wait() {
    let mut world = World::new(JwksPolicy::default().ttl_cap(Duration::from_secs(600)));
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    world.mode = Mode::Failing { retry_after: None };
    world.advance(Duration::from_secs(700));
    let want = |arrived| Want {
        kid: Some("key-0"),
        failed_with: None,
        arrived,
    };
    assert!(matches!(
        world.state.ask(world.now, want(world.now)),
        Answer::Use(_)
    ));
    world.mode = Mode::Empty;
    let before = world.starts.len();
    while world.starts.len() == before {
        world.advance(Duration::from_secs(1));
    }
    assert!(matches!(
        world.state.ask(world.now, want(world.now)),
        Answer::Use(_)
    ));
    world.advance(Duration::from_secs(31));
    assert!(
        matches!(
            world.state.ask(world.now, want(world.now)),
            Answer::Unavailable(_)
        ),
        "and once believed, nobody waits for a fetch that is not due"
    );
}

#[test]
fn stale_keys_are_used_as_long_as_the_cap_says_and_no_longer() {
    for (stale_cap, used_until) in [(0, 3_600), (4 * 3_600, 4 * 3_600)] {
        let mut world = World::new(JwksPolicy::default().stale_cap(Duration::from_secs(stale_cap)));
        world.request(kid(0), None);
        world.advance(Duration::from_secs(1));
        let asked = world.starts[0];
        world.mode = Mode::Failing { retry_after: None };
        let mut accepted = |at: u64| {
            let by = asked + Duration::from_secs(at) - world.now.monotonic;
            world.advance(by);
            world.state.usable(world.now).is_some()
        };
        assert!(accepted(used_until - 1), "stale cap {stale_cap}");
        assert!(!accepted(used_until), "stale cap {stale_cap}");
    }
}

#[test]
fn while_a_fetch_waits_for_its_turn_its_keys_are_used_unless_the_process_slept() {
    let mut world = World::new(JwksPolicy::default());
    world.request(kid(0), None);
    world.advance(Duration::from_secs(1));
    let second = Duration::from_secs(1);
    world.jump(Duration::from_secs(3_500), Duration::from_secs(3_500));
    assert!(matches!(world.state.plan(world.now), Plan::Fetch { .. }));
    for waited in 0..200 {
        world.jump(second, second);
        assert!(!world.state.is_neglected(world.now), "{waited} s");
        assert!(world.state.usable(world.now).is_some(), "{waited} s");
        world.state.begin(world.now);
    }
    world.jump(second, Duration::from_secs(60));
    assert!(world.state.usable(world.now).is_none(), "suspended");
    world.state.begin(world.now);
    assert!(
        world.state.usable(world.now).is_none(),
        "and not asked since"
    );
}

#[test]
fn retry_after_is_honoured_up_to_the_longest_backoff() {
    for (asked_for, waited) in [(30, 30), (3_600, 60)] {
        let mut world = World::new(JwksPolicy::default());
        world.mode = Mode::Failing {
            retry_after: Some(Duration::from_secs(asked_for)),
        };
        world.request(kid(0), None);
        world.advance(Duration::from_secs(waited - 1));
        assert_eq!(world.starts.len(), 1, "asked again too soon");
        world.advance(Duration::from_secs(2));
        assert_eq!(world.starts.len(), 2, "not asked again in time");
    }
}
