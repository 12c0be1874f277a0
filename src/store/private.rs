//! A store is for one user: it holds the contents of files without their permissions.
//!
//! The directory is made 0700. One that an earlier depsfs made is open to the users that the umask let in. It is
//! tightened at its next use by its owner, once: a file records this, and a store that the owner opens with chmod(1)
//! afterwards stays open. Another user, root included, is refused: the owner could not remove files that root wrote
//! there.

use std::os::fd::AsFd;
use std::path::Path;

use super::StoreError;
use super::version::VERSION;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::{IoError, path as paths, process};

/// Says that the directory is private, or was once.
const MARK: &str = "private";
const TEXT: &[u8] = b"depsfs has made this directory private (0700); who is let in afterwards is its owner's to say.\n";
/// <https://bford.info/cachedir/>
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# depsfs store; gc: depsfs gc\n";
const DIRS: [&str; 7] = ["objects", "packs", "trees", "entries", "roots", "snapshots", "tmp"];
const OTHERS: u32 = 0o077;

/// # Errors
/// [`StoreError::OtherOwner`]. An absent directory has no owner.
pub(super) fn refuse_others(path: &Path) -> Result<(), StoreError> {
    let user = process::user();
    // Needs no permission on the directory itself. If even this fails, so does the next step, which reports the reason.
    let stat = fs::open_path(path, OpenFlags::PATH | OpenFlags::DIRECTORY, 0).and_then(fs::stat);
    match stat {
        Ok(stat) if stat.uid != user => Err(StoreError::OtherOwner { path: path.into(), owner: stat.uid, user }),
        _ => Ok(()),
    }
}

/// Makes what a store has, at a path that is absent, empty, or a store that was half made.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    make_top(path)?;
    let version = path.join("version");
    if paths::read_if_there(&version)?.is_none() {
        // Another process may be making the same store: its files, temporary ones too, are expected.
        let ours = |name: &[u8]| {
            DIRS.iter()
                .chain(&[
                    "version",
                    "CACHEDIR.TAG",
                    "lock",
                    "turns",
                    "damaged",
                    "checked",
                    "received",
                    "sources",
                    "fetcher",
                    MARK,
                ])
                .any(|d| name.starts_with(d.as_bytes()))
        };
        let has_others = paths::list(path)?.iter().any(|e| !ours(&e.name));
        // It may be whole by now, and in use.
        if has_others && paths::read_if_there(&version)?.is_none() {
            return Err(StoreError::NotAStore { path: path.into() });
        }
        paths::replace_synced(&path.join("CACHEDIR.TAG"), CACHEDIR_TAG.as_bytes())?;
        for dir in DIRS {
            paths::make_dir(&path.join(dir))?;
        }
        paths::replace_synced(&version, VERSION.as_bytes())?;
    }
    Ok(())
}

/// Makes the directory, for its owner alone, and those above it for the users that the umask lets in.
fn make_top(path: &Path) -> Result<(), StoreError> {
    if let Some(above) = path.parent() {
        paths::make_dirs(above)?;
    }
    if paths::make_private_dir(path)? {
        paths::replace(&path.join(MARK), TEXT)?;
    }
    Ok(())
}

/// Takes away what others may do in a directory that was never private.
pub(super) fn tighten(dir: impl AsFd, path: &Path) -> Result<(), StoreError> {
    let stat = fs::stat(&dir).map_err(IoError::of("stat", path))?;
    if stat.mode & OTHERS == 0 || paths::is_there(&path.join(MARK)) {
        return Ok(());
    }
    // On a file system without modes, or one that is read-only, it stays as it is.
    if fs::chmod(&dir, stat.mode & 0o7700).is_ok() {
        // On a full disk it is written another time.
        paths::replace(&path.join(MARK), TEXT).or_warn("that the store was closed is not noted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    fn mode(path: &Path) -> u32 {
        paths::stat(path).unwrap().unwrap().mode & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::chmod(paths::open_dir(path).unwrap(), mode).unwrap();
    }

    #[test]
    fn a_store_is_made_private_and_what_its_owner_opens_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("above/store");
        Store::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        set_mode(&path, 0o755);
        Store::open(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn one_that_was_open_is_tightened_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        Store::open(&path).unwrap();
        paths::remove_file(&path.join(MARK)).unwrap();
        set_mode(&path, 0o2755);
        Store::open(&path).unwrap();
        assert_eq!(mode(&path), 0o2700);
        set_mode(&path, 0o750);
        Store::open(&path).unwrap();
        assert_eq!(mode(&path), 0o750);
        // A directory that was made for it beforehand is not open on purpose.
        let made = dir.path().join("made");
        paths::make_dirs(&made).unwrap();
        set_mode(&made, 0o777);
        Store::open(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
    }
}
