//! A graft's files show again where the worktree had deleted them. Files that the worktree has made since
//! stay.
//!
//! | at a member's name                    | then                                                            |
//! |---------------------------------------|------------------------------------------------------------------|
//! | nothing: it was deleted               | the whiteout goes; of a directory only the graft's own names come back |
//! | a directory made after the deletion   | the two merge, if the journal has no record of the new one       |
//! | a file of the worktree's own          | it stays; reported, unless it is the same                        |
//! | something that was moved there        | it stays; reported                                               |
//! | nothing, in a thawed directory        | reported as blocked: a plain file has to be written              |

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::{Name, Node, Tree, TreeId};
use crate::sys::fs::{FileType, Timespec};

use super::error::{OverlayError, Result};
use super::journal::Record;
use super::lower::LowerGraft;
use super::state::Override;
use super::types::Ino;
use super::types::Stale;
use super::upper::touch_dir;
use super::view::Overlay;
use super::view::{FoundName, View};

/// Members that don't show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Those with something else in their place; a directory stands for all below it.
    pub kept: Vec<PathBuf>,
    /// How many have nothing in their place that could be uncovered.
    pub blocked: u64,
}

impl Overlay {
    /// Makes the members of the live graft of `tree` at a path show that were deleted. Returns what the kernel must forget.
    ///
    /// # Errors
    /// The tree cannot be opened, or the upper or the journal cannot be changed.
    pub fn uncover(&self, at: &Path, tree: TreeId) -> Result<Vec<Stale>> {
        self.view.lock().walk_graft(at, tree, true).map(|(_, stale)| stale)
    }

    /// Which members of the live graft of `tree` at a path don't show. Changes nothing.
    ///
    /// # Errors
    /// The tree cannot be opened, or the upper cannot be read.
    pub fn covered(&self, at: &Path, tree: TreeId) -> Result<Covered> {
        self.view.lock().walk_graft(at, tree, false).map(|(covered, _)| covered)
    }

    /// As [`Overlay::covered`], for the graft that is laid over this directory.
    ///
    /// # Errors
    /// [`OverlayError::NotFound`] without such a graft.
    pub fn covered_at(&self, dir: Ino, tree: TreeId) -> Result<Covered> {
        let mut view = self.view.lock();
        let is_it = |g: &&LowerGraft| !g.retired && g.at == dir && g.tree.id() == tree;
        let path = view.lower.grafts().iter().find(is_it).map(|g| g.path.clone()).ok_or(OverlayError::NotFound)?;
        view.walk_graft(Path::new(OsStr::from_bytes(&path)), tree, false).map(|(covered, _)| covered)
    }
}

/// A walk over a graft's members, beside the view.
struct Walk {
    tree: Arc<Tree>,
    /// Take away what hides members.
    reveal: bool,
    changed: HashSet<Ino>,
    covered: Covered,
    stale: Vec<Stale>,
}

impl View {
    fn walk_graft(&mut self, path: &Path, tree: TreeId, reveal: bool) -> Result<(Covered, Vec<Stale>)> {
        let is_it = |g: &&LowerGraft| !g.retired && g.tree.id() == tree && g.path == path.as_os_str().as_bytes();
        let graft = self.lower.grafts().iter().find(is_it);
        let Some((at, tree)) = graft.map(|g| (g.at, g.tree.clone())) else { return Err(OverlayError::NotFound) };
        let changed = self.changed_dirs()?;
        let mut walk = Walk { tree, reveal, changed, covered: Covered::default(), stale: Vec::new() };
        if self.walk_to(&mut walk, path, at)? {
            self.walk_dir(&mut walk, at, Node::ROOT, &PathBuf::new())?;
        }
        Ok((walk.covered, walk.stale))
    }

    /// Whether the directory that a graft is laid over shows at its path, deleted directories on the way restored if
    /// wanted. A directory that comes back shows no other graft.
    fn walk_to(&mut self, walk: &mut Walk, path: &Path, at: Ino) -> Result<bool> {
        let mut dir = Ino::ROOT;
        for part in path.iter() {
            let Ok(name) = Name::new(part.as_bytes()) else { return Ok(false) };
            // Without a directory of the lower the graft is where it was laid.
            let Some(stored) = self.lower.lookup(dir, &name) else { return Ok(true) };
            let said = self.delta.name(dir, &name);
            let comes_back = said == Some(Override::Whiteout) && walk.reveal && self.is_at_home(stored);
            match self.resolve(dir, &name) {
                Ok(found) if found.ino == stored => {}
                Ok(found) if comes_back && self.is_fresh_dir(&found, said) => self.reveal_way(walk, dir, &name, at)?,
                Err(OverlayError::NotFound) if comes_back => self.reveal_way(walk, dir, &name, at)?,
                Ok(_) | Err(OverlayError::NotFound) => {
                    walk.covered.blocked += 1;
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
            dir = stored;
        }
        Ok(true)
    }

    /// As [`View::reveal`], of a directory on the way to a graft, or the one it is laid over.
    fn reveal_way(&mut self, walk: &mut Walk, dir: Ino, name: &Name, at: Ino) -> Result<()> {
        let stored = self.lower.lookup(dir, name).ok_or(OverlayError::NotFound)?;
        if stored == at {
            return self.reveal(walk, dir, name);
        }
        let mut records = vec![Record::Unset { dir, name: name.clone(), time: None }];
        for (_, bytes, _) in self.lower.entries(stored) {
            // The next directory on the way comes back after it.
            records.extend(Name::new(bytes).map(|name| Record::Whiteout { dir: stored, name, time: None }));
        }
        self.show_again(walk, dir, name, records)
    }

    /// One directory of the graft, which shows as `dir`. Nothing can be hidden where neither journal nor upper have a
    /// word.
    fn walk_dir(&mut self, walk: &mut Walk, dir: Ino, node: Node, path: &Path) -> Result<()> {
        if !walk.changed.contains(&dir) && self.dir_fd(dir)?.is_none() {
            return Ok(());
        }
        let tree = walk.tree.clone();
        for entry in tree.entries(node, 0) {
            let Ok(name) = Name::new(entry.name) else { continue };
            let path = path.join(OsStr::from_bytes(entry.name));
            let is_dir = tree.kind(entry.node) == Some(FileType::Directory);
            let below = if is_dir { Some(entry.node) } else { None };
            self.walk_name(walk, dir, &name, below, &path)?;
        }
        Ok(())
    }

    /// One member; `below` is its node when it is a directory.
    fn walk_name(&mut self, walk: &mut Walk, dir: Ino, name: &Name, below: Option<Node>, path: &Path) -> Result<()> {
        // Another graft may have its own in this place: later wins, and nothing is hidden.
        let Some(stored) = self.lower.lookup(dir, name) else { return Ok(()) };
        let said = self.delta.name(dir, name);
        match self.resolve(dir, name) {
            Ok(_) if matches!(said, Some(Override::Moved(_))) => walk.covered.kept.push(path.into()),
            Ok(found) if found.ino == stored => {
                return match below.filter(|_| self.lower.is_dir(stored)) {
                    Some(node) => self.walk_dir(walk, stored, node, path),
                    None => self.walk_file(walk, &found, stored, path),
                };
            }
            Ok(found) => match below {
                Some(node)
                    if self.is_fresh_dir(&found, said) && self.lower.is_dir(stored) && self.is_at_home(stored) =>
                {
                    if !walk.reveal {
                        walk.covered.blocked += 1;
                        return Ok(());
                    }
                    self.reveal(walk, dir, name)?;
                    return self.walk_dir(walk, stored, node, path);
                }
                // Of an opaque directory's own directories some may have the same names.
                Some(_) if found.upper.is_some_and(|s| s.is_dir()) => walk.covered.blocked += 1,
                _ => return self.walk_file(walk, &found, stored, path),
            },
            Err(OverlayError::NotFound)
                if said == Some(Override::Whiteout) && walk.reveal && self.is_at_home(stored) =>
            {
                self.reveal(walk, dir, name)?;
            }
            Err(OverlayError::NotFound) => walk.covered.blocked += 1,
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// A file shows, or a directory where a file is meant, or the other way round.
    fn walk_file(&mut self, walk: &mut Walk, found: &FoundName, stored: Ino, path: &Path) -> Result<()> {
        let Some(stat) = found.upper else { return Ok(()) };
        let same_kind = self.lower.kind(stored) == Some(stat.kind());
        if !same_kind || !self.same_bytes(&found.ino, stored, stat.size)? {
            walk.covered.kept.push(path.into());
        }
        Ok(())
    }

    /// A directory that was made where one was deleted, without a record of its own: it can become the same one again.
    fn is_fresh_dir(&self, found: &FoundName, said: Option<Override>) -> bool {
        let is_upper_dir = found.upper.is_some_and(|s| s.is_dir()) && found.ino.is_upper();
        is_upper_dir
            && said == Some(Override::Whiteout)
            && !self.is_recorded(found.ino)
            && !self.delta.named_upper_dirs().contains(&found.ino)
    }

    /// Neither moved elsewhere, where it would be in two places, nor still open after it was deleted: then it goes on as
    /// it was then.
    fn is_at_home(&self, ino: Ino) -> bool {
        self.delta.moved_to(ino).is_empty() && !self.is_gone(ino)
    }

    /// Takes the whiteout of a name away. Of a directory only what the walk's tree has shows then.
    fn reveal(&mut self, walk: &mut Walk, dir: Ino, name: &Name) -> Result<()> {
        let stored = self.lower.lookup(dir, name).ok_or(OverlayError::NotFound)?;
        let upper = self.dir_fd(dir)?;
        let time = upper.is_none().then(Timespec::now);
        let mut records = vec![Record::Unset { dir, name: name.clone(), time }];
        if self.lower.is_dir(stored) {
            let node = self.lower.node_in(stored, walk.tree.id());
            self.hide_others(walk, stored, node, &mut records);
        }
        self.show_again(walk, dir, name, records)
    }

    /// Records that a name shows again what is stored.
    fn show_again(&mut self, walk: &mut Walk, dir: Ino, name: &Name, records: Vec<Record>) -> Result<()> {
        let upper = self.dir_fd(dir)?;
        let places = self.places_for(&records)?;
        self.record_all(places.into_iter().chain(records).collect())?;
        upper.iter().for_each(|fd| touch_dir(fd));
        self.upper.forget_all();
        self.subdirs.clear();
        walk.stale.push(Stale::Inode(dir));
        walk.stale.push(Stale::Entry { parent: dir, name: name.clone() });
        Ok(())
    }

    /// Records that hide what other grafts have below a directory that comes back, and what is elsewhere by now.
    fn hide_others(&self, walk: &mut Walk, dir: Ino, node: Option<Node>, records: &mut Vec<Record>) {
        for (_, bytes, ino) in self.lower.entries(dir) {
            let Ok(name) = Name::new(bytes) else { continue };
            let own = node.and_then(|n| walk.tree.lookup(n, &name));
            let comes_back = own.is_some() && self.is_at_home(ino);
            if !comes_back {
                walk.covered.blocked += u64::from(own.is_some());
                records.push(Record::Whiteout { dir, name, time: None });
            } else if self.lower.is_dir(ino) {
                let below = own.filter(|n| walk.tree.kind(*n) == Some(FileType::Directory));
                self.hide_others(walk, ino, below, records);
            }
        }
    }
}
