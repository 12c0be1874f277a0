//! Outcomes as replies, where several requests are answered alike.

use fuser::{Errno, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, ReplyXattr};

use super::FOREVER;
use super::attr::{absent, file_attr, generation};
use super::errno::to_errno;
use crate::overlay::{Attr, Error};

/// Answers what makes a name.
pub fn entry(made: Result<Attr, Error>, reply: ReplyEntry) {
    match made {
        Ok(attr) => reply.entry(&FOREVER, &file_attr(&attr), generation(&attr)),
        Err(e) => reply.error(to_errno(&e)),
    }
}

/// Answers what looks for a name: that there is none is kept by the kernel, too.
pub fn found(found: Result<Attr, Error>, reply: ReplyEntry) {
    match found {
        Err(Error::NotFound) => reply.entry(&FOREVER, &absent(), fuser::Generation(0)),
        found => entry(found, reply),
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
