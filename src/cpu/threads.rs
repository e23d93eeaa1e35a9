//! Threads that share a kernel's work, if whoever loads a model brings any.
//!
//! The crate starts none: a command line and a browser's worker know how many there may be and how
//! they start. Rayon's threads sleep while there is nothing to do.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// What a part takes at least: less is not worth waking a thread for.
const PART_NS: usize = 5000;
/// Parts for each thread, where there are several: not all of them get along as well.
const PARTS: usize = 8;

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

    /// How many of `count` equal pieces of work make a part, if one takes about so long.
    pub(super) fn together(&self, count: usize, piece_ns: usize) -> usize {
        let parts = if self.count() > 1 { PARTS * self.count() } else { 1 };
        count.div_ceil(parts).max(PART_NS.div_ceil(piece_ns.max(1)))
    }

    /// Does the work of every part, on any of the threads.
    pub(super) fn each<T: Send>(&self, parts: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        self.each_with(&mut Vec::<()>::new(), parts, |(), part| work(part));
    }

    /// The same, with memory for each thread, which is kept for the next time.
    pub(super) fn each_with<M: Default + Send, T: Send>(
        &self,
        memories: &mut Vec<M>,
        parts: impl Iterator<Item = T> + Send,
        work: impl Fn(&mut M, T) + Sync,
    ) {
        let (_, most) = parts.size_hint();
        let count = self.count().min(most.unwrap_or(usize::MAX)).max(1);
        memories.resize_with(memories.len().max(count), M::default);
        let parts = Mutex::new(parts);
        // Whoever is done takes the next: so none waits for one that was woken late.
        let next = || parts.lock().ok()?.next();
        let work_on = |memory: &mut M| {
            while let Some(part) = next() {
                work(memory, part);
            }
        };
        let Some((own, others)) = memories[..count].split_first_mut() else { return };
        match &self.0 {
            Some(pool) if !others.is_empty() => pool.scope(|scope| {
                for other in others {
                    scope.spawn(|_| work_on(other));
                }
                work_on(own);
            }),
            _ => work_on(own),
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
