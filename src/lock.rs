//! Locks that are taken also after somebody panicked with them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is behind our locks is whole at every step, whoever panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
