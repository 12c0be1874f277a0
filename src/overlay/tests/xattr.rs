//! Extended attributes of files that the store has: as many as a file of the upper's file system may have, for what
//! they cost there.

use super::*;

/// A view whose upper is on a disk.
fn on_disk() -> Lab {
    Lab::at(tempfile::tempdir().expect("a directory"))
}

#[test]
fn what_a_copy_could_not_have_is_refused_when_it_is_set_and_the_file_can_be_written() {
    let lab = on_disk();
    for path in ["dir/one", "dir"] {
        let mut case = lab.case();
        let beside = case.dir.path().join("beside");
        std::fs::write(&beside, "").expect("made");
        let mut plain = 0;
        let value = [7; 200];
        let name_of = |n: u32| format!("user.n{n}");
        if crate::sys::fs::set_xattr_of_path(&beside, b"user.a", b"1").is_err() {
            return println!("skipped: the temporary directory has no extended attributes");
        }
        let mut refusal = None;
        while plain < 200 && refusal.is_none() {
            let set = crate::sys::fs::set_xattr_of_path(&beside, name_of(plain).as_bytes(), &value);
            refusal = set.err();
            plain += 1;
        }
        let mut taken = 0;
        let refused = loop {
            let set = case.overlay().set_xattr(case.ino(path), name_of(taken).as_bytes(), &value, XattrFlags::empty());
            match set {
                Ok(()) if taken < 200 => taken += 1,
                other => break other.err(),
            }
        };
        match refusal {
            Some(refusal) => {
                assert!(taken.abs_diff(plain - 1) <= 1, "{path}: {taken} in the view, {} beside it", plain - 1);
                assert_eq!(refused.as_ref().and_then(errno), refusal.raw_os_error(), "{path}");
            }
            None => assert!(taken >= 199, "{path}: {taken}"),
        }
        let xattrs = |case: &Case| case.looks().expect("looked")[path].xattrs.clone();
        let before = xattrs(&case);
        case.open().expect("opened");
        assert_eq!(xattrs(&case), before, "{path}: at the next opening");
        case.know();
        case.overlay().write(case.ino("dir/one"), 0, b"ONE", None).expect("copied up");
        assert_eq!(xattrs(&case), before, "{path}: of the copy");
    }
}

#[test]
fn attributes_are_told_one_by_one_and_other_metadata_leaves_them_alone() {
    let lab = on_disk();
    let mut case = lab.case();
    let ino = case.ino("plain");
    let set = |case: &Case, name: &str, value: &[u8]| {
        case.overlay().set_xattr(ino, name.as_bytes(), value, XattrFlags::empty()).expect("set");
    };
    set(&case, "user.first", &[1; 60]);
    let journal = case.state().join("journal");
    let before = paths::read(&journal).expect("there").len();
    set(&case, "user.second", &[2; 60]);
    let one = paths::read(&journal).expect("there").len() - before;
    assert!(one < 150, "{one} bytes for an attribute of 60");
    case.overlay().setattr(ino, case.caller(), SetAttr { mode: Some(0o600), ..keep() }).expect("changed");
    assert!(paths::read(&journal).expect("there").len() - before - one < 100);
    case.overlay().remove_xattr(ino, b"user.a").expect("the store's own");
    let names = |case: &Case| case.overlay().xattr_names(ino).expect("listed");
    let want = [b"user.first".to_vec(), b"user.second".to_vec()];
    for _ in 0..2 {
        assert_eq!(names(&case), want);
        assert_eq!(case.overlay().getattr(ino).expect("there").mode & 0o7777, 0o600);
        case.open().expect("opened");
    }
    case.overlay().view.lock().rewrite_journal().expect("rewritten");
    case.open().expect("opened");
    assert_eq!(names(&case), want);
}
