//! A clock that a test moves by hand.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::time::{Clock, FakeTime, Moment, UnixTime};

/// A clock that stands still until it is [advanced](Self::advance). Clones are the same clock.
///
/// It governs claims, the age of keys and when they are refreshed. The limits of network waits are
/// real time.
#[derive(Clone)]
pub struct FakeClock(Arc<watch::Sender<Moment>>);

impl FakeClock {
    /// A clock at an arbitrary time.
    #[must_use]
    pub fn new() -> Self {
        Self::at(UnixTime::from_secs(1_767_225_600))
    }

    /// A clock at this time.
    #[must_use]
    pub fn at(wall: UnixTime) -> Self {
        Self(Arc::new(watch::Sender::new(Moment {
            monotonic: Duration::from_secs(86_400),
            wall,
        })))
    }

    /// For [`AuthenticateLayerBuilder::clock`](crate::AuthenticateLayerBuilder::clock).
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::fake(Arc::new(self.clone()))
    }

    /// What the clock says.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.0.borrow().wall
    }

    /// Time goes by.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| {
            now.monotonic += by;
            now.wall = now.wall.saturating_add(by);
        });
    }

    /// Somebody sets the wall clock; the monotonic clock does not notice.
    pub fn set_wall(&self, wall: UnixTime) {
        self.0.send_modify(|now| now.wall = wall);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeTime for FakeClock {
    fn now(&self) -> Moment {
        *self.0.borrow()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut time = self.0.subscribe();
        Box::pin(async move {
            let until = time.borrow().monotonic + duration;
            // A clock that is dropped will never get there.
            if time.wait_for(|now| now.monotonic >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeClock").field(&self.now()).finish()
    }
}
