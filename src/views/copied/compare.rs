//! The differences between a copied view and its trees: by size, mode and times, and by content where these leave a doubt.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::ViewsError;
use super::super::lower::{GraftedTrees, live};
use super::super::set::Views;
use crate::git::partly_tracked::OwnPaths;
use crate::overlay::{Change, ChangeKind};
use crate::store::manifest::{CopyState, CopyTime, ViewSpec};
use crate::store::plain_copy::begins_with;
use crate::store::{Name, Node, ObjectId, Store, Tree};
use crate::sys::extent::Extent;
use crate::sys::fs::{self, FileType, OpenFlags, Stat};
use crate::sys::{IoError, path};

/// A view that is plain files, beside its trees.
pub struct CopiedView {
    pub(super) store: Store,
    pub(super) lower: GraftedTrees,
    /// Its directory.
    pub(super) place: PathBuf,
    pub(super) views: Views,
    /// Its path in the worktree.
    pub(super) path: PathBuf,
    /// When the copy wrote its files; `None` as long as it isn't complete.
    written: Option<(CopyTime, CopyTime)>,
    /// The paths in it that are the checkout's, when they were looked for.
    own: OnceCell<Vec<PathBuf>>,
}

impl CopiedView {
    /// The copy that is in the place of a view.
    ///
    /// # Errors
    /// The store has lost a tree.
    pub fn open(views: &Views, view: &ViewSpec) -> Result<CopiedView, ViewsError> {
        super::refuse_detour(views, view)?;
        let store = Store::existing(&views.manifest.store)?;
        let lower = GraftedTrees::of(&store, live(view))?;
        let written = match view.copy {
            Some(CopyState::Complete { since, until }) => Some((since, until)),
            _ => None,
        };
        Ok(CopiedView {
            store,
            lower,
            place: views.place(view),
            written,
            views: views.clone(),
            path: view.path.clone(),
            own: OnceCell::new(),
        })
    }

    /// The paths in it that are the checkout's.
    ///
    /// # Errors
    /// git fails or can't be run.
    pub(super) fn own(&self) -> Result<&[PathBuf], ViewsError> {
        if let Some(own) = self.own.get() {
            return Ok(own);
        }
        let own = OwnPaths::default().below(&self.place)?;
        Ok(self.own.get_or_init(|| own))
    }

    /// The path of an entry.
    pub fn at(&self, inside: &Path) -> PathBuf {
        crate::store::manifest::joined(&self.place, inside)
    }

    /// The differences between one directory and the trees. A copy that isn't complete has deleted nothing.
    ///
    /// # Errors
    /// The directory or a file can't be read.
    pub fn changes(&self, dir: &Path) -> Result<Vec<Change>, ViewsError> {
        let at = self.at(dir);
        if !path::is_dir(&at) {
            return Ok(Vec::new());
        }
        let fd = path::open_dir(&at)?;
        let listed = fs::list(&fd).map_err(IoError::of("list", &at))?;
        let mut names: BTreeMap<Vec<u8>, bool> = self.lower.names(dir).into_iter().map(|name| (name, false)).collect();
        names.extend(listed.into_iter().map(|entry| (entry.name, true)));
        let mut changes = Vec::new();
        for (name, is_there) in names {
            let inside = path::child(dir, &name);
            let (kind, is_dir) = match is_there {
                false if self.written.is_none() => continue,
                false => (ChangeKind::Deleted, self.is_stored_dir(&inside)),
                true => match fs::stat_at(&fd, &name) {
                    // It was removed meanwhile.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    stat => match self.compare(&inside, &stat.map_err(IoError::of("stat", &at))?)? {
                        Some(change) => change,
                        None => continue,
                    },
                },
            };
            let name = Name::new(&name).map_err(|_| ViewsError::NotInView(at.clone()))?;
            changes.push(Change { name, kind, is_dir, cookie: 0 });
        }
        Ok(changes)
    }

    /// Whether the trees have a directory at this path.
    pub(super) fn is_stored_dir(&self, inside: &Path) -> bool {
        match self.lower.find(inside) {
            Some((tree, node)) => tree.kind(node) == Some(FileType::Directory),
            None => true,
        }
    }

    /// The change of an entry that exists, and whether it is a directory.
    fn compare(&self, inside: &Path, stat: &Stat) -> Result<Option<(ChangeKind, bool)>, ViewsError> {
        let is_dir = stat.is_dir();
        let Some((tree, node)) = self.lower.find(inside) else {
            let is_above_a_tree = is_dir && !self.lower.names(inside).is_empty();
            return Ok(Some((if is_above_a_tree { ChangeKind::Below } else { ChangeKind::Added }, is_dir)));
        };
        if is_dir && tree.kind(node) == Some(FileType::Directory) {
            let is_other = self.written.is_some() && stat.mode & 0o1777 != tree.stat(node).perm & 0o1777;
            return Ok(Some((if is_other { ChangeKind::Modified } else { ChangeKind::Below }, true)));
        }
        let is_same = self.is_unchanged(inside, stat, (tree, node))?;
        Ok((!is_same).then_some((ChangeKind::Modified, is_dir)))
    }

    /// Whether a file is as the tree has it, its times apart; or, in a copy that isn't complete, written in part.
    fn is_unchanged(&self, inside: &Path, stat: &Stat, (tree, node): (&Tree, Node)) -> Result<bool, ViewsError> {
        let stored = tree.stat(node);
        if stat.kind() != stored.kind {
            return Ok(false);
        }
        if stored.kind != FileType::RegularFile {
            return self.is_equal(inside, stat, (tree, node));
        }
        match self.written {
            Some((since, until)) => {
                // The user's own files are older or younger than those that the copy wrote: a change sets ctime.
                let is_of_copy = (since..until).contains(&stat.ctime.into());
                let is_alike = stat.size == stored.size && stat.mode & 0o777 == stored.perm & 0o777;
                Ok(is_alike && (is_of_copy || self.is_equal(inside, stat, (tree, node))?))
            }
            None => self.is_part(inside, stat, (tree, node)),
        }
    }

    /// Whether a file, symlink or fifo has the type, mode and content that a tree has, whatever its times are.
    ///
    /// # Errors
    /// It can't be read.
    pub fn is_equal(&self, inside: &Path, stat: &Stat, (tree, node): (&Tree, Node)) -> Result<bool, ViewsError> {
        let stored = tree.stat(node);
        if stat.kind() != stored.kind {
            return Ok(false);
        }
        match stored.kind {
            FileType::Symlink => Ok(path::read_link(&self.at(inside))? == tree.target(node)),
            FileType::RegularFile if stat.size == stored.size && stat.mode & 0o777 == stored.perm & 0o777 => {
                let at = self.at(inside);
                let file = Extent::whole(open(&at)?);
                let names = file.as_file().map(|fd| fs::xattr_names(&**fd).unwrap_or_default()).unwrap_or_default();
                let own = names.iter().filter(|name| name.starts_with(b"user.")).count();
                let content = ObjectId::of_extent(&file).map_err(IoError::of("read", &at))?;
                Ok(own == tree.xattrs(node).count() && Some(content) == tree.object(node))
            }
            FileType::RegularFile => Ok(false),
            _ => Ok(true),
        }
    }

    fn is_part(&self, inside: &Path, stat: &Stat, (tree, node): (&Tree, Node)) -> Result<bool, ViewsError> {
        let size = tree.stat(node).size;
        let Some(id) = tree.object(node).filter(|_| stat.size <= size) else { return Ok(false) };
        let at = self.at(inside);
        let object = self.store.objects().content_of(&id, size)?;
        Ok(begins_with(&object, &Extent::whole(open(&at)?), stat.size).map_err(IoError::of("compare", &at))?)
    }
}

fn open(at: &Path) -> Result<std::os::fd::OwnedFd, IoError> {
    fs::open_path(at, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", at))
}
