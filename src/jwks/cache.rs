//! The keys of one authorization server, and the task that fetches them.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, SemaphorePermit, watch},
};

use super::{
    fetch::{Discovered, Failed, Fetch, HttpClient, Reply, WATCH_INTERVAL},
    snapshot::{Etag, Freshness, Snapshot, View},
    state::{Answer, Changes, KeyStatus, Outcome, Plan, State, Want},
};
use crate::{
    audit::{Audit, Event, FetchFailure, KeyFetch, KeysChanged, Outage, Recovery},
    authorization_server::AuthorizationServer,
    key_snapshot::{KeySnapshot, SavedKeys},
    key_source::KeySource,
    lock::lock,
    time::{Clock, Moment},
    verify::KeySet,
};

/// How often a fetch that waits for its turn shows that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// The keys of one authorization server.
///
/// One task, the driver, makes all fetches, so that there is never more than one, and no client
/// that hangs up can cancel it. It starts with the first request and ends with the cache. If its
/// runtime was shut down, the next request starts another; if its runtime stands still, the first
/// request that waited in vain does.
pub(crate) struct KeyCache(Arc<Shared>);

struct Shared {
    server: Arc<AuthorizationServer>,
    clock: Clock,
    client: HttpClient,
    audit: Audit,
    state: Mutex<State>,
    discovered: Mutex<Discovered>,
    /// Who reads files.
    reader: Arc<Semaphore>,
    /// What `state` shows, for readers that take no lock.
    view: ArcSwapOption<View>,
    driver_runs: AtomicBool,
    /// Counts the drivers. One that is not the latest has no say.
    driver: AtomicU64,
    /// Tells the driver to look at its plan again.
    kick: ArcSwap<Notify>,
    /// Counts completed fetches.
    completed: watch::Sender<u64>,
    /// Its authorization server is not trusted any more, or under other keys.
    is_retired: AtomicBool,
    /// Nobody is expected to ask any more.
    is_abandoned: AtomicBool,
}

/// Keys that are held on to without a lock or a count.
pub(crate) struct AtHand(Guard<Option<Arc<View>>>);

impl AtHand {
    /// Always there, since one is only made of a view that is.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.0.as_ref().map(|view| &view.snapshot)
    }
}

/// What waiting for keys came to.
pub(crate) enum Obtained {
    Keys(Arc<Snapshot>),
    Unknown,
    Unavailable(Duration),
}

impl KeyCache {
    pub(crate) fn new(
        server: Arc<AuthorizationServer>,
        clock: Clock,
        client: HttpClient,
        audit: Audit,
        snapshot: &KeySnapshot,
    ) -> Self {
        let mut policy = server.jwks.clone();
        if matches!(&server.keys, Ok(source) if source.is_watched()) {
            // Also looked at again that often while it cannot be read.
            let backoff_max = policy.backoff_max.min(WATCH_INTERVAL);
            policy = policy.ttl_min(WATCH_INTERVAL).backoff_max(backoff_max);
        }
        let now = clock.now();
        let mut state = State::new(now, policy);
        if let Some((keys, fetched_at)) = snapshot.keys_for(&server)
            && fetched_at <= now.wall
        {
            state.inherit(now, keys, now.wall.saturating_since(fetched_at));
        }
        Self(Arc::new(Shared {
            server,
            clock,
            client,
            audit,
            view: ArcSwapOption::new(state.view().map(Arc::new)),
            state: Mutex::new(state),
            discovered: Mutex::default(),
            reader: Arc::new(Semaphore::new(1)),
            driver_runs: AtomicBool::new(false),
            driver: AtomicU64::new(0),
            kick: ArcSwap::default(),
            completed: watch::Sender::new(0),
            is_retired: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
        }))
    }

    /// The keys, if they can be used as they are. Takes no lock and never waits.
    pub(crate) fn at_hand(&self, now: Moment) -> Option<AtHand> {
        let view = self.0.view.load();
        let seen = view.as_ref()?;
        let fresh = now.is_before(seen.snapshot.fresh_until);
        if fresh || seen.snapshot.freshness(now) == Freshness::Fresh {
            return Some(AtHand(view));
        }
        self.0.ensure_driver();
        if !seen.has_grace(now) {
            // A refresh is due and not under way: the machine may have been suspended.
            self.0.kick.load().notify_one();
        }
        seen.is_usable(now).then_some(AtHand(view))
    }

    /// The keys that its server published last, whether or not they may still be used; `None` if it
    /// withdrew all of them, or never published any. Takes no lock and never waits.
    pub(crate) fn published(&self, now: Moment) -> Option<AtHand> {
        self.at_hand(now).or_else(|| {
            let view = self.0.view.load();
            view.is_some().then_some(AtHand(view))
        })
    }

    /// The keys that it has, whether or not they may still be used.
    pub(crate) fn save(&self) -> Option<SavedKeys> {
        let view = self.0.view.load_full()?;
        let now = self.0.clock.now();
        let fetched_at = now.wall.saturating_sub(view.snapshot.age(now));
        SavedKeys::new(&self.0.server, &view.snapshot.keys, fetched_at)
    }

    /// Says that its authorization server is not trusted any more, to whoever waits for changes.
    pub(crate) fn retire(&self) {
        self.0.is_retired.store(true, Ordering::Release);
        self.abandon();
        self.0.completed.send_modify(|count| *count += 1);
    }

    /// Says that nobody is expected to ask any more. Keys are not fetched from now on, unless somebody
    /// still watches them.
    pub(crate) fn abandon(&self) {
        self.0.is_abandoned.store(true, Ordering::Release);
        self.0.kick.load().notify_one();
    }

    /// Somebody is expected to ask again, after all.
    pub(crate) fn resume(&self) {
        self.0.is_abandoned.store(false, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.0.is_retired.load(Ordering::Acquire)
    }

    /// What to do for a request whose key is not simply [at hand](Self::at_hand).
    pub(crate) fn ask(&self, now: Moment, want: Want<'_>) -> Answer {
        let answer = {
            let mut state = self.0.lock();
            let answer = state.ask(now, want);
            if matches!(answer, Answer::Wait(_)) && state.is_neglected(now) {
                self.0.dismiss_driver(&mut state);
            }
            answer
        };
        if !self.0.ensure_driver() {
            return match answer {
                Answer::Wait(_) => Answer::Unavailable(Duration::ZERO),
                answer => answer,
            };
        }
        if !matches!(answer, Answer::Use(_)) {
            self.0.kick.load().notify_one();
        }
        answer
    }

    /// Changes with each fetch that is complete, and when the cache is retired.
    pub(crate) fn fetches(&self) -> watch::Receiver<u64> {
        self.0.completed.subscribe()
    }

    /// Waits for keys, at most `limit`.
    pub(crate) async fn obtain(&self, want: Want<'_>, limit: Duration) -> Obtained {
        let mut completed = self.0.completed.subscribe();
        let waiting = async {
            loop {
                match self.ask(self.0.clock.now(), want) {
                    Answer::Use(snapshot) => return Obtained::Keys(snapshot),
                    Answer::Unknown => return Obtained::Unknown,
                    Answer::Unavailable(wait) => return Obtained::Unavailable(wait),
                    Answer::Wait(_) => {}
                }
                if completed.changed().await.is_err() {
                    return Obtained::Unavailable(Duration::ZERO);
                }
            }
        };
        tokio::time::timeout(limit, waiting)
            .await
            .unwrap_or(Obtained::Unavailable(Duration::ZERO))
    }

    /// Gets keys if there are none yet, and waits for them as long as a request would.
    pub(crate) async fn prefetch(&self) {
        let now = self.0.clock.now();
        let want = Want {
            kid: None,
            failed_with: None,
            arrived: now,
        };
        if let Answer::Wait(limit) = self.ask(now, want) {
            self.obtain(want, limit).await;
        }
    }

    /// Whether keys are at hand. Starts to get them if nobody has asked before.
    pub(crate) fn status(&self) -> KeyStatus {
        let status = {
            let mut state = self.0.lock();
            state.want();
            state.status(self.0.clock.now())
        };
        if self.0.ensure_driver() && matches!(status, KeyStatus::Down { .. }) {
            self.0.kick.load().notify_one();
        }
        status
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyCache")
            .field(&self.0.server.issuer)
            .finish()
    }
}

/// Ends the driver, which sleeps without keeping the cache alive.
impl Drop for Shared {
    fn drop(&mut self) {
        self.kick.load().notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Starts the driver if it does not run. `false` outside of a Tokio runtime.
    fn ensure_driver(self: &Arc<Self>) -> bool {
        if self.driver_runs.load(Ordering::Acquire) {
            return true;
        }
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        if !self.driver_runs.swap(true, Ordering::AcqRel) {
            let number = self.driver.fetch_add(1, Ordering::AcqRel) + 1;
            let kick = Arc::<Notify>::default();
            self.kick.store(Arc::clone(&kick));
            let shared = Arc::downgrade(self);
            runtime.spawn(drive(Driver { shared, number }, kick));
        }
        true
    }

    /// Takes the driver's say: its runtime is not polled any more, so it neither does its work nor
    /// ends.
    fn dismiss_driver(&self, state: &mut State) {
        state.abort();
        self.driver.fetch_add(1, Ordering::AcqRel);
        self.driver_runs.store(false, Ordering::Release);
        self.kick.load().notify_one();
    }

    fn is_driver(&self, number: u64) -> bool {
        self.driver.load(Ordering::Acquire) == number
    }

    async fn fetch(&self, driver: u64, etag: Option<Etag>, is_retry: bool) {
        let server = &*self.server;
        let Ok(source) = &server.keys else { return };
        let Some(_turn) = self.turn(driver, source, is_retry).await else {
            return;
        };
        let began = self.clock.now();
        let fetch = Fetch {
            client: &self.client,
            server,
            discovered: &self.discovered,
            reader: &self.reader,
            etag,
            now: began.wall,
        };
        let reply = fetch.run(source).await;
        let (outcome, failure) = match reply {
            Ok(Reply::NotModified { max_age }) => (Outcome::NotModified { max_age }, None),
            Err(Failed {
                failure,
                retry_after,
            }) => (Outcome::Failed { retry_after }, Some(failure)),
            Ok(Reply::Body {
                body,
                max_age,
                etag,
            }) => match KeySet::from_json(&body, server) {
                Err(_) => (
                    Outcome::Failed { retry_after: None },
                    Some(FetchFailure::NotAKeySet),
                ),
                Ok(keys) => {
                    let failure = keys.is_empty().then_some(FetchFailure::NoUsableKey);
                    (
                        Outcome::Keys {
                            keys,
                            max_age,
                            etag,
                        },
                        failure,
                    )
                }
            },
        };
        let left_out = match &outcome {
            Outcome::Keys { keys, .. } => keys.left_out(),
            _ => 0,
        };
        let now = self.clock.now();
        let (changes, snapshot) = {
            let mut state = self.lock();
            if !self.is_driver(driver) {
                return;
            }
            let changes = state.complete(now, outcome, fastrand::f64());
            self.publish(&state);
            (changes, state.snapshot().cloned())
        };
        self.completed.send_modify(|count| *count += 1);
        // Not while sinks are told, which may take their time.
        let metadata_failure = lock(&self.discovered).gone_without;
        if self.audit.is_on() {
            self.audit.record(&Event::KeyFetch(KeyFetch {
                issuer: server.issuer(),
                source: &source.to_string(),
                failure,
                metadata_failure,
                left_out,
                took: now.monotonic.saturating_sub(began.monotonic),
            }));
            self.record(server.issuer(), &changes, failure, snapshot.as_deref());
        }
    }

    /// Waits until others have fetched who came before. `None` if there is nothing to wait for any more.
    async fn turn(
        &self,
        driver: u64,
        source: &KeySource,
        is_retry: bool,
    ) -> Option<Option<SemaphorePermit<'_>>> {
        if !source.is_remote() {
            return Some(None);
        }
        let mut turn = pin!(self.client.turn(is_retry));
        loop {
            let mut permit = None;
            let waited = async { permit = Some(turn.as_mut().await.ok()) };
            sleep_or(&self.clock, BEAT, waited).await;
            let mut state = self.lock();
            if !self.is_driver(driver) {
                return None;
            }
            if !self.is_needed() {
                // Or whoever needs them just after this would wait for a fetch that is not made.
                state.abort();
                return None;
            }
            state.begin(self.clock.now());
            self.publish(&state);
            if permit.is_some() {
                return permit;
            }
        }
    }

    /// Whether anybody is expected to ask.
    fn is_needed(&self) -> bool {
        !self.is_abandoned.load(Ordering::Acquire) || self.completed.receiver_count() > 0
    }

    /// Shows the state to those who take no lock.
    fn publish(&self, state: &State) {
        self.view.store(state.view().map(Arc::new));
    }

    fn record(
        &self,
        issuer: &str,
        changes: &Changes,
        failure: Option<FetchFailure>,
        snapshot: Option<&Snapshot>,
    ) {
        if let Some(failures) = changes.outage_ended {
            self.audit
                .record(&Event::Recovery(Recovery { issuer, failures }));
        }
        if let Some((added, removed)) = &changes.keys {
            self.audit.record(&Event::KeysChanged(KeysChanged {
                issuer,
                generation: snapshot.map_or(0, |snapshot| snapshot.generation),
                keys: snapshot.map_or(0, |snapshot| snapshot.keys.len()),
                added,
                removed,
            }));
        }
        if let (true, Some(failure)) = (changes.outage_began, failure) {
            self.audit.record(&Event::Outage(Outage {
                issuer,
                failure,
                keys_held: snapshot.is_some(),
            }));
        }
    }
}

/// Takes note when the driver ends, however that comes about.
struct Driver {
    shared: Weak<Shared>,
    number: u64,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        {
            let mut state = shared.lock();
            if !shared.is_driver(self.number) {
                return;
            }
            if std::thread::panicking() {
                // What panicked once may do so again, so it is not tried again at once.
                let outcome = Outcome::Failed { retry_after: None };
                state.complete(shared.clock.now(), outcome, 1.0);
                shared.publish(&state);
            } else {
                state.abort();
            }
            shared.driver_runs.store(false, Ordering::Release);
        }
        shared.completed.send_modify(|count| *count += 1);
    }
}

/// Does what the state plans, until the cache is gone or has another driver.
async fn drive(driver: Driver, kick: Arc<Notify>) {
    while let Some(shared) = driver.shared.upgrade() {
        let plan = {
            let mut state = shared.lock();
            if !shared.is_needed() || !shared.is_driver(driver.number) {
                return;
            }
            let plan = state.plan(shared.clock.now());
            shared.publish(&state);
            plan
        };
        match plan {
            // In a box, so that whoever has nothing to fetch has no room for it.
            Plan::Fetch { etag, is_retry } => {
                Box::pin(shared.fetch(driver.number, etag, is_retry)).await;
            }
            Plan::Rest => {
                drop(shared);
                kick.notified().await;
            }
            Plan::Sleep(duration) => {
                let clock = shared.clock.clone();
                drop(shared);
                sleep_or(&clock, duration, kick.notified()).await;
            }
        }
    }
}

/// Waits for `duration` on this clock, or for `event`, whichever is first.
pub(crate) async fn sleep_or(clock: &Clock, duration: Duration, event: impl Future<Output = ()>) {
    let Some(fake) = clock.as_fake() else {
        // Elapsed or not: either way it is time to go on.
        let _ = tokio::time::timeout(duration, event).await;
        return;
    };
    let mut sleep = fake.sleep(duration);
    let mut event = pin!(event);
    std::future::poll_fn(|cx| {
        if event.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{algorithm::Algorithm, test_util::SigningKey};

    /// A lock that is taken twice by one thread never comes back.
    #[test]
    fn keys_at_hand_are_read_without_the_lock() {
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api")
            .algorithms([Algorithm::EdDsa]);
        let jwks = json!({ "keys": [SigningKey::generate(Algorithm::EdDsa).jwk()] });
        let keys = KeySet::from_json(jwks.to_string().as_bytes(), &server).unwrap();
        let cache = KeyCache::new(
            Arc::new(server),
            Clock::system(),
            HttpClient::default(),
            Audit::default(),
            &KeySnapshot::default(),
        );
        let now = cache.0.clock.now();
        let mut state = cache.0.lock();
        state.want();
        assert!(matches!(state.plan(now), Plan::Fetch { .. }));
        let outcome = Outcome::Keys {
            keys,
            max_age: None,
            etag: None,
        };
        state.complete(now, outcome, 0.5);
        cache.0.publish(&state);
        assert!(cache.at_hand(now).is_some(), "while the lock is held");
        drop(state);
    }

    /// The limit of a fetch is for the server, and not for those who fetch before.
    #[tokio::test]
    async fn waiting_for_a_turn_is_no_failure_of_the_server() {
        let time = crate::test_util::FakeClock::new();
        let client = HttpClient::with_slots(1, 0);
        let server = AuthorizationServer::with_issuer("http://127.0.0.1:9", "http://127.0.0.1:9");
        let cache = KeyCache::new(
            Arc::new(server.audience("api").dangerous_allow_plain_http()),
            time.clock(),
            client.clone(),
            Audit::default(),
            &KeySnapshot::default(),
        );
        let mut fetches = cache.fetches();
        let turn = client.turn(false).await;
        let ask = |cache: &KeyCache| {
            let now = cache.0.clock.now();
            let want = Want {
                kid: None,
                failed_with: None,
                arrived: now,
            };
            cache.ask(now, want)
        };
        assert!(matches!(ask(&cache), Answer::Wait(_)));
        for _ in 0..100 {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            time.advance(Duration::from_millis(500));
            assert!(matches!(ask(&cache), Answer::Wait(_)));
        }
        assert_eq!(cache.0.driver.load(Ordering::Acquire), 1, "one task");
        assert_eq!(*fetches.borrow_and_update(), 0, "and nothing failed");
        drop(turn);
        let fetched = tokio::time::timeout(Duration::from_secs(60), fetches.changed()).await;
        fetched.expect("its turn comes").unwrap();
        assert!(matches!(ask(&cache), Answer::Unavailable(_)));
    }

    /// Or whoever asks again at that moment would wait for what nobody does.
    #[tokio::test]
    async fn a_fetch_that_is_given_up_before_its_turn_is_not_under_way() {
        let server = AuthorizationServer::with_issuer("http://127.0.0.1:9", "http://127.0.0.1:9");
        let cache = KeyCache::new(
            Arc::new(server.audience("api").dangerous_allow_plain_http()),
            Clock::system(),
            HttpClient::default(),
            Audit::default(),
            &KeySnapshot::default(),
        );
        let now = cache.0.clock.now();
        cache.0.lock().want();
        let plan = cache.0.lock().plan(now);
        assert!(matches!(plan, Plan::Fetch { .. }));
        cache.abandon();
        cache.0.fetch(0, None, false).await;
        cache.resume();
        let plan = cache.0.lock().plan(now);
        assert!(matches!(plan, Plan::Fetch { .. }));
    }
}
