//! A graft that comes is uncovered where its members were deleted: after whatever was done before, all of it shows or
//! is told of, nothing else comes back, and a remount shows the same.

use std::collections::BTreeMap;

use super::*;

const ONE: [(&str, &str); 5] = [("a", "one"), ("b/x", "one"), ("b/y", "one"), ("b/c/z", "one"), ("d", "one")];
const TWO: [(&str, &str); 5] = [("a", "two"), ("b/y", "two"), ("b/c/w", "two"), ("e/q", "two"), ("e/d/r", "two")];
const DIRS: [&str; 6] = ["", "b", "b/c", "e", "e/d", "n"];
const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "n", "q", "w", "x", "y", "z"];

/// Every path that shows, with its content; directories end with a slash.
fn shown(view: &Overlay) -> BTreeMap<String, String> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![(Ino::ROOT, String::new())]);
    while let Some((dir, path)) = todo.pop() {
        let mut names = Vec::new();
        view.readdir(dir, 2, false, &mut |listed| {
            names.push(listed.name.to_vec());
            true
        })
        .expect("listed");
        for name in names {
            let attr = view.lookup(dir, &Name::new(&name).expect("a name")).expect("a listed name is there");
            let path = format!("{path}{}", String::from_utf8(name).expect("letters"));
            if attr.mode & libc::S_IFMT == libc::S_IFDIR {
                all.insert(format!("{path}/"), String::new());
                todo.push((attr.ino, format!("{path}/")));
            } else {
                all.insert(path, content(view, attr.ino));
            }
        }
    }
    all
}

/// Deletes a name with all below it.
fn delete(view: &Overlay, dir: Ino, name: &Name) -> Result<(), OverlayError> {
    let attr = view.lookup(dir, name)?;
    if attr.mode & libc::S_IFMT != libc::S_IFDIR {
        return view.unlink(dir, name);
    }
    let mut names = Vec::new();
    view.readdir(attr.ino, 2, false, &mut |listed| {
        names.push(Name::new(listed.name).expect("a name"));
        true
    })?;
    names.iter().try_for_each(|name| delete(view, attr.ino, name))?;
    view.rmdir(dir, name)
}

/// One random change; many of them can't be made, and then aren't. Directories aren't moved: what a graft brings into
/// one goes along.
fn change(view: &Overlay, dice: &mut impl FnMut(usize) -> usize) {
    let Ok(dir) = find(view, DIRS[dice(DIRS.len())]) else { return };
    let own = name(NAMES[dice(NAMES.len())]);
    let _ = match dice(8) {
        0..3 => delete(view, dir, &own),
        3..5 => view.mkdir(dir, &own, 0o755, me()).map(drop),
        5 => {
            view.create(dir, &own, 0o644, me(), true).and_then(|made| view.write(made.ino, 0, b"mine", None)).map(drop)
        }
        6 => match find(view, DIRS[dice(DIRS.len())]) {
            Ok(_) if view.lookup(dir, &own).is_ok_and(|a| a.mode & libc::S_IFMT == libc::S_IFDIR) => Ok(()),
            Ok(to) => view.rename(dir, &own, to, &name(NAMES[dice(NAMES.len())]), RenameFlags::empty()),
            Err(e) => Err(e),
        },
        _ => view.lookup(dir, &own).and_then(|there| view.thaw(there.ino)),
    };
}

/// Changes of a name that the graft does not have yet.
type Before = fn(&Overlay) -> Result<(), OverlayError>;

fn moves(view: &Overlay, from: &str, to: &str) -> Result<(), OverlayError> {
    view.rename(Ino::ROOT, &name(from), Ino::ROOT, &name(to), RenameFlags::empty())
}

#[test]
fn a_name_that_something_was_moved_to_and_from_hides_nothing_of_a_later_graft() {
    let f = Fixture::new();
    let (one, two) = (f.tree(&ONE), f.tree(&TWO));
    let cases: [(&str, Before); 5] = [
        ("moved on", |view| moves(view, "d", "e").and_then(|()| moves(view, "e", "n"))),
        ("a directory, moved on", |view| moves(view, "b", "e").and_then(|()| moves(view, "e", "n"))),
        ("deleted", |view| moves(view, "d", "e").and_then(|()| view.unlink(Ino::ROOT, &name("e")))),
        ("the worktree's own after a reset, and deleted", |view| {
            moves(view, "d", "e")?;
            view.reset(Ino::ROOT, &name("d"))?;
            view.unlink(Ino::ROOT, &name("e"))
        }),
        ("replaced by an own file that is deleted", |view| {
            moves(view, "d", "e")?;
            view.create(Ino::ROOT, &name("q"), 0o644, me(), true)?;
            moves(view, "q", "e")?;
            view.unlink(Ino::ROOT, &name("e"))
        }),
    ];
    for (what, before) in cases {
        for own in ["upper", "state"].map(|own| f.dir.path().join(own)) {
            std::fs::remove_dir_all(&own).and_then(|()| std::fs::create_dir(&own)).expect("a new directory");
        }
        let view = f.open(vec![one.clone()]);
        before(&view).expect(what);
        view.regraft(vec![one.clone(), two.clone()]).expect("grafted");
        let after = shown(&view);
        assert_eq!(after.get("e/q").map(String::as_str), Some("two"), "{what}: {after:?}");
        drop(view);
        assert_eq!(shown(&f.open(vec![one.clone(), two.clone()])), after, "{what}: opened again");
    }
}

#[test]
fn all_of_a_graft_shows_or_is_told_of_and_nothing_else_comes_back() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse().ok());
    let given: Option<u64> = number("DEPSFS_UNCOVER_SEED");
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
    let first = given.unwrap_or(now % 1_000_000_000_000);
    let cases = if given.is_some() { 1 } else { number("DEPSFS_UNCOVER_CASES").unwrap_or(300) };
    println!("seed: DEPSFS_UNCOVER_SEED={first} and the {cases} that follow, each replayed by itself");
    let f = Fixture::new();
    let (one, two) = (f.tree(&ONE), f.tree(&TWO));
    for seed in first..first + cases {
        for own in ["upper", "state"].map(|own| f.dir.path().join(own)) {
            std::fs::remove_dir_all(&own).and_then(|()| std::fs::create_dir(&own)).expect("a new directory");
        }
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = |sides: usize| {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
        };
        let mut view = f.open(vec![one.clone()]);
        (0..1 + dice(12)).for_each(|_| change(&view, &mut dice));
        if dice(2) == 0 {
            // Nobody holds what was deleted.
            drop(view);
            view = f.open(vec![one.clone()]);
        }
        let before = shown(&view);
        view.regraft(vec![one.clone(), two.clone()]).expect("grafted");
        view.uncover(Path::new(""), two.tree.id()).expect("uncovered");
        let after = shown(&view);
        let covered = view.covered(Path::new(""), two.tree.id()).expect("told");
        let what = format!("seed {seed}: {before:?}, then {after:?}, {covered:?}");
        for (path, text) in TWO {
            let is_told = covered.blocked > 0 || covered.kept.iter().any(|k| Path::new(path).starts_with(k));
            assert!(
                after.get(path).is_some_and(|t| t == text) || is_told,
                "{path} neither shows nor is told of: {what}"
            );
        }
        let of_two = |path: &str| TWO.iter().any(|(member, _)| *member == path || member.starts_with(path));
        for (path, text) in &before {
            let stays = after.get(path).is_some_and(|t| t == text || of_two(path));
            assert!(stays, "{path} went: {what}");
        }
        let came = after.keys().filter(|path| !before.contains_key(*path));
        came.for_each(|path| assert!(of_two(path), "{path} came back: {what}"));
        view.uncover(Path::new(""), two.tree.id()).expect("uncovered again");
        assert_eq!(shown(&view), after, "again: {what}");
        drop(view);
        assert_eq!(shown(&f.open(vec![one.clone(), two.clone()])), after, "opened again: {what}");
    }
}
