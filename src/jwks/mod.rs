//! Keys, and when to get them: the only part that may wait.
//!
//! - `snapshot`: a key set with its age, immutable.
//! - `state`: when to fetch, whom to make wait, what to refuse; pure, driven by values of time.
//! - `fetch`: one HTTP exchange.
//! - `cache`: ties the three together, one cache for each authorization server.

mod cache;
mod fetch;
#[cfg(all(test, feature = "test-util"))]
mod simulation;
mod snapshot;
mod state;

pub(crate) use cache::{AtHand, KeyCache, Obtained, sleep_or};
pub(crate) use fetch::{Failed, Fetch, HttpClient, Reply, read_body, retry_after};
pub(crate) use snapshot::Snapshot;
pub(crate) use state::{Answer, Want};

pub use state::KeyStatus;
