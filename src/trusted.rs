//! An authorization server that is trusted at the moment, with its keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    audit::{Audit, Event, NoLongerTrusted, Trusted as TrustedEvent},
    authorization_server::AuthorizationServer,
    introspector::Introspector,
    jwks::KeyCache,
    surroundings::Surroundings,
    time::Moment,
};

/// A policy and the keys for it. Replaced whole when the policy changes; the keys may stay.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) server: Arc<AuthorizationServer>,
    /// Of a tenant: whom the resolver was asked about. Another tenant has another, and nobody who is
    /// trusted by name has one.
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) leeway: Duration,
    pub(crate) keys: Arc<KeyCache>,
    /// Who asks it about tokens, if it is asked.
    pub(crate) introspector: Option<Arc<Introspector>>,
    /// Until when this is the policy, [packed](Moment::packed); zero once another has taken its place, or
    /// none.
    current_until: AtomicU64,
}

impl Trusted {
    /// What takes the place of `before` under this policy: the same if nothing is different, with the
    /// same keys if nothing is that they depend on. It is to be [announced](Self::announce).
    pub(crate) fn after(
        before: Option<&Arc<Self>>,
        server: AuthorizationServer,
        tenant: Option<&Arc<str>>,
        leeway: Duration,
        surroundings: &Surroundings,
    ) -> Arc<Self> {
        if let Some(before) = before
            && *before.server == server
            && before.tenant.as_ref() == tenant
            && before.leeway == leeway
        {
            return Arc::clone(before);
        }
        let server = Arc::new(server);
        let keys = match before {
            Some(before) if before.server.has_keys_of(&server) => Arc::clone(&before.keys),
            _ => Arc::new(KeyCache::new(
                Arc::clone(&server),
                surroundings.clock.clone(),
                surroundings.client.clone(),
                surroundings.audit.clone(),
                &surroundings.snapshot,
            )),
        };
        let introspector = match before {
            Some(before) if before.server.introspection == server.introspection => {
                before.introspector.clone()
            }
            _ => Introspector::new(&server, surroundings),
        };
        Arc::new(Self {
            introspector,
            server,
            tenant: tenant.cloned(),
            leeway,
            keys,
            current_until: AtomicU64::new(u64::MAX),
        })
    }

    /// The same, for a decision that is not to be relied upon again.
    pub(crate) fn for_once(&self) -> Arc<Self> {
        Arc::new(Self {
            server: Arc::clone(&self.server),
            tenant: self.tenant.clone(),
            leeway: self.leeway,
            keys: Arc::clone(&self.keys),
            introspector: self.introspector.clone(),
            current_until: AtomicU64::new(0),
        })
    }

    /// Tells the audit sinks of whom is trusted from now on, unless it was so before.
    pub(crate) fn announce(&self, before: Option<&Arc<Self>>, audit: &Audit) {
        let is_new = before.is_none_or(|before| !Arc::ptr_eq(&before.keys, &self.keys));
        if is_new
            && audit.is_on()
            && let Ok(source) = &self.server.keys
        {
            audit.record(&Event::Trusted(TrustedEvent {
                issuer: self.server.issuer(),
                keys: &source.to_string(),
            }));
        }
    }

    /// Tells the audit sinks that it is not trusted any more.
    pub(crate) fn announce_end(&self, audit: &Audit) {
        let issuer = self.server.issuer();
        audit.record(&Event::NoLongerTrusted(NoLongerTrusted { issuer }));
    }

    /// Whether what was decided under this policy still stands.
    #[inline]
    pub(crate) fn is_current(&self, now: Moment) -> bool {
        now.is_before(self.current_until.load(Ordering::Acquire))
    }

    /// It is to be looked at again then.
    pub(crate) fn set_current_until(&self, until: Moment) {
        self.current_until.store(until.packed(), Ordering::Release);
    }

    /// The same, unless another has taken its place, or none.
    pub(crate) fn prolong(&self, until: Moment) {
        let prolonged = |was| (was != 0).then(|| until.packed());
        let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
        // It is no matter which it was.
        let _ = self.current_until.fetch_update(set, get, prolonged);
    }

    /// From now on nothing that was decided under this policy stands.
    fn replace(&self) {
        self.current_until.store(0, Ordering::Release);
    }

    /// Another takes its place, or none: whoever it was trusted for is not trusted any more, unless
    /// that one says so.
    pub(crate) fn give_way(self: &Arc<Self>, to: Option<&Arc<Self>>) {
        if to.is_none_or(|to| !Arc::ptr_eq(to, self)) {
            self.replace();
        }
        if to.is_none_or(|to| !Arc::ptr_eq(&to.keys, &self.keys)) {
            self.keys.retire();
        }
    }

    /// It is forgotten, which says nothing of whether it is to be trusted.
    pub(crate) fn forget(&self) {
        self.replace();
        self.keys.abandon();
    }
}
