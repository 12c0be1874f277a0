//! The steps of a change: its records in the journal, and their order with the upper.

use crate::store::Name;
use crate::sys::fs;

use super::error::{OverlayError, Result, upper};
use super::journal::{Check, Frame, Record};
use super::types::Ino;
use super::view::View;

impl View {
    /// Prepares for a change. The unfinished part of an earlier change in the journal is completed first; if that
    /// fails, nothing changes.
    ///
    /// # Errors
    /// EIO when the directory of the upper was deleted from outside: nothing would be kept. ENOENT when the view is empty,
    /// as in any directory that was deleted.
    pub(super) fn ready(&mut self) -> Result<()> {
        // A tree that has lost bytes may give wrong results; these must not become the worktree's own.
        self.lower.must_be_sound()?;
        if fs::stat(&*self.upper.root).map_err(upper("look at the directory"))?.nlink == 0 {
            let gone = std::io::Error::from_raw_os_error(libc::EIO);
            let shows = self
                .lower
                .entries(Ino::ROOT)
                .any(|(_, name, _)| Name::new(name).is_ok_and(|name| self.lower_at(Ino::ROOT, &name).is_some()));
            return Err(if shows { upper("change anything: it was deleted")(gone) } else { OverlayError::NotFound });
        }
        if self.journal.is_lost() {
            self.rewrite_journal()?;
        }
        Ok(self.journal.make_good()?)
    }

    /// Before names or metadata of the upper change (see `journal/mod.rs`).
    pub(super) fn precede(&mut self) -> Result<()> {
        self.ready()?;
        Ok(self.journal.precede()?)
    }

    /// Appends one record and plays it.
    pub(super) fn record(&mut self, record: Record) -> Result<()> {
        self.record_all(vec![record])
    }

    /// Appends records as one frame, so that all of them hold or none, and plays them.
    pub(super) fn record_all(&mut self, records: Vec<Record>) -> Result<()> {
        self.ready()?;
        let frame = Frame::Plain(records);
        self.journal.append(&frame)?;
        self.play(&frame);
        self.tidy_when_long();
        Ok(())
    }

    /// Plays the records of a frame that holds.
    pub(super) fn play(&mut self, frame: &Frame) {
        frame.records().iter().for_each(|r| self.delta.apply(&self.lower, r));
        frame.records().iter().for_each(|r| self.delta.forget_hidden(&self.lower, r));
    }

    /// A change that needs both a call on the upper and records: the frame is prepared, the call made, the
    /// frame confirmed. When the call fails the frame is void and nothing has changed.
    pub(super) fn change<T>(
        &mut self,
        check: Check,
        records: Vec<Record>,
        call: impl FnOnce(&mut View) -> Result<T>,
    ) -> Result<T> {
        self.change_after(check, records, |view| {
            view.journal.precede()?;
            call(view)
        })
    }

    /// As [`View::change`], where a power cut may lose the frame and keep the change.
    pub(super) fn change_after<T>(
        &mut self,
        check: Check,
        records: Vec<Record>,
        call: impl FnOnce(&mut View) -> Result<T>,
    ) -> Result<T> {
        self.ready()?;
        let frame = Frame::Prepared(check, records);
        self.journal.append(&frame)?;
        match call(self) {
            Ok(done) => {
                self.play(&frame);
                self.journal.finish(Frame::Done);
                self.tidy_when_long();
                Ok(done)
            }
            Err(e) => {
                self.journal.finish(Frame::Undone);
                Err(e)
            }
        }
    }
}
