//! Access times of files of the store: they move as with relatime (mount(8)), and are kept in memory only.
//!
//! The server does not see reads that the kernel serves from its cache, so no more is guaranteed. The upper's file
//! system moves its own access times.

use crate::sys::fs::Timespec;

use super::types::Ino;
use super::view::View;

/// An access time older than this, in seconds, moves in any case.
const DAY: i64 = 24 * 3600;

impl View {
    /// This file or directory was read.
    pub(super) fn accessed(&mut self, ino: Ino) {
        if self.has_upper_bytes(ino) {
            return;
        }
        let Some((tree, node)) = self.lower.source(ino) else { return };
        let (stored, said) = (tree.stat(node).mtime, self.delta.meta(ino));
        let mtime = said.and_then(|m| m.mtime).unwrap_or(stored);
        let ctime = said.and_then(|m| m.ctime).unwrap_or(stored);
        let atime = self.read_at.get(&ino).copied().or(said.and_then(|m| m.atime)).unwrap_or(stored);
        let now = Timespec::now();
        if atime <= mtime || atime <= ctime || now.sec.saturating_sub(atime.sec) >= DAY {
            self.read_at.insert(ino, now);
        }
    }
}
