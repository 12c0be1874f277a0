//! Which file a name is: upper, then journal, then lower; and the way back, which names a file has.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::fs::{self, FileType, OpenFlags, Stat};

use super::error::{OverlayError, Result, upper};
use super::loosened::despite_mode;
use super::names::Location;
use super::state::Override;

use super::types::Ino;
use super::view::{FoundName, View};

impl View {
    /// The lower's entry shown at a name, by journal and trees, without a look at the upper.
    pub(super) fn lower_at(&self, dir: Ino, name: &Name) -> Option<Ino> {
        let hidden = self.delta.is_opaque(dir) && self.delta.name(dir, name).is_none();
        if hidden { None } else { self.lower_named(dir, name) }
    }

    /// The lower's entry at a name. In an opaque directory it doesn't show, but a directory of the upper is still the
    /// same one: it was copied from there.
    pub(super) fn lower_named(&self, dir: Ino, name: &Name) -> Option<Ino> {
        match self.delta.name(dir, name) {
            Some(Override::Whiteout) => None,
            Some(Override::Moved(ino)) => Some(ino),
            None => self.lower.lookup(dir, name),
        }
    }

    /// The entry shown at a name.
    ///
    /// # Errors
    /// [`OverlayError::NotFound`] if there is none.
    pub(super) fn resolve(&mut self, dir: Ino, name: &Name) -> Result<FoundName> {
        let found = self.search_name(dir, name);
        self.lower.must_be_sound()?;
        found
    }

    fn search_name(&mut self, dir: Ino, name: &Name) -> Result<FoundName> {
        if self.is_gone(dir) || self.is_home(dir, name.bytes()) {
            return Err(OverlayError::NotFound);
        }
        let below = self.lower_at(dir, name);
        if let Some(fd) = self.dir_fd(dir)? {
            match despite_mode(self.upper.aside.as_deref(), &fd, || fs::stat_at(&fd, name.bytes())) {
                Ok(stat) => {
                    let ino = self.identity(self.lower_named(dir, name), stat.kind(), stat.ino);
                    if !stat.is_dir() || ino.is_upper() {
                        self.see(ino, dir, name);
                    }
                    return Ok(FoundName { ino, upper: Some(stat) });
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(upper("look at a file")(e)),
            }
        }
        below.map(|ino| FoundName { ino, upper: None }).ok_or(OverlayError::NotFound)
    }

    /// The file or directory with this number, if it shows at some name.
    ///
    /// # Errors
    /// [`OverlayError::NotFound`] if it does not.
    pub(super) fn find(&mut self, ino: Ino) -> Result<FoundName> {
        let found = self.search_number(ino);
        self.lower.must_be_sound()?;
        found
    }

    fn search_number(&mut self, ino: Ino) -> Result<FoundName> {
        if ino == Ino::ROOT {
            return Ok(FoundName { ino, upper: None });
        }
        if self.is_gone(ino) {
            return Err(OverlayError::NotFound);
        }
        if self.is_in_upper(ino) {
            return match self.locate(ino) {
                Ok((_, _, stat)) => Ok(FoundName { ino, upper: Some(stat) }),
                Err(OverlayError::UnknownInode(_)) => Err(OverlayError::NotFound),
                Err(e) => Err(e),
            };
        }
        for (dir, name) in self.lower_names(ino) {
            match self.resolve(dir, &name) {
                Ok(found) if found.ino == ino => return Ok(found),
                Ok(_) | Err(OverlayError::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        Err(OverlayError::NotFound)
    }

    /// The inode number of a file in the upper where `below` is what the lower shows at its name.
    pub(super) fn identity(&self, below: Option<Ino>, kind: FileType, real: u64) -> Ino {
        match (kind, below) {
            (FileType::Directory, Some(lower)) if self.lower.is_dir(lower) => lower,
            (FileType::Directory, _) => Ino::of_upper(real),
            _ => self.delta.origin(real).unwrap_or(Ino::of_upper(real)),
        }
    }

    /// Remembers that `ino` has this name in the upper.
    pub(super) fn see(&mut self, ino: Ino, dir: Ino, name: &Name) {
        self.seen.entry(ino).or_default().names.add(dir, name);
    }

    /// Whether a directory was removed and still exists only because a process has it open.
    pub(super) fn is_gone(&self, ino: Ino) -> bool {
        self.orphans.contains_key(&ino)
    }

    /// The current location of a directory; the caller checks on the way up whether that location shows.
    pub(super) fn dir_place(&mut self, dir: Ino) -> Result<(Ino, Name)> {
        if dir.is_upper() {
            return self.upper_name(dir)?.ok_or(OverlayError::NotFound);
        }
        self.lower_places(dir).into_iter().next().ok_or(OverlayError::NotFound)
    }

    /// The names that journal and trees give the lower's file or directory `ino`, in directories that may themselves be
    /// gone. The target of a move comes first: of a removed directory the journal has no records, so a name that a tree
    /// has there may be one that was moved away.
    pub(super) fn lower_places(&self, ino: Ino) -> Vec<(Ino, Name)> {
        let mut by_tree = self.lower.places(ino);
        by_tree.retain(|(dir, name)| {
            (self.lower.is_dir(ino) || !self.delta.is_opaque(*dir))
                && self.delta.name(*dir, name).is_none()
                && self.lower.lookup(*dir, name) == Some(ino)
        });
        let mut places = self.delta.moved_to(ino).to_vec();
        places.extend(by_tree);
        places
    }

    /// The names at which the lower's file or directory `ino` shows, according to journal and trees.
    pub(super) fn lower_names(&self, ino: Ino) -> Vec<(Ino, Name)> {
        let mut names = self.lower_places(ino);
        names.retain(|(dir, _)| self.shows(*dir));
        names
    }

    /// Whether a directory is still somewhere in the view.
    pub(super) fn shows(&self, mut dir: Ino) -> bool {
        while dir != Ino::ROOT && !dir.is_upper() {
            match self.lower_places(dir).into_iter().next() {
                Some((parent, _)) => dir = parent,
                None => return false,
            }
        }
        true
    }

    /// A name of `ino` in the upper. When none is cached, the upper is searched: a server that took over has no record
    /// of the numbers that the one before it sent to the kernel.
    fn upper_name(&mut self, ino: Ino) -> Result<Option<Location>> {
        if let Some(known) = self.seen.get(&ino).and_then(|seen| seen.names.first()) {
            return Ok(Some(known.clone()));
        }
        if let Some(place) = self.delta.place(ino) {
            return Ok(Some(place.clone()));
        }
        self.search(ino)?;
        Ok(self.seen.get(&ino).and_then(|seen| seen.names.first()).cloned())
    }

    /// Walks the upper until a name of `ino` is noted, and notes all names on the way. The next search goes on where
    /// this one ended, and begins anew if that finds nothing: a server that takes over walks each directory about once.
    pub(super) fn search(&mut self, ino: Ino) -> Result<()> {
        for mut todo in [std::mem::take(&mut self.unwalked), vec![Ino::ROOT]] {
            while let Some(dir) = todo.pop() {
                // One that went since, or that the kernel forgot, has no name here.
                let is_known = !dir.is_upper() || self.seen.contains_key(&dir) || self.delta.place(dir).is_some();
                if !is_known || self.is_gone(dir) {
                    continue;
                }
                match self.walk_directory(dir, &mut todo, &mut |_, _, _| {}) {
                    Err(OverlayError::NotFound) => continue,
                    walked => walked?,
                }
                if self.seen.get(&ino).is_some_and(|seen| seen.names.first().is_some()) {
                    self.unwalked = todo;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Walks the whole upper, and notes every file's names.
    pub(super) fn search_all(&mut self) -> Result<()> {
        self.walk_upper(Ino::ROOT, &mut |_, _, _| {})
    }

    /// As [`View::search_all`], below `start`, and calls `each` with every file's directory and entry there; a directory comes before all in it.
    pub(super) fn walk_upper(
        &mut self,
        start: Ino,
        each: &mut dyn FnMut(Ino, &Arc<OwnedFd>, &fs::DirEntry),
    ) -> Result<()> {
        let mut todo = vec![start];
        while let Some(dir) = todo.pop() {
            self.walk_directory(dir, &mut todo, each)?;
        }
        Ok(())
    }

    /// One directory of a walk; the directories in it are added to `todo`.
    fn walk_directory(
        &mut self,
        dir: Ino,
        todo: &mut Vec<Ino>,
        each: &mut dyn FnMut(Ino, &Arc<OwnedFd>, &fs::DirEntry),
    ) -> Result<()> {
        let Some(fd) = self.dir_fd(dir)? else { return Ok(()) };
        let aside = self.upper.aside.as_deref();
        let open = despite_mode(aside, &fd, || fs::open_dir_at(&fd, b".")).map_err(upper("open a directory"))?;
        for entry in fs::list(&open).map_err(upper("list a directory"))? {
            let Ok(name) = Name::new(&entry.name) else { continue };
            if self.is_home(dir, &entry.name) {
                continue;
            }
            each(dir, &fd, &entry);
            let ino = self.identity(self.lower_named(dir, &name), entry.kind, entry.ino);
            if entry.kind == FileType::Directory {
                todo.push(ino);
            }
            if entry.kind != FileType::Directory || ino.is_upper() {
                self.see(ino, dir, &name);
            }
        }
        Ok(())
    }

    /// Whether the bytes and metadata of this file come from the upper.
    pub(super) fn is_in_upper(&self, ino: Ino) -> bool {
        ino.is_upper() || self.delta.copied(ino).is_some()
    }

    /// A name under which the upper has this non-directory now, with its directory open and its metadata.
    pub(super) fn locate(&mut self, ino: Ino) -> Result<(Arc<OwnedFd>, Name, Stat)> {
        if !self.is_in_upper(ino) {
            return Err(OverlayError::UnknownInode(ino.0));
        }
        while let Some((dir, name)) = self.seen.get(&ino).and_then(|seen| seen.names.first()).cloned() {
            if let Some((fd, stat)) = self.has(dir, &name, ino)? {
                return Ok((fd, name, stat));
            }
            if let Some(seen) = self.seen.get_mut(&ino) {
                seen.names.remove(dir, &name);
            }
        }
        let told = self.delta.place(ino).cloned();
        for (dir, name) in told.into_iter().chain(self.lower_names(ino)) {
            if let Some((fd, stat)) = self.has(dir, &name, ino)? {
                self.see(ino, dir, &name);
                return Ok((fd, name, stat));
            }
        }
        self.search(ino)?;
        let (dir, name) = self.upper_name(ino)?.ok_or(OverlayError::UnknownInode(ino.0))?;
        let (fd, stat) = self.has(dir, &name, ino)?.ok_or(OverlayError::UnknownInode(ino.0))?;
        Ok((fd, name, stat))
    }

    /// The upper's directory for `dir` and what is at `name` in it, if that is the upper's file for `ino`.
    fn has(&mut self, dir: Ino, name: &Name, ino: Ino) -> Result<Option<(Arc<OwnedFd>, Stat)>> {
        let copied = self.delta.copied(ino);
        let is_it = |stat: &Stat| copied.map_or_else(|| Ino::of_upper(stat.ino) == ino, |real| stat.ino == real);
        Ok(self.upper_at(dir, name)?.filter(|(_, stat)| is_it(stat)))
    }

    /// The upper's directory for `dir` and what is at `name` in it. Only what is not there is nothing: a look that fails
    /// is an error, from which nothing follows.
    pub(super) fn upper_at(&mut self, dir: Ino, name: &Name) -> Result<Option<(Arc<OwnedFd>, Stat)>> {
        let fd = match self.dir_fd(dir) {
            // A directory that shows no more, of a tree that went: what was in it is elsewhere.
            Err(OverlayError::NotFound) => None,
            found => found?,
        };
        let Some(fd) = fd else { return Ok(None) };
        match despite_mode(self.upper.aside.as_deref(), &fd, || fs::stat_at(&fd, name.bytes())) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            found => found.map(|stat| Some((fd, stat))).map_err(upper("look at a file")),
        }
    }

    /// A path descriptor of this file or directory in the upper, named or not.
    pub(super) fn upper_path_fd(&mut self, ino: Ino) -> Result<Arc<OwnedFd>> {
        if self.is_gone(ino) {
            return self.orphan_fd(ino)?.ok_or(OverlayError::UnknownInode(ino.0));
        }
        if let Some(file) = self.files.find(ino) {
            return Ok(file.fd.clone());
        }
        let (dir, name, _) = self.locate(ino)?;
        let fd = self.open_kept(|| fs::open_at(&dir, name.bytes(), OpenFlags::PATH, 0));
        fd.map(Arc::new).map_err(upper("open a file"))
    }
}
