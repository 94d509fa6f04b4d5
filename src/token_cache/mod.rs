//! Tokens that were verified before, so that they need not be verified again.
//!
//! It can only say that a token passes, and only where verifying it again would let it pass, at
//! that instant and with the keys of that instant:
//!
//! - A token is known by all of its bytes. The hash, of the last bytes of its signature and with a
//!   seed of its own, only says where to look; and since nothing is in here that was not verified,
//!   nobody can choose what collides.
//! - Its times are judged on each use, and it is not used at all from its `exp` on.
//! - It remembers which key verified it. Once the keys have changed, it is used only if that very
//!   key would be chosen for it again.
//!
//! What fails any of this is verified as if it had never been here.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use zeroize::Zeroize;

mod table;

pub(crate) use table::{Found, Load};

use table::Table;

use crate::{
    access_token::AccessToken,
    jwks::Snapshot,
    time::UnixTime,
    token_cache_policy::TokenCachePolicy,
    verify::{Verification, VerificationKey, judge_times},
};

pub(crate) struct TokenCache {
    table: Table<Entry>,
    seed: [u64; 2],
}

/// A verified token.
pub(crate) struct Entry {
    /// As it was sent.
    sent: Box<[u8]>,
    token: AccessToken,
    key: Arc<VerificationKey>,
    names_key: bool,
    server: u32,
    /// Of the keys under which it was last found to hold.
    generation: AtomicU64,
}

/// The least that an entry takes, for the size of the table: a token with an Ed25519 signature and
/// few claims.
const MIN_BYTES: usize = 512;

impl TokenCache {
    /// `None` if it is switched off.
    pub(crate) fn new(policy: &TokenCachePolicy) -> Option<Self> {
        policy.is_on().then(|| Self {
            table: Table::new(policy.max_entries, policy.max_bytes, MIN_BYTES),
            seed: [0, 1].map(|n: u64| RandomState::new().hash_one(n)),
        })
    }

    /// What is known of a token. Whether it still [holds](Entry::holds) is to be asked.
    pub(crate) fn find(&self, sent: &[u8]) -> Option<Found<Entry>> {
        self.table
            .find(self.hash(sent)?, |entry| *entry.sent == *sent)
    }

    /// Remembers a token that was just verified with keys of this generation.
    pub(crate) fn insert(
        &self,
        sent: &[u8],
        server: usize,
        verification: &Verification,
        generation: u64,
    ) {
        let (Some(hash), Some(entry)) = (
            self.hash(sent),
            Entry::new(sent, server, verification, generation),
        ) else {
            return;
        };
        let bytes = entry.bytes();
        let is_it = |entry: &Entry| *entry.sent == *sent;
        self.table.insert(hash, Arc::new(entry), bytes, is_it);
    }

    pub(crate) fn remove(&self, sent: &[u8]) {
        if let Some(hash) = self.hash(sent) {
            self.table.remove(hash, |entry| *entry.sent == *sent);
        }
    }

    pub(crate) fn load(&self) -> Load {
        self.table.load()
    }

    /// A product of two halves. Nothing better is needed: signatures are random, and nobody who
    /// could choose them could also choose what is in here.
    fn hash(&self, sent: &[u8]) -> Option<u64> {
        let tail = u128::from_le_bytes(*sent.last_chunk()?);
        let low = tail as u64 ^ self.seed[0];
        let high = (tail >> 64) as u64 ^ self.seed[1];
        let product = u128::from(low) * u128::from(high);
        Some(product as u64 ^ (product >> 64) as u64)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { entries, bytes } = self.load();
        write!(f, "TokenCache({entries} tokens, {bytes} bytes)")
    }
}

impl Entry {
    fn new(
        sent: &[u8],
        server: usize,
        verification: &Verification,
        generation: u64,
    ) -> Option<Self> {
        Some(Self {
            sent: sent.into(),
            token: verification.token.clone(),
            key: Arc::clone(&verification.key),
            names_key: verification.names_key,
            server: server.try_into().ok()?,
            generation: AtomicU64::new(generation),
        })
    }

    /// Whose authorization server's place in the list.
    pub(crate) const fn server(&self) -> usize {
        self.server as usize
    }

    pub(crate) const fn token(&self) -> &AccessToken {
        &self.token
    }

    /// The id of its key, if it names it.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.key.kid().filter(|_| self.names_key)
    }

    /// Whether it would pass if it were verified now, with these keys.
    pub(crate) fn holds(&self, now: UnixTime, leeway: Duration, snapshot: &Snapshot) -> bool {
        let times = self.token.times();
        if now >= times.expires_at || judge_times(now, leeway, times).is_err() {
            return false;
        }
        if self.generation.load(Ordering::Relaxed) == snapshot.generation {
            return true;
        }
        let holds = snapshot.keys.still_selects(&self.key, self.names_key);
        if holds {
            self.generation
                .store(snapshot.generation, Ordering::Relaxed);
        }
        holds
    }

    /// What it takes of the heap, as far as it is asked for here. The key is the key set's.
    fn bytes(&self) -> usize {
        // A count of strong and one of weak references are in front of what an `Arc` holds.
        const COUNTS: usize = 2 * size_of::<usize>();
        COUNTS + size_of::<Self>() + self.sent.len() + COUNTS + self.token.bytes()
    }
}

/// Whoever has the bytes has the token.
impl Drop for Entry {
    fn drop(&mut self) {
        self.sent.zeroize();
    }
}
