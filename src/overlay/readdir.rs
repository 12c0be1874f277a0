//! Listings: upper, journal and lower merged in the order of cookies.
//!
//! A cookie is a property of the name alone, so a listing that goes on after names came and went shows
//! every name that was there all the time exactly once (readdir(3) asks no more), with no state kept.

use crate::store::{Cookie, Name};
use crate::sys::fs::{self, FileType};

use super::error::{Error, Result};
use super::resolve::{Found, View};
use super::state::Override;
use super::{Ino, Listed, Overlay};

/// Names taken from the layers at a time.
const BATCH: usize = 256;
const COOKIE_SELF: u64 = 1;
const COOKIE_PARENT: u64 = 2;

/// A name that shows, before anybody asks for its metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub ino: Ino,
    pub kind: FileType,
    pub in_upper: bool,
}

impl Overlay {
    /// Lists names with a cookie above `after` (0 = from the start) until `sink` answers false; that name
    /// counts as not given. `.` and `..` come first. With `with_attr` each name but those two comes with
    /// metadata and counts one reference, as a lookup does.
    pub fn readdir(
        &self,
        dir: Ino,
        after: u64,
        with_attr: bool,
        sink: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<()> {
        let mut view = self.view.lock();
        if after == 0 {
            view.accessed(dir);
        }
        if !view.list_dots(dir, after, with_attr, sink)? {
            return Ok(());
        }
        let mut failed = None;
        view.for_each_name(dir, after, &mut |view, (name, shown)| {
            let attr = match with_attr.then(|| view.attr_of_shown(dir, name, shown)) {
                None => None,
                Some(Ok(attr)) => Some(attr),
                // It went while we listed: that is what the reader would have seen a moment later.
                Some(Err(Error::NotFound)) => return true,
                Some(Err(e)) => {
                    failed = Some(e);
                    return false;
                }
            };
            let mode = attr.map_or(shown.kind.as_raw_mode(), |a| a.mode);
            let stored = &|| view.stored(shown.ino);
            let (ino, cookie) = (shown.ino, name.cookie().0);
            let taken = sink(Listed { ino, cookie, mode, name: name.bytes(), attr, stored });
            if taken && attr.is_some() {
                view.reference(shown.ino);
            }
            taken
        })?;
        failed.map_or(Ok(()), Err)
    }
}

impl View {
    /// Gives `.` and `..` where the listing begins; false when `sink` wants no more.
    fn list_dots(
        &mut self,
        dir: Ino,
        after: u64,
        with_attr: bool,
        sink: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<bool> {
        let parent = if dir == Ino::ROOT { Ino::ROOT } else { self.dir_place(dir).map_or(dir, |(p, _)| p) };
        for (cookie, name, ino) in [(COOKIE_SELF, &b"."[..], dir), (COOKIE_PARENT, b"..", parent)] {
            if cookie <= after {
                continue;
            }
            let attr = if with_attr { Some(self.attr(ino)?) } else { None };
            if !sink(Listed { ino, cookie, mode: libc::S_IFDIR, name, attr, stored: &|| None }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn attr_of_shown(&mut self, dir: Ino, name: &Name, shown: Shown) -> Result<super::Attr> {
        if !shown.in_upper {
            return self.attr(shown.ino);
        }
        let fd = self.dir_fd(dir)?.ok_or(Error::NotFound)?;
        let stat = fs::stat_at(&fd, name.bytes()).map_err(super::error::upper("look at a file"))?;
        if !stat.is_dir() || shown.ino.upper_real().is_some() {
            self.see(shown.ino, dir, name);
        }
        self.attr_of(&Found { ino: shown.ino, upper: Some(stat) })
    }

    /// Calls `each` with every name that shows in `dir` after a cookie, in order, until it answers false.
    pub(super) fn for_each_name(
        &mut self,
        dir: Ino,
        mut after: u64,
        each: &mut dyn FnMut(&mut View, (&Name, Shown)) -> bool,
    ) -> Result<()> {
        if self.is_gone(dir) {
            return Ok(());
        }
        loop {
            let batch = self.batch(dir, after)?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            after = last.cookie().0;
            for (name, shown) in &batch {
                if !each(self, (name, *shown)) {
                    return Ok(());
                }
            }
        }
    }

    /// The next names after a cookie; never only some of those that share a cookie.
    fn batch(&mut self, dir: Ino, after: u64) -> Result<Vec<(Name, Shown)>> {
        self.listing(dir)?;
        let listing = self.listing_if_read(dir);
        let opaque = self.delta.is_opaque(dir);
        let start = Name::bound_after(after);
        let mut upper = listing.map(|l| l.range(start..)).into_iter().flatten().peekable();
        let mut said = self.delta.overrides(dir, after).peekable();
        let mut lower = self.lower.entries(dir, after).filter(|_| !opaque).peekable();
        let mut out: Vec<(Name, Shown)> = Vec::new();
        loop {
            let heads = [
                upper.peek().map(|(n, _)| (n.cookie().0, n.bytes())),
                said.peek().map(|(n, _)| (n.cookie().0, n.bytes())),
                lower.peek().map(|(c, n, _)| (*c, *n)),
            ];
            let Some(least) = heads.iter().flatten().min().copied() else { break };
            if out.len() >= BATCH && out.last().is_some_and(|(n, _)| n.cookie().0 < least.0) {
                break;
            }
            let from_upper = if heads[0] == Some(least) { upper.next() } else { None };
            let from_said = if heads[1] == Some(least) { said.next() } else { None };
            let from_lower = if heads[2] == Some(least) { lower.next() } else { None };
            let below = match from_said {
                Some((_, Override::Whiteout)) => None,
                Some((_, Override::Moved(ino))) => Some(ino),
                None => from_lower.map(|(_, _, ino)| ino),
            };
            let shown = match from_upper {
                Some((name, (FileType::Directory, real))) if opaque => {
                    let ino = self.identity(self.lower_named(dir, name), FileType::Directory, *real);
                    Some(Shown { ino, kind: FileType::Directory, in_upper: true })
                }
                Some((_, (kind, real))) => {
                    Some(Shown { ino: self.identity(below, *kind, *real), kind: *kind, in_upper: true })
                }
                None => below.and_then(|ino| Some(Shown { ino, kind: self.lower.kind(ino)?, in_upper: false })),
            };
            if let Some(shown) = shown
                && !self.is_home(dir, least.1)
                && let Ok(name) = Name::new(least.1)
            {
                out.push((name, shown));
            }
        }
        Ok(out)
    }
}

/// A listing's order is that of [`Cookie`]s; the two small ones of `.` and `..` are below all names'.
const _: () = assert!(COOKIE_PARENT < 16 && std::mem::size_of::<Cookie>() == 8);
