//! The records of the journal so far, as maps: the difference between the lower and the view that no plain directory
//! can show.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use crate::store::Name;
use crate::sys::fs::Timespec;

use super::journal::{MetaChange, Record};
use super::lower::Lower;
use super::types::Ino;

/// The journal's entry for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Override {
    Whiteout,
    Moved(Ino),
}

/// The journal, played back. Changed by [`Delta::apply`] alone, live and at replay.
#[derive(Default)]
pub(super) struct Delta {
    /// The upper's root: its inode number and birth.
    pub root: Option<(u64, u64)>,
    names: HashMap<Ino, BTreeMap<Name, Override>>,
    /// How many names that are, in all directories.
    name_count: usize,
    opaque: HashSet<Ino>,
    metas: HashMap<Ino, MetaChange>,
    /// Lower files whose bytes are in the upper now: inode → the upper's inode number, and its birth.
    copied: HashMap<Ino, (u64, u64)>,
    /// The same, the other way round.
    origins: HashMap<u64, Ino>,
    /// The names that lower inodes were moved to.
    moved_to: HashMap<Ino, Vec<(Ino, Name)>>,
    /// Places of directories that are only in the upper and that other records name.
    places: HashMap<Ino, (Ino, Name)>,
}

impl Delta {
    /// Plays one record. Records of grafts are the opener's and change nothing here.
    pub fn apply(&mut self, lower: &Lower, record: &Record) {
        match record {
            Record::Root { real, born } => self.root = Some((*real, *born)),
            Record::Graft { .. } => {}
            Record::Whiteout { dir, name, time } => {
                // A whiteout over nothing hides nothing: the entry that was moved here is simply gone.
                let hidden = lower.lookup(*dir, name);
                self.set_name(*dir, name, hidden.map(|_| Override::Whiteout));
                self.touch(*dir, *time);
            }
            Record::Moved { dir, name, ino, time } => {
                self.set_name(*dir, name, Some(Override::Moved(*ino)));
                self.touch(*dir, *time);
            }
            Record::Unset { dir, name, time } => {
                self.set_name(*dir, name, None);
                self.touch(*dir, *time);
            }
            Record::Opaque { dir } => {
                self.opaque.insert(*dir);
            }
            Record::Cleared { dir } => self.forget_dir(*dir),
            Record::Meta { ino, meta } if *meta == MetaChange::default() => {
                self.metas.remove(ino);
            }
            Record::Meta { ino, meta } => {
                self.metas.insert(*ino, meta.clone());
            }
            Record::Dress { ino, meta } => {
                let xattrs = self.metas.remove(ino).and_then(|before| before.xattrs);
                self.metas.insert(*ino, MetaChange { xattrs, ..meta.clone() });
            }
            Record::Xattr { ino, name, value, time } => {
                let meta = self.metas.entry(*ino).or_default();
                let xattrs = meta.xattrs.get_or_insert_with(|| stored_xattrs(lower, *ino));
                match value {
                    Some(value) => xattrs.insert(name.clone(), value.clone()),
                    None => xattrs.remove(name),
                };
                meta.ctime = Some(*time);
            }
            Record::Copied { ino, real, born } => {
                self.copied.insert(*ino, (*real, *born));
                self.origins.insert(*real, *ino);
            }
            Record::Uncopied { ino } => {
                if let Some((real, _)) = self.copied.remove(ino) {
                    self.origins.remove(&real);
                }
            }
            Record::Place { ino, dir, name } => {
                self.places.insert(*ino, (*dir, name.clone()));
            }
        }
    }

    /// After all records of a change: the metadata of what is hidden at its only name, and was not moved, is void.
    pub fn forget_hidden(&mut self, lower: &Lower, record: &Record) {
        if let Record::Whiteout { dir, name, .. } = record
            && let Some(ino) = lower.lookup(*dir, name)
            && self.name(*dir, name) == Some(Override::Whiteout)
            && lower.has_one_name(ino)
            && self.moved_to(ino).is_empty()
        {
            self.metas.remove(&ino);
        }
    }

    fn set_name(&mut self, dir: Ino, name: &Name, new: Option<Override>) {
        let names = self.names.entry(dir).or_default();
        let old = match new {
            Some(o) => names.insert(name.clone(), o),
            None => names.remove(name),
        };
        self.name_count = self.name_count + usize::from(new.is_some()) - usize::from(old.is_some());
        if names.is_empty() {
            self.names.remove(&dir);
        }
        if let Some(Override::Moved(ino)) = old {
            self.unmove(ino, dir, name);
        }
        if let Some(Override::Moved(ino)) = new {
            self.moved_to.entry(ino).or_default().push((dir, name.clone()));
        }
    }

    fn unmove(&mut self, ino: Ino, dir: Ino, name: &Name) {
        if let Some(places) = self.moved_to.get_mut(&ino) {
            places.retain(|(d, n)| *d != dir || n != name);
            if places.is_empty() {
                self.moved_to.remove(&ino);
            }
        }
    }

    fn forget_dir(&mut self, dir: Ino) {
        let names = self.names.remove(&dir).unwrap_or_default();
        self.name_count -= names.len();
        for (name, over) in names {
            if let Override::Moved(ino) = over {
                self.unmove(ino, dir, &name);
            }
        }
        self.opaque.remove(&dir);
        self.metas.remove(&dir);
        self.places.remove(&dir);
    }

    fn touch(&mut self, dir: Ino, time: Option<Timespec>) {
        if let Some(t) = time {
            let meta = self.metas.entry(dir).or_default();
            meta.mtime = Some(t);
            meta.ctime = Some(t);
        }
    }

    /// The journal's entry for a name of a directory; `None` if upper and lower alone decide.
    pub fn name(&self, dir: Ino, name: &Name) -> Option<Override> {
        self.names.get(&dir)?.get(name).copied()
    }

    /// The overrides of names in `dir` after one, in the order of names.
    pub fn overrides(&self, dir: Ino, after: &Name) -> impl Iterator<Item = (&Name, Override)> {
        let names =
            self.names.get(&dir).map(|names| names.range::<Name, _>((Bound::Excluded(after), Bound::Unbounded)));
        names.into_iter().flatten().map(|(n, o)| (n, *o))
    }

    /// Whether there is a record of any name, alone or with all in its directory.
    pub fn says_names(&self) -> bool {
        !self.names.is_empty() || !self.opaque.is_empty()
    }

    /// Whether the journal has an entry for any name in `dir`. An opaque directory may have none.
    pub fn has_overrides(&self, dir: Ino) -> bool {
        self.names.contains_key(&dir)
    }

    /// Whether the lower's names in `dir` are hidden (overlayfs: `opaque`).
    pub fn is_opaque(&self, dir: Ino) -> bool {
        self.opaque.contains(&dir)
    }

    /// The metadata that the journal records for an inode; `None` if it has that of the upper's file, or of the tree.
    pub fn meta(&self, ino: Ino) -> Option<&MetaChange> {
        self.metas.get(&ino)
    }

    /// Every inode with records of more than its times.
    pub fn dressed(&self) -> Vec<Ino> {
        self.metas.iter().filter(|(_, meta)| meta.is_dressed()).map(|(ino, _)| *ino).collect()
    }

    /// The upper's inode number that holds a lower file's bytes now.
    pub fn copied(&self, ino: Ino) -> Option<u64> {
        self.copied.get(&ino).map(|(real, _)| *real)
    }

    /// The lower file that the upper's inode `real` was copied from.
    pub fn origin(&self, real: u64) -> Option<Ino> {
        self.origins.get(&real).copied()
    }

    /// Every copied file, with the birth of its copy.
    pub fn all_copied(&self) -> impl Iterator<Item = (Ino, u64)> {
        self.copied.iter().map(|(ino, (_, born))| (*ino, *born))
    }

    /// Every lower inode that was moved.
    pub fn all_moved(&self) -> Vec<Ino> {
        self.moved_to.keys().copied().collect()
    }

    /// The locations that a lower inode was moved to, several for a hard-linked file; empty if it was never moved.
    pub fn moved_to(&self, ino: Ino) -> &[(Ino, Name)] {
        self.moved_to.get(&ino).map_or(&[], Vec::as_slice)
    }

    /// Every inode that some record is about.
    pub fn touched(&self) -> HashSet<Ino> {
        let dirs = self.names.keys().chain(&self.opaque);
        dirs.chain(self.metas.keys()).chain(self.copied.keys()).copied().collect()
    }

    /// Directories of the upper alone that names are kept for.
    pub fn named_upper_dirs(&self) -> Vec<Ino> {
        let dirs = self.names.keys().chain(&self.opaque).chain(self.places.values().map(|(d, _)| d));
        let set: HashSet<Ino> = dirs.copied().filter(|d| d.is_upper()).collect();
        set.into_iter().collect()
    }

    /// Those, and all others of the upper alone whose places are known.
    pub fn recorded_upper_dirs(&self) -> HashSet<Ino> {
        self.named_upper_dirs().into_iter().chain(self.places.keys().copied()).collect()
    }

    /// The directory and name of a directory of the upper alone, recorded when another record named it; else `None`.
    pub fn place(&self, ino: Ino) -> Option<&(Ino, Name)> {
        self.places.get(&ino)
    }

    /// Whether there are no records beyond those of the grafts.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.opaque.is_empty() && self.metas.is_empty() && self.copied.is_empty()
    }

    /// How many records that journal has, about.
    pub fn len(&self) -> usize {
        self.name_count + self.opaque.len() + self.metas.len() + self.copied.len() + self.places.len()
    }

    /// The shortest journal with this state.
    pub fn records(&self) -> Vec<Record> {
        let mut out: Vec<Record> = self.root.map(|(real, born)| Record::Root { real, born }).into_iter().collect();
        out.extend(self.opaque.iter().map(|dir| Record::Opaque { dir: *dir }));
        for (dir, names) in &self.names {
            out.extend(names.iter().map(|(name, over)| match over {
                Override::Whiteout => Record::Whiteout { dir: *dir, name: name.clone(), time: None },
                Override::Moved(ino) => Record::Moved { dir: *dir, name: name.clone(), ino: *ino, time: None },
            }));
        }
        self.metas.iter().for_each(|(ino, meta)| put_meta(*ino, meta, &mut out));
        out.extend(self.copied.iter().map(|(ino, (real, born))| Record::Copied {
            ino: *ino,
            real: *real,
            born: *born,
        }));
        out.extend(self.places.iter().map(|(ino, (dir, name))| Record::Place {
            ino: *ino,
            dir: *dir,
            name: name.clone(),
        }));
        out
    }
}

/// Records of all of a file's changed metadata, none of them too long to be read back: a file system may keep more
/// attributes than one record takes.
fn put_meta(ino: Ino, meta: &MetaChange, out: &mut Vec<Record>) {
    const MANY: usize = 64 << 10;
    match &meta.xattrs {
        Some(all) if all.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MANY => {
            out.push(Record::Meta { ino, meta: MetaChange { xattrs: Some(BTreeMap::new()), ..meta.without_xattrs() } });
            let time = meta.ctime.unwrap_or(Timespec { sec: 0, nsec: 0 });
            out.extend(all.iter().map(|(name, value)| {
                let value = Some(value.clone());
                Record::Xattr { ino, name: name.clone(), value, time }
            }));
            // The attributes have set the time of the last change.
            out.push(Record::Dress { ino, meta: meta.without_xattrs() });
        }
        _ => out.push(Record::Meta { ino, meta: meta.clone() }),
    }
}

/// Extended attributes that the trees give a file.
pub(super) fn stored_xattrs(lower: &Lower, ino: Ino) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let Some((tree, node)) = lower.source(ino) else { return BTreeMap::new() };
    tree.xattrs(node).map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
}
