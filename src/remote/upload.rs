//! The new bytes of a push: checked first, then sent.

use std::collections::HashSet;
use std::path::PathBuf;

use ignore::gitignore::Gitignore;

use super::entry::{PART, RemoteObject, RemotePack, RemoteTree};
use super::layout::{self, ObjectStat};
use super::opened::OpenRemote;
use super::pack::{BuiltPack, LARGEST_OBJECT, LARGEST_PACK, PackBuilder, PackTail};
use super::secrets::{self, RefusedFile};
use super::{RemoteError, frames};
use crate::store::import::{Holds, PathScan};
use crate::store::{ObjectId, Progress, Store, StoreError, Tree};
use crate::sys::IoError;
use crate::sys::fs::{FileType, Timespec};
use crate::sys::{spawn, time};

/// Packs or parts that are sent at once.
const AT_ONCE: usize = 3;
const BUFFER: usize = 1 << 20;

/// The objects of a tree that a remote lacks, in the tree's order.
pub struct Fresh {
    small: Vec<(ObjectId, u64)>,
    large: Vec<(ObjectId, u64)>,
    /// The files that have them.
    pub files: Vec<PathBuf>,
    pub bytes: u64,
}

impl Fresh {
    /// Looks at a tree, and at the bytes that the remote lacks.
    ///
    /// # Errors
    /// [`RemoteError::Refused`] names all files that must not be pushed; an object cannot be read; a signal came.
    pub fn of(
        store: &Store,
        tree: &Tree,
        is_known: &dyn Fn(&ObjectId) -> bool,
        scans: &[PathScan],
        allow: &Gitignore,
        progress: &dyn Progress,
    ) -> Result<Fresh, RemoteError> {
        let mut refused = secrets::named(tree, allow);
        let mut fresh = Fresh { small: Vec::new(), large: Vec::new(), files: Vec::new(), bytes: 0 };
        let (mut seen, mut buffer, mut failed) = (HashSet::new(), vec![0; BUFFER], None);
        secrets::each_file(tree, |path, _, node| {
            if failed.is_some() {
                return;
            }
            let holds = |yes: bool| yes && !secrets::is_allowed(allow, path);
            if tree.kind(node) == Some(FileType::Symlink) {
                if holds(scans.iter().any(|scan| scan.is_target(tree.target(node)))) {
                    refused.push(RefusedFile { path: path.into(), holds_path: true });
                }
                return;
            }
            let Some(id) = tree.object(node).filter(|id| !is_known(id) && seen.insert(*id)) else { return };
            let size = tree.stat(node).size;
            match holds_path(store, &id, size, scans, &mut buffer, progress) {
                Ok(yes) if holds(yes) => refused.push(RefusedFile { path: path.into(), holds_path: true }),
                Ok(_) => {}
                Err(e) => failed = Some(e),
            }
            fresh.files.push(path.into());
            fresh.bytes += size;
        });
        if let Some(e) = failed {
            return Err(e);
        }
        if !refused.is_empty() {
            refused.sort_by(|a, b| a.path.cmp(&b.path));
            return Err(RemoteError::Refused(refused));
        }
        fresh.order(tree, &seen);
        Ok(fresh)
    }

    /// Puts the objects into the order of the tree's nodes, which is that of a walk.
    fn order(&mut self, tree: &Tree, wanted: &HashSet<ObjectId>) {
        let mut seen = HashSet::new();
        for node in (0..tree.node_count()).map(crate::store::Node) {
            let Some(id) = tree.object(node).filter(|id| wanted.contains(id) && seen.insert(*id)) else { continue };
            let size = tree.stat(node).size;
            if size > LARGEST_OBJECT { &mut self.large } else { &mut self.small }.push((id, size));
        }
    }
}

/// Whether an object holds one of the paths.
fn holds_path(
    store: &Store,
    id: &ObjectId,
    size: u64,
    scans: &[PathScan],
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<bool, RemoteError> {
    if scans.is_empty() {
        return Ok(false);
    }
    let content = store.objects().awaited_content_of(id, size)?;
    let failed = |e| StoreError::from(IoError::of("read", &store.objects().path_of(id))(e));
    let mut files: Vec<_> = scans.iter().map(PathScan::file).collect();
    let mut at = 0;
    while !files.is_empty() {
        if progress.is_cancelled() {
            return Err(RemoteError::Interrupted);
        }
        let n = content.read_at(buffer, at).map_err(failed)?;
        if n == 0 {
            break;
        }
        files.iter_mut().for_each(|file| file.see(&buffer[..n]));
        at += n as u64;
    }
    Ok(files.into_iter().any(|file| file.end() != Holds::Nothing))
}

/// Sends bytes to a remote.
pub struct Uploads<'a> {
    pub remote: &'a OpenRemote,
    pub store: &'a Store,
    pub now: Timespec,
    pub progress: &'a dyn Progress,
}

/// The remote objects that were sent.
#[derive(Default)]
pub struct Sent {
    /// Each with its objects.
    pub packs: Vec<(RemotePack, Vec<ObjectId>)>,
    pub large: Vec<RemoteObject>,
}

impl Uploads<'_> {
    /// Sends objects: the small ones in packs.
    ///
    /// # Errors
    /// The remote does not answer, or the store lacks an object.
    pub fn send(&self, fresh: &Fresh) -> Result<Sent, RemoteError> {
        self.progress.begin("pushing to the remote", Some(fresh.bytes));
        let (mut sent, mut builder, mut built) = (Sent::default(), PackBuilder::default(), Vec::new());
        for (id, size) in &fresh.small {
            builder.add(*id, &self.read(id, *size, 0, *size)?);
            if builder.is_full() {
                built.push(std::mem::take(&mut builder).finish());
            }
            if built.len() == AT_ONCE {
                self.packs(&mut built, &mut sent)?;
            }
        }
        if !builder.is_empty() {
            built.push(builder.finish());
        }
        self.packs(&mut built, &mut sent)?;
        for (id, size) in &fresh.large {
            sent.large.push(self.large(*id, *size)?);
        }
        Ok(sent)
    }

    /// Bytes of an object of the store.
    fn read(&self, id: &ObjectId, size: u64, at: u64, len: u64) -> Result<Vec<u8>, RemoteError> {
        if self.progress.is_cancelled() {
            return Err(RemoteError::Interrupted);
        }
        let content = self.store.objects().awaited_content_of(id, size)?;
        let mut bytes = vec![0; len as usize];
        let failed = |e| StoreError::from(IoError::of("read", &self.store.objects().path_of(id))(e));
        let mut done = 0;
        while done < bytes.len() {
            match content.read_at(&mut bytes[done..], at + done as u64).map_err(failed)? {
                0 => return Err(StoreError::NoObject(*id).into()),
                n => done += n,
            }
        }
        // Bytes that the disk has changed are pushed under no name.
        if len == size && ObjectId::of(&bytes) != *id {
            return Err(StoreError::BadObject { id: *id, why: crate::store::OTHER_BYTES }.into());
        }
        self.progress.advance(len);
        Ok(bytes)
    }

    fn packs(&self, built: &mut Vec<BuiltPack>, sent: &mut Sent) -> Result<(), RemoteError> {
        let packs = spawn::try_map(built, AT_ONCE, |pack| self.pack(pack))?;
        let ids = |pack: &BuiltPack| pack.records.iter().map(|record| record.id).collect();
        sent.packs.extend(packs.into_iter().zip(built.drain(..)).map(|(remote, pack)| (remote, ids(&pack))));
        Ok(())
    }

    fn pack(&self, pack: &BuiltPack) -> Result<RemotePack, RemoteError> {
        let key = layout::pack(&layout::month(self.now), &pack.id);
        let mut named = RemotePack {
            id: pack.id,
            key,
            size: pack.bytes.len() as u64,
            index: pack.index,
            used: pack.records.len() as u64,
            made: time::rfc3339(self.now),
        };
        if let Some(stat) = self.create_or_stat(&named.key, pack.bytes.clone())? {
            self.is_there(&mut named, stat)?;
        }
        Ok(named)
    }

    /// Makes an object; the facts of one that is there already.
    fn create_or_stat(&self, key: &str, bytes: Vec<u8>) -> Result<Option<ObjectStat>, RemoteError> {
        if self.remote.client.create(key, bytes)? {
            return Ok(None);
        }
        let gone = || self.remote.damaged(key, "it can neither be made nor read");
        self.remote.client.stat(key)?.ok_or_else(gone).map(Some)
    }

    /// Makes an object in zstd. Returns when it was made, now or earlier, in seconds since 1970: the remote may delete
    /// an object that was there before one that is new.
    ///
    /// # Errors
    /// The remote does not answer.
    pub fn create_or_time(&self, key: &str, content: &[u8]) -> Result<i64, RemoteError> {
        let there = self.create_or_stat(key, frames::compress(content))?;
        Ok(there.map_or(self.now.sec, |stat| stat.modified.min(self.now.sec)))
    }

    /// Another machine has pushed the pack, perhaps in frames of other sizes.
    fn is_there(&self, pack: &mut RemotePack, stat: ObjectStat) -> Result<(), RemoteError> {
        let gone = || self.remote.damaged(&pack.key, "it can neither be made nor read");
        let bytes = self.remote.client.get(&pack.key, None, LARGEST_PACK)?.ok_or_else(gone)?;
        let frames = frames::read_table(&bytes, stat.size).unwrap_or_default();
        let index = frames
            .last()
            .map(|frame| frame.at)
            .ok_or_else(|| self.remote.damaged(&pack.key, "its seek table is damaged"))?;
        let tail = bytes.get(index as usize..).unwrap_or_default();
        PackTail::read(&pack.id, tail, stat.size).map_err(|why| self.remote.damaged(&pack.key, why))?;
        (pack.size, pack.index) = (stat.size, index);
        pack.made = time::rfc3339(Timespec { sec: stat.modified.min(self.now.sec), nsec: 0 });
        Ok(())
    }

    fn large(&self, id: ObjectId, size: u64) -> Result<RemoteObject, RemoteError> {
        let mut object = RemoteObject { id, month: layout::month(self.now), size, made: time::rfc3339(self.now) };
        self.check_large(&id, size)?;
        let numbers: Vec<u64> = (0..object.parts()).collect();
        let made = spawn::try_map(&numbers, AT_ONCE, |n| {
            let bytes = self.read(&id, size, n * PART, object.part_len(*n))?;
            self.create_or_time(&layout::object(&object.month, &id, *n), &bytes)
        })?;
        let sec = made.into_iter().min().unwrap_or(self.now.sec);
        object.made = time::rfc3339(Timespec { sec, nsec: 0 });
        Ok(object)
    }

    /// Damaged bytes of a large file are not pushed.
    fn check_large(&self, id: &ObjectId, size: u64) -> Result<(), RemoteError> {
        let content = self.store.objects().awaited_content_of(id, size)?;
        let failed = |e| StoreError::from(IoError::of("read", &self.store.objects().path_of(id))(e));
        match ObjectId::of_extent(&content).map_err(failed)? == *id {
            true => Ok(()),
            false => Err(StoreError::BadObject { id: *id, why: crate::store::OTHER_BYTES }.into()),
        }
    }

    /// Sends the tree. Returns when it was made, too.
    ///
    /// # Errors
    /// The remote does not answer.
    pub fn tree(&self, tree: &Tree) -> Result<(RemoteTree, i64), RemoteError> {
        let named = RemoteTree {
            id: tree.id(),
            key: layout::tree(&layout::month(self.now), &tree.id()),
            size: tree.bytes().len() as u64,
        };
        let made = self.create_or_time(&named.key, tree.bytes())?;
        Ok((named, made))
    }
}
