//! The number of calls on files that the operations of builds and archives take. With each change comes one that finds out
//! whether the upper is still there.

use super::*;

/// How many calls of any kind but reads of bytes `work` makes.
fn calls<R>(work: impl FnOnce() -> R) -> (R, u32) {
    let plan = Plan { calls: |_| true, from: u32::MAX, for_ever: false, errno: 0, torn: false };
    let guard = plan.lay();
    (work(), guard.seen())
}

#[test]
fn a_new_file_is_opened_looked_at_once_and_has_no_capability() {
    let lab = Lab::new();
    let case = lab.case();
    let overlay = case.overlay();
    let create = |text: &str| overlay.create(Ino::ROOT, &name(text), 0o644, case.caller(), true);
    create("first").expect("made");
    let (made, count) = calls(|| create("second").expect("made"));
    assert_eq!(count, 3, "is the upper there; make it; its number");
    for taken in ["second", "plain", "link", "dir"] {
        let refused = create(taken).expect_err("it is there");
        assert!(matches!(refused, OverlayError::Exists), "{taken}: {refused:?}");
    }
    let capability = |ino| overlay.xattr(ino, b"security.capability");
    let (none, count) = calls(|| capability(made.ino));
    assert!(matches!(none, Err(OverlayError::NoXattr)), "{none:?}");
    assert_eq!(count, 0, "the view has made it");
    overlay.write(made.ino, 0, b"x", None).expect("written");
    let was = overlay.set_xattr(made.ino, b"user.a", b"1", XattrFlags::empty());
    let (none, count) = calls(|| capability(made.ino));
    assert!(none.is_err() && (was.is_err() || count > 0), "once one was set, the file is asked");
}

#[test]
fn mode_and_times_of_an_open_file_take_one_call_and_two_looks() {
    let lab = Lab::new();
    let case = lab.case();
    let overlay = case.overlay();
    let made = overlay.create(Ino::ROOT, &name("new"), 0o644, case.caller(), true).expect("made").ino;
    let set = |set| calls(|| overlay.setattr(made, case.caller(), set).expect("set"));
    let (attr, count) = set(SetAttr { mode: Some(0o600), ..keep() });
    assert_eq!((attr.mode & 0o7777, count), (0o600, 3));
    let (attr, count) = set(SetAttr { mtime: SetTime::At(OLD), ..keep() });
    assert_eq!((attr.mtime, count), (OLD, 3));
    let (attr, _) = set(SetAttr { mode: Some(0o640), atime: SetTime::At(OLD), ..keep() });
    assert_eq!((attr.mode & 0o7777, attr.atime, attr.mtime), (0o640, OLD, OLD));
    // One that is gone, and one that is not open.
    overlay.unlink(Ino::ROOT, &name("new")).expect("removed");
    assert_eq!(set(SetAttr { mode: Some(0o604), ..keep() }).0.mode & 0o7777, 0o604);
}

#[test]
fn a_name_that_no_lower_has_costs_one_call_to_look_up_and_nothing_is_kept_of_it() {
    let lab = Lab::new();
    let case = lab.case();
    let overlay = case.overlay();
    let dir = overlay.mkdir(Ino::ROOT, &name("own names"), 0o755, case.caller()).expect("made").ino;
    let (own, absent) = (name("own"), name("absent"));
    let records = || overlay.view.lock().delta.len();
    let known = || overlay.view.lock().seen.len();
    let before = (records(), known());
    for round in 0..3 {
        let made = overlay.create(dir, &own, 0o644, case.caller(), true).expect("made");
        overlay.write(made.ino, 0, b"x", None).expect("written");
        let (found, count) = calls(|| overlay.lookup(dir, &own).expect("it is there"));
        assert_eq!((found.ino, count), (made.ino, 1), "round {round}");
        let (none, count) = calls(|| overlay.lookup(dir, &absent));
        assert!(matches!(none, Err(OverlayError::NotFound)) && count == 1, "round {round}: {count} calls");
        overlay.unlink(dir, &own).expect("removed");
        overlay.forget(made.ino, 2);
        assert_eq!((records(), known()), before, "round {round}: records of the journal, inodes in memory");
    }
}
