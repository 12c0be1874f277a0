//! `fsync(2)`: the files to sync are chosen with the view's lock, and waited for without it.
//!
//! Every change that was answered before the request is in the upper's files and in the journal when the files are
//! chosen, so the wait covers it. Later writes may or may not be on disk afterwards, as everywhere.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sys::fs;

use super::error::{Result, upper};
use super::journal::Unsynced;
use super::loosened::despite_mode;
use super::types::Ino;
use super::view::Overlay;
use super::view::View;

/// The files that one `fsync` waits for.
pub struct FileSync {
    view: Arc<Mutex<View>>,
    ino: Ino,
    journal: Option<Unsynced>,
    file: Option<OwnedFd>,
    data_only: bool,
}

impl Overlay {
    /// Waits until earlier writes to this file or directory are on disk, and the journal too.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn fsync(&self, ino: Ino, data_only: bool) -> Result<()> {
        self.to_sync(ino, data_only)?.map_or(Ok(()), FileSync::wait)
    }

    /// The wait of [`Overlay::fsync`]; `None` if nothing is due.
    pub(crate) fn to_sync(&self, ino: Ino, data_only: bool) -> Result<Option<FileSync>> {
        let mut view = self.view.lock();
        // An end that is owed is part of the answered changes.
        view.journal.make_good()?;
        let (file, journal) = (view.fd_to_sync(ino)?, view.journal.to_sync());
        let is_due = file.is_some() || journal.is_some();
        Ok(is_due.then(|| FileSync { view: self.view.clone(), ino, journal, file, data_only }))
    }
}

impl FileSync {
    /// Waits for the disk. Nothing of the view is locked meanwhile.
    pub fn wait(self) -> Result<()> {
        if let Some(journal) = &self.journal {
            let synced = journal.sync();
            self.view.lock().journal.synced(journal, synced)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let synced = if self.data_only { fs::fdatasync(file) } else { fs::fsync(file) };
        synced.map_err(upper("sync a file"))?;
        // The file's intent must be gone for good: the next open must not take the file for one that lacks bytes.
        let kept = self.view.lock().settle_synced(self.ino);
        kept.map_or(Ok(()), |dir| fs::fsync(&*dir)).map_err(upper("sync a directory"))
    }
}

impl View {
    /// The directory that has to be synced after an intent in it was deleted.
    fn settle_synced(&mut self, ino: Ino) -> Option<Arc<OwnedFd>> {
        let real = self.copy_in_flight(ino)?;
        self.flushed(real);
        self.upper.aside.clone()
    }

    fn fd_to_sync(&mut self, ino: Ino) -> Result<Option<OwnedFd>> {
        if self.is_gone(ino) {
            return Ok(None);
        }
        if ino == Ino::ROOT || self.lower.is_dir(ino) || self.is_upper_dir(ino) {
            let Some(dir) = self.dir_fd(ino)? else { return Ok(None) };
            let aside = self.upper.aside.clone();
            let open = || despite_mode(aside.as_deref(), &dir, || fs::open_dir_at(&dir, b"."));
            return self.open_kept(open).map(Some).map_err(upper("open a directory"));
        }
        if !self.is_in_upper(ino) {
            return Ok(None);
        }
        let file = self.open_to_read(ino)?;
        file.as_file().map(|fd| fs::duplicate(fd.as_fd())).transpose().map_err(upper("open a file"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::overlay::{Caller, OverlayConfig};
    use crate::store::{Name, Store};
    use crate::sys::fault::{self, Call, Stall};
    use crate::sys::path;

    fn view(dir: &std::path::Path) -> Overlay {
        let (upper, state) = (dir.join("upper"), dir.join("state"));
        path::make_dirs(&upper).expect("made");
        path::make_dirs(&state).expect("made");
        let objects = Store::open(&dir.join("store")).expect("a store").objects().clone();
        let config = OverlayConfig { state_dir: state, grafts: vec![], objects, takeover: false };
        Overlay::open(path::open_dir(&upper).expect("opened"), config).expect("a view")
    }

    #[test]
    fn a_lookup_elsewhere_is_answered_while_a_sync_waits_for_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let view = Arc::new(view(dir.path()));
        let root = view.getattr(Ino::ROOT).expect("ours");
        let me = Caller { uid: root.uid, gid: root.gid };
        let [name, other] = ["file", "other"].map(|n| Name::new(n.as_bytes()).expect("a name"));
        let ino = view.create(Ino::ROOT, &name, 0o644, me, true).expect("made").ino;
        view.write(ino, 0, b"bytes", None).expect("written");
        // The journal has something to sync, too: a frame of a name that is not its file's own.
        view.view.lock().journal.append(&crate::overlay::journal::Frame::Done).expect("appended");

        let stall = Stall::lay(Call::Sync);
        let (done, is_done) = channel();
        let sync = std::thread::spawn(fault::inherit({
            let view = view.clone();
            move || done.send(view.fsync(ino, false)).expect("waited for")
        }));
        for step in ["the journal", "the file"] {
            stall.until_one_waits();
            let (answer, answered) = channel();
            let (view, other) = (view.clone(), other.clone());
            std::thread::spawn(move || answer.send(view.lookup(Ino::ROOT, &other)));
            let found = answered.recv_timeout(Duration::from_secs(20));
            assert!(
                matches!(found, Ok(Err(crate::overlay::OverlayError::NotFound))),
                "while {step} is synced: {found:?}"
            );
            assert!(is_done.try_recv().is_err(), "{step} was not waited for");
            stall.let_one_through();
        }
        is_done.recv_timeout(Duration::from_secs(20)).expect("it ends").expect("synced");
        sync.join().expect("no panic");
    }

    #[test]
    fn what_the_journal_says_while_it_is_synced_is_synced_by_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let view = view(dir.path());
        let append = || view.view.lock().journal.append(&crate::overlay::journal::Frame::Done).expect("appended");
        append();
        let first = view.view.lock().journal.to_sync().expect("something was appended");
        append();
        let synced = first.sync();
        view.view.lock().journal.synced(&first, synced).expect("synced");
        assert!(view.view.lock().journal.to_sync().is_some(), "the second was appended after the first sync began");
        view.fsync(Ino::ROOT, false).expect("synced");
        assert!(view.view.lock().journal.to_sync().is_none());
    }
}
