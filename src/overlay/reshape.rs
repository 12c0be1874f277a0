//! The journals of views that were mounted one by one become the journal of one view of them all, and back.
//!
//! A record names inodes by number. Those of the upper stay what they are: it is one directory tree, mounted as one or in
//! parts. Those of a tree are counted from the base of its graft, and a view's root is a directory of a frame
//! (`store/frame.rs`). So each record is written again with other numbers.
//!
//! A part can't say that something was moved into another part, or out of all of them: before one view is divided, all
//! that was moved becomes the worktree's own ([`Overlay::thaw_moved`]).

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::{Name, Node, Tree, TreeId};

use super::error::{OverlayError, Result};
use super::graft::renumbered;
use super::journal::{Journal, Record};
use super::numbers::FIRST_BASE;
use super::state_dir;
use super::types::Ino;
use super::view::Overlay;

/// A tree of a lower: where its numbers begin, how many there are, and the path that it is laid at.
#[derive(Clone, Debug)]
struct NumberedTree {
    base: u64,
    nodes: u32,
    tree: TreeId,
    at: PathBuf,
}

/// All records of a journal.
#[derive(Debug)]
pub struct JournalContent {
    trees: Vec<NumberedTree>,
    records: Vec<Record>,
}

/// A view that is mounted by itself, for [`JournalContent::of_all`].
pub struct JournalPart {
    /// Its path in the worktree.
    pub at: PathBuf,
    /// `None`: its user has deleted it.
    pub content: Option<JournalContent>,
}

impl Overlay {
    /// The content of the journal, for views of the other shape.
    pub fn journal_content(&self) -> JournalContent {
        let view = self.view.lock();
        let trees = view.lower.grafts().iter().map(|g| NumberedTree {
            base: g.base,
            nodes: g.tree.node_count(),
            tree: g.tree.id(),
            at: Path::new(std::ffi::OsStr::from_bytes(&g.path)).into(),
        });
        let mut records = view.delta.records();
        records.retain(|record| !matches!(record, Record::Root { .. }));
        JournalContent { trees: trees.collect(), records }
    }

    /// All that was moved becomes the worktree's own.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub fn thaw_moved(&self) -> Result<()> {
        let mut view = self.view.lock();
        for ino in view.delta.all_moved() {
            match view.find(ino) {
                Err(OverlayError::NotFound) => {}
                found => found.and_then(|_| view.thaw(ino))?,
            }
        }
        view.flush_all()
    }
}

impl JournalContent {
    /// The journal of one view that shows all parts, their places in these frames.
    pub fn of_all(frames: &[Arc<Tree>], parts: Vec<JournalPart>) -> JournalContent {
        let mut all = JournalContent { trees: Vec::new(), records: Vec::new() };
        for frame in frames {
            all.add(NumberedTree { base: 0, nodes: frame.node_count(), tree: frame.id(), at: PathBuf::new() });
        }
        for part in parts {
            let Some(place) = place_in(frames, &all.trees, &part.at) else { continue };
            let Some(content) = part.content else {
                let parent = part.at.parent().and_then(|parent| place_in(frames, &all.trees, parent));
                let name = part.at.file_name().and_then(|name| Name::new(name.as_bytes()).ok());
                let whiteout = parent.zip(name).map(|(dir, name)| Record::Whiteout { dir, name, time: None });
                all.records.extend(whiteout);
                continue;
            };
            let bases: Vec<(NumberedTree, u64)> = content
                .trees
                .into_iter()
                .map(|tree| {
                    let at = crate::store::manifest::joined(&part.at, &tree.at);
                    let base = all.add(NumberedTree { at, ..tree.clone() });
                    (tree, base)
                })
                .collect();
            let number = |ino: Ino| match ino {
                Ino::ROOT => Some(place),
                ino if ino.is_upper() => Some(ino),
                ino => moved_to(&bases, ino),
            };
            all.records.extend(content.records.into_iter().filter_map(|record| renumbered(record, &number)));
        }
        all
    }

    /// The journal of the part at a path, mounted by itself; `None` if it was deleted.
    pub fn of_part(&self, frames: &[Arc<Tree>], at: &Path) -> Option<JournalContent> {
        let place = place_in(frames, &self.trees, at)?;
        let named = |record: &Record| match record {
            Record::Whiteout { dir, name, .. } | Record::Moved { dir, name, .. } => Some((*dir, name.clone())),
            _ => None,
        };
        let overrides: HashSet<(Ino, Name)> = self.records.iter().filter_map(named).collect();
        let (mut dir, mut path) = (Ino::ROOT, PathBuf::new());
        for part in at.iter() {
            let name = Name::new(part.as_bytes()).ok()?;
            if overrides.contains(&(dir, name)) {
                return None;
            }
            path.push(part);
            dir = place_in(frames, &self.trees, &path)?;
        }
        let mut new = JournalContent { trees: Vec::new(), records: Vec::new() };
        let own = self.trees.iter().skip(frames.len()).filter(|tree| tree.at.starts_with(at));
        let bases: Vec<(NumberedTree, u64)> = own
            .map(|tree| {
                let inside = tree.at.strip_prefix(at).unwrap_or(&tree.at).into();
                (tree.clone(), new.add(NumberedTree { at: inside, ..tree.clone() }))
            })
            .collect();
        // A directory of the upper alone has records of what was moved there only, and that is the upper's by now.
        let number = |ino: Ino| if ino == place { Some(Ino::ROOT) } else { moved_to(&bases, ino) };
        new.records = self.records.iter().cloned().filter_map(|record| renumbered(record, &number)).collect();
        Some(new)
    }

    /// Adds a tree behind all others; returns its base.
    fn add(&mut self, tree: NumberedTree) -> u64 {
        let base = self.trees.last().map_or(FIRST_BASE, |last| last.base + u64::from(last.nodes));
        self.trees.push(NumberedTree { base, ..tree });
        base
    }

    /// Writes it as the journal of the view of `upper`.
    ///
    /// # Errors
    /// A journal that can't be written.
    pub fn write(self, upper: &OwnedFd, state_dir: &Path) -> Result<()> {
        let home = state_dir::find(upper, state_dir, false)?;
        let (mut journal, _) = Journal::open_in(home.dir, &home.path, state_dir)?;
        let graft = |tree: NumberedTree| Record::Graft {
            base: tree.base,
            nodes: tree.nodes,
            tree: tree.tree,
            at: tree.at.as_os_str().as_bytes().to_vec(),
        };
        Ok(journal.rewrite(self.trees.into_iter().map(graft).chain(self.records).collect())?)
    }
}

/// The directory of the frames at a path: of the first that has it. `trees` begin with the frames.
fn place_in(frames: &[Arc<Tree>], trees: &[NumberedTree], path: &Path) -> Option<Ino> {
    if path.as_os_str().is_empty() {
        return Some(Ino::ROOT);
    }
    let names: Vec<Name> = path.iter().map(|part| Name::new(part.as_bytes()).ok()).collect::<Option<_>>()?;
    frames.iter().zip(trees).find_map(|(frame, numbered)| {
        let node = names.iter().try_fold(Node::ROOT, |dir, name| frame.lookup(dir, name))?;
        Some(Ino(numbered.base + u64::from(node.0)))
    })
}

/// The number of a tree's node, where the trees begin at other bases.
fn moved_to(bases: &[(NumberedTree, u64)], ino: Ino) -> Option<Ino> {
    let is_in = |tree: &NumberedTree| (tree.base..tree.base + u64::from(tree.nodes)).contains(&ino.0);
    bases.iter().find(|(tree, _)| is_in(tree)).map(|(tree, base)| Ino(ino.0 - tree.base + base))
}
