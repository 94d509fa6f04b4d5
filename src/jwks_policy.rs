//! How keys are fetched and how long they are used.

use std::time::Duration;

use crate::error::ConfigError;

/// How the key set (JWKS) of one authorization server is fetched, and how long it is used.
///
/// The defaults suit Okta and most others; every one can be changed.
///
/// ```
/// use std::time::Duration;
/// use portcullis::JwksPolicy;
///
/// let policy = JwksPolicy::default()
///     .ttl_cap(Duration::from_secs(15 * 60))
///     .stale_cap(Duration::ZERO); // no keys past their life, whatever happens
/// ```
///
/// # Security
///
/// A key that the authorization server withdrew is refused after [`ttl_cap`](Self::ttl_cap) plus
/// [`fetch_deadline`](Self::fetch_deadline) at the latest while its server can be reached (plus
/// twice the deadline, where the cap is less than that), and after [`stale_cap`](Self::stale_cap)
/// at the latest while it cannot, or has to wait for its turn behind others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksPolicy {
    pub(crate) ttl_cap: Duration,
    pub(crate) ttl_min: Duration,
    pub(crate) refresh_ahead_percent: u32,
    pub(crate) stale_cap: Duration,
    pub(crate) fetch_deadline: Duration,
    pub(crate) keys_wait: Duration,
    pub(crate) miss_wait: Duration,
    pub(crate) miss_burst: u32,
    pub(crate) miss_interval: Duration,
    pub(crate) unknown_kids: usize,
    pub(crate) max_keys: usize,
    pub(crate) max_body: usize,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) backoff_max_without_keys: Duration,
}

impl Default for JwksPolicy {
    fn default() -> Self {
        Self {
            ttl_cap: Duration::from_secs(3_600),
            ttl_min: Duration::from_secs(60),
            refresh_ahead_percent: 80,
            stale_cap: Duration::from_secs(4 * 3_600),
            fetch_deadline: Duration::from_secs(5),
            keys_wait: Duration::from_secs(3),
            miss_wait: Duration::from_millis(1_500),
            miss_burst: 2,
            miss_interval: Duration::from_secs(15),
            unknown_kids: 256,
            max_keys: 100,
            max_body: 512 * 1_024,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            backoff_max_without_keys: Duration::from_secs(5),
        }
    }
}

/// Setters of the fields of that name.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub const fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*
    };
}

pub(crate) use setters;

impl JwksPolicy {
    setters! {
        /// The longest life of a key set, and its life where the server's `Cache-Control` says
        /// nothing. Default 1 hour; 1 second to 24 hours.
        ttl_cap: Duration;
        /// The shortest life of a key set, also for `no-store` and `max-age=0`. Default 60
        /// seconds. A shorter [`ttl_cap`](Self::ttl_cap) wins.
        ttl_min: Duration;
        /// After how much of its life, in percent and give or take a tenth of it, a key set is
        /// refreshed in the background. Default 80; 10 to 90.
        refresh_ahead_percent: u32;
        /// How old a key set may become while its server cannot be reached. Default 4 hours, at
        /// most 24; zero means not older than its life.
        stale_cap: Duration;
        /// The time limit of one fetch, from name resolution to the last byte. Default 5 seconds;
        /// at most 60. It does not count while 512 other authorization servers are asked, or 128 of
        /// those that did not answer the last time; keys held are used meanwhile.
        fetch_deadline: Duration;
        /// How long a request waits while no keys are held at all. Default 3 seconds; at most 60.
        keys_wait: Duration;
        /// How long a request waits for a refresh, because its key is not among those held.
        /// Default 1.5 seconds; at most 60.
        miss_wait: Duration;
        /// How many refreshes requests with unknown keys may cause at once. Default 2; 1 to 100.
        miss_burst: u32;
        /// The time after which they may cause one more. Default 15 seconds; at least 1.
        miss_interval: Duration;
        /// How many unknown key ids are remembered. Default 256; at most 65,536.
        unknown_kids: usize;
        /// How many keys of a set are kept; further ones are left out and counted. Default 100; 1
        /// to 1,000.
        max_keys: usize;
        /// The largest answer that is read, in bytes. Default 512 KiB; 1 KiB to 16 MiB.
        max_body: usize;
        /// About how long to wait after the first failed fetch; it doubles with each. Default 1
        /// second; at least 100 milliseconds.
        backoff_min: Duration;
        /// The longest wait between failed fetches, also where `Retry-After` asks for more.
        /// Default 60 seconds.
        backoff_max: Duration;
        /// The longest wait between failed fetches while no keys are held, unless `Retry-After`
        /// asks for more. Default 5 seconds.
        backoff_max_without_keys: Duration;
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        let durations = [
            ("ttl_cap", self.ttl_cap, SECOND, DAY, "1 second to 24 hours"),
            ("ttl_min", self.ttl_min, SECOND, DAY, "1 second to 24 hours"),
            (
                "stale_cap",
                self.stale_cap,
                Duration::ZERO,
                DAY,
                "at most 24 hours",
            ),
            (
                "fetch_deadline",
                self.fetch_deadline,
                SECOND / 10,
                MINUTE,
                "100 milliseconds to 60 seconds",
            ),
            (
                "keys_wait",
                self.keys_wait,
                Duration::ZERO,
                MINUTE,
                "at most 60 seconds",
            ),
            (
                "miss_wait",
                self.miss_wait,
                Duration::ZERO,
                MINUTE,
                "at most 60 seconds",
            ),
            (
                "miss_interval",
                self.miss_interval,
                SECOND,
                DAY,
                "1 second to 24 hours",
            ),
            (
                "backoff_min",
                self.backoff_min,
                SECOND / 10,
                DAY,
                "100 milliseconds to 24 hours",
            ),
            (
                "backoff_max",
                self.backoff_max,
                self.backoff_min,
                DAY,
                "backoff_min to 24 hours",
            ),
            (
                "backoff_max_without_keys",
                self.backoff_max_without_keys,
                SECOND / 10,
                DAY,
                "100 milliseconds to 24 hours",
            ),
        ];
        for (setting, found, min, max, expected) in durations {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::out_of_range(setting, found, expected));
            }
        }
        let numbers = [
            (
                "refresh_ahead_percent",
                self.refresh_ahead_percent as usize,
                10,
                90,
                "10 to 90",
            ),
            ("miss_burst", self.miss_burst as usize, 1, 100, "1 to 100"),
            (
                "unknown_kids",
                self.unknown_kids,
                0,
                65_536,
                "at most 65536",
            ),
            ("max_keys", self.max_keys, 1, 1_000, "1 to 1000"),
            (
                "max_body",
                self.max_body,
                1_024,
                16 * 1_024 * 1_024,
                "1 KiB to 16 MiB, in bytes",
            ),
        ];
        for (setting, found, min, max, expected) in numbers {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::out_of_range(setting, found, expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_bounds() {
        assert_eq!(JwksPolicy::default().check(), Ok(()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let bad = [
            (JwksPolicy::default().ttl_cap(Duration::ZERO), "ttl_cap"),
            (JwksPolicy::default().max_keys(0), "max_keys"),
            (
                JwksPolicy::default().backoff_max(Duration::ZERO),
                "backoff_max",
            ),
            (JwksPolicy::default().keys_wait(Duration::MAX), "keys_wait"),
        ];
        for (policy, name) in bad {
            match policy.check() {
                Err(ConfigError::OutOfRange { setting, .. }) => assert_eq!(setting, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
