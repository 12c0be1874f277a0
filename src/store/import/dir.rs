//! Imports a directory; one that was imported before costs one `fstatat` per file and reads what changed.
//!
//! | step                                  | a crash right after it leaves                          |
//! |---------------------------------------|--------------------------------------------------------|
//! | 1. scan, objects staged               | a stage in `tmp`, which gc removes                     |
//! | 2. objects published ([`Stage`])      | objects that nothing names, which gc removes           |
//! | 3. tree written, synced, named        | a tree that nothing names, which gc removes            |
//! | 4. snapshot written                   | nothing more                                           |

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::found::{DirFound, DirKey, FileFound, Findings, FoundEntry, path_in};
use super::lost::files_lost;
use super::place::{SourceDir, is_view};
use super::room;
use super::scan::{Job, Scan};
use super::shared::{KeptTrees, Shared};
use super::snapshot::{self, Ident, Previous, SeenDir};
use super::watch::PathScan;
use super::{Holding, Holds, ImportError, ImportStats, Imported};
use crate::store::tree::{BuildError, Item, NodeMeta, Slot, TreeBuilder, item_of, meta_of};
use crate::store::{Name, Node, Progress, Stage, Store, Tree, pool};
use crate::sys::fs::{self, FileType, Stat, Timespec};
use crate::sys::{IoError, path as paths};

/// Makes a tree of the directory at `path`. The bytes of files that didn't change since the last import of
/// the same path are not read; nor are those of files that a mounted view still shares with this store.
///
/// # Errors
/// The directory cannot be read, or the store cannot be written.
pub fn import_dir(store: &Store, path: &Path, progress: &dyn Progress) -> Result<Imported, ImportError> {
    import(store, path, None, None, progress)
}

/// As [`import_dir`], and reports which files hold the absolute path `watched`. The snapshot stores them, so that no
/// file is read to report it again; another path is searched for in all files anew.
///
/// # Errors
/// As [`import_dir`].
pub fn import_dir_watching(
    store: &Store,
    path: &Path,
    watched: &Path,
    progress: &dyn Progress,
) -> Result<Imported, ImportError> {
    import(store, path, Some(watched.as_os_str().as_bytes()), None, progress)
}

/// As [`import_dir_watching`], for a view at `path` that reports which files are unchanged: these are copied from its
/// trees. The outcome is the same; the cost grows with the number of changes.
pub(crate) fn import_shared(
    store: &Store,
    path: &Path,
    shared: &dyn Shared,
    watched: &Path,
    progress: &dyn Progress,
) -> Result<Imported, ImportError> {
    import(store, path, Some(watched.as_os_str().as_bytes()), Some(shared), progress)
}

fn import(
    store: &Store,
    path: &Path,
    watched: Option<&[u8]>,
    shared: Option<&dyn Shared>,
    progress: &dyn Progress,
) -> Result<Imported, ImportError> {
    let path = paths::canonical(path)?;
    let stage = store.stage()?;
    store.drop_damaged()?;
    let _flight = store.try_single_flight(&blake3::hash(path.as_os_str().as_bytes()), || progress.is_cancelled());
    let known = if shared.is_some() { None } else { Previous::load(store, &path) };
    let previous = known.filter(|p| watched.is_none_or(|w| w == p.watched()));
    // The path of the last search is searched for again: else the next import that watches it would read every file.
    let watched = watched.or(previous.as_ref().map(Previous::watched)).unwrap_or_default().to_vec();
    let watch = PathScan::new(&watched);
    let begun = Timespec::now();
    progress.begin("reading", None);
    let place = root_place(&path, shared)?;
    if previous.is_none() && !place.in_view {
        room::refuse_too_much(store, &path, &place.fd)?;
    }
    let view = shared.map(|shared| (shared, place.dev));
    let scan = Scan::new(&stage, store.objects(), previous.as_ref(), progress, watch.as_ref(), view);
    let root = root_job(place, previous.is_some())?;
    let found = pool::run(vec![root], Findings::default, |job, out, queue| scan.work(job, out, queue))?;
    let mut found = merge(found);
    found.skipped.sort_by(|a, b| a.path.cmp(&b.path));

    let is_unchanged = found.dirs.is_empty() && found.closed.is_empty();
    let (tree, holding) = match previous.as_ref().filter(|_| is_unchanged) {
        Some(previous) => (previous.tree.clone(), holding(&previous.tree, |n| previous.seen(n).holds)),
        None => {
            let (bytes, seen, kept) = Build::new(previous.as_ref(), &mut found, watch.as_ref(), view).run()?;
            found.stats.add(&kept);
            progress.begin("writing", None);
            found.stats.new_objects = publish(&stage, progress)?;
            store.drop_damaged()?;
            let tree = store.put_tree_bytes(&bytes)?;
            if shared.is_none() {
                snapshot::save(store, &path, tree, begun, &seen, &watched);
            }
            let tree = store.tree(tree)?;
            let holding = holding(&tree, |n| seen.get(n.0 as usize).map_or(Holds::Nothing, |s| s.holds));
            (tree, holding)
        }
    };
    found.stats.bytes = tree.content_bytes();
    let lost = if shared.is_some() { files_lost(store, &tree)? } else { vec![] };
    Ok(Imported { tree: tree.id(), stats: found.stats, skipped: found.skipped, holding, lost })
}

/// The names of all nodes that hold the path.
pub(super) fn holding(tree: &Tree, holds: impl Fn(Node) -> Holds) -> Vec<Holding> {
    let nodes = (0..tree.node_count()).map(|n| (Node(n), holds(Node(n)))).filter(|(_, holds)| *holds != Holds::Nothing);
    let mut found: Vec<Holding> = nodes
        .flat_map(|(n, holds)| tree.places(n).map(move |(dir, name)| Holding { path: path_in(tree, dir, name), holds }))
        .collect();
    found.sort();
    found
}

fn publish(stage: &Stage, progress: &dyn Progress) -> Result<u64, ImportError> {
    if progress.is_cancelled() {
        return Err(ImportError::Cancelled);
    }
    Ok(stage.publish()? as u64)
}

fn root_place(path: &Path, shared: Option<&dyn Shared>) -> Result<Arc<SourceDir>, ImportError> {
    let root = match shared {
        Some(shared) => fs::duplicate(shared.root().as_fd()).map_err(IoError::of("open", path))?,
        None => paths::open_dir(path)?,
    };
    let stat = fs::stat(&root).map_err(IoError::of("stat", path))?;
    let in_view = is_view(&root);
    Ok(Arc::new(SourceDir::root(path, root, in_view, stat.dev)))
}

fn root_job(place: Arc<SourceDir>, known: bool) -> Result<Job, ImportError> {
    let stat = fs::stat(&place.fd).map_err(|e| place.failed("stat", b"", e))?;
    let key = if known { DirKey::Before(Node::ROOT) } else { DirKey::New(0) };
    Ok(Job::Root { place, stat, key })
}

fn merge(parts: Vec<Findings>) -> Findings {
    let mut all = Findings::default();
    for part in parts {
        all.dirs.extend(part.dirs);
        all.files.extend(part.files);
        all.skipped.extend(part.skipped);
        all.closed.extend(part.closed);
        all.stats.add(&part.stats);
    }
    all
}

/// Puts together what was found and what stayed as it was.
struct Build<'a> {
    previous: Option<&'a Previous>,
    dirs: HashMap<DirKey, DirFound>,
    /// Directories that could not be read.
    closed: HashSet<DirKey>,
    files: HashMap<u32, FileFound>,
    builder: TreeBuilder,
    watched: Option<&'a PathScan>,
    /// A view's trees.
    kept: Option<KeptTrees<'a>>,
    /// Which file each slot is, and what it holds.
    seen: Vec<SeenDir>,
    /// Files that may have further names.
    linked: HashMap<Ident, Slot>,
}

impl<'a> Build<'a> {
    fn new(
        previous: Option<&'a Previous>,
        found: &mut Findings,
        watched: Option<&'a PathScan>,
        shared: Option<(&'a dyn Shared, u64)>,
    ) -> Build<'a> {
        let dirs = std::mem::take(&mut found.dirs);
        let files: HashMap<_, FileFound> = std::mem::take(&mut found.files).into_iter().collect();
        let kept = shared.map(|view| KeptTrees::new(view, files.values().map(|f| &f.stat), dirs.values()));
        let builder = TreeBuilder::new(NodeMeta::default());
        let closed = std::mem::take(&mut found.closed);
        Build { previous, dirs, closed, files, builder, watched, kept, seen: vec![], linked: HashMap::new() }
    }

    /// The tree's bytes, which file each node is, and the statistics of the nodes that were copied unread.
    fn run(mut self) -> Result<(Vec<u8>, Vec<SeenDir>, ImportStats), BuildError> {
        let root = if self.previous.is_some() { DirKey::Before(Node::ROOT) } else { DirKey::New(0) };
        let (meta, seen) = self.dir_meta(root);
        *self.builder.meta_mut(Slot::ROOT) = meta;
        self.seen.push(seen);
        let mut todo = vec![(Slot::ROOT, root)];
        while let Some((slot, key)) = todo.pop() {
            for (name, found) in self.names(key) {
                if self.is_left_out(&found) {
                    // As if it had changed: the next import meets what it lacks again.
                    self.seen[slot.index()].ident = Ident::default();
                } else if let FoundEntry::Dir(key) = found {
                    let (meta, seen) = self.dir_meta(key);
                    todo.push((self.add(slot, name, meta, Item::Dir, seen)?, key));
                } else {
                    self.leaf(slot, name, found)?;
                }
            }
        }
        let (bytes, slots) = self.builder.finish_numbered()?;
        let seen = slots.into_iter().map(|slot| self.seen[slot.index()]).collect();
        Ok((bytes, seen, self.kept.map(|kept| kept.stats).unwrap_or_default()))
    }

    /// Whether it is a directory or a file that could not be read.
    fn is_left_out(&self, found: &FoundEntry) -> bool {
        match found {
            FoundEntry::Dir(key) => self.closed.contains(key),
            FoundEntry::File(number) => !self.files.contains_key(number),
            _ => false,
        }
    }

    fn dir_meta(&mut self, key: DirKey) -> (NodeMeta, SeenDir) {
        if let (DirKey::Shared(number), Some(kept)) = (key, &mut self.kept) {
            return (kept.dir_meta(number), SeenDir::default());
        }
        match (self.dirs.get(&key), key, self.previous) {
            (Some(found), ..) => {
                (NodeMeta { xattrs: found.xattrs.clone(), ..meta_from(&found.stat) }, seen(&found.stat, Holds::Nothing))
            }
            (None, DirKey::Before(n), Some(previous)) => (meta_of(&previous.tree, n), previous.seen(n)),
            _ => (NodeMeta::default(), SeenDir::default()),
        }
    }

    /// The names of a directory: as found, or as they were.
    fn names(&mut self, key: DirKey) -> Vec<(Name, FoundEntry)> {
        if let (DirKey::Shared(number), Some(kept)) = (key, &self.kept) {
            return kept.names(number);
        }
        match (self.dirs.remove(&key), key, self.previous) {
            (Some(found), ..) => found.names,
            (None, DirKey::Before(dir), Some(previous)) => {
                let entries = previous.tree.entries(dir, 0).filter_map(|e| {
                    let is_dir = previous.tree.kind(e.node) == Some(FileType::Directory);
                    let found = if is_dir { FoundEntry::Dir(DirKey::Before(e.node)) } else { FoundEntry::Same(e.node) };
                    Some((Name::new(e.name).ok()?, found))
                });
                entries.collect()
            }
            _ => vec![],
        }
    }

    fn leaf(&mut self, dir: Slot, name: Name, found: FoundEntry) -> Result<(), BuildError> {
        let (meta, item, seen, nlink) = match found {
            FoundEntry::Same(n) => {
                let Some(previous) = self.previous else { return Ok(()) };
                let Some(item) = item_of(&previous.tree, n) else { return Ok(()) };
                // How many links it has now is not known: it may have another name that is found below.
                (meta_of(&previous.tree, n), item, previous.seen(n), 2)
            }
            FoundEntry::Shared(number) => {
                let Some(kept) = &mut self.kept else { return Ok(()) };
                let Some((meta, item, is_linked, holds)) = kept.leaf(number, self.watched) else { return Ok(()) };
                let ident = Ident { dev: kept.dev, ino: number, ctime: Timespec::default() };
                (meta, item, SeenDir { ident, holds }, if is_linked { 2 } else { 1 })
            }
            FoundEntry::File(number) => {
                let Some(file) = self.files.get(&number) else { return Ok(()) };
                let item = Item::File { object: file.object, size: file.stat.size, blocks: file.stat.blocks };
                let meta = NodeMeta { xattrs: file.xattrs.clone(), ..meta_from(&file.stat) };
                (meta, item, seen(&file.stat, file.holds), file.stat.nlink)
            }
            FoundEntry::Symlink(stat, target) => {
                let leads_in = self.watched.is_some_and(|w| w.is_target(&target));
                let seen = seen(&stat, if leads_in { Holds::Target } else { Holds::Nothing });
                (meta_from(&stat), Item::Symlink(target), seen, stat.nlink)
            }
            FoundEntry::Fifo(stat) => (meta_from(&stat), Item::Fifo, seen(&stat, Holds::Nothing), stat.nlink),
            FoundEntry::Dir(_) => return Ok(()),
        };
        let mut seen = seen;
        if self.kept.is_some() {
            // Not all names of a file were looked at: its number is what they have in common.
            seen.ident.ctime = Timespec::default();
        }
        if nlink > 1 {
            if let Some(slot) = self.linked.get(&seen.ident) {
                return self.builder.link(dir, name, *slot);
            }
            let slot = self.add(dir, name, meta, item, seen)?;
            self.linked.insert(seen.ident, slot);
            return Ok(());
        }
        self.add(dir, name, meta, item, seen).map(drop)
    }

    fn add(&mut self, dir: Slot, name: Name, meta: NodeMeta, item: Item, seen: SeenDir) -> Result<Slot, BuildError> {
        let slot = self.builder.add(dir, name, meta, item)?;
        self.seen.resize(slot.index() + 1, SeenDir::default());
        self.seen[slot.index()] = seen;
        Ok(slot)
    }
}

fn seen(stat: &Stat, holds: Holds) -> SeenDir {
    SeenDir { ident: Ident::of(stat), holds }
}

/// Permissions and the time. A file's set-id bits stay behind: a view belongs to the user that mounts it. A directory's
/// set-group-id bit only sets the group of new files in it.
fn meta_from(stat: &Stat) -> NodeMeta {
    let kept = if stat.is_dir() { 0o3777 } else { 0o1777 };
    NodeMeta { perm: stat.mode & kept, mtime: stat.mtime, xattrs: vec![] }
}
