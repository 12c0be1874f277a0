//! A view that changes step by step, and what it may be after a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use depsfs::overlay::{Attr, Caller, GraftSpec, Ino, Overlay, OverlayConfig, OverlayError, SetAttr};
use depsfs::store::{Name, Store, Tree, import};
use depsfs::sys::fs::{FileType, RenameFlags, SetTime, XattrFlags};

use crate::disk::Disk;
use crate::{Random, cut};

/// When the file system commits what it did to its disk.
#[derive(Clone, Copy)]
pub enum Commit {
    /// After each step, without the bytes of files that nobody synced.
    Each,
    /// After some.
    Some(u64),
}

/// The kind of a path.
#[derive(Clone, PartialEq, Eq)]
struct Node {
    mode: u32,
    nlink: u32,
    bytes: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(16)]).into_owned();
        write!(f, "{:o} {} {} {head:?} {}", self.mode, self.nlink, self.bytes.len(), self.xattrs.len())
    }
}

type Nodes = BTreeMap<String, Node>;

/// The change that was made, and how the view looked then.
struct Step {
    name: &'static str,
    begun: usize,
    ended: usize,
    /// The file that was synced: with it, all changes of names and metadata until then. The root stands for no bytes.
    synced: Option<&'static str>,
    nodes: Nodes,
}

struct View<'d> {
    overlay: Overlay,
    disk: &'d Disk,
    steps: Vec<Step>,
    commit: Option<(Random, bool)>,
}

struct Lower {
    _dir: tempfile::TempDir,
    store: Store,
    tree: Arc<Tree>,
}

fn lower() -> Lower {
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("source");
    let (big, long) = ("big".repeat(70_000), "long".repeat(1_200_000));
    for (path, text) in [
        ("a", "a of the store"),
        ("b", "b of the store"),
        ("c", "c of the store"),
        ("d", "d of the store"),
        ("e", "e of the store"),
        ("e2", "e2 of the store"),
        ("f", "f of the store"),
        ("i", "i of the store"),
        ("big", &big),
        ("bigger", &big),
        ("long", &long),
        ("h/one", "h/one of the store"),
        ("h/two", "h/two of the store"),
        ("m/low", "m/low of the store"),
        ("m/deep/low", "m/deep/low of the store"),
        ("m/copied", "m/copied of the store"),
        ("t/one", "t/one of the store"),
        ("t/two", "t/two of the store"),
        ("x", "x of the store"),
        ("link 1", "two names"),
        ("gone", "gone"),
    ] {
        let file = source.join(path);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        std::fs::write(&file, text).expect("a file");
    }
    std::fs::hard_link(source.join("link 1"), source.join("link 2")).expect("linked");
    let store = Store::open(&dir.path().join("store")).expect("a store");
    let imported = import::import_dir(&store, &source, &()).expect("imported");
    let tree = store.tree(imported.tree).expect("there");
    Lower { _dir: dir, store, tree }
}

fn open(lower: &Lower, at: &Path, state_dir: &Path) -> Result<Overlay, OverlayError> {
    let upper = depsfs::sys::path::open_dir(&at.join("upper")).expect("the upper");
    let grafts = vec![GraftSpec { at: PathBuf::new(), tree: lower.tree.clone(), retired: false }];
    let objects = lower.store.objects().clone();
    Overlay::open(upper, OverlayConfig { state_dir: state_dir.into(), grafts, objects, takeover: false })
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

const ME: Caller = Caller { uid: 0, gid: 0 };

fn keep() -> SetAttr {
    SetAttr { mode: None, uid: None, gid: None, size: None, atime: SetTime::Keep, mtime: SetTime::Keep }
}

impl View<'_> {
    fn ino(&self, path: &str) -> Ino {
        path.split('/').filter(|p| !p.is_empty()).fold(Ino::ROOT, |at, part| {
            let found = self.overlay.lookup(at, &name(part)).unwrap_or_else(|e| panic!("{path}: {e}")).ino;
            self.overlay.forget(found, 1);
            found
        })
    }

    fn spot(&self, path: &str) -> (Ino, Name) {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        (self.ino(parent), name(last))
    }

    /// One step, after which the file system may commit.
    fn step(&mut self, what: &'static str, synced: Option<&'static str>, act: impl FnOnce(&Self)) {
        let begun = self.disk.now();
        act(self);
        let ended = self.disk.now();
        let nodes = look(&self.overlay).expect("looked");
        self.steps.push(Step { name: what, begun, ended, synced, nodes });
        if let Some((random, each)) = &mut self.commit
            && (*each || random.draw().is_multiple_of(5))
        {
            self.disk.commit();
        }
    }

    fn write(&self, path: &str, text: &str) {
        self.overlay.write(self.ino(path), 0, text.as_bytes(), None).expect("written");
    }

    fn create(&self, path: &str, text: &str) {
        let (dir, name) = self.spot(path);
        let made = self.overlay.create(dir, &name, 0o644, ME, true).expect("created");
        self.overlay.write(made.ino, 0, text.as_bytes(), None).expect("written");
    }

    fn mv(&self, from: &str, to: &str) {
        self.rename(from, to, RenameFlags::empty());
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) {
        let ((from, old), (to, new)) = (self.spot(from), self.spot(to));
        self.overlay.rename(from, &old, to, &new, flags).expect("renamed");
    }

    fn unlink(&self, path: &str) {
        let (dir, name) = self.spot(path);
        self.overlay.unlink(dir, &name).expect("unlinked");
    }

    fn rmdir(&self, path: &str) {
        let (dir, name) = self.spot(path);
        self.overlay.rmdir(dir, &name).expect("removed");
    }

    fn mkdir(&self, path: &str) {
        let (dir, name) = self.spot(path);
        self.overlay.mkdir(dir, &name, 0o755, ME).expect("made");
    }

    fn chmod(&self, path: &str, mode: u32) {
        self.overlay.setattr(self.ino(path), ME, SetAttr { mode: Some(mode), ..keep() }).expect("changed");
    }

    fn resize(&self, path: &str, size: u64) {
        self.overlay.setattr(self.ino(path), ME, SetAttr { size: Some(size), ..keep() }).expect("changed");
    }

    fn fsync(&self, path: &str) {
        self.overlay.fsync(self.ino(path), false).expect("synced");
    }
}

/// The steps: every kind of change, some of them synced.
fn live(v: &mut View) {
    v.step("nothing yet", None, |_| {});
    v.step("copy-up by a write", None, |v| v.write("a", "A"));
    v.step("copy-up of a big file", None, |v| v.write("big", "BIG"));
    v.step("copy-up of a long file", None, |v| v.write("long", "LONG"));
    v.step("chmod of a lower file", None, |v| v.chmod("b", 0o600));
    v.step("rename of a lower file", None, |v| v.mv("c", "c2"));
    v.step("write and fsync of a lower file", Some("/d"), |v| {
        v.write("d", "D");
        v.fsync("d");
    });
    v.step("a new file", None, |v| v.create("e.tmp", "the new e"));
    v.step("replace a lower file with it", None, |v| v.mv("e.tmp", "e"));
    v.step("another, synced", Some("/e2.tmp"), |v| {
        v.create("e2.tmp", "the new e2");
        v.fsync("e2.tmp");
    });
    v.step("replace a lower file with it, synced", Some("/e2"), |v| {
        v.mv("e2.tmp", "e2");
        v.fsync("");
    });
    v.step("unlink a copy", None, |v| v.unlink("a"));
    v.step("unlink a lower file", None, |v| v.unlink("f"));
    v.step("a new file where one was deleted", None, |v| v.create("f", "the new f"));
    v.step("chmod of a lower file, synced", Some("/x"), |v| {
        v.chmod("x", 0o711);
        v.fsync("x");
    });
    v.step("empty a lower directory", None, |v| {
        v.unlink("h/one");
    });
    v.step("empty it more", None, |v| v.unlink("h/two"));
    v.step("delete it", None, |v| v.rmdir("h"));
    v.step("another in its place", None, |v| v.mkdir("h"));
    v.step("and something in it", None, |v| v.create("h/new", "h/new"));
    v.step("a copy in a directory", None, |v| v.write("m/copied", "M"));
    v.step("a new file there", None, |v| v.create("m/added", "m/added"));
    v.step("move the directory", None, |v| v.mv("m", "n"));
    v.step("sync the root", Some(""), |v| v.fsync(""));
    v.step("write in the moved one", None, |v| v.write("n/deep/low", "N"));
    v.step("overwrite a lower file", None, |v| {
        v.resize("i", 0);
        v.write("i", "the new i");
    });
    v.step("overwrite a big lower file", None, |v| {
        v.resize("bigger", 0);
        for piece in 0..8 {
            let text = [b'0' + piece; 20_000];
            let at = u64::from(piece) * 20_000;
            v.overlay.write(v.ino("bigger"), at, &text, None).expect("written");
        }
    });
    v.step("write to a file of two names", None, |v| v.write("link 1", "TWO"));
    v.step("a new name of a lower file", None, |v| {
        let (dir, name) = v.spot("x too");
        v.overlay.link(v.ino("x"), dir, &name).expect("linked");
    });
    v.step("setxattr", None, |v| {
        v.overlay.set_xattr(v.ino("x"), b"user.a", b"1", XattrFlags::empty()).expect("set");
    });
    v.step("an own file after it", None, |v| v.create("m.own", "own"));
    v.step("chmod of a lower file again", None, |v| v.chmod("link 2", 0o640));
    v.step("chmod of an own file", None, |v| v.chmod("m.own", 0o604));
    v.step("setxattr on a lower directory", None, |v| {
        v.overlay.set_xattr(v.ino("t"), b"user.t", b"1", XattrFlags::empty()).expect("set");
    });
    v.step("setxattr on an own file", None, |v| {
        v.overlay.set_xattr(v.ino("m.own"), b"user.o", b"1", XattrFlags::empty()).expect("set");
    });
    v.step("whiteout", None, |v| v.unlink("bigger"));
    v.step("chmod of an own file after it", None, |v| v.chmod("m.own", 0o600));
    v.step("exchange a lower file and an own one", None, |v| v.rename("b", "f", RenameFlags::EXCHANGE));
    v.step("move a copy", None, |v| v.mv("n/copied", "copied"));
    v.step("move a lower file over a copy", None, |v| v.mv("c2", "copied"));
    v.step("thaw a directory", None, |v| v.overlay.thaw(v.ino("t")).expect("thawed"));
    v.step("reset a copy", None, |v| {
        let (dir, name) = v.spot("e");
        v.overlay.reset(dir, &name).expect("reset");
    });
    v.step("delete and sync the directory", Some(""), |v| {
        v.unlink("gone");
        v.fsync("");
    });
    v.step("a symlink and a directory", None, |v| {
        v.overlay.symlink(Ino::ROOT, &name("s"), b"target", ME).expect("linked");
    });
    v.step("delete the thawed directory", None, |v| v.unlink("t/one"));
    v.step("all of it", None, |v| v.unlink("t/two"));
    v.step("and itself", None, |v| v.rmdir("t"));
    v.step("a file of its name, synced", Some("/t"), |v| {
        v.create("t", "a file now");
        v.fsync("t");
    });
    v.step("append to a synced file", None, |v| {
        v.overlay.write(v.ino("t"), 10, b" and more", None).expect("written");
    });
}

fn look(overlay: &Overlay) -> Result<Nodes, OverlayError> {
    let mut nodes = Nodes::new();
    walk(overlay, Ino::ROOT, "", &mut nodes)?;
    Ok(nodes)
}

fn walk(overlay: &Overlay, dir: Ino, path: &str, nodes: &mut Nodes) -> Result<(), OverlayError> {
    let mut names = Vec::new();
    overlay.readdir(dir, 0, false, &mut |listed| {
        names.push(listed.name.to_vec());
        true
    })?;
    for bytes in names.iter().filter(|n| !matches!(&n[..], b"." | b"..")) {
        let attr = overlay.lookup(dir, &Name::new(bytes).expect("listed"))?;
        overlay.forget(attr.ino, 1);
        let below = format!("{path}/{}", String::from_utf8_lossy(bytes));
        nodes.insert(below.clone(), node(overlay, &attr)?);
        if FileType::from_raw_mode(attr.mode) == FileType::Directory {
            walk(overlay, attr.ino, &below, nodes)?;
        }
    }
    Ok(())
}

fn node(overlay: &Overlay, attr: &Attr) -> Result<Node, OverlayError> {
    let bytes = match FileType::from_raw_mode(attr.mode) {
        FileType::RegularFile => overlay.read(attr.ino, 0, 8 << 20, <[u8]>::to_vec)?,
        FileType::Symlink => overlay.readlink(attr.ino)?,
        _ => vec![],
    };
    let names = overlay.xattr_names(attr.ino).unwrap_or_default().into_iter().filter(|n| n.starts_with(b"user."));
    let xattrs = names.map(|n| Ok((n.clone(), overlay.xattr(attr.ino, &n)?))).collect::<Result<_, OverlayError>>()?;
    Ok(Node { mode: attr.mode, nlink: attr.nlink, bytes, xattrs })
}

/// The location of the state directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    OnTheDisk,
    /// On another, of which a power cut keeps nothing since the view was opened, or all that ever comes.
    OnAnother,
}

/// Copies the files of one directory, which has no others below it that matter, into a new one.
fn copied(state: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(state).expect("there").map(|e| e.expect("listed")) {
        if entry.file_type().expect("known").is_file() {
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
        }
    }
    to
}

pub fn run(mut disk: Disk, what: &str, commit: Commit, state: State) {
    let lower = lower();
    let other = tempfile::tempdir().expect("a directory");
    let state_of = |at: &Path| if state == State::OnTheDisk { at.join("state") } else { other.path().into() };
    for dir in ["upper", "state"] {
        std::fs::create_dir(disk.at().join(dir)).expect("a directory");
    }
    disk.commit();
    let overlay = open(&lower, &disk.at(), &state_of(&disk.at())).expect("opened");
    let others_before = copied(other.path());
    let commit = match commit {
        Commit::Each => Some((Random(0), true)),
        Commit::Some(seed) => Some((Random(seed), false)),
    };
    let mut view = View { overlay, disk: &disk, steps: vec![], commit };
    // The fixture itself is there for certain.
    view.step("begin", Some(""), |v| {
        v.overlay.flush().expect("synced");
        v.disk.commit();
    });
    live(&mut view);
    view.step("a journal that is mostly void", None, |v| (0..1000).for_each(|n| v.chmod("x", 0o600 + n % 8)));
    // Another opening writes it anew.
    let View { overlay, disk: recorded, steps, commit } = view;
    drop(overlay);
    let overlay = open(&lower, &recorded.at(), &state_of(&recorded.at())).expect("opened again");
    let mut view = View { overlay, disk: recorded, steps, commit };
    view.step("chmod of a lower file after that, synced", Some("/x"), |v| {
        v.chmod("x", 0o755);
        v.fsync("x");
    });
    let steps = view.steps;
    drop(view.overlay);
    disk.end();
    let first = steps[0].ended;
    cut(&disk, what, &|at, events| {
        if events < first {
            return Ok(());
        }
        let found_there = copied(if events % 2 == 0 { others_before.path() } else { other.path() });
        let state_dir = if state == State::OnTheDisk { state_of(at) } else { found_there.path().into() };
        let overlay = open(&lower, at, &state_dir).map_err(|e| format!("the view can't be opened: {e}"))?;
        let found = look(&overlay).map_err(|e| format!("it can't be walked: {e}"))?;
        drop(overlay);
        judge(&steps, &found, events)?;
        let again =
            open(&lower, at, &state_dir).and_then(|o| look(&o)).map_err(|e| format!("not opened again: {e}"))?;
        if again == found { Ok(()) } else { Err("it is another one when it is opened again".into()) }
    });
}

/// Whether the view is as it was after some step that may have been the last.
fn judge(steps: &[Step], found: &Nodes, events: usize) -> Result<(), String> {
    let least = steps.iter().rposition(|s| s.synced.is_some() && s.ended <= events).unwrap_or(0);
    let most = steps.iter().rposition(|s| s.begun < events).unwrap_or(0).max(least);
    let mut reasons = Vec::new();
    for i in (least..=most).rev() {
        match compare(steps, (least, i, most), found) {
            Ok(()) => return Ok(()),
            Err(why) => reasons.push((i, why)),
        }
    }
    reasons.sort_by_key(|(_, why)| why.lines().count());
    let (i, why) = &reasons[0];
    let [least, most, i] = [least, most, *i].map(|i| steps[i].name);
    Err(format!("as after no step from {least:?} to {most:?}; nearest is {i:?}:\n{why}"))
}

/// Whether `found` is what step `i` left, where the first `least` are certainly on disk and `most` had begun; but for
/// the bytes that nobody synced: they reach the disk when they like.
fn compare(steps: &[Step], (least, i, most): (usize, usize, usize), found: &Nodes) -> Result<(), String> {
    let mut why = String::new();
    let paths: BTreeSet<&String> = steps[i].nodes.keys().chain(found.keys()).collect();
    for path in paths {
        let (want, got) = (steps[i].nodes.get(path), found.get(path));
        let fits = match (want, got) {
            (Some(want), Some(got)) => {
                let same = want.mode == got.mode && want.nlink == got.nlink && want.xattrs == got.xattrs;
                same && may_hold(steps, (least, i, most), path, &got.bytes)
            }
            (None, None) => true,
            _ => false,
        };
        if !fits {
            why += &format!("    {path}: {want:?} | {got:?}\n");
        }
    }
    if why.is_empty() { Ok(()) } else { Err(why) }
}

/// Whether a file may have these bytes. A file that the store had has those of some step. A new one, or one that was
/// emptied, may lack some of its own: they are zeros, or past its end; but not those that were synced.
fn may_hold(steps: &[Step], (least, i, most): (usize, usize, usize), path: &str, got: &[u8]) -> bool {
    let of = |s: &Step| s.nodes.get(path).map(|n| n.bytes.clone());
    let synced = steps[..=least].iter().rposition(|s| s.synced == Some(path));
    let mut versions: Vec<Vec<u8>> = steps[synced.unwrap_or(0)..=most].iter().filter_map(of).collect();
    let before = MOVED.iter().filter(|(to, _)| *to == path).flat_map(|(_, from)| *from);
    versions
        .extend(before.flat_map(|from| steps[..=i].iter().filter_map(|s| s.nodes.get(*from))).map(|n| n.bytes.clone()));
    if versions.iter().any(|v| v == got) {
        return true;
    }
    let is_new = steps[0].nodes.get(path).is_none_or(|n| n.mode & libc::S_IFMT != libc::S_IFREG);
    if !is_new && !EMPTIED.contains(&path) {
        return false;
    }
    let safe = synced.and_then(|s| of(&steps[s])).map_or(0, |bytes| bytes.len());
    let is_ours =
        |(at, byte): (usize, &u8)| (*byte == 0 && at >= safe) || versions.iter().any(|v| v.get(at) == Some(byte));
    got.len() >= safe && versions.iter().any(|v| got.len() <= v.len()) && got.iter().enumerate().all(is_ours)
}

/// Files of the store that are emptied before they are written, and those that were made where one was deleted: a plain
/// file system, too, may lose the new bytes.
const EMPTIED: [&str; 4] = ["/i", "/bigger", "/f", "/b"];

/// The former location of a file.
const MOVED: [(&str, &[&str]); 2] = [("/n/copied", &["/m/copied"]), ("/copied", &["/n/copied", "/m/copied"])];
