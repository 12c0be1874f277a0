//! Files as earlier versions of depsfs wrote them: each version ever released opens and says what it said.
//!
//! `tests/formats/<what>-<version>` are those bytes. The bytes that are written today are compared with the newest of
//! them: when that fails, the format has changed, and needs a new version and a new file here, never new bytes in an
//! old one.

#[path = "store/case.rs"]
mod case;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use case::Case;
use depsfs::overlay::Ino;
use depsfs::overlay::journal::{self, Check, Frame, Journal, Record};
use depsfs::store::import::import_dir;
use depsfs::store::manifest::{CopyState, CopyTime, Graft, LockFile, Shape, ViewSpec};
use depsfs::store::pack::PackWriter;
use depsfs::store::tree::{Item, NodeMeta, Slot};
use depsfs::store::{
    GcOptions, Manifest, Name, Node, ObjectId, Provenance, RootState, Store, StoreError, Tree, TreeBuilder, TreeId,
};
use depsfs::sys::fs::{FileType, Timespec};

fn golden(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(file);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Case {
    /// Puts bytes where the store has a file of this name.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.store.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn put_tree(&self, bytes: &[u8]) -> TreeId {
        let id = TreeId::of(bytes);
        self.put(&format!("trees/{}", id.place()), bytes);
        id
    }

    fn gc(&self) -> Result<depsfs::store::GcReport, StoreError> {
        self.store.gc(&GcOptions { dry_run: true, keep_days: 30, now: Timespec::now() }, &())
    }
}

/// A JSON file with another number of version, and a field that version may have.
fn of_version(version: u32, json: &[u8]) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(json).unwrap();
    value["version"] = version.into();
    value["unheard-of"] = true.into();
    serde_json::to_vec(&value).unwrap()
}

fn name(s: &str) -> Name {
    Name::new(s.as_bytes()).unwrap()
}

/// One of each: a file with two names and an attribute, a subdirectory, a symlink, a fifo, a name that isn't UTF-8.
fn tree_of_today() -> Vec<u8> {
    let meta = |perm, sec, nsec| NodeMeta { perm, mtime: Timespec { sec, nsec }, xattrs: vec![] };
    let file =
        |content: &[u8], blocks| Item::File { object: ObjectId::of(content), size: content.len() as u64, blocks };
    let mut tree = TreeBuilder::new(meta(0o755, -2, 5));
    let sub = tree.add(Slot::ROOT, name("sub"), meta(0o700, 3, 0), Item::Dir).unwrap();
    let hello = tree.add(Slot::ROOT, name("hello"), meta(0o644, 1, 999_999_999), file(b"hello", 8)).unwrap();
    tree.meta_mut(hello).xattrs.push((b"user.k".as_slice().into(), b"v\0".as_slice().into()));
    tree.link(sub, name("again"), hello).unwrap();
    tree.add(sub, name("link"), meta(0o777, 0, 0), Item::Symlink(b"../hello".as_slice().into())).unwrap();
    tree.add(sub, name("pipe"), meta(0o600, 0, 0), Item::Fifo).unwrap();
    tree.add(sub, Name::new(b"\xff").unwrap(), meta(0o755, i64::from(u32::MAX) + 1, 0), file(b"", 0)).unwrap();
    tree.finish().unwrap()
}

#[test]
fn tree_1() {
    let case = Case::new();
    let bytes = golden("tree-1");
    assert_eq!(tree_of_today(), bytes);
    let tree = case.store.tree(case.put_tree(&bytes)).unwrap();
    tree.check().unwrap();
    let hello = tree.lookup(Node::ROOT, &name("hello")).unwrap();
    let sub = tree.lookup(Node::ROOT, &name("sub")).unwrap();
    let stat = tree.stat(hello);
    assert_eq!((stat.kind, stat.perm, stat.size, stat.blocks, stat.nlink), (FileType::RegularFile, 0o644, 5, 8, 2));
    assert_eq!(
        (stat.mtime, tree.object(hello)),
        (Timespec { sec: 1, nsec: 999_999_999 }, Some(ObjectId::of(b"hello")))
    );
    assert_eq!(tree.xattrs(hello).collect::<Vec<_>>(), [(&b"user.k"[..], &b"v\0"[..])]);
    assert_eq!(tree.lookup(sub, &name("again")), Some(hello));
    assert_eq!(tree.target(tree.lookup(sub, &name("link")).unwrap()), b"../hello");
    assert_eq!(tree.kind(tree.lookup(sub, &name("pipe")).unwrap()), Some(FileType::Fifo));
    let other = tree.stat(tree.lookup(sub, &Name::new(b"\xff").unwrap()).unwrap());
    assert_eq!((other.size, other.mtime.sec), (0, 1 << 32));
    assert_eq!((tree.stat(Node::ROOT).mtime.sec, tree.stat(Node::ROOT).nlink), (-2, 3));

    let mut newer = bytes;
    newer[8] = 9;
    let id = case.put_tree(&newer);
    let refused = case.store.tree(id).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), format!("tree {id}: it has version 9, this depsfs knows 1"));
    assert!(Tree::from_bytes(newer).is_err());
}

#[test]
fn pack_1() {
    let case = Case::new();
    let bytes = golden("pack-1");
    let aside = case.dir.path().join("pack");
    let file = fs::File::options().read(true).write(true).create_new(true).open(&aside).unwrap();
    let mut pack = PackWriter::new(file.into());
    for content in [&b"hello"[..], b"", b"world"] {
        pack.add(ObjectId::of(content), content).unwrap();
    }
    let id = pack.finish().unwrap();
    assert_eq!(fs::read(&aside).unwrap(), bytes);

    let path = case.put(&format!("packs/{id}"), &bytes);
    for content in [&b"hello"[..], b"", b"world"] {
        let object = ObjectId::of(content);
        assert!(case.store.objects().contains_whole(&object, content.len() as u64));
        assert_eq!(ObjectId::of_extent(&case.store.objects().content(&object).unwrap()).unwrap(), object);
    }
    assert_eq!(case.store.verify(&()).unwrap(), []);
    let mut newer = bytes;
    newer[8] = 9;
    case.put(&format!("packs/{id}"), &newer);
    let damage = case.store.verify(&()).unwrap().remove(0);
    assert_eq!(damage.to_string(), format!("{}: it has version 9, this depsfs knows 1", path.display()));
}

fn manifest() -> Manifest {
    let graft = |at: &str, entry: Option<&str>| Graft {
        at: at.into(),
        tree: TreeId([0xab; 32]),
        entry: entry.map(str::to_owned),
        origin: "snapshot of /src/node_modules".into(),
        retired: entry.is_some(),
    };
    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"packages/b\xff/100%");
    let view = ViewSpec {
        id: "0123456789abcdef".into(),
        path: PathBuf::from(path),
        grafts: vec![graft("", None), graft("out", Some("noir-0123456789abcdef"))],
        lockfiles: vec![LockFile { path: "yarn.lock".into(), blake3: "00".repeat(32) }],
        ..ViewSpec::default()
    };
    Manifest {
        version: 1,
        worktree: "/golden/worktree".into(),
        store: "/golden/store".into(),
        source: Some("/golden/source".into()),
        commit: Some("c0ffee".into()),
        created: "2026-01-01T00:00:00Z".into(),
        allow_other: false,
        shape: Shape::Directories,
        directories: Vec::new(),
        views: vec![view],
        generation: 3,
    }
}

#[test]
fn manifest_1() {
    let case = Case::new();
    let bytes = golden("manifest-1.json");
    let path = case.dir.path().join("manifest.json");
    manifest().save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(Manifest::load(&path).unwrap(), manifest());
    fs::write(&path, of_version(9, &bytes)).unwrap();
    let why = Manifest::load(&path).unwrap_err().to_string();
    assert_eq!(why, format!("the manifest {} cannot be read: it has version 9, this depsfs knows 3", path.display()));
}

#[test]
fn manifest_2() {
    let case = Case::new();
    let bytes = golden("manifest-2.json");
    let path = case.dir.path().join("manifest.json");
    let mut manifest = manifest();
    manifest.set_shape(Shape::Worktree);
    manifest.directories = vec![TreeId([1; 32])];
    manifest.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(Manifest::load(&path).unwrap(), manifest);
    manifest.set_shape(Shape::Directories);
    manifest.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), golden("manifest-1.json"), "older programs read it again");
}

#[test]
fn manifest_3_has_a_view_that_is_plain_files() {
    let case = Case::new();
    let path = case.dir.path().join("manifest.json");
    let mut manifest = manifest();
    let since = CopyTime { sec: -2, nsec: 999_999_999 };
    let until = CopyTime { sec: 1_700_000_000, nsec: 5 };
    let copy = |id: &str, state| ViewSpec { id: id.into(), copy: Some(state), ..ViewSpec::default() };
    manifest.views.push(copy("0000000000000001", CopyState::Begun));
    manifest.views.push(copy("0000000000000002", CopyState::Complete { since, until }));
    manifest.update_version();
    manifest.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), golden("manifest-3.json"));
    assert_eq!(Manifest::load(&path).unwrap(), manifest);
    manifest.version = 2;
    manifest.save(&path).expect_err("older programs would mount the copies");
    manifest.views.truncate(1);
    manifest.update_version();
    manifest.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), golden("manifest-1.json"), "older programs read it again");
}

#[test]
fn roots_1_and_2() {
    let case = Case::new();
    let (one, two) = (golden("root-1.json"), golden("root-2.json"));
    let manifest = Path::new("/golden/w%/\u{fc}/manifest.json");
    let trees = BTreeSet::from([TreeId([0xab; 32]), TreeId([1; 32])]);
    case.store.roots().add(manifest, &trees).unwrap();
    let file = case.store.roots().list().unwrap().remove(0).file;
    assert_eq!(fs::read(&file).unwrap(), two);
    for (bytes, named) in [(&one, BTreeSet::new()), (&two, trees)] {
        fs::write(&file, bytes).unwrap();
        let held = fs::File::open(&file).unwrap();
        held.lock_shared().unwrap();
        let root = case.store.roots().list().unwrap().remove(0);
        assert_eq!((root.manifest.as_deref(), root.state), (Some(manifest), RootState::Away));
        assert_eq!(root.held, Some(named));
    }
    fs::write(&file, of_version(9, &two)).unwrap();
    let why = case.gc().unwrap_err().to_string();
    assert_eq!(why, format!("the root {} cannot be read: it has version 9, this depsfs knows 2", file.display()));
}

#[test]
fn entry_1() {
    let case = Case::new();
    let tree = case.put_tree(&golden("tree-1"));
    let provenance = Provenance {
        source: "/tmp/noir-0123456789abcdef.tar.gz".into(),
        command: "depsfs store add noir-0123456789abcdef.tar.gz".into(),
        created: "2026-01-01T00:00:00Z".into(),
        files: 2,
        bytes: 5,
    };
    case.store.entries().put("noir", tree, provenance.clone()).unwrap();
    let bytes = golden("entry-1.json");
    let path = case.store.path().join("entries/noir");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let entry = case.store.entries().get("noir").unwrap().unwrap();
    assert_eq!((entry.tree, entry.provenance), (tree, provenance));
    case.put("entries/noir", &of_version(9, &bytes));
    let why = case.store.entries().get("noir").unwrap_err().to_string();
    assert_eq!(why, format!("the entry {} cannot be read: it has version 9, this depsfs knows 1", path.display()));
}

/// A snapshot is only a cache: another version of it is not used, and gc sweeps it.
#[test]
fn snapshot_1_to_3() {
    let case = Case::new();
    let tree = case.put_tree(&golden("tree-1"));
    case.store.entries().put("tree", tree, Provenance::default()).unwrap();
    let hash = "0".repeat(64);
    for known in ["snapshot-2", "snapshot-3"] {
        case.put(&format!("snapshots/{hash}"), &golden(known));
        assert_eq!(case.gc().unwrap().snapshots, 0, "{known} is known, and its tree is kept");
    }
    case.put(&format!("snapshots/{hash}"), &golden("snapshot-1"));
    assert_eq!(case.gc().unwrap().snapshots, 1);

    let source = case.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(60));
    let read = || import_dir(&case.store, &source, &()).unwrap().stats.files_read;
    assert_eq!((read(), read()), (1, 0));
    let all = fs::read_dir(case.store.path().join("snapshots")).unwrap().map(|e| e.unwrap().path());
    for path in all {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 9;
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!((read(), read()), (1, 0));
}

#[test]
fn store_1_2_and_3() {
    let case = Case::new();
    let version = || fs::read(case.store.path().join("version")).unwrap();
    assert_eq!(version(), golden("store-2"));
    // One without packs is read as it is, and is of today's version as soon as it has one.
    case.put("version", &golden("store-1"));
    fs::remove_dir(case.store.path().join("packs")).unwrap();
    let hello = ObjectId::of(b"hello");
    case.put(&format!("objects/{}", hello.place()), b"hello");
    let store = Store::open(case.store.path()).unwrap();
    assert!(store.objects().contains_whole(&hello, 5));
    let stage = store.stage().unwrap();
    stage.add_bytes(b"one alone makes no pack").unwrap();
    stage.publish().unwrap();
    assert_eq!(version(), golden("store-1"));
    let many: Vec<ObjectId> = (0..64u8).map(|n| stage.add_bytes(&[n]).unwrap()).collect();
    stage.publish().unwrap();
    assert_eq!(version(), golden("store-2"));
    assert_eq!(fs::read_dir(case.store.path().join("packs")).unwrap().count(), 1);
    let store = Store::open(case.store.path()).unwrap();
    assert!(many.iter().all(|id| store.objects().contains_whole(id, 1)) && store.objects().contains(&hello));
    assert_eq!(store.verify(&()).unwrap(), []);

    // With the first source objects may be absent, and a later pack does not take that back.
    store.put_source(&TreeId([1; 32]), b"a remote").unwrap();
    assert_eq!(version(), golden("store-3"));
    (64..130u8).for_each(|n| _ = stage.add_bytes(&[n]).unwrap());
    stage.publish().unwrap();
    assert_eq!(version(), golden("store-3"));
    assert!(Store::open(case.store.path()).unwrap().objects().contains(&hello));

    case.put("version", b"depsfs store 9\n");
    let why = Store::open(case.store.path()).map(|_| ()).unwrap_err().to_string();
    let at = case.store.path().display();
    assert_eq!(why, format!("the store {at} is of version depsfs store 9, this depsfs knows depsfs store 3"));
}

/// One of each kind of record and frame.
fn frames() -> Vec<Frame> {
    let time = Some(Timespec { sec: -1, nsec: 2 });
    let (dir, ino) = (Ino(1), Ino(0x0102_0304_0506_0708));
    let meta = journal::MetaChange {
        mode: Some(0o100755),
        uid: Some(1),
        gid: Some(2),
        atime: time,
        mtime: time,
        ctime: time,
        xattrs: Some([(b"user.k".to_vec(), b"v\0".to_vec())].into()),
    };
    let records = vec![
        Record::Root { real: 2, born: 3 },
        Record::Graft { base: 1 << 32, nodes: 5, tree: TreeId([0xab; 32]), at: b"out/\xff".to_vec() },
        Record::Whiteout { dir, name: name("gone"), time },
        Record::Moved { dir, name: name("there"), ino, time: None },
        Record::Unset { dir, name: name("back"), time },
        Record::Opaque { dir },
        Record::Cleared { dir },
        Record::Meta { ino, meta },
        Record::Copied { ino, real: 4, born: 5 },
        Record::Uncopied { ino },
        Record::Place { ino, dir, name: name("dir") },
    ];
    let mut frames: Vec<Frame> = records.iter().map(|r| Frame::Plain(vec![r.clone()])).collect();
    frames.push(Frame::Prepared(Check::Present { dir, name: name("n"), real: 6 }, records));
    frames.push(Frame::Done);
    frames.push(Frame::Prepared(Check::Absent { dir, name: name("n"), real: 6 }, vec![]));
    frames.push(Frame::Undone);
    frames
}

/// The records that format 1 of the journal does not have.
fn newer_frames() -> Vec<Frame> {
    let ino = Ino(0x0102_0304_0506_0708);
    let time = Timespec { sec: -1, nsec: 2 };
    let meta = journal::MetaChange { mode: Some(0o100755), ctime: Some(time), ..journal::MetaChange::default() };
    let records = vec![
        Record::Xattr { ino, name: b"user.k".to_vec(), value: Some(b"v\0".to_vec()), time },
        Record::Xattr { ino, name: b"user.gone".to_vec(), value: None, time },
        Record::Dress { ino, meta },
    ];
    let mut frames: Vec<Frame> = records.iter().map(|r| Frame::Plain(vec![r.clone()])).collect();
    frames.push(Frame::Part(records));
    frames.push(Frame::Plain(vec![]));
    frames
}

#[test]
fn journal_1() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    frames().iter().for_each(|frame| journal.append(frame).unwrap());
    let bytes = golden("journal-1");
    let path = dir.path().join("journal");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(Journal::open(dir.path()).unwrap().1.all(), frames());
    let mut newer = bytes;
    newer[8] = 9;
    fs::write(&path, &newer).unwrap();
    let why = Journal::open(dir.path()).unwrap_err().to_string();
    assert_eq!(why, format!("{} has format 9; this program knows formats 1 and 4", path.display()));
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn journal_4_is_what_a_journal_becomes_that_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    fs::write(&path, golden("journal-1")).unwrap();
    let (mut journal, found) = Journal::open(dir.path()).unwrap();
    assert_eq!(found.all(), frames());
    newer_frames().iter().for_each(|frame| journal.append(frame).unwrap());
    assert_eq!(fs::read(&path).unwrap(), golden("journal-4"));
    let (mut journal, found) = Journal::open(dir.path()).unwrap();
    assert_eq!(found.all(), [frames(), newer_frames()].concat());
    journal.rewrite(vec![Record::Opaque { dir: Ino(1) }]).unwrap();
    assert_eq!(fs::read(&path).unwrap()[8], 1, "an older program reads what needs no more");
}

#[test]
fn journal_2_says_that_the_journal_is_in_the_upper() {
    assert_eq!(depsfs::overlay::journal::elsewhere().to_vec(), golden("journal-2"));
}

#[test]
fn what_is_known_of_components_has_these_bytes_and_other_versions_are_refused() {
    use depsfs::component::record::{ComponentState, ComponentsRecord, KnownComponent};
    let golden = include_bytes!("formats/components-1.json");
    let mut record = ComponentsRecord::default();
    let known = |name: &str, key: Option<&str>, entries: &[&str], state| KnownComponent {
        name: name.into(),
        key: key.map(str::to_owned),
        entries: entries.iter().map(|e| (*e).into()).collect(),
        state,
    };
    record.set(known("lib", Some("0123456789abcdef"), &["lib-0123456789abcdef"], ComponentState::Artifact));
    record.set(known("web", Some("fedcba9876543210"), &[], ComponentState::Pending));
    record.set(known("tools", None, &[], ComponentState::Source));
    assert_eq!(String::from_utf8_lossy(&record.bytes()), String::from_utf8_lossy(golden));
    assert_eq!(ComponentsRecord::parse(golden), Ok(record));
    let text = String::from_utf8_lossy(golden);
    for (from, to) in [("\"version\": 1", "\"version\": 2"), ("\"state\"", "\"more\": 1, \"state\""), ("pending", "x")]
    {
        assert!(ComponentsRecord::parse(text.replace(from, to).as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn a_line_of_the_operation_log_has_these_bytes_and_one_of_another_version_is_none() {
    use depsfs::store::LoggedOperation;
    let mut operation = LoggedOperation::new("gc", "2026-02-03T04:05:06Z".into(), 7);
    operation.targets = vec!["/w/fix%FF".into()];
    operation.detail = Some("freed 1 B".into());
    operation.milliseconds = 12;
    let golden = concat!(
        r#"{"version":1,"time":"2026-02-03T04:05:06Z","verb":"gc","targets":["/w/fix%FF"],"outcome":"done","#,
        r#""detail":"freed 1 B","exit_code":0,"milliseconds":12,"pid":7}"#,
        "\n"
    );
    assert_eq!(String::from_utf8_lossy(&operation.bytes()), golden);
    assert_eq!(LoggedOperation::parse(golden.as_bytes()), Some(operation));
    assert_eq!(LoggedOperation::parse(golden.replace("\"version\":1", "\"version\":2").as_bytes()), None);
}
