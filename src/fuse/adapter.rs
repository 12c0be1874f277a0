//! Each request of the kernel as a call on the overlay, and the outcome as a reply.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::attr::{caller, ino, ordinary, set_time};
use super::errno::RequestOutcome;
use super::errno::of_name;
use super::reply::{attributes, data, empty, entry, found, numbered, sized, sought, space};
use super::requests::Operation;
use super::resend::IsResend;
use super::worker::Worker;
use super::{listing, offload, virtual_xattr};
use crate::overlay::{Caller, Overlay, OverlayError, ReadRange, SetAttr};
use crate::store::Name;
use crate::sys::fs::{FileType, XattrFlags};
use crate::sys::fuse_dev;

/// The longest piece one `copy_file_range` message copies: other requests wait meanwhile.
const LONGEST_COPY: u64 = 64 << 20;
/// `lseek(2)`.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// A worker, as a file system for `fuser`: each request is that of the connection which the worker has. At the end of an
/// answer the worker may turn to another connection; after what is left to fuser's defaults it stays.
pub struct Adapter(pub Arc<Worker>);

/// The name, or the answer is an error: `let name = checked!(on, name, reply)`.
macro_rules! checked {
    ($on:ident, $name:expr, $reply:ident) => {
        match Name::new($name.as_bytes()) {
            Ok(name) => name,
            Err(e) => return $reply.error($on.refused(of_name(e))),
        }
    };
}

impl Filesystem for Adapter {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let on = self.0.request(Operation::Lookup, parent, Some(name));
        // For a file handle the kernel sends these names, with a number that it has forgotten (FUSE_EXPORT_SUPPORT).
        match name.as_bytes() {
            b"." => numbered(&on, parent, on.view.overlay.lookup_number(ino(parent)), reply),
            b".." => entry(&on, on.view.overlay.lookup_parent(ino(parent)), reply),
            _ => found(&on, on.view.overlay.lookup(ino(parent), &checked!(on, name, reply)), reply),
        }
    }

    fn forget(&self, request: &Request, number: INodeNo, count: u64) {
        if number.0 == fuse_dev::NOBODY {
            return self.0.was_called(request);
        }
        // One of several that fuser has read as one request (FUSE_BATCH_FORGET), perhaps: the worker has to stay.
        let on = self.0.aside(Operation::Forget, number);
        on.view.overlay.forget(ino(number), count);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let on = self.0.request(Operation::Getattr, number, None);
        attributes(&on, on.view.overlay.getattr(ino(number)), reply);
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let on = self.0.request(Operation::Setattr, number, None);
        let mode = mode.map(|m| m & 0o7777);
        let set = SetAttr { mode, uid, gid, size, atime: set_time(atime), mtime: set_time(mtime) };
        if size.is_some() && on.view.passthrough.moves(&on.view.overlay, number) {
            return reply.error(on.refused(Errno::ESTALE));
        }
        if size.is_some_and(|size| size > 0) && on.view.overlay.lacks_object(ino(number)) {
            return offload::cut(&on, (request, reply), ino(number), set);
        }
        attributes(&on, on.view.overlay.setattr(ino(number), caller(request), set), reply);
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let on = self.0.request(Operation::Readlink, number, None);
        data(&on, on.view.overlay.readlink(ino(number)), reply);
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, rdev: u32, reply: ReplyEntry) {
        let on = self.0.request(Operation::Mknod, parent, Some(name));
        let name = checked!(on, name, reply);
        let parent = ino(parent);
        // A regular file is made as by CREATE, other types with `rdev` as the kernel encodes it.
        let make = move |overlay: &Overlay, name: &Name, by: Caller| match FileType::from_raw_mode(mode) {
            FileType::RegularFile => overlay.create(parent, name, mode & 0o7777, by, true),
            _ => overlay.mknod(parent, name, mode, rdev.into(), by),
        };
        offload::make(&on, (request, reply), (parent, name, Some(mode)), make);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let on = self.0.request(Operation::Mkdir, parent, Some(name));
        let name = checked!(on, name, reply);
        let (parent, mode) = (ino(parent), mode & 0o7777);
        let entry = (parent, name, Some(libc::S_IFDIR | mode));
        offload::make(&on, (request, reply), entry, move |overlay, name, by| overlay.mkdir(parent, name, mode, by));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Unlink, parent, Some(name));
        let name = checked!(on, name, reply);
        let done = IsResend::of(request).removed(on.view.overlay.unlink(ino(parent), &name));
        if done.is_ok() {
            on.removed(ino(parent));
        }
        empty(&on, done, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Rmdir, parent, Some(name));
        let name = checked!(on, name, reply);
        let done = IsResend::of(request).removed(on.view.overlay.rmdir(ino(parent), &name));
        if done.is_ok() {
            on.removed(ino(parent));
        }
        empty(&on, done, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let on = self.0.request(Operation::Symlink, parent, Some(name));
        let name = checked!(on, name, reply);
        let (parent, target) = (ino(parent), target.as_os_str().as_bytes().to_vec());
        let entry = (parent, name, Some(libc::S_IFLNK));
        offload::make(&on, (request, reply), entry, move |overlay, name, by| {
            overlay.symlink(parent, name, &target, by)
        });
    }

    // A rename cannot take the last name out of the view's root: its target lies in the same view.
    fn rename(
        &self,
        request: &Request,
        from: INodeNo,
        old: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let on = self.0.request(Operation::Rename, from, Some(old));
        let (old, new) = (checked!(on, old, reply), checked!(on, new, reply));
        let flags = crate::sys::fs::RenameFlags::from_bits_retain(flags.bits());
        if !flags.contains(crate::sys::fs::RenameFlags::EXCHANGE) {
            return offload::rename(&on, (request, reply), (ino(from), old), (ino(to), new), flags);
        }
        let _whole = on.view.whole.read();
        empty(&on, on.view.exchange_for(request, (ino(from), &old), (ino(to), &new)), reply);
    }

    fn link(&self, request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let on = self.0.request(Operation::Link, parent, Some(name));
        let name = checked!(on, name, reply);
        let (number, parent) = (ino(number), ino(parent));
        let make = move |overlay: &Overlay, name: &Name, _| overlay.link(number, parent, name);
        offload::make(&on, (request, reply), (parent, name, None), make);
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let on = self.0.request(Operation::Open, number, None);
        on.view.passthrough.open((&on.view.overlay, &on), number, flags, reply);
    }

    fn opendir(&self, _: &Request, dir: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let on = self.0.request(Operation::Opendir, dir, None);
        reply.error(on.refused(Errno::ENOSYS));
    }

    // The kernel then makes files with `mknod` and opens them without a message.
    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let on = self.0.request(Operation::Create, parent, Some(name));
        reply.error(on.refused(Errno::ENOSYS));
    }

    fn flush(&self, _: &Request, number: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Flush, number, None);
        reply.error(on.refused(Errno::ENOSYS));
    }

    fn read(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let on = self.0.request(Operation::Read, number, None);
        let unnoticed = flags.0 & libc::O_NOATIME != 0;
        offload::read(&on, (request, reply), ReadRange { ino: ino(number), offset, len: size as usize, unnoticed });
    }

    fn write(
        &self,
        request: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let on = self.0.request(Operation::Write, number, None);
        let (number, kill) = (ino(number), flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID));
        let by = kill.then(|| caller(request));
        let notices = on.notices.clone();
        let write = move |o: &Overlay, data: &[u8]| notices.changed(number, o.write(number, offset, data, by));
        let is_slow = on.view.overlay.changes_slowly(number);
        offload::change(&on, (request, reply), ((number, is_slow), None), data, write);
    }

    fn fsync(&self, r: &Request, number: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Fsync, number, None);
        offload::sync(&on, (r, reply), ino(number), data_only);
    }

    fn fsyncdir(&self, r: &Request, number: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Fsyncdir, number, None);
        offload::sync(&on, (r, reply), ino(number), data_only);
    }

    fn readdir(&self, _: &Request, dir: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        let on = self.0.request(Operation::Readdir, dir, None);
        listing::plain(&on, ino(dir), offset, reply);
    }

    fn readdirplus(&self, _: &Request, dir: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let on = self.0.request(Operation::Readdirplus, dir, None);
        listing::with_attributes(&on, ino(dir), offset, reply);
    }

    fn statfs(&self, _: &Request, number: INodeNo, reply: ReplyStatfs) {
        let on = self.0.request(Operation::Statfs, number, None);
        space(&on, on.view.overlay.statfs(), reply);
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let on = self.0.request(Operation::Setxattr, number, Some(name));
        let name = name.as_bytes();
        let Some(own) = name.strip_prefix(virtual_xattr::PREFIX) else {
            // The attribute of a resent request may exist already: it is then set once more.
            let first = !IsResend::of(request).0;
            let flags = if first { XattrFlags::from_bits_retain(flags as u32) } else { XattrFlags::empty() };
            return empty(&on, on.view.overlay.set_xattr(ino(number), name, value, flags), reply);
        };
        if !on.may_ask(request) {
            return reply.error(on.refused(Errno::EPERM));
        }
        virtual_xattr::answer_set(&on, ino(number), own, value, (request, reply));
    }

    fn getxattr(&self, request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let on = self.0.request(Operation::Getxattr, number, Some(name));
        let name = name.as_bytes();
        let value = match name.strip_prefix(virtual_xattr::PREFIX) {
            None => on.view.overlay.xattr(ino(number), name),
            Some(own) if on.may_ask(request) => virtual_xattr::value(&on, ino(number), own),
            Some(_) => Err(OverlayError::NoXattr),
        };
        sized(&on, value, size, reply);
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let on = self.0.request(Operation::Listxattr, number, None);
        let names = on.view.overlay.xattr_names(ino(number));
        let joined = names.map(|all| all.into_iter().flat_map(|name| name.into_iter().chain([0])).collect());
        sized(&on, joined, size, reply);
    }

    fn removexattr(&self, request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Removexattr, number, Some(name));
        if name.as_bytes().starts_with(virtual_xattr::PREFIX) {
            return reply.error(on.refused(Errno::EPERM));
        }
        let done = on.view.overlay.remove_xattr(ino(number), name.as_bytes());
        empty(&on, IsResend::of(request).removed(done), reply);
    }

    // ENOSYS would reach programs as it is; what they expect of a file system without the call is ENOTTY.
    fn ioctl(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        let on = self.0.request(Operation::Ioctl, number, None);
        reply.error(on.refused(Errno::ENOTTY));
    }

    fn fallocate(&self, r: &Request, number: INodeNo, _: FileHandle, at: u64, len: u64, mode: i32, reply: ReplyEmpty) {
        let on = self.0.request(Operation::Fallocate, number, None);
        let (number, by, notices) = (ino(number), ordinary(r), on.notices.clone());
        let allocate = move |o: &Overlay, _: &[u8]| notices.changed(number, o.fallocate(number, mode, at, len, by));
        let is_slow = on.view.overlay.settles_slowly(number);
        offload::change(&on, (r, reply), ((number, is_slow), None), &[], allocate);
    }

    fn lseek(&self, _: &Request, number: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let on = self.0.request(Operation::Lseek, number, None);
        let (Ok(offset), true) = (u64::try_from(offset), matches!(whence, SEEK_DATA | SEEK_HOLE)) else {
            return reply.error(on.refused(if offset < 0 { Errno::ENXIO } else { Errno::EINVAL }));
        };
        let is_outdated = on.view.passthrough.is_outdated(&on.view.overlay, number);
        let seek = if is_outdated { Overlay::stored_lseek } else { Overlay::lseek };
        sought(&on, seek(&on.view.overlay, ino(number), offset, whence == SEEK_HOLE), reply);
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _: FileHandle,
        from_at: u64,
        to: INodeNo,
        _: FileHandle,
        to_at: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let on = self.0.request(Operation::CopyFileRange, to, None);
        if on.view.passthrough.is_outdated(&on.view.overlay, from) {
            // The kernel then copies what is read of it.
            return reply.error(on.refused(Errno::EXDEV));
        }
        let (from, to, len) = ((ino(from), from_at), (ino(to), to_at), len.min(LONGEST_COPY) as usize);
        let (by, notices) = (ordinary(request), on.notices.clone());
        let overlay = &on.view.overlay;
        let is_slow = overlay.settles_slowly(to.0) || overlay.copies_range_slowly(from, len);
        let copy = move |o: &Overlay, _: &[u8]| notices.changed(to.0, o.copy_range(from, to, len, by));
        offload::change(&on, (request, reply), ((to.0, is_slow), Some(from.0)), &[], copy);
    }
}
