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
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use zeroize::Zeroize;

mod table;

pub(crate) use table::{Found, Load};

use base64_simd::{Out, URL_SAFE_NO_PAD};
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
    seed: RandomState,
}

/// A verified token.
pub(crate) struct Entry {
    /// The token as it was sent, without its payload: that is what the verified token has anyway,
    /// and base64url in the form that is accepted can be had back from it.
    frame: Box<[u8]>,
    header: u16,
    names_key: bool,
    server: u32,
    token: AccessToken,
    key: Arc<VerificationKey>,
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
            seed: RandomState::new(),
        })
    }

    /// What is known of a token. Whether it still [holds](Entry::holds) is to be asked.
    pub(crate) fn find(&self, sent: &[u8]) -> Option<Found<Entry>> {
        self.table.find(self.hash(sent)?, |entry| entry.is(sent))
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
        let is_it = |entry: &Entry| entry.is(sent);
        self.table.insert(hash, Arc::new(entry), bytes, is_it);
    }

    pub(crate) fn remove(&self, sent: &[u8]) {
        if let Some(hash) = self.hash(sent) {
            self.table.remove(hash, |entry| entry.is(sent));
        }
    }

    pub(crate) fn load(&self) -> Load {
        self.table.load()
    }

    fn hash(&self, sent: &[u8]) -> Option<u64> {
        let tail = sent.last_chunk()?;
        Some(self.seed.hash_one(u128::from_ne_bytes(*tail)))
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
        let header = sent.iter().position(|b| *b == b'.')?;
        let signature = sent.iter().rposition(|b| *b == b'.')?;
        let entry = Self {
            frame: [&sent[..header], &sent[signature + 1..]].concat().into(),
            header: header.try_into().ok()?,
            names_key: verification.names_key,
            server: server.try_into().ok()?,
            token: verification.token.clone(),
            key: Arc::clone(&verification.key),
            generation: AtomicU64::new(generation),
        };
        // So that nothing is kept that would never be found.
        entry.is(sent).then_some(entry)
    }

    /// Whether every byte of the token is the same.
    fn is(&self, sent: &[u8]) -> bool {
        let (header, signature) = self.frame.split_at(self.header.into());
        let payload = sent
            .strip_prefix(header)
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|rest| rest.strip_suffix(signature))
            .and_then(|rest| rest.strip_suffix(b"."));
        payload.is_some_and(|payload| encodes(payload, self.token.payload().as_bytes()))
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
        COUNTS + size_of::<Self>() + self.frame.len() + COUNTS + self.token.bytes()
    }
}

/// The signature is what makes a token of claims.
impl Drop for Entry {
    fn drop(&mut self) {
        self.frame.zeroize();
    }
}

/// Whether `text` is base64url of `bytes`, in its one canonical form.
fn encodes(text: &[u8], bytes: &[u8]) -> bool {
    // Groups of four characters are three bytes each, so pieces can be taken one by one.
    const TEXT: usize = 1_024;
    const BYTES: usize = TEXT / 4 * 3;
    if text.len() != (bytes.len() * 4).div_ceil(3) {
        return false;
    }
    let mut buffer = [const { MaybeUninit::uninit() }; BYTES];
    text.chunks(TEXT)
        .zip(bytes.chunks(BYTES))
        .all(|(text, bytes)| {
            URL_SAFE_NO_PAD
                .decode(text, Out::from_uninit_slice(&mut buffer))
                .is_ok_and(|decoded| decoded == bytes)
        })
}
