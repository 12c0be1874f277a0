//! An upper that was copied with its journal, or restored from a copy, shows what it showed: its inode numbers are others.

use std::process::Command;

use super::super::journal::DAMAGED;
use super::*;

impl Case {
    fn upper(&self) -> std::path::PathBuf {
        self.dir.path().join("upper")
    }

    fn mkdir(&mut self, path: &str) {
        let (dir, name, _) = self.spot(path);
        self.overlay().mkdir(dir, &name, 0o755, self.caller()).expect("made");
        self.know();
    }

    fn move_name(&mut self, from: &str, to: &str) {
        let (from_dir, from, _) = self.spot(from);
        let (to_dir, to, _) = self.spot(to);
        self.overlay().rename(from_dir, &from, to_dir, &to, RenameFlags::empty()).expect("renamed");
        self.know();
    }

    /// Files and directories of the store in directories that only the upper has.
    fn move_into_own(&mut self) {
        for dir in ["new", "new/in", "later", "two"] {
            self.mkdir(dir);
        }
        self.move_name("dir", "new/in/dir");
        self.move_name("plain", "new/plain");
        self.move_name("moved", "new/merged too");
        self.move_name("thaw", "two/thaw");
        self.mkdir("two/thaw/own");
        self.move_name("hard", "two/thaw/own/hard");
        // The directory that it is in has no names of the journal.
        self.move_name("new", "later/new");
        age(&self.upper());
    }

    /// Everything but inode numbers: a copy of a file of the store is a file of its own.
    fn numberless(&self) -> Looks {
        let looks = self.looks().expect("looked").into_iter();
        looks.map(|(path, look)| (path, Look { ino: String::new(), ..look })).collect()
    }

    fn told(&self) -> usize {
        paths::list(&self.state()).expect("listed").iter().filter(|e| e.name.starts_with(DAMAGED.as_bytes())).count()
    }

    /// Puts a copy in the place of a directory.
    fn copy(&self, what: &str) {
        let (at, kept) = (self.dir.path().join(what), self.dir.path().join(format!("{what} before")));
        paths::rename(&at, &kept).expect("renamed");
        let copied = Command::new("cp").arg("-a").arg(&kept).arg(&at).status().expect("cp is there");
        assert!(copied.success());
    }
}

#[test]
fn a_copy_of_an_upper_and_its_journal_shows_what_the_upper_did() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_into_own();
    let before = case.numberless();
    assert_eq!(before["later/new/in/dir/sub/x"].bytes, b"x");
    assert_eq!(before["two/thaw/own/hard"].bytes, b"two names");
    case.overlay = None;
    case.copy("upper");
    case.copy("state");
    for _ in 0..2 {
        case.open().expect("opened");
        assert_eq!(case.numberless(), before);
        assert_eq!(case.told(), 0);
    }
    case.know();
    case.move_name("later/new/in/dir", "dir again");
    let dir = case.ino("later/new");
    case.overlay().unlink(dir, &name("plain")).expect("unlinked");
    case.open().expect("opened");
    let looks = case.looks().expect("looked");
    assert_eq!(looks["dir again/sub/x"].bytes, b"x");
    assert!(!looks.contains_key("plain") && !looks.contains_key("later/new/plain"));
}

#[test]
fn an_upper_whose_directories_were_restored_from_a_copy_shows_what_it_did() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_into_own();
    let before = case.numberless();
    case.overlay = None;
    for dir in ["later", "two"] {
        case.copy(&format!("upper/{dir}"));
        paths::remove_tree(&case.upper().join(format!("{dir} before"))).expect("deleted");
    }
    paths::set_mtime(&case.upper(), MADE).expect("set");
    case.open().expect("opened");
    assert_eq!((case.numberless(), case.told()), (before.clone(), 0));
    case.overlay = None;
    // The number that the journal has of one is that of another now.
    let [one, two] = ["later/new/in", "two/thaw/own"].map(|dir| case.upper().join(dir));
    paths::exchange(&one, &two).expect("exchanged");
    for dir in ["later/new", "two/thaw"] {
        paths::set_mtime(&case.upper().join(dir), MADE).expect("set");
    }
    case.copy("upper");
    case.open().expect("opened");
    assert_eq!((case.numberless(), case.told()), (before, 0));
}

#[test]
fn what_was_moved_into_a_directory_that_a_copy_lacks_shows_where_the_store_has_it_and_that_is_told() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_into_own();
    case.overlay = None;
    case.copy("upper");
    paths::remove_tree(&case.upper().join("later/new/in")).expect("deleted");
    for _ in 0..2 {
        case.open().expect("opened");
        let looks = case.looks().expect("looked");
        assert_eq!(looks["dir/sub/x"].bytes, b"x");
        assert_eq!(looks["later/new/plain"].bytes, b"the store's");
        assert!(!looks.contains_key("later/new/in"));
        assert_eq!(case.told(), 1, "once");
    }
}

#[test]
fn a_directory_that_its_user_deleted_while_it_was_not_mounted_takes_along_what_was_moved_there() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_into_own();
    case.overlay = None;
    paths::remove_tree(&case.upper().join("later/new/in")).expect("deleted");
    case.open().expect("opened");
    let looks = case.looks().expect("looked");
    assert!(!looks.contains_key("dir") && looks.contains_key("later/new/plain"));
    assert_eq!(case.told(), 0);
}

#[test]
fn a_change_whose_end_is_missing_took_place_in_a_copy_if_the_file_is_at_its_name() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_name("merged", "owndir/merged");
    let before = case.numberless();
    case.overlay = None;
    let journal = case.state().join("journal");
    let mut bytes = paths::read(&journal).expect("there");
    bytes.truncate(bytes.len() - 9);
    paths::replace(&journal, &bytes).expect("cut");
    case.copy("upper");
    case.open().expect("opened");
    let after = case.numberless();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(after["owndir/merged/low"].bytes, b"low");
}

#[test]
fn what_was_moved_into_a_directory_of_the_upper_is_thawed_with_it() {
    let lab = Lab::new();
    for top in ["later", "two"] {
        let mut case = lab.case();
        case.move_into_own();
        case.overlay().thaw(case.ino(top)).expect("thawed");
        let upper = case.upper();
        for path in ["later/new/in/dir/sub/x", "later/new/plain", "two/thaw/t"] {
            assert_eq!(paths::is_there(&upper.join(path)), path.starts_with(top), "{path} after a thaw of {top}");
        }
    }
}
