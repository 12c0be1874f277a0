//! Private copies that are given up, and those that stay.

use std::sync::{Arc, Mutex};

use depsfs::overlay::{Ino, Overlay, OverlayError, Stale};
use depsfs::store::ObjectId;

use super::{Fixture, content, find, me, name, retired, text};

/// Gives up the file at a path if it holds these words.
fn give_up(view: &Overlay, path: &str, held: &str) -> bool {
    let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = find(view, dir).expect("there");
    let perm = find(view, path).and_then(|ino| view.getattr(ino)).map_or(0o644, |attr| attr.mode & 0o7777);
    view.give_up(dir, &name(last), &ObjectId::of(held.as_bytes()), perm).expect("asked")
}

fn write(view: &Overlay, path: &str, words: &str) -> Ino {
    let ino = find(view, path).expect("there");
    view.write(ino, 0, words.as_bytes(), None).expect("written");
    ino
}

/// A new file of the worktree's own.
fn create(view: &Overlay, path: &str, words: &str) -> Ino {
    let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = find(view, dir).expect("there");
    let ino = view.create(dir, &name(last), 0o644, me(), true).expect("created").ino;
    view.write(ino, 0, words.as_bytes(), None).expect("written");
    ino
}

#[test]
fn a_copy_that_holds_what_the_artifact_held_goes_and_what_is_newer_shows() {
    let f = Fixture::new();
    let old = f.tree(&[("d/copied", "one"), ("d/made", "one"), ("d/gone", "one")]);
    let new = f.tree(&[("d/copied", "two"), ("d/made", "two"), ("d/built", "two")]);
    let view = f.open(vec![old.clone()]);
    let copied = write(&view, "d/copied", "one");
    view.unlink(find(&view, "d").expect("there"), &name("made")).expect("deleted");
    let made = create(&view, "d/made", "one");
    create(&view, "d/built", "one");
    write(&view, "d/gone", "one");
    for path in ["d/copied", "d/made", "d/built", "d/gone"] {
        assert!(!give_up(&view, path, "two"), "{path}");
        assert!(give_up(&view, path, "one"), "{path}");
        assert!(!give_up(&view, path, "one"), "{path}: there is none any more");
    }
    // An open file goes on.
    assert_eq!((content(&view, copied), content(&view, made)), ("one".into(), "one".into()));
    assert_eq!(text(&view, "d/made").as_deref(), Some("one"));
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");
    let shows = |view: &Overlay| {
        for path in ["d/copied", "d/made", "d/built"] {
            assert_eq!(text(view, path).as_deref(), Some("two"), "{path}");
        }
        assert_eq!(text(view, "d/gone"), None);
        let dir = find(view, "d").expect("there");
        assert_eq!(view.changes(dir, 0, 9).expect("asked"), []);
    };
    shows(&view);
    drop(view);
    shows(&f.open(vec![new, retired(&old)]));
}

#[test]
fn a_write_between_the_comparison_and_the_giving_up_is_kept() {
    let f = Fixture::new();
    let old = f.tree(&[("x", "one"), ("y", "one")]);
    let view = f.open(vec![old]);
    for path in ["x", "y"] {
        write(&view, path, "one");
    }
    // They were compared, and found equal; then somebody writes, by path and beneath the view.
    write(&view, "x", "own");
    let beneath = std::fs::OpenOptions::new().append(true).open(f.dir.path().join("upper/y")).expect("opened");
    assert!(!give_up(&view, "x", "one"));
    assert!(!give_up(&view, "y", "one"), "somebody has it open for writing");
    drop(beneath);
    assert!(give_up(&view, "y", "one"));
    assert_eq!((text(&view, "x").as_deref(), text(&view, "y").as_deref()), (Some("own"), Some("one")));
}

#[test]
fn another_mode_or_attribute_or_place_is_a_change_that_stays() {
    let f = Fixture::new();
    let view = f.open(vec![f.tree(&[("mode", "one"), ("attribute", "one"), ("moved", "one"), ("thawed/t", "one")])]);
    for path in ["mode", "attribute", "moved"] {
        write(&view, path, "one");
    }
    let held = ObjectId::of(b"one");
    assert!(!view.give_up(Ino::ROOT, &name("mode"), &held, 0o755).expect("asked"));
    let attribute = find(&view, "attribute").expect("there");
    view.set_xattr(attribute, b"user.own", b"1", depsfs::sys::fs::XattrFlags::empty()).expect("set");
    view.rename(Ino::ROOT, &name("moved"), Ino::ROOT, &name("elsewhere"), depsfs::sys::fs::RenameFlags::empty())
        .expect("moved");
    view.thaw(find(&view, "thawed").expect("there")).expect("thawed");
    for path in ["attribute", "elsewhere", "thawed/t"] {
        assert!(!give_up(&view, path, "one"), "{path}");
        assert_eq!(text(&view, path).as_deref(), Some("one"));
    }
}

#[test]
fn who_found_a_file_before_it_was_given_up_writes_to_it_at_its_name() {
    let f = Fixture::new();
    let (old, new) = (f.tree(&[("a", "one")]), f.tree(&[("a", "two"), ("b", "two"), ("c", "two")]));
    let view = f.open(vec![old.clone()]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    view.on_stale(move |stale| tell.lock().expect("no panic").push(stale));
    let copied = write(&view, "a", "one");
    let [built, other] = ["b", "c"].map(|path| create(&view, path, "one"));
    for path in ["a", "b", "c"] {
        // As the kernel does, which then has it open.
        view.lookup(Ino::ROOT, &name(path)).expect("there");
        assert!(give_up(&view, path, "one"));
    }
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");
    assert_eq!(text(&view, "a").as_deref(), Some("two"));
    // Meanwhile somebody has put a file of his own there: that one stays.
    write(&view, "c", "own");
    assert!(told.lock().expect("no panic").is_empty());
    for ino in [copied, built, other] {
        assert_eq!(content(&view, ino), "one");
        view.write(ino, 3, b" more", None).expect("written");
        assert_eq!(content(&view, ino), "one more");
    }
    for path in ["a", "b"] {
        let entry = Stale::Entry { parent: Ino::ROOT, name: name(path) };
        assert!(told.lock().expect("no panic").contains(&entry), "{path}");
    }
    let shows = |view: &Overlay| {
        assert_eq!(text(view, "a").as_deref(), Some("one more"));
        assert_eq!(text(view, "b").as_deref(), Some("one more"));
        assert_eq!(text(view, "c").as_deref(), Some("own"));
    };
    shows(&view);
    assert_eq!((find(&view, "a").expect("there"), find(&view, "b").expect("there")), (copied, built));
    drop(view);
    let view = f.open(vec![new, retired(&old)]);
    shows(&view);
    view.unlink(Ino::ROOT, &name("a")).expect("deleted");
    assert!(matches!(find(&view, "a"), Err(OverlayError::NotFound)));
}

#[test]
fn a_file_that_a_new_graft_replaced_is_written_at_its_name_by_who_found_it_before() {
    let f = Fixture::new();
    let old = f.tree(&[("d/open", "one"), ("d/cut", "one"), ("d/deleted", "one"), ("old/gone", "one")]);
    let new = f.tree(&[("d/open", "two"), ("d/cut", "two"), ("d/deleted", "two")]);
    let view = f.open(vec![old.clone()]);
    let [open, cut, deleted, gone] =
        ["d/open", "d/cut", "d/deleted", "old/gone"].map(|path| find(&view, path).expect("there"));
    let dir = find(&view, "d").expect("there");
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");
    view.unlink(dir, &name("deleted")).expect("deleted");
    let size = depsfs::overlay::SetAttr {
        mode: None,
        uid: None,
        gid: None,
        size: Some(0),
        atime: depsfs::sys::fs::SetTime::Keep,
        mtime: depsfs::sys::fs::SetTime::Keep,
    };
    view.setattr(cut, me(), size).expect("cut");
    for ino in [open, cut, deleted, gone] {
        view.write(ino, 0, b"OWN", None).expect("written");
        assert_eq!(content(&view, ino), "OWN");
    }
    drop(view);
    let view = f.open(vec![new, retired(&old)]);
    assert_eq!((text(&view, "d/open").as_deref(), text(&view, "d/cut").as_deref()), (Some("OWN"), Some("OWN")));
    assert_eq!(text(&view, "d/deleted"), None);
}

#[test]
fn a_changed_mode_or_attribute_is_a_change_that_stays_on_top_of_another_graft_and_changed_times_are_not() {
    let f = Fixture::new();
    let old =
        f.tree(&[("d/mode", "one"), ("d/attribute", "one"), ("d/times", "one"), ("d/same", "one"), ("d/gone", "one")]);
    let new = f.tree(&[("d/mode", "two"), ("d/attribute", "two"), ("d/times", "two"), ("d/same", "one")]);
    let view = f.open(vec![old.clone()]);
    let [mode, attribute, times, same, gone] =
        ["mode", "attribute", "times", "same", "gone"].map(|path| find(&view, &format!("d/{path}")).expect("there"));
    let keep = depsfs::sys::fs::SetTime::Keep;
    let set = depsfs::overlay::SetAttr { mode: None, uid: None, gid: None, size: None, atime: keep, mtime: keep };
    for ino in [mode, same, gone] {
        view.setattr(ino, me(), depsfs::overlay::SetAttr { mode: Some(0o755), ..set }).expect("set");
    }
    view.set_xattr(attribute, b"user.own", b"1", depsfs::sys::fs::XattrFlags::empty()).expect("set");
    let now = depsfs::sys::fs::SetTime::Now;
    view.setattr(times, me(), depsfs::overlay::SetAttr { mtime: now, ..set }).expect("set");
    view.regraft(vec![new.clone(), retired(&old)]).expect("grafted");
    let shows = |view: &Overlay| {
        let mode = |path| view.getattr(find(view, path).expect("there")).expect("asked").mode & 0o7777;
        assert_eq!((text(view, "d/mode").as_deref(), mode("d/mode")), (Some("one"), 0o755));
        assert_eq!((text(view, "d/same").as_deref(), mode("d/same")), (Some("one"), 0o755));
        assert_eq!((text(view, "d/gone").as_deref(), mode("d/gone")), (Some("one"), 0o755));
        let attribute = find(view, "d/attribute").expect("there");
        assert_eq!(view.xattr(attribute, b"user.own").expect("there"), b"1");
        assert_eq!((content(view, attribute).as_str(), text(view, "d/times").as_deref()), ("one", Some("two")));
    };
    shows(&view);
    drop(view);
    shows(&f.open(vec![new, retired(&old)]));
}
