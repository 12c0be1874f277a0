//! Imports a mounted view by its changes: the trees are merged here as the view merges them, and only changed paths are
//! read through the view.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::overlay::{Ino, LOWER_END, Laid, Unchanged};
use crate::store::import::{ImportError, Imported, Shared, import_shared};
use crate::store::{Name, Node, Progress, Store, Tree, TreeId, escape};
use crate::sys::{fs, fs_type, path};

/// A mount, with its grafts and its list of changes when it was opened.
pub struct ChangedMount {
    root: OwnedFd,
    laid: Vec<Laid>,
    unchanged: Unchanged,
}

impl ChangedMount {
    /// The mount at `root`, which shows trees of `store`. `None` if it doesn't report its changes: its server is older, or
    /// another user's.
    pub fn of(store: &Store, root: &Path) -> Option<ChangedMount> {
        let root = path::open_dir(root).ok().filter(|root| fs_type::is_fuse(root))?;
        let laid = laid(&root).ok()?;
        let trees = laid.iter().map(|l| Some((l.clone(), store.tree(l.tree).ok()?))).collect::<Option<_>>()?;
        let unchanged = Unchanged::new(trees, &touched(&root).ok()?);
        Some(ChangedMount { root, laid, unchanged })
    }
}

/// A view: a directory of a mount, perhaps its root.
pub struct Changed {
    root: OwnedFd,
    mount: Arc<ChangedMount>,
}

impl Changed {
    /// The view at `whole`, a directory of some mount. `None` as [`ChangedMount::of`].
    pub fn of(store: &Store, whole: &Path) -> Option<Changed> {
        let device = |dir: &Path| path::stat(dir).ok().flatten().map(|stat| stat.dev);
        let own = device(whole);
        let root = whole.ancestors().take_while(|dir| own.is_some() && device(dir) == own).last()?;
        Changed::in_mount(&Arc::new(ChangedMount::of(store, root)?), whole)
    }

    /// The view at a directory of this mount.
    pub fn in_mount(mount: &Arc<ChangedMount>, whole: &Path) -> Option<Changed> {
        let root = path::open_dir(whole).ok().filter(|root| fs_type::is_fuse(root))?;
        Some(Changed { root, mount: mount.clone() })
    }

    /// The trees of its mount.
    pub fn trees(&self) -> Vec<TreeId> {
        self.mount.laid.iter().map(|laid| laid.tree).collect()
    }

    /// Whether it shows its trees, and nothing else: neither journal nor upper have anything in it. Of a view that is one
    /// of several in a mount.
    pub fn is_clean(&self) -> bool {
        let Ok(stat) = fs::stat(&self.root) else { return false };
        let is_laid = self.mount.laid.iter().any(|laid| !laid.retired && laid.at == Ino(stat.ino));
        let has_nothing_own = || matches!(self.own_names(&self.root), Ok(Some(names)) if names.is_empty());
        is_laid && !self.is_touched(stat.ino) && has_nothing_own()
    }

    /// As [`crate::store::import::import_dir_watching`]. `None` if other trees came into the view meanwhile: then
    /// the read content is a mixture.
    ///
    /// # Errors
    /// A changed file cannot be read, or the store cannot be written.
    pub fn import(
        &self,
        store: &Store,
        whole: &Path,
        watched: &Path,
        progress: &dyn Progress,
    ) -> Result<Option<Imported>, ImportError> {
        let imported = import_shared(store, whole, self, watched, progress);
        let is_what_it_was = laid(&self.mount.root).is_ok_and(|now| now == self.mount.laid);
        if is_what_it_was { imported.map(Some) } else { Ok(None) }
    }
}

impl Shared for Changed {
    fn root(&self) -> &OwnedFd {
        &self.root
    }

    fn own_names(&self, dir: &OwnedFd) -> io::Result<Option<HashSet<Name>>> {
        let (mut names, mut after) = (HashSet::new(), 0);
        loop {
            let text = match fs::long_xattr(dir, format!("user.depsfs.own-names.{after}").as_bytes()) {
                Err(e) if e.raw_os_error() == Some(libc::ENODATA) => return Ok(None),
                text => text?,
            };
            if text.is_empty() {
                return Ok(Some(names));
            }
            for line in lines(&text)? {
                let (cookie, name) = line.split_once(' ').ok_or_else(unreadable)?;
                let name = escape::unescape(name).and_then(|bytes| Name::new(&bytes).ok()).ok_or_else(unreadable)?;
                let cookie: u64 = cookie.parse().map_err(|_| unreadable())?;
                if cookie <= after {
                    return Err(unreadable());
                }
                after = cookie;
                names.insert(name);
            }
        }
    }

    fn is_dir(&self, number: u64) -> bool {
        self.mount.unchanged.is_dir(Ino(number))
    }

    fn entries(&self, dir: u64) -> Box<dyn Iterator<Item = (&[u8], u64)> + '_> {
        Box::new(self.mount.unchanged.entries(Ino(dir)).map(|(name, ino)| (name, ino.0)))
    }

    fn source(&self, number: u64) -> Option<(&Tree, Node)> {
        self.mount.unchanged.source(Ino(number))
    }

    fn is_touched(&self, number: u64) -> bool {
        self.mount.unchanged.is_touched(Ino(number))
    }
}

/// One line of `user.depsfs.grafts.<n>`.
#[derive(Deserialize)]
struct ChangedFile {
    base: u64,
    tree: String,
    at: u64,
    retired: bool,
}

fn laid(root: &OwnedFd) -> io::Result<Vec<Laid>> {
    let mut all = Vec::new();
    loop {
        let text = fs::long_xattr(root, format!("user.depsfs.grafts.{}", all.len()).as_bytes())?;
        if text.is_empty() {
            return Ok(all);
        }
        for line in lines(&text)? {
            let ChangedFile { base, tree, at, retired } = serde_json::from_str(line)?;
            if base > LOWER_END {
                return Err(unreadable());
            }
            all.push(Laid { base, tree: tree.parse().map_err(|_| unreadable())?, at: Ino(at), retired });
        }
    }
}

fn touched(root: &OwnedFd) -> io::Result<BTreeSet<Ino>> {
    let mut all = BTreeSet::new();
    loop {
        let after = all.last().map_or(0, |ino: &Ino| ino.0);
        let text = fs::long_xattr(root, format!("user.depsfs.touched.{after}").as_bytes())?;
        if text.is_empty() {
            return Ok(all);
        }
        for line in lines(&text)? {
            all.insert(Ino(line.parse().map_err(|_| unreadable())?));
        }
        if all.last().is_none_or(|last| last.0 == after) {
            return Err(unreadable());
        }
    }
}

fn lines(text: &[u8]) -> io::Result<std::str::Lines<'_>> {
    Ok(std::str::from_utf8(text).map_err(|_| unreadable())?.lines())
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the view's answer is not understood")
}
