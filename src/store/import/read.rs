//! Reads one file of a directory into the stage, and notices when it changes meanwhile.

use super::found::{FileFound, Findings, ReadJob, xattrs_of};
use super::place::{ATTEMPTS, SourceDir, is_gone};
use super::scan::Scan;
use super::watch::{FileScan, PathScan};
use super::{Holds, ImportError};
use crate::store::{CopyError, ObjectId};
use crate::sys::fs::{self, OpenFlags, Stat};
use crate::sys::terminal::DisplayName;

impl Scan<'_> {
    pub(super) fn read(&self, job: ReadJob, out: &mut Findings) -> Result<(), ImportError> {
        for (number, name) in job.files {
            let found = self.read_file(&job.place, &name, out)?;
            self.progress.advance(found.stat.size);
            out.files.push((number, found));
        }
        Ok(())
    }

    fn read_file(&self, place: &SourceDir, name: &[u8], out: &mut Findings) -> Result<FileFound, ImportError> {
        for _ in 0..ATTEMPTS {
            // NONBLOCK: a fifo that took the name meanwhile must not hold us.
            let file = match fs::open_at(&place.fd, name, OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0) {
                Ok(file) => file,
                Err(e) if is_gone(&e) => break,
                Err(e) => return Err(place.failed("open", name, e)),
            };
            let failed = |e| place.failed("read", name, e);
            let before = fs::stat(&file).map_err(failed)?;
            if !before.is_file() {
                break;
            }
            let known = if place.in_view { self.object_in_view(&file, before.size) } else { None };
            let xattrs = xattrs_of(&file).map_err(failed)?;
            let mut sight = self.watched.map(PathScan::file);
            let (object, size) = match known {
                Some(object) => (object, before.size),
                None => {
                    let see = &mut |piece: &[u8]| sight.iter_mut().for_each(|s| s.see(piece));
                    let added = self.stage.add_file(&file, before.size, &mut out.buf, see).map_err(|e| match e {
                        CopyError::Source(e) => failed(e),
                        CopyError::Store(e) => e.into(),
                    })?;
                    out.stats.files_read += 1;
                    out.stats.bytes_read += added.size;
                    (added.id, added.size)
                }
            };
            let after = fs::stat(&file).map_err(failed)?;
            let times = |s: &Stat| (s.size, s.mtime, s.ctime);
            if size == before.size && times(&before) == times(&after) {
                let holds = sight.map_or(Holds::Nothing, FileScan::end);
                return Ok(FileFound { stat: before, object, xattrs, holds });
            }
            tracing::warn!("{} changed while it was read, and is read again", place.path_of(name).shown());
        }
        Err(ImportError::Changed(place.path_of(name)))
    }

    /// The object of an unchanged file of a view, as the view reports it, if this store has the object.
    fn object_in_view(&self, file: &std::os::fd::OwnedFd, size: u64) -> Option<ObjectId> {
        let hex = fs::xattr(file, b"user.depsfs.object").ok()?;
        let id = std::str::from_utf8(&hex).ok()?.parse().ok()?;
        self.objects.contains_whole(&id, size).then_some(id)
    }
}
