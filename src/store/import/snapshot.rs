//! The snapshot of an imported directory: which file each node of its tree was, so that the next import of
//! the same directory reads only changed files.
//!
//! Only a cache: when it is missing, damaged or of another version, everything is read again. Size, mode and
//! mtime are in the tree. Version 3, little-endian, no gaps:
//!
//! | offset | size | field                       | node (64 + 32 n) | size | field                     |
//! |--------|------|-----------------------------|------------------|------|---------------------------|
//! | 0      | 8    | magic `depsfs S`            | 0                | 8    | device                    |
//! | 8      | 4    | version, 3                  | 8                | 8    | inode                     |
//! | 12     | 4    | number of nodes             | 16               | 8    | ctime, seconds, signed    |
//! | 16     | 8    | begun, seconds, signed      | 24               | 4    | ctime, nanoseconds        |
//! | 24     | 4    | begun, nanoseconds          | 28               | 1    | how it holds the path: 0 not, 1 as text, 2 in a binary file, 3 as a symlink's target |
//! | 28     | 4    | length of the path          | 29               | 3    | reserved, 0               |
//! | 32     | 32   | tree id                     |                  |      |                           |
//!
//! Behind the nodes stands the path that was looked for in the files, or nothing, and then the BLAKE3 hash of all before.
//! Version 2, which is still read, had no such hash. Version 1 had no such path, and nodes of 28 bytes; it is read as if
//! it were missing.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Holds;
use crate::store::tree::{u32_at, u64_at};
use crate::store::{Node, Store, Tree, TreeId};
use crate::sys::fs::{Stat, Timespec};
use crate::sys::path as paths;
use crate::sys::terminal::DisplayName;

const MAGIC: [u8; 8] = *b"depsfs S";
const VERSION: u32 = 3;
/// The last without a hash at its end.
const WITHOUT_HASH: u32 = 2;
const HASH: usize = 32;
const HEADER: usize = 64;
const RECORD: usize = 32;
/// A file that changed this shortly before it was read may change again without a new ctime: the kernel stamps
/// files with a clock that ticks up to every 10 ms. Such a file is read again next time (git's "racily clean").
const RACY_NS: i128 = 20_000_000;

/// Which file a node was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ident {
    pub dev: u64,
    pub ino: u64,
    pub ctime: Timespec,
}

impl Ident {
    /// The identity of the file with this metadata, at its state of now: a later change of its inode makes another
    /// `ctime`.
    pub fn of(stat: &Stat) -> Ident {
        Ident { dev: stat.dev, ino: stat.ino, ctime: stat.ctime }
    }
}

/// The record of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SeenDir {
    pub ident: Ident,
    pub holds: Holds,
}

/// The last import of a directory: its tree, and which files its nodes were.
pub(super) struct Previous {
    pub tree: Arc<Tree>,
    bytes: Vec<u8>,
    begun: i128,
    /// Files whose objects the store has lost: they are read again.
    lost: HashSet<Node>,
}

impl Previous {
    /// Loads the snapshot of `source`, if the tree it became is still in the store; of its objects some may be lost.
    pub fn load(store: &Store, source: &Path) -> Option<Previous> {
        let bytes = paths::read_if_there(&path_of(store, source)).ok()??;
        let tree = store.tree(check(&bytes)?).ok()?;
        if tree.node_count() != u32_at(&bytes, 12) {
            return None;
        }
        let begun = Timespec { sec: u64_at(&bytes, 16) as i64, nsec: u32_at(&bytes, 24) };
        let lost = store.objects().missing_of(&tree).ok()?;
        Some(Previous { tree, bytes, begun: nanoseconds(begun), lost })
    }

    /// The path that was looked for in all its files.
    pub fn watched(&self) -> &[u8] {
        let from = HEADER + self.tree.node_count() as usize * RECORD;
        &self.bytes[from..from + u32_at(&self.bytes, 28) as usize]
    }

    /// The record of a node of `tree`. One that the snapshot lacks has the default identity, which no file has.
    pub fn seen(&self, n: Node) -> SeenDir {
        let holds = self.bytes.get(HEADER + n.0 as usize * RECORD + 28).copied().unwrap_or_default();
        SeenDir { ident: self.ident(n), holds: Holds::of_byte(holds) }
    }

    fn ident(&self, n: Node) -> Ident {
        let at = HEADER + n.0 as usize * RECORD;
        let ctime = Timespec { sec: u64_at(&self.bytes, at + 16) as i64, nsec: u32_at(&self.bytes, at + 24) };
        Ident { dev: u64_at(&self.bytes, at), ino: u64_at(&self.bytes, at + 8), ctime }
    }

    /// Whether `stat` is that of the file that `n` was, unchanged since: bytes, mode, names and xattrs too.
    pub fn is_same(&self, n: Node, stat: &Stat) -> bool {
        let node = self.tree.stat(n);
        !self.lost.contains(&n)
            && self.ident(n) == Ident::of(stat)
            && nanoseconds(stat.ctime) + RACY_NS < self.begun
            && node.mtime == stat.mtime
            && node.kind == stat.kind()
            && (node.size == stat.size || stat.is_dir())
    }
}

/// Notes which file each node of `tree` was and which hold `watched`, for the next import of `source`.
pub(super) fn save(store: &Store, source: &Path, tree: TreeId, begun: Timespec, seen: &[SeenDir], watched: &[u8]) {
    if store.is_dry() {
        return;
    }
    let mut out = Vec::with_capacity(HEADER + seen.len() * RECORD + watched.len() + HASH);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(seen.len() as u32).to_le_bytes());
    out.extend_from_slice(&begun.sec.to_le_bytes());
    out.extend_from_slice(&begun.nsec.to_le_bytes());
    out.extend_from_slice(&(watched.len() as u32).to_le_bytes());
    out.extend_from_slice(&tree.0);
    for SeenDir { ident, holds } in seen {
        out.extend_from_slice(&ident.dev.to_le_bytes());
        out.extend_from_slice(&ident.ino.to_le_bytes());
        out.extend_from_slice(&ident.ctime.sec.to_le_bytes());
        out.extend_from_slice(&ident.ctime.nsec.to_le_bytes());
        out.extend_from_slice(&[*holds as u8, 0, 0, 0]);
    }
    out.extend_from_slice(watched);
    out.extend_from_slice(blake3::hash(&out).as_bytes());
    let path = path_of(store, source);
    if let Err(e) = store.replace_unsynced(&path, &out) {
        // The import is whole without it; the next one is slower.
        tracing::warn!("the next import of {} will read everything: {e}", source.shown());
    }
}

/// The tree that a snapshot in `bytes` belongs to; nothing when it is damaged or of another version.
pub(crate) fn check(bytes: &[u8]) -> Option<TreeId> {
    let content = match u32_at(bytes, 8) {
        WITHOUT_HASH => bytes,
        VERSION => {
            let (content, hash) = bytes.split_last_chunk::<HASH>()?;
            (blake3::hash(content).as_bytes() == hash).then_some(content)?
        }
        _ => return None,
    };
    let (nodes, path) = (u32_at(bytes, 12) as usize, u32_at(bytes, 28) as usize);
    let sound = content.len() >= HEADER
        && bytes[..8] == MAGIC
        && nodes.checked_mul(RECORD).and_then(|n| n.checked_add(HEADER + path)) == Some(content.len());
    if !sound {
        return None;
    }
    bytes[32..HEADER].try_into().ok().map(TreeId)
}

fn path_of(store: &Store, source: &Path) -> PathBuf {
    store.path().join("snapshots").join(blake3::hash(source.as_os_str().as_bytes()).to_hex().as_str())
}

fn nanoseconds(t: Timespec) -> i128 {
    i128::from(t.sec) * 1_000_000_000 + i128::from(t.nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of version 3, beside those of the tree that they describe, and those of the version before.
    const SNAPSHOT: &[u8] = include_bytes!("../../../tests/formats/snapshot-3");
    const BEFORE: &[u8] = include_bytes!("../../../tests/formats/snapshot-2");
    const TREE: &[u8] = include_bytes!("../../../tests/formats/tree-1");

    #[test]
    fn a_snapshot_of_either_version_tells_which_files_the_nodes_were_and_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let source = Path::new("/golden/source");
        let tree = store.put_tree_bytes(TREE).unwrap();
        let seen = |n: u32| {
            let ctime = Timespec { sec: 1_600_000_000 + i64::from(n), nsec: n };
            let ident = Ident { dev: 0xfd00 + u64::from(n), ino: 1000 + u64::from(n), ctime };
            SeenDir { ident, holds: Holds::of_byte((n % 4) as u8) }
        };
        let all: Vec<SeenDir> = (0..6).map(seen).collect();
        save(&store, source, tree, Timespec { sec: 1_700_000_000, nsec: 5 }, &all, b"/golden");
        assert_eq!(paths::read(&path_of(&store, source)).unwrap(), SNAPSHOT);
        for bytes in [SNAPSHOT, BEFORE] {
            paths::replace(&path_of(&store, source), bytes).unwrap();
            let previous = Previous::load(&store, source).unwrap();
            assert_eq!((previous.tree.id(), previous.begun), (tree, 1_700_000_000_000_000_005));
            assert_eq!((0..previous.tree.node_count()).map(|n| previous.seen(Node(n))).collect::<Vec<_>>(), all);
            assert_eq!(previous.watched(), b"/golden");
        }
    }

    #[test]
    fn no_bit_of_a_snapshot_can_be_wrong_and_used() {
        for bit in 0..SNAPSHOT.len() * 8 {
            let mut bytes = SNAPSHOT.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn other_versions_and_lengths_are_not_used() {
        assert!(check(SNAPSHOT).is_some());
        for (at, to) in [(0, 0), (8, 1), (8, 3), (8, 4), (12, 9), (28, 1)] {
            let mut bytes = BEFORE.to_vec();
            bytes[at] = to;
            assert_eq!(check(&bytes), None, "{at}");
        }
        assert_eq!(
            (check(&SNAPSHOT[1..]), check(&SNAPSHOT[..40]), check(&BEFORE[..40]), check(&[])),
            (None, None, None, None)
        );
    }
}
