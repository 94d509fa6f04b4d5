//! A key set at one point of its life.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use crate::{time::Moment, verify::KeySet};

/// What one answer of an authorization server amounts to; replaced whole, never changed.
pub(crate) struct Snapshot {
    pub(crate) keys: Arc<KeySet>,
    /// Counts the changes of the keys.
    pub(crate) generation: u64,
    /// When the server was asked: what it withdrew after that, it may not have known.
    pub(crate) asked: Moment,
    /// The ages at which it should be refreshed, at which it needs to be, and at which it is dead.
    pub(crate) soft: Duration,
    pub(crate) life: Duration,
    pub(crate) hard: Duration,
    pub(crate) etag: Option<HeaderValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// To be used as it is.
    Fresh,
    /// To be used, and to be refreshed.
    Soft,
    /// Past its life: to be used only where its server cannot be reached.
    Stale,
    /// Not to be used.
    Dead,
}

impl Snapshot {
    pub(crate) fn age(&self, now: Moment) -> Duration {
        now.age_of(self.asked)
    }

    pub(crate) fn freshness(&self, now: Moment) -> Freshness {
        let age = self.age(now);
        if age < self.soft {
            Freshness::Fresh
        } else if age < self.life {
            Freshness::Soft
        } else if age < self.hard {
            Freshness::Stale
        } else {
            Freshness::Dead
        }
    }
}
