//! Thread pool that the kernels of a step share, if the host provides one.
//!
//! The crate starts no threads: the command line and the browser's worker know how many there may
//! be and how to start them. A step has hundreds of kernels with little time between them, and
//! waking a sleeping Rayon thread takes as long as some kernels. So during a step, idle threads
//! spin for a while before they sleep.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder, Yield};

use crate::error::{Error, Result};

/// Minimum nanoseconds of a task: less is not worth waking a thread for.
const MIN_TASK_NS: usize = 5000;
/// Tasks per thread if there are several threads, to balance threads of different speed.
const TASKS_PER_THREAD: usize = 8;
/// Failed searches for work before a thread sleeps: about a tenth of a millisecond.
const MAX_SPINS: usize = 2000;

/// Most threads that a load can be given.
pub const MAX_THREADS: u16 = 256;

/// Rayon's builders of threads whose pool waits for [`run_worker`].
static PENDING_WORKERS: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());

/// Makes the current thread a worker of a pool that waits for one ([`Threads::with_workers`]).
/// Returns when that pool is dropped, or at once if no pool waits.
pub fn run_worker() {
    let thread = PENDING_WORKERS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(thread) = thread {
        thread.run();
    }
}

/// A thread pool that models may share, or none.
#[derive(Debug, Clone, Default)]
pub struct Threads(Option<Arc<Pool>>);

#[derive(Debug)]
struct Pool {
    threads: ThreadPool,
    spinning: Arc<Spinning>,
}

/// Counters that decide how many idle threads spin.
#[derive(Debug, Default)]
struct Spinning {
    /// Steps in progress.
    steps: AtomicUsize,
    /// Threads that spin, or were asked to.
    threads: AtomicUsize,
}

impl From<ThreadPool> for Threads {
    fn from(threads: ThreadPool) -> Self {
        Self(Some(Arc::new(Pool { threads, spinning: Arc::default() })))
    }
}

/// Executes other threads' jobs until `is_over`, or until [`MAX_SPINS`] searches in a row found
/// none.
fn spin(is_over: impl Fn() -> bool) {
    let mut spins = 0;
    while spins < MAX_SPINS && !is_over() {
        match rayon::yield_now() {
            Some(Yield::Executed) => spins = 0,
            _ => spins += 1,
        }
        std::hint::spin_loop();
    }
}

impl Pool {
    /// Runs a step on one of the pool's threads.
    fn run_step<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let steps = &self.spinning.steps;
        steps.fetch_add(1, Ordering::Relaxed);
        let result = self.threads.install(work);
        steps.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// Wakes up to `count` other threads, which spin until no step is in progress. Does nothing on
    /// threads outside the pool.
    fn wake(&self, count: usize) {
        let Some(own) = self.threads.current_thread_index() else { return };
        while self.spinning.threads.load(Ordering::Relaxed) < count {
            self.spinning.threads.fetch_add(1, Ordering::Relaxed);
            let spinning = self.spinning.clone();
            self.threads.spawn(move || {
                // A job that comes back to this thread found no other thread awake.
                if rayon::current_thread_index() != Some(own) {
                    spin(|| spinning.steps.load(Ordering::Relaxed) == 0);
                }
                spinning.threads.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

impl Threads {
    /// A pool of `count` threads where Rust cannot start any: the current thread, and others that
    /// call [`run_worker`]. Until they do, the threads that are there do all the work.
    /// `internal` if the pool cannot be built.
    pub fn with_workers(count: usize) -> Result<Self> {
        if count == 1 {
            return Ok(Self::default());
        }
        let pool = ThreadPoolBuilder::new().num_threads(count).use_current_thread();
        let pool = pool.spawn_handler(|thread| {
            PENDING_WORKERS.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            Ok(())
        });
        pool.build()
            .map(Self::from)
            .map_err(|error| Error::internal(format!("pool of {count} threads: {error}")))
    }

    /// Number of threads that work; one, the current thread, without a pool.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.threads.current_num_threads())
    }

    /// Runs a step on one of the pool's threads, so that [`Threads::for_each`] inside it has only
    /// the others to wake.
    pub(super) fn run_step<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.run_step(work),
            None => work(),
        }
    }

    /// Number of items in a task, of `count` items that take about `item_ns` nanoseconds each.
    pub(super) fn items_per_task(&self, count: usize, item_ns: usize) -> usize {
        let tasks = if self.count() > 1 { TASKS_PER_THREAD * self.count() } else { 1 };
        count.div_ceil(tasks).max(MIN_TASK_NS.div_ceil(item_ns.max(1)))
    }

    /// Runs `work` for every task, distributed over the threads.
    pub(super) fn for_each<T: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        work: impl Fn(T) + Sync,
    ) {
        self.for_each_with(&mut Vec::<()>::new(), tasks, |(), task| work(task));
    }

    /// [`Threads::for_each`] with scratch memory per thread, which `scratch` keeps for the next
    /// call.
    pub(super) fn for_each_with<M: Default + Send, T: Send>(
        &self,
        scratch: &mut Vec<M>,
        tasks: impl Iterator<Item = T> + Send,
        work: impl Fn(&mut M, T) + Sync,
    ) {
        let Some(pool) = &self.0 else {
            scratch.resize_with(scratch.len().max(1), M::default);
            tasks.for_each(|task| work(&mut scratch[0], task));
            return;
        };
        let tasks: Vec<T> = tasks.collect();
        let count = self.count().min(tasks.len()).max(1);
        let queues = TaskQueues::new(tasks, self.count());
        scratch.resize_with(scratch.len().max(count), M::default);
        let run_tasks = |scratch: &mut M| {
            let thread = pool.threads.current_thread_index().unwrap_or(0);
            while let Some(task) = queues.next(thread) {
                work(scratch, task);
            }
        };
        let Some((own, others)) = scratch[..count].split_first_mut() else { return };
        if others.is_empty() {
            return run_tasks(own);
        }
        pool.wake(others.len());
        let running = AtomicUsize::new(others.len());
        pool.threads.scope(|scope| {
            for other in others {
                scope.spawn(|_| {
                    run_tasks(other);
                    running.fetch_sub(1, Ordering::Relaxed);
                });
            }
            run_tasks(own);
            spin(|| running.load(Ordering::Relaxed) == 0);
        });
    }
}

/// One queue of tasks per thread, filled evenly and in order: if tasks are rows, a thread has the
/// same rows in each kernel and finds them in its cache. A thread whose queue is empty steals the
/// last task of another, so that none waits for a thread that was woken late.
struct TaskQueues<T>(Vec<Mutex<VecDeque<T>>>);

impl<T> TaskQueues<T> {
    fn new(tasks: Vec<T>, count: usize) -> Self {
        let all = tasks.len();
        let mut tasks = tasks.into_iter();
        let queue = |thread| {
            tasks.by_ref().take((thread + 1) * all / count - thread * all / count).collect()
        };
        Self((0..count).map(queue).map(Mutex::new).collect())
    }

    fn next(&self, thread: usize) -> Option<T> {
        let own = self.0[thread].lock().ok()?.pop_front();
        let mut others = (1..self.0.len()).map(|ahead| (thread + ahead) % self.0.len());
        own.or_else(|| others.find_map(|other| self.0[other].lock().ok()?.pop_back()))
    }
}

/// Splits rows of `stride` words into blocks of `columns` columns, for tasks: element `[i][row]`
/// is what block `i` has of that row.
pub(super) fn split_columns(
    words: &mut [f32],
    stride: usize,
    columns: usize,
) -> Vec<Vec<&mut [f32]>> {
    let mut blocks: Vec<_> = (0..stride.div_ceil(columns)).map(|_| Vec::new()).collect();
    for row in words.chunks_exact_mut(stride) {
        for (block, columns) in blocks.iter_mut().zip(row.chunks_mut(columns)) {
            block.push(columns);
        }
    }
    blocks
}

/// Threads that the host starts when the CPU first has work for them, which may take a while.
#[derive(Clone)]
pub struct StartThreads {
    count: usize,
    start: Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Threads>>>>,
}

impl StartThreads {
    /// `count` threads, started by `start`.
    pub fn new<F: Future<Output = Threads> + 'static>(
        count: usize,
        start: impl Fn() -> F + 'static,
    ) -> Self {
        Self { count, start: Rc::new(move || Box::pin(start())) }
    }

    /// Number of threads once they are started.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Starts the threads, or returns those that were started before.
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
