//! What is done once for everybody who asks for the same at the same time.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
};

use tokio::{runtime::Handle, sync::watch};

use crate::lock::lock;

/// Work that is under way, by what it is about.
pub(crate) struct SingleFlight<V> {
    flights: Arc<Flights<V>>,
}

type Flights<V> = Mutex<HashMap<Arc<str>, Flight<V>>>;

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
    /// it. `None` if `most` are under way, or outside of a runtime.
    pub(crate) fn join<F: Future<Output = V> + Send + 'static>(
        &self,
        about: &str,
        most: usize,
        work: impl FnOnce(Arc<Place<V>>) -> F,
    ) -> Option<Flight<V>> {
        let runtime = Handle::try_current().ok()?;
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(about) {
            return Some(flight.clone());
        }
        if flights.len() >= most {
            return None;
        }
        let about: Arc<str> = about.into();
        let (sender, flight) = watch::channel(None);
        flights.insert(Arc::clone(&about), flight.clone());
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

    fn is_taken_in(&self, flights: &HashMap<Arc<str>, Flight<V>>) -> bool {
        let ours = flights.get(&self.about);
        ours.is_some_and(|ours| ours.same_channel(&self.flight))
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
