//! A view and a plain directory side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use depsfs::overlay::{Attr, Caller, ChangeKind, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError, SetAttr};
use depsfs::store::{Name, Store};
use depsfs::sys::fs::{RenameFlags, SetTime, Timespec, XattrFlags};

use crate::fixture;
use crate::ops::Op;
use crate::plain::{self, Seen, XATTR, not_a_link, settled};

pub struct Twin {
    dir: tempfile::TempDir,
    store: Store,
    layers: usize,
    view: Option<Overlay>,
    /// Lookups of the running operation, to be given back.
    looked_up: Vec<Ino>,
}

type Outcome = Result<(), i32>;

impl Twin {
    pub fn new(layers: usize) -> Twin {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        for sub in ["upper", "plain", "state"] {
            fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        fixture::plain(&dir.path().join("plain"), layers);
        let mut twin = Twin { dir, store, layers, view: None, looked_up: Vec::new() };
        twin.remount();
        twin
    }

    /// The plain directory underneath, while nothing is mounted; `change` is what a user does there.
    pub fn unmounted(&mut self, change: impl FnOnce(&Path)) {
        self.view = None;
        change(&self.dir.path().join("upper"));
        self.remount();
    }

    /// The bytes at a path of the view; `None` where nothing shows.
    pub fn content(&mut self, path: &str) -> Option<Vec<u8>> {
        let ino = self.find(path).ok()?.ino;
        Some(self.view().read(ino, 0, 4096, <[u8]>::to_vec).expect("readable"))
    }

    /// The inode number at a path of the view.
    pub fn inode(&mut self, path: &str) -> Option<Ino> {
        self.find(path).ok().map(|attr| attr.ino)
    }

    /// The names that differ from the store in one directory.
    pub fn changes(&mut self, dir: &str) -> Vec<(String, ChangeKind)> {
        let ino = if dir.is_empty() { Ino::ROOT } else { self.find(dir).expect("a directory").ino };
        let changes = self.view().changes(ino, 0, usize::MAX).expect("changes");
        let text = |c: depsfs::overlay::Change| (String::from_utf8_lossy(c.name.bytes()).into_owned(), c.kind);
        let mut out: Vec<_> = changes.into_iter().map(text).collect();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }

    pub fn thaw(&mut self, path: &str) {
        let ino = self.find(path).expect("there").ino;
        self.view().thaw(ino).expect("thawed");
    }

    pub fn reset(&mut self, path: &str) -> Result<(), OverlayError> {
        let (dir, name) = self.split(path).expect("a directory");
        self.view().reset(dir, &name).map(drop)
    }

    pub fn is_clean(&self) -> bool {
        self.view().is_clean()
    }

    pub fn remount(&mut self) {
        self.open(false);
    }

    /// The upper is a copy of what it was, made while nothing was mounted.
    pub fn copy_upper(&mut self) {
        self.unmounted(|upper| {
            let before = upper.with_file_name("before");
            let _ = fs::remove_dir_all(&before);
            fs::rename(upper, &before).expect("moved away");
            let copied = std::process::Command::new("cp").arg("-a").arg(&before).arg(upper).status();
            assert!(copied.expect("cp is there").success());
        });
    }

    /// Another server goes on with what the kernel knows.
    pub fn take_over(&mut self) {
        self.open(true);
    }

    /// Runs `look` with the view; what it looks up stays referenced.
    pub fn with_view<R>(&self, look: impl FnOnce(&Overlay) -> R) -> R {
        look(self.view())
    }

    /// The inode at a path, with a reference as the kernel holds it for an open file.
    pub fn hold(&mut self, path: &str) -> Ino {
        let ino = self.find(path).expect("there").ino;
        self.looked_up.clear();
        ino
    }

    /// The files in the state directory's `aside`.
    pub fn set_aside(&self) -> usize {
        fs::read_dir(self.dir.path().join("state/aside")).expect("a directory").count()
    }

    fn open(&mut self, takeover: bool) {
        self.view = None;
        let upper = depsfs::sys::path::open_dir(&self.dir.path().join("upper")).expect("the upper");
        let trees = fixture::lower(&self.store, self.layers);
        let grafts = trees.into_iter().map(|tree| GraftSpec { at: PathBuf::new(), tree, retired: false }).collect();
        let objects = self.store.objects().clone();
        let config = OverlayConfig { state_dir: self.dir.path().join("state"), grafts, objects, takeover };
        self.view = Some(Overlay::open(upper, config).expect("the view opens"));
    }

    fn view(&self) -> &Overlay {
        self.view.as_ref().expect("mounted")
    }

    fn plain(&self) -> PathBuf {
        self.dir.path().join("plain")
    }

    /// Does `op` on both sides.
    pub fn step(&mut self, op: &Op) -> Result<(), String> {
        if let Op::Remount = op {
            let before = self.inodes(Ino::ROOT, "");
            self.remount();
            let after = self.inodes(Ino::ROOT, "");
            return same("inode numbers across a remount", &before, &after);
        }
        if op.places().iter().any(|p| plain::crosses_a_link(&self.plain(), p)) {
            // Following symlinks is the kernel's work on both sides.
            return Ok(());
        }
        let wanted = plain::apply(&self.plain(), op).map_err(|e| e.raw_os_error().unwrap_or(0));
        // The kernel looks up each name before it removes or replaces it, and forgets it afterwards.
        for place in op.places() {
            let _ = self.find(place);
        }
        let got = self.on_view(op);
        for ino in std::mem::take(&mut self.looked_up) {
            self.view().forget(ino, 1);
        }
        same("result (plain, view)", &wanted, &got)?;
        self.compare()
    }

    fn on_view(&mut self, op: &Op) -> Outcome {
        let caller = me();
        match op {
            Op::Create(p) => self.make(p, |view, dir, name| view.create(dir, name, 0o644, caller, true)),
            Op::Mkdir(p) => self.make(p, |view, dir, name| view.mkdir(dir, name, 0o755, caller)),
            Op::Symlink(p) => self.make(p, |view, dir, name| view.symlink(dir, name, b"somewhere", caller)),
            Op::Write(p, at, byte) => {
                let ino = self.regular(p)?;
                self.view().write(ino, *at, &[*byte; 5], None).map(drop).map_err(errno)
            }
            Op::Truncate(p, size) => {
                let ino = self.regular(p)?;
                self.set(ino, caller, SetAttr { size: Some(*size), ..unchanged() })
            }
            Op::Chmod(p, mode) => {
                let attr = self.find(p)?;
                not_a_link(attr.mode).map_err(|e| e.raw_os_error().unwrap_or(0))?;
                self.set(attr.ino, caller, SetAttr { mode: Some(*mode), ..unchanged() })
            }
            Op::Utimens(p, sec) => {
                let ino = self.find(p)?.ino;
                let mtime = SetTime::At(Timespec { sec: *sec, nsec: 7 });
                self.set(ino, caller, SetAttr { mtime, ..unchanged() })
            }
            Op::SetXattr(p, value) => {
                let ino = self.regular(p)?;
                self.view().set_xattr(ino, XATTR, &[*value], XattrFlags::empty()).map_err(errno)
            }
            Op::RemoveXattr(p) => {
                let ino = self.regular(p)?;
                self.view().remove_xattr(ino, XATTR).map_err(errno)
            }
            Op::Thaw(p) => {
                let ino = self.find(p)?.ino;
                let before = self.inodes(Ino::ROOT, "");
                self.view().thaw(ino).map_err(errno)?;
                assert_eq!(before, self.inodes(Ino::ROOT, ""), "inode numbers stay");
                Ok(())
            }
            Op::Rmdir(p) => {
                let (dir, name) = self.split(p)?;
                self.view().rmdir(dir, &name).map_err(errno)
            }
            Op::Unlink(p) => {
                let (dir, name) = self.split(p)?;
                self.view().unlink(dir, &name).map_err(errno)
            }
            Op::RemoveAll(p) => {
                let (dir, name) = self.split(p)?;
                match self.find(p)? {
                    attr if is_dir(attr.mode) => self.remove_all(dir, &name, attr.ino),
                    _ => Err(libc::ENOTDIR),
                }
            }
            Op::Rename(a, b) => self.rename(a, b, RenameFlags::empty()),
            Op::RenameNoReplace(a, b) => self.rename(a, b, RenameFlags::NOREPLACE),
            Op::Exchange(a, b) => self.rename(a, b, RenameFlags::EXCHANGE),
            Op::Link(a, b) => {
                let ino = self.find(a)?.ino;
                let (dir, name) = self.split(b)?;
                let attr = self.view().link(ino, dir, &name).map_err(errno)?;
                self.looked_up.push(attr.ino);
                Ok(())
            }
            Op::Reset(p) => {
                self.reset(p).map_err(errno)?;
                // That the directory has changed is for the other names of it.
                self.set(Ino::ROOT, caller, SetAttr { mtime: SetTime::Now, ..unchanged() })
            }
            Op::Remount => Ok(()),
        }
    }

    fn make(&mut self, path: &str, call: impl FnOnce(&Overlay, Ino, &Name) -> Result<Attr, OverlayError>) -> Outcome {
        let (dir, name) = self.split(path)?;
        let attr = call(self.view(), dir, &name).map_err(errno)?;
        self.looked_up.push(attr.ino);
        Ok(())
    }

    fn set(&self, ino: Ino, caller: Caller, set: SetAttr) -> Outcome {
        self.view().setattr(ino, caller, set).map(drop).map_err(errno)
    }

    fn rename(&mut self, a: &str, b: &str, flags: RenameFlags) -> Outcome {
        let ((from, old), (to, new)) = (self.split(a)?, self.split(b)?);
        self.view().rename(from, &old, to, &new, flags).map_err(errno)
    }

    fn remove_all(&mut self, parent: Ino, name: &Name, dir: Ino) -> Outcome {
        for (child, ino, mode) in self.list(dir) {
            // As the kernel does before it removes a name.
            self.looked_up.push(self.view().lookup(dir, &child).map_err(errno)?.ino);
            match is_dir(mode) {
                true => self.remove_all(dir, &child, ino)?,
                false => self.view().unlink(dir, &child).map_err(errno)?,
            }
        }
        self.view().rmdir(parent, name).map_err(errno)
    }

    fn find(&mut self, path: &str) -> Result<Attr, i32> {
        let mut at = self.view().getattr(Ino::ROOT).map_err(errno)?;
        for part in path.split('/') {
            if !is_dir(at.mode) {
                return Err(libc::ENOTDIR);
            }
            let name = Name::new(part.as_bytes()).expect("a name");
            at = self.view().lookup(at.ino, &name).map_err(errno)?;
            self.looked_up.push(at.ino);
        }
        Ok(at)
    }

    fn split(&mut self, path: &str) -> Result<(Ino, Name), i32> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = if parent.is_empty() { Ino::ROOT } else { self.directory(parent)? };
        Ok((dir, Name::new(name.as_bytes()).expect("a name")))
    }

    fn directory(&mut self, path: &str) -> Result<Ino, i32> {
        let attr = self.find(path)?;
        if is_dir(attr.mode) { Ok(attr.ino) } else { Err(libc::ENOTDIR) }
    }

    fn regular(&mut self, path: &str) -> Result<Ino, i32> {
        let attr = self.find(path)?;
        not_a_link(attr.mode).map_err(|e| e.raw_os_error().unwrap_or(0))?;
        if is_dir(attr.mode) { Err(libc::EISDIR) } else { Ok(attr.ino) }
    }

    fn list(&self, dir: Ino) -> Vec<(Name, Ino, u32)> {
        let mut out = Vec::new();
        let mut after = 2;
        // Two names at a time: a listing goes on from any cookie.
        loop {
            let before = out.len();
            self.view()
                .readdir(dir, after, false, &mut |l| {
                    if out.len() == before + 2 {
                        return false;
                    }
                    after = l.cookie;
                    out.push((Name::new(l.name).expect("a name"), l.ino, l.mode));
                    true
                })
                .expect("a listing");
            if out.len() == before {
                return out;
            }
        }
    }

    fn inodes(&self, dir: Ino, path: &str) -> BTreeMap<String, Ino> {
        let mut out = BTreeMap::new();
        for (name, ino, mode) in self.list(dir) {
            let below = format!("{path}/{}", String::from_utf8_lossy(name.bytes()));
            if is_dir(mode) {
                out.extend(self.inodes(ino, &below));
            }
            out.insert(below, ino);
        }
        out
    }

    /// Both sides, whole.
    pub fn compare(&self) -> Result<(), String> {
        let plain = plain::dump(&self.plain());
        let mut view = BTreeMap::new();
        self.dump_view(Ino::ROOT, "", &mut view);
        for (path, wanted) in &plain {
            same(&format!("{path:?} (plain, view)"), &Some(wanted), &view.get(path))?;
        }
        match view.keys().find(|p| !plain.contains_key(*p)) {
            Some(extra) => Err(format!("{extra:?} is only in the view")),
            None => Ok(()),
        }
    }

    fn dump_view(&self, ino: Ino, path: &str, out: &mut BTreeMap<String, Seen>) {
        let view = self.view();
        let attr = view.getattr(ino).unwrap_or_else(|e| panic!("stat {path:?}: {e}"));
        let content = match attr.mode & libc::S_IFMT {
            libc::S_IFREG => view.read(ino, 0, 4096, <[u8]>::to_vec).unwrap_or_else(|e| panic!("read {path:?}: {e}")),
            libc::S_IFLNK => view.readlink(ino).expect("a target"),
            _ => Vec::new(),
        };
        let dir = is_dir(attr.mode);
        let seen = Seen {
            mode: attr.mode,
            nlink: attr.nlink.into(),
            size: if dir { 0 } else { attr.size },
            mtime: settled(attr.mtime.sec, attr.mtime.nsec),
            content,
            xattr: view.xattr(ino, XATTR).ok(),
        };
        out.insert(path.to_string(), seen);
        if dir {
            for (name, child, _) in self.list(ino) {
                let found = view.lookup(ino, &name).expect("a listed name");
                assert_eq!(found.ino, child, "{path}/{name:?} is listed and looked up as one inode");
                self.dump_view(child, &format!("{path}/{}", String::from_utf8_lossy(name.bytes())), out);
                view.forget(child, 1);
            }
        }
    }
}

/// The user of the tests.
pub fn me() -> Caller {
    Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
}

pub fn unchanged() -> SetAttr {
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: SetTime::Keep, mtime: SetTime::Keep }
}

fn is_dir(mode: u32) -> bool {
    mode & libc::S_IFMT == libc::S_IFDIR
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what}: {a:?} and {b:?}")) }
}

fn errno(e: OverlayError) -> i32 {
    match e {
        OverlayError::NotFound => libc::ENOENT,
        OverlayError::Exists | OverlayError::XattrExists => libc::EEXIST,
        OverlayError::NotDirectory => libc::ENOTDIR,
        OverlayError::IsDirectory => libc::EISDIR,
        OverlayError::NotEmpty => libc::ENOTEMPTY,
        OverlayError::Invalid => libc::EINVAL,
        OverlayError::NotPermitted => libc::EPERM,
        OverlayError::NoXattr => libc::ENODATA,
        OverlayError::Upper { source, .. } => source.raw_os_error().unwrap_or(0),
        other => panic!("an error that no operation here can meet: {other}"),
    }
}
