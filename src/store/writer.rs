//! One object that is written piece by piece: in memory while it is small, then to a file of its stage.

use std::os::fd::{AsFd, OwnedFd};

use super::stage::{Added, CopyError, IN_MEMORY};
use super::{ObjectId, Stage, StoreError};
use crate::sys::fs;

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
    /// A writer of an object without bytes yet. Dropped before it is finished, it leaves a file in the stage, which
    /// goes with the stage.
    pub(super) fn new(stage: &'s Stage) -> ObjectWriter<'s> {
        ObjectWriter { stage, memory: Vec::new(), file: None, hasher: blake3::Hasher::new(), at: 0, data: 0 }
    }

    /// Adds bytes to the end. They stay in memory up to [`IN_MEMORY`] bytes in all, then go to a file of the stage.
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

    /// Counts and hashes bytes that lie in the file already, or that a dry store does not write.
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
            fs::write_all_at(fd, bytes, self.at).map_err(|e| self.stage.failed(*file, e))?;
        }
        self.seen(bytes);
        Ok(())
    }
}

/// Content of any size, by a writer.
impl Stage {
    /// Content that comes piece by piece.
    pub fn writer(&self) -> ObjectWriter<'_> {
        ObjectWriter::new(self)
    }

    /// Adds the first `size` bytes of an open file (fewer, when it ends before): cloned where the file system
    /// can, else copied, holes kept. `buf` is working space that calls can share; `see` is shown every piece, and one
    /// zero for a hole.
    pub(crate) fn add_file(
        &self,
        from: impl AsFd,
        size: u64,
        buf: &mut Vec<u8>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<Added, CopyError> {
        buf.resize(IN_MEMORY, 0);
        if size <= IN_MEMORY as u64 {
            let n = fs::read_at(&from, &mut buf[..size as usize], 0).map_err(CopyError::Source)?;
            see(&buf[..n]);
            let id = self.add_bytes(&buf[..n]).map_err(CopyError::Store)?;
            return Ok(Added { id, size: n as u64, blocks: (n as u64).div_ceil(4096) * 8 });
        }
        let mut writer = self.writer();
        let cloned = writer.clone_from(&from).map_err(CopyError::Store)?;
        let mut at = 0;
        while let Some(data) = fs::next_data(&from, at, size).map_err(CopyError::Source)? {
            writer.hole(data.start - at).map_err(CopyError::Store)?;
            see(&[0][usize::from(data.start == at)..]);
            at = data.start;
            while at < data.end {
                let want = buf.len().min((data.end - at) as usize);
                let n = match &cloned {
                    // The clone's bytes count: the source may change meanwhile.
                    Some(clone) => fs::read_at(clone, &mut buf[..want], at).map_err(CopyError::Source)?,
                    None => fs::read_at(&from, &mut buf[..want], at).map_err(CopyError::Source)?,
                };
                if n == 0 {
                    return writer.finish().map_err(CopyError::Store);
                }
                let piece = &buf[..n];
                see(piece);
                if cloned.is_some() {
                    writer.seen(piece)
                } else {
                    writer.write(piece).map_err(CopyError::Store)?
                }
                at += n as u64;
            }
        }
        writer.hole(size - at).map_err(CopyError::Store)?;
        writer.finish().map_err(CopyError::Store)
    }
}
