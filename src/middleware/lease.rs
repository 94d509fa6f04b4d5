//! Until when what a request opened may stay open.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::authenticator::{Authenticator, Basis, Witness};
use crate::{
    access_token::AccessToken,
    jwks::{AtHand, KeyCache, sleep_or},
    rejection::{Rejection, RejectionKind},
    tenants::{Lookup, Outcome, Tenants},
    time::{Moment, UnixTime},
    trusted::Trusted,
};

/// Shared by both directions of a request that was let in.
pub(crate) struct Lease {
    authenticator: Arc<Authenticator>,
    basis: Basis,
    /// Of the keys among which its own was found last.
    generation: AtomicU64,
    until: UnixTime,
    /// Told, once, of what is cut.
    witness: Option<Arc<Witness>>,
    is_witnessed: AtomicBool,
    /// What the client had yet to send was refused for this.
    request_cut: OnceLock<RejectionKind>,
}

/// Whether an authorization server is still trusted, as far as is known without asking anybody.
enum Trust<'l> {
    Known(bool),
    /// These are to be asked about this one.
    Ask(&'l str, Arc<Tenants>),
}

/// The clocks are looked at this often, whatever they said before: a machine that was suspended, or
/// whose clock was set, has timers that come late.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How long the end of an answer may come after its data, which came late.
const LINGER: Duration = Duration::from_secs(5);

impl Lease {
    /// Until the token expires, leeway and `grace` included, or its key is withdrawn.
    pub(crate) fn new(
        authenticator: Arc<Authenticator>,
        token: &AccessToken,
        basis: Basis,
        grace: Duration,
        witness: Option<Arc<Witness>>,
    ) -> Self {
        let leeway = basis.trusted.leeway;
        Self {
            until: (token.times().over_at())
                .saturating_add(leeway)
                .saturating_add(grace),
            generation: AtomicU64::new(basis.generation),
            authenticator,
            basis,
            witness,
            is_witnessed: AtomicBool::new(false),
            request_cut: OnceLock::new(),
        }
    }

    /// Why it is over, if it is.
    pub(crate) fn over(&self) -> Option<RejectionKind> {
        let now = self.authenticator.clock.now();
        if now.wall >= self.until {
            return Some(RejectionKind::TokenExpired);
        }
        let keys = self.keys();
        if keys.is_retired() || self.is_distrusted(now) {
            return Some(RejectionKind::IssuerUnknown);
        }
        let Some(key) = &self.basis.key else {
            return None;
        };
        let published = keys.published(now);
        let Some(snapshot) = published.as_ref().and_then(AtHand::snapshot) else {
            return Some(RejectionKind::KeyUnknown);
        };
        if self.generation.load(Ordering::Relaxed) != snapshot.generation {
            if !snapshot.keys.holds(key) {
                return Some(RejectionKind::KeyUnknown);
            }
            self.generation
                .store(snapshot.generation, Ordering::Relaxed);
        }
        None
    }

    /// Whether its tenant is known to be one no more. If that is not known, it is asked about.
    fn is_distrusted(&self, now: Moment) -> bool {
        if self.basis.trusted.is_current(now) {
            return false;
        }
        match self.trust(now) {
            Trust::Known(is_trusted) => !is_trusted,
            Trust::Ask(issuer, tenants) => {
                tenants.ask_later(issuer);
                false
            }
        }
    }

    /// Waits until it is over, and says why. Asleep but for fetches of keys, and a look at the clocks, and
    /// at whose tenant it is, each minute.
    pub(crate) async fn run_out(self: Arc<Self>) -> RejectionKind {
        // Made before the look at the keys, so that no change is missed between the two.
        let mut fetches = self.keys().fetches();
        loop {
            if let Some(kind) = self.over() {
                return kind;
            }
            let clock = &self.authenticator.clock;
            let left = || self.until.saturating_since(clock.now().wall);
            let mut is_trusted = true;
            let looked = async { is_trusted = self.is_trusted().await };
            sleep_or(clock, left(), looked).await;
            if !is_trusted {
                return RejectionKind::IssuerUnknown;
            }
            let left = left().min(LONGEST_SLEEP);
            let fetched = async {
                // The cache, and what counts its fetches, lives as long as the lease.
                let _ = fetches.changed().await;
            };
            sleep_or(clock, left, fetched).await;
        }
    }

    /// Whether its authorization server is still trusted for the same keys, as far as can be told. To ask
    /// keeps a tenant from being forgotten while it has streams.
    async fn is_trusted(&self) -> bool {
        let now = self.authenticator.clock.now();
        let (issuer, tenants) = match self.trust(now) {
            Trust::Known(is_trusted) => return is_trusted,
            Trust::Ask(issuer, tenants) => (issuer, tenants),
        };
        match tenants.resolve(issuer, true).await {
            Outcome::Known(found) => found.server.has_keys_of(&self.basis.trusted.server),
            Outcome::Unknown => false,
            Outcome::Unavailable => true,
        }
    }

    fn trust(&self, now: Moment) -> Trust<'_> {
        let Trusted { server, tenant, .. } = &*self.basis.trusted;
        // Of whoever is trusted by name, the keys say it when that ends.
        let Some(issuer) = tenant else {
            return Trust::Known(true);
        };
        let directory = self.authenticator.directory();
        let known = directory.look_up(now, issuer);
        match (known, &directory.tenants) {
            (Lookup::Known(found), _) => Trust::Known(found.server.has_keys_of(server)),
            (Lookup::Ask, Some(tenants)) => Trust::Ask(issuer, Arc::clone(tenants)),
            (Lookup::Unknown | Lookup::Ask, _) => Trust::Known(false),
        }
    }

    /// Waits for the end of an answer whose data came when it was over for this.
    pub(crate) async fn linger(self: Arc<Self>, kind: RejectionKind) -> RejectionKind {
        sleep_or(&self.authenticator.clock, LINGER, std::future::pending()).await;
        kind
    }

    /// What the client had yet to send is refused from now on.
    pub(crate) fn cut_request(&self, kind: RejectionKind) -> Rejection {
        // What it was refused for first stands.
        let _ = self.request_cut.set(kind);
        self.cut(kind)
    }

    /// What the client had yet to send was refused for, if it was.
    pub(crate) fn request_cut(&self) -> Option<RejectionKind> {
        self.request_cut.get().copied()
    }

    /// Something was cut, because the lease is over. Tells the audit sinks, once.
    pub(crate) fn cut(&self, kind: RejectionKind) -> Rejection {
        let rejection = Rejection::from(kind);
        if let Some(witness) = &self.witness
            && !self.is_witnessed.swap(true, Ordering::Relaxed)
        {
            witness.record(&rejection);
        }
        rejection
    }

    fn keys(&self) -> &KeyCache {
        &self.basis.trusted.keys
    }
}
