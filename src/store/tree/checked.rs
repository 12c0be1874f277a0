//! Which objects of a tree were found to be what their names say: a bit for each, as long as the tree is in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Node, Tree, kind_of};
use crate::sys::fs::FileType;

impl Tree {
    /// Whether the last [`Tree::note_checked`] noted the object of this file as sound.
    pub fn is_checked(&self, n: Node) -> bool {
        self.checked_bit(n).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Remembers, as long as this value lives, whether the bytes of a file's object are those of its name.
    pub fn note_checked(&self, n: Node, is_sound: bool) {
        match self.checked_bit(n) {
            Some((word, bit)) if is_sound => drop(word.fetch_or(bit, Ordering::Relaxed)),
            Some((word, bit)) => drop(word.fetch_and(!bit, Ordering::Relaxed)),
            None => {}
        }
    }

    /// Forgets the notes of [`Tree::note_checked`].
    pub fn forget_checked(&self) {
        self.checked.get().into_iter().flatten().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn checked_bit(&self, n: Node) -> Option<(&AtomicU64, u64)> {
        let raw = self.raw(n).filter(|raw| kind_of(raw.mode) == Some(FileType::RegularFile))?;
        let words = self.checked.get_or_init(|| (0..self.layout.objects.div_ceil(64)).map(|_| 0.into()).collect());
        Some((words.get(raw.data as usize / 64)?, 1 << (raw.data % 64)))
    }
}
