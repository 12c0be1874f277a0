//! Extended attributes.
//!
//! The store keeps those of the user namespace with the file; changing one on a file of the lower is a record, not a
//! copy. A value that the upper's file system would not take with a copy is refused at once, by that file system
//! itself: a nameless file there, the *probe*, is given the same. Others are the upper's: setting one makes a copy
//! first. POSIX ACLs are refused: the kernel would keep them but not enforce them here.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::sys::fs::{self, OpenFlags, XattrFlags};

use super::error::{OverlayError, Result, upper};
use super::journal::{MetaChange, Record};
use super::types::Ino;
use super::view::Overlay;
use super::view::View;
use crate::sys::fs::Timespec;

/// Attributes of so many bytes in all, each with a head, fit into every file system that has any: ext4 with blocks of
/// 1 KiB has the least room.
const FITS: usize = 512;
const HEAD: usize = 24;

/// The capabilities of a program (capabilities(7)). No new file has any.
const CAPABILITY: &[u8] = b"security.capability";

/// A probe's name, for a moment, where there are no nameless files.
const PROBE: &[u8] = b".depsfs.probe";

impl Overlay {
    /// # Errors
    /// [`OverlayError::NoXattr`] when the file has none of this name.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let mut view = self.view.lock();
        refuse_acl(name)?;
        if name == CAPABILITY && view.seen.get(&ino).is_some_and(|seen| seen.has_no_capability) {
            return Err(OverlayError::NoXattr);
        }
        if view.has_upper_xattrs(ino)? {
            let fd = view.xattr_fd(ino)?;
            return fs::xattr(&fd, name).map_err(no_xattr("read an extended attribute"));
        }
        let value = view.lower_xattr(ino, name).ok_or(OverlayError::NoXattr);
        view.lower.must_be_sound()?;
        value
    }

    /// # Errors
    /// As listxattr(2).
    pub fn xattr_names(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let mut view = self.view.lock();
        if view.has_upper_xattrs(ino)? {
            let fd = view.xattr_fd(ino)?;
            let mut names = fs::xattr_names(&fd).map_err(no_xattr("list extended attributes"))?;
            names.retain(|name| refuse_acl(name).is_ok());
            return Ok(names);
        }
        let names = view.lower_xattrs(ino).into_keys().collect();
        view.lower.must_be_sound()?;
        Ok(names)
    }

    /// `flags` as in setxattr(2).
    ///
    /// # Errors
    /// [`OverlayError::NotSupported`] for an ACL.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        let mut view = self.view.lock();
        refuse_acl(name)?;
        if !name.starts_with(b"user.") {
            view.copy_up(ino, u64::MAX)?;
        }
        if view.has_upper_xattrs(ino)? {
            view.precede()?;
            let fd = view.xattr_fd(ino)?;
            if let Some(seen) = view.seen.get_mut(&ino) {
                seen.has_no_capability = false;
            }
            return fs::set_xattr(&fd, name, value, flags).map_err(no_xattr("set an extended attribute"));
        }
        match view.lower_xattr(ino, name).is_some() {
            true if flags.contains(XattrFlags::CREATE) => return Err(OverlayError::XattrExists),
            false if flags.contains(XattrFlags::REPLACE) => return Err(OverlayError::NoXattr),
            _ => {}
        }
        if let Some(probe) = view.probe(ino, name, value)? {
            fs::set_xattr(&*probe, name, value, flags).map_err(no_xattr("set an extended attribute"))?;
            view.takes_xattrs = true;
        }
        view.record_xattr(ino, name, Some(value.to_vec()))
    }

    /// # Errors
    /// As removexattr(2).
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        let mut view = self.view.lock();
        if view.has_upper_xattrs(ino)? {
            view.precede()?;
            let fd = view.xattr_fd(ino)?;
            return fs::remove_xattr(&fd, name).map_err(no_xattr("remove an extended attribute"));
        }
        view.lower_xattr(ino, name).ok_or(OverlayError::NoXattr)?;
        view.probes.forget(ino);
        view.record_xattr(ino, name, None)
    }
}

impl View {
    fn has_upper_xattrs(&mut self, ino: Ino) -> Result<bool> {
        let is_dir = ino == Ino::ROOT || self.lower.is_dir(ino);
        Ok(self.has_upper_bytes(ino) || (is_dir && !self.is_gone(ino) && self.dir_fd(ino)?.is_some()))
    }

    fn xattr_fd(&mut self, ino: Ino) -> Result<std::sync::Arc<std::os::fd::OwnedFd>> {
        let is_dir = ino == Ino::ROOT || self.lower.is_dir(ino);
        match is_dir && !self.is_gone(ino) {
            true => self.dir_fd(ino)?.ok_or(OverlayError::UnknownInode(ino.0)),
            false => self.upper_path_fd(ino),
        }
    }

    /// One attribute of a file or directory whose metadata the upper doesn't have.
    fn lower_xattr(&self, ino: Ino, name: &[u8]) -> Option<Vec<u8>> {
        if let Some(MetaChange { xattrs: Some(all), .. }) = self.delta.meta(ino) {
            return all.get(name).cloned();
        }
        let (tree, node) = self.lower.source(ino)?;
        let mut all = tree.xattrs(node);
        all.find(|(n, _)| *n == name).map(|(_, value)| value.to_vec())
    }

    fn record_xattr(&mut self, ino: Ino, name: &[u8], value: Option<Vec<u8>>) -> Result<()> {
        let record = Record::Xattr { ino, name: name.to_vec(), value, time: Timespec::now() };
        // After an error the probe has what the file has not.
        self.record(record).inspect_err(|_| self.probes.forget(ino))
    }

    /// A file of the upper's file system that has what this one has; `None` where so little, with this attribute, fits
    /// everywhere.
    fn probe(&mut self, ino: Ino, name: &[u8], value: &[u8]) -> Result<Option<Arc<OwnedFd>>> {
        if let Some(probe) = self.probes.find(ino) {
            return Ok(Some(probe));
        }
        let all = self.lower_xattrs(ino);
        let size = |(name, value): (&[u8], &[u8])| HEAD + name.len() + value.len();
        let sum: usize = all.iter().map(|(n, v)| size((n, v))).sum::<usize>() + size((name, value));
        if self.takes_xattrs && sum <= FITS {
            return Ok(None);
        }
        let probe = self.nameless()?;
        for (name, value) in &all {
            fs::set_xattr(&probe, name, value, XattrFlags::empty()).map_err(upper("set an extended attribute"))?;
        }
        let probe = Arc::new(probe);
        self.probes.keep(ino, probe.clone());
        Ok(Some(probe))
    }

    /// A file of the upper's file system that no user finds.
    ///
    /// # Errors
    /// When that file system is full or read-only.
    pub(super) fn nameless(&mut self) -> Result<OwnedFd> {
        let root = self.upper.root.clone();
        let dir = self.upper.aside.as_ref().map_or(Ok(None), |aside| fs::duplicate(aside.as_fd()).map(Some));
        let dir = dir.map_err(upper("open a directory"))?.map_or(root, Arc::new);
        match self.open_kept(|| fs::open_tmpfile(&*dir, 0o600)) {
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL;
                let file = fs::open_at(&*dir, PROBE, flags, 0o600).map_err(upper("create a file"))?;
                fs::unlink_at(&*dir, PROBE).map_err(upper("delete a file"))?;
                Ok(file)
            }
            file => file.map_err(upper("create a file")),
        }
    }
}

fn refuse_acl(name: &[u8]) -> Result<()> {
    if name.starts_with(b"system.posix_acl_") { Err(OverlayError::NotSupported) } else { Ok(()) }
}

fn no_xattr(verb: &'static str) -> impl FnOnce(std::io::Error) -> OverlayError {
    move |e| match e.raw_os_error() {
        Some(libc::ENODATA) => OverlayError::NoXattr,
        Some(libc::EEXIST) => OverlayError::XattrExists,
        _ => upper(verb)(e),
    }
}
