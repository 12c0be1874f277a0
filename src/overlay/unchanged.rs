//! The unchanged part of a view: all entries that are just the lower's, for a reader of a whole big view, without a
//! request for each name.
//!
//! The reader gets the order of the trees ([`Overlay::laid`]), the inodes that the journal has records of
//! ([`Overlay::touched`]), and the names of a directory at which upper or journal have an entry
//! ([`Overlay::own_names`]). It merges the trees itself ([`Unchanged`]), with the view's own inode numbers, and queries
//! the view for the rest only.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::store::{Name, Node, Tree, TreeId};

use super::error::Result;
use super::lower::{Lower, LowerGraft};
use super::position::first_after;
use super::state_dir::IN_UPPER;
use super::types::Ino;
use super::view::Overlay;

/// One tree of the lower, and where its inode numbers begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    pub base: u64,
    pub tree: TreeId,
    /// The directory that its root is.
    pub at: Ino,
    /// No name leads to it.
    pub retired: bool,
}

impl Overlay {
    /// The trees of the lower, in the order in which they are laid over each other.
    pub fn laid(&self) -> Vec<Laid> {
        let view = self.view.lock();
        let laid = |g: &LowerGraft| Laid { base: g.base, tree: g.tree.id(), at: g.at, retired: g.retired };
        view.lower.grafts().iter().map(laid).collect()
    }

    /// The inodes above `after` with records in the journal (of names in them, their metadata, the location of their
    /// bytes), and those of relocated files. In order; at most `limit`.
    pub fn touched(&self, after: Ino, limit: usize) -> Vec<Ino> {
        let view = self.view.lock();
        let touched = view.delta.touched().into_iter().chain(view.relocated.inodes());
        let mut all: Vec<Ino> = touched.filter(|ino| *ino > after).collect();
        drop(view);
        all.sort_unstable();
        all.dedup();
        all.truncate(limit);
        all
    }

    /// The names of `dir` after the position `after` at which upper or journal have something, also what hides the
    /// lower's, each with the position after it; in order, at most `limit`. `None` where no other name shows: `dir` is
    /// not one of the lower's, or hides all of it.
    pub(crate) fn own_names(&self, dir: Ino, after: u64, limit: usize) -> Result<Option<Vec<(u64, Name)>>> {
        let mut view = self.view.lock();
        if !view.lower.is_dir(dir) || view.is_gone(dir) || view.delta.is_opaque(dir) {
            return Ok(None);
        }
        view.listing(dir)?;
        let from = first_after(after);
        let range = (Bound::Excluded(&from), Bound::Unbounded);
        let upper = view.listing_if_read(dir).map(|l| l.range::<Name, _>(range)).into_iter().flatten();
        let (mut upper, mut said) = (upper.map(|(n, _)| n), view.delta.overrides(dir, &from).map(|(n, _)| n));
        // The lower's entry at the state directory's name does not show either.
        let home = Name::new(IN_UPPER.as_bytes()).ok().filter(|name| *name > from && view.is_home(dir, name.bytes()));
        let names = InOrder { sources: [&mut upper, &mut said, &mut home.iter()], heads: [None; 3] };
        Ok(Some(view.order.arrange_all(names.cloned(), after, limit)))
    }
}

/// Names of several sources that are in the order of names, each once.
struct InOrder<'a, 's> {
    sources: [&'s mut dyn Iterator<Item = &'a Name>; 3],
    heads: [Option<&'a Name>; 3],
}

impl<'a> Iterator for InOrder<'a, '_> {
    type Item = &'a Name;

    fn next(&mut self) -> Option<&'a Name> {
        for (head, source) in self.heads.iter_mut().zip(&mut self.sources) {
            *head = head.take().or_else(|| source.next());
        }
        let least = self.heads.iter().flatten().min().copied()?;
        self.heads.iter_mut().for_each(|head| *head = head.filter(|name| *name != least));
        Some(least)
    }
}

/// The lower of a view that another process serves, and the parts of it that have changed.
pub struct Unchanged {
    lower: Lower,
    touched: HashSet<Ino>,
}

impl Unchanged {
    /// Trees as they are laid, and the inodes that the journal speaks of.
    pub fn new(laid: Vec<(Laid, Arc<Tree>)>, said: &BTreeSet<Ino>) -> Unchanged {
        let graft = |(laid, tree): (Laid, Arc<Tree>)| LowerGraft {
            base: laid.base,
            tree,
            at: laid.at,
            path: Vec::new(),
            retired: laid.retired,
        };
        let lower = Lower::new(laid.into_iter().map(graft).collect());
        let touched = with_directories_above(&lower, said);
        Unchanged { lower, touched }
    }

    /// Whether the trees have this inode as a directory.
    pub fn is_dir(&self, ino: Ino) -> bool {
        self.lower.is_dir(ino)
    }

    /// The names that the trees give a directory.
    pub fn entries(&self, dir: Ino) -> impl Iterator<Item = (&[u8], Ino)> {
        self.lower.entries(dir).map(|(_, name, ino)| (name, ino))
    }

    /// The tree and node that this inode shows.
    pub fn source(&self, ino: Ino) -> Option<(&Tree, Node)> {
        self.lower.source(ino)
    }

    /// Whether this inode, or one that the trees have below it, shows other than in its tree.
    pub fn is_touched(&self, ino: Ino) -> bool {
        self.touched.contains(&ino)
    }
}

/// These inodes, and all directories that a tree has above them. A moved inode is found by its names, old and new.
fn with_directories_above(lower: &Lower, said: &BTreeSet<Ino>) -> HashSet<Ino> {
    let mut all = HashSet::new();
    let mut todo: Vec<Ino> =
        said.iter().copied().filter(|ino| *ino == Ino::ROOT || lower.kind(*ino).is_some()).collect();
    while let Some(ino) = todo.pop() {
        if all.insert(ino) {
            todo.extend(lower.places(ino).into_iter().map(|(dir, _)| dir));
        }
    }
    all
}
