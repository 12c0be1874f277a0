//! One object that is written piece by piece: in memory while it is small, then to a file of its stage.

use std::os::fd::{AsFd, OwnedFd};

use super::stage::IN_MEMORY;
use super::{ObjectId, Stage, StoreError, write_all};
use crate::sys::fs;

/// What one added file became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    pub id: ObjectId,
    pub size: u64,
    /// Units of 512 bytes, holes not counted.
    pub blocks: u64,
}

/// One object in the making. Dropping it forgets it.
pub struct ObjectWriter<'s> {
    stage: &'s Stage,
    /// The bytes so far, while there are few and no file.
    memory: Vec<u8>,
    file: Option<(u32, OwnedFd)>,
    hasher: blake3::Hasher,
    at: u64,
    data: u64,
}

impl<'s> ObjectWriter<'s> {
    pub(super) fn new(stage: &'s Stage) -> ObjectWriter<'s> {
        ObjectWriter { stage, memory: Vec::new(), file: None, hasher: blake3::Hasher::new(), at: 0, data: 0 }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.stage.is_dry() {
            self.seen(bytes);
            return Ok(());
        }
        if self.file.is_none() && self.memory.len() + bytes.len() <= IN_MEMORY {
            self.memory.extend_from_slice(bytes);
            self.data += bytes.len() as u64;
            self.at += bytes.len() as u64;
            return Ok(());
        }
        self.spill()?;
        self.put(bytes)
    }

    /// Zeros that take no room.
    pub fn hole(&mut self, len: u64) -> Result<(), StoreError> {
        if len == 0 {
            return Ok(());
        }
        self.spill()?;
        let zeros = [0; 16 * 1024];
        let mut left = len;
        while left > 0 {
            let n = left.min(zeros.len() as u64);
            self.hasher.update(&zeros[..n as usize]);
            left -= n;
        }
        self.at += len;
        Ok(())
    }

    /// Ends the object: it is the store's, or staged.
    pub fn finish(mut self) -> Result<Added, StoreError> {
        let blocks = self.data.div_ceil(4096) * 8;
        if self.stage.is_dry() {
            return Ok(Added { id: ObjectId(*self.hasher.finalize().as_bytes()), size: self.at, blocks });
        }
        let Some((file, fd)) = self.file.take() else {
            let id = self.stage.add_bytes(&self.memory)?;
            return Ok(Added { id, size: self.at, blocks });
        };
        let failed = |e| self.stage.failed(file, e);
        // A hole at the end is only a size.
        fs::truncate(&fd, self.at).map_err(failed)?;
        let id = ObjectId(*self.hasher.finalize().as_bytes());
        self.stage.take(file, id, self.at).map_err(failed)?;
        Ok(Added { id, size: self.at, blocks })
    }

    /// Makes the object's file a clone of `from`, if the file system can, and returns it:
    /// its bytes are then only [`Self::seen`].
    pub(super) fn clone_from(&mut self, from: impl AsFd) -> Result<Option<OwnedFd>, StoreError> {
        if self.stage.is_dry() {
            return Ok(None);
        }
        self.spill()?;
        let Some((file, fd)) = &self.file else { return Ok(None) };
        if fs::clone_file(from, fd).is_err() {
            return Ok(None);
        }
        fs::duplicate(fd.as_fd()).map(Some).map_err(|e| self.stage.failed(*file, e))
    }

    pub(super) fn seen(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.data += bytes.len() as u64;
    }

    /// From here on the bytes go to a file.
    fn spill(&mut self) -> Result<(), StoreError> {
        if self.file.is_some() || self.stage.is_dry() {
            return Ok(());
        }
        self.file = Some(self.stage.new_file()?);
        let memory = std::mem::take(&mut self.memory);
        self.at = 0;
        self.data = 0;
        self.put(&memory)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if let Some((file, fd)) = &self.file {
            write_all(fd, bytes, self.at).map_err(|e| self.stage.failed(*file, e))?;
        }
        self.seen(bytes);
        Ok(())
    }
}
