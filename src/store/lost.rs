//! Objects that were found to be damaged or missing: noted in the store, for `status` to report, for imports to mend,
//! and for every server that shows them.
//!
//! The note of an object is a file in `damaged`, named by the object's id. If all bytes of a file were read and have
//! another hash, the note records which file that was ([`FileTimes`]); else it is empty. It is a hint: a reader of the
//! note looks at the object again. It is removed when the object is whole, or is not needed any more. Nothing is lost
//! if it can't be written. When an object is whole again, the file `<id>.whole` stays until the next gc, for servers
//! that did not look in between.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::damage::{CHECKED, DAMAGED};
use super::pack::is_racy;
use super::{Damage, DamageKind, FileTimes, ObjectId, Store, StoreError, StoreExclusive, TreeId};
use crate::sys::fs::{self, Stat, Timespec};
use crate::sys::log::OrWarn;
use crate::sys::{IoError, path as paths};

/// Every server has looked at a note after so long, in seconds.
const READ_WITHIN: i64 = 60;
/// One process notes no more than this: when a whole disk is lost, it is known after the first.
const MOST: usize = 200;
/// The suffix of a note's name when the object is whole again.
const WHOLE: &str = "whole";
/// The damaged and missing objects that this process has met.
pub struct Lost {
    store: PathBuf,
    met: Mutex<HashSet<ObjectId>>,
    /// Whether there is something in `met`, to be read without a lock.
    has_met: AtomicBool,
    /// Files of objects that were read to the end and had other bytes: known again as long as they don't change.
    bad: Mutex<HashMap<ObjectId, FileTimes>>,
    has_bad: AtomicBool,
}

impl Lost {
    /// An empty list. `store` is absolute; notes of other processes in its `damaged/` are not read before
    /// [`Store::heed_notes`].
    pub(super) fn of(store: &Path) -> Lost {
        let (met, has_met, bad, has_bad) = Default::default();
        Lost { store: store.into(), met, has_met, bad, has_bad }
    }

    /// Notes that an object is damaged or missing; logs it once.
    pub(super) fn report(&self, id: &ObjectId, why: &dyn std::fmt::Display) {
        if self.note(id, None) {
            self.log(why);
        }
    }

    /// As [`Lost::report`], of an object all of whose bytes were read: `stat` is its file, which is bad until it changes.
    pub(super) fn report_bad(&self, id: &ObjectId, stat: &Stat, why: &dyn std::fmt::Display) {
        if self.note_bad(id, stat) {
            self.log(why);
        }
    }

    fn log(&self, why: &dyn std::fmt::Display) {
        tracing::warn!(
            "an object of the store is lost, files with it answer EIO; depsfs doctor --fix may mend it: {why}"
        );
    }

    /// Notes that an object's own file holds other bytes; whether that is news.
    pub(super) fn note_bad(&self, id: &ObjectId, stat: &Stat) -> bool {
        let times = FileTimes::of(stat);
        self.learn(&[(*id, Some(times))]);
        self.note(id, Some(times))
    }

    /// Notes that an object is lost; whether this process had not met it yet.
    pub(super) fn note(&self, id: &ObjectId, bad: Option<FileTimes>) -> bool {
        let mut met = self.met.lock();
        // The note of one that was met before may be gone: it was whole meanwhile.
        let is_new = !met.contains(id) || !paths::is_there(&self.store.join(DAMAGED).join(id.hex()));
        if (is_new && met.len() >= MOST) || (!is_new && bad.is_none()) {
            return false;
        }
        met.insert(*id);
        self.has_met.store(true, Ordering::Relaxed);
        drop(met);
        self.write(id, bad).or_warn("an object is not noted as damaged");
        is_new
    }

    fn write(&self, id: &ObjectId, bad: Option<FileTimes>) -> Result<(), IoError> {
        let dir = self.store.join(DAMAGED);
        paths::make_dir(&dir)?;
        let file = dir.join(id.hex());
        match bad {
            None => paths::write_new(&file, b"").map(drop),
            Some(times) => write_note(&self.store, &file, &times.note(id)),
        }
    }

    /// The bytes of an object were read, and have the hash in its name.
    pub fn is_sound(&self, id: &ObjectId) {
        if self.has_met.load(Ordering::Relaxed) && self.met.lock().remove(id) {
            tracing::info!("object {id} is whole again");
            drop_note(&self.store, id).or_warn("it is still noted as damaged");
        }
    }

    /// Takes over notes, which any process may have written.
    pub fn learn(&self, noted: &[(ObjectId, Option<FileTimes>)]) {
        let bad: Vec<_> = noted.iter().filter_map(|(id, times)| Some((*id, (*times)?))).collect();
        if !bad.is_empty() {
            self.bad.lock().extend(bad);
            self.has_bad.store(true, Ordering::Relaxed);
        }
    }

    /// Whether [`Lost::is_known_bad`] may be true of any object.
    pub fn knows_bad(&self) -> bool {
        self.has_bad.load(Ordering::Relaxed)
    }

    /// Whether `file`, open, is the object's file that was read as damaged and has not changed since. A changed file is
    /// forgotten: it is to be read again.
    pub(super) fn is_known_bad(&self, id: &ObjectId, file: impl AsFd) -> bool {
        if !self.knows_bad() {
            return false;
        }
        let mut bad = self.bad.lock();
        let Some(known) = bad.get(id) else { return false };
        let is_same = fs::stat(file).is_ok_and(|now| FileTimes::of(&now) == *known);
        if !is_same {
            bad.remove(id);
        }
        is_same
    }
}

/// Gives a note its name, whole or not at all. It is not synced: a torn one is ignored.
pub(super) fn write_note(store: &Path, file: &Path, note: &[u8]) -> Result<(), IoError> {
    super::replace_unsynced(store, file, note)
}

/// An object is not lost any more. It was not noted, perhaps.
fn drop_note(store: &Path, id: &ObjectId) -> Result<(), IoError> {
    let file = store.join(DAMAGED).join(id.hex());
    match paths::rename(&file, &file.with_extension(WHOLE)) {
        Err(e) if e.errno() == libc::ENOENT => Ok(()),
        dropped => dropped,
    }
}

/// The notes in a store, looked at now and then.
#[derive(Default)]
pub struct Notes {
    /// By name: which files they are.
    known: HashMap<Vec<u8>, (u64, Timespec)>,
    /// The directory's times when it was listed; nothing when it has to be listed again.
    listed: Option<(Timespec, Timespec)>,
    /// In seconds: older notes of objects that are whole again are skipped, as the server began later.
    since: i64,
}

impl Notes {
    /// For a server that began at that time, perhaps in another's place.
    pub fn since(began: Timespec) -> Notes {
        Notes { since: began.sec - READ_WITHIN, ..Notes::default() }
    }

    /// The objects that any process noted since the last call: as damaged, or as whole again.
    ///
    /// # Errors
    /// The notes cannot be listed.
    pub fn look(&mut self, store: &Path) -> Result<Vec<(ObjectId, Option<FileTimes>)>, IoError> {
        let dir = store.join(DAMAGED);
        let times = paths::stat(&dir)?.map(|stat| (stat.mtime, stat.ctime));
        if times == self.listed {
            return Ok(vec![]);
        }
        let (mut now, mut news) = (HashMap::new(), Vec::new());
        for entry in paths::list(&dir)? {
            let Some((id, file)) = std::str::from_utf8(&entry.name).ok().and_then(|n| Some((id_of(n)?, dir.join(n))))
            else {
                continue;
            };
            let Some(stat) = paths::stat(&file)? else { continue };
            let is_whole = file.extension().is_some();
            let is_old = is_whole && stat.ctime.sec < self.since;
            if !is_old && self.known.get(&entry.name) != Some(&(stat.ino, stat.ctime)) {
                let note = paths::read_if_there(&file)?.unwrap_or_default();
                news.push((id, FileTimes::of_note(&id, &note).filter(|_| !is_whole)));
            }
            now.insert(entry.name, (stat.ino, stat.ctime));
        }
        self.known = now;
        // One that changed just before it was listed may change again without a new time.
        self.listed = times.filter(|(_, ctime)| !is_racy(*ctime));
        Ok(news)
    }
}

/// The object that a note of either kind is about.
fn id_of(name: &str) -> Option<ObjectId> {
    name.split_once('.').map_or(Some(name), |(id, kind)| (kind == WHOLE).then_some(id))?.parse().ok()
}

/// The objects that files in `dir` are named by.
pub(super) fn ids_in(dir: &Path) -> Result<Vec<ObjectId>, IoError> {
    let names = paths::list(dir)?;
    let mut ids: Vec<_> =
        names.iter().filter_map(|e| std::str::from_utf8(&e.name).ok()?.parse::<ObjectId>().ok()).collect();
    ids.sort();
    Ok(ids)
}

impl Store {
    /// Takes over what is noted as damaged: it is not served.
    pub fn heed_notes(&self) {
        match Notes::default().look(self.path()) {
            Ok(noted) => self.objects().lost().learn(&noted),
            Err(e) => tracing::warn!("{e}"),
        }
    }

    /// The objects that any reader of this store met damaged or missing, and that are still noted.
    ///
    /// # Errors
    /// The notes or the packs cannot be read.
    pub fn lost_objects(&self) -> Result<Vec<ObjectId>, StoreError> {
        Ok(ids_in(&self.path().join(DAMAGED))?)
    }

    /// The noted objects that are still damaged or missing.
    pub(crate) fn lost_damage(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damage = Vec::new();
        for id in self.lost_objects()? {
            let (path, kind) = match (self.objects().sound_content(&id), self.objects().packs().pack_of(&id)?) {
                (Ok(_) | Err(StoreError::Absent { .. }), _) => continue,
                (Err(StoreError::NoObject(_)), _) => {
                    (self.objects().path_of(&id), DamageKind::Missing { needed_by: "a view".into() })
                }
                (_, Some(pack)) => (self.objects().packs().path_of(&pack), DamageKind::Packed { object: id, of: 1 }),
                (_, None) => (self.objects().path_of(&id), DamageKind::Bytes),
            };
            damage.push(Damage { path, kind });
        }
        Ok(damage)
    }

    /// Whether a tree is whole, and all its objects are there, as far as is known.
    pub(crate) fn is_complete(&self, tree: TreeId) -> Result<bool, StoreError> {
        self.drop_damaged()?;
        match self.tree(tree) {
            Ok(tree) => Ok(self.objects().missing_of(&tree)?.is_empty()),
            Err(StoreError::NoTree(_) | StoreError::BadTree { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes the objects that are noted as damaged, and are: an import of the same bytes then stores them again. The
    /// notes of whole objects are removed.
    pub(crate) fn drop_damaged(&self) -> Result<(), StoreError> {
        for id in self.lost_objects()? {
            match self.objects().sound_content(&id) {
                Ok(_) => {}
                Err(StoreError::NoObject(_)) => {
                    if let Some(pack) = self.objects().packs().pack_without(&id)? {
                        self.salvage(pack)?;
                    }
                    continue;
                }
                Err(StoreError::Absent { .. }) => {
                    drop_note(self.path(), &id)?;
                    continue;
                }
                Err(StoreError::BadObject { .. }) => self.drop_object(&id)?,
                // A bad sector, which no reader gets anything of.
                Err(StoreError::Io(e)) if e.errno() == libc::EIO => self.drop_object(&id)?,
                Err(e) => {
                    tracing::warn!("{e}");
                    continue;
                }
            }
            if self.objects().contains(&id) {
                drop_note(self.path(), &id)?;
            }
        }
        Ok(())
    }

    /// Deletes all notes of what is damaged.
    pub(super) fn drop_notes_of_damage(&self) {
        let ids = ids_in(&self.path().join(DAMAGED));
        if let Err(e) = ids.and_then(|ids| ids.iter().try_for_each(|id| drop_note(self.path(), id))) {
            tracing::debug!("notes of what was damaged stay: {e}");
        }
    }

    /// Deletes the notes about objects that are not kept, and what servers have read of those that are whole again.
    pub(super) fn drop_notes(
        &self,
        _lock: &StoreExclusive,
        is_kept: impl Fn(&ObjectId) -> bool,
    ) -> Result<(), StoreError> {
        for dir in [DAMAGED, CHECKED].map(|dir| self.path().join(dir)) {
            for id in ids_in(&dir)?.into_iter().filter(|id| !is_kept(id)) {
                paths::remove_file(&dir.join(id.hex()))?;
            }
        }
        let dir = self.path().join(DAMAGED);
        for name in paths::list(&dir)?.into_iter().filter_map(|e| String::from_utf8(e.name).ok()) {
            let file = dir.join(&name);
            let is_read = |stat: Stat| stat.ctime.sec + READ_WITHIN < Timespec::now().sec;
            if file.extension().is_some() && id_of(&name).is_some() && paths::stat(&file)?.is_some_and(is_read) {
                paths::remove_file(&file)?;
            }
        }
        Ok(())
    }

    fn drop_object(&self, id: &ObjectId) -> Result<(), StoreError> {
        match self.objects().packs().pack_of(id)? {
            Some(pack) => self.salvage(pack),
            None => Ok(paths::remove_file(&self.objects().path_of(id))?),
        }
    }
}
