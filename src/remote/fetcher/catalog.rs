//! The packs and large files that trees with a source need, and the remotes that have them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::remote::entry::RemoteObject;
use crate::remote::pack::{FrameObjects, PackTail};
use crate::remote::source::{SourcePack, SourceRemote, TreeSource};
use crate::remote::{Completion, RemoteError};
use crate::store::pack::Pack;
use crate::store::{ObjectId, PackId, Store, TreeId};
use crate::sys::log::OrWarn;

/// A unit of work: the smallest that a remote is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// A frame of a pack, by its number.
    Frame(PackId, usize),
    Large(ObjectId),
}

/// The number of a remote in the catalog.
pub type RemoteNumber = usize;

/// Everything that sources name. It only grows while a fetcher lives.
#[derive(Default)]
pub struct Catalog {
    pub remotes: Vec<SourceRemote>,
    packs: HashMap<PackId, KnownRemotePack>,
    large: HashMap<ObjectId, (RemoteObject, Vec<RemoteNumber>)>,
    trees: HashMap<TreeId, Completion>,
}

/// A pack that a remote has, and this store not, or not all of it.
pub struct KnownRemotePack {
    pub frames: Arc<Vec<FrameObjects>>,
    objects: HashMap<ObjectId, usize>,
    size: u64,
    /// Its remotes, and its key there.
    copies: Vec<(RemoteNumber, String)>,
}

impl Catalog {
    /// Reads the sources that are new. Returns their trees.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn refresh(&mut self, store: &Store) -> Result<Vec<TreeId>, RemoteError> {
        let mut new = Vec::new();
        for tree in store.sources()? {
            if self.trees.contains_key(&tree) {
                continue;
            }
            let Some(source) = store.source(&tree)?.as_deref().and_then(TreeSource::parse) else { continue };
            self.add(store, &source);
            self.trees.insert(tree, source.completion);
            new.push(tree);
        }
        Ok(new)
    }

    fn add(&mut self, store: &Store, source: &TreeSource) {
        let remote = self.number_of(&source.remote);
        for SourcePack { pack, frames } in &source.packs {
            let known = match self.packs.get_mut(&pack.id) {
                Some(known) => known,
                None => {
                    let at = store.path().join("packs").join(pack.id.hex());
                    let opened = Pack::open(pack.id, &at).or_warn("a pack that is brought later cannot be read");
                    let records = opened.filter(|(pack, _)| pack.has_sound_index());
                    let tail = records.and_then(|(pack, _)| PackTail::of(frames, pack.records().collect()));
                    let Some(tail) = tail else { continue };
                    self.packs.entry(pack.id).or_insert_with(|| KnownRemotePack::of(&tail, pack.size))
                }
            };
            if !known.copies.iter().any(|(of, key)| *of == remote && *key == pack.key) {
                known.copies.push((remote, pack.key.clone()));
            }
        }
        for object in &source.objects {
            let (_, remotes) = self.large.entry(object.id).or_insert_with(|| (object.clone(), Vec::new()));
            if !remotes.contains(&remote) {
                remotes.push(remote);
            }
        }
    }

    fn number_of(&mut self, remote: &SourceRemote) -> RemoteNumber {
        self.remotes.iter().position(|known| known == remote).unwrap_or_else(|| {
            self.remotes.push(remote.clone());
            self.remotes.len() - 1
        })
    }

    /// The trees with a source.
    pub fn trees(&self) -> impl Iterator<Item = (TreeId, Completion)> + '_ {
        self.trees.iter().map(|(tree, completion)| (*tree, *completion))
    }

    /// Forgets a tree that needs no source any more; its packs stay for others.
    pub fn forget(&mut self, tree: &TreeId) {
        self.trees.remove(tree);
    }

    /// The pieces that hold an object.
    pub fn pieces_of(&self, id: &ObjectId) -> Vec<Piece> {
        let large = self.large.contains_key(id).then_some(Piece::Large(*id));
        let frame = |(of, pack): (&PackId, &KnownRemotePack)| Some(Piece::Frame(*of, *pack.objects.get(id)?));
        large.into_iter().chain(self.packs.iter().filter_map(frame)).collect()
    }

    /// The remotes that have a piece.
    pub fn remotes_of(&self, piece: &Piece) -> Vec<RemoteNumber> {
        match piece {
            Piece::Frame(pack, _) => {
                self.packs.get(pack).iter().flat_map(|pack| pack.copies.iter().map(|(of, _)| *of)).collect()
            }
            Piece::Large(id) => self.large.get(id).map(|(_, remotes)| remotes.clone()).unwrap_or_default(),
        }
    }

    /// A pack's frames, and its key at a remote.
    pub fn pack_at(&self, pack: &PackId, remote: RemoteNumber) -> Option<(Arc<Vec<FrameObjects>>, String)> {
        let known = self.packs.get(pack)?;
        let (_, key) = known.copies.iter().find(|(of, _)| *of == remote)?;
        Some((known.frames.clone(), key.clone()))
    }

    /// The place of a piece's bytes in its pack's remote object; a large file has none.
    pub fn place_of(&self, piece: &Piece) -> Option<Range<u64>> {
        let Piece::Frame(pack, n) = piece else { return None };
        Some(self.packs.get(pack)?.frames.get(*n)?.place())
    }

    /// A large file, as its entry names it.
    pub fn large(&self, id: &ObjectId) -> Option<RemoteObject> {
        self.large.get(id).map(|(object, _)| object.clone())
    }

    /// The objects of a piece.
    pub fn objects_of(&self, piece: &Piece) -> Vec<ObjectId> {
        match piece {
            Piece::Large(id) => vec![*id],
            Piece::Frame(pack, n) => {
                let frame = self.packs.get(pack).and_then(|pack| pack.frames.get(*n));
                frame.iter().flat_map(|frame| frame.objects.iter().map(|(id, _)| *id)).collect()
            }
        }
    }

    /// The pieces that bring these objects: those of small packs first, large files last.
    pub fn plan(&self, mut wanted: HashSet<ObjectId>) -> Vec<Piece> {
        let mut packs: Vec<(&PackId, &KnownRemotePack)> = self.packs.iter().collect();
        packs.sort_by_key(|(id, pack)| (pack.size, **id));
        let mut plan = Vec::new();
        for (id, pack) in packs {
            for (n, frame) in pack.frames.iter().enumerate() {
                let before = wanted.len();
                frame.objects.iter().for_each(|(id, _)| _ = wanted.remove(id));
                if wanted.len() < before {
                    plan.push(Piece::Frame(*id, n));
                }
            }
        }
        let mut large: Vec<ObjectId> = wanted.into_iter().filter(|id| self.large.contains_key(id)).collect();
        large.sort_by_key(|id| (self.large.get(id).map(|(object, _)| object.size), *id));
        plan.extend(large.into_iter().map(Piece::Large));
        plan
    }
}

impl KnownRemotePack {
    fn of(tail: &PackTail, size: u64) -> KnownRemotePack {
        let frames = tail.frames_with(|_| true);
        let ids = |(n, frame): (usize, &FrameObjects)| frame.objects.iter().map(|(id, _)| (*id, n)).collect::<Vec<_>>();
        let objects = frames.iter().enumerate().flat_map(ids).collect();
        KnownRemotePack { frames: Arc::new(frames), objects, size, copies: Vec::new() }
    }
}
