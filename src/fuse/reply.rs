//! Outcomes as replies, where several requests are answered alike.

use fuser::{
    Errno, INodeNo, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::attr::{absent, file_attr, generation};
use super::errno::to_errno;
use super::{FOREVER, View};
use crate::overlay::{Attr, Error};
use crate::sys::fs::StatVfs;

/// Answers what makes a name.
pub fn entry(view: &View, made: Result<Attr, Error>, reply: ReplyEntry) {
    match made {
        Ok(attr) => {
            let (named, lasts) = view.passthrough.named(&view.overlay, &attr);
            reply.entry(&lasts, &named, generation(&attr));
        }
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers what looks for a name: that there is none is kept by the kernel, too.
pub fn found(view: &View, found: Result<Attr, Error>, reply: ReplyEntry) {
    match found {
        Err(Error::NotFound) => reply.entry(&FOREVER, &absent(), fuser::Generation(0)),
        found => entry(view, found, reply),
    }
}

/// Answers what looks for a number: a file that the kernel knows by another one now isn't found by this.
pub fn numbered(view: &View, number: INodeNo, found: Result<Attr, Error>, reply: ReplyEntry) {
    match found {
        Ok(attr) if view.passthrough.named(&view.overlay, &attr).0.ino != number => {
            view.overlay.forget(attr.ino, 1);
            reply.error(Errno::ENOENT);
        }
        found => entry(view, found, reply),
    }
}

/// Answers what asks for attributes, or changes them.
pub fn attributes(view: &View, now: Result<Attr, Error>, reply: ReplyAttr) {
    match now {
        Ok(attr) => reply.attr(&view.passthrough.lasts(attr.ino, || view.overlay.stored(attr.ino)), &file_attr(&attr)),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers how much room there is.
pub fn space(now: Result<StatVfs, Error>, reply: ReplyStatfs) {
    match now {
        Ok(s) => reply.statfs(
            s.f_blocks,
            s.f_bfree,
            s.f_bavail,
            s.f_files,
            s.f_ffree,
            s.f_bsize as u32,
            s.f_namemax as u32,
            s.f_frsize as u32,
        ),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers what seeks in a file.
pub fn sought(found: Result<u64, Error>, reply: ReplyLseek) {
    match found {
        Ok(found) => reply.offset(found as i64),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers a request that has no result.
pub fn empty(done: Result<(), Error>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers with the bytes that `read` hands over.
pub fn data(reply: ReplyData, read: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), Error>) {
    let mut reply = Some(reply);
    let done = read(&mut |bytes| {
        if let Some(reply) = reply.take() {
            reply.data(bytes);
        }
    });
    if let (Err(e), Some(reply)) = (done, reply) {
        reply.error(to_errno(&e));
    }
}

/// Answers a request with a number of bytes.
pub fn written(done: Result<usize, Error>, reply: ReplyWrite) {
    match done {
        Ok(bytes) => reply.written(bytes as u32),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers `getxattr` and `listxattr`: size 0 asks for the length.
pub fn sized(value: Result<Vec<u8>, Error>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(e) => reply.error(to_errno(&e)),
    }
}
