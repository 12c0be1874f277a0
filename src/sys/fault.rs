//! Errors for tests: every call on files in this layer passes [`point`] first, and a test may have one of them fail.
//!
//! In the program `point` is nothing. In tests a `Plan` belongs to the thread that laid it, and to those that it
//! starts through [`inherit`]: tests run beside each other.

use std::io;

/// The kind of request that a call makes to the file system, and so the errors that it can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Metadata, names, bytes to read.
    Look,
    /// A descriptor.
    Open,
    /// Room: for a name, an inode, bytes, an attribute.
    Add,
    /// Other metadata of what is there.
    Change,
    /// A name less.
    Remove,
    /// Bytes on the disk.
    Sync,
}

/// Answers the error that a test has planned for this call.
#[cfg(not(test))]
#[inline(always)]
pub fn point(_: Call) -> io::Result<()> {
    Ok(())
}

/// How many of `len` bytes a write may write: all of them, but where a test has planned otherwise.
#[cfg(not(test))]
#[inline(always)]
pub fn room(len: usize) -> io::Result<usize> {
    Ok(len)
}

/// The inode number of a file in its file system: as it is, but where a test has planned otherwise.
#[cfg(not(test))]
#[inline(always)]
pub fn number(ino: u64) -> u64 {
    ino
}

/// As [`point`], for an open: one that may make a file needs room.
#[inline(always)]
pub fn point_to_open(flags: rustix::fs::OFlags) -> io::Result<()> {
    let makes = flags.contains(rustix::fs::OFlags::CREATE);
    point(if makes { Call::Add } else { Call::Open })
}

/// `work`, for another thread: what was planned for this one holds there too.
#[cfg(not(test))]
#[inline(always)]
pub fn inherit<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
    work
}

#[cfg(test)]
pub use planned::{Numbers, Plan, Stall, inherit, number, point, room};

#[cfg(test)]
mod planned {
    use std::backtrace::Backtrace;
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use parking_lot::{Condvar, Mutex};

    use super::Call;

    thread_local! {
        static PLAN: RefCell<Option<Arc<State>>> = const { RefCell::new(None) };
        static STALL: RefCell<Option<Arc<Held>>> = const { RefCell::new(None) };
        static NUMBER: Cell<fn(u64) -> u64> = const { Cell::new(|ino| ino) };
    }

    /// While it lives, files have the inode numbers that a function makes of their own: for the thread that laid it.
    pub struct Numbers(());

    impl Numbers {
        /// Maps the inode numbers that this thread's later calls of `stat` return. Other threads see the real ones.
        pub fn lay(of: fn(u64) -> u64) -> Numbers {
            NUMBER.set(of);
            Numbers(())
        }
    }

    impl Drop for Numbers {
        fn drop(&mut self) {
            NUMBER.set(|ino| ino);
        }
    }

    /// As `number` of the program: the number that the laid function makes of `ino`, else `ino`.
    pub fn number(ino: u64) -> u64 {
        NUMBER.get()(ino)
    }

    /// While it lives, calls of one kind wait until they are let through: by the thread that laid it, and by those that
    /// it starts.
    pub struct Stall(Arc<Held>);

    struct Held {
        call: Call,
        /// How many wait, and how many of them may go on.
        state: Mutex<(u32, u32)>,
        changed: Condvar,
    }

    impl Stall {
        /// Holds each later call of this kind, of this thread and of those that it starts through [`inherit`]. One
        /// stall holds at a time: a second one replaces the first.
        pub fn lay(call: Call) -> Stall {
            let held = Arc::new(Held { call, state: Mutex::default(), changed: Condvar::new() });
            STALL.set(Some(held.clone()));
            Stall(held)
        }

        /// Panics when none does within twenty seconds.
        pub fn until_one_waits(&self) {
            let mut state = self.0.state.lock();
            let waited = self.0.changed.wait_while_for(&mut state, |s| s.0 == 0, Duration::from_secs(20));
            assert!(!waited.timed_out(), "no call came");
        }

        /// Lets one call return that waits now, or the next one that comes. The others go on waiting.
        pub fn let_one_through(&self) {
            let mut state = self.0.state.lock();
            (state.0, state.1) = (state.0.saturating_sub(1), state.1 + 1);
            self.0.changed.notify_all();
        }
    }

    impl Drop for Stall {
        fn drop(&mut self) {
            STALL.set(None);
            self.0.state.lock().1 = u32::MAX;
            self.0.changed.notify_all();
        }
    }

    impl Held {
        fn wait(&self) {
            let mut state = self.state.lock();
            state.0 += 1;
            self.changed.notify_all();
            self.changed.wait_while(&mut state, |s| s.1 == 0);
            state.1 = if state.1 == u32::MAX { u32::MAX } else { state.1 - 1 };
        }
    }

    /// Which calls fail, and how.
    #[derive(Clone, Copy, Debug)]
    pub struct Plan {
        /// Only these calls count.
        pub calls: fn(Call) -> bool,
        /// The first that fails; 0 is the very first.
        pub from: u32,
        /// And all after it.
        pub for_ever: bool,
        pub errno: i32,
        /// A write of 16 bytes or more that is to fail writes half of them; the next one fails. So it is with the
        /// writes of the layers above; a program whose own write is cut short gets the shorter count.
        pub torn: bool,
    }

    struct State {
        plan: Plan,
        seen: AtomicU32,
        /// Half of a write was let through.
        is_torn: AtomicBool,
        /// Calls that failed, each with the way to it when `DEPSFS_FAULT_TRACE` is set.
        failed: Mutex<Vec<(Call, String)>>,
    }

    /// While it lives, the plan holds.
    pub struct Guard(Arc<State>);

    impl Plan {
        /// Counts, and fails, later calls of this thread and of those that it starts through [`inherit`]. One plan
        /// holds at a time: a second one replaces the first.
        pub fn lay(self) -> Guard {
            let state = State {
                plan: self,
                seen: AtomicU32::new(0),
                is_torn: AtomicBool::new(false),
                failed: Mutex::default(),
            };
            let state = Arc::new(state);
            PLAN.set(Some(state.clone()));
            Guard(state)
        }
    }

    impl Guard {
        /// How many calls were counted.
        pub fn seen(&self) -> u32 {
            self.0.seen.load(Ordering::Relaxed)
        }

        /// The calls that failed so far, in order, each with its backtrace; an empty text unless `DEPSFS_FAULT_TRACE`
        /// is set.
        pub fn failed(&self) -> Vec<(Call, String)> {
            self.0.failed.lock().clone()
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            PLAN.set(None);
        }
    }

    impl State {
        fn is_due(&self, call: Call) -> bool {
            if !(self.plan.calls)(call) {
                return false;
            }
            let now = self.seen.fetch_add(1, Ordering::Relaxed);
            now == self.plan.from || (self.plan.for_ever && now > self.plan.from)
        }

        fn fail<T>(&self, call: Call) -> io::Result<T> {
            let trace = std::env::var_os("DEPSFS_FAULT_TRACE").map(|_| Backtrace::force_capture().to_string());
            self.failed.lock().push((call, trace.unwrap_or_default()));
            Err(io::Error::from_raw_os_error(self.plan.errno))
        }
    }

    fn plan() -> Option<Arc<State>> {
        PLAN.with_borrow(Option::clone)
    }

    /// As `point` of the program. It waits first while a [`Stall`] holds calls of this kind; the error is the plan's
    /// `errno`.
    pub fn point(call: Call) -> io::Result<()> {
        if let Some(held) = STALL.with_borrow(Option::clone).filter(|held| held.call == call) {
            held.wait();
        }
        match plan() {
            Some(state) if state.is_due(call) => state.fail(call),
            _ => Ok(()),
        }
    }

    /// As `room` of the program: all of `len`, half of it if the plan tears this write, or the plan's error.
    pub fn room(len: usize) -> io::Result<usize> {
        let Some(state) = plan() else { return Ok(len) };
        if state.is_torn.swap(false, Ordering::Relaxed) {
            return state.fail(Call::Add);
        }
        match state.is_due(Call::Add) {
            false => Ok(len),
            true if state.plan.torn && len >= 16 => {
                state.is_torn.store(true, Ordering::Relaxed);
                Ok(len / 2)
            }
            true => state.fail(Call::Add),
        }
    }

    /// `work`, for another thread: what was planned for this one holds there too.
    pub fn inherit<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
        let (plan, stall) = (plan(), STALL.with_borrow(Option::clone));
        move || {
            PLAN.set(plan);
            STALL.set(stall);
            work()
        }
    }
}
