//! An authorization server that is trusted at the moment, with its keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{authorization_server::AuthorizationServer, jwks::KeyCache};

/// A policy and the keys for it. Replaced whole when the policy changes; the keys may stay.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) server: Arc<AuthorizationServer>,
    pub(crate) leeway: Duration,
    pub(crate) keys: Arc<KeyCache>,
    /// Another policy has taken its place, or none.
    is_replaced: AtomicBool,
}

impl Trusted {
    pub(crate) fn new(
        server: Arc<AuthorizationServer>,
        leeway: Duration,
        keys: Arc<KeyCache>,
    ) -> Self {
        Self {
            server,
            leeway,
            keys,
            is_replaced: AtomicBool::new(false),
        }
    }

    /// For tests that bring their own keys.
    #[cfg(all(test, feature = "test-util"))]
    pub(crate) fn without_keys(server: AuthorizationServer, leeway: Duration) -> Arc<Self> {
        let server = Arc::new(server);
        let keys = KeyCache::new(
            Arc::clone(&server),
            crate::Clock::system(),
            crate::jwks::HttpClient::default(),
            crate::audit::Audit::default(),
        );
        Arc::new(Self::new(server, leeway, Arc::new(keys)))
    }

    /// Whether what was decided under this policy still stands.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        !self.is_replaced.load(Ordering::Acquire)
    }

    /// From now on nothing that was decided under this policy stands.
    pub(crate) fn replace(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }
}
