//! A bounded table that is read without a lock.
//!
//! Values stand in buckets of 15, found by a hash. Readers look at the tags of one bucket, which
//! fill a cache line, and take the value through `arc_swap`: no lock, and no write that another
//! thread would see, but the first time that a value is found. Writers take turns. Whatever they
//! replace is dropped at once, or by the last reader that still looks at it.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::{ArcSwapOption, Guard};

use crate::lock::lock;

/// As many as leave room for `found` beside their tags.
const WAYS: usize = 15;

pub(crate) struct Table<T> {
    buckets: Box<[Bucket<T>]>,
    writer: Mutex<Writer>,
    max_entries: usize,
    max_bytes: usize,
    /// What the table itself takes.
    own_bytes: usize,
}

#[repr(align(64))]
struct Bucket<T> {
    /// A part of the hash of each value; zero where there is none.
    tags: [AtomicU32; WAYS],
    /// A bit for each slot whose value was found since its second chance was last taken.
    found: AtomicU32,
    slots: [ArcSwapOption<T>; WAYS],
}

/// What only writers look at.
struct Writer {
    entries: usize,
    bytes: usize,
    /// The size of each value, by bucket and way.
    sizes: Box<[u32]>,
    /// Where the search for a value to give up goes on: in each bucket, and among all slots.
    hands: Box<[u8]>,
    hand: usize,
}

/// A value that was found, held on to without a count.
pub(crate) struct Found<T>(Guard<Option<Arc<T>>>);

impl<T> Found<T> {
    fn new(guard: Guard<Option<Arc<T>>>) -> Option<Self> {
        guard.is_some().then_some(Self(guard))
    }

    /// Always there, since one is only made of a guard that holds something.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

/// How many values there are, and how large they are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl<T> Table<T> {
    /// Holds at most `max_entries` values, and no more of them than take `max_bytes` together with
    /// the table itself. There is room for as many as could fit if each took `min_bytes`.
    pub(crate) fn new(max_entries: usize, max_bytes: usize, min_bytes: usize) -> Self {
        let max_entries = max_entries.min(max_bytes / min_bytes).max(1);
        let buckets = max_entries.div_ceil(WAYS);
        let own = buckets * (size_of::<Bucket<T>>() + WAYS * size_of::<u32>() + 1);
        Self {
            buckets: (0..buckets).map(|_| Bucket::new()).collect(),
            writer: Mutex::new(Writer {
                entries: 0,
                bytes: own,
                sizes: vec![0; buckets * WAYS].into(),
                hands: vec![0; buckets].into(),
                hand: 0,
            }),
            max_entries,
            max_bytes,
            own_bytes: own,
        }
    }

    /// The value of this hash that `is_it`.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<Found<T>> {
        let (bucket, tag) = self.place(hash);
        let bucket = self.buckets.get(bucket)?;
        for (way, seen) in bucket.tags.iter().enumerate() {
            if seen.load(Ordering::Relaxed) != tag {
                continue;
            }
            let value = bucket.slots[way].load();
            if value.as_deref().is_some_and(&is_it) {
                let bit = 1 << way;
                if bucket.found.load(Ordering::Relaxed) & bit == 0 {
                    bucket.found.fetch_or(bit, Ordering::Relaxed);
                }
                return Found::new(value);
            }
        }
        None
    }

    /// Adds a value of `bytes`, in place of the one that `is_it`, if there is one. Gives up others
    /// if there is no room; gives up this one if it is larger than all the room there is.
    pub(crate) fn insert(
        &self,
        hash: u64,
        value: Arc<T>,
        bytes: usize,
        is_it: impl Fn(&T) -> bool,
    ) {
        let (index, tag) = self.place(hash);
        let (Some(bucket), Ok(size)) = (self.buckets.get(index), u32::try_from(bytes)) else {
            return;
        };
        if self.own_bytes + bytes > self.max_bytes {
            return;
        }
        let mut writer = self.lock();
        let way = bucket
            .way_of(tag, is_it)
            .or_else(|| bucket.way_of(0, |_| true))
            .unwrap_or_else(|| writer.give_up_in(bucket, index));
        self.empty(&mut writer, index * WAYS + way);
        while writer.entries >= self.max_entries || writer.bytes + bytes > self.max_bytes {
            self.give_up_one(&mut writer);
        }
        writer.sizes[index * WAYS + way] = size;
        writer.entries += 1;
        writer.bytes += bytes;
        bucket.slots[way].store(Some(value));
        bucket.tags[way].store(tag, Ordering::Release);
    }

    /// Drops the value of this hash that `is_it`.
    pub(crate) fn remove(&self, hash: u64, is_it: impl Fn(&T) -> bool) {
        let (index, tag) = self.place(hash);
        let Some(bucket) = self.buckets.get(index) else {
            return;
        };
        let mut writer = self.lock();
        if let Some(way) = bucket.way_of(tag, is_it) {
            self.empty(&mut writer, index * WAYS + way);
        }
    }

    /// How full it is, the table itself included.
    pub(crate) fn load(&self) -> Load {
        let writer = self.lock();
        Load {
            entries: writer.entries,
            bytes: writer.bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// The bucket, from the upper bits of the hash; the tag is the lower ones.
    fn place(&self, hash: u64) -> (usize, u32) {
        let bucket = (u128::from(hash) * self.buckets.len() as u128) >> 64;
        (bucket as usize, (hash as u32).max(1))
    }

    /// Gives up the next value, in the order of the slots, that was not found since the last time.
    /// The caller knows that there is one.
    fn give_up_one(&self, writer: &mut Writer) {
        // After so many second chances that were taken, the next one goes: this must not take long,
        // and must come to an end while readers go on finding values.
        const CHANCES: usize = 1_000;
        let mut chances = CHANCES.min(writer.entries);
        for _ in 0..=2 * writer.sizes.len() {
            let slot = writer.hand;
            writer.hand = (slot + 1) % writer.sizes.len();
            let bucket = &self.buckets[slot / WAYS];
            let is_there = bucket.tags[slot % WAYS].load(Ordering::Relaxed) != 0;
            if !is_there {
                continue;
            }
            if chances == 0 || !bucket.take_chance(slot % WAYS) {
                return self.empty(writer, slot);
            }
            chances -= 1;
        }
    }

    fn empty(&self, writer: &mut Writer, slot: usize) {
        let bucket = &self.buckets[slot / WAYS];
        let way = slot % WAYS;
        if bucket.tags[way].swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        bucket.take_chance(way);
        bucket.slots[way].store(None);
        writer.entries -= 1;
        writer.bytes -= writer.sizes[slot] as usize;
    }
}

impl<T> Bucket<T> {
    fn new() -> Self {
        Self {
            tags: Default::default(),
            found: AtomicU32::new(0),
            slots: Default::default(),
        }
    }

    /// Where the value of this tag is that `is_it`; for tag zero, where there is room.
    fn way_of(&self, tag: u32, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        (0..WAYS).find(|&way| {
            self.tags[way].load(Ordering::Relaxed) == tag
                && (tag == 0 || self.slots[way].load().as_deref().is_some_and(&is_it))
        })
    }

    /// Whether a value was found since this was last asked.
    fn take_chance(&self, way: usize) -> bool {
        let bit = 1 << way;
        self.found.load(Ordering::Relaxed) & bit != 0
            && self.found.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
}

impl Writer {
    /// Which value of a full bucket makes room.
    fn give_up_in<T>(&mut self, bucket: &Bucket<T>, index: usize) -> usize {
        let hand = &mut self.hands[index];
        let mut way = usize::from(*hand);
        for _ in 0..WAYS {
            if !bucket.take_chance(way) {
                break;
            }
            way = (way + 1) % WAYS;
        }
        *hand = ((way + 1) % WAYS) as u8;
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(max_entries: usize, max_bytes: usize) -> Table<u64> {
        Table::new(max_entries, max_bytes, 64)
    }

    /// Spreads small numbers, as a hash would.
    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23)
            .wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    fn insert(table: &Table<u64>, n: u64, bytes: usize) {
        table.insert(hash(n), Arc::new(n), bytes, |value| *value == n);
    }

    fn has(table: &Table<u64>, n: u64) -> bool {
        let found = table.find(hash(n), |value| *value == n);
        found.is_some_and(|found| found.get() == Some(&n))
    }

    #[test]
    fn what_was_added_is_found_until_it_is_removed() {
        let table = table(100, 100_000);
        insert(&table, 1, 10);
        insert(&table, 2, 10);
        insert(&table, 2, 20);
        assert!(has(&table, 1) && has(&table, 2) && !has(&table, 3));
        let own = Table::<u64>::new(100, 100_000, 64).load().bytes;
        assert_eq!(
            table.load(),
            Load {
                entries: 2,
                bytes: own + 30
            }
        );
        table.remove(hash(2), |value| *value == 2);
        table.remove(hash(3), |_| true);
        assert!(has(&table, 1) && !has(&table, 2));
        assert_eq!(
            table.load(),
            Load {
                entries: 1,
                bytes: own + 10
            }
        );
    }

    #[test]
    fn one_hash_may_have_several_values() {
        let table = table(15, 100_000);
        for n in 0..10 {
            table.insert(7, Arc::new(n), 1, |value| *value == n);
        }
        for n in 0..10 {
            assert!(table.find(7, |value| *value == n).is_some(), "{n}");
        }
        assert!(table.find(7, |value| *value == 10).is_none());
    }

    #[test]
    fn a_million_values_stay_within_both_bounds() {
        let by_count = table(1_000, usize::MAX);
        let by_size = table(100_000, 200_000);
        for n in 0..1_000_000 {
            insert(&by_count, n, 100);
            insert(&by_size, n, 100 + n as usize % 1_000);
            assert!(has(&by_count, n) && has(&by_size, n), "{n}");
            let (count, size) = (by_count.load(), by_size.load());
            assert!(
                count.entries <= 1_000 && size.bytes <= 200_000,
                "{count:?} {size:?}"
            );
        }
        assert!(by_count.load().entries > 900, "{:?}", by_count.load());
        assert!(by_size.load().bytes > 190_000, "{:?}", by_size.load());
        let held = (0..1_000_000).filter(|n| has(&by_count, *n)).count();
        assert_eq!(held, by_count.load().entries);
    }

    /// What is larger than all there is must not empty the table.
    #[test]
    fn what_does_not_fit_is_not_kept() {
        let table = table(10, 10_000);
        insert(&table, 1, 100);
        insert(&table, 2, 10_001);
        assert!(has(&table, 1) && !has(&table, 2));
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let table = table(1_000, usize::MAX);
        for n in 0..500 {
            insert(&table, n, 1);
        }
        for n in 1_000..101_000 {
            if n % 100 == 0 {
                (0..500).for_each(|hot| {
                    has(&table, hot);
                });
            }
            insert(&table, n, 1);
        }
        let hot = (0..500).filter(|n| has(&table, *n)).count();
        // First come, first go would leave none; a few meet in buckets that are full of them.
        assert!(hot >= 450, "{hot} of 500 are left");
    }

    #[test]
    fn values_are_dropped_when_they_are_given_up() {
        let table: Table<Arc<()>> = Table::new(30, usize::MAX, 64);
        let witness = Arc::new(());
        for n in 0..10_000 {
            table.insert(hash(n), Arc::new(Arc::clone(&witness)), 1, |_| false);
        }
        assert_eq!(Arc::strong_count(&witness), 1 + table.load().entries);
        drop(table);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    /// A lock that is taken twice by one thread never comes back.
    #[test]
    fn values_are_found_without_the_lock() {
        let table = table(10, 100_000);
        insert(&table, 1, 1);
        let writer = table.lock();
        assert!(has(&table, 1));
        drop(writer);
    }

    /// Readers may miss what is being replaced, and never see another value for it.
    #[test]
    fn readers_and_writers_do_not_mix_values_up() {
        let table = table(60, usize::MAX);
        std::thread::scope(|scope| {
            for start in [0, 1] {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        insert(table, (start + round * 7) % 200, 1);
                        if let Some(found) = table.find(hash(round % 200), |v| *v == round % 200) {
                            assert_eq!(found.get(), Some(&(round % 200)));
                        }
                        if round % 5 == 0 {
                            table.remove(hash(round % 90), |v| *v == round % 90);
                        }
                    }
                });
            }
        });
        let held = (0..200).filter(|n| has(&table, *n)).count();
        assert_eq!(held, table.load().entries);
    }
}
