//! The requests of one connection: counters, and a span of each for the log.
//!
//! The counters are atomics that one thread at a time adds to, without a lock. Times are taken from the two readings of
//! the clock that answering a request needs anyway.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuser::INodeNo;
use serde_json::{Map, Value, json};
use tracing::Span;

use crate::sys::log::errno_name;
use crate::sys::terminal::DisplayName;

macro_rules! operations {
    ($($operation:ident $name:literal),* $(,)?) => {
        /// The operation of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation { $($operation),* }

        /// In the order of [`Operation`].
        const NAMES: [&str; [$($name),*].len()] = [$($name),*];
    };
}

operations! {
    Lookup "lookup", Forget "forget", Getattr "getattr", Setattr "setattr", Readlink "readlink", Mknod "mknod",
    Mkdir "mkdir", Unlink "unlink", Rmdir "rmdir", Symlink "symlink", Rename "rename", Link "link", Open "open",
    Opendir "opendir", Create "create", Flush "flush", Read "read", Write "write", Fsync "fsync", Fsyncdir "fsyncdir",
    Readdir "readdir", Readdirplus "readdirplus", Statfs "statfs", Setxattr "setxattr", Getxattr "getxattr",
    Listxattr "listxattr", Removexattr "removexattr", Ioctl "ioctl", Fallocate "fallocate", Lseek "lseek",
    CopyFileRange "copy_file_range",
}

impl Operation {
    /// The name in counters and log: that of fuser's method, in lower case.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The counters of one connection, from the start of this server.
#[derive(Default)]
pub struct Requests {
    counts: [AtomicU64; NAMES.len()],
    failed: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
    /// Microseconds of the slowest request, and its operation in the lowest byte.
    slowest: AtomicU64,
}

impl Requests {
    /// A request was answered with this error number, 0 for none.
    pub fn answered(&self, operation: Operation, took: Option<Duration>, errno: i32) {
        self.counts[operation as usize].fetch_add(1, Ordering::Relaxed);
        if errno != 0 {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let micros = took.map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX) & (u64::MAX >> 8));
        let slow = micros << 8 | operation as u64;
        if micros > 0 && slow > self.slowest.load(Ordering::Relaxed) {
            self.slowest.fetch_max(slow, Ordering::Relaxed);
        }
    }

    /// Counts the bytes that a `read` returned.
    pub fn has_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts the bytes that a `write` or a `copy_file_range` stored.
    pub fn has_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All of them, as `user.depsfs.stats` reports them: operations that were never requested are left out.
    pub fn to_json(&self) -> Map<String, Value> {
        let count = |(name, count): (&&str, &AtomicU64)| (name.to_string(), count.load(Ordering::Relaxed).into());
        let counts: Map<String, Value> = NAMES.iter().zip(&self.counts).map(count).filter(|(_, n)| *n != 0).collect();
        let slowest = self.slowest.load(Ordering::Relaxed);
        let slowest = (slowest > 0).then(|| {
            let operation = NAMES.get((slowest & 0xff) as usize).copied().unwrap_or_default();
            json!({ "operation": operation, "microseconds": slowest >> 8 })
        });
        Map::from_iter([
            ("requests".into(), counts.into()),
            ("failed".into(), self.failed.load(Ordering::Relaxed).into()),
            ("slowest".into(), slowest.into()),
            ("bytes_read".into(), self.read.load(Ordering::Relaxed).into()),
            ("bytes_written".into(), self.written.load(Ordering::Relaxed).into()),
        ])
    }
}

/// The span of a request; nothing is computed for it unless the log has debug messages of this module.
pub fn span(view: &str, operation: Operation, number: INodeNo, name: Option<&OsStr>) -> Span {
    tracing::debug_span!(
        "request",
        view,
        operation = operation.name(),
        inode = number.0,
        name = name.map(|name| tracing::field::display(name.shown()))
    )
}

/// Ends a span: the outcome, and the time that it took.
pub fn report(span: &Span, took: Option<Duration>, errno: i32) {
    if !span.is_disabled() {
        let micros = took.map(|took| took.as_micros() as u64);
        span.in_scope(|| tracing::debug!(outcome = errno_name(errno), microseconds = micros));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_the_slowest_is_named() {
        let requests = Requests::default();
        let took = |micros| Some(Duration::from_micros(micros));
        requests.answered(Operation::Lookup, took(12), libc::ENOENT);
        requests.answered(Operation::Fsync, took(9000), 0);
        requests.answered(Operation::CopyFileRange, took(200), 0);
        requests.answered(Operation::Lookup, took(3), 0);
        requests.answered(Operation::Forget, None, 0);
        requests.has_read(5);
        let seen = Value::Object(requests.to_json());
        assert_eq!(seen["requests"], json!({ "lookup": 2, "fsync": 1, "copy_file_range": 1, "forget": 1 }));
        assert_eq!(seen["slowest"], json!({ "operation": "fsync", "microseconds": 9000 }));
        assert_eq!((&seen["failed"], &seen["bytes_read"], &seen["bytes_written"]), (&json!(1), &json!(5), &json!(0)));
    }
}
