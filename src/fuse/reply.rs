//! Outcomes as replies, where several requests are answered alike.

use fuser::{
    Errno, INodeNo, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::FOREVER;
use super::attr::{absent, file_attr, generation};
use super::errno::RequestOutcome;
use super::worker::Answering;
use crate::overlay::{Attr, OverlayError};
use crate::sys::fs::StatVfs;

/// Answers what makes a name.
pub fn entry(on: &Answering<'_>, made: Result<Attr, OverlayError>, reply: ReplyEntry) {
    match made {
        Ok(attr) => {
            let (named, lasts) = on.view.passthrough.named(&on.view.overlay, &attr);
            reply.entry(&lasts, &named, generation(&attr));
        }
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers what looks for a name: that there is none is kept by the kernel, too.
pub fn found(on: &Answering<'_>, found: Result<Attr, OverlayError>, reply: ReplyEntry) {
    match found {
        Err(OverlayError::NotFound) => {
            on.refused(Errno::ENOENT);
            reply.entry(&FOREVER, &absent(), fuser::Generation(0));
        }
        found => entry(on, found, reply),
    }
}

/// Answers a request by number: a file that has another number in the kernel by now isn't found by this.
pub fn numbered(on: &Answering<'_>, number: INodeNo, found: Result<Attr, OverlayError>, reply: ReplyEntry) {
    match found {
        Ok(attr) if on.view.passthrough.named(&on.view.overlay, &attr).0.ino != number => {
            on.view.overlay.forget(attr.ino, 1);
            reply.error(on.refused(Errno::ENOENT));
        }
        found => entry(on, found, reply),
    }
}

/// Answers a request that reads or changes attributes.
pub fn attributes(on: &Answering<'_>, now: Result<Attr, OverlayError>, reply: ReplyAttr) {
    match now {
        Ok(attr) => {
            reply.attr(&on.view.passthrough.lasts(attr.ino, || on.view.overlay.stored(attr.ino)), &file_attr(&attr))
        }
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers how much room there is.
pub fn space(on: &Answering<'_>, now: Result<StatVfs, OverlayError>, reply: ReplyStatfs) {
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
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers what seeks in a file.
pub fn sought(on: &Answering<'_>, found: Result<u64, OverlayError>, reply: ReplyLseek) {
    match found {
        Ok(found) => reply.offset(found as i64),
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers a request that has no result.
pub fn empty(on: &Answering<'_>, done: Result<(), OverlayError>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers with bytes.
pub fn data(on: &Answering<'_>, found: Result<Vec<u8>, OverlayError>, reply: ReplyData) {
    match found {
        Ok(bytes) => reply.data(&bytes),
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers a request with a number of bytes.
pub fn written(on: &Answering<'_>, done: Result<usize, OverlayError>, reply: ReplyWrite) {
    match done {
        Ok(bytes) => {
            on.requests.has_written(bytes);
            reply.written(bytes as u32);
        }
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// Answers `getxattr` and `listxattr`: size 0 requests the length.
pub fn sized(on: &Answering<'_>, value: Result<Vec<u8>, OverlayError>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(on.refused(Errno::ERANGE)),
        Err(e) => reply.error(on.failed(&e)),
    }
}
