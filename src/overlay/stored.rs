//! Requests for the store's version of a file, whatever the worktree has made of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::sys::fs::FileType;

use super::error::{OverlayError, Result, upper};
use super::types::Ino;
use super::types::Stored;
use super::view::Overlay;
use super::view::View;

impl Overlay {
    /// The store's file under this inode number; `None` if there is no regular file, or it is relocated.
    pub fn stored(&self, ino: Ino) -> Option<Stored> {
        self.view.lock().stored(ino)
    }

    /// The store's file that holds these bytes and nothing else, open to read; `None` when there are others in it.
    ///
    /// # Errors
    /// The object cannot be opened.
    pub fn stored_file(&self, ino: Ino) -> Result<Option<Arc<OwnedFd>>> {
        let mut view = self.view.lock();
        let bytes = view.open_object(ino)?;
        if let Some(object) = view.unchecked(ino) {
            object.check(&bytes)?;
        }
        Ok(bytes.as_file().cloned())
    }

    /// As [`Overlay::lseek`], in the bytes that the store has.
    pub(crate) fn stored_lseek(&self, ino: Ino, offset: u64, hole: bool) -> Result<u64> {
        let bytes = self.view.lock().open_object(ino)?;
        bytes.seek_data(offset, hole).map_err(|e| match e.raw_os_error() {
            Some(libc::ENXIO) => OverlayError::NoData,
            _ => upper("seek in a file")(e),
        })
    }
}

impl View {
    /// See [`Overlay::stored`].
    pub(super) fn stored(&self, ino: Ino) -> Option<Stored> {
        let (tree, node) = self.lower.source(ino).filter(|_| !self.relocated.has(ino))?;
        let stat = tree.stat(node);
        let is_file = stat.kind == FileType::RegularFile;
        is_file.then(|| Stored { size: stat.size, copied: self.has_upper_bytes(ino) })
    }
}
