//! Importing archives: what tar can say comes back, what is wrong or could reach outside is refused and leaves nothing.

#[path = "store_archive/bad.rs"]
mod bad;
#[path = "store/case.rs"]
mod case;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use case::Case;
use depsfs::store::import::{ArchiveLimits, ImportError, Imported, Refused, import_archive};
use depsfs::store::{Name, Node, ObjectId, Store, Tree};
use depsfs::sys::fs::{FileType, Timespec};

impl Case {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn import_file(&self, path: &Path) -> Result<Imported, ImportError> {
        import_archive(&self.store, path, &ArchiveLimits::default(), &())
    }

    fn import(&self, tar: &[u8]) -> Tree {
        let imported = self.import_file(&self.file("a.tar", tar)).unwrap();
        let tree = self.store.tree(imported.tree).unwrap();
        tree.check().unwrap();
        Tree::from_bytes(tree.bytes().to_vec()).unwrap()
    }

    /// Imports what must be refused, and looks that nothing stays.
    fn refused(&self, name: &str, bytes: &[u8]) -> Refused {
        let path = self.file(name, bytes);
        let why = match self.import_file(&path) {
            Err(ImportError::Refused { why, .. }) => why,
            other => panic!("{name}: {other:?}"),
        };
        for dir in ["objects", "trees", "tmp", "entries"] {
            assert_eq!(fs::read_dir(self.store.path().join(dir)).unwrap().count(), 0, "{name} left something in {dir}");
        }
        why
    }

    fn content(&self, tree: &Tree, path: &str) -> Vec<u8> {
        fs::read(self.store.objects().path_of(&tree.object(find(tree, path)).unwrap())).unwrap()
    }
}

fn try_find(tree: &Tree, path: &[u8]) -> Option<Node> {
    path.split(|b| *b == b'/').try_fold(Node::ROOT, |dir, part| tree.lookup(dir, &Name::new(part).unwrap()))
}

fn find(tree: &Tree, path: &str) -> Node {
    try_find(tree, path.as_bytes()).unwrap_or_else(|| panic!("{path} is not in the tree"))
}

/// A tar archive, member by member, with nothing checked.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn header(mut self, kind: u8, name: &[u8], link: &[u8], size: u64, change: impl FnOnce(&mut [u8; 512])) -> Raw {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000144\0");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    fn data(mut self, data: &[u8]) -> Raw {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn add(self, kind: u8, name: &str, link: &str) -> Raw {
        self.header(kind, name.as_bytes(), link.as_bytes(), 0, |_| ())
    }

    fn file(self, name: &str, content: &[u8]) -> Raw {
        self.header(b'0', name.as_bytes(), b"", content.len() as u64, |_| ()).data(content)
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Raw {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let len = (rest + 1..).find(|len| rest + len.to_string().len() == *len).unwrap();
            data.extend_from_slice(format!("{len} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.header(b'x', b"pax", b"", data.len() as u64, |_| ()).data(&data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn sample() -> Vec<u8> {
    let big: Vec<u8> = (0..2_000_000u32).map(|n| (n / 3) as u8).collect();
    Raw::default().file("./target/a.json", b"{}").file("big", &big).add(b'2', "link", "../x").end()
}

#[test]
fn every_compression_gives_the_same_tree_whatever_the_suffix() {
    let case = Case::new();
    let tar = sample();
    let zst = zstd::encode_all(&tar[..], 1).unwrap();
    let mut two_members = gz(&tar[..1000]);
    two_members.extend(gz(&tar[1000..]));
    let files = [
        ("a.tar", tar.clone()),
        ("a.tar.gz", gz(&tar)),
        ("members.tar.gz", two_members),
        ("a.zst", zst.clone()),
        ("a.tar.zst", zst.clone()),
        ("gzip", gz(&tar)),
        ("zstd.bin", zst),
        ("plain", tar),
    ];
    let trees: Vec<_> = files.iter().map(|(n, bytes)| case.import_file(&case.file(n, bytes)).unwrap()).collect();
    assert!(trees.iter().all(|i| i.tree == trees[0].tree));
    assert_eq!((trees[0].stats.new_objects, trees[1].stats.new_objects), (2, 0));
    let stats = trees[0].stats;
    assert_eq!((stats.files, stats.dirs, stats.symlinks, stats.bytes), (2, 2, 1, 2_000_002));
}

#[test]
fn names_are_normalised_parents_made_and_later_members_win() {
    let case = Case::new();
    let tar = Raw::default()
        .header(b'5', b"./", b"", 0, |b| b[100..108].copy_from_slice(b"0000700\0"))
        .file("./a//b/./f", b"old")
        .file("a/b/f", b"new")
        .add(b'2', "s", "nowhere")
        .file("s", b"a file now")
        .file("bytes", b"1")
        .header(b'5', b"bytes/", b"", 0, |_| ())
        .header(b'0', b"\xff\xfe", b"", 0, |_| ())
        .header(0, b"old-dir/", b"", 0, |_| ())
        .end();
    let tree = case.import(&tar);
    assert_eq!(tree.stat(Node::ROOT).perm, 0o700);
    assert_eq!(case.content(&tree, "a/b/f"), b"new");
    assert_eq!(case.content(&tree, "s"), b"a file now");
    assert_eq!(tree.kind(find(&tree, "bytes")), Some(FileType::Directory));
    assert_eq!(tree.kind(find(&tree, "old-dir")), Some(FileType::Directory));
    assert!(try_find(&tree, b"\xff\xfe").is_some());
    let implied = tree.stat(find(&tree, "a/b"));
    assert_eq!((implied.perm, implied.mtime), (0o755, Timespec { sec: 100, nsec: 0 }));
}

#[test]
fn metadata_comes_back_and_set_id_bits_do_not() {
    let case = Case::new();
    let long = "d/".repeat(90) + &"n".repeat(200);
    let tar = Raw::default()
        .pax(&[
            ("mtime", b"-1.5"),
            ("SCHILY.xattr.user.k", b"a\nb\0c"),
            ("SCHILY.xattr.security.x", b"no"),
            ("SCHILY.xattr.user.depsfs.view", b"no"),
            ("comment", b"x"),
        ])
        .header(b'0', b"tool", b"", 2, |b| b[100..108].copy_from_slice(b"0006755\0"))
        .data(b"#!")
        .add(b'1', "again", "./tool")
        .pax(&[("path", long.as_bytes()), ("linkpath", "t".repeat(300).as_bytes())])
        .add(b'2', "short", "short")
        .header(b'L', b"././@LongLink", b"", 131, |_| ())
        .data(&[&[b'g'; 130][..], b"\0"].concat())
        .header(b'0', b"ggg", b"", 3, |b| b[257..265].copy_from_slice(b"ustar  \0"))
        .data(b"gnu")
        .header(b'0', b"leaf", b"", 0, |b| b[345..351].copy_from_slice(b"prefix"))
        .add(b'6', "pipe", "")
        .end();
    let tree = case.import(&tar);
    let tool = find(&tree, "tool");
    let stat = tree.stat(tool);
    assert_eq!((stat.perm, stat.mtime, stat.nlink), (0o755, Timespec { sec: -2, nsec: 500_000_000 }, 2));
    assert_eq!(find(&tree, "again"), tool);
    assert_eq!(tree.xattrs(tool).collect::<Vec<_>>(), [(&b"user.k"[..], &b"a\nb\0c"[..])]);
    assert_eq!(tree.target(find(&tree, &long)), "t".repeat(300).as_bytes());
    assert_eq!(case.content(&tree, &"g".repeat(130)), b"gnu");
    assert_eq!(tree.stat(find(&tree, "prefix/leaf")).size, 0);
    assert_eq!(tree.kind(find(&tree, "pipe")), Some(FileType::Fifo));
}

#[test]
fn sparse_files_of_every_kind_keep_their_holes() {
    const SIZE: u64 = 5 << 20;
    let octal = |n: u64| format!("{n:011o}\0").into_bytes();
    let size = SIZE.to_string();
    let gnu = |b: &mut [u8; 512]| {
        b[257..265].copy_from_slice(b"ustar  \0");
        for (n, number) in [1 << 20, 512, SIZE, 0].into_iter().enumerate() {
            b[386 + n * 12..398 + n * 12].copy_from_slice(&octal(number));
        }
        b[483..495].copy_from_slice(&octal(SIZE));
    };
    let map_1_0 = [&b"2\n1048576\n512\n5242880\n0\n"[..], &[0; 488]].concat();
    let map = b"1048576,512,5242880,0";
    let data = [7; 512];
    let tar = Raw::default()
        .header(b'S', b"gnu", b"", 512, gnu)
        .data(&data)
        .pax(&[
            ("GNU.sparse.numblocks", b"1"),
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.offset", b"1048576"),
            ("GNU.sparse.numbytes", b"512"),
        ])
        .file("pax00", &data)
        .pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.name", b"pax01")])
        .file("GNUSparseFile.0/x", &data)
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax10"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .file("GNUSparseFile.0/y", &[&map_1_0[..512], &data].concat())
        .end();
    let case = Case::new();
    let tree = case.import(&tar);
    let mut content = vec![0; SIZE as usize];
    content[1 << 20..(1 << 20) + 512].fill(7);
    for name in ["gnu", "pax00", "pax01", "pax10"] {
        let stat = tree.stat(find(&tree, name));
        assert_eq!((stat.size, stat.blocks), (SIZE, 8), "{name}");
        assert_eq!(tree.object(find(&tree, name)), Some(ObjectId::of(&content)), "{name}");
    }
    let object = case.store.objects().path_of(&ObjectId::of(&content));
    assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(object).unwrap()) < 100);
}

/// The output of GNU tar itself for a real directory, in both of its formats.
#[test]
fn archives_of_the_real_tar_give_the_tree_of_the_directory() {
    let case = Case::new();
    let src = case.dir.path().join("src");
    fs::create_dir_all(src.join("sub/empty")).unwrap();
    fs::write(src.join("f"), "content").unwrap();
    fs::hard_link(src.join("f"), src.join("sub/hard")).unwrap();
    std::os::unix::fs::symlink("../f", src.join("sub/soft")).unwrap();
    fs::write(src.join("sub").join("long".repeat(60)), "x").unwrap();
    fs::File::create(src.join("sparse")).unwrap().set_len(1 << 21).unwrap();
    let of_dir = depsfs::store::import::import_dir(&case.store, &src, &()).unwrap();
    for format in ["posix", "gnu"] {
        let path = case.dir.path().join(format!("{format}.tar.gz"));
        let mut tar = std::process::Command::new("tar");
        tar.args(["-S", "-c", "-z", "--sort=name", "-H", format, "-f"]).arg(&path).arg("-C").arg(&src).arg(".");
        assert!(tar.status().unwrap().success());
        let imported = case.import_file(&path).unwrap();
        let (a, b) = (case.store.tree(imported.tree).unwrap(), case.store.tree(of_dir.tree).unwrap());
        if format == "posix" {
            assert_eq!(imported.tree, of_dir.tree);
        }
        assert_eq!((a.node_count(), a.content_bytes()), (b.node_count(), b.content_bytes()));
        assert_eq!(find(&a, "f"), find(&a, "sub/hard"));
    }
}

#[test]
fn a_member_that_could_reach_outside_or_makes_no_sense_is_refused_whole() {
    let case = Case::new();
    let before = || Raw::default().file("before", b"kept only if all is well");
    type Is = fn(&Refused) -> bool;
    let bad: Vec<(&str, Raw, Is)> = vec![
        ("absolute", before().file("/etc/passwd", b"x"), |w| matches!(w, Refused::Absolute(_))),
        ("parent", before().file("a/../../x", b"x"), |w| matches!(w, Refused::Outside(_))),
        ("parent at the end", before().add(b'5', "a/..", ""), |w| matches!(w, Refused::Outside(_))),
        ("through a symlink", before().add(b'2', "l", "/etc").file("l/x", b"x"), |w| {
            matches!(w, Refused::BelowSymlink(_))
        }),
        ("through an inner symlink", before().add(b'2', "a/l", ".").add(b'5', "a/l/x/", ""), |w| {
            matches!(w, Refused::BelowSymlink(_))
        }),
        ("below a file", before().file("before/x", b"x"), |w| matches!(w, Refused::BelowFile(_))),
        ("replaced directory", before().file("d/x", b"x").add(b'2', "d", "/etc"), |w| {
            matches!(w, Refused::ReplacesDirectory(_))
        }),
        ("link outside", before().add(b'1', "h", "../x"), |w| matches!(w, Refused::LinkOutside { .. })),
        ("absolute link", before().add(b'1', "h", "/etc/passwd"), |w| matches!(w, Refused::LinkOutside { .. })),
        ("link to nothing", before().add(b'1', "h", "later").file("later", b"x"), |w| {
            matches!(w, Refused::LinkMissing { .. })
        }),
        ("link to a directory", before().add(b'5', "d/", "").add(b'1', "h", "d"), |w| {
            matches!(w, Refused::LinkMissing { .. })
        }),
        ("link through a symlink", before().add(b'2', "l", "/etc").add(b'1', "h", "l/passwd"), |w| {
            matches!(w, Refused::LinkMissing { .. })
        }),
        ("character device", before().add(b'3', "c", ""), |w| matches!(w, Refused::Device(_))),
        ("block device", before().add(b'4', "b", ""), |w| matches!(w, Refused::Device(_))),
        ("unknown type", before().add(b'V', "v", ""), |w| matches!(w, Refused::Kind { kind: 'V', .. })),
        ("no name", before().header(b'0', b"", b"", 0, |_| ()), |w| matches!(w, Refused::Name(_))),
        ("a file as the root", before().file("./", b"").add(b'2', "./.", "x"), |w| matches!(w, Refused::Name(_))),
        ("empty symlink", before().add(b'2', "l", ""), |w| matches!(w, Refused::Name(_))),
        ("NUL in a name", before().pax(&[("path", b"a\0b")]).file("x", b""), |w| matches!(w, Refused::Name(_))),
        ("long component", before().pax(&[("path", &[b'x'; 256])]).file("x", b""), |w| matches!(w, Refused::Name(_))),
        ("deep", before().pax(&[("path", "d/".repeat(1001).as_bytes())]).add(b'5', "x", ""), |w| {
            matches!(w, Refused::Depth { .. })
        }),
        ("huge", before().pax(&[("size", b"70000000000")]).file("x", b""), |w| matches!(w, Refused::Bytes(_))),
        ("negative size", before().header(b'0', b"x", b"", 0, |b| b[124..136].fill(0xff)), |w| {
            matches!(w, Refused::Corrupt(_))
        }),
        ("bad PAX", before().header(b'x', b"p", b"", 9, |_| ()).data(b"99 a=bcd\n"), |w| {
            matches!(w, Refused::Corrupt(_))
        }),
        (
            "sparse outside",
            before().pax(&[("GNU.sparse.map", b"4,9"), ("GNU.sparse.size", b"5")]).file("x", b"123456789"),
            |w| matches!(w, Refused::Corrupt(_)),
        ),
    ];
    for (name, raw, is) in bad {
        let why = case.refused(&format!("{name}.tar"), &raw.end());
        assert!(is(&why), "{name}: {why:?}");
        assert!(!why.to_string().is_empty());
    }
}

#[test]
fn a_cut_or_changed_archive_is_refused_wherever_that_happened() {
    let case = Case::new();
    let tar = Raw::default().file("a", b"some text").file("b", &[3; 5000]).end();
    let (gz, zst) = (gz(&tar), zstd::encode_all(&tar[..], 1).unwrap());
    for cut in [0, 100, 512, 700, 1024, 1536, tar.len() - 1024] {
        case.refused("cut.tar", &tar[..cut]);
    }
    for cut in (0..gz.len()).step_by(7).chain(gz.len() - 8..gz.len()) {
        case.refused("cut.tar.gz", &gz[..cut]);
    }
    for cut in (0..zst.len()).step_by(7).chain([zst.len() - 1]) {
        case.refused("cut.zst", &zst[..cut]);
    }
    for trailer in 1..=8 {
        let mut wrong = gz.clone();
        let at = wrong.len() - trailer;
        wrong[at] ^= 1;
        assert!(matches!(case.refused("crc.tar.gz", &wrong), Refused::Corrupt(_)));
    }
    for (name, bytes) in [("a.tar.gz", &gz), ("a.zst", &zst), ("a.tar", &tar)] {
        case.refused(name, &[bytes, &b"garbage"[..]].concat());
    }
    // A whole second archive after the end marker would be dropped silently by others.
    assert_eq!(case.refused("two.tar", &[&tar[..], &tar].concat()), Refused::Trailing);
    let mut flipped = tar.clone();
    flipped[3] = b'x';
    assert!(matches!(case.refused("sum.tar", &flipped), Refused::Corrupt(_)));
    assert_eq!(case.refused("unknown", b"not an archive"), Refused::Format);
    assert_eq!(case.refused("html.bin", &[b'<'; 600]), Refused::Format);
}

#[test]
fn limits_of_size_count_and_depth_hold() {
    let case = Case::new();
    let path = case.file("a.tar", &Raw::default().file("d/e/a", &[0; 600]).file("b", &[0; 600]).end());
    let limits = ArchiveLimits { bytes: 2000, members: 4, depth: 3, ..ArchiveLimits::default() };
    let import = |limits: &ArchiveLimits| match import_archive(&case.store, &path, limits, &()) {
        Err(ImportError::Refused { why, .. }) => Some(why),
        Err(e) => panic!("{e}"),
        Ok(_) => None,
    };
    assert_eq!(import(&ArchiveLimits { bytes: 1200, ..limits.clone() }), Some(Refused::Bytes(1200)));
    // `d` and `d/e` count, too.
    assert_eq!(import(&ArchiveLimits { members: 3, ..limits.clone() }), Some(Refused::Members(3)));
    assert_eq!(import(&ArchiveLimits { memory: 2000, ..limits.clone() }), Some(Refused::Memory(2000)));
    assert_eq!(
        import(&ArchiveLimits { depth: 2, ..limits.clone() }),
        Some(Refused::Depth { member: "d/e/a".into(), limit: 2 })
    );
    assert_eq!(fs::read_dir(case.store.path().join("objects")).unwrap().count(), 0);
    assert_eq!(import(&limits), None);
}

#[test]
fn many_imports_of_one_archive_at_once_make_one_tree_and_leave_no_temporaries() {
    let case = Case::new();
    let mut raw = Raw::default();
    for n in 0..200 {
        raw = raw.file(&format!("d{}/f{n}", n % 7), format!("content {}", n % 150).as_bytes());
    }
    let path = case.file("a.tar.gz", &gz(&raw.end()));
    let trees: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    // A store of its own, as another process has it.
                    let store = Store::open(case.store.path()).unwrap();
                    import_archive(&store, &path, &ArchiveLimits::default(), &()).unwrap().tree
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(trees.iter().all(|t| *t == trees[0]));
    assert_eq!(fs::read_dir(case.store.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(case.store.path().join("trees")).unwrap().count(), 1);
    let tree = case.store.tree(trees[0]).unwrap();
    assert_eq!(tree.objects().filter(|o| case.store.objects().contains(o)).count(), 150);
}
