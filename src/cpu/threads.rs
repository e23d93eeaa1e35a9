//! Threads that share a kernel's work, if whoever loads a model brings any.
//!
//! The crate starts none: a command line and a browser's worker know how many there may be and how
//! they start. Rayon's threads sleep while there is nothing to do. A step has some hundreds of kernels with
//! little between them, and waking a thread takes as long as some of these: so during a step, threads look
//! out for work for a while before they sleep.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder, Yield};

use crate::error::{Error, Result};

/// What a part takes at least: less is not worth waking a thread for.
const PART_NS: usize = 5000;
/// Parts for each thread, where there are several: not all of them get along as well.
const PARTS: usize = 8;
/// How often a thread looks for work before it sleeps: roughly for a tenth of a millisecond.
const LOOKS: usize = 2000;

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
pub struct Threads(Option<Arc<Pool>>);

#[derive(Debug)]
struct Pool {
    threads: ThreadPool,
    lookout: Arc<Lookout>,
}

/// The threads that look out for work.
#[derive(Debug, Default)]
struct Lookout {
    /// Steps that are being computed.
    steps: AtomicUsize,
    /// Threads that look out, or were told to.
    posts: AtomicUsize,
}

impl From<ThreadPool> for Threads {
    fn from(threads: ThreadPool) -> Self {
        Self(Some(Arc::new(Pool { threads, lookout: Arc::default() })))
    }
}

/// Does other threads' work until `is_over`, or until there was none for a while.
fn look_out(is_over: impl Fn() -> bool) {
    let mut looks = 0;
    while looks < LOOKS && !is_over() {
        match rayon::yield_now() {
            Some(Yield::Executed) => looks = 0,
            _ => looks += 1,
        }
        std::hint::spin_loop();
    }
}

impl Pool {
    /// Does the work of a step on one of the threads.
    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let steps = &self.lookout.steps;
        steps.fetch_add(1, Ordering::Relaxed);
        let result = self.threads.install(work);
        steps.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// Has others look out for work, where a step is being computed on this thread.
    fn post(&self, others: usize) {
        let Some(own) = self.threads.current_thread_index() else { return };
        while self.lookout.posts.load(Ordering::Relaxed) < others {
            self.lookout.posts.fetch_add(1, Ordering::Relaxed);
            let lookout = self.lookout.clone();
            self.threads.spawn(move || {
                // Back with whoever has the work to give: nobody was there to take it.
                if rayon::current_thread_index() != Some(own) {
                    look_out(|| lookout.steps.load(Ordering::Relaxed) == 0);
                }
                lookout.posts.fetch_sub(1, Ordering::Relaxed);
            });
        }
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
        pool.build()
            .map(Self::from)
            .map_err(|error| Error::internal(format!("{count} threads: {error}")))
    }

    /// How many work: one, ours, where there is no pool.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.threads.current_num_threads())
    }

    /// Works on one of the threads, so that [`Threads::each`] in there wakes no thread but the others.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.enter(work),
            None => work(),
        }
    }

    /// How many of `count` equal pieces of work make a part, if one takes about so long.
    pub(super) fn together(&self, count: usize, piece_ns: usize) -> usize {
        let parts = if self.count() > 1 { PARTS * self.count() } else { 1 };
        count.div_ceil(parts).max(PART_NS.div_ceil(piece_ns.max(1)))
    }

    /// Does the work of every part, on any of the threads.
    pub(super) fn each<T: Send>(
        &self,
        parts: impl Iterator<Item = T> + Send,
        work: impl Fn(T) + Sync,
    ) {
        self.each_with(&mut Vec::<()>::new(), parts, |(), part| work(part));
    }

    /// The same, with memory for each thread, which is kept for the next time.
    pub(super) fn each_with<M: Default + Send, T: Send>(
        &self,
        memories: &mut Vec<M>,
        parts: impl Iterator<Item = T> + Send,
        work: impl Fn(&mut M, T) + Sync,
    ) {
        let Some(pool) = &self.0 else {
            memories.resize_with(memories.len().max(1), M::default);
            parts.for_each(|part| work(&mut memories[0], part));
            return;
        };
        let parts: Vec<T> = parts.collect();
        let count = self.count().min(parts.len()).max(1);
        let shares = Shares::new(parts, self.count());
        memories.resize_with(memories.len().max(count), M::default);
        let work_on = |memory: &mut M| {
            let thread = pool.threads.current_thread_index().unwrap_or(0);
            while let Some(part) = shares.next(thread) {
                work(memory, part);
            }
        };
        let Some((own, others)) = memories[..count].split_first_mut() else { return };
        if others.is_empty() {
            return work_on(own);
        }
        pool.post(others.len());
        let at_work = AtomicUsize::new(others.len());
        pool.threads.scope(|scope| {
            for other in others {
                scope.spawn(|_| {
                    work_on(other);
                    at_work.fetch_sub(1, Ordering::Relaxed);
                });
            }
            work_on(own);
            look_out(|| at_work.load(Ordering::Relaxed) == 0);
        });
    }
}

/// Parts in order, as many for each thread: where parts are rows, a thread has the same ones in each kernel,
/// and reads what it wrote. Whoever is done takes the others' last ones: so none waits for one that was
/// woken late.
struct Shares<T>(Vec<Mutex<VecDeque<T>>>);

impl<T> Shares<T> {
    fn new(parts: Vec<T>, count: usize) -> Self {
        let all = parts.len();
        let mut parts = parts.into_iter();
        let share = |thread| {
            parts.by_ref().take((thread + 1) * all / count - thread * all / count).collect()
        };
        Self((0..count).map(share).map(Mutex::new).collect())
    }

    fn next(&self, thread: usize) -> Option<T> {
        let own = self.0[thread].lock().ok()?.pop_front();
        let mut others = (1..self.0.len()).map(|ahead| (thread + ahead) % self.0.len());
        own.or_else(|| others.find_map(|other| self.0[other].lock().ok()?.pop_back()))
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
    pub fn new<F: Future<Output = Threads> + 'static>(
        count: usize,
        start: impl Fn() -> F + 'static,
    ) -> Self {
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
