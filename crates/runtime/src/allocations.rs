//! Counting what runs allocate. A worker's program makes [`Counting`] its global allocator; it counts only while it is asked to, and costs
//! one look at a flag else.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    ops::Sub,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

static ON: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, which counts.
#[derive(Debug)]
pub struct Counting;

/// What was allocated. Memory that grows counts as one allocation of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Allocated {
    /// Calls of the allocator.
    pub count: u64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

impl Sub for Allocated {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self { count: self.count.saturating_sub(less.count), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

fn note(bytes: usize) {
    if ON.load(Relaxed) {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

#[expect(unsafe_code, reason = "a global allocator cannot be had without; every call goes to the system's as it is")]
// SAFETY: the system's allocator keeps the contract, and `note` allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the whole process allocates meanwhile; one count at a time.
pub(crate) fn counted<T>(act: impl FnOnce() -> T) -> (T, Allocated) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let now = || Allocated { count: COUNT.load(Relaxed), bytes: BYTES.load(Relaxed) };
    let before = now();
    ON.store(true, Relaxed);
    let done = act();
    ON.store(false, Relaxed);
    (done, now() - before)
}

/// Whether this program counts at all.
pub(crate) fn are_counted() -> bool {
    counted(|| drop(black_box(Box::new(0u8)))).1.count > 0
}
