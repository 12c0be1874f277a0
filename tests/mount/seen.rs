//! The same steps on a view and on a plain directory: what a program sees of both, compared.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use depsfs::store::{Store, import};

use crate::bench::{Bench, cannot_mount, is_root};

/// The content that a program sees, step by step.
pub struct Seen(Vec<String>);

impl Seen {
    pub fn note<T: Debug>(&mut self, step: &str, result: io::Result<T>) {
        let result = match result {
            Ok(value) => format!("{value:?}"),
            Err(e) => format!("error {:?}", e.raw_os_error()),
        };
        self.0.push(format!("{step}: {result}"));
    }

    /// Names, kinds, modes, sizes, links and contents of everything below `root`.
    pub fn tree(&mut self, root: &Path) {
        let mut dirs = vec![root.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            let listed = match fs::read_dir(&dir) {
                Ok(listed) => listed,
                Err(e) => {
                    self.0.push(format!("  {:?}", e.kind()));
                    continue;
                }
            };
            let mut entries: Vec<_> = listed.map(|e| e.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                let m = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().display();
                let size = if m.is_dir() { 0 } else { m.size() };
                let links = if m.is_dir() { 0 } else { m.nlink() };
                self.0.push(format!("{name}: {:o} size {size} links {links} uid {}", m.mode(), m.uid()));
                if m.is_file() {
                    let said = |b: Vec<u8>| match b.len() {
                        0..200 => String::from_utf8_lossy(&b).into_owned(),
                        _ => depsfs::store::ObjectId::of(&b).hex(),
                    };
                    self.0.push(format!("  {:?}", fs::read(&path).map(said)));
                } else if m.is_symlink() {
                    self.0.push(format!("  -> {:?}", fs::read_link(&path)));
                } else if m.is_dir() {
                    dirs.push(path);
                }
            }
        }
    }
}

/// Runs `steps` on a view and on a copy of what it shows, then again compares both after a remount.
pub fn twins(bench: Bench, steps: impl Fn(&Path, &mut Seen)) {
    let (view, plain) = (bench.view("v"), bench.dir.join("plain"));
    let copied = Command::new("cp").arg("-a").arg(bench.dir.join("source")).arg(&plain).status().unwrap();
    assert!(copied.success());
    bench.mount();
    let run = |root: &Path| {
        let mut seen = Seen(Vec::new());
        steps(root, &mut seen);
        seen.tree(root);
        seen.0
    };
    let (on_view, on_plain) = (run(&view), run(&plain));
    compare(&on_view, &on_plain);
    bench.unmount();
    bench.mount();
    let mut again = Seen(Vec::new());
    again.tree(&view);
    compare(&again.0, &on_plain[on_plain.len() - again.0.len()..]);
}

fn compare(view: &[String], plain: &[String]) {
    for (i, (view, plain)) in view.iter().zip(plain).enumerate() {
        assert_eq!(view, plain, "step {i}: the view, then the plain directory");
    }
    assert_eq!(view.len(), plain.len());
}

/// Runs `steps` on plain directories filled by `fill` and on views of the same in both shapes: all from one tree and
/// the upper empty; and every directory merged from two trees and the upper. Then compares all after a remount.
pub fn in_both_shapes(fill: impl Fn(&Path), steps: impl Fn(&Path, &mut Seen)) {
    if let Some(why) = cannot_mount() {
        return eprintln!("skipped: {why}");
    }
    for parts in [1, 3] {
        let mut bench = Bench::new(&["v"]);
        // Only root may let others in without a line in /etc/fuse.conf.
        bench.manifest.allow_other = is_root();
        let source = bench.dir.join("whole");
        fs::create_dir(&source).unwrap();
        fill(&source);
        spread(&mut bench, &source, parts);
        fs::remove_dir_all(bench.dir.join("source")).unwrap();
        fs::rename(source, bench.dir.join("source")).unwrap();
        eprintln!("{}", if parts == 1 { "from one tree:" } else { "merged from two trees and the upper:" });
        twins(bench, &steps);
    }
}

/// All directories in each of `parts` copies of `source`, each file in one of them; the third copy is the upper.
fn spread(bench: &mut Bench, source: &Path, parts: u64) {
    let store = Store::open(&bench.manifest.store).unwrap();
    let graft = bench.manifest.views[0].grafts[0].clone();
    bench.manifest.views[0].grafts.clear();
    for part in 0..parts {
        let upper = part == 2;
        let copy = if upper { bench.view("v") } else { bench.dir.join(format!("part {part}")) };
        assert!(Command::new("cp").arg("-a").arg(source).arg(&copy).status().unwrap().success());
        // By the source's inode: all names of one file stay together.
        keep(&copy, source, &|m| m.ino() % parts == part);
        if !upper {
            let tree = import::import_dir(&store, &copy, &()).unwrap().tree;
            bench.manifest.views[0].grafts.push(depsfs::store::manifest::Graft { tree, ..graft.clone() });
        }
    }
    bench.save();
}

fn keep(copy: &Path, source: &Path, wanted: &dyn Fn(&fs::Metadata) -> bool) {
    let times = fs::metadata(copy).unwrap();
    for entry in fs::read_dir(copy).unwrap() {
        let name = entry.unwrap().file_name();
        let meta = fs::symlink_metadata(source.join(&name)).unwrap();
        if meta.is_dir() {
            keep(&copy.join(&name), &source.join(&name), wanted);
        } else if !wanted(&meta) {
            fs::remove_file(copy.join(&name)).unwrap();
        }
    }
    fs::File::open(copy).unwrap().set_modified(times.modified().unwrap()).unwrap();
}
