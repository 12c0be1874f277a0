//! Grafts: which trees a view shows, at its opening and while it is mounted.
//!
//! A graft that is taken away or replaced is *retired*: its inode numbers stay known, so that what is open goes
//! on, and what the new graft has at the same path keeps them: directories always, files that are just the same.
//! So the journal's records stay true. The next fresh opening translates them to the live grafts' own numbers;
//! from then on the retired tree is no longer needed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::{Name, Tree};
use crate::sys::fs;

use super::error::{OverlayError, Result, upper};
use super::journal::{Frame, Record};
use super::lower::{Lower, LowerGraft};
use super::numbers::{FIRST_BASE, LOWER_END};
use super::state::Delta;
use super::types::Ino;
use super::types::Stale;
use super::view::Overlay;
use super::view::View;

/// One tree of the lower, and where it is laid.
#[derive(Clone)]
pub struct GraftSpec {
    /// Relative to the view's root; empty for the root itself.
    pub at: PathBuf,
    /// Opened and checked; it stays mapped as long as the view shows it.
    pub tree: Arc<Tree>,
    /// It is shown no more, but the journal may still speak of it.
    pub retired: bool,
}

impl Overlay {
    /// Shows other trees from now on. Open files keep what they have, the worktree's own changes stay on top.
    /// Returns what the kernel must forget for the next lookup to see it. Grafts that were there and aren't in
    /// `specs` count as retired.
    ///
    /// # Errors
    /// A tree cannot be opened, or the journal cannot be written. The view then shows the former grafts.
    pub fn regraft(&self, specs: Vec<GraftSpec>) -> Result<Vec<Stale>> {
        self.view.lock().regraft(specs)
    }
}

/// The first gap of exactly `nodes` inode numbers between the ranges of known grafts.
fn gap(known: &[Record], nodes: u32) -> Option<u64> {
    let range = |r: &Record| match r {
        Record::Graft { base, nodes, .. } if !r.is_retirement() => {
            Some((*base, base.saturating_add(u64::from(*nodes))))
        }
        _ => None,
    };
    let mut ranges: Vec<(u64, u64)> = known.iter().filter_map(range).collect();
    ranges.sort_unstable();
    let ends = std::iter::once(FIRST_BASE).chain(ranges.iter().map(|(_, end)| *end));
    ends.zip(&ranges).find(|(end, (base, _))| end + u64::from(nodes) == *base).map(|(end, _)| end)
}

impl View {
    /// Lays the grafts, each at the inode numbers that the journal has for it; new ones begin behind all others.
    /// Returns the records of those, for the journal. In a `damaged` journal a record may be missing: a graft that
    /// exactly fits its gap is taken for it.
    pub(super) fn lay(&mut self, specs: Vec<GraftSpec>, known: &[Record], damaged: bool) -> Result<Vec<Record>> {
        let mut next = FIRST_BASE;
        let mut free: Vec<(u64, &Record)> = Vec::new();
        for record in known.iter().filter(|r| !r.is_retirement()) {
            if let Record::Graft { base, nodes, .. } = record {
                next = next.max(base.saturating_add(u64::from(*nodes)));
                free.push((*base, record));
            }
        }
        let (mut grafts, mut fresh) = (Vec::new(), Vec::new());
        for spec in specs {
            let at_bytes = spec.at.as_os_str().as_encoded_bytes().to_vec();
            let (tree, nodes) = (spec.tree.id(), spec.tree.node_count());
            let same = |(_, r): &(u64, &Record)| matches!(r, Record::Graft { tree: t, at, .. } if *t == tree && *at == at_bytes);
            let base = match free.iter().position(same) {
                Some(i) => free.remove(i).0,
                // The journal doesn't speak of it.
                None if spec.retired => continue,
                None => {
                    let base = gap(known, nodes).filter(|_| damaged).unwrap_or(next);
                    next = next.max(base.saturating_add(u64::from(nodes)));
                    fresh.push(Record::Graft { base, nodes, tree, at: at_bytes.clone() });
                    base
                }
            };
            grafts.push((base, spec, at_bytes));
        }
        if next > LOWER_END {
            return Err(upper("number the files of a tree")(std::io::Error::from_raw_os_error(libc::EOVERFLOW)));
        }
        self.lay_by_depth(grafts)?;
        Ok(fresh)
    }

    /// Grafts are laid over directories that those above them may have: those come first.
    fn lay_by_depth(&mut self, grafts: Vec<(u64, GraftSpec, Vec<u8>)>) -> Result<()> {
        let paths: HashSet<Vec<u8>> = grafts.iter().map(|g| g.2.clone()).collect();
        let is_above = |above: &[u8], path: &[u8]| {
            above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let mut depths: HashMap<Vec<u8>, usize> = HashMap::new();
        for path in &paths {
            let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(n, _)| &path[..n]);
            let above = ends.chain((!path.is_empty()).then_some(&b""[..])).filter(|above| paths.contains(*above));
            depths.insert(path.clone(), above.filter(|above| is_above(above, path)).count());
        }
        let deepest = depths.values().copied().max().unwrap_or(0);
        let mut ats: HashMap<Vec<u8>, Ino> = HashMap::new();
        for depth in 0..=deepest {
            for g in grafts.iter().filter(|g| depths[&g.2] == depth) {
                if !ats.contains_key(&g.2) {
                    let at = self.place_of(&g.1, &g.2, g.0)?;
                    ats.insert(g.2.clone(), at);
                }
            }
            let laid = grafts.iter().filter(|g| depths[&g.2] <= depth).map(|g| LowerGraft {
                base: g.0,
                tree: g.1.tree.clone(),
                at: ats[&g.2],
                path: g.2.clone(),
                retired: g.1.retired,
            });
            self.lower = Lower::new(laid.collect());
        }
        Ok(())
    }

    /// The directory that a graft is laid over: that of the grafts above it, wherever that shows now; else the one that
    /// shows at the path, made in the upper for a graft that shows.
    fn place_of(&mut self, spec: &GraftSpec, path: &[u8], base: u64) -> Result<Ino> {
        let names = || path.split(|b| *b == b'/').filter(|part| !part.is_empty());
        let of_lower = names().try_fold(Ino::ROOT, |dir, part| self.lower.lookup(dir, &Name::new(part).ok()?));
        match of_lower.filter(|ino| path.is_empty() || self.lower.is_dir(*ino)) {
            Some(ino) => Ok(ino),
            // Nothing leads to it: its numbers alone are known on.
            None if spec.retired => Ok(Ino(base)),
            None => self.dir_at(path),
        }
    }

    /// The directory at a path, made in the upper when nothing shows there.
    fn dir_at(&mut self, path: &[u8]) -> Result<Ino> {
        let mut at = Ino::ROOT;
        for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            let name = Name::new(part).map_err(|_| OverlayError::Invalid)?;
            at = match self.resolve(at, &name) {
                Ok(found) => found.ino,
                Err(OverlayError::NotFound) => {
                    let fd = self.ensure_dir(at)?;
                    fs::mkdir_at(&fd, name.bytes(), 0o777).map_err(upper("make a directory"))?;
                    self.upper.forget_all();
                    self.resolve(at, &name)?.ino
                }
                Err(e) => return Err(e),
            };
        }
        Ok(at)
    }

    /// See [`Overlay::regraft`].
    fn regraft(&mut self, specs: Vec<GraftSpec>) -> Result<Vec<Stale>> {
        let copied: HashSet<Ino> = self.delta.all_copied().map(|(ino, _)| ino).collect();
        let before = self.change_grafts(specs)?;
        self.find_relocated();
        let kept = self.lower.kept_numbers();
        self.read_at.retain(|ino, _| !self.lower.is_retired(*ino) || kept.contains_key(ino));
        let mut stale = Vec::new();
        let mut differs = |parent, name: &Name| {
            if stale.last().is_none_or(|s| !matches!(s, Stale::Entry { parent: p, .. } if *p == parent)) {
                stale.push(Stale::Inode(parent));
            }
            stale.push(Stale::Entry { parent, name: name.clone() });
        };
        // A directory that was moved shows although its own place may not: what is in it is compared by itself.
        let (dirs, files): (Vec<Ino>, Vec<Ino>) =
            self.delta.all_moved().into_iter().partition(|ino| before.is_dir(*ino));
        let laid = before.grafts().iter().chain(self.lower.grafts()).map(|g| g.at);
        self.lower.compare(&before, std::iter::once(Ino::ROOT).chain(laid).chain(dirs), &mut differs);
        // How many names of a file show may have changed with any directory.
        let linked: HashSet<Ino> = self.lower.linked().chain(files).collect();
        stale.extend(linked.into_iter().map(Stale::Inode));
        // A copy may take other space on its disk, and have other names, than its tree has for it.
        let new = self.delta.all_copied().filter(|(ino, _)| !copied.contains(ino));
        stale.extend(new.map(|(ino, _)| Stale::Inode(ino)));
        Ok(stale)
    }

    /// Shows other trees, and returns what showed before.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub(super) fn change_grafts(&mut self, mut specs: Vec<GraftSpec>) -> Result<Lower> {
        let known = self.lower.records();
        for graft in self.lower.grafts() {
            let at = PathBuf::from(OsString::from_vec(graft.path.clone()));
            if !specs.iter().any(|s| s.tree.id() == graft.tree.id() && s.at == at) {
                specs.push(GraftSpec { at, tree: graft.tree.clone(), retired: true });
            }
        }
        self.keep_moved(&specs)?;
        let before = std::mem::take(&mut self.lower);
        let laid = self.lay(specs, &known, false).and_then(|fresh| {
            if !fresh.is_empty() {
                self.journal.append(&Frame::Plain(fresh.clone()))?;
            }
            self.subdirs.clear();
            self.upper.forget_all();
            self.keep_dressed()?;
            self.follow_directories()?;
            // From here on nothing is kept again of what is retired now.
            self.tell_grafts(&Record::last_of_grafts(known.iter().cloned().chain(fresh)))
        });
        if let Err(e) = laid {
            self.lower = before;
            self.subdirs.clear();
            self.upper.forget_all();
            return Err(e);
        }
        Ok(before)
    }

    /// Records the grafts that show, and their order, if the journal has others.
    ///
    /// # Errors
    /// A call on the upper or the journal that fails.
    pub(super) fn tell_grafts(&mut self, known: &[Record]) -> Result<()> {
        let records = self.lower.records();
        let is_laid = |base: u64| self.lower.grafts().iter().any(|g| g.base == base);
        let said = known.iter().filter(|r| matches!(r, Record::Graft { base, .. } if is_laid(*base)));
        if said.eq(&records) { Ok(()) } else { self.record_all(records) }
    }

    /// Speaks of live grafts only, from a fresh opening on.
    pub(super) fn drop_retired(&mut self) -> Result<()> {
        if !self.lower.grafts().iter().any(|g| g.retired) {
            return Ok(());
        }
        let live = self.lower.grafts().iter().filter(|g| !g.retired).cloned().collect();
        let alone = Lower::new(live);
        let kept = self.lower.kept_numbers();
        let number = |ino: Ino| self.lower.number_in(&alone, ino, &kept);
        let records: Vec<Record> = self.delta.records().into_iter().filter_map(|r| renumbered(r, &number)).collect();
        self.lower = alone;
        self.delta = Delta::default();
        records.iter().for_each(|r| self.delta.apply(&self.lower, r));
        self.subdirs.clear();
        self.upper.forget_all();
        self.seen.clear();
        self.rewrite_journal()
    }
}

/// The record with other inode numbers; `None` when it speaks of one that no longer has any.
pub(super) fn renumbered(record: Record, number: &dyn Fn(Ino) -> Option<Ino>) -> Option<Record> {
    Some(match record {
        Record::Whiteout { dir, name, time } => Record::Whiteout { dir: number(dir)?, name, time },
        Record::Moved { dir, name, ino, time } => Record::Moved { dir: number(dir)?, name, ino: number(ino)?, time },
        Record::Unset { dir, name, time } => Record::Unset { dir: number(dir)?, name, time },
        Record::Opaque { dir } => Record::Opaque { dir: number(dir)? },
        Record::Cleared { dir } => Record::Cleared { dir: number(dir)? },
        Record::Meta { ino, meta } => Record::Meta { ino: number(ino)?, meta },
        Record::Dress { ino, meta } => Record::Dress { ino: number(ino)?, meta },
        Record::Xattr { ino, name, value, time } => Record::Xattr { ino: number(ino)?, name, value, time },
        Record::Copied { ino, real, born } => Record::Copied { ino: number(ino)?, real, born },
        Record::Uncopied { ino } => Record::Uncopied { ino: number(ino)? },
        Record::Place { ino, dir, name } => Record::Place { ino: number(ino)?, dir: number(dir)?, name },
        Record::Root { .. } | Record::Graft { .. } => record,
    })
}
