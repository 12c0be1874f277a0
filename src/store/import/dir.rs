//! Imports a directory; one that was imported before costs one `fstatat` per file and reads what changed.
//!
//! | step                                  | a crash right after it leaves                          |
//! |---------------------------------------|--------------------------------------------------------|
//! | 1. scan, objects staged               | a stage in `tmp`, which gc removes                     |
//! | 2. objects published ([`Stage`])      | objects that nothing names, which gc removes           |
//! | 3. tree written, synced, named        | a tree that nothing names, which gc removes            |
//! | 4. snapshot written                   | nothing more                                           |

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::place::{Place, is_view};
use super::read::FileFound;
use super::scan::{DirFound, DirKey, Findings, Found, Job, Scan};
use super::snapshot::{self, Ident, Previous};
use super::{ImportError, Imported};
use crate::store::tree::{BuildError, Item, Meta, Slot, TreeBuilder, item_of, meta_of};
use crate::store::{Name, Node, Progress, Stage, Store, pool};
use crate::sys::fs::{self, FileType, Stat, Timespec};
use crate::sys::{IoError, path as paths};

/// Makes a tree of the directory at `path`. The bytes of files that didn't change since the last import of
/// the same path are not read; nor are those of files that a mounted view still shares with this store.
pub fn import_dir(store: &Store, path: &Path, progress: &dyn Progress) -> Result<Imported, ImportError> {
    let path = paths::canonical(path)?;
    let stage = store.stage()?;
    let previous = Previous::load(store, &path);
    let begun = Timespec::now();
    progress.begin("reading", None);
    let root = root_job(&path, previous.is_some())?;
    let scan = Scan::new(&stage, store.objects(), previous.as_ref(), progress);
    let found = pool::run(vec![root], Findings::default, |job, out, queue| scan.work(job, out, queue))?;
    let mut found = merge(found);
    found.skipped.sort_by(|a, b| a.path.cmp(&b.path));

    let tree = match previous.as_ref().filter(|_| found.dirs.is_empty()) {
        Some(previous) => previous.tree.clone(),
        None => {
            let (bytes, idents) = Build::new(previous.as_ref(), &mut found).run()?;
            progress.begin("writing", None);
            found.stats.new_objects = publish(&stage, progress)?;
            let tree = store.put_tree_bytes(&bytes)?;
            snapshot::save(store, &path, tree, begun, &idents);
            store.tree(tree)?
        }
    };
    found.stats.bytes = tree.content_bytes();
    Ok(Imported { tree: tree.id(), stats: found.stats, skipped: found.skipped })
}

fn publish(stage: &Stage, progress: &dyn Progress) -> Result<u64, ImportError> {
    if progress.is_cancelled() {
        return Err(ImportError::Cancelled);
    }
    Ok(stage.publish()? as u64)
}

fn root_job(path: &Path, known: bool) -> Result<Job, ImportError> {
    let root = paths::open_dir(path)?;
    let stat = fs::stat(&root).map_err(IoError::of("stat", path))?;
    let in_view = is_view(&root);
    let place = Arc::new(Place::root(path, root, in_view, stat.dev));
    let key = if known { DirKey::Before(Node::ROOT) } else { DirKey::New(0) };
    Ok(Job::Root { place, stat, key })
}

fn merge(parts: Vec<Findings>) -> Findings {
    let mut all = Findings::default();
    for part in parts {
        all.dirs.extend(part.dirs);
        all.files.extend(part.files);
        all.skipped.extend(part.skipped);
        all.stats.files += part.stats.files;
        all.stats.dirs += part.stats.dirs;
        all.stats.symlinks += part.stats.symlinks;
        all.stats.files_read += part.stats.files_read;
        all.stats.bytes_read += part.stats.bytes_read;
    }
    all
}

/// Puts together what was found and what stayed as it was.
struct Build<'a> {
    previous: Option<&'a Previous>,
    dirs: HashMap<DirKey, DirFound>,
    files: HashMap<u32, FileFound>,
    builder: TreeBuilder,
    /// Which file each slot is.
    idents: Vec<Ident>,
    /// Files that may have further names.
    linked: HashMap<Ident, Slot>,
}

impl<'a> Build<'a> {
    fn new(previous: Option<&'a Previous>, found: &mut Findings) -> Build<'a> {
        let dirs = std::mem::take(&mut found.dirs);
        let files = std::mem::take(&mut found.files).into_iter().collect();
        let builder = TreeBuilder::new(Meta::default());
        Build { previous, dirs, files, builder, idents: vec![], linked: HashMap::new() }
    }

    /// The tree's bytes, and which file each node is.
    fn run(mut self) -> Result<(Vec<u8>, Vec<Ident>), BuildError> {
        let root = if self.previous.is_some() { DirKey::Before(Node::ROOT) } else { DirKey::New(0) };
        let (meta, ident) = self.dir_meta(root);
        *self.builder.meta_mut(Slot::ROOT) = meta;
        self.idents.push(ident);
        let mut todo = vec![(Slot::ROOT, root)];
        while let Some((slot, key)) = todo.pop() {
            for (name, found) in self.names(key) {
                if let Found::Dir(key) = found {
                    let (meta, ident) = self.dir_meta(key);
                    todo.push((self.add(slot, name, meta, Item::Dir, ident)?, key));
                } else {
                    self.leaf(slot, name, found)?;
                }
            }
        }
        let (bytes, slots) = self.builder.finish_numbered()?;
        Ok((bytes, slots.into_iter().map(|slot| self.idents[slot.index()]).collect()))
    }

    fn dir_meta(&self, key: DirKey) -> (Meta, Ident) {
        match (self.dirs.get(&key), key, self.previous) {
            (Some(found), ..) => {
                (Meta { xattrs: found.xattrs.clone(), ..meta_from(&found.stat) }, Ident::of(&found.stat))
            }
            (None, DirKey::Before(n), Some(previous)) => (meta_of(&previous.tree, n), previous.ident(n)),
            _ => (Meta::default(), Ident::default()),
        }
    }

    /// The names of a directory: as found, or as they were.
    fn names(&mut self, key: DirKey) -> Vec<(Name, Found)> {
        match (self.dirs.remove(&key), key, self.previous) {
            (Some(found), ..) => found.names,
            (None, DirKey::Before(dir), Some(previous)) => {
                let entries = previous.tree.entries(dir, 0).filter_map(|e| {
                    let is_dir = previous.tree.kind(e.node) == Some(FileType::Directory);
                    let found = if is_dir { Found::Dir(DirKey::Before(e.node)) } else { Found::Same(e.node) };
                    Some((Name::new(e.name).ok()?, found))
                });
                entries.collect()
            }
            _ => vec![],
        }
    }

    fn leaf(&mut self, dir: Slot, name: Name, found: Found) -> Result<(), BuildError> {
        let (meta, item, ident, nlink) = match found {
            Found::Same(n) => {
                let Some(previous) = self.previous else { return Ok(()) };
                let Some(item) = item_of(&previous.tree, n) else { return Ok(()) };
                // How many links it has now is not known: it may have another name that is found below.
                (meta_of(&previous.tree, n), item, previous.ident(n), 2)
            }
            Found::File(number) => {
                let Some(file) = self.files.get(&number) else { return Ok(()) };
                let item = Item::File { object: file.object, size: file.stat.size, blocks: file.stat.blocks };
                let meta = Meta { xattrs: file.xattrs.clone(), ..meta_from(&file.stat) };
                (meta, item, Ident::of(&file.stat), file.stat.nlink)
            }
            Found::Symlink(stat, target) => (meta_from(&stat), Item::Symlink(target), Ident::of(&stat), stat.nlink),
            Found::Fifo(stat) => (meta_from(&stat), Item::Fifo, Ident::of(&stat), stat.nlink),
            Found::Dir(_) => return Ok(()),
        };
        if nlink > 1 {
            if let Some(slot) = self.linked.get(&ident) {
                return self.builder.link(dir, name, *slot);
            }
            let slot = self.add(dir, name, meta, item, ident)?;
            self.linked.insert(ident, slot);
            return Ok(());
        }
        self.add(dir, name, meta, item, ident).map(drop)
    }

    fn add(&mut self, dir: Slot, name: Name, meta: Meta, item: Item, ident: Ident) -> Result<Slot, BuildError> {
        let slot = self.builder.add(dir, name, meta, item)?;
        self.idents.resize(slot.index() + 1, Ident::default());
        self.idents[slot.index()] = ident;
        Ok(slot)
    }
}

/// Permissions without the set-id bits (a view belongs to whoever mounts it), and the time.
fn meta_from(stat: &Stat) -> Meta {
    Meta { perm: stat.mode & 0o1777, mtime: stat.mtime, xattrs: vec![] }
}
