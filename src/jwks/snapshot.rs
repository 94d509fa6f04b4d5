//! A key set at one point of its life.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use url::Url;

use crate::{time::Moment, verify::KeySet};

/// What one answer of an authorization server amounts to; replaced whole, never changed.
pub(crate) struct Snapshot {
    pub(crate) keys: Arc<KeySet>,
    /// Counts the changes of the keys.
    pub(crate) generation: u64,
    /// When the server was asked; what happened there since then is not in it.
    pub(crate) asked: Moment,
    /// From when the ages below count: from when the server was asked, unless it took so long to
    /// answer that little of the life would be left.
    pub(crate) born: Moment,
    /// How old it was then, if it is from before this process began.
    pub(crate) inherited: Duration,
    /// The ages, without that, at which it should be refreshed, at which it needs to be, and at which it is dead.
    pub(crate) soft: Duration,
    pub(crate) life: Duration,
    pub(crate) hard: Duration,
    /// Before this, [packed](Moment::packed), it is fresh; quicker than to compare ages.
    pub(crate) fresh_until: u64,
    pub(crate) etag: Option<Etag>,
}

/// An entity tag, which says nothing of any other key set than the one that it came with.
#[derive(Clone)]
pub(crate) struct Etag {
    pub(crate) of: Url,
    pub(crate) value: HeaderValue,
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
        self.inherited.saturating_add(now.age_of(self.born))
    }

    pub(crate) fn freshness(&self, now: Moment) -> Freshness {
        // The ages below leave out what it had inherited.
        let age = now.age_of(self.born);
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

/// While this lasts, a key set past its life may be used: its server was asked in time and has not
/// answered yet, or could not be reached and is about to be asked again. Without it nobody asked,
/// because the process was asleep, and keys may have been withdrawn meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Grace {
    pub(crate) since: Moment,
    pub(crate) lasts: Duration,
}

/// What requests see: a key set, and whether it may be used past its life.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) grace: Option<Grace>,
}

impl View {
    pub(crate) fn is_usable(&self, now: Moment) -> bool {
        match self.snapshot.freshness(now) {
            Freshness::Fresh | Freshness::Soft => true,
            Freshness::Stale => self.has_grace(now),
            Freshness::Dead => false,
        }
    }

    pub(crate) fn has_grace(&self, now: Moment) -> bool {
        self.grace
            .is_some_and(|grace| now.age_of(grace.since) <= grace.lasts)
    }
}
