//! Tokens that were verified before, so that they need not be verified again.
//!
//! What is said of a token from here is what verifying it again would say, at that instant and with
//! the keys of that instant:
//!
//! - A token is known by all of its bytes. The hash, of the last bytes of its signature (of a short one,
//!   which is opaque, of all) and with a seed of its own, only says where to look; and since nothing is in
//!   here that was not verified, nobody can choose what collides.
//! - Of the verdict, everything that does not change with time stands: the token passed. Its times
//!   are judged on each use; one that has expired is refused from here, and never let through.
//! - It remembers which key verified it. Once the keys have changed, it is used only if that very
//!   key would be chosen for it again; else the token is verified as if it had never been here. So it
//!   is if its authorization server's policy was replaced.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use zeroize::Zeroize;

mod table;

pub(crate) use table::{Found, Load};

use table::Table;

use crate::{
    access_token::AccessToken,
    rejection::Rejection,
    time::Moment,
    token_cache_policy::TokenCachePolicy,
    trusted::Trusted,
    verify::{KeySet, Verification, VerificationKey, judge_times},
};

pub(crate) struct TokenCache {
    table: Table<Entry>,
    seed: [u64; 2],
    of_opaque: RandomState,
}

/// The shortest JWT that can be good here is longer.
const MAX_OPAQUE: usize = 160;

/// A verified token.
pub(crate) struct Entry {
    /// As it was sent.
    sent: Box<[u8]>,
    token: AccessToken,
    /// `None` if its authorization server was asked instead.
    key: Option<Arc<VerificationKey>>,
    names_key: bool,
    /// Under whose policy.
    trusted: Arc<Trusted>,
    /// Of the keys among which its own was found last; of a token that was asked about, until when that
    /// holds, [packed](Moment::packed).
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
            of_opaque: RandomState::new(),
        })
    }

    /// What is known of a token. Its [verdict](Entry::verdict) is to be asked.
    pub(crate) fn find(&self, sent: &[u8]) -> Option<Found<Entry>> {
        self.table
            .find(self.hash(sent), |entry| *entry.sent == *sent)
    }

    /// Remembers a token that was just verified with keys of this generation.
    pub(crate) fn insert(
        &self,
        sent: &[u8],
        trusted: &Arc<Trusted>,
        verification: &Verification,
        generation: u64,
    ) {
        let entry = Entry::new(sent, trusted, verification, generation);
        let bytes = entry.bytes();
        let is_it = |entry: &Entry| *entry.sent == *sent;
        self.table
            .insert(self.hash(sent), Arc::new(entry), bytes, is_it);
    }

    pub(crate) fn remove(&self, sent: &[u8]) {
        self.table
            .remove(self.hash(sent), |entry| *entry.sent == *sent);
    }

    pub(crate) fn load(&self) -> Load {
        self.table.load()
    }

    /// A product of two halves of the last bytes. Nothing better is needed: signatures are random, and
    /// nobody who could choose them could also choose what is in here. What is shorter than any JWT is
    /// opaque, and random wherever its authorization server likes.
    fn hash(&self, sent: &[u8]) -> u64 {
        let tail = match sent.last_chunk() {
            Some(tail) if sent.len() > MAX_OPAQUE => u128::from_le_bytes(*tail),
            _ => return self.of_opaque.hash_one(sent),
        };
        let low = tail as u64 ^ self.seed[0];
        let high = (tail >> 64) as u64 ^ self.seed[1];
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
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
        trusted: &Arc<Trusted>,
        verification: &Verification,
        generation: u64,
    ) -> Self {
        Self {
            sent: sent.into(),
            token: verification.token.clone(),
            key: verification.key.clone(),
            names_key: verification.names_key,
            trusted: Arc::clone(trusted),
            generation: AtomicU64::new(generation),
        }
    }

    /// Under whose policy it was verified.
    pub(crate) const fn trusted(&self) -> &Arc<Trusted> {
        &self.trusted
    }

    pub(crate) const fn key(&self) -> Option<&Arc<VerificationKey>> {
        self.key.as_ref()
    }

    /// What the authorization server said of a token, as long as that holds.
    pub(crate) fn introspected(&self, now: Moment) -> Option<Result<AccessToken, Rejection>> {
        let holds = now.is_before(self.generation.load(Ordering::Relaxed));
        let is_current = self.key.is_none() && holds && self.trusted.is_current(now);
        is_current.then(|| self.in_time(now))
    }

    /// The id of its key, if it names it.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.key.as_ref()?.kid().filter(|_| self.names_key)
    }

    /// What verifying it now, with the keys of this generation, would come to; `None` if another key, or
    /// none, would be chosen for it, or its policy is not the one for it any more.
    pub(crate) fn verdict(
        &self,
        now: Moment,
        generation: u64,
        keys: &KeySet,
    ) -> Option<Result<AccessToken, Rejection>> {
        if !self.trusted.is_current(now) {
            return None;
        }
        if self.generation.load(Ordering::Relaxed) != generation {
            if !keys.still_selects(self.key.as_ref()?, self.names_key) {
                return None;
            }
            self.generation.store(generation, Ordering::Relaxed);
        }
        Some(self.in_time(now))
    }

    fn in_time(&self, now: Moment) -> Result<AccessToken, Rejection> {
        match judge_times(now.wall, self.trusted.leeway, self.token.times()) {
            Ok(()) => Ok(self.token.clone()),
            Err(kind) => Err(Rejection::from(kind).with_subject(self.token.subject())),
        }
    }

    /// What it takes of the heap, as far as it is asked for here. The key is shared by all tokens
    /// that it verified.
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

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        algorithm::Algorithm, authorization_server::AuthorizationServer,
        resource_server::ResourceServer, surroundings::Surroundings, test_util::SigningKey,
        time::UnixTime, verify::begin_with,
    };

    const NOW: u64 = 1_700_000_000;

    /// Three keys, of which two have the same id, and tokens of each: with and without the key's
    /// id, early and late.
    struct Scene {
        resource_server: ResourceServer,
        jwks: Vec<serde_json::Value>,
        tokens: Vec<String>,
    }

    fn scene() -> Scene {
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api")
            .algorithms([Algorithm::EdDsa]);
        let key = || SigningKey::generate(Algorithm::EdDsa);
        let keys = [
            key().with_kid("a"),
            key().with_kid("b"),
            key().with_kid("b"),
        ];
        let mut tokens = Vec::new();
        for key in &keys {
            for (issued, expires) in [(0, 100), (0, 300), (200, 400)] {
                let claims = json!({
                    "iss": server.issuer(),
                    "aud": "api",
                    "sub": "joe",
                    "iat": NOW + issued,
                    "exp": NOW + expires,
                });
                tokens.push(key.sign(&claims));
                tokens.push(key.sign_with_header(&json!({ "alg": "EdDSA" }), &claims));
            }
        }
        Scene {
            resource_server: ResourceServer::builder().trust(server).build().unwrap(),
            jwks: keys.iter().map(SigningKey::jwk).collect(),
            tokens,
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The authorization server publishes these of its keys.
        Publish([bool; 3]),
        /// The clock moves to here.
        At(u64),
        /// A token comes.
        Ask(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => any::<[bool; 3]>().prop_map(Step::Publish),
            1 => (0_u64..600).prop_map(Step::At),
            6 => any::<prop::sample::Index>().prop_map(Step::Ask),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever the keys and the time did in between, a token from here gets the verdict that
        /// it would get if it were verified again.
        #[test]
        fn a_remembered_token_gets_the_verdict_of_a_new_one(
            steps in steps(),
            max_entries in prop_oneof![Just(1_000_usize), 1_usize..10],
        ) {
            thread_local! {
                static SCENE: Scene = scene();
            }
            SCENE.with(|scene| {
                let policy = TokenCachePolicy::default().max_entries(max_entries);
                let cache = TokenCache::new(&policy).unwrap();
                let server = &scene.resource_server.authorization_servers()[0];
                let leeway = scene.resource_server.leeway();
                let surroundings = Surroundings::of_test();
                let trusted = Trusted::after(None, server.clone(), None, leeway, &surroundings);
                let (mut keys, mut generation, mut now) = (KeySet::default(), 0, NOW);
                let mut seen = HashSet::new();
                for step in steps {
                    match step {
                        Step::Publish(which) => {
                            let jwks: Vec<_> = (scene.jwks.iter().zip(which))
                                .filter_map(|(jwk, published)| published.then_some(jwk))
                                .collect();
                            let text = json!({ "keys": jwks }).to_string();
                            keys = KeySet::from_json(text.as_bytes(), server).unwrap();
                            generation += 1;
                        }
                        Step::At(seconds) => now = NOW + seconds,
                        Step::Ask(index) => {
                            let index = index.index(scene.tokens.len());
                            let sent = scene.tokens[index].as_bytes();
                            let now = UnixTime::from_secs(now);
                            let moment = Moment { monotonic: Duration::ZERO, wall: now };
                            let mut pending = begin_with(sent, &scene.resource_server).unwrap();
                            let anew = pending.verify(now, &keys, true);
                            let remembered = cache.find(sent).and_then(|found| {
                                found.get()?.verdict(moment, generation, &keys)
                            });
                            prop_assert!(remembered.is_none() || seen.contains(&index));
                            match (&remembered, &anew) {
                                (Some(Ok(token)), Ok(verification)) => {
                                    prop_assert_eq!(
                                        format!("{token:?}"),
                                        format!("{:?}", verification.token)
                                    );
                                }
                                (Some(Err(ours)), Err(theirs)) => {
                                    prop_assert_eq!(ours.kind(), theirs.kind());
                                    prop_assert_eq!(ours.subject(), theirs.subject());
                                }
                                (Some(ours), theirs) => prop_assert!(
                                    false, "remembered: {}, anew: {}", ours.is_ok(), theirs.is_ok()
                                ),
                                (None, Ok(verification)) => {
                                    cache.insert(sent, &trusted, verification, generation);
                                    prop_assert!(cache.find(sent).is_some());
                                    seen.insert(index);
                                }
                                (None, Err(_)) => cache.remove(sent),
                            }
                        }
                    }
                }
                Ok(())
            })?;
        }
    }
}
