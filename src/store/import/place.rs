//! An open directory of the source: read as it was at one moment, and named in messages.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ImportError;
use crate::store::Name;
use crate::sys::fs::{self, Stat};
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, fs_type};

/// How often a directory or file that changes while it is read is read again.
pub(super) const ATTEMPTS: usize = 3;

/// An open directory and the way to it.
pub(super) struct SourceDir {
    pub fd: OwnedFd,
    pub name: Box<[u8]>,
    pub parent: Option<Arc<SourceDir>>,
    pub in_view: bool,
    pub dev: u64,
    /// Directories above it, in the source.
    pub depth: usize,
}

/// As deep as an archive's members may lie: every directory on the way is open while those below it are read.
pub(super) const DEPTH: usize = 1000;

impl SourceDir {
    /// The directory that is imported: `path` as the caller wrote it, for messages; `dev` is its device number, in
    /// which the walk stays.
    pub fn root(path: &Path, fd: OwnedFd, in_view: bool, dev: u64) -> SourceDir {
        SourceDir { fd, name: path.as_os_str().as_bytes().into(), parent: None, in_view, dev, depth: 0 }
    }

    /// The path of `name` in this directory, for messages.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        let own = std::ffi::OsStr::from_bytes(&self.name);
        let dir = self.parent.as_ref().map_or_else(|| own.into(), |p| p.path_of(&self.name));
        if name.is_empty() { dir } else { dir.join(std::ffi::OsStr::from_bytes(name)) }
    }

    /// The error of a system call on `name` in this directory; an empty name means the directory itself. `verb` follows
    /// "cannot" in the message.
    pub fn failed(&self, verb: &'static str, name: &[u8], e: io::Error) -> ImportError {
        IoError::of(verb, &self.path_of(name))(e).into()
    }
}

/// All names of a directory with their metadata, at one moment: tried again while it changes.
pub(super) fn list(place: &SourceDir, mut stat: Stat) -> Result<(Stat, Vec<(Name, Stat)>), ImportError> {
    for _ in 0..ATTEMPTS {
        let names = match stat_all(place) {
            Err(e) if is_gone(&e) => None,
            result => Some(result.map_err(|e| place.failed("list", b"", e))?),
        };
        let after = fs::stat(&place.fd).map_err(|e| place.failed("stat", b"", e))?;
        match names {
            Some(names) if (after.mtime, after.ctime) == (stat.mtime, stat.ctime) => return Ok((stat, names)),
            _ => {
                tracing::warn!("{} changed while it was listed, and is listed again", place.path_of(b"").shown());
                stat = after;
            }
        }
    }
    Err(ImportError::Changed(place.path_of(b"")))
}

fn stat_all(place: &SourceDir) -> io::Result<Vec<(Name, Stat)>> {
    let names = fs::list(&place.fd)?.into_iter();
    let stat = |entry: fs::DirEntry| {
        let name = Name::new(&entry.name).map_err(io::Error::other)?;
        let stat = fs::stat_at(&place.fd, &entry.name)?;
        Ok((name, stat))
    };
    names.map(stat).collect()
}

/// The target of a symlink, to the letter. If the name is gone or is no symlink any more, the error is
/// [`ImportError::Changed`].
pub(super) fn read_link(place: &SourceDir, name: &Name) -> Result<Box<[u8]>, ImportError> {
    match fs::readlink_at(&place.fd, name.bytes()) {
        Ok(target) => Ok(target.into()),
        // EINVAL: something else has the name now.
        Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::InvalidInput => {
            Err(ImportError::Changed(place.path_of(name.bytes())))
        }
        Err(e) => Err(place.failed("read the link", name.bytes(), e)),
    }
}

/// Whether this directory is in a view. A plain directory may have such an xattr too, and then it lies.
pub(super) fn is_view(root: &OwnedFd) -> bool {
    fs_type::is_fuse(root) && fs::xattr(root, b"user.depsfs.view").is_ok()
}

/// This user may not read or enter it.
pub(super) fn is_denied(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::EACCES)
}

/// The name is gone or has become something else (ELOOP: a symlink, which is never followed).
pub(super) fn is_gone(e: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(e.kind(), NotFound | NotADirectory) || fs::is_symlink_error(e)
}
