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
fn what_was_moved_into_a_directory_goes_along_when_that_is_renamed_while_it_is_not_mounted() {
    let lab = Lab::new();
    for to in ["ownempty/renamed", "empty", "merged/new"] {
        let mut case = lab.case();
        case.move_into_own();
        let before = case.numberless();
        case.overlay = None;
        let upper = case.upper();
        paths::rename(&upper.join("later/new/in"), &upper.join(to)).expect("renamed");
        paths::rename(&upper.join("two"), &upper.join("owndir/two")).expect("renamed");
        // Another one has the name by now.
        paths::make_dir(&upper.join("later/new/in")).expect("made");
        for _ in 0..2 {
            case.open().expect("opened");
            let looks = case.numberless();
            let at = |path: &str| match (path.strip_prefix("later/new/in"), path.strip_prefix("two")) {
                (Some(below), _) => format!("{to}{below}"),
                (_, Some(below)) => format!("owndir/two{below}"),
                _ => path.to_owned(),
            };
            let mut paths: Vec<String> = before.keys().map(|path| at(path)).collect();
            paths.extend(["later/new/in".into()]);
            paths.sort();
            paths.dedup();
            assert_eq!(looks.keys().cloned().collect::<Vec<_>>(), paths);
            assert_eq!((&looks[&format!("{to}/dir/sub/x")].bytes[..], case.told()), (&b"x"[..], 0));
        }
    }
}

#[test]
fn a_directory_that_was_made_while_the_view_was_not_mounted_has_nothing_of_a_deleted_one_with_its_number() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_into_own();
    case.overlay = None;
    let upper = case.upper();
    paths::rename(&upper.join("later/new/in"), &upper.join("another")).expect("renamed");
    // It was born after the journal was last written.
    paths::set_mtime(&case.state().join("journal"), OLD).expect("set");
    case.open().expect("opened");
    let looks = case.looks().expect("looked");
    assert!(looks.contains_key("another") && !looks.contains_key("another/dir"));
}

#[test]
fn a_file_of_which_another_took_one_name_while_the_view_was_not_mounted_can_be_written() {
    let lab = Lab::new();
    for (taken, left) in [("hard", "dir/hard too"), ("dir/hard too", "hard")] {
        let mut case = lab.case();
        case.overlay = None;
        let at = case.upper().join(taken);
        paths::make_dirs(at.parent().expect("a parent")).expect("made");
        paths::replace(&at, b"somebody's").expect("written");
        case.open().expect("opened");
        case.know();
        case.overlay().write(case.ino(left), 0, b"written", None).expect("written");
        let looks = case.looks().expect("looked");
        assert_eq!((&looks[taken].bytes[..], &looks[left].bytes[..]), (&b"somebody's"[..], &b"writtenes"[..]));
    }
}

#[test]
fn a_tree_can_go_of_which_a_file_was_moved_to_where_somebody_put_another_while_the_view_was_not_mounted() {
    let lab = Lab::new();
    let mut case = lab.case();
    case.move_name("plain", "owndir/plain");
    case.move_name("dir", "owndir/dir");
    case.overlay = None;
    for path in ["owndir/plain", "owndir/dir"] {
        paths::replace(&case.upper().join(path), b"somebody's").expect("written");
    }
    *case.grafts.borrow_mut() = vec![graft(&lab.other, false), graft(&lab.lower, true)];
    for _ in 0..2 {
        case.open().expect("opened");
        let looks = case.looks().expect("looked");
        assert_eq!(["owndir/plain", "owndir/dir"].map(|path| looks[path].bytes.clone()), [b"somebody's"; 2]);
    }
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
