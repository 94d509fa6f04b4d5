//! The tenants that are known at the moment, and how others become known.
//!
//! A tenant is what the resolver says it is, for a while: fresh, it is used as it is; after
//! `trust_time`, it is used, and the resolver is asked again; after twice that, requests wait for the
//! answer. What is unknown is remembered by a hash of it, since whoever sends requests chooses it.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    audit::{Event, TenantProblem, TenantUnresolved},
    authorization_server::AuthorizationServer,
    known_until::KnownUntil,
    lock::lock,
    single_flight::{Flight, Place, SingleFlight},
    surroundings::Surroundings,
    tenant::Tenancy,
    time::Moment,
    trusted::Trusted,
};

/// No tenant's issuer is longer.
const MAX_ISSUER_BYTES: usize = 512;

/// So many issuers may wait for the resolver at once; of those that are not known, half as many, so that
/// whoever makes up issuers keeps nobody from being asked about who is known.
const MAX_WAITING: usize = 2_048;

/// How long after a failure the resolver is asked again, for a tenant that is known from before.
const RETRY: Duration = Duration::from_secs(5);

/// How long after a failure requests of such a tenant do not wait for what it says. It is asked in that
/// time, also if it takes as long as it may to fail again.
const FAILING: Duration = Duration::from_secs(90);

pub(crate) struct Tenants {
    tenancy: Tenancy,
    surroundings: Surroundings,
    known: Cache<Arc<str>, Arc<Tenant>>,
    /// Issuers that are no tenant's.
    unknown: KnownUntil,
    /// What is being resolved.
    resolving: SingleFlight<Settled>,
    /// Of issuers that are known, and of others.
    turns: [Semaphore; 2],
    is_tidied: AtomicBool,
    /// The leeway of all of them. Held while a tenant is put in place of another, or forgotten.
    changing: Mutex<Duration>,
    /// Others have taken their place, or none.
    is_retired: AtomicBool,
}

struct Tenant {
    trusted: Arc<Trusted>,
    /// When the resolver was asked.
    resolved: Moment,
    /// Since the resolver failed, nobody waits for it until then, [packed](Moment::packed).
    failing_until: AtomicU64,
}

/// What resolving came to.
#[derive(Clone)]
pub(crate) enum Outcome {
    Known(Arc<Trusted>),
    Unknown,
    Unavailable,
}

/// How a question to the resolver ended.
#[derive(Clone)]
enum Settled {
    As(Outcome),
    /// The issuer was forgotten meanwhile: the answer is of no use.
    Outdated,
}

/// What is known of an issuer without asking anybody.
pub(crate) enum Lookup {
    Known(Arc<Trusted>),
    Unknown,
    /// Ask, with [`Tenants::resolve`].
    Ask,
}

impl Tenants {
    pub(crate) fn new(tenancy: Tenancy, leeway: Duration, surroundings: Surroundings) -> Arc<Self> {
        let policy = &tenancy.policy;
        let known = Cache::builder()
            .max_capacity(policy.max_tenants)
            .time_to_idle(policy.idle_time)
            // A tenant that is new has to be let in, whatever was used before.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(|_, tenant: Arc<Tenant>, cause| match cause {
                RemovalCause::Expired | RemovalCause::Size => tenant.trusted.forget(),
                RemovalCause::Explicit => tenant.trusted.give_way(None),
                // Whoever replaces it says what becomes of it.
                RemovalCause::Replaced => {}
            });
        Arc::new(Self {
            known: known.build(),
            unknown: KnownUntil::new(policy.max_unknown, policy.unknown_time),
            resolving: SingleFlight::new(),
            turns: [0, 1].map(|_| Semaphore::new(policy.max_resolving)),
            is_tidied: AtomicBool::new(false),
            changing: Mutex::new(leeway),
            is_retired: AtomicBool::new(false),
            tenancy,
            surroundings,
        })
    }

    /// Whether these are the tenants of such a policy, but for the leeway.
    pub(crate) fn is_for(&self, tenancy: &Tenancy) -> bool {
        self.tenancy.is_same(tenancy)
    }

    /// From now on their tokens have this leeway.
    pub(crate) fn set_leeway(&self, leeway: Duration) {
        let mut changing = lock(&self.changing);
        if *changing == leeway {
            return;
        }
        *changing = leeway;
        for (issuer, tenant) in &self.known {
            let before = &tenant.trusted;
            let server = (*before.server).clone();
            let trusted = Trusted::after(
                Some(before),
                server,
                Some(&issuer),
                leeway,
                &self.surroundings,
            );
            self.remember(&issuer, &trusted, tenant.resolved);
            before.give_way(Some(&trusted));
        }
    }

    /// Takes no time but that of a look at a map.
    pub(crate) fn look_up(self: &Arc<Self>, now: Moment, issuer: &str) -> Lookup {
        if issuer.len() > MAX_ISSUER_BYTES {
            return Lookup::Unknown;
        }
        let Some(tenant) = self.known.get(issuer) else {
            return if now.monotonic < self.unknown.of(issuer) {
                Lookup::Unknown
            } else {
                Lookup::Ask
            };
        };
        let policy = &self.tenancy.policy;
        let relied_upon = (2 * policy.trust_time).min(policy.stale_cap.max(policy.trust_time));
        if tenant.trusted.is_current(now) {
            Lookup::Known(Arc::clone(&tenant.trusted))
        } else if now.age_of(tenant.resolved) < relied_upon
            || now.is_before(tenant.failing_until.load(Ordering::Acquire))
        {
            self.ask_later(issuer);
            Lookup::Known(Arc::clone(&tenant.trusted))
        } else {
            Lookup::Ask
        }
    }

    /// Asks the resolver, together with everybody else who asks for the same issuer. If it cannot be told
    /// in time, what was said before counts. Whoever is in use has its turn among those that are known,
    /// also if it was forgotten for lack of room.
    pub(crate) async fn resolve(self: &Arc<Self>, issuer: &str, in_use: bool) -> Outcome {
        let resolved = async {
            loop {
                let mut settled = self.start(issuer, in_use)?;
                let settled = settled.wait_for(Option::is_some).await.ok()?.clone();
                if let Settled::As(outcome) = settled? {
                    return Some(outcome);
                }
            }
        };
        match tokio::time::timeout(self.tenancy.policy.deadline, resolved).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => self.said_before(issuer),
        }
    }

    /// Asks the resolver about whoever is in use, without waiting for what it says.
    pub(crate) fn ask_later(self: &Arc<Self>, issuer: &str) {
        let _ = self.start(issuer, true);
    }

    /// What the resolver said before, if that may still be relied upon.
    fn said_before(&self, issuer: &str) -> Outcome {
        let now = self.surroundings.clock.now();
        let stale_cap = self.tenancy.policy.stale_cap;
        match self.known.get(issuer) {
            Some(tenant) if now.age_of(tenant.resolved) < stale_cap => {
                Outcome::Known(Arc::clone(&tenant.trusted))
            }
            _ => Outcome::Unavailable,
        }
    }

    /// Forgets what is known of an issuer.
    pub(crate) fn forget(&self, issuer: &str) {
        let _changing = lock(&self.changing);
        // Its removal retires it.
        self.known.invalidate(issuer);
        self.unknown.remove(issuer);
        // What is being resolved was asked before, and does not count.
        self.resolving.forget(issuer);
    }

    /// Forgets those of whose issuers this is true.
    pub(crate) fn forget_if(&self, is_it: impl Fn(&str) -> bool) {
        for (issuer, _) in &self.known {
            if is_it(&issuer) {
                self.forget(&issuer);
            }
        }
    }

    /// Forgets everything, now and from now on.
    pub(crate) fn retire(&self) {
        let _changing = lock(&self.changing);
        self.is_retired.store(true, Ordering::Release);
        for (_, tenant) in &self.known {
            tenant.trusted.give_way(None);
        }
    }

    /// How many tenants are remembered.
    pub(crate) fn count(&self) -> u64 {
        self.known.run_pending_tasks();
        self.known.entry_count()
    }

    /// Starts to resolve an issuer, unless somebody did. `None` if there are too many, or outside of a
    /// runtime.
    fn start(self: &Arc<Self>, issuer: &str, in_use: bool) -> Option<Flight<Settled>> {
        let tenants = Arc::clone(self);
        let is_known = in_use || self.known.contains_key(issuer);
        let strangers = MAX_WAITING / 2;
        let most = if is_known { MAX_WAITING } else { strangers };
        let ask = |place: Arc<Place<Settled>>| async move { tenants.ask(&place, is_known).await };
        self.resolving.join(issuer, most, ask)
    }

    async fn ask(self: &Arc<Self>, place: &Place<Settled>, is_known: bool) -> Settled {
        let issuer = &**place.about();
        let (policy, clock) = (&self.tenancy.policy, &self.surroundings.clock);
        let turn = async {
            let [known, others] = &self.turns;
            let _turn = if is_known { known } else { others }.acquire().await;
            let asked = clock.now();
            (asked, self.tenancy.resolver.resolve(issuer).await)
        };
        let answer = tokio::time::timeout(policy.deadline, caught(turn)).await;
        let now = clock.now();
        let (asked, answer) = match answer {
            Ok(Some((asked, answer))) => (asked, answer.map_err(|_| TenantProblem::Unavailable)),
            Ok(None) => (now, Err(TenantProblem::Panicked)),
            Err(_) => (now, Err(TenantProblem::TimedOut)),
        };
        let answer = answer.and_then(|server| checked(server, issuer));
        // Audit sinks are told without a lock: they may do anything.
        if let Err(problem) = &answer {
            self.surroundings
                .audit
                .record(&Event::TenantUnresolved(TenantUnresolved {
                    unverified_issuer: issuer,
                    problem: problem.clone(),
                }));
        }
        let changing = lock(&self.changing);
        if !place.is_taken() {
            return Settled::Outdated;
        }
        let is_retired = self.is_retired.load(Ordering::Acquire);
        let before = self.known.get(issuer);
        let outcome = match answer {
            Ok(Some(server)) => {
                let known = before.as_ref().map(|tenant| &tenant.trusted);
                let trusted = Trusted::after(
                    known,
                    server,
                    Some(place.about()),
                    *changing,
                    &self.surroundings,
                );
                if is_retired {
                    // For those alone who came before.
                    trusted.give_way(None);
                } else {
                    self.remember(place.about(), &trusted, asked);
                    if let Some(before) = &before {
                        before.trusted.give_way(Some(&trusted));
                    }
                }
                drop(changing);
                let known = before.as_ref().map(|tenant| &tenant.trusted);
                trusted.announce(known, &self.surroundings.audit);
                self.see_to_tidiness();
                Outcome::Known(trusted)
            }
            Ok(None) => {
                self.known.invalidate(issuer);
                let until = now.monotonic.saturating_add(policy.unknown_time);
                self.unknown.insert(issuer, until);
                drop(changing);
                if let Some(before) = &before {
                    before.trusted.announce_end(&self.surroundings.audit);
                }
                Outcome::Unknown
            }
            Err(_) => {
                let outcome = self.said_before(issuer);
                if let (Outcome::Known(trusted), Some(before), false) =
                    (&outcome, &before, is_retired)
                {
                    let left = policy.stale_cap.saturating_sub(now.age_of(before.resolved));
                    let retry = RETRY.min(policy.trust_time);
                    let failing = FAILING.min(left);
                    let failing_until = now.after(failing).packed();
                    before.failing_until.store(failing_until, Ordering::Release);
                    trusted.prolong(now.after(retry.min(left)));
                }
                outcome
            }
        };
        Settled::As(outcome)
    }

    /// To be called while changing.
    fn remember(&self, issuer: &Arc<str>, trusted: &Arc<Trusted>, resolved: Moment) {
        let until = resolved.after(self.tenancy.policy.trust_time);
        trusted.set_current_until(until);
        let tenant = Tenant {
            trusted: Arc::clone(trusted),
            resolved,
            failing_until: AtomicU64::new(0),
        };
        self.known.insert(Arc::clone(issuer), Arc::new(tenant));
        // It may have been forgotten for lack of room just before, as what it was until now.
        let is_there = self.known.get(&**issuer);
        if is_there.is_some_and(|tenant| Arc::ptr_eq(&tenant.trusted, trusted)) {
            trusted.set_current_until(until);
            trusted.keys.resume();
        }
    }

    fn see_to_tidiness(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current()
            && !self.is_tidied.swap(true, Ordering::AcqRel)
        {
            runtime.spawn(tidy(Tidier(Arc::downgrade(self))));
        }
    }
}

/// Whether what the resolver answered can be used for this issuer.
fn checked(
    server: Option<AuthorizationServer>,
    issuer: &str,
) -> Result<Option<AuthorizationServer>, TenantProblem> {
    let Some(server) = server else {
        return Ok(None);
    };
    if !server.is_of(issuer) {
        return Err(TenantProblem::OtherIssuer);
    }
    match server.check() {
        Ok(()) => Ok(Some(server)),
        Err(mistake) => Err(TenantProblem::Invalid(mistake)),
    }
}

/// Ends as the future does; with `None` if it panics.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// Takes note when tidying ends, however that comes about.
struct Tidier(Weak<Tenants>);

impl Drop for Tidier {
    fn drop(&mut self) {
        if let Some(tenants) = self.0.upgrade() {
            tenants.is_tidied.store(false, Ordering::Release);
        }
    }
}

/// Lets go of what was not used for long, also if nobody asks for anything.
async fn tidy(tidier: Tidier) {
    while let Some(tenants) = tidier.0.upgrade() {
        if tenants.count() == 0 {
            // The next tenant brings the next of us,
            drop(tidier);
            // unless it came just now, and found us still here.
            if tenants.count() > 0 {
                tenants.see_to_tidiness();
            }
            return;
        }
        let pause = tenants.tenancy.policy.idle_time / 10;
        drop(tenants);
        tokio::time::sleep(pause).await;
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenants({})", self.known.entry_count())
    }
}
