//! The lower: the grafts as one read-only directory tree.
//!
//! Several trees may meet in one directory. They merge name by name, later wins; where all of them have a
//! directory, the directories merge in turn. A merged directory has one inode number: that of the graft
//! with the lowest base, which is the one that was there first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::store::{Name, Node, Tree, TreeId};
use crate::sys::fs::FileType;

use super::intact::Intact;
use super::journal::Record;
use super::merged::Merged;
use super::types::Ino;

/// One node of one graft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LowerNode {
    /// Position in the list of grafts; a later one wins.
    pub graft: usize,
    pub node: Node,
}

/// A tree in a view: its nodes are the inodes `base .. base + node_count`.
#[derive(Clone)]
pub(super) struct LowerGraft {
    pub base: u64,
    pub tree: Arc<Tree>,
    /// The directory it is laid over; its root directory is that directory.
    pub at: Ino,
    /// The path of that directory when the graft was laid.
    pub path: Vec<u8>,
    /// It was taken away or replaced. No name leads to it any more, but its inode numbers are still known, and
    /// what the other grafts have at the same paths keeps them.
    pub retired: bool,
}

impl LowerGraft {
    /// The inode numbers of its nodes.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.base..self.base + u64::from(self.tree.node_count())
    }
}

/// The grafts of a view as one read-only tree: inode numbers of the view on one side, nodes of trees on the other.
#[derive(Default)]
pub(super) struct Lower {
    /// The live ones first.
    pub(super) grafts: Vec<LowerGraft>,
    /// Positions in `grafts`, by rising base.
    by_base: Vec<usize>,
    /// Directories that aren't one tree's alone: the live layers, the winning one first.
    stacks: HashMap<Ino, Vec<LowerNode>>,
    /// The roots of the grafts that are laid over a directory, the last one first.
    laid_over: HashMap<Ino, Vec<LowerNode>>,
    /// Nodes whose inode number is another node's: members of a merged directory, a graft's root, a file that
    /// is just as a retired graft had it.
    alias: HashMap<LowerNode, Ino>,
    pub(super) intact: Intact,
}

impl Lower {
    /// Lays the grafts over each other, the last on top.
    pub fn new(mut grafts: Vec<LowerGraft>) -> Lower {
        grafts.sort_by_key(|g| g.retired);
        let mut by_base: Vec<usize> = (0..grafts.len()).collect();
        by_base.sort_by_key(|i| grafts[*i].base);
        let mut lower = Lower { grafts, by_base, ..Lower::default() };
        for (graft, g) in lower.grafts.iter().enumerate().rev() {
            lower.laid_over.entry(g.at).or_default().push(LowerNode { graft, node: Node(0) });
        }
        let over: Vec<Ino> = std::iter::once(Ino::ROOT).chain(lower.grafts.iter().map(|g| g.at)).collect();
        for at in over {
            // The merge of a directory above has come by here, if this one is in several trees.
            if lower.laid_over.contains_key(&at) && !lower.stacks.contains_key(&at) {
                let own = lower.node(at).into_iter().collect();
                lower.merge(at, own);
            }
        }
        lower
    }

    fn is_live(&self, n: LowerNode) -> bool {
        !self.grafts[n.graft].retired
    }

    /// Makes `ino` the merged directory of `stack` and of the grafts that are laid over it, and merges the directories
    /// below it.
    fn merge(&mut self, ino: Ino, stack: Vec<LowerNode>) {
        let mut todo = vec![(ino, stack)];
        while let Some((ino, stack)) = todo.pop() {
            let mut all = self.laid_over.get(&ino).cloned().unwrap_or_default();
            all.extend(stack.into_iter().filter(|n| !all.contains(n)).collect::<Vec<_>>());
            self.merge_one(ino, all, &mut todo);
        }
    }

    /// Merges one directory, and adds those below it that are to be merged.
    fn merge_one(&mut self, ino: Ino, stack: Vec<LowerNode>, todo: &mut Vec<(Ino, Vec<LowerNode>)>) {
        for member in &stack {
            self.alias.insert(*member, ino);
        }
        let (live, retired): (Vec<_>, Vec<_>) = stack.into_iter().partition(|n| self.is_live(*n));
        let mut shared = self.shared_directories(&live);
        for layer in &retired {
            shared.extend(self.keep_numbers(*layer, &live));
        }
        self.stacks.insert(ino, live.clone());
        for name in shared {
            let mut below = self.child_stack(&live, &name);
            if below.is_empty() {
                continue;
            }
            let was = retired.iter().filter_map(|r| self.child(*r, &name));
            below.extend(was.filter(|n| self.kind_of(*n) == FileType::Directory).collect::<Vec<_>>());
            let first = below.iter().min_by_key(|n| self.grafts[n.graft].base).copied();
            if let Some(first) = first.filter(|_| below.len() > 1) {
                todo.push((self.plain_ino(first), below));
            }
        }
    }

    /// Gives the files that a retired layer had just so its inode numbers; returns the names of its directories.
    fn keep_numbers(&mut self, retired: LowerNode, live: &[LowerNode]) -> Vec<Name> {
        let (mut dirs, mut same) = (Vec::new(), Vec::new());
        for entry in self.tree(retired).entries(retired.node, 0) {
            let Ok(name) = Name::new(entry.name) else { continue };
            let was = LowerNode { graft: retired.graft, node: entry.node };
            let now = live.iter().find_map(|l| self.child(*l, &name));
            match self.kind_of(was) {
                FileType::Directory => dirs.push(name),
                _ => same.extend(now.filter(|n| self.is_same_file(*n, was)).map(|n| (n, self.ino(was)))),
            }
        }
        for (now, ino) in same {
            self.alias.entry(now).or_insert(ino);
        }
        dirs
    }

    /// Whether the two differ in nothing but their inode numbers.
    fn is_same_file(&self, a: LowerNode, b: LowerNode) -> bool {
        let ((at, an), (bt, bn)) = ((self.tree(a), a.node), (self.tree(b), b.node));
        let plain = at.stat(an).nlink == 1 && at.stat(an) == bt.stat(bn);
        plain && at.object(an) == bt.object(bn) && at.target(an) == bt.target(bn) && at.xattrs(an).eq(bt.xattrs(bn))
    }

    /// The layers of directory `name` below `stack`, from the winning one down to the first that has no directory there.
    fn child_stack(&self, stack: &[LowerNode], name: &Name) -> Vec<LowerNode> {
        let hits = stack.iter().filter_map(|s| self.child(*s, name));
        hits.take_while(|n| self.kind_of(*n) == FileType::Directory).collect()
    }

    /// Names that are a directory in at least one layer but the largest; only those can be in two.
    fn shared_directories(&self, stack: &[LowerNode]) -> HashSet<Name> {
        let largest = stack.iter().max_by_key(|s| self.tree(**s).entry_count(s.node)).copied();
        let small = stack.iter().filter(|s| Some(**s) != largest);
        let mut names = HashSet::new();
        for layer in small {
            for entry in self.tree(*layer).entries(layer.node, 0) {
                let child = LowerNode { graft: layer.graft, node: entry.node };
                if self.kind_of(child) == FileType::Directory {
                    names.extend(Name::new(entry.name));
                }
            }
        }
        names
    }

    /// The grafts, as they were given to [`Lower::new`] but for the order.
    pub fn grafts(&self) -> &[LowerGraft] {
        &self.grafts
    }

    /// Whether this inode number is one of a retired graft's.
    pub fn is_retired(&self, ino: Ino) -> bool {
        self.node(ino).is_some_and(|n| !self.is_live(n))
    }

    /// The inode number that what `ino` shows has by the live grafts alone: in `alone`, which is the lower
    /// without the retired ones. `None` when only a retired one has it.
    pub fn number_in(&self, alone: &Lower, ino: Ino, by_alias: &HashMap<Ino, LowerNode>) -> Option<Ino> {
        if !self.is_retired(ino) {
            return Some(ino);
        }
        match self.stacks.get(&ino) {
            Some(live) => live.first().map(|n| alone.ino(*n)),
            None => by_alias.get(&ino).map(|n| alone.ino(*n)),
        }
    }

    /// The live file that has a retired one's number, by that number.
    pub fn kept_numbers(&self) -> HashMap<Ino, LowerNode> {
        self.alias.iter().filter(|(n, _)| self.is_live(**n)).map(|(n, ino)| (*ino, *n)).collect()
    }

    fn child(&self, dir: LowerNode, name: &Name) -> Option<LowerNode> {
        self.tree(dir).lookup(dir.node, name).map(|node| LowerNode { graft: dir.graft, node })
    }

    fn kind_of(&self, n: LowerNode) -> FileType {
        self.tree(n).stat(n.node).kind
    }

    fn tree(&self, n: LowerNode) -> &Tree {
        &self.grafts[n.graft].tree
    }

    fn plain_ino(&self, n: LowerNode) -> Ino {
        Ino(self.grafts[n.graft].base + u64::from(n.node.0))
    }

    /// The inode number that the view shows for a node: of a merged directory's layers all have one.
    pub fn ino(&self, n: LowerNode) -> Ino {
        match self.alias.get(&n) {
            Some(ino) => *ino,
            None => self.plain_ino(n),
        }
    }

    /// The node that `ino` numbers, if it is one of a tree.
    pub fn node(&self, ino: Ino) -> Option<LowerNode> {
        let after = self.by_base.partition_point(|i| self.grafts[*i].base <= ino.0);
        let graft = *self.by_base.get(after.checked_sub(1)?)?;
        let offset = ino.0 - self.grafts[graft].base;
        let node = u32::try_from(offset).ok().filter(|n| *n < self.grafts[graft].tree.node_count())?;
        Some(LowerNode { graft, node: Node(node) })
    }

    /// The layers of a directory, the winning one first; empty for a directory that no graft has.
    fn layers(&self, dir: Ino) -> Layers<'_> {
        match self.stacks.get(&dir) {
            Some(stack) => Layers::Many(stack),
            None => Layers::One(self.node(dir).filter(|n| self.kind_of(*n) == FileType::Directory)),
        }
    }

    /// The layers of a directory, whatever their position in a list of grafts.
    pub(super) fn layer_numbers(&self, dir: Ino) -> Vec<Ino> {
        self.layers(dir).as_slice().iter().map(|n| self.plain_ino(*n)).collect()
    }

    /// The nodes of live trees that this inode shows, as numbers; `kept` are the [`Lower::kept_numbers`].
    pub(super) fn live_numbers(&self, ino: Ino, kept: &HashMap<Ino, LowerNode>) -> Vec<Ino> {
        match self.is_dir(ino) {
            true => self.layer_numbers(ino),
            false => vec![kept.get(&ino).map_or(ino, |n| self.plain_ino(*n))],
        }
    }

    /// The grafts' entry `name` in `dir`.
    pub fn lookup(&self, dir: Ino, name: &Name) -> Option<Ino> {
        let hit = self.layers(dir).as_slice().iter().find_map(|layer| self.child(*layer, name));
        hit.map(|n| self.ino(n))
    }

    /// The tree and node that give `ino` its metadata: for a merged directory the winning layer.
    pub fn source(&self, ino: Ino) -> Option<(&Tree, Node)> {
        self.shared_source(ino).map(|(tree, node)| (&**tree, node))
    }

    /// As [`Lower::source`], for a caller that keeps the tree.
    pub fn shared_source(&self, ino: Ino) -> Option<(&Arc<Tree>, Node)> {
        let n = match self.stacks.get(&ino) {
            Some(stack) => *stack.first()?,
            None => self.node(ino)?,
        };
        Some((&self.grafts[n.graft].tree, n.node))
    }

    /// The directory that `tree`, laid by a live graft, has among the layers of `dir`.
    pub fn node_in(&self, dir: Ino, tree: TreeId) -> Option<Node> {
        let layers = self.layers(dir);
        let own = layers.as_slice().iter().find(|n| self.is_live(**n) && self.tree(**n).id() == tree);
        own.map(|n| n.node)
    }

    /// The type of a lower inode; `None` for one of the upper, and for an unknown number. Of a merged directory it is
    /// that of its first layer.
    pub fn kind(&self, ino: Ino) -> Option<FileType> {
        self.source(ino).map(|(tree, node)| tree.stat(node).kind)
    }

    /// A file, not a directory, that its tree names once.
    pub fn has_one_name(&self, ino: Ino) -> bool {
        self.source(ino)
            .map(|(tree, node)| tree.stat(node))
            .is_some_and(|s| s.kind != FileType::Directory && s.nlink == 1)
    }

    /// All files that their tree gives several names.
    pub fn linked(&self) -> impl Iterator<Item = Ino> + '_ {
        let nodes = |(graft, g): (usize, &LowerGraft)| {
            (0..g.tree.node_count()).map(move |n| LowerNode { graft, node: Node(n) })
        };
        let all = self.grafts.iter().enumerate().flat_map(nodes);
        let several = |n: &LowerNode| {
            let stat = self.tree(*n).stat(n.node);
            stat.kind != FileType::Directory && stat.nlink > 1
        };
        all.filter(several).map(|n| self.ino(n))
    }

    /// Whether one tree is all there is: then each of its names shows as it is there.
    pub fn is_one_tree(&self) -> bool {
        self.grafts.len() == 1
    }

    /// Whether a tree has this inode as a directory; false for a directory of the upper alone.
    pub fn is_dir(&self, ino: Ino) -> bool {
        self.kind(ino) == Some(FileType::Directory)
    }

    /// How many subdirectories a directory of a single tree has; `None` for a merged one.
    pub fn subdirectories(&self, dir: Ino) -> Option<u32> {
        match self.layers(dir).as_slice() {
            [one] => Some(self.tree(*one).stat(one.node).nlink.saturating_sub(2)),
            [] => Some(0),
            _ => None,
        }
    }

    /// Every place that a tree gives this inode. The overlay decides whether they still show.
    pub fn places(&self, ino: Ino) -> Vec<(Ino, Name)> {
        let members = match self.stacks.get(&ino) {
            Some(stack) => stack.clone(),
            None => self.node(ino).into_iter().collect(),
        };
        let mut out: Vec<(Ino, Name)> = Vec::with_capacity(1);
        let may_repeat = members.len() > 1;
        for m in members {
            for (parent, name) in self.tree(m).places(m.node) {
                let parent = self.ino(LowerNode { graft: m.graft, node: parent });
                if let Ok(name) = Name::new(name)
                    && !(may_repeat && out.iter().any(|(p, n)| *p == parent && *n == name))
                {
                    out.push((parent, name));
                }
            }
        }
        out
    }

    /// The journal's records of these grafts, each with the path at which it is laid.
    pub fn records(&self) -> Vec<Record> {
        let record =
            |g: &LowerGraft, nodes| Record::Graft { base: g.base, nodes, tree: g.tree.id(), at: g.path.clone() };
        let records = |g: &LowerGraft| {
            let retirement = g.retired.then(|| record(g, 0));
            std::iter::once(record(g, g.tree.node_count())).chain(retirement).collect::<Vec<_>>()
        };
        self.grafts.iter().flat_map(records).collect()
    }

    /// Names of a directory, in order; each once, the winning layer's.
    pub fn entries(&self, dir: Ino) -> Box<dyn Iterator<Item = (u64, &[u8], Ino)> + '_> {
        self.entries_after(dir, &Name::bound_after(0))
    }

    /// Names of a directory after one, in order; each once, the winning layer's.
    pub fn entries_after(&self, dir: Ino, after: &Name) -> Box<dyn Iterator<Item = (u64, &[u8], Ino)> + '_> {
        let one = |layer: LowerNode| {
            self.tree(layer).entries_after(layer.node, after).map(move |e| {
                let ino = self.ino(LowerNode { graft: layer.graft, node: e.node });
                (e.cookie.0, e.name, ino)
            })
        };
        match self.layers(dir).as_slice() {
            [] => Box::new(std::iter::empty()),
            [layer] => Box::new(one(*layer)),
            stack => Box::new(Merged { sources: stack.iter().map(|l| one(*l).peekable()).collect() }),
        }
    }
}

/// Zero, one or many layers, without an allocation for the usual one.
enum Layers<'a> {
    One(Option<LowerNode>),
    Many(&'a [LowerNode]),
}

impl Layers<'_> {
    fn as_slice(&self) -> &[LowerNode] {
        match self {
            Layers::One(one) => one.as_slice(),
            Layers::Many(stack) => stack,
        }
    }
}
