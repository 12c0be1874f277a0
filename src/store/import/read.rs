//! Reads one file of a directory into the stage, and notices when it changes meanwhile.

use super::found::{FileFound, Findings, ReadJob, xattrs_of};
use super::place::{ATTEMPTS, SourceDir, is_denied, is_gone};
use super::scan::Scan;
use super::watch::{FileScan, PathScan};
use super::{Holds, ImportError, SkipReason, Skipped};
use crate::store::{CopyError, ObjectId};
use crate::sys::fs::{self, OpenFlags, Stat};
use crate::sys::terminal::DisplayName;

impl Scan<'_> {
    /// Stores the contents of a job's files in the stage and adds each, with its number, to `out`. A file that changes
    /// while it is read is read again, a few times. One that this user may not read is left out.
    pub(super) fn read(&self, job: ReadJob, out: &mut Findings) -> Result<(), ImportError> {
        for (number, name) in job.files {
            let Some(found) = self.read_file(&job.place, &name, out)? else { continue };
            self.progress.advance_file(found.stat.size);
            out.files.push((number, found));
        }
        Ok(())
    }

    fn read_file(&self, place: &SourceDir, name: &[u8], out: &mut Findings) -> Result<Option<FileFound>, ImportError> {
        for _ in 0..ATTEMPTS {
            // NONBLOCK: a fifo that took the name meanwhile must not hold us.
            let file = match fs::open_at(&place.fd, name, OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0) {
                Ok(file) => file,
                Err(e) if is_gone(&e) => break,
                Err(e) if is_denied(&e) => {
                    out.skipped.push(Skipped { path: place.path_of(name), why: SkipReason::Unreadable });
                    return Ok(None);
                }
                Err(e) => return Err(place.failed("open", name, e)),
            };
            let failed = |e| place.failed("read", name, e);
            let before = fs::stat(&file).map_err(failed)?;
            if !before.is_file() {
                break;
            }
            let reported = if place.in_view { object_in_view(&file) } else { None };
            let known = reported.filter(|id| self.objects.contains_whole(id, before.size));
            let xattrs = xattrs_of(&file).map_err(failed)?;
            let mut sight = self.watched.map(PathScan::file);
            let (object, size) = match known {
                Some(object) => (object, before.size),
                None => {
                    let see = &mut |piece: &[u8]| sight.iter_mut().for_each(|s| s.see(piece));
                    match self.stage.add_file(&file, before.size, &mut out.buf, see) {
                        Ok(added) => {
                            out.stats.files_read += 1;
                            out.stats.bytes_read += added.size;
                            (added.id, added.size)
                        }
                        Err(CopyError::Source(e)) => match reported {
                            // The bytes are lost; the tree has the file all the same, and the caller names it.
                            Some(lost) if self.shared.is_some() && e.raw_os_error() == Some(libc::EIO) => {
                                (lost, before.size)
                            }
                            _ => return Err(failed(e)),
                        },
                        Err(CopyError::Store(e)) => return Err(e.into()),
                    }
                }
            };
            let after = fs::stat(&file).map_err(failed)?;
            let times = |s: &Stat| (s.size, s.mtime, s.ctime);
            if size == before.size && times(&before) == times(&after) {
                let holds = sight.map_or(Holds::Nothing, FileScan::end);
                return Ok(Some(FileFound { stat: before, object, xattrs, holds }));
            }
            tracing::warn!("{} changed while it was read, and is read again", place.path_of(name).shown());
        }
        Err(ImportError::Changed(place.path_of(name)))
    }
}

/// The object of an unchanged file of a view, as the view reports it.
fn object_in_view(file: &std::os::fd::OwnedFd) -> Option<ObjectId> {
    let hex = fs::xattr(file, b"user.depsfs.object").ok()?;
    std::str::from_utf8(&hex).ok()?.parse().ok()
}
