//! Deletes what a remote need not keep any more, where no rule of the bucket does: the only verb that lists and deletes.

use super::opened::OpenRemote;
use super::{RemoteError, layout};
use crate::store::Progress;
use crate::sys::fs::Timespec;

const DAY: i64 = 86_400;
const FOLDERS: [&str; 5] = ["packs", "objects", "trees", "times", "lines"];

/// The number and size of the objects that were deleted, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub objects: u64,
    pub bytes: u64,
}

impl OpenRemote {
    /// Deletes objects that are older than the remote keeps them, entries first; `dry_run`: only counts.
    ///
    /// # Errors
    /// The remote does not answer, or refuses.
    pub fn prune(&self, dry_run: bool, now: Timespec, progress: &dyn Progress) -> Result<Pruned, RemoteError> {
        let oldest = now.sec - i64::from(self.settings()?.keep_days) * DAY;
        let mut pruned = Pruned::default();
        for folder in FOLDERS.into_iter().rev() {
            for (key, stat) in self.client.list(folder)? {
                if progress.is_cancelled() {
                    return Err(RemoteError::Interrupted);
                }
                if stat.modified >= oldest || key == layout::SETTINGS {
                    continue;
                }
                if !dry_run {
                    self.client.delete(&key)?;
                }
                pruned.objects += 1;
                pruned.bytes += stat.size;
                progress.advance(stat.size);
            }
        }
        Ok(pruned)
    }
}
