//! The one call of `fuser` that is unsafe: naming a backing that this server has not made itself.

#![allow(unsafe_code)]

use fuser::{BackingId, ReplyOpen};

/// The backing file with the kernel's number `id` on the connection of `reply`: opened on it, by this server or one
/// before, and owned by the caller, which closes it by dropping the returned value. The kernel refuses an unknown id
/// when it is used (ENOENT), and an id has one owner, so it is closed once.
pub fn named(reply: &ReplyOpen, id: u32) -> BackingId {
    // SAFETY: fuser requires that the number is open and closed once; memory does not depend on it. Numbers come
    // from `open_backing` on this connection, by way of the keeper if another server made it, which is gone then.
    unsafe { reply.wrap_backing(id) }
}
