//! One view as `diff`, `thaw` and `reset` reach it: through the mount when a daemon serves it, else in this process.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ViewsError;
use super::set::Views;
pub(crate) use crate::overlay::Covered;
use crate::overlay::{self, Change, ChangeKind, GraftSpec, Ino, Overlay, OverlayConfig};
use crate::store::manifest::{ViewSpec, joined};
use crate::store::{Name, ObjectId, Store, TreeId, escape};
use crate::sys::fs::{self, FileType, OpenFlags};
use crate::sys::lock::Lock;
use crate::sys::{IoError, path};

/// How long a reset waits for the kernel to forget.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);

/// A view, by one of the two ways.
pub enum Access {
    /// Its mount point, and its place in the mount.
    Mounted { root: PathBuf, at: PathBuf },
    /// No server has it, and none can start while the lock is held.
    Direct { overlay: Box<Overlay>, at: PathBuf, _lock: Lock },
}

impl Access {
    pub fn open(views: &Views, view: &ViewSpec) -> Result<Access, ViewsError> {
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
        let overlay = Box::new(Overlay::open(path::open_dir(&upper)?, config)?);
        Ok(Access::Direct { overlay, at: views.inside_mount(view).into(), _lock: lock })
    }

    /// The view, through its mount.
    pub fn mounted(views: &Views, view: &ViewSpec) -> Access {
        Access::Mounted { root: views.mount_place(view), at: views.inside_mount(view).into() }
    }

    /// The path in the mount of a path in the view.
    fn inside(&self, path: &Path) -> PathBuf {
        let (Access::Mounted { at, .. } | Access::Direct { at, .. }) = self;
        joined(at, path)
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
        let (Access::Mounted { at, .. } | Access::Direct { at, .. }) = self;
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(None) };
        if self.is_clean()? {
            return Ok(None);
        }
        if !self.is_there(Path::new(""))? {
            let name = Name::new(name.as_bytes()).map_err(|_| ViewsError::NotInView(at.clone()))?;
            return Ok(Some(Change { name, kind: ChangeKind::Deleted, is_dir: true, cookie: 0 }));
        }
        Ok(self.changes_at(parent)?.into_iter().find(|change| change.name.bytes() == name.as_bytes()))
    }

    /// Whether the journal of the mount has no record: nothing of the store is deleted, moved or changed.
    fn is_clean(&self) -> Result<bool, ViewsError> {
        match self {
            Access::Mounted { root, .. } => Ok(about(root)?.clean),
            Access::Direct { overlay, .. } => Ok(overlay.is_clean()),
        }
    }

    /// The names in a directory, each with whether it is a directory.
    pub fn list(&self, dir: &Path) -> Result<Vec<(Vec<u8>, bool)>, ViewsError> {
        let dir = &*self.inside(dir);
        match self {
            Access::Mounted { root, .. } => {
                let names = path::list(&joined(root, dir))?;
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
            Access::Mounted { root, .. } => Ok(path::stat(&joined(root, at))?.is_some()),
            Access::Direct { overlay, .. } => match with_ino(overlay, at, |_| Ok(())) {
                Err(ViewsError::Overlay(overlay::OverlayError::NotFound | overlay::OverlayError::NotDirectory)) => {
                    Ok(false)
                }
                found => found.map(|()| true),
            },
        }
    }

    pub fn is_dir(&self, at: &Path) -> Result<bool, ViewsError> {
        let at = &*self.inside(at);
        match self {
            Access::Mounted { root, .. } => Ok(path::is_dir(&joined(root, at))),
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
            Access::Direct { overlay, .. } => with_ino(overlay, at, |ino| overlay.thaw(ino)),
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
        }
    }

    /// The members of the graft of `tree` that don't show. Changes nothing.
    pub fn covered(&self, tree: TreeId) -> Result<Covered, ViewsError> {
        match self {
            Access::Mounted { root, at } => covered(&joined(root, at), tree),
            Access::Direct { overlay, at, .. } => Ok(overlay.covered(at, tree)?),
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
        }
    }

    /// Waits until programs see what was done.
    pub fn told(&self) -> Result<(), ViewsError> {
        match self {
            Access::Mounted { root, .. } => wait_for_notices(root),
            Access::Direct { .. } => Ok(()),
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
                with_ino(overlay, parent, |ino| overlay.reset(ino, &name))
            }
        }
    }
}

/// The members of a graft that a mounted view does not show, as the view reports them.
fn covered(root: &Path, tree: TreeId) -> Result<Covered, ViewsError> {
    #[derive(Deserialize)]
    struct Answer {
        blocked: u64,
        paths: Vec<String>,
    }
    let name = format!("user.depsfs.covered.{tree}");
    let bytes = match fs::xattr_of_path(root, name.as_bytes()) {
        // All of it was deleted.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Covered { kept: Vec::new(), blocked: 1 }),
        answer => answer.map_err(IoError::of("ask", root))?,
    };
    let unreadable = || ViewsError::Unreadable(root.into());
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let kept = answer.paths.iter().map(|p| escape::unescape(p).map(|b| PathBuf::from(OsString::from_vec(b))));
    Ok(Covered { kept: kept.collect::<Option<_>>().ok_or_else(unreadable)?, blocked: answer.blocked })
}

/// The state that a mounted view reports of itself.
#[derive(Deserialize)]
struct About {
    #[serde(default)]
    clean: bool,
    pending: u64,
}

fn about(root: &Path) -> Result<About, ViewsError> {
    let about = fs::xattr_of_path(root, b"user.depsfs.view").map_err(IoError::of("ask", root))?;
    serde_json::from_slice(&about).map_err(|_| ViewsError::Unreadable(root.into()))
}

/// Waits until the kernel has received all cache invalidations: before that, programs may still see the old entries.
fn wait_for_notices(root: &Path) -> Result<(), ViewsError> {
    let until = Instant::now() + NOTICE_PATIENCE;
    loop {
        let about = about(root)?;
        // An invalidation may wait for a directory that another program holds. That program sees the change later.
        if about.pending == 0 || Instant::now() > until {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Not following a symlink at the end: the path descriptor is the node itself.
fn set_xattr(at: &Path, name: &[u8], value: &[u8]) -> Result<(), ViewsError> {
    let node = fs::open_path(at, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", at))?;
    fs::set_xattr(&node, name, value, fs::XattrFlags::empty()).map_err(IoError::of("change", at))?;
    Ok(())
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

/// One line of `user.depsfs.changes.<cookie>`.
#[derive(Deserialize)]
struct ChangeLine {
    name: String,
    cookie: u64,
    kind: String,
    dir: bool,
}

fn changes_through(dir: &Path, after: u64) -> Result<Vec<Change>, ViewsError> {
    let unreadable = || ViewsError::Unreadable(dir.into());
    let attribute = format!("user.depsfs.changes.{after}");
    let bytes = fs::xattr_of_path(dir, attribute.as_bytes()).map_err(IoError::of("ask for the changes of", dir))?;
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<ChangeLine>();
    lines
        .map(|line| {
            let line = line.map_err(|_| unreadable())?;
            let name = escape::unescape(&line.name).and_then(|b| Name::new(&b).ok()).ok_or_else(unreadable)?;
            if line.cookie <= after {
                return Err(unreadable());
            }
            let kind = match line.kind.as_str() {
                "added" => ChangeKind::Added,
                "modified" => ChangeKind::Modified,
                "deleted" => ChangeKind::Deleted,
                "below" => ChangeKind::Below,
                _ => return Err(unreadable()),
            };
            Ok(Change { name, kind, is_dir: line.dir, cookie: line.cookie })
        })
        .collect()
}
