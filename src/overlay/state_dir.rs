//! The location of a view's journal and work directory: in one file system with the upper.
//!
//! Journal and upper are kept in step by the order in which one file system commits changes (`journal/mod.rs`); two
//! disks have no such order, and after a power cut either may be ahead. So if the state directory is in another file
//! system, both lie in a directory of the upper's root, [`IN_UPPER`], which the view doesn't show, and the state
//! directory's `journal` marks that: a header of version 2 with nothing after it. An older depsfs refuses that.
//!
//! | step (moving into the upper)     | a crash or power cut right after it leaves                     |
//! |----------------------------------|----------------------------------------------------------------|
//! | 1. directory and journal, synced | what the state directory holds counts; the next opening goes on |
//! | 2. version 2 in the state directory, synced | what the upper holds counts                         |
//!
//! A server that takes over stays where the one before it was. A view whose last name was deleted moves back
//! ([`Overlay::leave_upper`]): its directory must be empty.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::fs::{self, OpenFlags};
use crate::sys::{IoError, path as paths};

use super::error::{OverlayError, Result, upper};
use super::journal::{self, JournalError};
use super::loosened::despite_mode;
use super::orphan::aside_name;
use super::upper::{remove_tree, restore_times};
use super::view::Overlay;
use super::view::{OrphanBacking, View};

/// In the upper's root, where it must be.
pub const IN_UPPER: &str = ".depsfs.state";

/// The result of [`find`].
pub(super) struct Home {
    pub dir: OwnedFd,
    /// To be named in errors.
    pub path: PathBuf,
    /// It is the directory [`IN_UPPER`].
    pub in_upper: bool,
    /// It is in the upper's file system.
    pub is_near: bool,
}

/// Finds the directory of this upper's journal; if it must be elsewhere, the journal is moved first.
pub(super) fn find(root: &OwnedFd, state_dir: &Path, takeover: bool) -> Result<Home> {
    let in_file = |e: IoError| OverlayError::Journal(e.into());
    let state = fs::open_path(state_dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0);
    let state = state.map_err(IoError::of("open", state_dir)).map_err(in_file)?;
    let device = |fd: &OwnedFd| fs::stat(fd).map(|s| s.dev).map_err(upper("look at the directory"));
    let is_near = device(&state)? == device(root)?;
    let version = journal::version(&state, state_dir)?;
    let is_elsewhere = version == Some(journal::ELSEWHERE);
    if !is_elsewhere && (is_near || takeover) {
        return Ok(Home { dir: state, path: state_dir.into(), in_upper: false, is_near });
    }
    let dir = match directory(root, is_elsewhere) {
        Ok(dir) => dir,
        // Nothing can be changed in such an upper, so nothing gets out of step.
        Err(e) if !is_elsewhere && matches!(e.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM)) => {
            return Ok(Home { dir: state, path: state_dir.into(), in_upper: false, is_near });
        }
        Err(e) => return Err(upper("make a directory")(e)),
    };
    if !is_elsewhere {
        if version.is_some() {
            journal::copy(&state, &dir, state_dir)?;
        }
        [&dir, root].into_iter().try_for_each(synced)?;
        paths::replace_synced(&state_dir.join("journal"), &journal::elsewhere()).map_err(in_file)?;
        synced(&state)?;
    }
    Ok(Home { dir, path: Path::new(IN_UPPER).into(), in_upper: true, is_near: true })
}

/// The directory in the upper's root. If it was there and is gone, it was deleted with its records.
fn directory(root: &OwnedFd, was_there: bool) -> std::io::Result<OwnedFd> {
    match despite_mode(None, root, || fs::open_dir_at(root, IN_UPPER.as_bytes())) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        other => return other,
    }
    if was_there {
        tracing::warn!("{IN_UPPER} was deleted: what had been deleted or moved of the store's files is forgotten");
    }
    let kept = fs::stat(root)?;
    despite_mode(None, root, || fs::mkdir_at(root, IN_UPPER.as_bytes(), 0o700))?;
    restore_times(root, &kept);
    despite_mode(None, root, || fs::open_dir_at(root, IN_UPPER.as_bytes()))
}

fn synced(dir: &OwnedFd) -> Result<()> {
    let dir = despite_mode(None, dir, || fs::open_dir_at(dir, b".")).map_err(upper("open a directory"))?;
    fs::fsync(dir).map_err(upper("sync a directory"))
}

impl Overlay {
    /// The view is empty and will be detached: nothing of ours stays in its directory. It can be used on.
    ///
    /// | step                                   | a crash right after it leaves                          |
    /// |----------------------------------------|--------------------------------------------------------|
    /// | 1. the journal in the state directory  | a directory of ours in the upper that is not read     |
    /// | 2. the directory is deleted            | an upper without anything of ours                      |
    pub(crate) fn leave_upper(&self) -> Result<()> {
        let mut view = self.view.lock();
        if !view.upper.has_home {
            return Ok(());
        }
        view.flush_all()?;
        view.hold_orphans()?;
        let records = view.all_records();
        let state_dir = view.upper.state_dir.clone();
        match view.journal.move_to(&state_dir, records) {
            // With the state directory the journal is of no more use.
            Err(JournalError::Io(e)) if e.source.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        (view.upper.aside, view.upper.has_home) = (None, false);
        let root = view.upper.root.clone();
        remove_tree(&root, IN_UPPER.as_bytes()).map_err(upper("delete a directory"))
    }
}

impl View {
    /// Descriptors hold what `aside` did.
    fn hold_orphans(&mut self) -> Result<()> {
        let Some(aside) = &self.upper.aside else { return Ok(()) };
        let aside = fs::duplicate(aside.as_fd()).map_err(upper("open a directory"))?;
        for (ino, orphan) in &mut self.orphans {
            if matches!(orphan.kept, OrphanBacking::Aside) {
                let fd = fs::open_at(&aside, aside_name(*ino).as_bytes(), OpenFlags::PATH, 0);
                orphan.kept = OrphanBacking::Open(Arc::new(fd.map_err(upper("open a file"))?));
            }
        }
        Ok(())
    }

    /// Whether this name of the upper's root is ours, and no part of the view.
    pub(super) fn is_home(&self, dir: super::Ino, name: &[u8]) -> bool {
        self.upper.has_home && dir == super::Ino::ROOT && name == IN_UPPER.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs as std_fs;
    use std::path::PathBuf;

    use crate::overlay::journal::Journal;
    use crate::overlay::{Caller, GraftSpec, Ino, OverlayConfig};
    use crate::store::{Name, Store, import};

    /// A view whose state lies in another file system than its upper.
    struct Bench {
        dir: tempfile::TempDir,
        far: tempfile::TempDir,
        store: Store,
        graft: GraftSpec,
    }

    impl Bench {
        fn new() -> Option<Bench> {
            use std::os::unix::fs::MetadataExt;
            let (dir, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir_in("/dev/shm").ok()?);
            let device = |dir: &Path| std_fs::metadata(dir).expect("there").dev();
            if device(dir.path()) == device(far.path()) {
                return None;
            }
            for sub in ["source/sub", "upper"] {
                std_fs::create_dir_all(dir.path().join(sub)).expect("made");
            }
            for (name, text) in [("a", "a"), ("b", "b"), ("sub/c", "c")] {
                std_fs::write(dir.path().join("source").join(name), text).expect("written");
            }
            std::os::unix::fs::symlink("a", dir.path().join("source/link")).expect("linked");
            let store = Store::open(&dir.path().join("store")).expect("a store");
            let tree = import::import_dir(&store, &dir.path().join("source"), &()).expect("imported").tree;
            let graft = GraftSpec { at: "".into(), tree: store.tree(tree).expect("there"), retired: false };
            Some(Bench { dir, far, store, graft })
        }

        fn upper(&self) -> PathBuf {
            self.dir.path().join("upper")
        }

        fn open_at(&self, state_dir: &Path, takeover: bool) -> Overlay {
            let upper = paths::open_dir(&self.upper()).expect("opened");
            let (grafts, objects) = (vec![self.graft.clone()], self.store.objects().clone());
            let config = OverlayConfig { state_dir: state_dir.into(), grafts, objects, takeover };
            Overlay::open(upper, config).expect("a view")
        }

        fn open(&self) -> Overlay {
            self.open_at(self.far.path(), false)
        }

        fn upper_names(&self) -> Vec<String> {
            names(std_fs::read_dir(self.upper()).expect("there"))
        }
    }

    fn names(dir: std_fs::ReadDir) -> Vec<String> {
        let mut names: Vec<_> = dir.map(|e| e.expect("listed").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    macro_rules! bench {
        () => {
            match Bench::new() {
                Some(bench) => bench,
                None => return println!("skipped: /dev/shm is no file system of its own"),
            }
        };
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    fn shown(view: &Overlay) -> Vec<String> {
        let mut all = Vec::new();
        let listed = view.readdir(Ino::ROOT, 2, false, &mut |listed| {
            all.push(String::from_utf8_lossy(listed.name).into_owned());
            true
        });
        listed.expect("listed");
        all.sort();
        all
    }

    #[test]
    fn a_journal_that_would_be_in_another_file_system_is_in_the_upper_and_not_seen() {
        let bench = bench!();
        let view = bench.open();
        view.unlink(Ino::ROOT, &name("b")).expect("deleted");
        assert_eq!(shown(&view), ["a", "link", "sub"]);
        assert!(matches!(view.lookup(Ino::ROOT, &name(IN_UPPER)), Err(OverlayError::NotFound)));
        let me = Caller { uid: 0, gid: 0 };
        assert!(view.mkdir(Ino::ROOT, &name(IN_UPPER), 0o755, me).is_err());
        assert_eq!(view.getattr(Ino::ROOT).expect("there").nlink, 3);
        drop(view);
        assert_eq!(std_fs::read(bench.far.path().join("journal")).expect("there"), journal::elsewhere());
        assert_eq!(bench.upper_names(), [IN_UPPER]);
        assert_eq!(shown(&bench.open()), ["a", "link", "sub"]);
        // The result is the same with a state directory elsewhere, and after a takeover.
        let near = bench.dir.path().join("near");
        std_fs::create_dir(&near).expect("made");
        std_fs::copy(bench.far.path().join("journal"), near.join("journal")).expect("copied");
        assert_eq!(shown(&bench.open_at(&near, false)), ["a", "link", "sub"]);
        assert_eq!(shown(&bench.open_at(bench.far.path(), true)), ["a", "link", "sub"]);
    }

    #[test]
    fn a_journal_of_before_is_moved_into_the_upper_and_an_older_program_refuses_what_stays() {
        let bench = bench!();
        // As it was: a journal in the state directory, of an upper that is elsewhere.
        drop(bench.open_at(bench.far.path(), true));
        assert_eq!(bench.upper_names(), [""; 0], "a server that takes over moves nothing");
        let view = bench.open_at(bench.far.path(), true);
        view.unlink(Ino::ROOT, &name("a")).expect("deleted");
        drop(view);
        assert_eq!(shown(&bench.open()), ["b", "link", "sub"]);
        assert_eq!(bench.upper_names(), [IN_UPPER]);
        let why = Journal::open(bench.far.path()).expect_err("version 2").to_string();
        assert!(why.ends_with("has format 2; this program knows formats 1 and 4"), "{why}");
        assert_eq!(shown(&bench.open()), ["b", "link", "sub"]);
    }

    #[test]
    fn a_directory_is_reset_and_a_symlink_copied_as_where_all_is_in_one_file_system() {
        let bench = bench!();
        let view = bench.open();
        let sub = view.lookup(Ino::ROOT, &name("sub")).expect("there").ino;
        let c = view.lookup(sub, &name("c")).expect("there").ino;
        view.write(c, 0, b"C", None).expect("written");
        view.reset(Ino::ROOT, &name("sub")).expect("reset");
        let sub = view.lookup(Ino::ROOT, &name("sub")).expect("there").ino;
        let c = view.lookup(sub, &name("c")).expect("there").ino;
        assert_eq!(view.read(c, 0, 9, <[u8]>::to_vec).expect("read"), b"c");
        let link = view.lookup(Ino::ROOT, &name("link")).expect("there").ino;
        view.thaw(link).expect("copied");
        assert_eq!(bench.upper_names(), [IN_UPPER, "link"]);
    }

    #[test]
    fn a_view_that_was_emptied_leaves_its_directory_empty_and_goes_on() {
        let bench = bench!();
        let view = bench.open();
        let a = view.lookup(Ino::ROOT, &name("a")).expect("there").ino;
        view.write(a, 0, b"A", None).expect("written");
        let sub = view.lookup(Ino::ROOT, &name("sub")).expect("there").ino;
        view.unlink(sub, &name("c")).expect("deleted");
        view.rmdir(Ino::ROOT, &name("sub")).expect("deleted");
        ["a", "b", "link"].iter().for_each(|n| view.unlink(Ino::ROOT, &name(n)).expect("deleted"));
        assert!(view.root_is_empty());
        view.leave_upper().expect("left");
        assert_eq!(bench.upper_names(), [""; 0]);
        assert_eq!(view.read(a, 0, 9, <[u8]>::to_vec).expect("still open"), b"A");
        std_fs::remove_dir(bench.upper()).expect("empty");
        drop(view);
        std_fs::create_dir(bench.upper()).expect("made");
        let taken_over = bench.open_at(bench.far.path(), true);
        assert_eq!(bench.upper_names(), [""; 0]);
        drop(taken_over);
    }
}
