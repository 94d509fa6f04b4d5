//! Until when what a request opened may stay open.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::authenticator::{Authenticator, Basis, RequestFacts};
use crate::{
    access_token::AccessToken,
    jwks::{AtHand, KeyCache, sleep_or},
    rejection::{Rejection, RejectionKind},
    time::UnixTime,
};

/// Shared by both directions of a request that was let in.
pub(crate) struct Lease {
    authenticator: Arc<Authenticator>,
    token: AccessToken,
    basis: Basis,
    /// Of the keys among which its own was found last.
    generation: AtomicU64,
    until: UnixTime,
    facts: Option<RequestFacts>,
    /// What the client had yet to send was refused for this.
    request_cut: OnceLock<RejectionKind>,
    is_recorded: AtomicBool,
}

/// The clocks are looked at this often, whatever they said before: a machine that was suspended, or
/// whose clock was set, has timers that come late.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Lease {
    /// Until the token expires, leeway and `grace` included, or its key is removed.
    pub(crate) fn new(
        authenticator: Arc<Authenticator>,
        token: AccessToken,
        basis: Basis,
        grace: Duration,
        facts: Option<RequestFacts>,
    ) -> Self {
        let leeway = authenticator.resource_server.leeway();
        Self {
            until: (token.expires_at())
                .saturating_add(leeway)
                .saturating_add(grace),
            generation: AtomicU64::new(basis.generation),
            authenticator,
            token,
            basis,
            facts,
            request_cut: OnceLock::new(),
            is_recorded: AtomicBool::new(false),
        }
    }

    /// Why it is over, if it is: what a new request with its token would be refused for.
    pub(crate) fn over(&self) -> Option<RejectionKind> {
        let now = self.authenticator.clock.now();
        if now.wall >= self.until {
            return Some(RejectionKind::TokenExpired);
        }
        // Keys that cannot be used at the moment may well still be published.
        let at_hand = self.cache()?.at_hand(now);
        let snapshot = at_hand.as_ref().and_then(AtHand::snapshot)?;
        if self.generation.load(Ordering::Relaxed) != snapshot.generation {
            let Basis { key, names_key, .. } = &self.basis;
            if !snapshot.keys.still_selects(key, *names_key) {
                return Some(RejectionKind::KeyUnknown);
            }
            self.generation
                .store(snapshot.generation, Ordering::Relaxed);
        }
        None
    }

    /// Waits until it is over, and says why. Asleep but for the time that it is over, changes of the keys, and
    /// a look at the clocks each minute.
    pub(crate) async fn run_out(self: Arc<Self>) -> RejectionKind {
        let Some(cache) = self.cache() else {
            return RejectionKind::KeyUnknown;
        };
        // Made before the look at the keys, so that no change is missed between the two.
        let mut fetches = cache.fetches();
        loop {
            if let Some(kind) = self.over() {
                return kind;
            }
            let now = self.authenticator.clock.now();
            let left = self.until.saturating_since(now.wall).min(LONGEST_SLEEP);
            let fetched = async {
                // The cache, and what counts its fetches, lives as long as the lease.
                let _ = fetches.changed().await;
            };
            sleep_or(&self.authenticator.clock, left, fetched).await;
        }
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
        let rejection = Rejection::from(kind).with_subject(self.token.subject());
        if let Some(facts) = &self.facts
            && !self.is_recorded.swap(true, Ordering::Relaxed)
        {
            self.authenticator.record_inner(facts, &rejection);
        }
        rejection
    }

    fn cache(&self) -> Option<&KeyCache> {
        self.authenticator.caches.get(self.basis.server)
    }
}
