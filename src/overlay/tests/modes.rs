//! Modes that keep the server itself out of a file or a directory.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn a_mode_that_a_crash_left_loosened_is_set_back_by_the_next_open_unless_somebody_changed_it() {
    if rustix::process::geteuid().is_root() {
        return println!("skipped: no mode keeps root out");
    }
    type Op = fn(&Case) -> Result<(), OverlayError>;
    let read: Op = |case| case.overlay().read(case.ino("own"), 0, 9, <[u8]>::to_vec).map(drop);
    let look: Op = |case| case.overlay().lookup(case.ino("owndir"), &name("f")).map(drop);
    let list: Op = |case| case.overlay().readdir(case.ino("merged"), 0, false, &mut |_| true);
    let lab = Lab::new();
    for (path, mode, loosened, op) in
        [("own", 0o040, 0o640, read), ("owndir", 0o1050, 0o1750, look), ("merged", 0, 0o700, list)]
    {
        for changed in [None, Some(0o555)] {
            let mut case = lab.case();
            let at = case.dir.path().join("upper").join(path);
            case.overlay().setattr(case.ino(path), case.caller(), SetAttr { mode: Some(mode), ..keep() }).expect("set");
            case.cool();
            // The mode can't be set back: as if the server had been killed by then.
            let plan =
                Plan { calls: |call| call == Call::Change, from: 1, for_ever: true, errno: libc::EIO, torn: false };
            let guard = plan.lay();
            op(&case).expect_err("the mode is not set back");
            drop(guard);
            assert_eq!((mode_of(&at), case.left_aside()), (loosened, 1), "{path}");
            if let Some(mode) = changed {
                case.overlay = None;
                set_mode(&at, mode);
            }
            case.open().expect("opened");
            assert_eq!((mode_of(&at), case.left_aside()), (changed.unwrap_or(mode), 0), "{path}");
            op(&case).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!((mode_of(&at), case.left_aside()), (changed.unwrap_or(mode), 0), "{path}");
        }
    }
}

#[test]
fn directories_in_each_other_that_a_crash_left_loosened_are_all_set_back() {
    if rustix::process::geteuid().is_root() {
        return println!("skipped: no mode keeps root out");
    }
    let lab = Lab::new();
    let mut case = lab.case();
    case.overlay = None;
    let at = |path: &str| case.dir.path().join("upper").join(path);
    for path in ["merged", "merged/own too"] {
        let stat = paths::stat(&at(path)).expect("looked").expect("there");
        let bits = if stat.is_dir() { 0o700 } else { 0o600 };
        set_mode(&at(path), 0o050 | bits);
        let born = crate::sys::fs::birth(
            paths::open_dir(&at("merged")).expect("opened"),
            if stat.is_dir() { b"" } else { b"own too" },
        );
        let note = format!("mode.{:016x}.{:016x}.50.{:o}", stat.ino, born.expect("known"), 0o050 | bits);
        std::fs::write(case.state().join("aside").join(note), "").expect("made");
    }
    // Nobody's.
    std::fs::write(case.state().join("aside/mode.0000000000000001.0000000000000001.0.700"), "").expect("made");
    let [merged, own] = ["merged", "merged/own too"].map(at);
    case.open().expect("opened");
    assert_eq!((mode_of(&merged), case.left_aside()), (0o050, 0));
    set_mode(&merged, 0o700);
    assert_eq!(mode_of(&own), 0o050);
}
