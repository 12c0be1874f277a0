//! `depsfs cache get`, the second half: an artifact's members go where they belong.
//!
//! | members in                                        | become |
//! |---------------------------------------------------|--------|
//! | a worktree whose artifacts are copies             | plain files; what is there already stays |
//! | a view that is there                              | a further layer of it |
//! | a directory that git ignores, the topmost one, though a file or two in it are tracked | a view; what is in it already stays on top, and tracked files are the checkout's |
//! | anything else                                     | plain files; what is there already stays |
//!
//! | step                                      | a crash right after it leaves |
//! |-------------------------------------------|-------------------------------|
//! | 1. trees of the parts are in the store    | trees that nothing names: gc takes them |
//! | 2. the manifest names them                | what the next mount shows |
//! | 3. the daemon has compared                | the artifact, but for what its user had deleted of it |
//! | 4. deleted members are restored           | all of it, but for its plain files |
//! | 5. plain files are written                | all of it, with the path of the checkout that built it |
//! | 6. that path is relocated ([`ForeignPaths`]) | done |
//!
//! If no view can be mounted, the change of the manifest is undone, and all members become plain files.

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::layout::{Parts, PlacementLayout, ViewPart, resolved};
use super::error::WorktreeError;
use super::relocation::{ForeignPaths, ShownBy, is_stored};
use crate::cache::Artifact;
use crate::component::{ComponentError, Components};
use crate::git::checkout::Checkout;
use crate::git::command::GitError;
use crate::git::partly_tracked::OwnPaths;
use crate::remote::{self, fetcher};
use crate::store::import::refuse_git;
use crate::store::{Node, Store, Tree, TreeBuilder, TreeId, extract};
use crate::sys::fs::FileType;
use crate::sys::log::OrWarn;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::views::ViewsError;
use crate::views::layers::{self, Layer};
use crate::views::lower;
use crate::views::origin::GraftOrigin;
use crate::views::set::Views;

/// The most overrides that are named.
const SHOWN: usize = 20;

/// An artifact, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct PlaceRequest<'a> {
    pub artifact: &'a Artifact,
    /// The directory that its members are relative to; created if absent.
    pub out_dir: &'a Path,
    /// Entries whose layers at the same place go when this one comes.
    pub instead_of: &'a [String],
    /// Members that the worktree has deleted are restored; else they stay deleted, and are reported.
    pub reveal: bool,
}

/// The result of placing artifacts.
#[derive(Debug, Default)]
pub struct Placed {
    /// Views that show members now, absolute.
    pub views: BTreeSet<PathBuf>,
    /// Absolute paths of members that something else is in the place of; a directory stands for all below it.
    pub kept: Vec<PathBuf>,
    /// Plain files written.
    pub written: u64,
    /// Why members that could be in a view are plain files.
    pub plainly: Option<ViewsError>,
}

impl Placed {
    /// Messages for the user: the members that differ from the artifact, and the reasons.
    pub fn words(&self) -> Vec<String> {
        let here = path::canonical(Path::new(".")).unwrap_or_default();
        let mut words = Vec::new();
        words.extend(self.plainly.iter().map(|why| format!("Plain files instead of a view: {why}.")));
        for kept in self.kept.iter().take(SHOWN) {
            words.push(format!("Local override: {} stays as it is.", kept.strip_prefix(&here).unwrap_or(kept).shown()));
        }
        if self.kept.len() > SHOWN {
            words.push(format!("Local overrides: {} more.", self.kept.len() - SHOWN));
        }
        words
    }
}

/// The store that the artifacts of a place have to be in, if a worktree with views is there.
pub fn store_at(place: &Path) -> Result<Option<PathBuf>, WorktreeError> {
    let Some(home) = Checkout::containing(&resolved(place)?)? else { return Ok(None) };
    Ok(Views::of(&home.outermost()?)?.map(|views| views.manifest.store))
}

/// The outermost checkout that holds a place, which may not be there yet.
///
/// # Errors
/// A directory above it can't be looked at.
pub fn checkout_at(place: &Path) -> Result<Option<Checkout>, WorktreeError> {
    Ok(Checkout::containing(&resolved(place)?)?.map(Checkout::outermost).transpose()?)
}

/// Puts artifacts of this store in place, all of one worktree at once. The caller holds a share of the store.
/// `plain`: without any view. `components` have policies for the absolute paths in them.
pub fn place(
    store: &Store,
    wishes: &[PlaceRequest<'_>],
    plain: bool,
    components: &Components,
) -> Result<Placed, WorktreeError> {
    let mut placed = Placed::default();
    let mut by_worktree: BTreeMap<PathBuf, (Checkout, Vec<PlaceTarget<'_>>)> = BTreeMap::new();
    for wish in wishes {
        let target = PlaceTarget::of(store, wish)?;
        let found = checkouts_of(&target.out);
        // Plain files need no repository.
        let found = if plain { found.or_warn("no path in the artifact is relocated").flatten() } else { found? };
        match found {
            Some((_, worktree)) if plain => {
                let foreign = ForeignPaths::of(store, &worktree, components);
                target.extract(store, &[], Some(&foreign), &mut placed)?;
            }
            Some((home, worktree)) => {
                let all = by_worktree.entry(worktree.root.clone()).or_insert((worktree, Vec::new()));
                all.1.push(PlaceTarget { home: Some(home), ..target });
            }
            None => target.extract(store, &[], None, &mut placed)?,
        }
    }
    for (worktree, targets) in by_worktree.values() {
        in_worktree(store, (worktree, components), targets, &mut placed)?;
    }
    Ok(placed)
}

/// The checkout that holds a place, and the outermost one around it.
fn checkouts_of(place: &Path) -> Result<Option<(Checkout, Checkout)>, GitError> {
    let home = Checkout::containing(place)?;
    home.map(|home| Ok((home.clone(), home.outermost()?))).transpose()
}

/// A wish, looked at.
struct PlaceTarget<'a> {
    wish: PlaceRequest<'a>,
    tree: std::sync::Arc<Tree>,
    out: PathBuf,
    home: Option<Checkout>,
}

impl<'a> PlaceTarget<'a> {
    fn of(store: &Store, wish: &PlaceRequest<'a>) -> Result<PlaceTarget<'a>, WorktreeError> {
        let tree = store.tree(wish.artifact.tree)?;
        refuse_git(Path::new(wish.artifact.name.as_str()), &tree)?;
        Ok(PlaceTarget { wish: *wish, tree, out: resolved(wish.out_dir)?, home: None })
    }

    /// Writes as plain files what isn't in one of `parts`, and relocates it in a worktree.
    fn extract(
        &self,
        store: &Store,
        parts: &[&ViewPart],
        foreign: Option<&ForeignPaths<'_>>,
        placed: &mut Placed,
    ) -> Result<(), WorktreeError> {
        if store.source(&self.tree.id())?.is_some() {
            let name = self.wish.artifact.name.as_str().to_owned();
            fetcher::complete(store, &[self.tree.id()], &()).map_err(|e| ComponentError::Fetch {
                component: "artifact".into(),
                name,
                source: Box::new(e.into()),
            })?;
        }
        path::make_dirs(&self.out)?;
        let into = path::open_dir(&self.out)?;
        let skip = |dir: &Path| parts.iter().any(|p| p.from == dir);
        let done = extract::extract(store, (&self.tree, Node::ROOT), (&into, &self.out), &skip)?;
        placed.written += done.written;
        let mut kept: Vec<PathBuf> = done.kept.into_iter().map(|k| self.out.join(k)).collect();
        if let Some(foreign) = foreign {
            let is_shown = |at: &Path| parts.iter().any(|part| at.starts_with(&part.from));
            let relocated = foreign.in_files((&self.tree, &self.wish.artifact.entry), &self.out, &is_shown)?;
            kept.retain(|at| !relocated.contains(at));
        }
        placed.kept.extend(kept);
        Ok(())
    }

    /// The layers that its parts are, each without its paths in `own`.
    fn layers(
        &self,
        store: &Store,
        worktree: &Path,
        parts: &Parts,
        own: &[Vec<PathBuf>],
    ) -> Result<Vec<Layer>, WorktreeError> {
        let out = self.out.strip_prefix(worktree).unwrap_or(&self.out);
        let directory = &*out.to_string_lossy();
        let origin = GraftOrigin::Artifact { name: self.wish.artifact.name.as_str(), directory }.to_string();
        let layer = |(part, own): (&ViewPart, &Vec<PathBuf>)| {
            Ok(Layer {
                view: part.view.clone(),
                tree: part_tree(store, &self.tree, part, own)?,
                entry: self.wish.artifact.entry.clone(),
                origin: origin.clone(),
                instead_of: self.wish.instead_of.to_vec(),
            })
        };
        parts.parts.iter().zip(own).map(layer).collect()
    }
}

/// Those of the checkout's own paths, relative to the view at `place`, that differ from the members of the artifact in
/// whose place they are.
fn own_instead(tree: &Tree, part: &ViewPart, place: &Path, own: &[PathBuf]) -> Vec<PathBuf> {
    let differs = |path: &&PathBuf| {
        let inside = path.strip_prefix(&part.prefix).ok();
        let Some(member) = inside.and_then(|inside| lower::node(tree, &part.from.join(inside))) else { return false };
        let at = place.join(path);
        path::is_there(&at)
            && match tree.kind(member) {
                Some(FileType::Directory) => !path::is_dir(&at),
                _ => !is_stored(&at, tree, member, ShownBy::PlainFiles),
            }
    };
    own.iter().filter(differs).map(|path| place.join(path)).collect()
}

/// The tree of a part: a directory of the artifact, laid as deep in the view as it is in the worktree, without the paths that
/// are the checkout's (`own`, relative to the view).
fn part_tree(store: &Store, tree: &Tree, part: &ViewPart, own: &[PathBuf]) -> Result<TreeId, WorktreeError> {
    if part.node == Node::ROOT && part.prefix.as_os_str().is_empty() && own.is_empty() {
        return Ok(tree.id());
    }
    let mut builder = TreeBuilder::part_of(tree, part.node, &part.prefix).map_err(crate::store::StoreError::from)?;
    own.iter().for_each(|path| builder.remove(path));
    let part = store.put_tree(&builder)?;
    remote::inherit_source(store, tree.id(), part)?;
    Ok(part)
}

fn in_worktree(
    store: &Store,
    (worktree, components): (&Checkout, &Components),
    targets: &[PlaceTarget<'_>],
    placed: &mut Placed,
) -> Result<(), WorktreeError> {
    let (known, foreign) = (Views::of(worktree)?, ForeignPaths::of(store, worktree, components));
    if known.as_ref().is_some_and(|views| views.manifest.is_copy()) {
        return targets.iter().try_for_each(|target| target.extract(store, &[], Some(&foreign), placed));
    }
    let views = known.iter().flat_map(|v| &v.manifest.views).map(|v| v.path.clone()).collect();
    let mut ground = PlacementLayout::new(worktree, views, store.path());
    if targets.len() > 1 {
        let place = |t: &'_ PlaceTarget<'_>| t.out.strip_prefix(&worktree.root).unwrap_or(Path::new("")).to_path_buf();
        let outs: Vec<PathBuf> = targets.iter().map(place).collect();
        let many = targets.iter().zip(&outs);
        let many = many.map(|(t, out)| (&*t.tree, out.as_path(), t.home.as_ref().unwrap_or(worktree)));
        ground.foresee(&many.collect::<Vec<_>>())?;
    }
    let mut all = Vec::new();
    for target in targets {
        let inside = target.out.strip_prefix(&worktree.root).unwrap_or(Path::new(""));
        let home = target.home.as_ref().unwrap_or(worktree);
        all.push((target, ground.parts(&target.tree, inside, home)?));
    }
    let (mut layers, mut own_kept, known_paths) = (Vec::new(), Vec::new(), OwnPaths::default());
    for (target, parts) in &all {
        let mut own = Vec::new();
        for part in &parts.parts {
            let place = worktree.root.join(&part.view);
            own.push(known_paths.below(&place)?);
            own_kept.extend(own.last().iter().flat_map(|own| own_instead(&target.tree, part, &place, own)));
        }
        layers.push(target.layers(store, &worktree.root, parts, &own)?);
    }
    let flat: Vec<&Layer> = layers.iter().flatten().collect();
    let shown = if flat.is_empty() { Ok(()) } else { layers::show(store, worktree, known.is_some(), &flat) };
    let is_shown = shown.is_ok();
    if let Err(why) = shown {
        placed.plainly = Some(why);
    }
    let shown_in = if is_shown { Views::of(worktree)? } else { None };
    placed.kept.extend(own_kept.into_iter().filter(|_| is_shown));
    for ((target, parts), layers) in all.iter().zip(&layers) {
        let mut there = Vec::new();
        for ((part, layer), views) in parts.parts.iter().zip(layers).zip(shown_in.iter().cycle()) {
            let reveal = target.wish.reveal;
            let covered = layers::uncover(views, layer, reveal)?;
            placed.views.insert(worktree.root.join(&part.view));
            // Members that can't be restored are written through the view. Those with another entry in their place are
            // reported.
            if covered.blocked == 0 || !reveal {
                placed.kept.extend(covered.kept.iter().map(|k| worktree.root.join(&part.view).join(k)));
                there.push(part);
            }
        }
        if parts.plain || there.len() < parts.parts.len() {
            target.extract(store, &there, Some(&foreign), placed)?;
        }
    }
    foreign.in_views(&placed.views)
}
