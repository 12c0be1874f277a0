//! Metadata: the attributes that `stat` reports, and their changes by `chmod`, `chown`, `utimens` and `truncate`.
//!
//! A file whose bytes are the store's gets its changed metadata from the journal: no bytes are copied.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::sys::fs::{self, FileType, SetTime, Stat, Timespec, XattrFlags};
use crate::sys::log::OrWarn;

use super::error::{OverlayError, Result, upper};
use super::journal::{MetaChange, Record};
use super::loosened::despite_mode;
use super::state::stored_xattrs;
use super::types::{Attr, Caller, Ino, SetAttr};
use super::view::{FoundName, View};

const SET_ID: u32 = 0o6000;

/// The size of a directory, in bytes, as on ext4.
const DIR_SIZE: u64 = 4096;
/// The space of a relocated file is counted in blocks of so many bytes.
const BLOCK: u64 = 4096;

impl View {
    /// The metadata of a file that [`View::resolve`] found.
    pub(super) fn attr_of(&mut self, found: &FoundName) -> Result<Attr> {
        match found.upper {
            Some(stat) => self.upper_attr(found.ino, &stat),
            None => self.attr(found.ino),
        }
    }

    /// The metadata of an inode.
    pub(super) fn attr(&mut self, ino: Ino) -> Result<Attr> {
        let attr = self.attr_by_layer(ino);
        self.lower.must_be_sound()?;
        attr
    }

    fn attr_by_layer(&mut self, ino: Ino) -> Result<Attr> {
        if self.is_gone(ino) {
            return self.orphan_attr(ino);
        }
        if self.lower.is_dir(ino) || ino == Ino::ROOT {
            return match self.dir_fd(ino)? {
                Some(fd) => self.upper_attr(ino, &fs::stat(&fd).map_err(upper("look at a directory"))?),
                None => self.lower_attr(ino),
            };
        }
        if !self.is_in_upper(ino) {
            return self.lower_attr(ino);
        }
        if let Some(file) = self.files.find(ino) {
            return self.upper_attr(ino, &fs::stat(&file.fd).map_err(upper("look at a file"))?);
        }
        let (_, _, stat) = self.locate(ino)?;
        self.upper_attr(ino, &stat)
    }

    /// Whether this inode is a directory that only the upper has.
    pub(super) fn is_upper_dir(&mut self, ino: Ino) -> bool {
        ino.is_upper() && self.locate(ino).is_ok_and(|(_, _, stat)| stat.is_dir())
    }

    fn orphan_attr(&mut self, ino: Ino) -> Result<Attr> {
        let last = self.orphans.get(&ino).ok_or(OverlayError::UnknownInode(ino.0))?.attr;
        match self.orphan_fd(ino)? {
            Some(fd) => {
                let stat = fs::stat(&fd).map_err(upper("look at a file"))?;
                Ok(Attr { nlink: 0, ..plain_attr(ino, &stat) })
            }
            None => Ok(with_meta(last, self.delta.meta(ino))),
        }
    }

    fn upper_attr(&mut self, ino: Ino, stat: &Stat) -> Result<Attr> {
        let mut attr = plain_attr(ino, stat);
        if stat.is_dir() {
            attr.nlink = 2 + self.subdirectories(ino)?;
        }
        Ok(attr)
    }

    /// The metadata of a file or directory that only the lower has, as the journal changed it.
    pub(super) fn lower_attr(&mut self, ino: Ino) -> Result<Attr> {
        let (tree, node) = self.lower.source(ino).ok_or(OverlayError::UnknownInode(ino.0))?;
        let stat = tree.stat(node);
        let is_dir = stat.kind == FileType::Directory;
        let relocated = if self.relocated.has(ino) { self.relocated.len_of(ino, stat.size) } else { None };
        let nlink = match (is_dir, stat.nlink) {
            (true, _) => 2 + self.subdirectories(ino)?,
            (false, n) if !self.delta.says_names() && (n == 1 || self.lower.is_one_tree()) => n,
            (false, _) => self.lower_names(ino).len() as u32,
        };
        let attr = Attr {
            ino,
            generation: 0,
            // Linux has no other mode for a symlink, whatever mode an archive had (symlink(7)).
            mode: stat.kind.as_raw_mode() | if stat.kind == FileType::Symlink { 0o777 } else { stat.perm },
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            size: if is_dir { DIR_SIZE } else { relocated.unwrap_or(stat.size) },
            blocks: match relocated {
                _ if is_dir => DIR_SIZE / 512,
                Some(size) if stat.kind == FileType::RegularFile => size.div_ceil(BLOCK) * (BLOCK / 512),
                _ => stat.blocks,
            },
            atime: stat.mtime,
            mtime: stat.mtime,
            ctime: stat.mtime,
        };
        let attr = with_meta(attr, self.delta.meta(ino));
        Ok(Attr { atime: self.read_at.get(&ino).copied().unwrap_or(attr.atime), ..attr })
    }

    /// How many subdirectories a directory shows.
    fn subdirectories(&mut self, dir: Ino) -> Result<u32> {
        if let Some(count) = self.subdirs.get(&dir) {
            return Ok(*count);
        }
        let plain = !self.delta.has_overrides(dir) && !self.delta.is_opaque(dir) && self.dir_fd(dir)?.is_none();
        if plain && let Some(count) = self.lower.subdirectories(dir) {
            return Ok(count);
        }
        let mut count = 0;
        self.for_each_name(dir, &mut |_, (_, shown)| {
            count += u32::from(shown.kind == FileType::Directory);
            true
        })?;
        self.subdirs.insert(dir, count);
        Ok(count)
    }

    /// Extended attributes of a file or directory whose metadata the upper doesn't have.
    pub(super) fn lower_xattrs(&self, ino: Ino) -> BTreeMap<Vec<u8>, Vec<u8>> {
        if let Some(MetaChange { xattrs: Some(all), .. }) = self.delta.meta(ino) {
            return all.clone();
        }
        stored_xattrs(&self.lower, ino)
    }

    /// Gives an open file or directory of the upper the metadata `attr` and the attributes `xattrs`.
    pub(super) fn apply_metadata(&self, fd: &OwnedFd, attr: &Attr, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        let stat = fs::stat(fd).map_err(upper("look at a file"))?;
        if (stat.uid, stat.gid) != (attr.uid, attr.gid) {
            fs::chown(fd, Some(attr.uid), Some(attr.gid)).map_err(upper("set the owner"))?;
        }
        for (name, value) in xattrs {
            fs::set_xattr(fd, name, value, XattrFlags::empty()).map_err(upper("set an extended attribute"))?;
        }
        fs::chmod(fd, attr.mode & 0o7777).map_err(upper("set the mode"))?;
        fs::utimens(fd, SetTime::At(attr.atime), SetTime::At(attr.mtime)).map_err(upper("set times"))
    }

    /// Changes metadata, and the size.
    pub(super) fn set_attr(&mut self, ino: Ino, caller: Caller, set: SetAttr) -> Result<Attr> {
        if let Some(attr) = self.set_open_attr(ino, &set)? {
            return Ok(attr);
        }
        let before = self.attr(ino)?;
        let mode = self.mode_after(&before, caller, &set);
        if let Some(size) = set.size {
            self.resize(ino, &before, mode, (size, &set))?;
            return self.attr(ino);
        }
        if changes(mode, &set) {
            let in_upper = self.has_upper_bytes(ino) || self.dir_in_upper(ino)?;
            if in_upper {
                self.set_upper_attr(ino, &before, mode, &set)?;
            } else {
                self.set_lower_attr(ino, mode, &set)?;
            }
        }
        self.attr(ino)
    }

    /// Sets the mode or the times of a file of the upper that is open here, and nothing else: one call, which needs no
    /// former state to take back. `None` for anything else.
    fn set_open_attr(&mut self, ino: Ino, set: &SetAttr) -> Result<Option<Attr>> {
        let has_times = set.atime != SetTime::Keep || set.mtime != SetTime::Keep;
        let is_one = set.mode.is_some() != has_times && set.size.is_none() && set.uid.is_none() && set.gid.is_none();
        if !is_one || !self.is_in_upper(ino) || self.is_gone(ino) {
            return Ok(None);
        }
        let Some(file) = self.files.find(ino) else { return Ok(None) };
        self.precede()?;
        match set.mode {
            Some(mode) => fs::chmod(&file.fd, mode & 0o7777).map_err(upper("set the mode"))?,
            None => fs::utimens(&file.fd, set.atime, set.mtime).map_err(upper("set times"))?,
        }
        let stat = fs::stat(&file.fd).map_err(upper("look at a file"))?;
        self.upper_attr(ino, &stat).map(Some)
    }

    /// Changes the size and the other requested attributes, all of it or nothing: a truncation can't be undone, so that
    /// comes last. Times are those that a truncation sets anyway; if they can't be set otherwise, they stay so.
    fn resize(&mut self, ino: Ino, before: &Attr, mode: Option<u32>, (size, set): (u64, &SetAttr)) -> Result<()> {
        let kept_times = SetAttr { atime: SetTime::Keep, mtime: SetTime::Keep, ..*set };
        let is_file = FileType::from_raw_mode(before.mode) == FileType::RegularFile;
        if is_file && !self.has_upper_bytes(ino) {
            let mode = mode.map_or(before.mode, |mode| (before.mode & !0o7777) | mode);
            let (uid, gid) = (set.uid.unwrap_or(before.uid), set.gid.unwrap_or(before.gid));
            self.copy_file(ino, &Attr { mode, uid, gid, ..*before }, size)?;
        } else {
            // Opened first: without descriptors the rest could not be taken back.
            self.settle_to_cut(ino, size)?;
            self.open_to_write(ino)?;
            let others = changes(mode, &kept_times);
            if others {
                self.set_upper_attr(ino, before, mode, &kept_times)?;
            }
            if let Err(e) = self.truncate(ino, size) {
                let back = SetAttr { uid: Some(before.uid), gid: Some(before.gid), ..kept_times };
                // The first error is the one that counts.
                if others {
                    let back = self.set_upper_attr(ino, before, Some(before.mode & 0o7777), &back);
                    back.or_warn("attributes that were set before an error stay set");
                }
                return Err(e);
            }
        }
        let times = SetAttr { uid: None, gid: None, ..*set };
        // An ordinary user's truncation drops set-id bits.
        let mode = mode.filter(|mode| mode & SET_ID != 0);
        if changes(mode, &times) {
            self.set_upper_attr(ino, before, mode, &times).or_warn("mode or times are not as before a truncation");
        }
        Ok(())
    }

    fn dir_in_upper(&mut self, ino: Ino) -> Result<bool> {
        let is_dir = ino == Ino::ROOT || self.lower.is_dir(ino);
        Ok(is_dir && !self.is_gone(ino) && self.dir_fd(ino)?.is_some())
    }

    /// The mode that results: a change of owner or (by an ordinary user) of size drops set-id bits.
    fn mode_after(&self, before: &Attr, caller: Caller, set: &SetAttr) -> Option<u32> {
        let is_file = FileType::from_raw_mode(before.mode) == FileType::RegularFile;
        let owner_changes = set.uid.is_some() || set.gid.is_some();
        let drops = is_file && (owner_changes || (set.size.is_some() && caller.uid != 0));
        let mode = set.mode.map(|m| m & 0o7777);
        if drops && mode.is_none() && before.mode & SET_ID != 0 {
            return Some(without_set_id(before.mode, before.gid, caller) & 0o7777);
        }
        mode
    }

    fn set_upper_attr(&mut self, ino: Ino, before: &Attr, mode: Option<u32>, set: &SetAttr) -> Result<()> {
        self.precede()?;
        let is_dir = FileType::from_raw_mode(before.mode) == FileType::Directory;
        let is_gone = self.is_gone(ino);
        let open = if is_gone || is_dir { None } else { self.files.find(ino) };
        let named = if is_gone || is_dir || open.is_some() { None } else { Some(self.locate(ino)?) };
        let (dir, name) = match (&open, &named) {
            (Some(file), _) => (file.fd.clone(), &b""[..]),
            (_, Some((dir, name, _))) => (dir.clone(), name.bytes()),
            _ if is_dir && !is_gone => (self.dir_fd(ino)?.ok_or(OverlayError::UnknownInode(ino.0))?, &b""[..]),
            _ => return self.set_orphan_attr(ino, mode, set),
        };
        let owner_changes = set.uid.is_some() || set.gid.is_some();
        let aside = self.upper.aside.as_deref();
        // A directory's own mode is no obstacle to itself.
        let set_mode = |mode| match name {
            b"" if open.is_some() => fs::chmod(&dir, mode),
            b"" => fs::chmod_path_fd(&dir, mode),
            name => despite_mode(aside, &dir, || fs::chmod_at(&dir, name, mode)),
        };
        let set_owner = |uid, gid| despite_mode(aside, &dir, || fs::chown_at(&dir, name, uid, gid));
        let change = || -> Result<()> {
            if owner_changes {
                set_owner(set.uid, set.gid).map_err(upper("set the owner"))?;
            }
            if let Some(mode) = mode {
                set_mode(mode).map_err(upper("set the mode"))?;
            }
            if set.atime != SetTime::Keep || set.mtime != SetTime::Keep {
                let set = || fs::utimens_at(&dir, name, set.atime, set.mtime);
                despite_mode(aside, &dir, set).map_err(upper("set times"))?;
            }
            Ok(())
        };
        let changed = change();
        if changed.is_err() {
            // All or nothing; the first error is the one that counts.
            const STAY: &str = "attributes that were set before an error stay set";
            if owner_changes {
                set_owner(Some(before.uid), Some(before.gid)).or_warn(STAY);
            }
            if mode.is_some() {
                set_mode(before.mode & 0o7777).or_warn(STAY);
            }
        }
        changed
    }

    fn set_orphan_attr(&mut self, ino: Ino, mode: Option<u32>, set: &SetAttr) -> Result<()> {
        let fd = fs::reopen(&*self.upper_path_fd(ino)?, fs::OpenFlags::RDONLY).map_err(upper("open a file"))?;
        if set.uid.is_some() || set.gid.is_some() {
            fs::chown(&fd, set.uid, set.gid).map_err(upper("set the owner"))?;
        }
        if let Some(mode) = mode {
            fs::chmod(&fd, mode).map_err(upper("set the mode"))?;
        }
        fs::utimens(&fd, set.atime, set.mtime).map_err(upper("set times"))
    }

    fn set_lower_attr(&mut self, ino: Ino, mode: Option<u32>, set: &SetAttr) -> Result<()> {
        let now = Timespec::now();
        if set.atime != SetTime::Keep {
            self.read_at.remove(&ino);
        }
        let record = self.redressed(ino, |meta| {
            meta.mode = mode.or(meta.mode);
            meta.uid = set.uid.or(meta.uid);
            meta.gid = set.gid.or(meta.gid);
            meta.atime = new_time(set.atime, now).or(meta.atime);
            meta.mtime = new_time(set.mtime, now).or(meta.mtime);
            meta.ctime = Some(now);
        });
        self.record(record)
    }

    /// The record that gives an uncopied file other metadata than it has by now.
    pub(super) fn redressed(&self, ino: Ino, change: impl FnOnce(&mut MetaChange)) -> Record {
        let known = self.delta.meta(ino);
        let mut meta = known.map_or_else(MetaChange::default, MetaChange::without_xattrs);
        change(&mut meta);
        // Extended attributes have been recorded one by one.
        let has_xattrs = known.is_some_and(|meta| meta.xattrs.is_some());
        if has_xattrs { Record::Dress { ino, meta } } else { Record::Meta { ino, meta } }
    }
}

/// Whether anything but the size is to change.
fn changes(mode: Option<u32>, set: &SetAttr) -> bool {
    let owner = set.uid.is_some() || set.gid.is_some();
    owner || mode.is_some() || set.atime != SetTime::Keep || set.mtime != SetTime::Keep
}

fn new_time(set: SetTime, now: Timespec) -> Option<Timespec> {
    match set {
        SetTime::Keep => None,
        SetTime::Now => Some(now),
        SetTime::At(t) => Some(t),
    }
}

/// The mode without set-user-id; and without set-group-id, but for a member of the group where the group may not
/// execute (as the kernel's `setattr_should_drop_sgid`; it meant mandatory locking once, inode(7)). Membership is
/// decided by the caller's first group: the kernel sends no other.
pub(super) fn without_set_id(mode: u32, gid: u32, caller: Caller) -> u32 {
    let is_member = caller.uid == 0 || caller.gid == gid;
    if mode & 0o010 != 0 || !is_member { mode & !SET_ID } else { mode & !0o4000 }
}

/// The attributes of an inode whose upper file has `stat`; the journal's metadata is not applied yet. The generation is
/// the birth time for a file of the upper alone, else 0.
pub(super) fn plain_attr(ino: Ino, stat: &Stat) -> Attr {
    Attr {
        ino,
        generation: if ino.is_upper() { stat.born } else { 0 },
        mode: stat.mode,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        size: stat.size,
        blocks: stat.blocks,
        atime: stat.atime,
        mtime: stat.mtime,
        ctime: stat.ctime,
    }
}

fn with_meta(mut attr: Attr, meta: Option<&MetaChange>) -> Attr {
    let Some(meta) = meta else { return attr };
    if let Some(mode) = meta.mode {
        attr.mode = (attr.mode & !0o7777) | (mode & 0o7777);
    }
    attr.uid = meta.uid.unwrap_or(attr.uid);
    attr.gid = meta.gid.unwrap_or(attr.gid);
    attr.atime = meta.atime.unwrap_or(attr.atime);
    attr.mtime = meta.mtime.unwrap_or(attr.mtime);
    attr.ctime = meta.ctime.unwrap_or(attr.ctime);
    attr
}
