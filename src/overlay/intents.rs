//! Write-back intents: the notes that stand for copies whose bytes are not on disk yet (`writeback.rs`).

use std::collections::HashMap;

use crate::store::ObjectId;
use crate::sys::process;

use super::open_file::DelayedFlush;

const PREFIX: &str = "copy.";

/// The copies of a view whose bytes are not on disk for sure.
#[derive(Default)]
pub(super) struct Writeback {
    /// By the copy's inode number in the upper.
    pub intents: HashMap<u64, Intent>,
    /// Those whose object can't be read, and that lack bytes of it (`lacking.rs`).
    pub lacking: HashMap<u64, Intent>,
    /// The truncated files, which the same thread flushes.
    pub truncated: DelayedFlush,
    pub is_running: bool,
    /// The boot id to compare an intent's with, once read.
    pub boot: Option<String>,
}

/// The intent that stands for a copy until its bytes are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub boot: String,
    /// The copy, in the upper's file system, and when it was made.
    pub real: u64,
    pub born: u64,
    pub object: ObjectId,
}

impl Intent {
    /// The name in the work directory: `copy.`, then boot id, inode number and birth in hexadecimal, and object id,
    /// with dots between.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}.{:016x}.{:016x}.{}", self.boot, self.real, self.born, self.object)
    }

    /// The intent that a name stands for; `None` for any other name, and for one that is cut.
    pub fn of_name(name: &[u8]) -> Option<Intent> {
        let mut fields = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split('.');
        let mut next = || fields.next();
        let boot = next()?.to_owned();
        let (real, born) = (u64::from_str_radix(next()?, 16).ok()?, u64::from_str_radix(next()?, 16).ok()?);
        Some(Intent { boot, real, born, object: next()?.parse().ok()? })
    }
}

/// Whether this name in the work directory is an intent. Intents outlive their server.
pub(super) fn is_intent(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

impl Writeback {
    /// The boot id of the machine; without one, no intents are written.
    pub fn boot(&mut self) -> Option<String> {
        if self.boot.is_none() {
            self.boot = process::boot_id();
        }
        self.boot.clone()
    }
}
