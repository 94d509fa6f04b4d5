//! What the work for every authorization server is done with.

use std::sync::Arc;

use crate::{audit::Audit, jwks::HttpClient, key_snapshot::KeySnapshot, time::Clock};

#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) client: HttpClient,
    pub(crate) audit: Audit,
    /// Keys from before the process began.
    pub(crate) snapshot: Arc<KeySnapshot>,
}

impl Surroundings {
    /// For tests that bring their own keys.
    #[cfg(all(test, feature = "test-util"))]
    pub(crate) fn of_test() -> Self {
        Self {
            clock: Clock::system(),
            client: HttpClient::default(),
            audit: Audit::default(),
            snapshot: Arc::default(),
        }
    }
}
