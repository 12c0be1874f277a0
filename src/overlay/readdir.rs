//! Listings: upper, journal and lower merged in the order of names, and given in the order of positions.
//!
//! A position is a property of the name alone (`position.rs`), so a listing that goes on after names came and went
//! shows every name that was there all the time exactly once (readdir(3) requires no more), with no state that is
//! needed.

use std::ops::Bound;

use crate::store::Name;
use crate::sys::fs::{self, FileType};

use super::error::{OverlayError, Result};
use super::position::{END, end_of, first_after, region_of, region_within};
use super::state::Override;
use super::types::{DirListing, Ino};
use super::view::Overlay;
use super::view::Region;
use super::view::{FoundName, View};

/// Names taken from the layers at a time.
const BATCH: usize = 256;
/// Regions of more names are remembered while they are listed: to put one in order takes its time. So are those with
/// equal tags (`position.rs`).
const LARGE: usize = 64;
/// Regions remembered at a time.
const KEPT_REGIONS: usize = 4;
const POSITION_SELF: u64 = 1;
const POSITION_PARENT: u64 = 2;

/// A name that shows, before its metadata is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownName {
    pub ino: Ino,
    pub kind: FileType,
    pub in_upper: bool,
}

impl Overlay {
    /// Lists the names after the position `after` (0 = from the start) until `sink` answers false; that name
    /// counts as not given. `.` and `..` come first. With `with_attr` each name but those two comes with
    /// metadata and counts one reference, as a lookup does.
    ///
    /// # Errors
    /// `dir` is no directory, or its upper cannot be read.
    pub fn readdir(
        &self,
        dir: Ino,
        after: u64,
        with_attr: bool,
        sink: &mut dyn FnMut(DirListing<'_>) -> bool,
    ) -> Result<()> {
        let mut view = self.view.lock();
        if after == 0 {
            view.accessed(dir);
        }
        if !view.list_dots(dir, after, with_attr, sink)? {
            return Ok(());
        }
        let mut failed = None;
        view.for_each_position(dir, after, &mut |view, cookie, name, shown| {
            let attr = match with_attr.then(|| view.attr_of_shown(dir, name, shown)) {
                None => None,
                Some(Ok(attr)) => Some(attr),
                // It went while we listed: that is what the reader would have seen a moment later.
                Some(Err(OverlayError::NotFound)) => return true,
                Some(Err(e)) => {
                    failed = Some(e);
                    return false;
                }
            };
            let mode = attr.map_or(shown.kind.as_raw_mode(), |a| a.mode);
            let stored = &|| view.stored(shown.ino);
            let ino = shown.ino;
            let taken = sink(DirListing { ino, cookie, mode, name: name.bytes(), attr, stored });
            if taken && attr.is_some() {
                view.reference(shown.ino);
            }
            taken
        })?;
        failed.map_or(Ok(()), Err)
    }
}

impl View {
    /// Lists `.` and `..` at the beginning of a listing; false when `sink` takes no more.
    fn list_dots(
        &mut self,
        dir: Ino,
        after: u64,
        with_attr: bool,
        sink: &mut dyn FnMut(DirListing<'_>) -> bool,
    ) -> Result<bool> {
        let parent = if dir == Ino::ROOT { Ino::ROOT } else { self.dir_place(dir).map_or(dir, |(p, _)| p) };
        for (cookie, name, ino) in [(POSITION_SELF, &b"."[..], dir), (POSITION_PARENT, b"..", parent)] {
            if cookie <= after {
                continue;
            }
            let attr = if with_attr { Some(self.attr(ino)?) } else { None };
            if !sink(DirListing { ino, cookie, mode: libc::S_IFDIR, name, attr, stored: &|| None }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn attr_of_shown(&mut self, dir: Ino, name: &Name, shown: ShownName) -> Result<super::Attr> {
        if !shown.in_upper {
            return self.attr(shown.ino);
        }
        let fd = self.dir_fd(dir)?.ok_or(OverlayError::NotFound)?;
        let stat = fs::stat_at(&fd, name.bytes()).map_err(super::error::upper("look at a file"))?;
        if !stat.is_dir() || shown.ino.is_upper() {
            self.see(shown.ino, dir, name);
        }
        self.attr_of(&FoundName { ino: shown.ino, upper: Some(stat) })
    }

    /// Calls `each` with every name that shows in `dir`, in the order of names, until it answers false.
    pub(super) fn for_each_name(
        &mut self,
        dir: Ino,
        each: &mut dyn FnMut(&mut View, (&Name, ShownName)) -> bool,
    ) -> Result<()> {
        let mut after = Name::bound_after(0);
        loop {
            let batch = self.batch(dir, &after)?;
            self.lower.must_be_sound()?;
            for (name, shown) in &batch {
                if !each(self, (name, *shown)) {
                    return Ok(());
                }
            }
            match batch.into_iter().nth(BATCH - 1) {
                Some((last, _)) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Calls `each` with every name that shows in `dir` after a position, in the order of positions, until it answers
    /// false.
    fn for_each_position(
        &mut self,
        dir: Ino,
        after: u64,
        each: &mut dyn FnMut(&mut View, u64, &Name, ShownName) -> bool,
    ) -> Result<()> {
        let mut from = first_after(after);
        if let Some(region) = region_within(after)
            && let Some(kept) = self.regions.iter().position(|r| r.dir == dir && r.number == region)
        {
            let kept = self.regions.remove(kept);
            let wants_more = self.list_region(&kept, after, each);
            self.regions.push(kept);
            match wants_more? {
                true => from = first_after(after | END),
                false => return Ok(()),
            }
        }
        let mut region: Vec<(Name, ShownName)> = Vec::new();
        loop {
            let batch = self.batch(dir, &from)?;
            self.lower.must_be_sound()?;
            let is_last = batch.len() < BATCH;
            for (name, shown) in batch {
                if region.last().is_some_and(|(last, _)| region_of(last) != region_of(&name))
                    && !self.give_region(dir, &mut region, after, each)
                {
                    return Ok(());
                }
                region.push((name, shown));
            }
            match region.last() {
                Some((last, _)) if !is_last => from = last.clone(),
                _ => {
                    self.give_region(dir, &mut region, after, each);
                    return Ok(());
                }
            }
        }
    }

    /// Gives the names of a region that are after a position, and takes them; false when no more are wanted.
    fn give_region(
        &mut self,
        dir: Ino,
        names: &mut Vec<(Name, ShownName)>,
        after: u64,
        each: &mut dyn FnMut(&mut View, u64, &Name, ShownName) -> bool,
    ) -> bool {
        let number = names.first().map(|(name, _)| region_of(name));
        if names.len() == 1
            && number != region_within(after)
            && let Some((name, shown)) = names.pop()
        {
            // So it is nearly always: nothing is hashed, and no room is made.
            let at = end_of(&name);
            return at <= after || each(self, at, &name, shown);
        }
        let arranged = self.order.arrange(std::mem::take(names));
        if (arranged.is_shared || arranged.names.len() > LARGE)
            && let Some(number) = number
        {
            self.regions.retain(|r| r.dir != dir || r.number != number);
            if self.regions.len() >= KEPT_REGIONS {
                self.regions.remove(0);
            }
            let names = arranged.names.iter().map(|(at, name, _)| (*at, name.clone())).collect();
            self.regions.push(Region { dir, number, names });
        }
        arranged.after(after).iter().all(|(at, name, shown)| each(self, *at, name, *shown))
    }

    /// Goes on with a region that was put in order before.
    fn list_region(
        &mut self,
        region: &Region,
        after: u64,
        each: &mut dyn FnMut(&mut View, u64, &Name, ShownName) -> bool,
    ) -> Result<bool> {
        let from = region.names.partition_point(|(at, _)| *at <= after);
        let last = region.names.len() - 1;
        for (n, (at, name)) in region.names.iter().enumerate().skip(from) {
            let at = if n == last { at | END } else { *at };
            if let Some(shown) = self.shown_at(region.dir, name)?
                && !each(self, at, name, shown)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry shown at one name, as a listing has it.
    fn shown_at(&mut self, dir: Ino, name: &Name) -> Result<Option<ShownName>> {
        if self.is_gone(dir) || self.is_home(dir, name.bytes()) {
            return Ok(None);
        }
        let upper = self.listing(dir)?.get(name).copied();
        let below = self.lower_at(dir, name);
        Ok(self.shown(dir, name, upper, below))
    }

    /// The entry shown at a name, from the upper's entry and the one below it.
    fn shown(&self, dir: Ino, name: &Name, upper: Option<(FileType, u64)>, below: Option<Ino>) -> Option<ShownName> {
        match upper {
            Some((FileType::Directory, real)) if self.delta.is_opaque(dir) => {
                let ino = self.identity(self.lower_named(dir, name), FileType::Directory, real);
                Some(ShownName { ino, kind: FileType::Directory, in_upper: true })
            }
            Some((kind, real)) => Some(ShownName { ino: self.identity(below, kind, real), kind, in_upper: true }),
            None => below.and_then(|ino| Some(ShownName { ino, kind: self.lower.kind(ino)?, in_upper: false })),
        }
    }

    /// The next names after one, in the order of names; fewer than [`BATCH`] only at the end.
    fn batch(&mut self, dir: Ino, after: &Name) -> Result<Vec<(Name, ShownName)>> {
        if self.is_gone(dir) {
            return Ok(Vec::new());
        }
        self.listing(dir)?;
        let listing = self.listing_if_read(dir);
        let opaque = self.delta.is_opaque(dir);
        let start = (Bound::Excluded(after), Bound::Unbounded);
        let mut upper = listing.map(|l| l.range::<Name, _>(start)).into_iter().flatten().peekable();
        let mut said = self.delta.overrides(dir, after).peekable();
        let mut lower = self.lower.entries_after(dir, after).filter(|_| !opaque).peekable();
        let mut out: Vec<(Name, ShownName)> = Vec::new();
        while out.len() < BATCH {
            let heads = [
                upper.peek().map(|(n, _)| (n.cookie().0, n.bytes())),
                said.peek().map(|(n, _)| (n.cookie().0, n.bytes())),
                lower.peek().map(|(c, n, _)| (*c, *n)),
            ];
            let Some(least) = heads.iter().flatten().min().copied() else { break };
            let from_upper = if heads[0] == Some(least) { upper.next() } else { None };
            let from_said = if heads[1] == Some(least) { said.next() } else { None };
            let from_lower = if heads[2] == Some(least) { lower.next() } else { None };
            let below = match from_said {
                Some((_, Override::Whiteout)) => None,
                Some((_, Override::Moved(ino))) => Some(ino),
                None => from_lower.map(|(_, _, ino)| ino),
            };
            // In a damaged tree names are anywhere: what is behind its place is left out, or no listing would end.
            let last = out.last().map_or(after, |(name, _)| name);
            let sound = |name: &Name| name.cookie().0 == least.0 && name > last;
            let Some(name) = Name::new(least.1).ok().filter(sound) else { continue };
            let own = from_upper.map(|(_, what)| *what);
            if let Some(shown) = self.shown(dir, &name, own, below)
                && !self.is_home(dir, least.1)
            {
                out.push((name, shown));
            }
        }
        Ok(out)
    }
}
