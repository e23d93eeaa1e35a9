//! Threads that share a kernel's work, if whoever loads a model brings any.
//!
//! The crate starts none: a command line and a browser's worker know how many there may be and how
//! they start. Rayon's threads sleep while there is nothing to do.

use std::sync::Arc;

use rayon::ThreadPool;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// None, or a pool that models may share.
#[derive(Debug, Clone, Default)]
pub struct Threads(Option<Arc<ThreadPool>>);

impl From<ThreadPool> for Threads {
    fn from(pool: ThreadPool) -> Self {
        Self(Some(Arc::new(pool)))
    }
}

impl Threads {
    /// How many work: one, ours, where there is no pool.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    /// Works on one of the threads, so that [`Threads::each`] in there wakes no thread but the others.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Does the work of every part, on any of the threads.
    pub(super) fn each<T: Send>(&self, parts: impl Iterator<Item = T>, work: impl Fn(T) + Send + Sync) {
        match &self.0 {
            Some(pool) => {
                let parts: Vec<T> = parts.collect();
                pool.install(|| parts.into_par_iter().for_each(work));
            }
            None => parts.for_each(work),
        }
    }
}
