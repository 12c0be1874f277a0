//! The one call of `fuser` that is unsafe: naming a backing that this server has not made itself.

#![allow(unsafe_code)]

use fuser::{BackingId, ReplyOpen};

/// What the kernel calls `id` on the connection of `reply`: made on it, by this server or one before, and owned by
/// whoever calls, who closes it by dropping what is returned. An id that the kernel doesn't know is refused by it when it
/// is used (ENOENT), and one is never closed by two.
pub fn named(reply: &ReplyOpen, id: u32) -> BackingId {
    // SAFETY: what fuser asks for is that the number is open and closed once; memory does not depend on it. Numbers come
    // from `open_backing` on this connection, by way of the keeper if another server made it, which is gone then.
    unsafe { reply.wrap_backing(id) }
}
