//! Which directories of a worktree an artifact's members can be shown in: views that are there, and directories that
//! git ignores and that can become one.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::Gitignore;

use crate::git::checkout::Checkout;
use crate::git::partly_tracked::{TrackedPaths, names_to_ask};
use crate::git::settings::Settings;
use crate::store::{Name, Node, Tree};
use crate::sys::fs::FileType;
use crate::sys::mountinfo::{self, MountPoint};
use crate::sys::path;
use crate::worktree::error::WorktreeError;

/// A worktree, and cached facts about it.
pub struct PlacementLayout<'a> {
    worktree: &'a Checkout,
    views: BTreeSet<PathBuf>,
    store: &'a Path,
    cwd: Option<PathBuf>,
    limits: Option<LayoutLimits>,
    /// By checkout.
    tracked: HashMap<PathBuf, TrackedPaths>,
    /// By checkout and directory: whether git ignores it.
    foreseen: HashMap<(PathBuf, PathBuf), bool>,
}

/// Paths where no new view may be mounted. They are loaded for the first candidate.
struct LayoutLimits {
    excluded: Gitignore,
    others: Vec<PathBuf>,
    mounts: Vec<MountPoint>,
}

/// Members that will show in one view: those below `from` in the artifact, at `prefix` in the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewPart {
    /// Relative to the worktree.
    pub view: PathBuf,
    pub from: PathBuf,
    pub node: Node,
    pub prefix: PathBuf,
}

/// The targets of the members of one artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub parts: Vec<ViewPart>,
    /// Some members are in none of them.
    pub plain: bool,
}

/// A directory of the artifact, and its place.
struct MemberSpot {
    node: Node,
    /// In the artifact.
    from: PathBuf,
    /// In the worktree.
    at: PathBuf,
    home: Checkout,
    /// It lies in an ignored directory that can't be a view itself.
    ignored: bool,
}

impl<'a> PlacementLayout<'a> {
    /// Of a worktree whose artifact directories are `views`, relative to it. `store` is the store's absolute path,
    /// which no artifact may cover. git is queried when a path needs it.
    pub fn new(worktree: &'a Checkout, views: BTreeSet<PathBuf>, store: &'a Path) -> PlacementLayout<'a> {
        let cwd = path::canonical(Path::new(".")).ok();
        PlacementLayout { worktree, views, store, cwd, limits: None, tracked: HashMap::new(), foreseen: HashMap::new() }
    }

    /// The targets of the members of `tree`, placed at `out`, a path in the worktree that lies in the checkout `home`
    /// (the worktree itself, or a submodule).
    pub fn parts(&mut self, tree: &Tree, out: &Path, home: &Checkout) -> Result<Parts, WorktreeError> {
        let mut found = Parts::default();
        let whole = |view: &Path| {
            let prefix = out.strip_prefix(view).unwrap_or(out).to_path_buf();
            ViewPart { view: view.into(), from: PathBuf::new(), node: Node::ROOT, prefix }
        };
        if let Some(view) = self.views.iter().find(|v| out.starts_with(v)) {
            found.parts.push(whole(view));
            return Ok(found);
        }
        // Above a view there can be no other.
        let has_views = self.views.iter().any(|v| v.starts_with(out));
        let above: Vec<PathBuf> = if has_views { Vec::new() } else { self.ways_to(out, home) };
        let answers = self.ignored(home, &above)?;
        let ignored = above.iter().zip(&answers).find(|(_, yes)| **yes).map(|(dir, _)| dir.clone());
        for dir in above.iter().filter(|dir| ignored.as_ref().is_some_and(|top| dir.starts_with(top))) {
            if self.can_be_view(dir, home, (tree, Node::ROOT))? {
                found.parts.push(whole(dir));
                return Ok(found);
            }
        }
        let ignored = match &ignored {
            Some(top) => {
                let inside = self.inside(top, home);
                !self.tracked(home)?.are_some_below(&inside)
            }
            None => false,
        };
        let top = MemberSpot { node: Node::ROOT, from: PathBuf::new(), at: out.into(), home: home.clone(), ignored };
        let mut level = vec![top];
        while !level.is_empty() {
            level = self.descend(tree, level, &mut found)?;
        }
        Ok(found)
    }

    /// `out` and the directories above it that git can check, from the top.
    fn ways_to(&self, out: &Path, home: &Checkout) -> Vec<PathBuf> {
        let start = home.root.strip_prefix(&self.worktree.root).unwrap_or(Path::new("")).to_path_buf();
        let mut all: Vec<PathBuf> = out.ancestors().take_while(|a| **a != start).map(Path::to_path_buf).collect();
        all.reverse();
        all
    }

    /// Looks at the directories in those of one level: what becomes a part is found, the others are the next level.
    fn descend(
        &mut self,
        tree: &Tree,
        level: Vec<MemberSpot>,
        found: &mut Parts,
    ) -> Result<Vec<MemberSpot>, WorktreeError> {
        let (mut asked, mut next) = (Vec::new(), Vec::new());
        for dir in level {
            // An empty directory is a member, too.
            found.plain |= tree.entry_count(dir.node) == 0 && dir.node != Node::ROOT;
            for entry in tree.entries(dir.node, 0) {
                let name = OsStr::from_bytes(entry.name);
                let (from, at) = (dir.from.join(name), dir.at.join(name));
                let there = path::stat(&self.worktree.root.join(&at))?;
                if tree.kind(entry.node) != Some(FileType::Directory) || there.is_some_and(|s| !s.is_dir()) {
                    found.plain = true;
                } else if self.views.contains(&at) {
                    found.parts.push(ViewPart { view: at, from, node: entry.node, prefix: PathBuf::new() });
                } else if let Some(home) = there.map(|_| self.nested(&at)).transpose()?.flatten() {
                    next.push(MemberSpot { node: entry.node, from, at, home, ignored: false });
                } else {
                    let (home, ignored) = (dir.home.clone(), dir.ignored);
                    asked.push(MemberSpot { node: entry.node, from, at, home, ignored });
                }
            }
        }
        self.ask(&mut asked)?;
        for spot in asked {
            if spot.ignored && self.can_be_view(&spot.at, &spot.home, (tree, spot.node))? {
                let MemberSpot { node, from, at, .. } = spot;
                found.parts.push(ViewPart { view: at, from, node, prefix: PathBuf::new() });
            } else {
                // git may exempt what lies in a directory with tracked files.
                let inside = self.inside(&spot.at, &spot.home);
                let ignored = spot.ignored && !self.tracked(&spot.home)?.are_some_below(&inside);
                next.push(MemberSpot { ignored, ..spot });
            }
        }
        Ok(next)
    }

    /// Fills in whether git ignores each place, with one query for each checkout.
    fn ask(&mut self, spots: &mut [MemberSpot]) -> Result<(), WorktreeError> {
        let mut homes: Vec<Checkout> = Vec::new();
        for spot in spots.iter().filter(|s| !s.ignored) {
            if !homes.contains(&spot.home) {
                homes.push(spot.home.clone());
            }
        }
        for home in homes {
            let mut mine: Vec<&mut MemberSpot> = spots.iter_mut().filter(|s| !s.ignored && s.home == home).collect();
            let paths: Vec<PathBuf> = mine.iter().map(|s| s.at.clone()).collect();
            let answers = self.ignored(&home, &paths)?;
            mine.iter_mut().zip(answers).for_each(|(spot, answer)| spot.ignored = answer);
        }
        Ok(())
    }

    /// For each of some paths in the worktree whether git ignores a directory there.
    fn ignored(&mut self, home: &Checkout, dirs: &[PathBuf]) -> Result<Vec<bool>, WorktreeError> {
        let known = |dir: &PathBuf| self.foreseen.get(&(home.root.clone(), dir.clone())).copied();
        match dirs.iter().map(known).collect() {
            Some(answers) => Ok(answers),
            None => self.ask_git(home, dirs),
        }
    }

    /// Queries git once for the paths that [`PlacementLayout::parts`] checks first for each of many artifacts: the ways
    /// to their places, and their topmost directories.
    pub fn foresee(&mut self, artifacts: &[(&Tree, &Path, &Checkout)]) -> Result<(), WorktreeError> {
        let mut by_home: HashMap<PathBuf, (Checkout, BTreeSet<PathBuf>)> = HashMap::new();
        for (tree, out, home) in artifacts {
            let ways = self.ways_to(out, home);
            let tops = tree.entries(Node::ROOT, 0).filter(|e| tree.kind(e.node) == Some(FileType::Directory));
            let tops = tops.map(|e| out.join(OsStr::from_bytes(e.name)));
            let all = by_home.entry(home.root.clone()).or_insert_with(|| ((*home).clone(), BTreeSet::new()));
            all.1.extend(ways.into_iter().chain(tops));
        }
        for (root, (home, dirs)) in by_home {
            let dirs: Vec<PathBuf> = dirs.into_iter().collect();
            let answers = self.ask_git(&home, &dirs)?;
            self.foreseen.extend(dirs.into_iter().zip(answers).map(|(dir, yes)| ((root.clone(), dir), yes)));
        }
        Ok(())
    }

    fn ask_git(&mut self, home: &Checkout, dirs: &[PathBuf]) -> Result<Vec<bool>, WorktreeError> {
        if dirs.is_empty() {
            return Ok(Vec::new());
        }
        let inside: Vec<PathBuf> = dirs.iter().map(|dir| self.inside(dir, home)).collect();
        let tracked = self.tracked(home)?;
        let asked: Vec<PathBuf> = inside.iter().map(|dir| tracked.name_to_ask(dir)).collect();
        let answer: BTreeSet<PathBuf> = home.git().check_ignored_each(&asked)?.into_iter().collect();
        Ok(asked.iter().map(|name| answer.contains(name)).collect())
    }

    fn tracked(&mut self, home: &Checkout) -> Result<&TrackedPaths, WorktreeError> {
        Ok(match self.tracked.entry(home.root.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(TrackedPaths::read(home)?),
        })
    }

    /// A path in the worktree as `home` sees it.
    fn inside(&self, at: &Path, home: &Checkout) -> PathBuf {
        let start = home.root.strip_prefix(&self.worktree.root).unwrap_or(Path::new(""));
        at.strip_prefix(start).unwrap_or(at).to_path_buf()
    }

    /// A submodule, or a repository of its own.
    fn nested(&self, at: &Path) -> Result<Option<Checkout>, WorktreeError> {
        Ok(Checkout::at(&self.worktree.root.join(at))?)
    }

    /// Whether a view of a directory of the artifact can be mounted over an ignored directory and nothing is hidden by it:
    /// no other view or mount, no repository, not the store, and not the caller's working directory. git may track a
    /// file or two in it.
    fn can_be_view(&mut self, at: &Path, home: &Checkout, tree: (&Tree, Node)) -> Result<bool, WorktreeError> {
        let whole = self.worktree.root.join(at);
        if path::stat(&whole)?.is_some_and(|s| !s.is_dir())
            || path::is_there(&whole.join(".git"))
            || self.views.iter().any(|v| v.starts_with(at))
            || self.cwd.as_ref().is_some_and(|cwd| cwd.starts_with(&whole))
            || self.store.starts_with(&whole)
        {
            return Ok(false);
        }
        let limits = self.limits()?;
        if limits.others.iter().any(|w| w.starts_with(&whole))
            || limits.mounts.iter().any(|m| m.path.starts_with(&whole))
            || limits.excluded.matched_path_or_any_parents(at, true).is_ignore()
        {
            return Ok(false);
        }
        let inside = self.inside(at, home);
        let tracked = self.tracked(home)?;
        if !tracked.covers(&inside) {
            return Ok(true);
        }
        if !tracked.are_some_below(&inside) {
            return Ok(false);
        }
        // A member that git neither ignores nor tracks would be an untracked file of the worktree.
        let (tree, node) = tree;
        let names = tree.entries(node, 0).map(|entry| PathBuf::from(OsStr::from_bytes(entry.name)));
        let mut asked = names_to_ask(tracked, &inside, &names.collect::<Vec<_>>());
        let is_dir = |at: &Path| {
            let name = at.file_name().and_then(|name| Name::new(name.as_bytes()).ok());
            let member = name.and_then(|name| tree.lookup(node, &name));
            member.and_then(|member| tree.kind(member)) == Some(FileType::Directory)
        };
        // With a slash at the end, a pattern for directories matches one that isn't there yet.
        asked.iter_mut().filter(|at| is_dir(at)).for_each(|at| at.push(""));
        Ok(home.git().check_ignored(&asked)?.len() == asked.len())
    }

    fn limits(&mut self) -> Result<&LayoutLimits, WorktreeError> {
        if self.limits.is_none() {
            let excluded = Settings::load(&self.worktree.git())?.excluded(&self.worktree.root)?;
            let mut others: Vec<PathBuf> = self.worktree.registered()?.into_iter().map(|(root, _)| root).collect();
            others.retain(|root| *root != self.worktree.root);
            self.limits = Some(LayoutLimits { excluded, others, mounts: mountinfo::read()? });
        }
        Ok(self.limits.as_ref().expect("it was filled just now"))
    }
}

/// The path that `place` will have, without symlinks as far as it is there already.
pub fn resolved(place: &Path) -> Result<PathBuf, WorktreeError> {
    let whole = path::absolute(place)?;
    let there = whole.ancestors().find(|dir| path::is_there(dir)).unwrap_or(Path::new("/"));
    let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
    Ok(crate::git::checkout::plain(&path::canonical(there)?.join(rest)))
}
