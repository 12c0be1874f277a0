//! The artifact of an entry comes into the store: its tree, and those of its objects that the store lacks.
//!
//! | step                                             | requests                                 |
//! |--------------------------------------------------|------------------------------------------|
//! | 1. the tree, the times                           | one each                                 |
//! | 2. the indexes of packs, while objects are absent | one for each pack                       |
//! | 3. the frames that hold absent objects           | one for each run of frames               |
//! | 4. absent files over 8 MiB                       | one for each part                        |
//! | 5. the objects get their names, then the tree    |                                          |
//!
//! The hash of an object's bytes is its name: other bytes are damage, and the entry is not used. A crash
//! leaves objects that nothing names.

use std::collections::HashMap;
use std::ops::Range;

use super::entry::{RemoteEntry, RemoteObject, RemotePack};
use super::opened::OpenRemote;
use super::pack::{FrameObjects, PackTail, SLACK, joins};
use super::times::TrackedTimes;
use super::{RemoteError, frames, layout};
use crate::store::{ObjectId, Progress, Stage, Store, Tree, TreeId};
use crate::sys::spawn;

/// Requests that run at once.
pub(super) const AT_ONCE: usize = 8;
/// The most that one request brings.
const RUN: u64 = 8 << 20;

/// Brings the tree of an entry, its objects now or later, and the times; nothing of one without a tree.
///
/// # Errors
/// The remote does not answer, or something of the entry is damaged or gone: the store has no new tree.
pub fn bring(
    remote: &OpenRemote,
    store: &Store,
    entry: &RemoteEntry,
    progress: &dyn Progress,
    contents: ContentPolicy,
) -> Result<(Option<TreeId>, Option<TrackedTimes>), RemoteError> {
    let Some(named) = &entry.tree else { return Ok((None, None)) };
    let fetch = EntryFetch { remote, store, progress };
    let is_here = match contents {
        ContentPolicy::Whole => store.is_complete(named.id)?,
        ContentPolicy::Later => store.is_usable(named.id)?,
    };
    // Together they take one round trip.
    let keys = entry.times.iter().map(|times| (&times.key, times.size));
    let keys: Vec<(&String, u64)> = keys.chain((!is_here).then_some((&named.key, named.size))).collect();
    let mut found = spawn::try_map(&keys, AT_ONCE, |(key, size)| fetch.whole(key, *size))?.into_iter();
    let times = entry.times.as_ref().and_then(|times| Some((times, found.next()?))).map(|(times, bytes)| {
        let is_its = ObjectId::of(&bytes) == times.id;
        let parsed = TrackedTimes::parse(&bytes).filter(|_| is_its);
        parsed.ok_or_else(|| remote.damaged(&times.key, "its bytes are not those of its name"))
    });
    let times = times.transpose()?;
    let Some(bytes) = found.next() else { return Ok((Some(named.id), times)) };
    let tree = Tree::from_bytes(bytes).ok().filter(|tree| tree.id() == named.id && tree.check().is_ok());
    let tree = tree.ok_or_else(|| remote.damaged(&named.key, "its bytes are not those of its name"))?;
    match contents {
        ContentPolicy::Whole => fetch.objects(entry, &tree, &named.key)?,
        ContentPolicy::Later => fetch.without_contents(entry, &tree, &named.key)?,
    }
    let id = store.put_tree_bytes(tree.bytes())?;
    Ok((Some(id), times))
}

/// Whether the contents of files come with their tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentPolicy {
    Whole,
    /// The fetcher brings them.
    Later,
}

/// Requests for the objects of one entry.
pub(super) struct EntryFetch<'a> {
    pub remote: &'a OpenRemote,
    pub store: &'a Store,
    pub progress: &'a dyn Progress,
}

impl EntryFetch<'_> {
    /// An object in one zstd frame of `size` bytes of content.
    fn whole(&self, key: &str, size: u64) -> Result<Vec<u8>, RemoteError> {
        let bytes = self.get(key, None, size + SLACK)?;
        frames::decompress(&bytes, size as usize)
            .ok_or_else(|| self.remote.damaged(key, "it is no zstd frame of its size"))
    }

    /// An object, or a range of one that is as long as requested.
    pub(super) fn get(&self, key: &str, range: Option<Range<u64>>, at_most: u64) -> Result<Vec<u8>, RemoteError> {
        let len = range.as_ref().map(|range| range.end - range.start);
        let bytes = self.remote.client.get(key, range, at_most)?;
        let bytes = bytes.ok_or_else(|| self.remote.damaged(key, "it is gone, though its entry names it"))?;
        if len.is_some_and(|len| len != bytes.len() as u64) {
            return Err(self.remote.damaged(key, "it is shorter than its entry says"));
        }
        self.progress.advance(bytes.len() as u64);
        Ok(bytes)
    }

    fn objects(&self, entry: &RemoteEntry, tree: &Tree, key: &str) -> Result<(), RemoteError> {
        let missing = self.store.objects().missing_of(tree)?;
        let mut absent: HashMap<ObjectId, u64> =
            missing.iter().filter_map(|n| Some((tree.object(*n)?, tree.stat(*n).size))).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let stage = self.store.stage()?;
        let large: Vec<&RemoteObject> = entry.objects.iter().filter(|o| absent.get(&o.id) == Some(&o.size)).collect();
        let runs = self.runs(entry, &absent)?;
        let of_large = large.iter().fold(0u64, |all, object| all.saturating_add(object.size));
        let bytes = runs.iter().fold(of_large / 3, |all, run| all.saturating_add(run.at.end - run.at.start));
        self.progress.begin("fetching from the remote", Some(bytes));
        for some in runs.chunks(AT_ONCE) {
            let get = |run: &PackRun<'_>| self.get(&run.pack.key, Some(run.at.clone()), run.at.end - run.at.start);
            let contents = spawn::try_map(some, AT_ONCE, get)?;
            for (run, bytes) in some.iter().zip(contents) {
                self.check_cancelled()?;
                self.add(&stage, run, &bytes, &mut absent)?;
            }
        }
        for object in large {
            self.large(&stage, object)?;
            absent.remove(&object.id);
        }
        if let Some(id) = absent.keys().next() {
            return Err(self.remote.damaged(key, &format!("no pack of its entry holds its object {id}")));
        }
        stage.publish()?;
        Ok(())
    }

    /// The runs of frames that hold absent objects, each object in one of them.
    fn runs<'e>(
        &self,
        entry: &'e RemoteEntry,
        absent: &HashMap<ObjectId, u64>,
    ) -> Result<Vec<PackRun<'e>>, RemoteError> {
        // A commit names the packs of its components' artifacts, too.
        let packs: Vec<&RemotePack> = entry.packs.iter().filter(|pack| pack.used > 0).collect();
        let tails = spawn::try_map(&packs, AT_ONCE, |pack| self.tail(pack))?;
        let (mut runs, mut named): (Vec<PackRun<'_>>, _) = (Vec::new(), std::collections::HashSet::new());
        for (pack, tail) in packs.into_iter().zip(tails) {
            for frame in tail.frames_with(|id| absent.contains_key(id) && named.insert(*id)) {
                let at = frame.place();
                match runs.last_mut() {
                    Some(PackRun { pack: last, at: run, frames }) if last.key == pack.key && joins(run, &at, RUN) => {
                        run.end = at.end;
                        frames.push(frame);
                    }
                    _ => runs.push(PackRun { pack, at, frames: vec![frame] }),
                }
            }
        }
        Ok(runs)
    }

    /// The end of a pack.
    pub(super) fn tail(&self, pack: &RemotePack) -> Result<PackTail, RemoteError> {
        let tail = self.remote.tail_of(pack)?;
        self.progress.advance(pack.size - pack.index);
        Ok(tail)
    }

    /// Adds the objects of a run.
    fn add(
        &self,
        stage: &Stage,
        run: &PackRun<'_>,
        bytes: &[u8],
        absent: &mut HashMap<ObjectId, u64>,
    ) -> Result<(), RemoteError> {
        let damaged = |why: &str| self.remote.damaged(&run.pack.key, why);
        for frame in &run.frames {
            let content = frame.content(bytes, &run.at).map_err(|why| damaged(&why))?;
            for (id, place) in &frame.objects {
                let object = &content[place.clone()];
                if absent.remove(id) != Some(object.len() as u64) {
                    return Err(damaged(&format!("the object {id} has another length than the tree says")));
                }
                stage.add_bytes(object)?;
            }
        }
        Ok(())
    }

    /// A file over 8 MiB, part by part.
    pub(super) fn large(&self, stage: &Stage, object: &RemoteObject) -> Result<(), RemoteError> {
        let mut writer = stage.writer();
        for first in (0..object.parts()).step_by(AT_ONCE / 2) {
            let some: Vec<u64> = (first..object.parts()).take(AT_ONCE / 2).collect();
            let parts = spawn::try_map(&some, AT_ONCE / 2, |n| {
                self.check_cancelled()?;
                self.whole(&layout::object(&object.month, &object.id, *n), object.part_len(*n))
            })?;
            parts.iter().try_for_each(|part| writer.write(part))?;
        }
        let added = writer.finish()?;
        match added.id == object.id {
            true => Ok(()),
            false => {
                let key = layout::object(&object.month, &object.id, 0);
                Err(self.remote.damaged(&key, "its bytes are not those of its name"))
            }
        }
    }

    fn check_cancelled(&self) -> Result<(), RemoteError> {
        if self.progress.is_cancelled() { Err(RemoteError::Interrupted) } else { Ok(()) }
    }
}

/// Frames of a pack that one request brings.
struct PackRun<'e> {
    pack: &'e RemotePack,
    at: Range<u64>,
    frames: Vec<FrameObjects>,
}
