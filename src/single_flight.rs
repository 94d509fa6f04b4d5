//! What is done once for everybody who asks for the same at the same time.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

use crate::time::Moment;

/// Work that is under way, by what it is about.
pub(crate) struct SingleFlight<V> {
    flights: Arc<Flights<V>>,
}

type Flights<V> = Mutex<HashMap<Arc<str>, UnderWay<V>>>;

struct UnderWay<V> {
    flight: Flight<V>,
    /// When it is taken for lost, on the monotonic clock.
    lost_at: Duration,
}

/// How much may be under way, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) most: usize,
    /// What takes longer than this is on a runtime that nobody polls any more, since all work has limits
    /// of its own. It is begun anew.
    pub(crate) longest: Duration,
}

/// What is waited for: something, once it is there.
pub(crate) type Flight<V> = watch::Receiver<Option<V>>;

/// A place among what is under way; left however the work ends.
pub(crate) struct Place<V> {
    flights: Arc<Flights<V>>,
    about: Arc<str>,
    flight: Flight<V>,
}

impl<V: Send + Sync + 'static> SingleFlight<V> {
    pub(crate) fn new() -> Self {
        Self {
            flights: Arc::default(),
        }
    }

    /// Starts `work`, unless it is under way; in a task of its own, so that nobody who goes away ends
    /// it. `None` if too much is under way, or outside of a runtime.
    pub(crate) fn join<F: Future<Output = V> + Send + 'static>(
        &self,
        about: &str,
        now: Moment,
        limits: Limits,
        work: impl FnOnce(Arc<Place<V>>) -> F,
    ) -> Option<Flight<V>> {
        let runtime = Handle::try_current().ok()?;
        let mut flights = lock(&self.flights);
        let under_way = flights.get(about);
        if let Some(under_way) = under_way.filter(|it| now.monotonic < it.lost_at) {
            return Some(under_way.flight.clone());
        }
        if under_way.is_none() && flights.len() >= limits.most {
            return None;
        }
        let about: Arc<str> = about.into();
        let (sender, flight) = watch::channel(None);
        let under_way = UnderWay {
            flight: flight.clone(),
            lost_at: now.monotonic.saturating_add(limits.longest),
        };
        flights.insert(Arc::clone(&about), under_way);
        drop(flights);
        let place = Arc::new(Place {
            flights: Arc::clone(&self.flights),
            about,
            flight: flight.clone(),
        });
        let work = work(Arc::clone(&place));
        runtime.spawn(async move {
            let done = work.await;
            drop(place);
            sender.send_replace(Some(done));
        });
        Some(flight)
    }

    /// What is under way is of no use any more: whoever comes next starts anew.
    pub(crate) fn forget(&self, about: &str) {
        lock(&self.flights).remove(about);
    }
}

impl<V> Place<V> {
    pub(crate) const fn about(&self) -> &Arc<str> {
        &self.about
    }

    /// Whether it was not [forgotten](SingleFlight::forget).
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken_in(&lock(&self.flights))
    }

    fn is_taken_in(&self, flights: &HashMap<Arc<str>, UnderWay<V>>) -> bool {
        let ours = flights.get(&self.about);
        ours.is_some_and(|ours| ours.flight.same_channel(&self.flight))
    }
}

impl<V> Drop for Place<V> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        if self.is_taken_in(&flights) {
            flights.remove(&self.about);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::test_util::FakeClock;

    const LIMITS: Limits = Limits {
        most: 2,
        longest: Duration::from_secs(10),
    };

    /// As on a runtime that is not polled any more: nothing of it ever runs.
    #[test]
    fn what_takes_longer_than_it_may_is_begun_anew_and_takes_no_further_room() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (time, flights) = (FakeClock::new(), SingleFlight::<()>::new());
        let begun = AtomicUsize::new(0);
        let join = |about| {
            let _entered = runtime.enter();
            let work = |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::pending()
            };
            let flight = flights.join(about, time.clock().now(), LIMITS, work);
            (flight.is_some(), begun.load(Ordering::Relaxed))
        };
        assert_eq!(join("a"), (true, 1));
        time.advance(Duration::from_secs(9));
        assert_eq!(join("a"), (true, 1));
        assert_eq!(join("b"), (true, 2));
        assert_eq!(join("c"), (false, 2), "no room");
        time.advance(Duration::from_secs(1));
        assert_eq!(join("a"), (true, 3));
        assert_eq!(join("a"), (true, 3));
        assert_eq!(join("c"), (false, 3));
    }
}
