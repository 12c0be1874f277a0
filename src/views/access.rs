//! One view as `diff`, `thaw` and `reset` reach it: through the mount when a daemon serves it, else in this process.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ViewsError;
use super::copied::CopiedView;
use super::embedded_paths::EmbeddedPaths;
use super::mounted::{about, changes_through, covered, set_xattr, wait_for_notices};
use super::set::Views;
pub(crate) use crate::overlay::Covered;
use crate::overlay::{self, Change, ChangeKind, GraftSpec, Ino, Overlay, OverlayConfig, Relocations};
use crate::store::manifest::{ViewSpec, joined};
use crate::store::{Name, ObjectId, Store, TreeId};
use crate::sys::fs::{self, FileType, OpenFlags};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path};

/// A view, by one of the three ways.
pub enum Access {
    /// Its mount point, and its place in the mount.
    Mounted { root: PathBuf, at: PathBuf },
    /// No server has it, and none can start while the lock is held.
    Direct { overlay: Arc<Overlay>, at: PathBuf, _lock: Arc<Lock> },
    /// It is plain files.
    Copied(Box<CopiedView>),
}

impl Access {
    /// The content of a view, mounted or not. An unmounted one is opened in this process, which holds the daemon's lock
    /// until the value and its clones for other views are dropped. If a daemon serves other views of the worktree, it
    /// is [`ViewsError::View`].
    pub fn open(views: &Views, view: &ViewSpec) -> Result<Access, ViewsError> {
        if view.is_copy() {
            return Ok(Access::Copied(Box::new(CopiedView::open(views, view)?)));
        }
        if views.is_mounted(view) {
            return Ok(Access::mounted(views, view));
        }
        let lock_file = views.state_dir.join("daemon.lock");
        let file = fs::open_path(&lock_file, OpenFlags::RDWR | OpenFlags::CREATE, 0o600);
        let file = file.map_err(IoError::of("open", &lock_file))?;
        let lock = Lock::try_exclusive(file).map_err(IoError::of("lock", &lock_file))?;
        let place = views.place(view);
        // A living daemon that serves other views, but not this one.
        let Some(lock) = lock else {
            let why = "it is not mounted, and a daemon serves other views of the worktree".into();
            return Err(ViewsError::View { view: place, why, hint: "depsfs mount mounts it" });
        };
        let store = Store::existing(&views.manifest.store)?;
        let mount = views.manifest.clone().into_mounts().views;
        let mount = mount.iter().find(|v| v.id == views.manifest.mount_id(view)).unwrap_or(view);
        let grafts = mount
            .grafts
            .iter()
            .map(|g| Ok(GraftSpec { at: g.at.clone(), tree: store.tree(g.tree)?, retired: g.retired }));
        let grafts = grafts.collect::<Result<Vec<_>, crate::store::StoreError>>()?;
        let objects = store.objects().clone();
        let config = OverlayConfig { state_dir: views.view_dir(view), grafts, objects, takeover: false };
        path::make_private_dirs(&config.state_dir)?;
        let upper = view.upper.clone().unwrap_or_else(|| views.mount_place(view));
        path::make_dirs(&upper)?;
        let overlay = Arc::new(Overlay::open(path::open_dir(&upper)?, config)?);
        let record = EmbeddedPaths::load(&views.state_dir)?;
        overlay.relocate(Relocations::of(&record, views.manifest.mount_path(view)));
        Ok(Access::Direct { overlay, at: views.inside_mount(view).into(), _lock: Arc::new(lock) })
    }

    /// The access to another view that the same mount shows. `None` for plain files.
    pub fn to_other(&self, views: &Views, view: &ViewSpec) -> Option<Access> {
        let at = views.inside_mount(view).into();
        match self {
            Access::Mounted { root, .. } => Some(Access::Mounted { root: root.clone(), at }),
            Access::Direct { overlay, _lock, .. } => {
                Some(Access::Direct { overlay: overlay.clone(), at, _lock: _lock.clone() })
            }
            Access::Copied(_) => None,
        }
    }

    /// The view, through its mount.
    pub fn mounted(views: &Views, view: &ViewSpec) -> Access {
        Access::Mounted { root: views.mount_place(view), at: views.inside_mount(view).into() }
    }

    /// The path in the mount of a path in the view.
    fn inside(&self, path: &Path) -> PathBuf {
        joined(self.top(), path)
    }

    /// The path in the mount of the view itself.
    fn top(&self) -> &Path {
        match self {
            Access::Mounted { at, .. } | Access::Direct { at, .. } => at,
            Access::Copied(_) => Path::new(""),
        }
    }

    /// How the names of one directory differ from the store.
    pub fn changes(&self, dir: &Path) -> Result<Vec<Change>, ViewsError> {
        self.changes_at(&self.inside(dir))
    }

    fn changes_at(&self, dir: &Path) -> Result<Vec<Change>, ViewsError> {
        let mut all: Vec<Change> = Vec::new();
        loop {
            let after = all.last().map_or(0, |c| c.cookie);
            let more = match self {
                Access::Mounted { root, .. } => changes_through(&joined(root, dir), after)?,
                Access::Direct { overlay, .. } => with_ino(overlay, dir, |ino| overlay.changes(ino, after, 1024))?,
                Access::Copied(copied) => return copied.changes(dir),
            };
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// How the view's own directory differs from the store, if it is one of several in a mount; `None` if it doesn't.
    ///
    /// # Errors
    /// A mount that does not answer.
    pub fn change_of_all(&self) -> Result<Option<Change>, ViewsError> {
        let at = self.top();
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(None) };
        if self.is_clean()? {
            return Ok(None);
        }
        if !self.is_there(Path::new(""))? {
            let name = Name::new(name.as_bytes()).map_err(|_| ViewsError::NotInView(at.into()))?;
            return Ok(Some(Change { name, kind: ChangeKind::Deleted, is_dir: true, cookie: 0 }));
        }
        Ok(self.changes_at(parent)?.into_iter().find(|change| change.name.bytes() == name.as_bytes()))
    }

    /// Whether the journal of the mount has no record: nothing of the store is deleted, moved or changed.
    fn is_clean(&self) -> Result<bool, ViewsError> {
        match self {
            Access::Mounted { root, .. } => Ok(about(root)?.clean),
            Access::Direct { overlay, .. } => Ok(overlay.is_clean()),
            Access::Copied(_) => Ok(false),
        }
    }

    /// The names in a directory, each with whether it is a directory.
    pub fn list(&self, dir: &Path) -> Result<Vec<(Vec<u8>, bool)>, ViewsError> {
        let dir = &*self.inside(dir);
        match self {
            Access::Mounted { .. } | Access::Copied(_) => {
                let names = path::list(&self.place_of(dir))?;
                Ok(names.into_iter().map(|n| (n.name, n.kind == FileType::Directory)).collect())
            }
            Access::Direct { overlay, .. } => with_ino(overlay, dir, |ino| {
                let mut names = Vec::new();
                overlay.readdir(ino, 2, false, &mut |listed| {
                    let is_dir = FileType::from_raw_mode(listed.mode) == FileType::Directory;
                    names.push((listed.name.to_vec(), is_dir));
                    true
                })?;
                Ok(names)
            }),
        }
    }

    /// Whether the view shows something at this path.
    pub fn is_there(&self, at: &Path) -> Result<bool, ViewsError> {
        let at = &*self.inside(at);
        match self {
            Access::Mounted { .. } | Access::Copied(_) => Ok(path::stat(&self.place_of(at))?.is_some()),
            Access::Direct { overlay, .. } => match with_ino(overlay, at, |_| Ok(())) {
                Err(ViewsError::Overlay(overlay::OverlayError::NotFound | overlay::OverlayError::NotDirectory)) => {
                    Ok(false)
                }
                found => found.map(|()| true),
            },
        }
    }

    /// Whether a directory is at this path, relative to the view (empty: the view's root). A missing path in an
    /// unmounted view is an error, which [`Access::is_there`] finds out.
    pub fn is_dir(&self, at: &Path) -> Result<bool, ViewsError> {
        let at = &*self.inside(at);
        match self {
            Access::Mounted { .. } | Access::Copied(_) => Ok(path::is_dir(&self.place_of(at))),
            Access::Direct { overlay, .. } => {
                let attr = with_ino(overlay, at, |ino| overlay.getattr(ino))?;
                Ok(FileType::from_raw_mode(attr.mode) == FileType::Directory)
            }
        }
    }

    /// One node becomes a plain file or directory of the upper.
    pub fn thaw(&self, at: &Path) -> Result<(), ViewsError> {
        let at = &*self.inside(at);
        match self {
            Access::Mounted { root, .. } => {
                let path = joined(root, at);
                let has_xattrs = match path::stat(&path)? {
                    Some(stat) => stat.is_dir() || stat.is_file(),
                    None => return Ok(()),
                };
                match (path.parent(), path.file_name()) {
                    // The kernel lets no symlink have an attribute of this namespace (xattr(7)).
                    (Some(dir), Some(name)) if !has_xattrs => set_xattr(dir, b"user.depsfs.thaw-name", name.as_bytes()),
                    _ => set_xattr(&path, b"user.depsfs.thaw", b"1"),
                }
            }
            Access::Direct { overlay, .. } => with_ino(overlay, at, |ino| {
                overlay.await_object(ino);
                overlay.thaw(ino)
            }),
            Access::Copied(_) => Ok(()),
        }
    }

    /// Deletes a file, or a directory with all that is in it.
    ///
    /// # Errors
    /// The journal or the upper can't be written.
    pub fn delete(&self, at: &Path) -> Result<(), ViewsError> {
        let Access::Direct { overlay, .. } = self else {
            return Ok(path::remove_tree(&self.place_of(&self.inside(at)))?);
        };
        let is_dir = self.is_dir(at)?;
        if is_dir {
            for (name, _) in self.list(at)? {
                self.delete(&path::child(at, &name))?;
            }
        }
        let at = &*self.inside(at);
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
        let name = Name::new(name.as_bytes()).map_err(|_| ViewsError::NotInView(at.into()))?;
        with_ino(overlay, parent, |ino| if is_dir { overlay.rmdir(ino, &name) } else { overlay.unlink(ino, &name) })
    }

    /// The path of an entry, by its path in the mount, if the file system shows the view.
    fn place_of(&self, at: &Path) -> PathBuf {
        match self {
            Access::Mounted { root, .. } => joined(root, at),
            Access::Copied(copied) => copied.at(at),
            Access::Direct { .. } => at.into(),
        }
    }

    /// Members of the graft of `tree` that were deleted show again. Answers those that don't.
    pub fn uncover(&self, tree: TreeId) -> Result<Covered, ViewsError> {
        match self {
            Access::Mounted { root, at } => {
                let mut value = tree.to_string().into_bytes();
                if !at.as_os_str().is_empty() {
                    value.extend([b" ", at.as_os_str().as_bytes()].concat());
                }
                set_xattr(root, b"user.depsfs.uncover", &value)?;
                wait_for_notices(root)?;
                covered(&joined(root, at), tree)
            }
            Access::Direct { overlay, at, .. } => {
                overlay.uncover(at, tree)?;
                Ok(overlay.covered(at, tree)?)
            }
            Access::Copied(_) => Ok(Covered::default()),
        }
    }

    /// The members of the graft of `tree` that don't show. Changes nothing.
    pub fn covered(&self, tree: TreeId) -> Result<Covered, ViewsError> {
        match self {
            Access::Mounted { root, at } => covered(&joined(root, at), tree),
            Access::Direct { overlay, at, .. } => Ok(overlay.covered(at, tree)?),
            Access::Copied(_) => Ok(Covered::default()),
        }
    }

    /// Drops a file if it still has this content and mode; returns whether it was dropped. Call [`Access::told`]
    /// afterwards.
    pub fn give_up(&self, at: &Path, held: &ObjectId, perm: u32) -> Result<bool, ViewsError> {
        let at = &*self.inside(at);
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(false) };
        match self {
            Access::Mounted { root, .. } => {
                let mut value = format!("{held} {perm:o} ").into_bytes();
                value.extend(name.as_bytes());
                match set_xattr(&root.join(parent), b"user.depsfs.give-up", &value) {
                    // It stays; or a server of another version doesn't know how.
                    Err(ViewsError::Io(e)) if matches!(e.errno(), libc::EBUSY | libc::EOPNOTSUPP) => Ok(false),
                    done => done.map(|()| true),
                }
            }
            Access::Direct { overlay, .. } => {
                let name = Name::new(name.as_bytes()).map_err(|_| ViewsError::NotInView(at.into()))?;
                with_ino(overlay, parent, |ino| overlay.give_up(ino, &name, held, perm))
            }
            Access::Copied(copied) => copied.give_up(at, held, perm),
        }
    }

    /// Waits until programs see what was done.
    pub fn told(&self) -> Result<(), ViewsError> {
        match self {
            Access::Mounted { root, .. } => wait_for_notices(root),
            Access::Direct { .. } | Access::Copied(_) => Ok(()),
        }
    }

    /// Drops the local changes of one name.
    pub fn reset(&self, at: &Path) -> Result<(), ViewsError> {
        let at = &*self.inside(at);
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
        match self {
            Access::Mounted { root, .. } => {
                set_xattr(&root.join(parent), b"user.depsfs.reset", name.as_bytes())?;
                wait_for_notices(root)
            }
            Access::Direct { overlay, .. } => {
                let name = Name::new(name.as_bytes()).map_err(|_| ViewsError::NotInView(at.into()))?;
                with_ino(overlay, parent, |ino| overlay.reset(ino, &name).map(drop))
            }
            Access::Copied(copied) => copied.restore(at),
        }
    }
}

/// Calls `act` with the inode a path leads to, then gives the references back.
fn with_ino<R>(
    overlay: &Overlay,
    at: &Path,
    act: impl FnOnce(Ino) -> Result<R, crate::overlay::OverlayError>,
) -> Result<R, ViewsError> {
    let mut held = Vec::new();
    let mut ino = Ino::ROOT;
    let walk = || {
        for part in at.components() {
            let Ok(name) = Name::new(part.as_os_str().as_bytes()) else { return Err(ViewsError::NotInView(at.into())) };
            ino = overlay.lookup(ino, &name)?.ino;
            held.push(ino);
        }
        Ok(act(ino)?)
    };
    let result = walk();
    held.into_iter().for_each(|ino| overlay.forget(ino, 1));
    result
}
