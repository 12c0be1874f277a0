//! Trees and objects that changed or lost bytes while a view shows them.

use std::sync::Arc;

use super::error::{OverlayError, Result};
use super::intact::{LOOKED_AT_EVERY_MS, WATCHED};
use super::lower::{Lower, LowerGraft};
use super::types::Ino;
use crate::store::FileTimes;
use crate::sys::time::coarse_ms;

impl Lower {
    /// Checks that the results of the trees so far can be true: the file of one may have been cut or changed while it
    /// was read. Such a tree is taken from the store again, if it is whole there; later lookups use that.
    ///
    /// # Errors
    /// [`OverlayError::LostTree`]; results since the last check are void.
    pub fn must_be_sound(&mut self) -> Result<()> {
        let now = coarse_ms();
        let is_due = now.saturating_sub(self.intact.looked_ms) >= LOOKED_AT_EVERY_MS;
        if is_due {
            self.intact.looked_ms = now;
        }
        let is_bad = |g: &LowerGraft| g.tree.is_damaged() || (is_due && g.tree.is_changed());
        let Some(at) = self.grafts.iter().position(is_bad).or(self.intact.lost) else { return Ok(()) };
        self.take_again(at, is_due)
    }

    /// Replaces a tree that may have lost bytes, if that `may` be tried now.
    fn take_again(&mut self, at: usize, may: bool) -> Result<()> {
        let tree = &mut self.grafts[at].tree;
        let (id, is_damaged) = (tree.id(), tree.is_damaged() || self.intact.lost == Some(at));
        let again = if may || self.intact.lost.is_none() { tree.again().map_err(Some) } else { Err(None) };
        match again {
            Ok(whole) => {
                *tree = Arc::new(whole);
                self.intact.lost = None;
                // Else its file was touched, and holds what it held.
                return if is_damaged { Err(OverlayError::LostTree(id)) } else { Ok(()) };
            }
            Err(Some(why)) if self.intact.lost.is_none() => {
                tracing::error!("tree {id} has lost bytes, its views answer EIO until it is whole again: {why}");
            }
            Err(_) => {}
        }
        self.intact.lost = Some(at);
        Err(OverlayError::LostTree(id))
    }

    /// Notes how the file of an object was when it was opened.
    pub fn watch(&mut self, ino: Ino, times: FileTimes) {
        if self.intact.watched.len() >= WATCHED {
            self.intact.watched.clear();
        }
        self.intact.watched.insert(ino, (times, coarse_ms()));
    }

    /// How the file of an object was when it was opened, if it is time to look whether it still is.
    pub fn watched(&mut self, ino: Ino) -> Option<FileTimes> {
        let (times, looked_ms) = self.intact.watched.get_mut(&ino)?;
        let now = coarse_ms();
        if now.saturating_sub(*looked_ms) < LOOKED_AT_EVERY_MS {
            return None;
        }
        *looked_ms = now;
        Some(*times)
    }
}
