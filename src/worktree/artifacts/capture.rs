//! Publishes a worktree's artifacts as an entry of the store: one tree of its merged artifact directories, at their
//! paths.
//!
//! The worktree does not change. A file that is written to meanwhile is refused ([`ImportError::Changed`]). If the
//! write can't be detected, the tree has the file as it was at some moment.

use std::path::{Path, PathBuf};

use crate::component::Declared;
use crate::git::checkout::Checkout;
use crate::git::partly_tracked::OwnPaths;
use crate::remote::inherit_sources;
use crate::store::import::{self, ImportError, Imported, import_dir};
use crate::store::tree::{Item, NodeMeta};
use crate::store::{CopyError, Name, Progress, Provenance, Store, StoreError, TreeBuilder, TreeId, escape};
use crate::sys::fs::{self, FileType, OpenFlags, Stat};
use crate::sys::{IoError, path as paths};
use crate::views::ViewsError;
use crate::views::changed_source::Changed;
use crate::views::set;
use crate::worktree::WorktreeError;

/// The command of the provenance of an artifact that a checkout has published.
pub const COMMAND: &str = "depsfs publish";

/// The tree of captured artifacts, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub tree: TreeId,
    pub files: u64,
    pub bytes: u64,
}

/// The artifacts of a component that are there, relative to its directory; none lies in another.
pub fn artifacts(checkout: &Checkout, declared: &Declared) -> Result<Vec<PathBuf>, WorktreeError> {
    let dir = &declared.component.dir;
    let is_there = |at: &&Path| paths::is_there(&checkout.root.join(at));
    let mut found: Vec<PathBuf> = declared.literals().filter(is_there).map(Path::to_path_buf).collect();
    if declared.has_globs() {
        let ignored = checkout.git().ignored()?.into_iter().map(|p| crate::git::checkout::plain(&p));
        found.extend(ignored.filter(|p| declared.holds(p)));
    }
    found.sort();
    found.dedup();
    let all = found.clone();
    found.retain(|p| !all.iter().any(|other| other != p && p.starts_with(other)));
    Ok(found.iter().filter_map(|p| p.strip_prefix(dir).ok()).map(Path::to_path_buf).collect())
}

/// Makes one tree of `paths`, which lie below `base`, each at its place in it.
pub fn freeze(store: &Store, base: &Path, paths: &[PathBuf], progress: &dyn Progress) -> Result<Frozen, WorktreeError> {
    let meta = |at: &Path| Ok::<_, WorktreeError>(paths::stat(at)?.map(meta_of).unwrap_or_default());
    let mut builder = TreeBuilder::new(meta(base)?);
    let ((mut files, mut bytes), own, mut parts) = ((0, 0), OwnPaths::default(), Vec::new());
    for path in paths {
        let whole = base.join(path);
        let stat = paths::stat(&whole)?.ok_or_else(|| gone(&whole))?;
        if stat.is_dir() {
            let imported = directory(store, &whole, progress)?;
            let at =
                builder.dir_at(path, &NodeMeta { perm: 0o755, ..NodeMeta::default() }).map_err(StoreError::from)?;
            builder.lay(at, &*store.tree(imported.tree)?).map_err(StoreError::from)?;
            parts.push(imported.tree);
            own.below(&whole)?.iter().for_each(|file| builder.remove(&path.join(file)));
            files += imported.stats.files;
            bytes += imported.stats.bytes;
        } else {
            bytes += one(store, &mut builder, path, &whole, stat)?;
            files += 1;
        }
    }
    let tree = store.put_tree(&builder)?;
    inherit_sources(store, &parts, tree, progress).map_err(ViewsError::from)?;
    Ok(Frozen { tree, files, bytes })
}

/// Imports one directory, with all that is in it. A view's list of changes limits the work to changed paths.
fn directory(store: &Store, whole: &Path, progress: &dyn Progress) -> Result<Imported, WorktreeError> {
    if let Some(view) = Changed::of(store, whole)
        && let Some(imported) = view.import(store, whole, Path::new(""), progress)?
    {
        inherit_sources(store, &view.trees(), imported.tree, progress).map_err(ViewsError::from)?;
        return Ok(imported.complete()?);
    }
    Ok(import_dir(store, whole, progress)?.complete()?)
}

/// Gives a frozen tree its name.
pub fn name(store: &Store, name: &str, frozen: &Frozen, from: &Path) -> Result<(), WorktreeError> {
    let provenance = Provenance {
        source: escape::escape(from.as_os_str().as_encoded_bytes()),
        command: COMMAND.into(),
        created: set::now(),
        files: frozen.files,
        bytes: frozen.bytes,
    };
    Ok(store.entries().put(name, frozen.tree, provenance)?)
}

/// A single file or symlink; answers its size.
fn one(store: &Store, builder: &mut TreeBuilder, path: &Path, whole: &Path, stat: Stat) -> Result<u64, WorktreeError> {
    let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else { return Err(gone(whole).into()) };
    let name = Name::new(last.as_encoded_bytes()).map_err(|_| gone(whole))?;
    let mut meta = meta_of(stat);
    let item = match stat.kind() {
        FileType::Symlink => Item::Symlink(paths::read_link(whole)?.into()),
        FileType::RegularFile => {
            let stage = store.stage()?;
            let times = |s: &Stat| (s.size, s.mtime, s.ctime);
            let file = fs::open_path(whole, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0);
            let file = file.map_err(IoError::of("open", whole))?;
            let failed = |e| IoError::of("read", whole)(e);
            meta.xattrs = import::xattrs_of(&file).map_err(failed)?;
            let added = stage.add_file(&file, stat.size, &mut Vec::new(), &mut |_| {}).map_err(|e| match e {
                CopyError::Source(e) => WorktreeError::from(failed(e)),
                CopyError::Store(e) => e.into(),
            })?;
            stage.publish()?;
            if paths::stat(whole)?.is_none_or(|now| times(&now) != times(&stat)) {
                return Err(ImportError::Changed(whole.into()).into());
            }
            Item::File { object: added.id, size: added.size, blocks: added.blocks }
        }
        _ => return Err(gone(whole).into()),
    };
    let at = builder.dir_at(parent, &NodeMeta { perm: 0o755, ..NodeMeta::default() }).map_err(StoreError::from)?;
    builder.add(at, name, meta, item).map_err(StoreError::from)?;
    Ok(stat.size)
}

fn meta_of(stat: Stat) -> NodeMeta {
    NodeMeta { perm: stat.mode & 0o1777, mtime: stat.mtime, xattrs: Vec::new() }
}

fn gone(path: &Path) -> IoError {
    IoError::of("freeze", path)(std::io::ErrorKind::NotFound.into())
}
