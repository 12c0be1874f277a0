//! A pack in the making: objects are appended, the index comes last.
//!
//! | step                                     | a crash right after it leaves                            |
//! |------------------------------------------|----------------------------------------------------------|
//! | 1. bytes appended, in `tmp`              | a file without a header, which gc removes                |
//! | 2. index and header written, synced      | a pack outside of `packs`, which gc removes              |
//! | 3. renamed into `packs`                  | a whole pack; its objects may be needed by nothing       |

use std::io;
use std::os::fd::OwnedFd;

use super::format::{self, HEADER, PackLayout, PackRecord};
use crate::store::{ObjectId, PackId};
use crate::sys::{copy, fs};

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// A pack that grows. Dropping it leaves its file to the caller that made it.
pub struct PackWriter {
    file: OwnedFd,
    buffer: Vec<u8>,
    /// How many bytes are in the file.
    written: u64,
    records: Vec<PackRecord>,
}

impl PackWriter {
    /// Into a new empty file, open for reading and writing.
    pub fn new(file: OwnedFd) -> PackWriter {
        PackWriter { file, buffer: vec![0; HEADER], written: 0, records: vec![] }
    }

    /// Appends an object that isn't in this pack.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, id: ObjectId, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        self.records.push(PackRecord { id, offset: self.bytes(), len });
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes so far, index not counted.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The objects so far, in the order in which they were added, not in that of the index.
    pub fn records(&self) -> &[PackRecord] {
        &self.records
    }

    /// Writes the rest and the index, and waits until all is on disk.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn finish(mut self) -> io::Result<PackId> {
        self.flush()?;
        let layout = PackLayout { objects: self.count()?, index: self.written };
        let (index, id) = format::index(&mut self.records);
        fs::write_all_at(&self.file, &index, layout.index)?;
        fs::write_all_at(&self.file, &layout.header(), 0)?;
        crate::sys::fs::fdatasync(&self.file)?;
        Ok(id)
    }

    /// Writes what was collected; from then on the disk is busy with it while more is made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        fs::write_all_at(&self.file, &self.buffer, self.written)?;
        copy::begin_write_back(&self.file, self.written, self.buffer.len() as u64);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The file with the bytes so far (after [`PackWriter::flush`]).
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    fn count(&self) -> io::Result<u32> {
        u32::try_from(self.records.len()).map_err(|_| io::ErrorKind::InvalidInput.into())
    }
}
