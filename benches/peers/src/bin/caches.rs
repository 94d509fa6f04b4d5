//! Which concurrent map should hold verified tokens?
//!
//! ```text
//! cargo run --release --bin caches
//! ```
//!
//! The token cache's own table beside quick_cache, papaya and moka. In all of them the whole token
//! is the key, compared byte for byte, and what is hashed is the last 16 bytes of its signature, by
//! the token cache's own function. The value is a small `Arc`, which is cloned on a hit.
//!
//! - A lookup, of random tokens and of one: the least of rounds in which the maps take turns. The
//!   maps have room for twice the tokens. Reading the token that is looked for is in it; in a server
//!   it would have just arrived. With two threads, it is what a lookup takes each of them.
//! - An insertion into a map that is full, so that something is given up for it (moka may give up
//!   the new one): the least of rounds, too. The allocations are counted meanwhile, which takes some
//!   nanoseconds each.
//! - Bytes: what was asked of the allocator for a full map, by entry, less the token and the value.
//! - Witnesses: entries that are still in memory after ten times as many insertions as the bound
//!   allows, by that bound. papaya has none, so the oldest are removed by hand; what is compared is
//!   how soon memory comes back.

// Less than all of it is used here.
#[allow(dead_code)]
#[path = "../../../../src/token_cache/table.rs"]
mod table;

use std::{
    alloc::System,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    hint::black_box,
    mem::size_of,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use quick_cache::{Equivalent, OptionsBuilder, Weighter, sync::DefaultLifecycle};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use table::Table;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bytes of a token, of which the last are those of an RS256 signature.
const TOKEN: usize = 1_030;
const SIGNATURE: usize = 342;

/// What the value takes, with the two counts of its `Arc`.
const VALUE: usize = size_of::<Value>() + 2 * size_of::<usize>();

/// What is known of a token. It says how many of its kind there are.
struct Value {
    _claims: [u8; 56],
    _witness: Arc<()>,
}

fn value(witness: &Arc<()>) -> Arc<Value> {
    Arc::new(Value {
        _claims: [7; 56],
        _witness: Arc::clone(witness),
    })
}

/// Tokens that differ in their claims as well as in their signatures, which come out at random.
#[derive(Default)]
struct Tokens(u64);

impl Tokens {
    fn many(&mut self, count: usize) -> Vec<Box<[u8]>> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Box<[u8]> {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        self.0 += 1;
        let mut token = vec![b'e'; TOKEN];
        let number = format!("{:020}", self.0);
        token[300..320].copy_from_slice(number.as_bytes());
        for chunk in token[TOKEN - SIGNATURE..].chunks_mut(10) {
            let mut bits = fastrand::u64(..);
            for byte in chunk {
                *byte = ALPHABET[(bits % 64) as usize];
                bits /= 64;
            }
        }
        token.into()
    }
}

/// The token cache's hash, as a `BuildHasher` for the others.
#[derive(Clone)]
struct TailHash([u64; 2]);

impl TailHash {
    fn new() -> Self {
        Self([0, 1].map(|n: u64| RandomState::new().hash_one(n)))
    }

    fn of(&self, tail: [u8; 16]) -> u64 {
        let tail = u128::from_le_bytes(tail);
        let low = tail as u64 ^ self.0[0];
        let high = (tail >> 64) as u64 ^ self.0[1];
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    }
}

impl BuildHasher for TailHash {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher {
            hash: self.clone(),
            result: 0,
        }
    }
}

struct TailHasher {
    hash: TailHash,
    result: u64,
}

impl Hasher for TailHasher {
    fn write(&mut self, tail: &[u8]) {
        self.result = self.hash.of(tail.try_into().unwrap());
    }

    fn finish(&self) -> u64 {
        self.result
    }
}

fn tail(token: &[u8]) -> [u8; 16] {
    *token.last_chunk().unwrap()
}

/// A token as a key, and as what is looked for.
#[derive(PartialEq, Eq)]
struct Key(Box<[u8]>);

struct Sent<'t>(&'t [u8]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&tail(&self.0));
    }
}

impl Hash for Sent<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&tail(self.0));
    }
}

impl Equivalent<Key> for Sent<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Value>> for Bytes {
    fn weight(&self, key: &Key, _: &Arc<Value>) -> u64 {
        (key.0.len() + VALUE) as u64
    }
}

/// What there is to compare.
trait Map: Sync {
    fn find(&self, token: &[u8]) -> Option<Arc<Value>>;

    fn insert(&self, token: &[u8], value: Arc<Value>);

    /// Takes one out, where there is no bound that does.
    fn remove(&self, _token: &[u8]) {}

    /// Does what was put off.
    fn settle(&self) {}
}

struct Ours {
    table: Table<(Box<[u8]>, Arc<Value>)>,
    hash: TailHash,
}

impl Ours {
    fn new(bound: usize) -> Self {
        Self {
            table: Table::new(bound, usize::MAX, 1),
            hash: TailHash::new(),
        }
    }
}

impl Map for Ours {
    fn find(&self, token: &[u8]) -> Option<Arc<Value>> {
        let hash = self.hash.of(tail(token));
        let found = self.table.find(hash, |(sent, _)| **sent == *token)?;
        found.get().map(|(_, value)| Arc::clone(value))
    }

    fn insert(&self, token: &[u8], value: Arc<Value>) {
        let hash = self.hash.of(tail(token));
        let entry = Arc::new((token.into(), value));
        let is_it = |(sent, _): &(Box<[u8]>, _)| **sent == *token;
        self.table.insert(hash, entry, TOKEN + VALUE, is_it);
    }
}

struct QuickCache(quick_cache::sync::Cache<Key, Arc<Value>, Bytes, TailHash>);

impl QuickCache {
    fn new(bound: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(bound)
            .weight_capacity((bound * (TOKEN + VALUE)) as u64)
            .build()
            .unwrap();
        Self(quick_cache::sync::Cache::with_options(
            options,
            Bytes,
            TailHash::new(),
            DefaultLifecycle::default(),
        ))
    }
}

impl Map for QuickCache {
    fn find(&self, token: &[u8]) -> Option<Arc<Value>> {
        self.0.get(&Sent(token))
    }

    fn insert(&self, token: &[u8], value: Arc<Value>) {
        self.0.insert(Key(token.into()), value);
    }
}

struct Papaya(papaya::HashMap<Key, Arc<Value>, TailHash>);

impl Papaya {
    fn new() -> Self {
        Self(papaya::HashMap::with_hasher(TailHash::new()))
    }
}

impl Map for Papaya {
    fn find(&self, token: &[u8]) -> Option<Arc<Value>> {
        self.0.pin().get(&Sent(token)).cloned()
    }

    fn insert(&self, token: &[u8], value: Arc<Value>) {
        self.0.pin().insert(Key(token.into()), value);
    }

    fn remove(&self, token: &[u8]) {
        self.0.pin().remove(&Sent(token));
    }
}

struct Moka(moka::sync::Cache<Key, Arc<Value>, TailHash>);

impl Moka {
    fn new(bound: usize) -> Self {
        Self(
            moka::sync::Cache::builder()
                .max_capacity((bound * (TOKEN + VALUE)) as u64)
                .weigher(|key: &Key, _| (key.0.len() + VALUE) as u32)
                .build_with_hasher(TailHash::new()),
        )
    }
}

impl Map for Moka {
    fn find(&self, token: &[u8]) -> Option<Arc<Value>> {
        self.0.get(&Sent(token))
    }

    fn insert(&self, token: &[u8], value: Arc<Value>) {
        self.0.insert(Key(token.into()), value);
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }
}

/// A map to compare, and what its source says of lookups.
struct Kind {
    name: &'static str,
    is_bounded: bool,
    lock: &'static str,
    new: fn(usize) -> Box<dyn Map>,
}

/// By the sources of quick_cache 0.7.0, papaya 0.2.5 and moka 0.12.16.
const KINDS: [Kind; 4] = [
    Kind {
        name: "own table",
        is_bounded: true,
        lock: "none",
        new: |bound| Box::new(Ours::new(bound)),
    },
    Kind {
        name: "quick_cache",
        is_bounded: true,
        lock: "a shard's RwLock, shared",
        new: |bound| Box::new(QuickCache::new(bound)),
    },
    Kind {
        name: "papaya",
        is_bounded: false,
        lock: "none",
        new: |_| Box::new(Papaya::new()),
    },
    Kind {
        name: "moka",
        is_bounded: true,
        lock: "none to find it; now and then one that it only tries, for upkeep",
        new: |bound| Box::new(Moka::new(bound)),
    },
];

/// Nanoseconds that a lookup takes each of `threads`: from when the first begins until the last is
/// done, so that it does not look better if they never meet.
fn lookups(map: &dyn Map, tokens: &[&[u8]], threads: usize) -> f64 {
    const LOOKUPS: usize = 50_000;
    let waiting = AtomicUsize::new(threads);
    let one = &|start: usize| {
        let tokens = tokens.iter().cycle().skip(start).take(LOOKUPS);
        // A thread that sleeps until all are there is late.
        waiting.fetch_sub(1, Ordering::SeqCst);
        while waiting.load(Ordering::SeqCst) > 0 {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        for token in tokens {
            assert!(black_box(map.find(token)).is_some());
        }
        (began, Instant::now())
    };
    let times: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| fastrand::usize(..tokens.len()))
            .map(|start| scope.spawn(move || one(start)))
            .collect();
        let times = running.into_iter().map(|thread| thread.join().unwrap());
        times.collect()
    });
    let began = times.iter().map(|(began, _)| *began).min().unwrap();
    let ended = times.iter().map(|(_, ended)| *ended).max().unwrap();
    (ended - began).as_nanos() as f64 / LOOKUPS as f64
}

fn compare_lookups(entries: usize) {
    const ROUNDS: usize = 20;
    let tokens = Tokens::default().many(entries);
    let witness = Arc::new(());
    let maps = KINDS.map(|kind| (kind.new)(2 * entries));
    for token in &tokens {
        maps.iter()
            .for_each(|map| map.insert(token, value(&witness)));
    }
    maps.iter().for_each(|map| map.settle());
    // A bucket or a shard may be full before the map is; those tokens are left out.
    let mut random: Vec<&[u8]> = (tokens.iter())
        .map(|token| &**token)
        .filter(|token| maps.iter().all(|map| map.find(token).is_some()))
        .collect();
    fastrand::shuffle(&mut random);
    let hot = &random[..1];
    println!("\n{entries} tokens, of which all hold {}", random.len());
    println!(
        "{:<14} {:>16} {:>16} {:>16} {:>16}",
        "ns by lookup", "random, 1 thread", "hot, 1 thread", "random, 2", "hot, 2"
    );
    let cases = [(&random[..], 1), (hot, 1), (&random[..], 2), (hot, 2)];
    let mut least = [[f64::INFINITY; 4]; KINDS.len()];
    for _ in 0..ROUNDS {
        for (case, (tokens, threads)) in cases.into_iter().enumerate() {
            for (map, least) in maps.iter().zip(&mut least) {
                let time = lookups(&**map, tokens, threads);
                least[case] = least[case].min(time);
            }
        }
    }
    for (kind, [a, b, c, d]) in KINDS.iter().zip(least) {
        println!("{:<14} {a:>16.1} {b:>16.1} {c:>16.1} {d:>16.1}", kind.name);
    }
}

/// Bytes that are in use.
fn used(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

fn compare_insertions(bound: usize) {
    const ROUNDS: usize = 20;
    const INSERTIONS: usize = 2_000;
    let mut tokens = Tokens::default();
    let witness = Arc::new(());
    let full = KINDS.map(|kind| {
        let before = Arc::strong_count(&witness);
        let region = Region::new(ALLOCATOR);
        let map = (kind.new)(bound);
        // Twice as many as it holds, so that no part of it has room.
        for _ in 0..if kind.is_bounded { 2 * bound } else { bound } {
            map.insert(&tokens.next(), value(&witness));
        }
        map.settle();
        let entries = Arc::strong_count(&witness) - before;
        let bytes = used(&region) / entries as f64 - (TOKEN + VALUE) as f64;
        (kind, map, entries, bytes)
    });
    let mut least = [f64::INFINITY; KINDS.len()];
    for _ in 0..ROUNDS {
        for ((kind, map, ..), least) in full.iter().zip(&mut least) {
            if !kind.is_bounded {
                continue;
            }
            let new = tokens.many(INSERTIONS);
            let values: Vec<_> = new.iter().map(|_| value(&witness)).collect();
            let began = Instant::now();
            for (token, value) in new.iter().zip(values) {
                map.insert(token, value);
            }
            let time = began.elapsed().as_nanos() as f64 / INSERTIONS as f64;
            *least = least.min(time);
        }
    }
    println!("\nat a bound of {bound} tokens");
    println!(
        "{:<14} {:>12} {:>14} {:>12}",
        "map", "insertion ns", "bytes by entry", "entries"
    );
    for ((kind, _, entries, bytes), time) in full.iter().zip(least) {
        let time = match kind.is_bounded {
            true => format!("{time:.0}"),
            false => "no bound".to_owned(),
        };
        println!("{:<14} {time:>12} {bytes:>14.0} {entries:>12}", kind.name);
    }
}

fn compare_witnesses(bound: usize) {
    println!("\nwitnesses alive after ten times {bound} insertions, by the bound");
    println!(
        "{:<14} {:>8} {:>18}  lock of a lookup",
        "map", "at once", "after what is due"
    );
    for kind in KINDS {
        let mut tokens = Tokens::default();
        let witness = Arc::new(());
        let map = (kind.new)(bound);
        let mut by_age = Vec::new();
        for n in 0..10 * bound {
            let token = tokens.next();
            map.insert(&token, value(&witness));
            if !kind.is_bounded {
                by_age.push(token);
                if n >= bound {
                    map.remove(&by_age[n - bound]);
                }
            }
        }
        let alive = || (Arc::strong_count(&witness) - 1) as f64 / bound as f64;
        let at_once = alive();
        map.settle();
        let (after, name, lock) = (alive(), kind.name, kind.lock);
        println!("{name:<14} {at_once:>8.3} {after:>18.3}  {lock}");
    }
}

fn main() {
    for entries in [10_000, 200_000] {
        compare_lookups(entries);
        compare_insertions(entries);
    }
    compare_witnesses(10_000);
}
