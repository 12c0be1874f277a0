//! Opening a view: the journal is read, what a crash left undecided is decided, the lower is laid out.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::Objects;
use crate::sys::fs;
use crate::sys::log::OrWarn;

use super::cache::FdCache;
use super::error::{OverlayError, Result, upper};
use super::going::{before_retired, known_grafts};
use super::graft::GraftSpec;
use super::journal::{Check, Frame, Frames, Journal, JournalPiece, Record};
use super::lower::Lower;
use super::position::Order;
use super::state::Delta;
use super::state_dir;
use super::types::Ino;
use super::upper::Upper;
use super::view::Overlay;
use super::view::View;

/// Descriptors kept open for files, the store's and the upper's.
const KEPT_FILES: usize = 48;
/// And for what was given many attributes.
const KEPT_PROBES: usize = 2;
/// A journal is written anew when it is this many times as long as it need be, taking a record for so many bytes,
const SLACK: u64 = 8;
const RECORD_BYTES: u64 = 128;
/// but not below this length, in bytes: at an opening, and while the view is in use.
const TIDY_AT_OPEN: u64 = 16 << 10;
const TIDY_IN_USE: u64 = 1 << 20;

/// The parts of a view besides its upper, which [`Overlay::open`] takes as an open directory.
pub struct OverlayConfig {
    /// Holds `journal`, which may only mark that the journal is in the upper (`state_dir.rs`). Must exist.
    pub state_dir: PathBuf,
    /// A later one wins where two have the same name.
    pub grafts: Vec<GraftSpec>,
    /// Of the store that has the trees of all grafts.
    pub objects: Arc<Objects>,
    /// A server before this one served the same connection: what it kept for programs is served on. Else what an
    /// earlier crash left is deleted.
    pub takeover: bool,
}

impl Overlay {
    /// Opens the view whose own files are in the directory `upper`, opened before anything is mounted over it.
    ///
    /// # Errors
    /// A journal that can't be read or is of another version; an upper that can't be read.
    pub fn open(root: OwnedFd, config: OverlayConfig) -> Result<Overlay> {
        let home = state_dir::find(&root, &config.state_dir, config.takeover)?;
        let (has_home, is_near) = (home.in_upper, home.is_near);
        let beside = fs::duplicate(home.dir.as_fd()).map_err(upper("open the directory"))?;
        let (journal, frames) = Journal::open_in(home.dir, &home.path, &config.state_dir)?;
        let stat = fs::stat(&root).map_err(upper("look at the directory"))?;
        let born = fs::birth(&root, b"").map_err(upper("look at the directory"))?;
        let mut own =
            Upper::new(root, is_near.then_some(beside), config.takeover).map_err(upper("open the directory"))?;
        (own.has_home, own.state_dir) = (has_home, config.state_dir);
        let mut view = View {
            objects: config.objects,
            lower: Lower::default(),
            relocated: Default::default(),
            delta: Delta::default(),
            journal,
            upper: own,
            files: FdCache::new(KEPT_FILES),
            owner: (stat.uid, stat.gid),
            seen: Default::default(),
            unwalked: Default::default(),
            orphans: Default::default(),
            read_at: Default::default(),
            subdirs: Default::default(),
            given_up: Default::default(),
            on_stale: Vec::new(),
            writeback: Default::default(),
            this: Default::default(),
            order: Order::of(None),
            regions: Vec::new(),
            probes: FdCache::new(KEPT_PROBES),
            takes_xattrs: false,
            counters: Default::default(),
            tidy_from: 0,
        };
        view.load(frames, config.grafts, config.takeover, (stat.ino, born))?;
        let view = Arc::new(Mutex::new(view));
        let counters = view.lock().counters.clone();
        let overlay = Overlay { view: view.clone(), counters };
        let mut view = view.lock();
        view.this = Arc::downgrade(&overlay.view);
        view.complete_intents()?;
        drop(view);
        Ok(overlay)
    }
}

impl View {
    /// Lays the grafts, replays the journal over them, and brings both up to date. `root`: the upper's inode number and
    /// birth time. The order of the steps matters: each needs the state that the former ones leave.
    fn load(&mut self, frames: Frames, grafts: Vec<GraftSpec>, takeover: bool, root: (u64, u64)) -> Result<()> {
        let is_damaged = frames.damage().is_some();
        let known = known_grafts(&frames);
        let before = if takeover { None } else { before_retired(&grafts, &frames, &known, is_damaged) };
        let retiring = before.is_some().then(|| grafts.clone());
        self.lay(before.unwrap_or(grafts), &known, is_damaged)?;
        let is_clear = self.replay(&frames)? && !is_damaged;
        drop(frames);
        if is_damaged {
            self.make_sound();
        }
        self.tell_grafts(&known)?;
        if self.delta.root != Some(root) {
            self.new_root(root.0, root.1)?;
        }
        self.order = Order::of(self.delta.root);
        if !takeover {
            self.follow_renamed(self.journal.written)?;
        }
        if let Some(specs) = retiring {
            self.change_grafts(specs)?;
        }
        self.restore_modes();
        self.drop_what_is_gone(is_damaged)?;
        if !takeover {
            self.drop_retired()?;
        }
        match is_clear {
            true if self.journal.is_dated() => self.try_to_rewrite(),
            true => self.tidy_journal(TIDY_AT_OPEN),
            false => self.rewrite_journal()?,
        }
        if takeover {
            self.find_orphans()?;
        }
        Ok(())
    }

    /// Plays what the journal holds. Whether that is clear: else the journal has to be written anew.
    fn replay(&mut self, frames: &Frames) -> Result<bool> {
        // Parts, and a prepared frame, whose end did not come yet.
        let (mut open, mut is_clear) = (Vec::new(), true);
        for piece in frames.pieces() {
            let frame = match piece {
                // The lost frames are later than the open ones, so these changes took place, unless the one call
                // failed.
                JournalPiece::Hole => {
                    open.drain(..).for_each(|frame| self.play(&frame));
                    continue;
                }
                JournalPiece::Frame(frame) => frame,
            };
            if matches!(open.last(), Some(Frame::Prepared(..))) && !matches!(frame, Frame::Done | Frame::Undone) {
                self.decide(std::mem::take(&mut open))?;
                is_clear = false;
            }
            match frame {
                Frame::Undone => open.clear(),
                Frame::Prepared(..) | Frame::Part(_) => open.push(frame),
                Frame::Done => open.drain(..).for_each(|frame| self.play(&frame)),
                Frame::Plain(_) => {
                    open.drain(..).for_each(|frame| self.play(&frame));
                    self.play(&frame);
                }
            }
        }
        if matches!(open.last(), Some(Frame::Prepared(..))) {
            let end = if self.decide(open)? { Frame::Done } else { Frame::Undone };
            self.journal.append(&end)?;
        }
        Ok(is_clear)
    }

    /// A prepared frame without an end: the upper shows whether its change took place. Plays it, if it did.
    fn decide(&mut self, frames: Vec<Frame>) -> Result<bool> {
        let Some(Frame::Prepared(check, _)) = frames.last() else { return Ok(false) };
        let (Check::Present { dir, name, real } | Check::Absent { dir, name, real }) = check;
        // A copy of the upper has the file, and the directory, under other inode numbers.
        let is_copy = self.is_copy()?;
        if is_copy {
            self.learn_places(&frames);
        }
        let there = self.upper_at(*dir, name)?.is_some_and(|(_, stat)| is_copy || stat.ino == *real);
        let took_place = there == matches!(check, Check::Present { .. });
        if took_place {
            frames.iter().for_each(|frame| self.play(frame));
        }
        self.upper.forget_all();
        Ok(took_place)
    }

    /// Drops the journal's records of files of the upper that went, or were replaced, while the view was not mounted. A
    /// copy that is gone was deleted by its user: the store's version stays hidden. In a `damaged` journal the lost
    /// record may have been that the copy was given up: there it shows.
    fn drop_what_is_gone(&mut self, damaged: bool) -> Result<()> {
        let copied: Vec<(Ino, u64)> = self.delta.all_copied().collect();
        let mut lost = Vec::new();
        for (ino, born) in copied {
            if !self.is_copy_there(ino, born)? {
                lost.push((ino, born));
            }
        }
        if !lost.is_empty() {
            // It may have another name than in the journal: hard links are the upper's alone.
            self.search_all()?;
        }
        for (ino, born) in lost {
            if self.seen.contains_key(&ino) {
                match self.locate(ino) {
                    Ok((_, _, stat)) if stat.born == born => continue,
                    Ok(_) | Err(OverlayError::UnknownInode(_) | OverlayError::NotFound) => {}
                    Err(e) => return Err(e),
                }
            }
            let mut records = vec![Record::Uncopied { ino }];
            for (dir, name) in self.lower_names(ino) {
                if self.lower.node(ino).is_some() && !damaged {
                    records.push(self.hidden(dir, &name, None));
                }
            }
            self.record_all(records)?;
        }
        self.follow_directories()?;
        self.upper.forget_all();
        self.seen.clear();
        Ok(())
    }

    /// Whether the copy of a lower file is at a name that the journal gives it.
    fn is_copy_there(&mut self, ino: Ino, born: u64) -> Result<bool> {
        let Some(real) = self.delta.copied(ino) else { return Ok(false) };
        for (dir, name) in self.lower_names(ino) {
            if self.upper_at(dir, &name)?.is_some_and(|(_, stat)| stat.ino == real && stat.born == born) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces the journal by the shortest one with the same state, in one rename; either is whole after a crash.
    pub(super) fn rewrite_journal(&mut self) -> Result<()> {
        let records = self.all_records();
        Ok(self.journal.rewrite(records)?)
    }

    /// The shortest journal with the same state as this one.
    pub(super) fn all_records(&self) -> Vec<Record> {
        self.lower.records().into_iter().chain(self.delta.records()).collect()
    }

    /// After an append, which may have made most of the journal void: a deleted directory's names, say.
    pub(super) fn tidy_when_long(&mut self) {
        self.tidy_journal(TIDY_IN_USE);
    }

    /// Rewrites a journal that is much longer than its state needs, and twice as long as the last try left it: records
    /// with long attributes stay long, and a disk may be full for days.
    fn tidy_journal(&mut self, from: u64) {
        let (len, needed) = (self.journal.len(), self.delta.len() as u64 * RECORD_BYTES);
        if len >= from.max(self.tidy_from) && len >= needed * SLACK {
            self.try_to_rewrite();
            self.tidy_from = 2 * self.journal.len();
        }
    }

    fn try_to_rewrite(&mut self) {
        // A failure leaves the longer journal, which has the same state.
        self.rewrite_journal().or_warn("the journal stays long");
    }
}
