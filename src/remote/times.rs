//! The times of a checkout's tracked files: a fresh clone gives them to files with the same blobs, so that build tools
//! find artifacts that were built from these files up to date.
//!
//! JSON, version 1; paths as in [`escape`]. A remote has it in zstd, named by the hash of its bytes.

use serde::{Deserialize, Serialize};

use crate::store::{ObjectId, escape};
use crate::sys::fs::Timespec;

/// The version of the format.
const VERSION: u32 = 1;
/// The longest times that a reader accepts.
pub const LONGEST: u64 = 256 << 20;

/// The times of tracked files and of their directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedTimes {
    version: u32,
    /// Sorted by path.
    pub files: Vec<TrackedTime>,
    /// The directory, and its time.
    pub directories: Vec<(String, i64, u32)>,
}

/// One tracked file: its escaped path from the top, its blob in hex, and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedTime(pub String, pub String, pub i64, pub u32);

impl TrackedTime {
    /// Its path from the top, as bytes.
    pub fn path(&self) -> Option<Vec<u8>> {
        escape::unescape(&self.0)
    }

    /// Its time.
    pub fn mtime(&self) -> Timespec {
        Timespec { sec: self.2, nsec: self.3 }
    }
}

impl TrackedTimes {
    /// These times, which it sorts.
    pub fn of(mut files: Vec<TrackedTime>, directories: Vec<(String, i64, u32)>) -> TrackedTimes {
        files.sort_by(|a, b| a.0.cmp(&b.0));
        TrackedTimes { version: VERSION, files, directories }
    }

    /// Its bytes, and their hash.
    pub fn bytes(&self) -> (ObjectId, Vec<u8>) {
        let bytes = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        (ObjectId::of(&bytes), bytes)
    }

    /// Reads them.
    pub fn parse(bytes: &[u8]) -> Option<TrackedTimes> {
        let is_time = |nsec: u32| nsec < 1_000_000_000;
        let times: TrackedTimes = serde_json::from_slice(bytes).ok()?;
        let is_sound = times.version == VERSION
            && times.files.iter().all(|file| is_time(file.3))
            && times.directories.iter().all(|dir| is_time(dir.2));
        is_sound.then_some(times)
    }
}
