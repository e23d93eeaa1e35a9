//! Threads that share a kernel's work, if whoever loads a model brings any.
//!
//! The crate starts none: a command line and a browser's worker know how many there may be and how
//! they start. Rayon's threads sleep while there is nothing to do.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Threads of pools that wait for somebody to lend them one.
static WAITING: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());

/// Lends this thread to a pool that waits for one ([`Threads::lent`]), until that pool is dropped.
pub fn lend_thread() {
    let thread = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(thread) = thread {
        thread.run();
    }
}

/// None, or a pool that models may share.
#[derive(Debug, Clone, Default)]
pub struct Threads(Option<Arc<ThreadPool>>);

impl From<ThreadPool> for Threads {
    fn from(pool: ThreadPool) -> Self {
        Self(Some(Arc::new(pool)))
    }
}

impl Threads {
    /// A pool of this thread and of others, so many together, where Rust cannot start any: each of the
    /// others is to call [`lend_thread`]. Until they do, those that are there do their work.
    pub fn lent(count: usize) -> Result<Self> {
        if count == 1 {
            return Ok(Self::default());
        }
        let pool = ThreadPoolBuilder::new().num_threads(count).use_current_thread();
        let pool = pool.spawn_handler(|thread| {
            WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            Ok(())
        });
        pool.build().map(Self::from).map_err(|error| Error::internal(format!("{count} threads: {error}")))
    }

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

/// Threads that are there once the CPU has work for them: starting them may take a while.
#[derive(Clone)]
pub struct StartThreads {
    count: usize,
    start: Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Threads>>>>,
}

impl StartThreads {
    /// So many, by that function.
    pub fn new<F: Future<Output = Threads> + 'static>(count: usize, start: impl Fn() -> F + 'static) -> Self {
        Self { count, start: Rc::new(move || Box::pin(start())) }
    }

    /// How many there will be.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Starts them, or gives those that were started.
    pub async fn start(&self) -> Threads {
        (self.start)().await
    }
}

impl From<Threads> for StartThreads {
    fn from(threads: Threads) -> Self {
        Self::new(threads.count(), move || ready(threads.clone()))
    }
}

impl Default for StartThreads {
    fn default() -> Self {
        Threads::default().into()
    }
}

impl fmt::Debug for StartThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StartThreads({})", self.count)
    }
}
