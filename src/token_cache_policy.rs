//! How many verified tokens are remembered.

use crate::error::ConfigError;

/// How many verified tokens are remembered, so that they need not be verified again.
///
/// A token that comes a second time costs about a hundredth of the first. Nothing else changes: a
/// remembered token is compared byte for byte, its times are judged on every request, and once
/// the key that verified it has gone it is not used any more. Tokens that were refused are not
/// remembered.
///
/// The room for the entries themselves, 17 bytes each, is taken when the layer is made. The rest is
/// taken as tokens come: what the verified token holds anyway, the token as it was sent, and 64 bytes.
/// Tokens that are not asked for make room for others.
///
/// ```
/// use portcullis::{AuthorizationServer, ResourceServer, TokenCachePolicy};
///
/// let resource_server = ResourceServer::builder()
///     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
///     .token_cache(TokenCachePolicy::default().max_bytes(64 * 1_024 * 1_024))
///     .build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// # Security
///
/// Tokens are in memory for as long as they are remembered, and overwritten when they are forgotten,
/// which is when their room is needed, or when they come again and their key has gone; also if they
/// have expired meanwhile. Claims are not overwritten. Switch it [off](Self::off) if no token may be in memory longer than
/// its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCachePolicy {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: usize,
}

impl Default for TokenCachePolicy {
    fn default() -> Self {
        Self {
            max_entries: 16_384,
            max_bytes: 16 * 1_024 * 1_024,
        }
    }
}

impl TokenCachePolicy {
    /// The largest token takes no more than this.
    pub(crate) const LEAST_BYTES: usize = 64 * 1_024;
    pub(crate) const MOST_ENTRIES: usize = 1 << 24;

    /// Remembers nothing: every token is verified whenever it comes.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            max_entries: 0,
            max_bytes: 0,
        }
    }

    /// How many tokens are remembered at most. Default 16,384; at most 16,777,216; zero remembers
    /// nothing.
    #[must_use]
    pub const fn max_entries(mut self, max_entries: usize) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// How many bytes they take at most, the room for the entries included. Default 16 MiB; at
    /// least 64 KiB, which is what the largest token may need; zero remembers nothing.
    ///
    /// Counted is what is asked of the allocator, not what it adds for itself. A token that a
    /// handler still holds when it is forgotten here is the handler's.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.max_entries > 0 && self.max_bytes > 0
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.max_entries > Self::MOST_ENTRIES {
            return Err(ConfigError::out_of_range(
                "token_cache max_entries",
                self.max_entries,
                "at most 16777216, or 0 for none",
            ));
        }
        if self.is_on() && self.max_bytes < Self::LEAST_BYTES {
            return Err(ConfigError::out_of_range(
                "token_cache max_bytes",
                self.max_bytes,
                "at least 65536, or 0 for none",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_zero_is_off_and_one_below_a_token_is_a_mistake() {
        let policy = TokenCachePolicy::default();
        assert!(policy.is_on() && policy.check().is_ok());
        for off in [
            TokenCachePolicy::off(),
            policy.clone().max_bytes(0),
            policy.clone().max_entries(0),
        ] {
            assert!(!off.is_on() && off.check().is_ok(), "{off:?}");
        }
        assert!(policy.clone().max_entries(1).check().is_ok());
        assert!(policy.clone().max_bytes(65_536).check().is_ok());
        for bad in [
            policy.clone().max_bytes(1),
            policy.clone().max_bytes(65_535),
            policy.max_entries(usize::MAX),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
