//! Objects that were found to be damaged or missing: noted in the store, for `status` to tell and for imports to mend.
//!
//! One empty file for each in `damaged`, named by the object's id. It is a hint, and goes when the object is whole: who
//! reads it looks at the object again. Nothing is lost when it can't be written.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{Damage, DamageKind, ObjectId, Store, StoreError, TreeId};
use crate::sys::fs::{self, Stat};
use crate::sys::log::OrWarn;
use crate::sys::path as paths;

/// One process notes no more than this: when a whole disk is lost, it is known after the first.
const MOST: usize = 200;

/// What this process has met.
pub struct Lost {
    dir: PathBuf,
    met: Mutex<HashSet<ObjectId>>,
    /// Files of objects that were read to the end and had other bytes: known again as long as they don't change.
    bad: Mutex<HashMap<ObjectId, FileTimes>>,
}

/// A file as it was at a time: another of the same times has the same bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileTimes(u64, u64, u64, fs::Timespec, fs::Timespec);

impl FileTimes {
    pub fn of(stat: &Stat) -> FileTimes {
        FileTimes(stat.dev, stat.ino, stat.size, stat.mtime, stat.ctime)
    }
}

impl Lost {
    pub(super) fn of(store: &Path) -> Lost {
        Lost { dir: store.join("damaged"), met: Mutex::default(), bad: Mutex::default() }
    }

    /// Notes that an object is damaged or missing; says so in the log, once.
    pub(super) fn report(&self, id: &ObjectId, why: &dyn std::fmt::Display) {
        let mut met = self.met.lock();
        if met.len() >= MOST || !met.insert(*id) {
            return;
        }
        tracing::warn!(
            "an object of the store is lost, files with it answer EIO; depsfs doctor --fix may mend it: {why}"
        );
        let noted = paths::make_dir(&self.dir).and_then(|_| paths::write_new(&self.dir.join(id.hex()), b""));
        if let Err(e) = noted {
            tracing::warn!("object {id} is not noted as damaged: {e}");
        }
    }

    /// The bytes of an object were read, and are what its name says.
    pub fn is_sound(&self, id: &ObjectId) {
        let mut met = self.met.lock();
        if !met.is_empty() && met.remove(id) {
            tracing::info!("object {id} is whole again");
            paths::remove_file(&self.dir.join(id.hex())).or_warn("it is still noted as damaged");
        }
    }

    /// All bytes of this file, the object's own, were read, and are others.
    pub fn note_bad(&self, id: &ObjectId, stat: &Stat) {
        self.bad.lock().insert(*id, FileTimes::of(stat));
    }

    pub(super) fn is_known_bad(&self, id: &ObjectId, file: impl AsFd) -> bool {
        let mut bad = self.bad.lock();
        let Some(known) = bad.get(id) else { return false };
        let is_same = fs::stat(file).is_ok_and(|now| FileTimes::of(&now) == *known);
        if !is_same {
            bad.remove(id);
        }
        is_same
    }
}

impl Store {
    /// The objects that were met damaged or missing, by whoever reads in this store, and are still noted.
    pub fn lost_objects(&self) -> Result<Vec<ObjectId>, StoreError> {
        let names = paths::list(&self.path().join("damaged"))?;
        let mut ids: Vec<_> =
            names.iter().filter_map(|e| std::str::from_utf8(&e.name).ok()?.parse::<ObjectId>().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// What is still damaged or missing of what is noted.
    pub fn lost_damage(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damage = Vec::new();
        for id in self.lost_objects()? {
            let (path, kind) = match (self.objects().sound_content(&id), self.objects().packs().pack_of(&id)?) {
                (Ok(_), _) => continue,
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
    pub fn is_complete(&self, tree: TreeId) -> Result<bool, StoreError> {
        self.drop_damaged()?;
        match self.tree(tree) {
            Ok(tree) => Ok(self.objects().missing_of(&tree)?.is_empty()),
            Err(StoreError::NoTree(_) | StoreError::BadTree { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Takes out of the way what is noted as damaged, and is: an import of the same bytes then brings it again. What is
    /// whole is not noted any more.
    pub(super) fn drop_damaged(&self) -> Result<(), StoreError> {
        for id in self.lost_objects()? {
            match self.objects().sound_content(&id) {
                Ok(_) => {}
                Err(StoreError::NoObject(_)) => continue,
                Err(StoreError::BadObject { .. }) => self.drop_object(&id)?,
                Err(e) => {
                    tracing::warn!("{e}");
                    continue;
                }
            }
            if self.objects().contains(&id) {
                paths::remove_file(&self.path().join("damaged").join(id.hex()))?;
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
