//! Renames. A lower directory moves by a record in the journal: nothing is copied, and there is no EXDEV.
//!
//! The decision, by the file of source and target (`upper`: an own file, a copy or a merged directory has one there):
//!
//! | source | target | without flags              | NOREPLACE | EXCHANGE                                 |
//! |--------|--------|----------------------------|-----------|------------------------------------------|
//! | lower  | absent | journal only               | as before | ENOENT                                   |
//! | lower  | lower  | journal only               | EEXIST    | journal only                             |
//! | lower  | upper  | the target's file is deleted | EEXIST  | the target's file is renamed to the source |
//! | upper  | absent | rename                     | as before | ENOENT                                   |
//! | upper  | lower  | write-back, rename         | EEXIST    | rename                                   |
//! | upper  | upper  | rename over the target     | EEXIST    | `RENAME_EXCHANGE`                        |
//!
//! ([`Step`] and [`decide`].) The journal's records follow from what is lower:
//!
//! | moved entry                | record at the old name              | record at the new name        |
//! |----------------------------|-------------------------------------|-------------------------------|
//! | own file, copy             | a whiteout, if the lower has the name | a whiteout, if the lower has the name |
//! | lower file or directory, merged directory | a whiteout           | `Moved`                       |

use crate::store::Name;
use crate::sys::fs::{self, RenameFlags, Timespec};

use super::error::{OverlayError, Result, upper};
use super::journal::{Check, Record};
use super::types::Ino;
use super::upper::touch_dir;
use super::view::Overlay;
use super::view::{FoundName, OrphanBacking, View};

/// A name in a directory, with what shows there.
struct DirEntryRef<'a> {
    dir: Ino,
    name: &'a Name,
    found: Option<FoundName>,
    is_dir: bool,
}

/// The place of an entry's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Absent,
    Lower,
    Upper,
}

/// The step of a rename in the upper directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    JournalOnly,
    /// The file of the source is renamed; with `write_back`, its bytes go to the disk before: it hides a lower file.
    Rename {
        write_back: bool,
    },
    /// The file of the target goes, and the source stays in the journal.
    DeleteTarget,
    /// Both files change places.
    Exchange,
    /// The file of the target is renamed to the source's name.
    RenameBack,
}

/// The step for a source, a target and the flag `EXCHANGE`. Type and emptiness of a directory were checked before.
///
/// # Errors
/// [`OverlayError::NotFound`] without a source, or without a target to exchange.
fn decide(source: Side, target: Side, exchange: bool) -> Result<Step> {
    Ok(match (source, target, exchange) {
        (Side::Absent, ..) | (_, Side::Absent, true) => return Err(OverlayError::NotFound),
        (Side::Lower, Side::Absent | Side::Lower, false) | (Side::Lower, Side::Lower, true) => Step::JournalOnly,
        (Side::Lower, Side::Upper, false) => Step::DeleteTarget,
        (Side::Lower, Side::Upper, true) => Step::RenameBack,
        (Side::Upper, Side::Lower, false) => Step::Rename { write_back: true },
        (Side::Upper, Side::Absent | Side::Upper, false) | (Side::Upper, Side::Lower, true) => {
            Step::Rename { write_back: false }
        }
        (Side::Upper, Side::Upper, true) => Step::Exchange,
    })
}

impl DirEntryRef<'_> {
    fn side(&self) -> Side {
        match self.found {
            None => Side::Absent,
            Some(found) if found.upper.is_some() => Side::Upper,
            Some(_) => Side::Lower,
        }
    }
}

impl Overlay {
    /// `renameat2(2)` with `NOREPLACE` or `EXCHANGE`.
    ///
    /// # Errors
    /// [`OverlayError::Exists`], [`OverlayError::NotEmpty`], [`OverlayError::IsDirectory`], [`OverlayError::NotDirectory`] as the manual
    /// page says; [`OverlayError::Invalid`] for a directory moved below itself.
    pub fn rename(&self, from: Ino, old: &Name, to: Ino, new: &Name, flags: RenameFlags) -> Result<()> {
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(OverlayError::Invalid);
        }
        let mut view = self.view.lock();
        let source = view.spot(from, old)?;
        let target = view.spot(to, new)?;
        let moved = source.found.ok_or(OverlayError::NotFound)?;
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        match target.found {
            Some(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(OverlayError::Exists),
            None if exchange => return Err(OverlayError::NotFound),
            _ => {}
        }
        if source.is_dir && view.is_below(to, moved.ino)? {
            return Err(OverlayError::Invalid);
        }
        if let Some(there) = target.found
            && target.is_dir
            && view.is_below(from, there.ino)?
        {
            return Err(if exchange { OverlayError::Invalid } else { OverlayError::NotEmpty });
        }
        if exchange {
            return view.exchange(&source, &target);
        }
        match target.found {
            Some(there) if there.ino == moved.ino => return Ok(()),
            Some(_) if source.is_dir && !target.is_dir => return Err(OverlayError::NotDirectory),
            Some(_) if !source.is_dir && target.is_dir => return Err(OverlayError::IsDirectory),
            Some(there) if target.is_dir && !view.is_empty_dir(there.ino)? => return Err(OverlayError::NotEmpty),
            _ => {}
        }
        view.move_name(&source, moved, &target)
    }
}

impl View {
    fn spot<'a>(&mut self, dir: Ino, name: &'a Name) -> Result<DirEntryRef<'a>> {
        let found = match self.resolve(dir, name) {
            Ok(found) => Some(found),
            Err(OverlayError::NotFound) if !self.is_gone(dir) => None,
            Err(e) => return Err(e),
        };
        let mode = found.map(|f| self.attr_of(&f)).transpose()?.map_or(0, |a| a.mode);
        Ok(DirEntryRef { dir, name, found, is_dir: mode & libc::S_IFMT == libc::S_IFDIR })
    }

    /// Whether `dir` is `top` or lies below it.
    fn is_below(&mut self, mut dir: Ino, top: Ino) -> Result<bool> {
        while dir != Ino::ROOT {
            if dir == top {
                return Ok(true);
            }
            dir = self.dir_place(dir)?.0;
        }
        Ok(false)
    }

    /// The inode that the journal must show at the new name: of a directory that the lower has, or of a
    /// file that only the lower has.
    fn carried(&self, found: &FoundName, is_dir: bool) -> Option<Ino> {
        let lower = !found.ino.is_upper();
        (lower && (is_dir || found.upper.is_none())).then_some(found.ino)
    }

    /// Records that make `carried` (or nothing of the lower) show at a name.
    fn showing(&mut self, dir: Ino, name: &Name, carried: Option<Ino>) -> Vec<Record> {
        let time = Some(Timespec::now());
        let name = name.clone();
        match carried {
            Some(ino) if !self.delta.is_opaque(dir) && self.lower.lookup(dir, &name) == Some(ino) => {
                vec![Record::Unset { dir, name, time }]
            }
            Some(ino) => vec![Record::Moved { dir, name, ino, time }],
            None => self.hiding(dir, &name, true),
        }
    }

    fn move_name(&mut self, source: &DirEntryRef, moved: FoundName, target: &DirEntryRef) -> Result<()> {
        let step = decide(source.side(), target.side(), false)?;
        if target.side() == Side::Lower {
            self.begin_write_back(&moved)?;
        }
        let mut orphan = match target.found {
            Some(there) => self.orphan_of(&there)?,
            None => None,
        };
        let mut records = self.hiding(source.dir, source.name, true);
        records.extend(self.showing(target.dir, target.name, self.carried(&moved, source.is_dir)));
        if let Some(there) = target.found {
            if target.is_dir && self.is_recorded(there.ino) {
                records.push(Record::Cleared { dir: there.ino });
            }
            if orphan.is_some() && self.delta.copied(there.ino).is_some() {
                records.push(Record::Uncopied { ino: there.ino });
            }
            records.extend(self.one_name_less(&there));
        }
        self.note_move(&moved, target, &mut records);
        let kept = self.carry_out(step, source, &moved, target, records)?;
        if let Some(orphan) = &mut orphan {
            orphan.kept = kept;
        }
        if let Some(there) = target.found {
            self.disappeared(target.dir, target.name, &there, target.is_dir, orphan);
        }
        self.moved(source, &moved, target);
        Ok(())
    }

    /// The file's own ctime, and the place of a directory that other records name.
    fn note_move(&mut self, moved: &FoundName, target: &DirEntryRef, records: &mut Vec<Record>) {
        if moved.upper.is_none() {
            records.push(self.redressed(moved.ino, |meta| meta.ctime = Some(Timespec::now())));
        }
        if self.delta.place(moved.ino).is_some() {
            records.push(Record::Place { ino: moved.ino, dir: target.dir, name: target.name.clone() });
        }
    }

    /// The step in the upper with the records of it.
    fn carry_out(
        &mut self,
        step: Step,
        source: &DirEntryRef,
        moved: &FoundName,
        target: &DirEntryRef,
        mut records: Vec<Record>,
    ) -> Result<OrphanBacking> {
        let (dir, name) = (target.dir, target.name.clone());
        let replaced = target.found.filter(|there| there.upper.is_some());
        let Some(check) = (match (step, moved.upper) {
            (Step::Rename { .. }, Some(stat)) => Some(Check::Present { dir, name, real: stat.ino }),
            (Step::DeleteTarget, _) => {
                let real = replaced.and_then(|there| there.upper).map_or(0, |stat| stat.ino);
                Some(Check::Absent { dir, name, real })
            }
            _ => None,
        }) else {
            return self.record_names(records).map(|()| OrphanBacking::Store);
        };
        let from = if moved.upper.is_some() { Some(self.dir_to_change(source.dir)?) } else { None };
        let to = self.dir_to_change(dir)?;
        let touched = self.settle_times(&mut records)?;
        let places = self.places_for(&records)?;
        records.extend(places);
        let call = |view: &mut View| match (from, replaced) {
            (Some(from), there) => {
                if step == (Step::Rename { write_back: true }) {
                    view.write_back_file(moved)?;
                }
                let kept = view.hold_replaced(target.dir, target.name, there)?;
                let renamed = fs::rename_at(&from, source.name.bytes(), &to, target.name.bytes(), RenameFlags::empty());
                if renamed.is_err() {
                    view.let_go(&kept, there);
                }
                renamed.map(|()| kept).map_err(upper("rename"))
            }
            (None, Some(there)) if !target.is_dir && there.upper.is_some_and(|s| s.nlink > 1) => {
                view.delete(target.dir, target.name, false).map(|()| OrphanBacking::Store)
            }
            (None, Some(there)) => view.set_aside(target.dir, target.name, there.ino, target.is_dir),
            (None, None) => Ok(OrphanBacking::Store),
        };
        let kept = if records.is_empty() { call(self)? } else { self.change(check, records, call)? };
        touched.iter().for_each(|fd| touch_dir(fd));
        Ok(kept)
    }

    /// Everything that remembers names learns of a move.
    fn moved(&mut self, source: &DirEntryRef, moved: &FoundName, target: &DirEntryRef) {
        self.upper.note(source.dir, source.name, None);
        if let Some(stat) = moved.upper {
            self.upper.note(target.dir, target.name, Some((stat.kind(), stat.ino)));
        }
        if let Some(seen) = self.seen.get_mut(&moved.ino) {
            seen.names.remove(source.dir, source.name);
            if moved.upper.is_some() {
                seen.names.add(target.dir, target.name);
            }
        }
        if source.is_dir && source.dir != target.dir {
            self.count_subdir(source.dir, -1);
            self.count_subdir(target.dir, 1);
        }
    }

    fn exchange(&mut self, source: &DirEntryRef, target: &DirEntryRef) -> Result<()> {
        let (Some(a), Some(b)) = (source.found, target.found) else { return Err(OverlayError::NotFound) };
        if a.ino == b.ino {
            return Ok(());
        }
        let mut records = self.showing(target.dir, target.name, self.carried(&a, source.is_dir));
        records.extend(self.showing(source.dir, source.name, self.carried(&b, target.is_dir)));
        self.note_move(&a, target, &mut records);
        self.note_move(&b, source, &mut records);
        match (decide(source.side(), target.side(), true)?, a.upper, b.upper) {
            (Step::Rename { .. } | Step::Exchange, Some(stat), there) => {
                self.swap(source, target, stat.ino, there.is_some(), records)?
            }
            (Step::RenameBack, _, Some(stat)) => self.swap(target, source, stat.ino, false, records)?,
            _ => self.record_names(records)?,
        }
        self.moved(source, &a, target);
        self.moved(target, &b, source);
        if let Some(stat) = a.upper {
            self.upper.note(target.dir, target.name, Some((stat.kind(), stat.ino)));
        }
        Ok(())
    }

    /// Renames the upper's file `real` from one name to the other; with `both`, the other one comes back.
    fn swap(
        &mut self,
        from: &DirEntryRef,
        to: &DirEntryRef,
        real: u64,
        both: bool,
        mut records: Vec<Record>,
    ) -> Result<()> {
        let (from_fd, to_fd) = (self.dir_to_change(from.dir)?, self.dir_to_change(to.dir)?);
        let touched = self.settle_times(&mut records)?;
        let places = self.places_for(&records)?;
        records.extend(places);
        let flags = if both { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let check = Check::Present { dir: to.dir, name: to.name.clone(), real };
        self.change(check, records, |_| {
            fs::rename_at(&from_fd, from.name.bytes(), &to_fd, to.name.bytes(), flags).map_err(upper("rename"))
        })?;
        touched.iter().for_each(|fd| touch_dir(fd));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_decision_table_is_what_is_decided() {
        use Side::{Absent, Lower, Upper};
        let rename = |write_back| Some(Step::Rename { write_back });
        let table = [
            (Lower, Absent, Some(Step::JournalOnly), None),
            (Lower, Lower, Some(Step::JournalOnly), Some(Step::JournalOnly)),
            (Lower, Upper, Some(Step::DeleteTarget), Some(Step::RenameBack)),
            (Upper, Absent, rename(false), None),
            (Upper, Lower, rename(true), rename(false)),
            (Upper, Upper, rename(false), Some(Step::Exchange)),
            (Absent, Absent, None, None),
            (Absent, Lower, None, None),
            (Absent, Upper, None, None),
        ];
        for (source, target, plain, exchange) in table {
            assert_eq!(decide(source, target, false).ok(), plain, "{source:?} to {target:?}");
            assert_eq!(decide(source, target, true).ok(), exchange, "{source:?} and {target:?}");
        }
    }
}
