//! Extended attributes.
//!
//! The store keeps those of the user namespace with the file; changing one on a file of the lower is a record, not
//! a copy. Others are the upper's: setting one makes a copy first. POSIX ACLs are refused: the kernel would keep
//! them but not enforce them here.

use crate::sys::fs::{self, XattrFlags};

use super::error::{Error, Result, upper};
use super::journal::{Meta, Record};
use super::resolve::View;
use super::{Ino, Overlay};
use crate::sys::fs::Timespec;

impl Overlay {
    /// # Errors
    /// [`Error::NoXattr`] when the file has none of this name.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let mut view = self.view.lock();
        refuse_acl(name)?;
        if view.has_upper_xattrs(ino)? {
            let fd = view.xattr_fd(ino)?;
            return fs::xattr(&fd, name).map_err(no_xattr("read an extended attribute"));
        }
        view.lower_xattrs(ino).remove(name).ok_or(Error::NoXattr)
    }

    pub fn xattr_names(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let mut view = self.view.lock();
        if view.has_upper_xattrs(ino)? {
            let fd = view.xattr_fd(ino)?;
            let mut names = fs::xattr_names(&fd).map_err(no_xattr("list extended attributes"))?;
            names.retain(|name| refuse_acl(name).is_ok());
            return Ok(names);
        }
        Ok(view.lower_xattrs(ino).into_keys().collect())
    }

    /// `flags` as in setxattr(2).
    ///
    /// # Errors
    /// [`Error::NotSupported`] for an ACL.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        let mut view = self.view.lock();
        refuse_acl(name)?;
        if !name.starts_with(b"user.") {
            view.copy_up(ino, u64::MAX)?;
        }
        if view.has_upper_xattrs(ino)? {
            view.journal.precede()?;
            let fd = view.xattr_fd(ino)?;
            return fs::set_xattr(&fd, name, value, flags).map_err(no_xattr("set an extended attribute"));
        }
        let mut all = view.lower_xattrs(ino);
        match all.contains_key(name) {
            true if flags.contains(XattrFlags::CREATE) => return Err(Error::XattrExists),
            false if flags.contains(XattrFlags::REPLACE) => return Err(Error::NoXattr),
            _ => all.insert(name.to_vec(), value.to_vec()),
        };
        view.record_xattrs(ino, all)
    }

    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        let mut view = self.view.lock();
        if view.has_upper_xattrs(ino)? {
            view.journal.precede()?;
            let fd = view.xattr_fd(ino)?;
            return fs::remove_xattr(&fd, name).map_err(no_xattr("remove an extended attribute"));
        }
        let mut all = view.lower_xattrs(ino);
        all.remove(name).ok_or(Error::NoXattr)?;
        view.record_xattrs(ino, all)
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
            true => self.dir_fd(ino)?.ok_or(Error::UnknownInode(ino.0)),
            false => self.upper_path_fd(ino),
        }
    }

    fn record_xattrs(&mut self, ino: Ino, all: std::collections::BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        let known = self.delta.meta(ino).cloned().unwrap_or_default();
        let meta = Meta { xattrs: Some(all), ctime: Some(Timespec::now()), ..known };
        self.record(Record::Meta { ino, meta })
    }
}

fn refuse_acl(name: &[u8]) -> Result<()> {
    if name.starts_with(b"system.posix_acl_") { Err(Error::NotSupported) } else { Ok(()) }
}

fn no_xattr(verb: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |e| match e.raw_os_error() {
        Some(libc::ENODATA) => Error::NoXattr,
        Some(libc::EEXIST) => Error::XattrExists,
        _ => upper(verb)(e),
    }
}
