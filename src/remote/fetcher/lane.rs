//! One lane of a fetcher: requests for pieces, one after the other. Bytes that arrive are compared with their names and
//! become part of the store.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::catalog::{Piece, RemoteNumber};
use super::work::{JobOutcome, LaneJob};
use crate::remote::entry::RemoteObject;
use crate::remote::fetch::EntryFetch;
use crate::remote::limits::ClientLimits;
use crate::remote::opened::OpenRemote;
use crate::remote::pack::FrameObjects;
use crate::remote::source::SourceRemote;
use crate::remote::{RemoteError, RemoteLimits, RemoteSpec};
use crate::store::{ObjectId, PackId, Store};

/// The remotes that are open; one that failed is opened anew, for new connections and new credentials.
#[derive(Default)]
pub struct OpenRemotes {
    open: Mutex<HashMap<RemoteNumber, Arc<OpenRemote>>>,
    /// Requests and bytes of those that were closed.
    before: Mutex<(u64, u64)>,
}

impl OpenRemotes {
    fn open(&self, task: &LaneTask) -> Result<Arc<OpenRemote>, RemoteError> {
        let mut open = self.open.lock();
        if let Some(known) = open.get(&task.job.remote) {
            return Ok(known.clone());
        }
        let spec = RemoteSpec { limits: task.limits, ..task.remote.spec() };
        let new = Arc::new(OpenRemote::open_with(&spec, ClientLimits::of_fetcher())?);
        open.insert(task.job.remote, new.clone());
        Ok(new)
    }

    /// Closes a remote: the next request is sent over a new connection.
    pub fn close(&self, number: RemoteNumber) {
        if let Some(closed) = self.open.lock().remove(&number) {
            let mut before = self.before.lock();
            *before = sum(*before, &closed);
        }
    }

    /// Requests until now, and the bytes that came.
    pub fn traffic(&self) -> (u64, u64) {
        let before = *self.before.lock();
        self.open.lock().values().fold(before, |all, remote| sum(all, remote))
    }
}

fn sum(before: (u64, u64), of: &OpenRemote) -> (u64, u64) {
    let traffic = of.traffic();
    (before.0 + traffic.requests, before.1 + traffic.received)
}

/// A job with everything that a lane needs to know of it.
pub struct LaneTask {
    pub job: LaneJob,
    pub remote: SourceRemote,
    pub limits: RemoteLimits,
    pub of: LaneWork,
}

/// The kind of a job's pieces.
pub enum LaneWork {
    /// A pack, its frames, and its key.
    Frames(PackId, Arc<Vec<FrameObjects>>, String),
    Large(RemoteObject),
}

/// Does a job.
pub fn run(task: &LaneTask, store: &Store, open: &OpenRemotes) -> JobOutcome {
    let remote = open.open(task)?;
    let outcome = match &task.of {
        LaneWork::Frames(pack, frames, key) => bring_frames(task, store, &remote, (pack, frames, key)),
        LaneWork::Large(object) => bring_large(store, &remote, object)
            .map(|()| Ok(()))
            .map(|done| task.job.pieces.iter().map(|piece| (*piece, done.clone())).collect()),
    };
    if matches!(outcome, Err(RemoteError::Unreachable { .. } | RemoteError::Denied { .. })) {
        open.close(task.job.remote);
    }
    outcome
}

fn bring_large(store: &Store, remote: &OpenRemote, object: &RemoteObject) -> Result<(), RemoteError> {
    if store.objects().contains_whole(&object.id, object.size) {
        return Ok(());
    }
    let stage = store.stage()?;
    let get = EntryFetch { remote, store, progress: &() }.large(&stage, object);
    get.map_err(|e| is_reachable(remote).err().unwrap_or(e))?;
    stage.publish()?;
    Ok(())
}

fn bring_frames(
    task: &LaneTask,
    store: &Store,
    remote: &OpenRemote,
    (pack, frames, key): (&PackId, &[FrameObjects], &str),
) -> JobOutcome {
    let pieces = task.job.pieces.iter().filter_map(|piece| match piece {
        Piece::Frame(_, n) => Some((*piece, frames.get(*n)?)),
        Piece::Large(_) => None,
    });
    let pieces: Vec<(Piece, &FrameObjects)> = pieces.collect();
    let starts = pieces.iter().map(|(_, frame)| frame.place().start).min().unwrap_or(0);
    let ends = pieces.iter().map(|(_, frame)| frame.place().end).max().unwrap_or(0);
    let run = starts..ends;
    let get = EntryFetch { remote, store, progress: &() }.get(key, Some(run.clone()), ends - starts);
    let bytes = get.map_err(|e| is_reachable(remote).err().unwrap_or(e))?;
    let mut done = Vec::new();
    for (piece, frame) in pieces {
        let outcome = match frame.content(&bytes, &run) {
            Ok(content) => Ok(fill(store, pack, frame, &content)?),
            Err(why) => Err(remote.damaged(key, &why).to_string()),
        };
        done.push((piece, outcome));
    }
    Ok(done)
}

/// Of a remote whose directory is not mounted, everything is gone: that is no damage.
fn is_reachable(remote: &OpenRemote) -> Result<(), RemoteError> {
    match remote.settings() {
        Ok(_) | Err(RemoteError::Version { .. } | RemoteError::Damaged { .. }) => Ok(()),
        Err(RemoteError::NotSetUp { remote }) => {
            Err(RemoteError::Unreachable { remote, why: "it has no remote.json now".into() })
        }
        Err(e) => Err(e),
    }
}

/// Puts the objects of a frame that are not here into their pack.
fn fill(store: &Store, pack: &PackId, frame: &FrameObjects, content: &[u8]) -> Result<(), RemoteError> {
    let is_new =
        |(id, place): &&(ObjectId, std::ops::Range<usize>)| !store.objects().contains_whole(id, place.len() as u64);
    let objects: Vec<(ObjectId, &[u8])> =
        frame.objects.iter().filter(is_new).map(|(id, place)| (*id, &content[place.clone()])).collect();
    if objects.is_empty() {
        return Ok(());
    }
    Ok(store.fill(pack, &objects)?)
}
