//! Trees that go, mounted or not: what of them was moved or changed stays in the view, as the worktree's own.

use std::collections::HashSet;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use super::error::{OverlayError, Result};
use super::graft::GraftSpec;
use super::journal::{Frame, Frames, JournalPiece, Record};
use super::lower::{Lower, LowerGraft};
use super::types::Ino;
use super::view::View;

/// The last records of each graft in the journal: those that showed in their order, those that were retired with both records.
pub(super) fn known_grafts(frames: &Frames) -> Vec<Record> {
    let plain =
        frames.pieces().filter_map(|p| if let JournalPiece::Frame(Frame::Plain(r)) = p { Some(r) } else { None });
    Record::last_of_grafts(plain.flatten())
}

/// The grafts as the journal records them, where some were retired while the view was not mounted that may have what
/// was moved or changed. Of a `damaged` journal those that it lacks may have shown, too.
pub(super) fn before_retired(
    specs: &[GraftSpec],
    frames: &Frames,
    known: &[Record],
    damaged: bool,
) -> Option<Vec<GraftSpec>> {
    let is_of = |spec: &GraftSpec, record: &Record| {
        let (id, place) = (spec.tree.id(), spec.at.as_os_str().as_encoded_bytes());
        matches!(record, Record::Graft { tree, at, .. } if *tree == id && at == place)
    };
    let was_retired = |spec: &GraftSpec| known.iter().any(|r| r.is_retirement() && is_of(spec, r));
    let known_specs = known.iter().filter(|r| !r.is_retirement()).filter_map(|r| specs.iter().find(|s| is_of(s, r)));
    let mut before: Vec<GraftSpec> =
        known_specs.map(|spec| GraftSpec { retired: was_retired(spec), ..spec.clone() }).collect();
    let goes = |spec: &GraftSpec| specs.iter().any(|s| s.retired && s.tree.id() == spec.tree.id() && s.at == spec.at);
    let needs = |piece: JournalPiece| matches!(&piece, JournalPiece::Frame(frame) if frame.records().iter().any(Record::needs_its_tree));
    if !before.iter().any(|spec| !spec.retired && goes(spec)) || !frames.pieces().any(needs) {
        return None;
    }
    if damaged {
        let unknown = specs.iter().filter(|s| !s.retired && !known.iter().any(|r| is_of(s, r)));
        before.extend(unknown.cloned());
    }
    Some(before)
}

impl View {
    /// A file that was moved out of a tree that is going to be retired, or to below a directory of it, or holds something of it,
    /// becomes the worktree's own: no tree will say it.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub(super) fn keep_moved(&mut self, specs: &[GraftSpec]) -> Result<()> {
        let is_of = |s: &GraftSpec, g: &LowerGraft| s.tree.id() == g.tree.id() && s.at.as_os_str().as_bytes() == g.path;
        let going = |g: &&LowerGraft| !g.retired && specs.iter().any(|s| s.retired && is_of(s, g));
        let going: Vec<(Ino, Range<u64>)> =
            self.lower.grafts().iter().filter(going).map(|g| (g.at, g.numbers())).collect();
        if going.is_empty() {
            return Ok(());
        }
        let kept = self.lower.kept_numbers();
        let goes = |n: &Ino| going.iter().any(|(_, numbers)| numbers.contains(&n.0));
        let mut above = HashSet::new();
        for (at, _) in &going {
            self.lies_below(*at, &mut |_, dir| !above.insert(dir))?;
        }
        for ino in self.delta.all_moved() {
            let mut is_lost = above.contains(&ino) || self.lower.live_numbers(ino, &kept).iter().any(goes);
            for (dir, _) in self.delta.moved_to(ino).to_vec() {
                is_lost |= self.lies_below(dir, &mut |lower, dir| {
                    let layers = lower.layer_numbers(dir);
                    !layers.is_empty() && layers.iter().all(goes)
                })?;
            }
            if !is_lost {
                continue;
            }
            match self.find(ino) {
                // Another file of the worktree has its place by now, or none.
                Err(OverlayError::NotFound) => {}
                found => found.and_then(|_| self.thaw(ino))?,
            }
        }
        Ok(())
    }

    /// Whether a directory, or one that it lies in, is one of these.
    fn lies_below(&mut self, mut dir: Ino, of_these: &mut dyn FnMut(&Lower, Ino) -> bool) -> Result<bool> {
        while dir != Ino::ROOT {
            if of_these(&self.lower, dir) {
                return Ok(true);
            }
            dir = match self.dir_place(dir) {
                Err(OverlayError::NotFound) => return Ok(false),
                place => place?.0,
            };
        }
        Ok(false)
    }

    /// A file whose mode, owner or attributes the worktree has changed is its own, where another shows at its name now:
    /// what was changed stays on top. Times alone are no change of that kind.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub(super) fn keep_dressed(&mut self) -> Result<()> {
        for ino in self.delta.dressed() {
            let is_replaced = self.lower.is_retired(ino) && !self.lower.is_dir(ino) && self.lower_names(ino).is_empty();
            if is_replaced && !self.is_gone(ino) && !self.is_in_upper(ino) && !self.names_of_copy(ino)?.is_empty() {
                self.copy_up(ino, u64::MAX)?;
            }
        }
        Ok(())
    }
}
