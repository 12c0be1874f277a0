//! One process at a time brings an artifact into the store; the others wait, and then find it there.
//!
//! | step                        | a crash right after it leaves                                |
//! |-----------------------------|---------------------------------------------------------------|
//! | 1. the file is made, locked | an unlocked file: the next process takes it, gc removes it   |
//! | 2. the work is done         | the same                                                     |
//! | 3. the file is removed      | nothing                                                      |
//!
//! A process that got the lock of a file that was removed meanwhile, or replaced, begins anew.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::CacheError;
use crate::store::Store;
use crate::sys::fs::{self, OpenFlags, open_path};
use crate::sys::lock::Lock;
use crate::sys::log::OrWarn;
use crate::sys::{IoError, interrupt, path as paths};

/// The longest sleep between two attempts.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// A turn that is being had.
pub struct Turn {
    path: PathBuf,
    _lock: Lock,
}

impl Turn {
    /// Waits for the turn of the artifact that `words` name. The caller holds a share of the store: gc stays away.
    pub fn wait(store: &Store, words: &str) -> Result<Turn, CacheError> {
        let name = format!("turn-{}", &blake3::hash(words.as_bytes()).to_hex()[..16]);
        let path = store.path().join("tmp").join(name);
        let mut sleep = Duration::from_micros(500);
        loop {
            let flags = OpenFlags::RDWR | OpenFlags::CREATE;
            let file = open_path(&path, flags, 0o600).map_err(IoError::of("open", &path))?;
            if let Some(lock) = Lock::try_exclusive(file).map_err(IoError::of("lock", &path))?
                && is_at(&lock, &path)?
            {
                return Ok(Turn { path, _lock: lock });
            }
            if interrupt::raised().is_some() {
                return Err(CacheError::Interrupted);
            }
            std::thread::sleep(sleep);
            sleep = (sleep * 2).min(LONGEST_SLEEP);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While it is locked: a process that waits for this file then finds that its name is gone.
        paths::remove_file(&self.path).or_warn("the lock file of a download stays");
    }
}

fn is_at(lock: &Lock, path: &std::path::Path) -> Result<bool, IoError> {
    let locked = fs::stat(lock).map_err(|e: io::Error| IoError::of("stat", path)(e))?;
    Ok(paths::stat(path)?.is_some_and(|there| (there.dev, there.ino) == (locked.dev, locked.ino)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn turns_are_had_one_after_the_other_and_leave_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let _turn = Turn::wait(&store, "x").expect("a turn");
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::sleep(Duration::from_micros(300));
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(paths::list(&dir.path().join("tmp")).expect("listed"), []);
    }

    #[test]
    fn a_file_that_a_crash_left_holds_nobody_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let name = format!("turn-{}", &blake3::hash(b"x").to_hex()[..16]);
        paths::replace(&dir.path().join("tmp").join(name), b"").expect("written");
        drop(Turn::wait(&store, "x").expect("a turn"));
    }
}
