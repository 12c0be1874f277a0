//! Named artifacts hold the path of the checkout that they were built in: it is looked for in their trees, and relocated in
//! the views that show them, and in their plain files.
//!
//! | the artifact came from      | the paths that are looked for                                       |
//! |-----------------------------|---------------------------------------------------------------------|
//! | `depsfs publish`, or a build | the checkout that it was published from                            |
//! | a remote                    | the checkout that it was pushed from, and as below                  |
//! | an archive                  | the main checkout and the registered worktrees of the repository    |

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::policy::{Policies, kind_of};
use super::{EmbeddedPaths, OccurrenceKind, ShownBy, Trace, Traced, effect, relocate, served};
use crate::component::Components;
use crate::git::RepositoryError;
use crate::git::checkout::Checkout;
use crate::git::settings::{AbsolutePaths, Settings};
use crate::remote::Received;
use crate::store::import::{HeldPath, search_tree};
use crate::store::manifest::{Graft, ViewSpec};
use crate::store::{Store, Tree, escape};
use crate::sys::path;
use crate::views::drop_unchanged;
use crate::views::embedded_paths;
use crate::views::lower::{GraftedTrees, live};
use crate::views::origin::GraftOrigin;
use crate::views::set::Views;
use crate::worktree::artifacts::capture;
use crate::worktree::error::WorktreeError;
use crate::worktree::roots::roots;

/// A worktree that shows artifacts of a store.
pub struct ForeignPaths<'a> {
    store: &'a Store,
    checkout: &'a Checkout,
    /// With policies for absolute paths.
    components: &'a Components,
    policies: OnceCell<Policies>,
    /// The other checkouts of the repository.
    others: OnceCell<Vec<PathBuf>>,
}

impl<'a> ForeignPaths<'a> {
    /// Nothing is looked up yet.
    pub fn of(store: &'a Store, checkout: &'a Checkout, components: &'a Components) -> ForeignPaths<'a> {
        ForeignPaths { store, checkout, components, policies: OnceCell::new(), others: OnceCell::new() }
    }

    /// Notes the paths in the artifacts of these views, absolute, and has the views relocate them.
    ///
    /// # Errors
    /// A tree or an object can't be read; the record can't be written; a view does not answer.
    pub fn in_views(&self, shown: &BTreeSet<PathBuf>) -> Result<(), WorktreeError> {
        if shown.is_empty() {
            return Ok(());
        }
        let Some(views) = Views::of(self.checkout)? else { return Ok(()) };
        let record = EmbeddedPaths::load(&views.state_dir)?;
        let (mut all, mut is_changed) = (Vec::new(), false);
        for view in views.manifest.views.iter().filter(|view| shown.contains(&self.checkout.root.join(&view.path))) {
            let known = record.of(&view.path);
            let mut traces = self.traces_of(view, known)?;
            if traces.is_empty() && known.is_none() {
                continue;
            }
            is_changed |= self.relocate(&views, view, &mut traces)?;
            effect::note(self.store, &view.grafts, &mut traces)?;
            is_changed |= known.is_none_or(|known| known.traces != traces);
            all.push(Traced { path: view.path.clone(), traces });
        }
        if !is_changed {
            return Ok(());
        }
        // While a command runs at the source's path, the files hold that.
        let to = record.worktree.as_ref().unwrap_or(&self.checkout.root);
        EmbeddedPaths::note(&views.state_dir, to, all)?;
        Ok(embedded_paths::tell(&views)?)
    }

    /// The embedded paths of a view by its artifacts, and those that are known of what it shows beside them.
    fn traces_of(&self, view: &ViewSpec, known: Option<&Traced>) -> Result<Vec<Trace>, WorktreeError> {
        let lower = GraftedTrees::of(self.store, live(view))?;
        let known: HashMap<&Path, &Trace> = known.iter().flat_map(|k| &k.traces).map(|t| (&*t.path, t)).collect();
        let (mut traces, mut snapshots): (Vec<Trace>, BTreeSet<_>) = (Vec::new(), BTreeSet::new());
        for graft in live(view) {
            let Some(entry) = &graft.entry else {
                snapshots.insert(graft.tree);
                continue;
            };
            let directory = GraftOrigin::of(&graft.origin).directory().unwrap_or_default();
            for mut trace in self.search(&*self.store.tree(graft.tree)?, entry, Path::new(directory))? {
                trace.path = graft.at.join(&trace.path);
                let is_shown = lower.find(&trace.path).is_some_and(|(tree, _)| tree.id() == graft.tree);
                if let Some(before) = known.get(&*trace.path).filter(|known| known.root == trace.root) {
                    (trace.relocated, trace.served) = (before.relocated, before.served.clone());
                }
                if is_shown && !traces.iter().any(|other| other.path == trace.path) {
                    traces.push(trace);
                }
            }
        }
        let is_own = |trace: &Trace| trace.relocated && trace.served.is_none();
        let is_of_snapshot =
            |trace: &Trace| lower.find(&trace.path).is_some_and(|(tree, _)| snapshots.contains(&tree.id()));
        let found: BTreeSet<PathBuf> = traces.iter().map(|trace| trace.path.clone()).collect();
        let mut kept: Vec<&Trace> = known.into_values().filter(|trace| !found.contains(&trace.path)).collect();
        kept.retain(|trace| is_own(trace) || is_of_snapshot(trace));
        traces.extend(kept.into_iter().cloned());
        traces.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(traces)
    }

    fn relocate(&self, views: &Views, view: &ViewSpec, traces: &mut [Trace]) -> Result<bool, WorktreeError> {
        if traces.is_empty() || self.policies()?.of(&view.path) != AbsolutePaths::Relocate {
            return Ok(false);
        }
        if views.is_mounted(view) || view.is_copy() {
            let shown_by = if view.is_copy() { ShownBy::PlainFiles } else { ShownBy::View };
            let shown_by = (&*self.checkout.root, shown_by);
            return relocate::shown(self.store, shown_by, (&view.path, &view.grafts), traces);
        }
        // The plain directory beneath has the worktree's own files alone.
        let place = views.place(view);
        served::note(self.store, &view.grafts, traces, &|trace, _, _| !path::is_there(&place.join(&trace.path)))
    }

    /// Relocates the files of an entry's artifact that were written below `out`, a directory of the worktree, absolute.
    /// Members for which `is_shown` holds are in views. Returns those that are now as relocation makes them, absolute.
    ///
    /// # Errors
    /// As [`ForeignPaths::in_views`]; a file can't be replaced.
    pub fn in_files(
        &self,
        (tree, entry): (&Tree, &str),
        out: &Path,
        is_shown: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, WorktreeError> {
        let at = out.strip_prefix(&self.checkout.root).unwrap_or(out);
        let mut traces = self.search(tree, entry, at)?;
        traces.retain(|trace| !is_shown(&trace.path));
        let policies = if traces.is_empty() { return Ok(Vec::new()) } else { self.policies()? };
        traces.retain(|trace| policies.of(&at.join(&trace.path)) == AbsolutePaths::Relocate);
        let place = (&*self.checkout.root, ShownBy::PlainFiles);
        relocate::shown(self.store, place, (at, &[whole(tree)]), &mut traces)?;
        traces.retain(|trace| trace.relocated);
        let done = traces.iter().map(|trace| out.join(&trace.path)).collect();
        self.note_files(at, traces)?;
        Ok(done)
    }

    /// A worktree that is moved relocates them again, if depsfs knows it.
    fn note_files(&self, at: &Path, traces: Vec<Trace>) -> Result<(), WorktreeError> {
        if traces.is_empty() {
            return Ok(());
        }
        let Some(views) = Views::of(self.checkout)? else { return Ok(()) };
        let record = EmbeddedPaths::load(&views.state_dir)?;
        let to = record.worktree.as_ref().unwrap_or(&self.checkout.root);
        let is_other = |known: &&Trace| traces.iter().all(|own| own.path != known.path);
        let others = record.of(at).into_iter().flat_map(|known| &known.traces).filter(is_other).cloned();
        let traces = others.chain(traces.iter().cloned()).collect();
        Ok(EmbeddedPaths::note(&views.state_dir, to, vec![Traced { path: at.into(), traces }])?)
    }

    /// Before a newer artifact comes to `out`: removes plain files of the old one that are as relocation made them, unless the
    /// new one has the same.
    ///
    /// # Errors
    /// As [`ForeignPaths::in_files`]; a file can't be removed.
    pub fn give_up_files(&self, (old, entry): (&Tree, &str), new: &Tree, out: &Path) -> Result<(), WorktreeError> {
        let at = out.strip_prefix(&self.checkout.root).unwrap_or(out);
        let views = Views::of(self.checkout)?;
        let in_view = |file: &Path| {
            let all = views.iter().flat_map(|views| &views.manifest.views);
            all.filter(|view| !view.is_copy()).any(|view| file.starts_with(&view.path))
        };
        for trace in self.search(old, entry, at)? {
            let is_same = drop_unchanged::is_same_file(old, new, &trace.path);
            let file = out.join(&trace.path);
            if is_same || in_view(&at.join(&trace.path)) || trace.kind == OccurrenceKind::Binary {
                continue;
            }
            if relocate::is_made(self.store, &[whole(old)], &trace, &self.checkout.root, &file)? {
                path::remove_file(&file)?;
            }
        }
        Ok(())
    }

    /// The embedded paths of an artifact whose members are relative to `directory`, relative to the worktree.
    fn search(&self, tree: &Tree, entry: &str, directory: &Path) -> Result<Vec<Trace>, WorktreeError> {
        let found = search_tree(self.store, tree, &self.origins(entry, directory)?)?;
        let trace = |held: HeldPath| {
            let kind = kind_of(held.holds)?;
            Some(Trace { path: held.at, root: held.path, kind, relocated: false, served: None, effect: None })
        };
        Ok(found.into_iter().filter_map(trace).collect())
    }

    /// The paths of an entry's checkouts, the longest first: a worktree may lie in another.
    fn origins(&self, entry: &str, directory: &Path) -> Result<Vec<PathBuf>, WorktreeError> {
        let known = self.store.entries().get(entry)?;
        let mut paths = Vec::new();
        match &known {
            Some(known) if known.provenance.command == capture::COMMAND => {
                paths.extend(path_of(&known.provenance.source).map(|base| top_of(&base, directory)));
            }
            known => {
                let received = known.as_ref().and_then(|known| Received::of(self.store, entry, known.tree));
                paths.extend(received.and_then(|received| path_of(&received.path?)));
                paths.extend(self.others()?.iter().cloned());
            }
        }
        paths.retain(|path| *path != self.checkout.root);
        paths.sort_by(|a, b| b.as_os_str().len().cmp(&a.as_os_str().len()).then_with(|| a.cmp(b)));
        paths.dedup();
        Ok(paths)
    }

    fn others(&self) -> Result<&[PathBuf], WorktreeError> {
        if let Some(others) = self.others.get() {
            return Ok(others);
        }
        let others = roots(self.checkout)?;
        Ok(self.others.get_or_init(|| others))
    }

    fn policies(&self) -> Result<&Policies, WorktreeError> {
        if let Some(policies) = self.policies.get() {
            return Ok(policies);
        }
        let settings = Settings::load(&self.checkout.git()).map_err(RepositoryError::from)?;
        let policies = Policies::new(&settings, self.components.clone())?;
        Ok(self.policies.get_or_init(|| policies))
    }
}

/// The graft of a whole artifact.
fn whole(tree: &Tree) -> Graft {
    Graft { at: PathBuf::new(), tree: tree.id(), entry: None, origin: String::new(), retired: false }
}

fn path_of(escaped: &str) -> Option<PathBuf> {
    let path = PathBuf::from(OsStr::from_bytes(&escape::unescape(escaped)?));
    path.is_absolute().then_some(path)
}

/// The top of the checkout that had an artifact's directory at `base`.
fn top_of(base: &Path, directory: &Path) -> PathBuf {
    if base.ends_with(directory) {
        let depth = directory.components().count();
        return base.ancestors().nth(depth).unwrap_or(base).to_path_buf();
    }
    Checkout::containing(base).ok().flatten().map_or_else(|| base.to_path_buf(), |checkout| checkout.root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_checkout_is_above_the_components_directory() {
        let table = [("/w/one", "", "/w/one"), ("/w/one/lib/a", "lib/a", "/w/one"), ("/no/such", "lib", "/no/such")];
        for (base, directory, top) in table {
            assert_eq!(top_of(Path::new(base), Path::new(directory)), Path::new(top));
        }
    }
}
