//! Searches the files of a tree of the store for absolute paths: for artifacts, which do not come from an import of a
//! directory of this machine.
//!
//! The result is a file in `snapshots`, named by the hash of the tree and of the paths. Only a cache: when it is missing,
//! damaged or of another version, the tree is searched again. Version 1, little-endian:
//!
//! | offset | size | field            |
//! |--------|------|------------------|
//! | 0      | 8    | magic `depsfs P` |
//! | 8      | 4    | version, 1       |
//! | 12     | 4    | reserved, 0      |
//! | 16     | 32   | tree id          |
//! | 48     |      | JSON: an array of `{"at", "path", "holds"}`; both paths are escaped, `holds` is a number as in a snapshot |
//! | end    | 32   | the BLAKE3 hash of all before |

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::dir::holding;
use super::watch::PathScan;
use super::{Holding, Holds, ImportError};
use crate::store::escape;
use crate::store::tree::u32_at;
use crate::store::{Node, ObjectId, Store, Tree, TreeId};
use crate::sys::{interrupt, path as paths, spawn};

const MAGIC: [u8; 8] = *b"depsfs P";
const VERSION: u32 = 1;
const HEADER: usize = 48;
const HASH: usize = 32;
/// How many objects are read at once.
const AT_ONCE: usize = 4;
const PIECE: u64 = 1 << 20;

/// A file of a tree that holds one of the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPath {
    /// Relative to the tree's root.
    pub at: PathBuf,
    /// Never [`Holds::Nothing`].
    pub holds: Holds,
    /// Of several paths in one file, the one that was given first.
    pub path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct HeldPathRecord {
    #[serde(with = "escape::path")]
    at: PathBuf,
    #[serde(with = "escape::path")]
    path: PathBuf,
    holds: u8,
}

/// The files of a tree that hold one of these absolute paths. Objects that are not in the store are passed over.
///
/// # Errors
/// A signal came.
pub(crate) fn search_tree(store: &Store, tree: &Tree, wanted: &[PathBuf]) -> Result<Vec<HeldPath>, ImportError> {
    let scans: Vec<PathScan> = wanted.iter().filter_map(|at| PathScan::new(at.as_os_str().as_bytes())).collect();
    if scans.is_empty() {
        return Ok(Vec::new());
    }
    let file = file_of(store, tree.id(), &scans);
    if let Some(known) = paths::read_if_there(&file).ok().flatten().and_then(|bytes| parse(&bytes, tree.id())) {
        return Ok(known);
    }
    let TreeSearch { by_node, is_whole } = search(store, tree, &scans)?;
    let mut found = Vec::new();
    for (n, scan) in scans.iter().enumerate() {
        let holds =
            |node| by_node.get(&node).filter(|(which, _)| *which == n).map_or(Holds::Nothing, |(_, holds)| *holds);
        let path = Path::new(OsStr::from_bytes(scan.path()));
        found.extend(holding(tree, holds).into_iter().map(|Holding { path: at, holds }| HeldPath {
            at,
            holds,
            path: path.into(),
        }));
    }
    found.sort_by(|a, b| a.at.cmp(&b.at));
    if is_whole
        && !store.is_dry()
        && let Err(e) = store.replace_unsynced(&file, &bytes_of(tree.id(), &found))
    {
        // The result is complete without it; the next search reads the tree again.
        tracing::warn!("the paths in the files of a tree are not noted: {e}");
    }
    Ok(found)
}

/// By node: the number of the path that it holds.
struct TreeSearch {
    by_node: HashMap<Node, (usize, Holds)>,
    /// No object was passed over.
    is_whole: bool,
}

fn search(store: &Store, tree: &Tree, scans: &[PathScan]) -> Result<TreeSearch, ImportError> {
    let (mut objects, mut by_node): (HashMap<ObjectId, u64>, _) = (HashMap::new(), HashMap::new());
    for node in (0..tree.node_count()).map(Node) {
        if let Some(id) = tree.object(node) {
            objects.insert(id, tree.stat(node).size);
        } else if let Some(n) = scans.iter().position(|scan| scan.is_target(tree.target(node))) {
            by_node.insert(node, (n, Holds::Target));
        }
    }
    let objects: Vec<(ObjectId, u64)> = objects.into_iter().collect();
    let prefix = memmem::Finder::new(common_prefix(scans));
    let found = spawn::try_map(&objects, AT_ONCE, |(id, size)| {
        if interrupt::raised().is_some() {
            return Err(ImportError::Cancelled);
        }
        Ok(search_object(store, id, *size, scans, &prefix))
    })?;
    let is_whole = found.iter().all(Option::is_some);
    let by_object: HashMap<ObjectId, (usize, Holds)> =
        objects.iter().zip(found).filter_map(|((id, _), found)| Some((*id, found.flatten()?))).collect();
    let held = (0..tree.node_count()).map(Node);
    by_node.extend(held.filter_map(|node| Some((node, *by_object.get(&tree.object(node)?)?))));
    Ok(TreeSearch { by_node, is_whole })
}

/// The first of the paths that an object holds; `None` if it cannot be read: it is absent, lost or damaged.
fn search_object(
    store: &Store,
    id: &ObjectId,
    size: u64,
    scans: &[PathScan],
    prefix: &memmem::Finder<'_>,
) -> Option<Option<(usize, Holds)>> {
    let content = store.objects().content_of(id, size).ok()?;
    let mut buffer = vec![0; size.min(PIECE) as usize];
    let mut files: Vec<_> = scans.iter().map(PathScan::file).collect();
    let mut at = 0;
    while at < size {
        let n = content.read_at(&mut buffer, at).ok().filter(|n| *n > 0)?;
        // Most files are one piece that holds none of the paths.
        if n as u64 == size && prefix.find(&buffer[..n]).is_none() {
            return Some(None);
        }
        files.iter_mut().for_each(|file| file.see(&buffer[..n]));
        at += n as u64;
    }
    let holds = files.into_iter().map(|file| file.end()).enumerate();
    Some(holds.into_iter().find(|(_, holds)| *holds != Holds::Nothing))
}

fn common_prefix(scans: &[PathScan]) -> &[u8] {
    let first = scans.first().map_or(&[][..], PathScan::path);
    let len = |other: &[u8]| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    &first[..scans.iter().map(|scan| len(scan.path())).min().unwrap_or(0)]
}

fn file_of(store: &Store, tree: TreeId, scans: &[PathScan]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&MAGIC).update(&tree.0);
    for scan in scans {
        hasher.update(scan.path()).update(&[0]);
    }
    store.path().join("snapshots").join(hasher.finalize().to_hex().as_str())
}

fn bytes_of(tree: TreeId, found: &[HeldPath]) -> Vec<u8> {
    let record =
        |held: &HeldPath| HeldPathRecord { at: held.at.clone(), path: held.path.clone(), holds: held.holds as u8 };
    let records: Vec<HeldPathRecord> = found.iter().map(record).collect();
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&tree.0);
    out.extend(serde_json::to_vec(&records).expect("paths and numbers are JSON"));
    out.extend_from_slice(blake3::hash(&out).as_bytes());
    out
}

/// The tree of such a file; nothing when it is damaged or of another version.
pub(super) fn check(bytes: &[u8]) -> Option<TreeId> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    let is_sound = body.len() >= HEADER && body[..8] == MAGIC && u32_at(body, 8) == VERSION && u32_at(body, 12) == 0;
    if !is_sound || blake3::hash(body).as_bytes()[..] != *hash {
        return None;
    }
    body[16..HEADER].try_into().ok().map(TreeId)
}

fn parse(bytes: &[u8], tree: TreeId) -> Option<Vec<HeldPath>> {
    check(bytes).filter(|of| *of == tree)?;
    let records: Vec<HeldPathRecord> = serde_json::from_slice(&bytes[HEADER..bytes.len() - HASH]).ok()?;
    let held = |r: HeldPathRecord| HeldPath { at: r.at, holds: Holds::of_byte(r.holds), path: r.path };
    Some(records.into_iter().map(held).filter(|held| held.holds != Holds::Nothing).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::import::import_dir;
    use crate::sys::path;

    #[test]
    fn a_tree_is_searched_once_for_the_same_paths_and_again_when_the_result_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let from = dir.path().join("from");
        path::make_dirs(&from.join("deep")).expect("made");
        let long = [vec![b'x'; PIECE as usize - 4], b" /src/repo/x ".to_vec()].concat();
        let files: [(&str, &[u8]); 6] = [
            ("deep/run.sh", b"#!/src/repo/.venv/bin/python\n"),
            ("nested", b"/src/repo/w/one/x\n"),
            ("other", b"/src/repository\n"),
            ("prog", b"\0/src/repo/lib\0"),
            ("long", &long),
            ("empty", b""),
        ];
        for (at, bytes) in files {
            path::replace(&from.join(at), bytes).expect("written");
        }
        path::symlink(b"/src/repo/src", &from.join("link")).expect("a link");
        let tree = store.tree(import_dir(&store, &from, &()).expect("imported").tree).expect("a tree");
        let wanted = [PathBuf::from("/src/repo/w/one"), PathBuf::from("/src/repo")];
        let held = |at: &str, holds, path: &str| HeldPath { at: at.into(), holds, path: path.into() };
        let expected = [
            held("deep/run.sh", Holds::Text, "/src/repo"),
            held("link", Holds::Target, "/src/repo"),
            held("long", Holds::Text, "/src/repo"),
            held("nested", Holds::Text, "/src/repo/w/one"),
            held("prog", Holds::Binary, "/src/repo"),
        ];
        assert_eq!(search_tree(&store, &tree, &wanted).expect("searched"), expected);
        let scans = wanted.each_ref().map(|at| PathScan::new(at.as_os_str().as_bytes()).expect("a path"));
        let file = file_of(&store, tree.id(), &scans);
        let noted = path::read(&file).expect("noted");
        assert_eq!(check(&noted), Some(tree.id()));
        // The noted result is what counts, until it is damaged.
        path::replace(&file, &bytes_of(tree.id(), &[])).expect("written");
        assert_eq!(search_tree(&store, &tree, &wanted).expect("searched"), []);
        assert_eq!(search_tree(&store, &tree, &wanted[1..]).expect("searched").len(), 5);
        for bad in [&noted[..noted.len() - 1], b"", &noted[..HEADER], &[&noted[..60], b"x", &noted[61..]].concat()] {
            path::replace(&file, bad).expect("written");
            assert_eq!(search_tree(&store, &tree, &wanted).expect("searched"), expected);
            assert_eq!(path::read(&file).expect("noted"), noted);
        }
    }
}
