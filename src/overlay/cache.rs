//! A few open descriptors, kept by inode; the one unused longest goes first.

use std::collections::HashMap;
use std::sync::Arc;

use super::types::Ino;

/// At most `capacity` values. One that is dropped here is closed when its last user drops it.
pub(super) struct FdCache<V> {
    capacity: usize,
    clock: u64,
    held: HashMap<Ino, (u64, Arc<V>)>,
}

impl<V> FdCache<V> {
    /// An empty cache. `capacity` counts open descriptors; callers that hold a value keep it open beyond that.
    pub fn new(capacity: usize) -> FdCache<V> {
        FdCache { capacity, clock: 0, held: HashMap::new() }
    }

    /// The value of this inode, which becomes the one used last. `None` means only that it has to be opened.
    pub fn find(&mut self, ino: Ino) -> Option<Arc<V>> {
        self.clock += 1;
        let (used, value) = self.held.get_mut(&ino)?;
        *used = self.clock;
        Some(value.clone())
    }

    /// Whether something is kept for this inode.
    pub fn has(&self, ino: Ino) -> bool {
        self.held.contains_key(&ino)
    }

    /// Keeps `value`; makes room first.
    pub fn keep(&mut self, ino: Ino, value: Arc<V>) {
        if self.held.len() >= self.capacity && !self.held.contains_key(&ino) {
            let oldest = self.held.iter().min_by_key(|(_, (used, _))| *used).map(|(ino, _)| *ino);
            oldest.and_then(|ino| self.held.remove(&ino));
        }
        self.clock += 1;
        self.held.insert(ino, (self.clock, value));
    }

    /// Drops the value of this inode, if there is one: it is about another file now, or open in another way.
    pub fn forget(&mut self, ino: Ino) {
        self.held.remove(&ino);
    }

    /// Drops all values, to free descriptors; callers go on with those that they hold.
    pub fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_unused_longest_makes_room() {
        let mut cache = FdCache::new(2);
        cache.keep(Ino(1), Arc::new("a"));
        cache.keep(Ino(2), Arc::new("b"));
        assert!(cache.find(Ino(1)).is_some());
        cache.keep(Ino(3), Arc::new("c"));
        assert!(cache.find(Ino(2)).is_none());
        assert!(cache.find(Ino(1)).is_some() && cache.find(Ino(3)).is_some());
    }
}
