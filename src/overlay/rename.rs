//! Names that move. A directory of the lower moves by a record: nothing is copied, and no EXDEV.
//!
//! | what moves              | in the upper            | in the journal                               |
//! |-------------------------|-------------------------|----------------------------------------------|
//! | the upper's own         | renamed                 | a whiteout where the lower would show         |
//! | a copy of a lower file  | renamed                 | a whiteout at the old name                    |
//! | a lower file or directory | what it replaces is deleted | a whiteout at the old name, `Moved` at the new |
//! | a merged directory      | renamed                 | both                                         |

use crate::store::Name;
use crate::sys::fs::{self, RenameFlags, Timespec};

use super::error::{Error, Result, upper};
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

impl Overlay {
    /// `renameat2(2)` with `NOREPLACE` or `EXCHANGE`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotEmpty`], [`Error::IsDirectory`], [`Error::NotDirectory`] as the manual
    /// page says; [`Error::Invalid`] for a directory moved below itself.
    pub fn rename(&self, from: Ino, old: &Name, to: Ino, new: &Name, flags: RenameFlags) -> Result<()> {
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Error::Invalid);
        }
        let mut view = self.view.lock();
        let source = view.spot(from, old)?;
        let target = view.spot(to, new)?;
        let moved = source.found.ok_or(Error::NotFound)?;
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        match target.found {
            Some(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Error::Exists),
            None if exchange => return Err(Error::NotFound),
            _ => {}
        }
        if source.is_dir && view.is_below(to, moved.ino)? {
            return Err(Error::Invalid);
        }
        if let Some(there) = target.found
            && target.is_dir
            && view.is_below(from, there.ino)?
        {
            return Err(if exchange { Error::Invalid } else { Error::NotEmpty });
        }
        if exchange {
            return view.exchange(&source, &target);
        }
        match target.found {
            Some(there) if there.ino == moved.ino => return Ok(()),
            Some(_) if source.is_dir && !target.is_dir => return Err(Error::NotDirectory),
            Some(_) if !source.is_dir && target.is_dir => return Err(Error::IsDirectory),
            Some(there) if target.is_dir && !view.is_empty_dir(there.ino)? => return Err(Error::NotEmpty),
            _ => {}
        }
        view.move_name(&source, moved, &target)
    }
}

/// What shows at the name is the lower's alone.
fn hides_lower(target: &DirEntryRef) -> bool {
    target.found.is_some_and(|there| there.upper.is_none())
}

impl View {
    fn spot<'a>(&mut self, dir: Ino, name: &'a Name) -> Result<DirEntryRef<'a>> {
        let found = match self.resolve(dir, name) {
            Ok(found) => Some(found),
            Err(Error::NotFound) if !self.is_gone(dir) => None,
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
        if hides_lower(target) {
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
        let replaced = target.found.filter(|t| t.upper.is_some());
        let kept = self.carry_out(source, &moved, target, replaced, records)?;
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

    fn carry_out(
        &mut self,
        source: &DirEntryRef,
        moved: &FoundName,
        target: &DirEntryRef,
        replaced: Option<FoundName>,
        mut records: Vec<Record>,
    ) -> Result<OrphanBacking> {
        let (dir, name) = (target.dir, target.name.clone());
        let (from, to) = match (moved.upper, replaced) {
            (None, None) => return self.record_names(records).map(|()| OrphanBacking::Store),
            (Some(_), _) => (Some(self.dir_to_change(source.dir)?), self.dir_to_change(dir)?),
            (None, Some(_)) => (None, self.dir_to_change(dir)?),
        };
        let touched = self.settle_times(&mut records)?;
        let places = self.places_for(&records)?;
        records.extend(places);
        let check = match (moved.upper, replaced) {
            (Some(stat), _) => Check::Present { dir, name, real: stat.ino },
            (None, there) => Check::Absent { dir, name, real: there.and_then(|t| t.upper).map_or(0, |s| s.ino) },
        };
        let call = |view: &mut View| match (from, replaced) {
            (Some(from), there) => {
                if hides_lower(target) {
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
        let (Some(a), Some(b)) = (source.found, target.found) else { return Err(Error::NotFound) };
        if a.ino == b.ino {
            return Ok(());
        }
        let mut records = self.showing(target.dir, target.name, self.carried(&a, source.is_dir));
        records.extend(self.showing(source.dir, source.name, self.carried(&b, target.is_dir)));
        self.note_move(&a, target, &mut records);
        self.note_move(&b, source, &mut records);
        match (a.upper, b.upper) {
            (None, None) => self.record_names(records)?,
            (Some(stat), _) => self.swap(source, target, stat.ino, b.upper.is_some(), records)?,
            (None, Some(stat)) => self.swap(target, source, stat.ino, false, records)?,
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
