//! The properties that a view must keep if the file system under it fails: a small view with everything in it, and its
//! appearance.
//!
//! The fixture has, in a few names each: files and directories of the lower, copies, files of the upper's own, merged,
//! moved and opaque directories, whiteouts, hard links of both kinds, changed metadata.

mod calls;
mod copied;
mod damage;
mod fault;
mod limits;
mod listing;
mod modes;
mod numbers;
mod ops;
mod read_times;
mod regraft;
mod writeback;
mod xattr;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::{Attr, Caller, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError, SetAttr};
use crate::store::tree::{Item, NodeMeta, Slot};
use crate::store::{Name, Store, Tree, TreeBuilder, TreeId};
use crate::sys::fault::{Call, Plan};
use crate::sys::fs::{FileType, RenameFlags, SetTime, Timespec, XattrFlags};
use crate::sys::path as paths;

/// Everything of the lower was last changed then.
const OLD: Timespec = Timespec { sec: 946_684_800, nsec: 7 };

/// And everything of the upper then, before something is tried.
const MADE: Timespec = Timespec { sec: 1_000_000_000, nsec: 9 };

/// A directory with a store in it, and two trees there.
struct Lab {
    dir: tempfile::TempDir,
    store: Store,
    lower: Arc<Tree>,
    other: Arc<Tree>,
}

/// One view, opened.
struct Case {
    dir: tempfile::TempDir,
    /// The grafts shown after the last successful change of them.
    grafts: RefCell<Vec<GraftSpec>>,
    other: Arc<Tree>,
    store: Store,
    overlay: Option<Overlay>,
    /// The inode of each path, as it was when [`Case::know`] looked.
    known: HashMap<String, Ino>,
}

/// How one path looks; what may differ between two runs of the same calls is left out, or a word.
#[derive(Clone, PartialEq, Eq)]
struct Look {
    kind: u32,
    mode: u32,
    nlink: u32,
    owner: (u32, u32),
    size: u64,
    bytes: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    mtime: String,
    ino: String,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(12)]).into_owned();
        let Look { kind, mode, nlink, owner, size, mtime, ino, xattrs, .. } = self;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let xattrs: Vec<String> = xattrs.iter().map(|(n, v)| text(n) + "=" + &text(v)).collect();
        write!(f, "{kind:o} {mode:o} {nlink} {owner:?} {size} {head:?} {mtime} {ino} {xattrs:?}")
    }
}

type Looks = BTreeMap<String, Look>;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

fn graft(tree: &Arc<Tree>, retired: bool) -> GraftSpec {
    GraftSpec { at: "".into(), tree: tree.clone(), retired }
}

fn keep() -> SetAttr {
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: SetTime::Keep, mtime: SetTime::Keep }
}

impl Lab {
    fn new() -> Lab {
        Lab::at(in_memory().unwrap_or_else(|| tempfile::tempdir().expect("a directory")))
    }

    fn at(dir: tempfile::TempDir) -> Lab {
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let lower = store.tree(lower(&store)).expect("a tree");
        let other = store.tree(other(&store)).expect("a tree");
        Lab { dir, store, lower, other }
    }

    /// A view of the lower, with a life behind it.
    fn case(&self) -> Case {
        let dir = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        for part in ["upper", "state"] {
            paths::make_dir(&dir.path().join(part)).expect("made");
        }
        let mut case = Case {
            dir,
            grafts: RefCell::new(vec![graft(&self.lower, false)]),
            other: self.other.clone(),
            store: self.store.clone(),
            overlay: None,
            known: HashMap::new(),
        };
        case.open().expect("opened");
        case.live();
        age(&case.dir.path().join("upper"));
        case.open().expect("opened");
        case.know();
        case
    }
}

const DIRS: &[&str] = &["dir", "dir/sub", "merged", "merged/deep", "from", "from/below", "empty", "gone", "thaw"];
const FILES: &[(&str, &str, u32)] = &[
    ("plain", "the store's", 0o644),
    ("dir/one", "one", 0o644),
    ("dir/two", "two two", 0o755),
    ("dir/sub/x", "x", 0o600),
    ("dir/sub/y", "y", 0o644),
    ("hard", "two names", 0o644),
    ("merged/low", "low", 0o644),
    ("merged/copied", "to be copied", 0o644),
    ("merged/dead", "dead", 0o644),
    ("merged/touched", "touched", 0o644),
    ("merged/deep/z", "z", 0o644),
    ("from/m", "moves along", 0o644),
    ("from/below/n", "so does this", 0o644),
    ("gone/g", "gone", 0o644),
    ("thaw/t", "thaws", 0o644),
];

fn meta(perm: u32) -> NodeMeta {
    NodeMeta { perm, mtime: OLD, xattrs: vec![] }
}

fn lower(store: &Store) -> TreeId {
    let stage = store.stage().expect("a stage");
    let mut builder = TreeBuilder::new(meta(0o755));
    let mut slots: HashMap<&str, Slot> = HashMap::from([("", Slot::ROOT)]);
    let place = |path: &'static str| path.rsplit_once('/').unwrap_or(("", path));
    for path in DIRS {
        let (parent, last) = place(path);
        let slot = builder.add(slots[parent], name(last), meta(0o755), Item::Dir).expect("a directory");
        slots.insert(path, slot);
    }
    for (path, text, perm) in FILES {
        let (parent, last) = place(path);
        let object = stage.add_bytes(text.as_bytes()).expect("an object");
        let item = Item::File { object, size: text.len() as u64, blocks: 8 };
        let meta = NodeMeta { xattrs: vec![(b"user.a"[..].into(), b"1"[..].into())], ..meta(*perm) };
        slots.insert(path, builder.add(slots[parent], name(last), meta, item).expect("a file"));
    }
    builder.add(Slot::ROOT, name("link"), meta(0o777), Item::Symlink(b"dir/one"[..].into())).expect("a symlink");
    builder.link(slots["dir"], name("hard too"), slots["hard"]).expect("a hard link");
    stage.publish().expect("published");
    store.put_tree(&builder).expect("a tree")
}

/// The tree that a live change of the grafts mounts instead.
fn other(store: &Store) -> TreeId {
    let stage = store.stage().expect("a stage");
    let mut builder = TreeBuilder::new(meta(0o755));
    let object = stage.add_bytes(b"of another tree").expect("an object");
    builder.add(Slot::ROOT, name("plain"), meta(0o644), Item::File { object, size: 15, blocks: 8 }).expect("a file");
    builder.add(Slot::ROOT, name("dir"), meta(0o755), Item::Dir).expect("a directory");
    stage.publish().expect("published");
    store.put_tree(&builder).expect("a tree")
}

impl Case {
    /// Opens the view as a fresh mount does.
    fn open(&mut self) -> Result<(), OverlayError> {
        self.overlay = None;
        let upper = paths::open_dir(&self.dir.path().join("upper")).expect("the upper");
        let grafts = self.grafts.borrow().clone();
        let objects = self.store.objects().clone();
        let config = OverlayConfig { state_dir: self.state(), grafts, objects, takeover: false };
        self.overlay = Some(Overlay::open(upper, config)?);
        Ok(())
    }

    fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    fn overlay(&self) -> &Overlay {
        self.overlay.as_ref().expect("opened")
    }

    fn caller(&self) -> Caller {
        let (uid, gid) = self.overlay().view.lock().owner;
        Caller { uid, gid }
    }

    /// The directory and the name of a path.
    fn spot<'p>(&self, path: &'p str) -> (Ino, Name, &'p str) {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        (self.known[parent], name(last), path)
    }

    fn ino(&self, path: &str) -> Ino {
        self.known[path]
    }

    /// Looks at every path once.
    fn know(&mut self) {
        self.known = HashMap::from([(String::new(), Ino::ROOT)]);
        let mut all = Vec::new();
        let each = &mut |path: &str, attr: &Attr| all.push((path.to_owned(), attr.ino));
        walk(self.overlay(), Ino::ROOT, "", each).expect("walked");
        self.known.extend(all);
    }

    /// Makes the changes in the view before anything fails.
    fn live(&mut self) {
        let caller = self.caller();
        self.know();
        let (view, ino) = (self.overlay(), |path: &str| self.ino(path));
        let merged = ino("merged");
        view.write(ino("merged/copied"), 0, b"was copied up", None).expect("written");
        view.unlink(merged, &name("dead")).expect("unlinked");
        view.setattr(ino("merged/touched"), caller, SetAttr { mode: Some(0o600), ..keep() }).expect("changed");
        let added = view.create(merged, &name("added"), 0o644, caller, true).expect("created").ino;
        view.write(added, 0, b"added", None).expect("written");
        let own = view.create(Ino::ROOT, &name("own"), 0o640, caller, true).expect("created").ino;
        view.write(own, 0, b"mine alone", None).expect("written");
        view.set_xattr(own, b"user.b", b"2", XattrFlags::empty()).expect("set");
        view.link(own, merged, &name("own too")).expect("linked");
        let own_dir = view.mkdir(Ino::ROOT, &name("owndir"), 0o755, caller).expect("made").ino;
        let in_own = view.create(own_dir, &name("f"), 0o644, caller, true).expect("created").ino;
        view.write(in_own, 0, b"f", None).expect("written");
        view.symlink(own_dir, &name("s"), b"../own", caller).expect("linked");
        view.mkdir(Ino::ROOT, &name("ownempty"), 0o755, caller).expect("made");
        let in_from = view.create(ino("from"), &name("new"), 0o644, caller, true).expect("created").ino;
        view.write(in_from, 0, b"new", None).expect("written");
        view.rename(Ino::ROOT, &name("from"), Ino::ROOT, &name("moved"), RenameFlags::empty()).expect("moved");
        view.unlink(ino("gone"), &name("g")).expect("unlinked");
        view.rmdir(Ino::ROOT, &name("gone")).expect("removed");
        let again = view.mkdir(Ino::ROOT, &name("gone"), 0o755, caller).expect("made").ino;
        view.symlink(again, &name("only"), b"x", caller).expect("linked");
    }

    /// The whole view, as a program sees it that walks through it.
    fn looks(&self) -> Result<Looks, OverlayError> {
        let overlay = self.overlay();
        let mut looks = Looks::new();
        let mut paths = vec![(String::from("."), overlay.getattr(Ino::ROOT)?)];
        walk(overlay, Ino::ROOT, "", &mut |path, attr| paths.push((path.to_owned(), *attr)))?;
        for (path, attr) in paths {
            looks.insert(path, self.look(&attr)?);
        }
        Ok(looks)
    }

    fn look(&self, attr: &Attr) -> Result<Look, OverlayError> {
        let overlay = self.overlay();
        let kind = FileType::from_raw_mode(attr.mode);
        let bytes = match kind {
            FileType::RegularFile => overlay.read(attr.ino, 0, 1 << 20, <[u8]>::to_vec)?,
            FileType::Symlink => overlay.readlink(attr.ino)?,
            _ => vec![],
        };
        let has_xattrs = matches!(kind, FileType::RegularFile | FileType::Directory);
        let names = if has_xattrs { overlay.xattr_names(attr.ino)? } else { vec![] };
        let xattrs = names.into_iter().filter(|n| n.starts_with(b"user."));
        let is_new = attr.mtime.sec > MADE.sec;
        let is_dir = kind == FileType::Directory;
        Ok(Look {
            kind: attr.mode & libc::S_IFMT,
            mode: attr.mode & 0o7777,
            nlink: attr.nlink,
            owner: (attr.uid, attr.gid),
            size: if is_dir { 0 } else { attr.size },
            bytes,
            xattrs: xattrs
                .map(|n| Ok((n.clone(), overlay.xattr(attr.ino, &n)?)))
                .collect::<Result<_, OverlayError>>()?,
            mtime: if is_new { "new".into() } else { format!("{}", attr.mtime.sec) },
            ino: if attr.ino.is_upper() { "own".into() } else { attr.ino.0.to_string() },
        })
    }

    /// Nothing is in memory that can be read again.
    fn cool(&self) {
        let mut view = self.overlay().view.lock();
        view.upper.forget_all();
        view.files.clear();
        view.subdirs.clear();
    }

    fn left_aside(&self) -> usize {
        let aside = self.state().join("aside");
        if paths::is_there(&aside) { paths::list(&aside).expect("listed").len() } else { 0 }
    }
}

/// Every name below `dir`.
fn walk(overlay: &Overlay, dir: Ino, path: &str, each: &mut dyn FnMut(&str, &Attr)) -> Result<(), OverlayError> {
    let mut names = Vec::new();
    let sink = &mut |listed: super::DirListing<'_>| {
        if !matches!(listed.name, b"." | b"..") {
            names.push(String::from_utf8_lossy(listed.name).into_owned());
        }
        true
    };
    overlay.readdir(dir, 0, false, sink)?;
    for last in names {
        let attr = overlay.lookup(dir, &name(&last))?;
        overlay.forget(attr.ino, 1);
        let below = if path.is_empty() { last } else { format!("{path}/{last}") };
        each(&below, &attr);
        if attr.mode & libc::S_IFMT == libc::S_IFDIR {
            walk(overlay, attr.ino, &below, each)?;
        }
    }
    Ok(())
}

/// Gives everything in the upper its old time, children first.
fn age(dir: &Path) {
    for entry in paths::list(dir).expect("listed") {
        let path = dir.join(String::from_utf8_lossy(&entry.name).as_ref());
        if entry.kind == FileType::Directory {
            age(&path);
        }
        paths::set_mtime(&path, MADE).expect("set");
    }
    paths::set_mtime(dir, MADE).expect("set");
}

/// A directory that no disk slows down, if there is one that has extended attributes, as disks have.
fn in_memory() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir_in("/dev/shm").ok()?;
    crate::sys::fs::set_xattr_of_path(dir.path(), b"user.test", b"1").ok().map(|()| dir)
}

/// The errno that the caller of a view gets, as `fuse/errno.rs` gives it.
fn errno(error: &OverlayError) -> Option<i32> {
    match error {
        OverlayError::Upper { source, .. } => source.raw_os_error(),
        OverlayError::Journal(super::journal::JournalError::Io(e)) => Some(e.errno()),
        _ => None,
    }
}
