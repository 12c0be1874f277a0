//! A view of which only the differences from its trees are read: the rest is copied from them, without its server.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;

use super::ImportError;
use super::found::{DirFound, DirKey, FoundEntry};
use super::place::{ATTEMPTS, SourceDir, is_gone, list};
use super::watch::PathScan;
use super::{Holds, ImportStats};
use crate::store::tree::{Item, NodeMeta, Xattr, item_of, meta_of};
use crate::store::{Name, Node, Tree};
use crate::sys::fs::{self, FileType, Stat};
use crate::sys::terminal::DisplayName;

/// A mounted view, with its trees. Inodes are numbered as `stat(2)` reports them.
pub trait Shared: Sync {
    /// The view's root, open to read.
    fn root(&self) -> &OwnedFd;

    /// The names of an open directory that may show something else than in [`Shared::entries`], or nothing. `None`:
    /// only a listing shows its names.
    ///
    /// # Errors
    /// The attributes of the directory cannot be read.
    fn own_names(&self, dir: &OwnedFd) -> io::Result<Option<HashSet<Name>>>;

    /// Whether the trees have this number as a directory.
    fn is_dir(&self, number: u64) -> bool;

    /// The names that the trees give the directory of this number, each with its own number.
    fn entries(&self, dir: u64) -> Box<dyn Iterator<Item = (&[u8], u64)> + '_>;

    /// The node of this number, and its tree; nothing if the trees have none.
    fn source(&self, number: u64) -> Option<(&Tree, Node)>;

    /// Whether this number, or one that the trees have below it, may have changed and is to be looked at.
    fn is_touched(&self, number: u64) -> bool;
}

/// The names of a directory that were looked at, and those that are as the trees have them.
pub(super) type ListedDir = (Stat, Vec<(Name, Stat)>, Vec<(Name, FoundEntry)>);

/// Lists a directory of the view; what is left as it was isn't looked at.
pub(super) fn list_in(shared: &dyn Shared, place: &SourceDir, mut stat: Stat) -> Result<ListedDir, ImportError> {
    let number = stat.ino;
    for _ in 0..ATTEMPTS {
        let own = match shared.is_dir(number) {
            true => shared.own_names(&place.fd).map_err(|e| place.failed("list", b"", e))?,
            false => None,
        };
        let Some(mut own) = own else {
            let (stat, names) = list(place, stat)?;
            return Ok((stat, names, vec![]));
        };
        let rest = rest_of(shared, number, &mut own);
        let names = stat_each(place, own)?;
        let after = fs::stat(&place.fd).map_err(|e| place.failed("stat", b"", e))?;
        if (after.mtime, after.ctime) == (stat.mtime, stat.ctime) {
            return Ok((stat, names, rest));
        }
        tracing::warn!("{} changed while it was listed, and is listed again", place.path_of(b"").shown());
        stat = after;
    }
    Err(ImportError::Changed(place.path_of(b"")))
}

/// The unchanged names; the others are added to `own`.
fn rest_of(shared: &dyn Shared, dir: u64, own: &mut HashSet<Name>) -> Vec<(Name, FoundEntry)> {
    let mut rest = Vec::new();
    for (name, number) in shared.entries(dir) {
        let Ok(name) = Name::new(name) else { continue };
        if shared.is_touched(number) {
            own.insert(name);
        } else if !own.contains(&name) {
            rest.push((name, as_it_was(shared, number)));
        }
    }
    rest
}

fn as_it_was(shared: &dyn Shared, number: u64) -> FoundEntry {
    if shared.is_dir(number) { FoundEntry::Dir(DirKey::Shared(number)) } else { FoundEntry::Shared(number) }
}

/// Those of the names that show.
fn stat_each(place: &SourceDir, names: HashSet<Name>) -> Result<Vec<(Name, Stat)>, ImportError> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match fs::stat_at(&place.fd, name.bytes()) {
            Ok(stat) => found.push((name, stat)),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(place.failed("stat", name.bytes(), e)),
        }
    }
    Ok(found)
}

/// Of the attributes of a node those that can be read through a view, and belong in a tree.
fn of_user(xattrs: Vec<Xattr>) -> Vec<Xattr> {
    xattrs.into_iter().filter(|(name, _)| name.starts_with(b"user.") && !name.starts_with(b"user.depsfs.")).collect()
}

/// The nodes of the view's trees, with the attributes that a read through the view would return.
pub(super) struct KeptTrees<'a> {
    shared: &'a dyn Shared,
    pub dev: u64,
    /// Files that were looked at and have several names: one of those may be in the rest.
    linked: HashSet<u64>,
    /// The statistics of the rest that is in the new tree.
    pub stats: ImportStats,
}

impl<'a> KeptTrees<'a> {
    /// `dev` is the view's device number. `files` and `dirs` are those that the walk looked at: their inodes with
    /// several names may have another one among the trees.
    pub fn new<'f>(
        (shared, dev): (&'a dyn Shared, u64),
        files: impl Iterator<Item = &'f Stat>,
        dirs: impl Iterator<Item = &'f DirFound>,
    ) -> KeptTrees<'a> {
        let others = dirs.flat_map(|dir| &dir.names).filter_map(|(_, found)| match found {
            FoundEntry::Symlink(stat, _) | FoundEntry::Fifo(stat) => Some(stat),
            _ => None,
        });
        let linked = files.chain(others).filter(|stat| stat.nlink > 1).map(|stat| stat.ino).collect();
        KeptTrees { shared, dev, linked, stats: ImportStats::default() }
    }

    /// The metadata of directory `number` as its tree has it, counted in the statistics: without set-user-ID bit, and
    /// with the xattrs `user.*` only. The default if no tree has it.
    pub fn dir_meta(&mut self, number: u64) -> NodeMeta {
        self.stats.dirs += 1;
        let Some((tree, node)) = self.shared.source(number) else { return NodeMeta::default() };
        let meta = meta_of(tree, node);
        NodeMeta { perm: meta.perm & 0o3777, mtime: meta.mtime, xattrs: of_user(meta.xattrs) }
    }

    /// The names in directory `dir` as the trees have them, in any order. Their contents are not read.
    pub fn names(&self, dir: u64) -> Vec<(Name, FoundEntry)> {
        let named = |(name, number)| Some((Name::new(name).ok()?, as_it_was(self.shared, number)));
        self.shared.entries(dir).filter_map(named).collect()
    }

    /// Metadata, type, whether it may have several names, and whether it holds the path that is looked for.
    pub fn leaf(&mut self, number: u64, watched: Option<&PathScan>) -> Option<(NodeMeta, Item, bool, Holds)> {
        let (tree, node) = self.shared.source(number)?;
        let (item, meta, nlink) = (item_of(tree, node)?, meta_of(tree, node), tree.stat(node).nlink);
        let (perm, xattrs) = match tree.kind(node)? {
            FileType::RegularFile => (meta.perm & 0o1777, of_user(meta.xattrs)),
            // As symlink(7) has it; and what isn't opened has its attributes left alone.
            FileType::Symlink => (0o777, vec![]),
            _ => (meta.perm & 0o1777, vec![]),
        };
        let holds = match &item {
            Item::Symlink(target) if watched.is_some_and(|w| w.is_target(target)) => Holds::Target,
            _ => Holds::Nothing,
        };
        self.stats.files += u64::from(matches!(item, Item::File { .. }));
        self.stats.symlinks += u64::from(matches!(item, Item::Symlink(_)));
        let meta = NodeMeta { perm, mtime: meta.mtime, xattrs };
        Some((meta, item, nlink > 1 || self.linked.contains(&number), holds))
    }
}
