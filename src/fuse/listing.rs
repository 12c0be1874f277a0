//! Directory listings: as many names as the kernel has room for, from a cookie on.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::attr::{file_attr, generation, kind};
use super::errno::RequestOutcome;
use super::worker::Answering;
use crate::overlay::Ino;

/// Answers READDIR from the cookie `after` on (0: from the start) with names, types and inode numbers, as many as the
/// kernel's buffer takes. An empty reply ends the listing.
pub fn plain(on: &Answering<'_>, dir: Ino, after: u64, mut reply: ReplyDirectory) {
    let done = on.view.overlay.readdir(dir, after, false, &mut |entry| {
        !reply.add(INodeNo(entry.ino.0), entry.cookie, kind(entry.mode), OsStr::from_bytes(entry.name))
    });
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(on.failed(&e)),
    }
}

/// With attributes, each of which the kernel takes for a lookup of the name.
pub fn with_attributes(on: &Answering<'_>, dir: Ino, after: u64, mut reply: ReplyDirectoryPlus) {
    let done = on.view.overlay.readdir(dir, after, true, &mut |entry| {
        let Some(attr) = entry.attr else { return true };
        let name = OsStr::from_bytes(entry.name);
        // By its inode number in any case, which is what programs see of a listing; a name that doesn't last is looked
        // up before it is used.
        let lasts = on.view.passthrough.lasts(entry.ino, entry.stored);
        !reply.add(INodeNo(entry.ino.0), entry.cookie, name, &lasts, &file_attr(&attr), generation(&attr))
    });
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(on.failed(&e)),
    }
}
