//! The differences from the store, one directory at a time.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use crate::store::{Name, ObjectId};
use crate::sys::extent::Extent;
use crate::sys::fs::FileType;

use super::error::{OverlayError, Result};
use super::position::first_after;
use super::state::Override;
use super::types::{Change, ChangeKind, Ino};
use super::view::Overlay;
use super::view::View;

impl Overlay {
    /// Differences in `dir`, in listing order, at names after the position `after`; at most `limit`. Times alone are no
    /// difference.
    ///
    /// # Errors
    /// `dir` is no directory, or its upper cannot be read.
    pub fn changes(&self, dir: Ino, after: u64, limit: usize) -> Result<Vec<Change>> {
        let mut view = self.view.lock();
        let changed = view.changed_dirs()?;
        let names = view.names_to_compare(dir, &first_after(after), &changed)?;
        let mut out: Vec<Change> = Vec::new();
        for (cookie, name) in view.order.arrange_all(names.into_iter(), after, usize::MAX) {
            if out.len() >= limit {
                break;
            }
            out.extend(view.compare(dir, &name, &changed)?.map(|change| Change { cookie, ..change }));
        }
        Ok(out)
    }

    /// Nothing of this view differs from the store, times and relocated files included.
    pub fn is_clean(&self) -> bool {
        let mut view = self.view.lock();
        view.delta.is_empty() && view.relocated.is_empty() && view.listing(Ino::ROOT).is_ok_and(|l| l.is_empty())
    }
}

impl View {
    /// Directories with a change somewhere below them, according to the journal.
    pub(super) fn changed_dirs(&mut self) -> Result<HashSet<Ino>> {
        let mut out = HashSet::new();
        for ino in self.delta.touched() {
            let start = match self.lower.is_dir(ino) {
                true => Some(ino),
                false => self.lower_names(ino).first().map(|(dir, _)| *dir),
            };
            let mut at = start;
            while let Some(dir) = at {
                if !out.insert(dir) || dir == Ino::ROOT {
                    break;
                }
                at = match self.dir_place(dir) {
                    Ok((parent, _)) => Some(parent),
                    Err(OverlayError::NotFound) => None,
                    Err(e) => return Err(e),
                };
            }
        }
        Ok(out)
    }

    /// Names in `dir` after one that may differ: those of upper and journal, and lower ones with something below or
    /// with metadata of their own.
    fn names_to_compare(&mut self, dir: Ino, after: &Name, changed: &HashSet<Ino>) -> Result<BTreeSet<Name>> {
        let own = self.listing(dir)?.range::<Name, _>((Bound::Excluded(after), Bound::Unbounded));
        let mut names: BTreeSet<Name> = own.map(|(n, _)| n.clone()).collect();
        names.extend(self.delta.overrides(dir, after).map(|(n, _)| n.clone()));
        if changed.contains(&dir) || self.delta.is_opaque(dir) {
            for (_, name, ino) in self.lower.entries_after(dir, after) {
                if changed.contains(&ino) || self.delta.meta(ino).is_some() || self.delta.is_opaque(dir) {
                    names.extend(Name::new(name));
                }
            }
        }
        Ok(names)
    }

    fn compare(&mut self, dir: Ino, name: &Name, changed: &HashSet<Ino>) -> Result<Option<Change>> {
        let stored = self.lower.lookup(dir, name);
        let found = match self.resolve(dir, name) {
            Ok(found) => found,
            Err(OverlayError::NotFound) => {
                return Ok(stored.map(|ino| {
                    let is_dir = self.lower.is_dir(ino);
                    Change { name: name.clone(), kind: ChangeKind::Deleted, is_dir, cookie: 0 }
                }));
            }
            Err(e) => return Err(e),
        };
        let attr = self.attr_of(&found)?;
        let kind = FileType::from_raw_mode(attr.mode);
        let is_dir = kind == FileType::Directory;
        let said = |kind| Some(Change { name: name.clone(), kind, is_dir, cookie: 0 });
        let Some(stored) = stored else { return Ok(said(ChangeKind::Added)) };
        let moved_here = matches!(self.delta.name(dir, name), Some(Override::Moved(_)));
        if self.lower.kind(stored) != Some(kind) || (moved_here && found.ino != stored) {
            return Ok(said(ChangeKind::Modified));
        }
        let other_mode = self.stored_perm(stored) != Some(attr.mode & 0o7777);
        let other_xattrs = self.delta.meta(found.ino).is_some_and(|m| m.xattrs.is_some());
        if is_dir {
            let replaced = found.ino != stored;
            return Ok(match replaced || other_mode || other_xattrs {
                true => said(ChangeKind::Modified),
                false if found.upper.is_some() || changed.contains(&found.ino) => said(ChangeKind::Below),
                false => None,
            });
        }
        if other_mode || other_xattrs || (found.upper.is_some() && !self.same_bytes(&found.ino, stored, attr.size)?) {
            return Ok(said(ChangeKind::Modified));
        }
        Ok(None)
    }

    fn stored_perm(&self, ino: Ino) -> Option<u32> {
        self.lower.source(ino).map(|(tree, node)| tree.stat(node).perm)
    }

    /// Whether a file of the upper has the contents of the store's `stored`.
    pub(super) fn same_bytes(&mut self, ino: &Ino, stored: Ino, size: u64) -> Result<bool> {
        let Some((tree, node)) = self.lower.source(stored) else { return Ok(false) };
        let stat = tree.stat(node);
        match stat.kind {
            FileType::RegularFile if self.relocated.len_of(stored, stat.size).unwrap_or(stat.size) == size => {}
            FileType::Symlink => {
                let target = self.lower_target(stored);
                return Ok(Some(self.target(*ino)?) == target);
            }
            FileType::Fifo => return Ok(true),
            _ => return Ok(false),
        }
        let Some(id) = tree.object(node) else { return Ok(false) };
        let hash_of = |bytes: &Extent| ObjectId::of_extent(bytes).map_err(super::error::upper("read a file"));
        let id = if self.relocated.differs(stored) { hash_of(&self.open_object(stored)?)? } else { id };
        Ok(hash_of(&self.open_to_read(*ino)?)? == id)
    }
}
