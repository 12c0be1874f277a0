//! Copies that lack bytes since a power cut, and whose object can't be read: the intent stays.
//!
//! The bytes of such a copy that are on disk are read as ever; a read of the rest is EIO, as of an object that is lost.
//! So is every change of its bytes, for a written block would hide the other bytes of that block; but the copy may be
//! truncated to 0. At each use, and at each opening of the view, the object is looked for again.

use std::ops::Range;

use crate::store::{ObjectId, StoreError};
use crate::sys::fs::{self, SetTime};

use super::error::{OverlayError, Result, upper};
use super::intents::Intent;
use super::types::Ino;
use super::view::View;

impl View {
    /// Gives a copy the bytes that it lacks of its object. Returns whether it has all of them.
    pub(super) fn complete(&mut self, intent: &Intent) -> Result<bool> {
        let Some(copy) = self.copy_of(intent)? else { return Ok(true) };
        let ino = self.inode_of_intent(intent);
        let size = self.promised_size(ino, intent);
        let was = fs::stat(&*copy).map_err(upper("look at a file"))?;
        if let Some(size) = size
            && was.size >= size
            && missing_in(&copy, 0..size)?.is_none()
        {
            return Ok(true);
        }
        let (object, hash) = match self.objects.content(&intent.object) {
            Ok(object) => match ObjectId::of_extent(&object) {
                Ok(hash) => (object, hash),
                Err(e) => return self.lacks(ino, intent, size, &e.to_string()).map(|()| false),
            },
            Err(StoreError::Io(e)) if matches!(e.errno(), libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                return Err(upper("open an object")(e.source));
            }
            Err(e) => return self.lacks(ino, intent, size, &e.to_string()).map(|()| false),
        };
        if hash != intent.object {
            return self.lacks(ino, intent, size, "it is damaged").map(|()| false);
        }
        let copy = self.open_own(ino)?.fd.clone();
        let fill = || -> std::io::Result<()> {
            if object.fill_missing(&*copy)? {
                fs::utimens(&*copy, SetTime::At(was.atime), SetTime::At(was.mtime))?;
                fs::fsync(&*copy)?;
            }
            Ok(())
        };
        fill().map_err(upper("write a file"))?;
        Ok(true)
    }

    /// It is as long as it was, so that what is missing is a hole.
    fn lacks(&mut self, ino: Ino, intent: &Intent, size: Option<u64>, why: &str) -> Result<()> {
        if self.writeback.lacking.contains_key(&intent.real) {
            return Ok(());
        }
        tracing::error!(
            "a copy lacks bytes since the last power cut, and object {} can't be read: {why}",
            intent.object
        );
        let copy = self.open_own(ino)?.fd.clone();
        let was = fs::stat(&*copy).map_err(upper("look at a file"))?;
        if let Some(size) = size.filter(|size| *size > was.size) {
            fs::truncate(&*copy, size).map_err(upper("truncate a file"))?;
            let times = fs::utimens(&*copy, SetTime::At(was.atime), SetTime::At(was.mtime));
            times.map_err(upper("set times"))?;
        }
        Ok(())
    }

    /// How long the copy was, by its tree or its object.
    fn promised_size(&self, ino: Ino, intent: &Intent) -> Option<u64> {
        let source = self.lower.source(ino).filter(|(tree, node)| tree.object(*node) == Some(intent.object));
        source.map(|(tree, node)| tree.stat(node).size).or_else(|| self.objects.size_of(&intent.object))
    }

    /// Before a file's bytes are read, or (with no `range`) changed or needed as a whole: checks that all of them are
    /// there.
    ///
    /// # Errors
    /// [`OverlayError::LostObject`].
    pub(super) fn has_all(&mut self, ino: Ino, range: Option<Range<u64>>) -> Result<()> {
        if self.writeback.lacking.is_empty() || self.is_gone(ino) {
            return Ok(());
        }
        let real = self.delta.copied(ino).or(ino.plain_upper());
        let Some(intent) = real.and_then(|real| self.writeback.lacking.get(&real)).cloned() else { return Ok(()) };
        if self.complete(&intent)? {
            return self.lacks_no_more(&intent);
        }
        if let (Some(range), Some(copy)) = (range, self.copy_of(&intent)?) {
            let end = self.promised_size(ino, &intent).map_or(range.end, |size| size.min(range.end));
            if missing_in(&copy, range.start..end)?.is_none() {
                return Ok(());
            }
        }
        let source = Box::new(StoreError::NoObject(intent.object));
        Err(OverlayError::LostObject { id: intent.object, source })
    }

    /// Before a file is cut to `size`: what it lacks is of no use to an empty one.
    pub(super) fn settle_to_cut(&mut self, ino: Ino, size: u64) -> Result<()> {
        let real = self.delta.copied(ino).or(ino.plain_upper());
        if size == 0
            && let Some(intent) = real.and_then(|real| self.writeback.lacking.get(&real)).cloned()
        {
            return self.lacks_no_more(&intent);
        }
        self.flush(ino)
    }

    fn lacks_no_more(&mut self, intent: &Intent) -> Result<()> {
        self.writeback.lacking.remove(&intent.real);
        match &self.upper.aside {
            Some(aside) => fs::unlink_at(&**aside, intent.name().as_bytes()).map_err(upper("delete a file")),
            None => Ok(()),
        }
    }
}

/// The first hole of a file in a range.
fn missing_in(file: &std::os::fd::OwnedFd, range: Range<u64>) -> Result<Option<u64>> {
    if range.is_empty() {
        return Ok(None);
    }
    match fs::seek_data(file, range.start, true) {
        Ok(hole) => Ok(Some(hole).filter(|hole| *hole < range.end)),
        // Behind its end.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(Some(range.start)),
        Err(e) => Err(upper("seek in a file")(e)),
    }
}
