//! A changed view is imported by what was changed in it: the tree is the one that reading all of it gives.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use depsfs::store::import::{ImportStats, Imported, import_dir_watching};
use depsfs::store::manifest::Graft;
use depsfs::store::tree::{Item, NodeMeta, Slot};
use depsfs::store::{Name, Store, TreeBuilder, TreeId};
use depsfs::sys::fs as calls;
use depsfs::sys::fs::Timespec;
use depsfs::views::changed_source::Changed;
use proptest::prelude::*;

use crate::bench::{Bench, bench};
use crate::model::ops::{Op, any_op, config};
use crate::model::{fixture, plain};

/// The path that is looked for.
const WATCHED: &str = "/home/ada/repo";

fn store(bench: &Bench) -> Store {
    Store::open(&bench.manifest.store).unwrap()
}

/// Imports a view both ways.
fn both(bench: &Bench, view: &Path) -> (Imported, Imported) {
    let store = store(bench);
    let changed = Changed::of(&store, view).expect("the view says what is needed");
    let fast = changed.import(&store, view, Path::new(WATCHED), &()).unwrap().expect("nobody lays other trees");
    let whole = import_dir_watching(&store, view, Path::new(WATCHED), &()).unwrap();
    (fast, whole)
}

fn assert_same(bench: &Bench, view: &Path, when: &str) -> Imported {
    let (fast, whole) = both(bench, view);
    if fast.tree != whole.tree {
        let store = store(bench);
        let (fast, whole) = (fast.tree, whole.tree);
        let only = |id: TreeId, other: TreeId| {
            let theirs = listing(&store, other);
            listing(&store, id).into_iter().filter(|line| !theirs.contains(line)).collect::<Vec<_>>()
        };
        assert_eq!(only(fast, whole), only(whole, fast), "{when} (by what was changed, whole)");
        panic!("{when}: the trees differ in something that is not shown");
    }
    // The second finds the files that the first has read and stored.
    let in_tree = |stats| ImportStats { files_read: 0, bytes_read: 0, new_objects: 0, ..stats };
    assert_eq!(in_tree(fast.stats), in_tree(whole.stats), "{when}");
    assert_eq!((&fast.holding, &fast.skipped), (&whole.holding, &sorted(whole.skipped)), "{when}");
    fast
}

fn sorted(mut all: Vec<depsfs::store::import::Skipped>) -> Vec<depsfs::store::import::Skipped> {
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// All that a tree says, a line for each name.
fn listing(store: &Store, id: TreeId) -> Vec<String> {
    let tree = store.tree(id).unwrap();
    let mut lines = Vec::new();
    let mut todo = vec![(depsfs::store::Node::ROOT, String::new())];
    while let Some((dir, path)) = todo.pop() {
        let about = |n| (tree.stat(n), tree.object(n), tree.target(n).to_vec(), tree.xattrs(n).count());
        lines.push(format!("{path}/ {:?}", about(dir)));
        for entry in tree.entries(dir, 0) {
            let at = format!("{path}/{}", String::from_utf8_lossy(entry.name));
            if tree.kind(entry.node) == Some(calls::FileType::Directory) {
                todo.push((entry.node, at));
            } else {
                lines.push(format!("{at} {:?} {:?}", entry.node, about(entry.node)));
            }
        }
    }
    lines.sort();
    lines
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// A tree as archives make them, with what no import of a directory leaves in one.
fn odd_tree(store: &Store) -> TreeId {
    let stage = store.stage().unwrap();
    let object = stage.add_bytes(b"set-id\n").unwrap();
    stage.publish().unwrap();
    let meta = |perm, names: &[&[u8]]| NodeMeta {
        perm,
        mtime: Timespec { sec: 1_000_000_000, nsec: 123_456_789 },
        xattrs: names.iter().map(|n| ((*n).into(), b"value"[..].into())).collect(),
    };
    let mut builder = TreeBuilder::new(meta(0o755, &[b"user.root"]));
    // Metadata that only root can give a copy.
    let roots: &[&[u8]] = if crate::bench::is_root() { &[b"trusted.t"] } else { &[] };
    let of_dir = [&[&b"user.z"[..], b"user.a"], roots].concat();
    let dir = builder.add(Slot::ROOT, name("d"), meta(0o7755, &of_dir), Item::Dir).unwrap();
    let file = Item::File { object, size: 7, blocks: 8 };
    let slot = builder.add(dir, name("set-id"), meta(0o6755, &[&[&b"user.b"[..]], roots].concat()), file).unwrap();
    builder.link(Slot::ROOT, name("other name"), slot).unwrap();
    for (at, target) in [("away", "nowhere"), ("into", "/home/ada/repo/x"), ("beside", "/home/ada/repository")] {
        builder.add(dir, name(at), meta(0o644, &[b"user.l"]), Item::Symlink(target.as_bytes().into())).unwrap();
    }
    builder.add(dir, name("fifo"), meta(0o600, &[b"user.f"]), Item::Fifo).unwrap();
    builder.add(dir, name("empty"), meta(0o700, &[]), Item::Dir).unwrap();
    builder.add(dir, Name::new(b"odd %\xff\n").unwrap(), meta(0o700, &[]), Item::Dir).unwrap();
    store.put_tree(&builder).unwrap()
}

fn laid_over(bench: &mut Bench, view: usize, trees: &[TreeId]) {
    let was = bench.manifest.views[view].grafts[0].clone();
    let graft = |tree: &TreeId| Graft { tree: *tree, ..was.clone() };
    bench.manifest.views[view].grafts.extend(trees.iter().map(graft).collect::<Vec<_>>());
    bench.manifest.generation += 1;
    bench.save();
}

/// Shell lines, each in a view of its own.
const CHANGES: &[&str] = &[
    ":",
    "echo mine > a.txt",
    "echo mine > lib/new; mkdir -p new/deep; echo x > new/deep/x; mkdir lib/deep/empty",
    "rm lib/b.js",
    "rm -r lib",
    "rm -r lib; mkdir lib; echo x > lib/x",
    "rm -r d; mkdir -p d/empty",
    "mv lib d/moved; echo x >> d/moved/b.js; touch d/moved/deep/c",
    "mkdir own; mv lib own/lib; rm own/lib/deep/c; mv d own/lib/deep/d; chmod 700 own/lib/deep/d/empty",
    "mv lib/b.js own.js; mv d/set-id lib/b.js",
    "mv lib x; mv d lib; mv x d",
    "chmod 600 a.txt; chmod 750 lib/deep; chmod +t d/empty",
    "touch -d @5 a.txt; touch -hd @6.25 d/away; touch -d @7 d/fifo; touch -d @8 d/empty lib .",
    "ln a.txt lib/a; ln d/set-id lib/set-id; ln d/set-id d/third; ln -P d/away d/other",
    "ln a.txt lib/a; echo more >> lib/a",
    "rm 'other name'",
    "echo more >> 'other name'",
    "mv 'other name' lib/name",
    "chmod 644 d/set-id",
    "ln -s /home/ada/repo/y lib/leads; ln -sf /elsewhere d/into; echo in /home/ada/repo. > text",
    "mkfifo pipe; mv pipe lib/pipe; rm d/fifo; ln -s . d/fifo",
    "rm a.txt; mkdir a.txt; rm -r d/empty; echo x > d/empty",
    "rm d/odd*; rmdir d/odd*; mkdir 'new %'; echo x > 'new %/\n'",
    "cp -a lib copy; cp -a d copy/d",
    "find . -exec touch -hd @9 {} +",
    "for i in $(seq 2000); do echo $i > many-$i; done; rm -r d",
    "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")' || :",
];

#[test]
fn whatever_was_changed_in_a_view_the_tree_is_that_of_all_that_shows() {
    let names: Vec<String> = (0..CHANGES.len()).map(|n| format!("v{n}")).collect();
    if let Some(why) = crate::bench::cannot_mount() {
        return eprintln!("skipped: {why}");
    }
    let mut bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let odd = odd_tree(&store(&bench));
    (0..names.len()).for_each(|view| laid_over(&mut bench, view, &[odd]));
    bench.mount();
    for (view, script) in names.iter().zip(CHANGES) {
        let view = bench.view(view);
        let done = Command::new("sh").args(["-c", script]).current_dir(&view).output().unwrap();
        let imported = assert_same(&bench, &view, script);
        if *script == CHANGES[0] {
            assert_eq!(imported.holding.len(), 1, "a link of the tree leads to what is looked for");
            assert_eq!((imported.stats.files, imported.stats.files_read), (5, 0));
        }
        assert!(done.stderr.is_empty() || script.contains("odd"), "{script}: {done:?}");
    }
    bench.unmount();
    bench.mount();
    for (view, script) in names.iter().zip(CHANGES) {
        assert_same(&bench, &bench.view(view), &format!("{script} and a remount"));
    }
}

#[test]
fn attributes_and_files_from_before_the_mount_are_as_they_show() {
    let mut bench = bench!("v");
    let odd = odd_tree(&store(&bench));
    laid_over(&mut bench, 0, &[odd]);
    bench.mount();
    let view = bench.view("v");
    for at in ["a.txt", "d", "d/empty", "lib/deep"] {
        calls::set_xattr_of_path(&view.join(at), b"user.own", b"1").unwrap();
    }
    let dir = fs::File::open(view.join("d")).unwrap();
    calls::remove_xattr(&dir, b"user.a").unwrap();
    drop(dir);
    assert_same(&bench, &view, "with attributes");
    // A file of the user's own under the place of a view, from before it was mounted.
    bench.unmount();
    fs::create_dir_all(view.join("d/plain")).unwrap();
    fs::write(view.join("d/plain/file"), "plain\n").unwrap();
    symlink("x", view.join("d/fifo")).unwrap();
    bench.mount();
    assert_same(&bench, &view, "with plain files");
}

#[test]
fn a_view_on_entries_at_several_places_is_merged_as_it_shows() {
    let mut bench = bench!("v");
    let odd = odd_tree(&store(&bench));
    laid_over(&mut bench, 0, &[odd, odd, odd]);
    for (graft, at) in bench.manifest.views[0].grafts.iter_mut().skip(2).zip(["lib/deep", "new/place"]) {
        graft.at = at.into();
    }
    bench.save();
    bench.mount();
    let view = bench.view("v");
    assert_same(&bench, &view, "as laid");
    fs::write(view.join("new/place/d/own"), "own\n").unwrap();
    fs::rename(view.join("lib/deep"), view.join("moved")).unwrap();
    fs::remove_file(view.join("moved/d/set-id")).unwrap();
    assert_same(&bench, &view, "changed");
}

#[test]
fn of_a_big_view_only_what_was_touched_is_asked_for() {
    let mut bench = bench!("v");
    let source = bench.dir.join("big");
    for dir in 0..40 {
        fs::create_dir_all(source.join(format!("p{dir}/src"))).unwrap();
        (0..50).for_each(|n| fs::write(source.join(format!("p{dir}/src/{n}")), format!("{dir} {n}")).unwrap());
    }
    let store = store(&bench);
    let tree = import_dir_watching(&store, &source, Path::new(WATCHED), &()).unwrap().tree;
    laid_over(&mut bench, 0, &[tree]);
    bench.mount();
    let view = bench.view("v");
    fs::write(view.join("p7/src/13"), "mine\n").unwrap();
    fs::write(view.join("x"), "mine\n").unwrap();
    let (fast, _) = both(&bench, &view);
    assert_eq!((fast.stats.files, fast.stats.files_read), (2004, 2));
    let server = bench.state().and_then(|s| s.server_pid).unwrap();
    // Each request is one read of the server's.
    let requests = || -> u64 {
        let said = fs::read_to_string(format!("/proc/{server}/io")).unwrap();
        said.lines().find_map(|l| l.strip_prefix("syscr: ")).unwrap().parse().unwrap()
    };
    let before = requests();
    let changed = Changed::of(&store, &view).unwrap();
    changed.import(&store, &view, Path::new(WATCHED), &()).unwrap().unwrap();
    let asked = requests() - before;
    assert!(asked < 60, "{asked} requests for two changed files of 2004");
}

#[test]
fn a_view_whose_trees_are_replaced_while_it_is_read_is_not_taken_for_either() {
    let mut bench = bench!("v");
    let odd = odd_tree(&store(&bench));
    bench.mount();
    let view = bench.view("v");
    fs::write(view.join("own"), "own\n").unwrap();
    let store = store(&bench);
    let changed = Changed::of(&store, &view).unwrap();
    laid_over(&mut bench, 0, &[odd]);
    bench.mount();
    assert_eq!(changed.import(&store, &view, Path::new(WATCHED), &()).unwrap(), None);
    drop(changed);
    assert_same(&bench, &view, "with the new trees");
    bench.manifest.views[0].grafts[0].retired = true;
    bench.manifest.generation += 1;
    bench.save();
    bench.mount();
    assert_same(&bench, &view, "with one retired");
}

#[test]
fn a_view_of_another_store_and_a_plain_directory_that_says_it_is_one_are_read_whole() {
    let bench = bench!("v");
    bench.mount();
    let other = Store::open(&bench.dir.join("other store")).unwrap();
    assert!(Changed::of(&other, &bench.view("v")).is_none());
    let whole = import_dir_watching(&other, &bench.view("v"), Path::new(WATCHED), &()).unwrap();
    assert_eq!((whole.tree, whole.stats.files_read), (bench.manifest.views[0].grafts[0].tree, 3));
    let plain = bench.dir.join("plain");
    fs::create_dir(&plain).unwrap();
    for name in ["view", "grafts.0", "touched.0", "own-names.0"] {
        if calls::set_xattr_of_path(&plain, format!("user.depsfs.{name}").as_bytes(), b"").is_err() {
            return eprintln!("skipped: no extended attributes here");
        }
    }
    assert!(Changed::of(&store(&bench), &plain).is_none());
}

/// One step of a random test.
#[derive(Clone, Debug)]
enum Step {
    Do(Op),
    /// Others of the trees show.
    Lay(u8),
    Compare,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_op().prop_map(Step::Do),
        1 => any::<u8>().prop_map(Step::Lay),
        2 => Just(Step::Compare),
    ]
}

/// How many sequences to try: `DEPSFS_TWIN_CASES`, else what ten seconds afford.
fn cases() -> u32 {
    std::env::var("DEPSFS_TWIN_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

proptest! {
    #![proptest_config(config(cases(), 200))]

    #[test]
    fn after_any_sequence_of_changes_and_of_trees_the_tree_is_that_of_all_that_shows(
        steps in prop::collection::vec(any_step(), 10..100),
        layers in 1usize..4,
    ) {
        if let Some(why) = crate::bench::cannot_mount() {
            eprintln!("skipped: {why}");
            return Ok(());
        }
        run(layers, &steps);
    }
}

/// Found by the test above.
#[test]
fn a_file_of_which_one_name_was_moved_has_both_when_other_trees_show_its_directory_again() {
    if let Some(why) = crate::bench::cannot_mount() {
        return eprintln!("skipped: {why}");
    }
    let at = |path: &str| path.to_owned();
    let rename = Step::Do(Op::Rename(at("d"), at("c/a/c")));
    run(2, &[rename, Step::Lay(6), Step::Compare, Step::Lay(210), Step::Compare]);
}

/// Found by the test above.
#[test]
fn a_directory_that_was_moved_out_of_a_tree_that_goes_can_be_read() {
    if let Some(why) = crate::bench::cannot_mount() {
        return eprintln!("skipped: {why}");
    }
    let at = |path: &str| path.to_owned();
    let steps =
        [Step::Do(Op::Exchange(at("a"), at("c"))), Step::Compare, Step::Do(Op::RemoveAll(at("c"))), Step::Lay(128)];
    run(3, &steps);
}

fn run(layers: usize, steps: &[Step]) {
    let mut bench = Bench::new(&["build"]);
    let store = store(&bench);
    let was = bench.manifest.views[0].grafts[0].clone();
    let mut trees: Vec<TreeId> = fixture::lower(&store, layers).iter().map(|t| t.id()).collect();
    trees.extend(fixture::lower(&store, layers % 3 + 1).iter().map(|t| t.id()));
    trees.push(was.tree);
    bench.manifest.views[0].grafts = trees[..layers].iter().map(|tree| Graft { tree: *tree, ..was.clone() }).collect();
    bench.save();
    bench.mount();
    let view = bench.view("build");
    fs::write(view.join("never-empty"), "").unwrap();
    for (n, step) in steps.iter().enumerate() {
        let when = format!("step {n} {step:?}");
        match step {
            Step::Compare => drop(assert_same(&bench, &view, &when)),
            Step::Lay(mask) => lay(&mut bench, &trees, *mask),
            Step::Do(Op::Remount) => {
                bench.unmount();
                bench.mount();
            }
            Step::Do(op) if op.places().iter().any(|p| plain::crosses_a_link(&view, p)) => {}
            Step::Do(Op::Thaw(at)) => drop(thaw(&view.join(at))),
            // Whether it can be done is for others to test.
            Step::Do(op) => drop(plain::apply(&view, op)),
        }
    }
    assert_same(&bench, &view, "in the end");
    bench.unmount();
    bench.mount();
    assert_same(&bench, &view, "after a remount");
}

fn thaw(at: &Path) -> io::Result<()> {
    if fs::symlink_metadata(at)?.is_symlink() {
        Ok(())
    } else {
        calls::set_xattr_of_path(at, b"user.depsfs.thaw", b"1")
    }
}

/// Those of the trees show whose bit is set, and some last; the others that there were are retired.
fn lay(bench: &mut Bench, trees: &[TreeId], mask: u8) {
    let view = &mut bench.manifest.views[0];
    let was = view.grafts[0].clone();
    let mut live: Vec<TreeId> = Vec::new();
    for (n, tree) in trees.iter().enumerate() {
        if mask >> (n % 8) & 1 == 1 && !live.contains(tree) {
            live.push(*tree);
        }
    }
    if mask & 1 == 1 {
        live.reverse();
    }
    if live.is_empty() {
        live.push(trees[0]);
    }
    let retired: Vec<Graft> = view.grafts.iter().filter(|g| !live.contains(&g.tree)).cloned().collect();
    let shown = live.iter().map(|tree| Graft { tree: *tree, retired: false, ..was.clone() });
    view.grafts = shown.chain(retired.into_iter().map(|g| Graft { retired: true, ..g })).collect();
    bench.manifest.generation += 1;
    bench.save();
    bench.mount();
}
