//! Whether the trees of a view are still what they were when it was opened.

use std::sync::Arc;

use super::error::{Error, Result};
use super::lower::{Graft, Lower};
use crate::sys::time::coarse_ms;

/// So often the files of the trees are looked at, while they are asked.
const LOOKED_AT_EVERY_MS: u64 = 1000;

impl Lower {
    /// Whether what the trees answered so far can be true: the file of one may have been cut or changed while it was
    /// read. Such a tree is taken from the store again, when it is whole there; what is asked after that is answered.
    ///
    /// # Errors
    /// [`Error::LostTree`]; what was answered since this was last asked does not count.
    pub fn must_be_sound(&mut self) -> Result<()> {
        let now = coarse_ms();
        let is_due = now.saturating_sub(self.looked_ms) >= LOOKED_AT_EVERY_MS;
        if is_due {
            self.looked_ms = now;
        }
        let is_bad = |g: &Graft| g.tree.is_damaged() || (is_due && g.tree.is_changed());
        let Some(at) = self.grafts.iter().position(is_bad).or(self.lost) else { return Ok(()) };
        self.take_again(at, is_due)
    }

    /// Replaces a tree that may have lost bytes, if that `may` be tried now.
    fn take_again(&mut self, at: usize, may: bool) -> Result<()> {
        let tree = &mut self.grafts[at].tree;
        let (id, is_damaged) = (tree.id(), tree.is_damaged() || self.lost == Some(at));
        let again = if may || self.lost.is_none() { tree.again().map_err(Some) } else { Err(None) };
        match again {
            Ok(whole) => {
                *tree = Arc::new(whole);
                self.lost = None;
                // Else its file was touched, and holds what it held.
                return if is_damaged { Err(Error::LostTree(id)) } else { Ok(()) };
            }
            Err(Some(why)) if self.lost.is_none() => {
                tracing::error!("tree {id} has lost bytes, its views answer EIO until it is whole again: {why}");
            }
            Err(_) => {}
        }
        self.lost = Some(at);
        Err(Error::LostTree(id))
    }
}
