//! What is known of texts that anybody can choose, for a while.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};

/// Texts of which something is known, each until a point of the monotonic clock. Of a text only a hash is
/// kept, seeded and of 128 bits, so that nobody decides how much room it takes, or what it is taken for.
pub(crate) struct KnownUntil {
    until: Cache<[u64; 2], Duration>,
    seeds: [RandomState; 2],
}

impl KnownUntil {
    /// Of so many texts at most, each for so long at most.
    pub(crate) fn new(most: u64, longest: Duration) -> Self {
        let until = Cache::builder()
            .max_capacity(most)
            .time_to_live(longest)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            until: until.build(),
            seeds: [RandomState::new(), RandomState::new()],
        }
    }

    /// Until when it is known of this text; zero if it is not.
    pub(crate) fn of(&self, text: &str) -> Duration {
        self.until.get(&self.hash(text)).unwrap_or_default()
    }

    pub(crate) fn insert(&self, text: &str, until: Duration) {
        self.until.insert(self.hash(text), until);
    }

    pub(crate) fn remove(&self, text: &str) {
        self.until.invalidate(&self.hash(text));
    }

    fn hash(&self, text: &str) -> [u64; 2] {
        [0, 1].map(|n: usize| self.seeds[n].hash_one(text))
    }
}
