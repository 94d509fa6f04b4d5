//! Time as a value, and the one place that asks what time it is.
//!
//! Everything that depends on time takes it as an argument: claims are judged against wall-clock
//! time ([`UnixTime`]); the life of cached keys is measured on the monotonic clock and checked
//! against the wall clock too, since the monotonic clock of some systems stops while they sleep.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A point in wall-clock time, counted from 1970-01-01T00:00:00Z without leap seconds.
///
/// This is the `NumericDate` of [RFC 7519 §2](https://www.rfc-editor.org/rfc/rfc7519#section-2).
/// Dates before 1970 are clamped to zero.
///
/// ```
/// use portcullis::UnixTime;
///
/// let issued_at = UnixTime::from_secs(1_700_000_000);
/// assert_eq!(issued_at.as_secs(), 1_700_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// The time that is `secs` whole seconds after the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A `NumericDate` as JSON carries it: possibly with a fraction, possibly negative.
    ///
    /// `None` if the number is too large for a date, or not a number.
    pub(crate) fn from_numeric_date(seconds: f64) -> Option<Self> {
        Duration::try_from_secs_f64(seconds.max(0.0)).ok().map(Self)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// How much later this is than `earlier`; zero if it is not later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    pub(crate) const fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Time since an arbitrary origin; never runs backwards.
    pub(crate) monotonic: Duration,
    /// Wall-clock time; may jump either way.
    pub(crate) wall: UnixTime,
}

impl Moment {
    pub(crate) const fn after(self, duration: Duration) -> Self {
        Self {
            monotonic: self.monotonic.saturating_add(duration),
            wall: self.wall.saturating_add(duration),
        }
    }

    /// How long ago `earlier` was: the larger of what the two clocks say.
    ///
    /// The wall clock can only add to the age (a suspended machine, a jump forward); a wall clock
    /// that is set back never makes anything younger.
    pub(crate) fn age_of(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.saturating_since(earlier.wall))
    }

    /// The whole second of both clocks, in one number that threads can share.
    pub(crate) fn packed(self) -> u64 {
        let half = |seconds: u64| seconds.min(u64::from(u32::MAX) - 1);
        half(self.monotonic.as_secs()) << 32 | half(self.wall.as_secs())
    }

    /// Whether by neither clock it is as late as [packed](Self::packed); `u64::MAX` never comes.
    #[inline]
    pub(crate) const fn is_before(self, packed: u64) -> bool {
        packed == u64::MAX
            || (self.monotonic.as_secs() < packed >> 32
                && self.wall.as_secs() < packed & u32::MAX as u64)
    }
}

/// Where the time comes from: the system, or (feature `test-util`) a fake clock.
///
/// ```
/// let clock = portcullis::Clock::system();
/// ```
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn FakeTime>>);

/// What stands in for the system's clocks in tests.
pub(crate) trait FakeTime: Send + Sync {
    fn now(&self) -> Moment;

    /// Completes once the clock has been moved on by `duration`.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Clock {
    /// The system's wall clock and monotonic clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn fake(time: Arc<dyn FakeTime>) -> Self {
        Self(Some(time))
    }

    pub(crate) fn as_fake(&self) -> Option<&dyn FakeTime> {
        self.0.as_deref()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the clocks"
    )]
    pub(crate) fn now(&self) -> Moment {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            None => Moment {
                monotonic: Instant::now()
                    .saturating_duration_since(*ORIGIN.get_or_init(Instant::now)),
                wall: UnixTime(
                    SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .unwrap_or_default(),
                ),
            },
            Some(fake) => fake.now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() {
            "Clock(system)"
        } else {
            "Clock(fake)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(monotonic: u64, wall: u64) -> Moment {
        Moment {
            monotonic: Duration::from_secs(monotonic),
            wall: UnixTime::from_secs(wall),
        }
    }

    #[test]
    fn age_follows_the_clock_that_moved_further() {
        let then = moment(100, 1_000);
        assert_eq!(moment(110, 1_010).age_of(then).as_secs(), 10);
        assert_eq!(moment(110, 5_000).age_of(then).as_secs(), 4_000, "suspend");
        assert_eq!(moment(110, 3).age_of(then).as_secs(), 10, "wall set back");
    }

    #[test]
    fn a_packed_moment_has_come_when_either_clock_is_there() {
        let until = moment(100, 1_000).packed();
        assert!(moment(99, 999).is_before(until));
        assert!(!moment(100, 3).is_before(until), "wall set back");
        assert!(!moment(3, 1_000).is_before(until), "suspend");
        let far = Moment {
            monotonic: Duration::MAX,
            wall: UnixTime(Duration::MAX),
        };
        assert!(moment(100, 1_000).is_before(far.packed()));
        assert!(!far.is_before(far.packed()) && far.is_before(u64::MAX));
        assert!(!moment(0, 0).is_before(0));
    }

    #[test]
    fn numeric_dates_keep_fractions_and_refuse_what_is_no_date() {
        assert_eq!(
            UnixTime::from_numeric_date(1.5).unwrap().0,
            Duration::from_millis(1_500)
        );
        assert_eq!(UnixTime::from_numeric_date(-1e9), Some(UnixTime::default()));
        assert_eq!(UnixTime::from_numeric_date(1e300), None);
        assert_eq!(UnixTime::from_numeric_date(f64::INFINITY), None);
    }
}
