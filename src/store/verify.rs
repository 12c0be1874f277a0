//! Reads everything in the store again and lists the files whose bytes are not those of their names.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::damage::{Damage, DamageKind};
use super::escape::escape;
use super::pack::{Pack, PackRecord};
use super::pool::{self, JobQueue};
use super::{Lost, Node, ObjectId, PackId, Progress, Root, RootState, Store, StoreError, Tree, TreeId};
use crate::sys::fs::{self, OpenFlags, Stat};
use crate::sys::path as paths;

/// A directory of files that are named by their hash, or a file of many objects.
#[derive(Clone, Copy)]
enum Bucket {
    Objects(u8),
    Trees(u8),
    Pack(PackId),
}

/// Ends when its time is up.
struct Sample {
    until: Instant,
    bytes: AtomicU64,
}

impl Progress for Sample {
    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        Instant::now() > self.until
    }
}

struct FoundDamage {
    damage: Vec<Damage>,
    /// Objects that sound trees need: their size and one of the trees.
    needed: HashMap<ObjectId, (u64, TreeId)>,
    buf: Vec<u8>,
}

/// The result of a comparison of everything in a store with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Sorted by path.
    pub damage: Vec<Damage>,
    /// How many objects that trees need are not here, and can be had from a source.
    pub absent: u64,
}

impl Store {
    /// As [`Store::verify_all`]: what is damaged.
    ///
    /// # Errors
    /// As [`Store::verify_all`].
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<Damage>, StoreError> {
        Ok(self.verify_all(progress)?.damage)
    }

    /// Reads all objects and trees and compares them with their names; looks that each tree's objects and each
    /// entry's tree are there; gc waits meanwhile. An object that a source names may be absent.
    ///
    /// # Errors
    /// A directory of the store cannot be read. `progress` is cancelled.
    pub fn verify_all(&self, progress: &dyn Progress) -> Result<Verified, StoreError> {
        let _share = self.share()?;
        progress.begin("verifying", None);
        let (packs, mut damage) = self.pack_names()?;
        let buckets = (0..=255).map(Bucket::Objects).chain((0..=255).map(Bucket::Trees));
        let buckets = buckets.chain(packs.into_iter().map(Bucket::Pack)).collect();
        let start = || FoundDamage { damage: vec![], needed: HashMap::new(), buf: vec![0; 1 << 20] };
        let work = |bucket, found: &mut FoundDamage, _: &JobQueue<Bucket>| self.verify_bucket(bucket, found, progress);
        let parts = pool::run(buckets, start, work)?;
        damage.extend(self.verify_entries()?);
        damage.extend(self.missing_trees(&self.roots().list()?));
        let mut absent = std::collections::HashSet::new();
        for found in parts {
            damage.extend(found.damage);
            for (id, (size, tree)) in found.needed {
                if self.objects().is_absent(&id) {
                    absent.insert(id);
                    continue;
                }
                let path = self.objects().path_of(&id);
                // One with other bytes was named already.
                if !self.objects().contains_whole(&id, size) && !damage.iter().any(|d| d.path == path) {
                    self.objects().lost().note(&id, None);
                    damage.push(Damage { path, kind: DamageKind::Missing { needed_by: format!("tree {tree}") } });
                }
            }
        }
        damage.sort();
        damage.dedup_by(|a, b| a.path == b.path);
        if damage.is_empty() {
            // Everything was read: an object that is still noted is whole, or not needed.
            self.drop_notes_of_damage();
        }
        Ok(Verified { damage, absent: absent.len() as u64 })
    }

    /// As [`Store::verify`], for as long as `limit`: whichever files come first, others each time. Answers how many
    /// bytes were read, and what is damaged of them.
    pub(crate) fn verify_some(&self, limit: Duration) -> Result<(u64, Vec<Damage>), StoreError> {
        let _share = self.share()?;
        let sample = Sample { until: Instant::now() + limit, bytes: AtomicU64::new(0) };
        let mut found = FoundDamage { damage: vec![], needed: HashMap::new(), buf: vec![0; 1 << 20] };
        let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos() as usize);
        let (packs, _) = self.pack_names()?;
        let packs = packs.into_iter().map(Bucket::Pack);
        let files = (0..512).map(|n| {
            // 181 has no divisor in common with 512: each bucket comes once.
            match (first + n * 181) % 512 {
                n @ 0..=255 => Bucket::Objects(n as u8),
                n => Bucket::Trees(n as u8),
            }
        });
        // Half of the times packs come first.
        let mut buckets: Vec<Bucket> = packs.chain(files).collect();
        if first.is_multiple_of(2) {
            buckets.reverse();
        }
        for bucket in buckets {
            match self.verify_bucket(bucket, &mut found, &sample) {
                Ok(()) => {}
                Err(StoreError::Cancelled) => break,
                Err(e) => return Err(e),
            }
        }
        let mut damage = found.damage;
        for (id, (size, tree)) in found.needed {
            let path = self.objects().path_of(&id);
            let is_here = || paths::is_there(&path) || self.objects().contains_whole(&id, size);
            if !sample.is_cancelled() && !is_here() && !self.objects().is_absent(&id) {
                self.objects().lost().note(&id, None);
                damage.push(Damage { path, kind: DamageKind::Missing { needed_by: format!("tree {tree}") } });
            }
        }
        damage.sort();
        damage.dedup_by(|a, b| a.path == b.path);
        Ok((sample.bytes.into_inner(), damage))
    }

    fn verify_bucket(
        &self,
        bucket: Bucket,
        found: &mut FoundDamage,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let (kind, number) = match bucket {
            Bucket::Objects(n) => ("objects", n),
            Bucket::Trees(n) => ("trees", n),
            Bucket::Pack(id) => {
                let path = self.objects().packs().path_of(&id);
                match verify_pack(&path, id, &mut found.buf, self.objects().lost(), progress) {
                    Ok(kind) => found.damage.extend(kind.map(|kind| Damage { path, kind })),
                    Err(StoreError::Cancelled) => return Err(StoreError::Cancelled),
                    Err(e) => found.damage.push(Damage { path, kind: DamageKind::Unreadable(e.to_string()) }),
                }
                return Ok(());
            }
        };
        let prefix = format!("{number:02x}");
        let dir = self.path().join(kind).join(&prefix);
        for entry in paths::list(&dir)? {
            if progress.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            let path = dir.join(std::ffi::OsStr::from_bytes(&entry.name));
            let id = std::str::from_utf8(&entry.name).ok().and_then(|rest| format!("{prefix}{rest}").parse().ok());
            let Some(id) = id else {
                found.damage.push(Damage { path, kind: DamageKind::Stray });
                continue;
            };
            let result = match bucket {
                Bucket::Objects(_) => verify_object(&path, id, &mut found.buf, progress).map(|bad| {
                    bad.map(|stat| {
                        self.objects().lost().note_bad(&id, &stat);
                        DamageKind::Bytes
                    })
                }),
                _ => self.verify_tree(&path, TreeId(id.0), found, progress),
            };
            match result {
                Ok(None) => {}
                Ok(Some(kind)) => found.damage.push(Damage { path, kind }),
                Err(e) => found.damage.push(Damage { path, kind: DamageKind::Unreadable(e.to_string()) }),
            }
        }
        Ok(())
    }

    /// The packs, and what lies between them.
    fn pack_names(&self) -> Result<(Vec<PackId>, Vec<Damage>), StoreError> {
        let (packs, strays) = self.objects().packs().names()?;
        let path = |name: &[u8]| self.objects().packs().path().join(std::ffi::OsStr::from_bytes(name));
        let damage = strays.iter().map(|name| Damage { path: path(name), kind: DamageKind::Stray });
        Ok((packs, damage.collect()))
    }

    fn verify_tree(
        &self,
        path: &Path,
        id: TreeId,
        found: &mut FoundDamage,
        progress: &dyn Progress,
    ) -> io::Result<Option<DamageKind>> {
        let bytes = paths::read(path).map_err(|e| e.source)?;
        progress.advance(bytes.len() as u64);
        if TreeId::of(&bytes) != id {
            return Ok(Some(DamageKind::Bytes));
        }
        let tree = match Tree::from_bytes(bytes).and_then(|tree| tree.check().map(|()| tree)) {
            Ok(tree) => tree,
            Err(e) => return Ok(Some(DamageKind::Tree(e.to_string()))),
        };
        for n in (0..tree.node_count()).map(Node) {
            if let Some(object) = tree.object(n) {
                found.needed.insert(object, (tree.stat(n).size, id));
            }
        }
        Ok(None)
    }

    /// The trees that worktrees name in their manifests, and that are not there.
    pub fn missing_trees(&self, roots: &[Root]) -> Vec<Damage> {
        let mut damage = Vec::new();
        for root in roots {
            let RootState::Live(manifest) = &root.state else { continue };
            for tree in manifest.trees() {
                let needed_by = || format!("worktree {}", escape(manifest.worktree.as_os_str().as_bytes()));
                damage.extend(self.absence(tree, needed_by));
            }
        }
        damage
    }

    /// The damage if a tree is not there, or can't be looked at.
    fn absence(&self, tree: TreeId, needed_by: impl FnOnce() -> String) -> Option<Damage> {
        let kind = match self.has_tree(tree) {
            Ok(true) => return None,
            Ok(false) => DamageKind::Missing { needed_by: needed_by() },
            Err(e) => DamageKind::Unreadable(e.to_string()),
        };
        Some(Damage { path: self.tree_path(tree), kind })
    }

    fn verify_entries(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damage = Vec::new();
        for name in paths::list(&self.path().join("entries"))? {
            let path = self.path().join("entries").join(std::ffi::OsStr::from_bytes(&name.name));
            let entry = std::str::from_utf8(&name.name).ok().map(|name| self.entries().get(name));
            let kind = match entry {
                Some(Ok(found)) => {
                    damage.extend(found.and_then(|e| self.absence(e.tree, || format!("entry {}", e.name))));
                    continue;
                }
                None | Some(Err(StoreError::EntryName(_))) => DamageKind::Stray,
                Some(Err(e)) => DamageKind::Unreadable(e.to_string()),
            };
            damage.push(Damage { path, kind });
        }
        Ok(damage)
    }
}

/// Compares an object's bytes with its name; its file, when they are others.
fn verify_object(path: &Path, id: ObjectId, buf: &mut [u8], progress: &dyn Progress) -> io::Result<Option<Stat>> {
    let file: OwnedFd = fs::open_path(path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK, 0)?;
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    loop {
        match fs::read_at(&file, buf, at)? {
            0 => break,
            n => {
                hasher.update(&buf[..n]);
                progress.advance(n as u64);
                at += n as u64;
            }
        }
    }
    if ObjectId(*hasher.finalize().as_bytes()) == id {
        return Ok(None);
    }
    fs::stat(&file).map(Some)
}

/// Compares a pack's index with its name, and each object that is here with its own; notes those that are damaged.
fn verify_pack(
    path: &Path,
    id: PackId,
    buf: &mut Vec<u8>,
    lost: &Lost,
    progress: &dyn Progress,
) -> Result<Option<DamageKind>, StoreError> {
    let (pack, file) = match Pack::open(id, path) {
        Ok(opened) => opened,
        Err(StoreError::BadPack { source, .. }) => return Ok(Some(DamageKind::Pack(source.to_string()))),
        Err(e) => return Err(e),
    };
    if !pack.has_sound_index() {
        return Ok(Some(DamageKind::Bytes));
    }
    let file = Arc::new(file);
    let mut records: Vec<PackRecord> = pack.records().filter(|record| !pack.may_get(&record.id)).collect();
    records.sort_unstable_by_key(|r| r.offset);
    // A run that stops half-way reads other objects each time.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos() as usize);
    let begin = seed % records.len().max(1);
    records.rotate_left(begin);
    let mut bad = Vec::new();
    for record in records {
        if progress.is_cancelled() && bad.is_empty() {
            return Err(StoreError::Cancelled);
        }
        progress.advance_file(record.len.into());
        let len = record.len as usize;
        if buf.len() < len && pack.holds(&record) {
            buf.resize(len, 0);
        }
        let read = |buf: &mut [u8]| pack.holds(&record) && record.in_pack(file.clone()).read_at(buf, 0).is_ok();
        let is_whole = buf.get_mut(..len).is_some_and(|buf| read(buf) && ObjectId::of(buf) == record.id);
        if !is_whole {
            lost.note(&record.id, None);
            bad.push(record.id);
        }
    }
    Ok(bad.iter().min().map(|object| DamageKind::Packed { object: *object, of: bad.len() }))
}
