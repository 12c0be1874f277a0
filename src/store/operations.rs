//! The operation log: what commands changed, when, and with which outcome.
//!
//! ```text
//! log/operations.jsonl     one JSON object a line, appended with one write each
//! log/operations.1.jsonl   the lines before, from the last rotation
//! log/lock                 held while the files are rotated
//! ```
//!
//! | step                                          | a crash right after it leaves                    |
//! |-----------------------------------------------|--------------------------------------------------|
//! | 1. append a line                              | the line, or a part of it, which readers skip    |
//! | 2. beyond [`LARGEST`]: rename over the older file | the lines of both files but the oldest       |
//!
//! A line that follows a torn one begins with a line end of its own. Nothing is synced, and nothing depends on the log: a
//! record that can't be written is lost, and the operation is not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::fs::{self, OpenFlags};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path, process};

/// The size at which a file becomes the older one: some thousand operations.
const LARGEST: u64 = 1 << 20;
/// The longest text of a record, in bytes.
const LONGEST: usize = 2048;
const VERSION: u32 = 1;

/// One operation. The names in it are escaped as in [`super::escape`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOperation {
    version: u32,
    /// The end of it: RFC 3339, UTC.
    pub time: String,
    /// The verb, such as `create` or `doctor --fix`.
    pub verb: String,
    /// Paths, or names of entries, that it changed.
    pub targets: Vec<String>,
    /// A command that was killed leaves no record.
    pub outcome: OperationOutcome,
    /// The result in a few words, or the cause of the failure.
    pub detail: Option<String>,
    /// Of the command.
    pub exit_code: u8,
    /// From the first change to the end of the command.
    pub milliseconds: u64,
    /// The process that ran the command.
    pub pid: u32,
}

/// The outcome of an operation: done, or failed in whole or in part.
#[allow(missing_docs, reason = "the comment of the type has the variants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationOutcome {
    Done,
    Failed,
}

impl LoggedOperation {
    /// One without targets that is done. Its time and process are those given.
    pub fn new(verb: &str, time: String, pid: u32) -> LoggedOperation {
        LoggedOperation {
            version: VERSION,
            time,
            verb: verb.into(),
            targets: Vec::new(),
            outcome: OperationOutcome::Done,
            detail: None,
            exit_code: 0,
            milliseconds: 0,
            pid,
        }
    }

    /// The line of the file, with its end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut short = self.clone();
        short.targets.iter_mut().chain(&mut short.detail).for_each(shorten);
        let text = serde_json::to_string(&short).expect("a record has string keys");
        (text + "\n").into_bytes()
    }

    /// `None`: the line is damaged, or of another version.
    pub fn parse(line: &[u8]) -> Option<LoggedOperation> {
        serde_json::from_slice(line).ok().filter(|operation: &LoggedOperation| operation.version == VERSION)
    }
}

fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
}

/// All that is readable of a log.
#[derive(Debug, Default)]
pub struct ReadOperations {
    /// The oldest first.
    pub operations: Vec<LoggedOperation>,
    /// Lines that are damaged, or of another version.
    pub damaged: u64,
}

/// The log of one store.
#[derive(Clone, Debug)]
pub struct OperationLog {
    store: PathBuf,
}

impl OperationLog {
    /// That of the store at `store`, which need not be there.
    pub fn of(store: &Path) -> OperationLog {
        OperationLog { store: store.into() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store.join("log").join(name)
    }

    /// Adds an operation. Of a store that is absent, or that another user owns, there is no log.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn append(&self, operation: &LoggedOperation) -> Result<(), IoError> {
        let is_ours = path::stat(&self.store.join("version"))?.is_some_and(|stat| stat.uid == process::user());
        if !is_ours {
            return Ok(());
        }
        path::make_private_dir(&self.store.join("log"))?;
        let at = self.file("operations.jsonl");
        let size = self.write(&at, &operation.bytes()).map_err(IoError::of("write", &at))?;
        if size > LARGEST { self.rotate(&at) } else { Ok(()) }
    }

    /// Appends a line; returns the size of the file.
    fn write(&self, at: &Path, line: &[u8]) -> std::io::Result<u64> {
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::APPEND | OpenFlags::NOFOLLOW;
        let file = fs::open_path(at, flags, 0o600)?;
        let size = fs::stat(&file)?.size;
        let mut last = [b'\n'];
        if size > 0 {
            fs::read_at(&file, &mut last, size - 1)?;
        }
        let line = if last == [b'\n'] { line.to_vec() } else { [b"\n", line].concat() };
        // With O_APPEND the offset of pwrite(2) counts for nothing: the bytes go to the end, also if other processes
        // write.
        fs::write_all_at(&file, &line, 0)?;
        Ok(size + line.len() as u64)
    }

    /// A process that finds another one at it leaves it to that one.
    fn rotate(&self, at: &Path) -> Result<(), IoError> {
        let lock = self.file("lock");
        let file =
            fs::open_path(&lock, OpenFlags::RDWR | OpenFlags::CREATE, 0o600).map_err(IoError::of("open", &lock))?;
        let Some(_lock) = Lock::try_exclusive(file).map_err(IoError::of("lock", &lock))? else { return Ok(()) };
        // Another process may have done it since.
        match path::stat(at)? {
            Some(stat) if stat.size > LARGEST => path::rename(at, &self.file("operations.1.jsonl")),
            _ => Ok(()),
        }
    }

    /// Reads both files.
    ///
    /// # Errors
    /// One that is there can't be read.
    pub fn read(&self) -> Result<ReadOperations, IoError> {
        let mut read = ReadOperations::default();
        for name in ["operations.1.jsonl", "operations.jsonl"] {
            let bytes = path::read_if_there(&self.file(name))?.unwrap_or_default();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match LoggedOperation::parse(line) {
                    Some(operation) => read.operations.push(operation),
                    None => read.damaged += 1,
                }
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, OperationLog) {
        let dir = tempfile::tempdir().unwrap();
        path::replace(&dir.path().join("version"), b"depsfs store 2\n").unwrap();
        let log = OperationLog::of(dir.path());
        (dir, log)
    }

    fn operation(n: usize, detail: &str) -> LoggedOperation {
        let operation = LoggedOperation::new("create", "2026-01-02T03:04:05Z".into(), 7);
        LoggedOperation { targets: vec![format!("/w/{n}")], detail: Some(detail.into()), ..operation }
    }

    #[test]
    fn a_damaged_line_is_skipped_and_counted_and_the_next_one_stands_on_a_line_of_its_own() {
        let (_dir, log) = made();
        log.append(&operation(1, "one")).unwrap();
        let at = log.file("operations.jsonl");
        let torn = [path::read(&at).unwrap(), b"{\"version\":1,\"time\":\"20".to_vec()].concat();
        path::replace(&at, &torn).unwrap();
        log.append(&operation(2, "two")).unwrap();
        let newer = String::from_utf8(operation(3, "three").bytes()).unwrap().replace("\"version\":1", "\"version\":2");
        path::replace(&at, &[path::read(&at).unwrap(), newer.into_bytes(), b"\xff\n\n".to_vec()].concat()).unwrap();
        let read = log.read().unwrap();
        assert_eq!((read.operations, read.damaged), (vec![operation(1, "one"), operation(2, "two")], 3));
    }

    #[test]
    fn the_log_is_rotated_and_bounded_and_a_long_text_is_cut() {
        let (_dir, log) = made();
        let long = "ü".repeat(5000);
        for n in 0..1500 {
            log.append(&operation(n, &long)).unwrap();
        }
        let size = |name: &str| path::stat(&log.file(name)).unwrap().unwrap().size;
        let largest = LARGEST + 3 * LONGEST as u64;
        assert!(size("operations.1.jsonl") < largest && size("operations.jsonl") < largest);
        let read = log.read().unwrap();
        assert_eq!(read.damaged, 0);
        assert!(read.operations.len() > 500 && read.operations.len() < 1500, "{}", read.operations.len());
        assert_eq!(read.operations.last().unwrap().targets, ["/w/1499"]);
        assert!(read.operations.windows(2).all(|two| two[0].targets != two[1].targets));
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let (_dir, log) = made();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let log = &log;
                scope.spawn(move || (0..50).for_each(|n| log.append(&operation(writer * 100 + n, "x")).unwrap()));
            }
        });
        let read = log.read().unwrap();
        let mut targets: Vec<_> = read.operations.iter().map(|o| o.targets[0].clone()).collect();
        targets.sort();
        targets.dedup();
        assert_eq!((targets.len(), read.damaged), (400, 0));
    }

    #[test]
    fn an_absent_store_gets_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = OperationLog::of(&dir.path().join("absent"));
        log.append(&operation(1, "one")).unwrap();
        assert_eq!(log.read().unwrap().operations.len(), 0);
        assert_eq!(path::list(dir.path()).unwrap(), []);
    }
}
