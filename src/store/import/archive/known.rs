//! Archives that were imported before: the tree of the same bytes is known without unpacking them again.
//!
//! Only a cache, one file in `snapshots` for each archive, named by the hash of what decides on its tree: its bytes,
//! its format, the limits. When it is missing, damaged, of another version, or something of its tree is not in the
//! store any more, the archive is unpacked. Version 2, little-endian:
//!
//! | offset | size | field             |
//! |--------|------|-------------------|
//! | 0      | 8    | magic `depsfs A`  |
//! | 8      | 4    | version, 2        |
//! | 12     | 4    | reserved, 0       |
//! | 16     | 32   | tree id           |
//! | 48     | 32   | the BLAKE3 hash of all before |
//!
//! Version 1, which is still read, had no such hash.

use std::path::{Path, PathBuf};

use super::super::ImportError;
use super::ArchiveLimits;
use super::stream::Format;
use crate::store::tree::u32_at;
use crate::store::{Progress, Store, Tree, TreeId};
use crate::sys::fs::{self, OpenFlags, Stat, Timespec};
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, path as paths};

const MAGIC: [u8; 8] = *b"depsfs A";
const VERSION: u32 = 2;
const LENGTH: usize = 80;
/// The version without a hash at its end, and its length.
const WITHOUT_HASH: u32 = 1;
const HASH: usize = 48;
/// A file that changed this shortly before it was read may change again without a new ctime.
const RACY_NS: i128 = 20_000_000;

/// An archive as it was when its bytes were hashed.
pub(super) struct KnownArchive {
    /// The hash of its bytes, its format and the limits, on which its tree depends.
    pub id: blake3::Hash,
    stat: Stat,
    begun: Timespec,
}

impl KnownArchive {
    /// Reads the archive once, which takes a fraction of the time of unpacking it.
    pub fn of(
        path: &Path,
        format: Format,
        limits: &ArchiveLimits,
        progress: &dyn Progress,
    ) -> Result<KnownArchive, ImportError> {
        let failed = |e| ImportError::Io(IoError::of("read", path)(e));
        let begun = Timespec::now();
        let file = fs::open_path(path, OpenFlags::RDONLY, 0).map_err(failed)?;
        let stat = fs::stat(&file).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{format:?} {} {} {}\n", limits.bytes, limits.members, limits.depth).as_bytes());
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            if progress.is_cancelled() {
                return Err(ImportError::Cancelled);
            }
            match fs::read_at(&file, &mut buf, at).map_err(failed)? {
                0 => return Ok(KnownArchive { id: hasher.finalize(), stat, begun }),
                n => hasher.update(&buf[..n]),
            };
            at += buf.len() as u64;
        }
    }

    /// The tree that the archive became, if all of it is still in the store.
    pub fn tree(&self, store: &Store) -> Option<std::sync::Arc<Tree>> {
        let bytes = paths::read_if_there(&self.file(store)).ok()??;
        let tree = store.tree(check(&bytes)?).ok()?;
        store.objects().missing_of(&tree).ok()?.is_empty().then_some(tree)
    }

    /// Notes the tree that was made of the archive, unless the file may have changed since it was hashed.
    pub fn save(&self, store: &Store, path: &Path, tree: TreeId) {
        let times = |s: &Stat| (s.dev, s.ino, s.size, s.mtime, s.ctime);
        let ns = |t: Timespec| i128::from(t.sec) * 1_000_000_000 + i128::from(t.nsec);
        // Opened, not looked at: the name may be a symlink.
        let now = fs::open_path(path, OpenFlags::RDONLY, 0).and_then(fs::stat);
        let is_same = now.is_ok_and(|now| times(&now) == times(&self.stat));
        if !is_same || ns(self.stat.ctime) + RACY_NS >= ns(self.begun) {
            return;
        }
        if let Err(e) = store.replace_unsynced(&self.file(store), &bytes_of(tree)) {
            // The import is whole without it; the next one is slower.
            tracing::warn!("the next import of {} will unpack it again: {e}", path.shown());
        }
    }

    fn file(&self, store: &Store) -> PathBuf {
        store.path().join("snapshots").join(self.id.to_hex().as_str())
    }
}

fn bytes_of(tree: TreeId) -> Vec<u8> {
    let mut out = Vec::with_capacity(LENGTH);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&tree.0);
    out.extend_from_slice(blake3::hash(&out).as_bytes());
    out
}

/// The tree that the file of an archive names; nothing when it is damaged or of another version.
pub(in crate::store::import) fn check(bytes: &[u8]) -> Option<TreeId> {
    let has_version = match u32_at(bytes, 8) {
        WITHOUT_HASH => bytes.len() == HASH,
        VERSION => bytes.len() == LENGTH && blake3::hash(&bytes[..HASH]).as_bytes()[..] == bytes[HASH..],
        _ => false,
    };
    if !has_version || bytes[..8] != MAGIC || u32_at(bytes, 12) != 0 {
        return None;
    }
    bytes[16..HASH].try_into().ok().map(TreeId)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of version 2, and of the one before.
    const ARCHIVE: &[u8] = include_bytes!("../../../../tests/formats/archive-2");
    const BEFORE: &[u8] = include_bytes!("../../../../tests/formats/archive-1");

    #[test]
    fn an_archive_of_either_version_names_its_tree_and_other_versions_and_lengths_nothing() {
        assert_eq!((check(ARCHIVE), check(BEFORE)), (Some(TreeId([0xab; 32])), Some(TreeId([0xab; 32]))));
        for (at, to) in [(0, 0), (8, 2), (8, 3), (12, 1)] {
            let mut bytes = BEFORE.to_vec();
            bytes[at] = to;
            assert_eq!(check(&bytes), None, "{at}");
        }
        assert_eq!((check(&ARCHIVE[1..]), check(&BEFORE[1..]), check(&[])), (None, None, None));
    }

    #[test]
    fn no_bit_of_it_can_be_wrong_and_used() {
        for bit in 0..ARCHIVE.len() * 8 {
            let mut bytes = ARCHIVE.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_written_has_the_bytes_of_version_2() {
        assert_eq!(bytes_of(TreeId([0xab; 32])), ARCHIVE);
    }
}
