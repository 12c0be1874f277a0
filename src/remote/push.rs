//! A tree of the store becomes an entry of a remote.
//!
//! | step                                                | a crash right after it leaves           |
//! |-----------------------------------------------------|-----------------------------------------|
//! | 1. names and new bytes of all entries are checked   | nothing                                 |
//! | 2. packs, files over 8 MiB, the tree, the times     | objects that nothing names: they age out |
//! | 3. the entry                                        | done                                    |
//!
//! An object that is there already has the same bytes: its name is their hash. Of two that push the same entry, the first
//! one wins. Bytes that an entry of the same line has are not sent again, as long as they are young enough.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use super::entry::{RemoteEntry, RemoteObject, RemotePack, RemoteProvenance, RemoteTimes, RemoteTree};
use super::fetch::AT_ONCE;
use super::opened::{OpenRemote, RemoteSettings};
use super::times::TrackedTimes;
use super::upload::{Fresh, Uploads};
use super::{RemoteCheckout, RemoteError, fetcher, layout, secrets, sign};
use crate::store::import::PathScan;
use crate::store::{ObjectId, PackId, Progress, Store, Tree, TreeId};
use crate::sys::fs::Timespec;
use crate::sys::{spawn, time};

/// An entry that would name more packs gets new ones for all its objects.
const MOST_PACKS: usize = 16;

/// How to push.
pub struct PushOptions {
    /// The line that is pushed to.
    pub line: String,
    /// Patterns of files that may be pushed though they are refused otherwise.
    pub allow: Vec<String>,
    /// Paths of this machine that no pushed file may hold.
    pub roots: Vec<PathBuf>,
    /// Nothing is sent.
    pub dry_run: bool,
}

/// An entry to be.
pub struct PushItem {
    pub place: String,
    pub tree: Option<TreeId>,
    pub checkout: Option<RemoteCheckout>,
    pub provenance: RemoteProvenance,
}

/// The result of pushing one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOutcome {
    /// It was there.
    pub was_there: bool,
    /// The reason why the entry that is there cannot be used; it is not replaced.
    pub unusable: Option<String>,
    /// Files whose bytes the remote did not have, relative to the artifact.
    pub new_files: Vec<PathBuf>,
    pub new_bytes: u64,
}

/// The packs and large files that the remote has.
#[derive(Default)]
struct PushBase {
    packs: BTreeMap<PackId, RemotePack>,
    packed: HashMap<ObjectId, PackId>,
    large: HashMap<ObjectId, RemoteObject>,
}

/// Pushes entries to one line of a remote.
pub struct Pusher<'a> {
    remote: &'a OpenRemote,
    store: &'a Store,
    options: &'a PushOptions,
    settings: RemoteSettings,
    scans: Vec<PathScan>,
    allow: ignore::gitignore::Gitignore,
    now: Timespec,
    base: PushBase,
    /// Packs and large files of the entries until now.
    named: (BTreeMap<PackId, RemotePack>, HashMap<ObjectId, RemoteObject>),
    /// With the time when they were made.
    times: Option<(RemoteTimes, i64)>,
    progress: &'a dyn Progress,
}

impl<'a> Pusher<'a> {
    /// Begins to push to a remote that was set up.
    ///
    /// # Errors
    /// The line has no sound name; the remote does not answer.
    pub fn new(
        remote: &'a OpenRemote,
        store: &'a Store,
        options: &'a PushOptions,
        progress: &'a dyn Progress,
    ) -> Result<Pusher<'a>, RemoteError> {
        if !layout::is_line(&options.line) {
            let why = format!("{:?} is no name of a line", options.line);
            return Err(RemoteError::Spec { remote: remote.spec.name.clone(), why });
        }
        if remote.spec.signers.is_some() && remote.spec.signing_key.is_none() {
            // Its entries would be used by nobody, and take their names for ever.
            let why = "it has signers, and your configuration names no signing-key for it".into();
            return Err(RemoteError::Spec { remote: remote.spec.name.clone(), why });
        }
        use std::os::unix::ffi::OsStrExt;
        Ok(Pusher {
            settings: remote.settings()?,
            remote,
            store,
            options,
            scans: options.roots.iter().filter_map(|root| PathScan::new(root.as_os_str().as_bytes())).collect(),
            allow: secrets::allowed(&options.allow).map_err(|why| {
                let remote = remote.spec.name.clone();
                RemoteError::Spec { remote, why: format!("allow: {why}") }
            })?,
            now: Timespec::now(),
            base: PushBase::default(),
            named: Default::default(),
            times: None,
            progress,
        })
    }

    /// Learns from the first entry of these places what the remote has.
    ///
    /// # Errors
    /// The remote does not answer.
    pub fn learn(&mut self, places: &[String]) -> Result<(), RemoteError> {
        let mut lines = vec![self.options.line.clone()];
        lines.extend(self.remote.spec.read.iter().filter(|line| **line != self.options.line).cloned());
        let found = self.remote.entries_of(&lines, places, &self.store.path().join("tmp"))?;
        match found.into_iter().find_map(Result::ok) {
            Some(entry) => self.learn_entry(&entry),
            None => Ok(()),
        }
    }

    fn learn_entry(&mut self, entry: &RemoteEntry) -> Result<(), RemoteError> {
        let is_young = |made: &str| time::from_rfc3339(made).is_some_and(|made| self.settings.is_young(made, self.now));
        let is_new = |pack: &&RemotePack| is_young(&pack.made) && !self.base.packs.contains_key(&pack.id);
        let packs: Vec<&RemotePack> = entry.packs.iter().filter(is_new).collect();
        // A pack that cannot be read is as good as none.
        let tails = spawn::try_map(&packs, AT_ONCE, |pack| Ok::<_, RemoteError>(self.remote.tail_of(pack).ok()))?;
        for (pack, tail) in packs.into_iter().zip(tails) {
            let Some(tail) = tail else { continue };
            self.base.packed.extend(tail.records().iter().map(|record| (record.id, pack.id)));
            self.base.packs.insert(pack.id, pack.clone());
        }
        self.base.large.extend(entry.objects.iter().filter(|o| is_young(&o.made)).map(|o| (o.id, o.clone())));
        Ok(())
    }

    /// Pushes the entries that are not there, with these times of tracked files. All are checked before the first byte is
    /// sent.
    ///
    /// # Errors
    /// [`RemoteError::Refused`] names the files of all entries, and nothing was sent; the remote does not answer, or the
    /// store lacks an object.
    pub fn push(&mut self, items: &[&PushItem], times: &TrackedTimes) -> Result<Vec<PushOutcome>, RemoteError> {
        let (mut outcomes, mut refused) = (Vec::new(), Vec::new());
        for item in items {
            match self.check(item) {
                Err(RemoteError::Refused(files)) => refused.extend(files),
                checked => outcomes.push(checked?),
            }
        }
        if !refused.is_empty() {
            return Err(RemoteError::Refused(refused));
        }
        if !self.options.dry_run {
            self.send_times(times)?;
            for (item, outcome) in items.iter().zip(&mut outcomes).filter(|(_, outcome)| !outcome.was_there) {
                *outcome = self.send(item)?;
            }
        }
        Ok(outcomes)
    }

    fn send_times(&mut self, times: &TrackedTimes) -> Result<(), RemoteError> {
        let (id, bytes) = times.bytes();
        let key = layout::times(&layout::month(self.now), &id);
        let made = self.uploads().create_or_time(&key, &bytes)?;
        self.times = Some((RemoteTimes { id, key, size: bytes.len() as u64 }, made));
        Ok(())
    }

    fn uploads(&self) -> Uploads<'a> {
        Uploads { remote: self.remote, store: self.store, now: self.now, progress: self.progress }
    }

    /// The outcome that pushing an entry will have, as far as is known before; nothing is sent.
    fn check(&mut self, item: &PushItem) -> Result<PushOutcome, RemoteError> {
        let lines = [self.options.line.clone()];
        let there =
            self.remote.entries_of(&lines, std::slice::from_ref(&item.place), &self.store.path().join("tmp"))?;
        if let Some(entry) = there.into_iter().next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e @ (RemoteError::Damaged { .. } | RemoteError::Untrusted { .. })) => {
                    let unusable = Some(e.to_string());
                    return Ok(PushOutcome { was_there: true, unusable, ..PushOutcome::default() });
                }
                Err(e) => return Err(e),
            };
            self.learn_entry(&entry)?;
            self.name(&entry.packs, &entry.objects);
            return Ok(PushOutcome { was_there: true, ..PushOutcome::default() });
        }
        let Some(id) = item.tree else { return Ok(PushOutcome::default()) };
        let tree = self.store.tree(id)?;
        self.bring_contents(&tree)?;
        Ok(outcome_of(&self.fresh(&tree, &self.scans)?))
    }

    /// Brings the contents of a tree that are not here, and that this remote lacks: they come from another one.
    fn bring_contents(&self, tree: &Tree) -> Result<(), RemoteError> {
        if self.store.source(&tree.id())?.is_none() {
            return Ok(());
        }
        let is_known = self.known_objects(tree);
        let missing = self.store.objects().missing_of(tree)?;
        let absent = missing.iter().filter_map(|node| Some((tree.object(*node)?, tree.stat(*node).size)));
        let absent: BTreeMap<ObjectId, u64> = absent.filter(|(id, _)| !is_known(id)).collect();
        fetcher::bring(self.store, &absent.into_iter().collect::<Vec<_>>(), self.progress)
    }

    /// Sends an entry that was checked.
    fn send(&mut self, item: &PushItem) -> Result<PushOutcome, RemoteError> {
        let (mut outcome, mut packs, mut objects, mut tree) = (PushOutcome::default(), Vec::new(), Vec::new(), None);
        if let Some(id) = item.tree {
            let opened = self.store.tree(id)?;
            // The bytes were searched by the check; the remote has those that the check did not search.
            let fresh = self.fresh(&opened, &[])?;
            outcome = outcome_of(&fresh);
            let sent = self.uploads().send(&fresh)?;
            for (pack, records) in sent.packs {
                self.base.packed.extend(records.iter().map(|id| (*id, pack.id)));
                self.base.packs.insert(pack.id, pack);
            }
            self.base.large.extend(sent.large.into_iter().map(|object| (object.id, object)));
            (packs, objects) = self.needed(&opened);
            tree = Some(self.uploads().tree(&opened)?);
        }
        self.name(&packs, &objects);
        if item.checkout.is_some() {
            (packs, objects) = self.all_named(packs, objects);
        }
        outcome.was_there = !self.entry(item, tree, packs, objects)?;
        Ok(outcome)
    }

    /// The objects of a tree that the remote lacks, and the search for paths of this machine in them.
    fn fresh(&self, tree: &Tree, scans: &[PathScan]) -> Result<Fresh, RemoteError> {
        Fresh::of(self.store, tree, &self.known_objects(tree), scans, &self.allow, self.progress)
    }

    /// Whether the remote has an object, and its entry may name that.
    fn known_objects(&self, tree: &Tree) -> impl Fn(&ObjectId) -> bool {
        let is_packed = self.known_packs(tree).is_some();
        move |id| self.base.large.contains_key(id) || is_packed && self.base.packed.contains_key(id)
    }

    /// How many packs of the base a tree needs, unless these are too many.
    fn known_packs(&self, tree: &Tree) -> Option<usize> {
        let used: HashSet<PackId> = tree.objects().filter_map(|id| self.base.packed.get(&id).copied()).collect();
        Some(used.len()).filter(|count| *count < MOST_PACKS)
    }

    /// The packs and large files that a tree needs.
    fn needed(&self, tree: &Tree) -> (Vec<RemotePack>, Vec<RemoteObject>) {
        let (mut used, mut large): (BTreeMap<PackId, u64>, Vec<RemoteObject>) = (BTreeMap::new(), Vec::new());
        let mut seen = HashSet::new();
        for id in tree.objects().filter(|id| seen.insert(*id)) {
            match (self.base.packed.get(&id), self.base.large.get(&id)) {
                (Some(pack), _) => *used.entry(*pack).or_default() += 1,
                (None, Some(object)) => large.push(object.clone()),
                (None, None) => {}
            }
        }
        let pack = |(id, used): (&PackId, &u64)| Some(RemotePack { used: *used, ..self.base.packs.get(id)?.clone() });
        (used.iter().filter_map(pack).collect(), large)
    }

    fn name(&mut self, packs: &[RemotePack], objects: &[RemoteObject]) {
        self.named.0.extend(packs.iter().map(|pack| (pack.id, RemotePack { used: 0, ..pack.clone() })));
        self.named.1.extend(objects.iter().map(|object| (object.id, object.clone())));
    }

    /// A commit names what the artifacts of its components need: the next push learns from it.
    fn all_named(
        &self,
        mut packs: Vec<RemotePack>,
        mut objects: Vec<RemoteObject>,
    ) -> (Vec<RemotePack>, Vec<RemoteObject>) {
        let own: HashSet<PackId> = packs.iter().map(|pack| pack.id).collect();
        packs.extend(self.named.0.values().filter(|pack| !own.contains(&pack.id)).cloned());
        let own: HashSet<ObjectId> = objects.iter().map(|object| object.id).collect();
        objects.extend(self.named.1.values().filter(|object| !own.contains(&object.id)).cloned());
        (packs, objects)
    }

    /// Makes the entry; `false` if another machine has made it meanwhile.
    fn entry(
        &self,
        item: &PushItem,
        tree: Option<(RemoteTree, i64)>,
        packs: Vec<RemotePack>,
        objects: Vec<RemoteObject>,
    ) -> Result<bool, RemoteError> {
        let made = packs.iter().map(|pack| &pack.made).chain(objects.iter().map(|object| &object.made));
        let others = [tree.as_ref().map(|(_, made)| *made), self.times.as_ref().map(|(_, made)| *made)];
        let made = made.filter_map(|made| time::from_rfc3339(made)).chain(others.into_iter().flatten());
        let oldest = made.chain([self.now.sec]).min().unwrap_or(self.now.sec);
        let until = Timespec { sec: self.settings.until(oldest), nsec: 0 };
        let entry = RemoteEntry {
            version: RemoteEntry::VERSION,
            line: self.options.line.clone(),
            place: item.place.clone(),
            made: time::rfc3339(self.now),
            until: time::rfc3339(until),
            tree: tree.map(|(tree, _)| tree),
            packs,
            objects,
            times: self.times.as_ref().map(|(times, _)| times.clone()),
            checkout: item.checkout.clone(),
            provenance: item.provenance.clone(),
        };
        let mut bytes = entry.text();
        let signature = self.signature(&bytes)?;
        bytes.push(b'\n');
        bytes.extend(signature.unwrap_or_default());
        self.remote.client.create(&layout::in_line(&entry.line, &entry.place), bytes)
    }

    /// The signature of an entry, which the remote's readers accept as far as is known here.
    fn signature(&self, text: &[u8]) -> Result<Option<Vec<u8>>, RemoteError> {
        let Some(key) = &self.remote.spec.signing_key else { return Ok(None) };
        let signature = sign::sign(text, key)?;
        if let Some(signers) = &self.remote.spec.signers {
            let verified = sign::verify(text, &signature, signers, &self.store.path().join("tmp"));
            verified.map_err(|why| RemoteError::Sign { key: key.clone(), why })?;
        }
        Ok(Some(signature))
    }
}

fn outcome_of(fresh: &Fresh) -> PushOutcome {
    PushOutcome { new_files: fresh.files.clone(), new_bytes: fresh.bytes, ..PushOutcome::default() }
}
