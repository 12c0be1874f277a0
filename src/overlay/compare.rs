//! Which names lead elsewhere when other grafts are laid: what the kernel must forget.

use std::collections::HashSet;

use crate::store::Name;

use super::lower::Lower;
use super::types::Ino;

impl Lower {
    /// Calls `differs` with each directory that both lowers have and each name in it that leads elsewhere: of these
    /// directories, and of those below them as far as their own layers differ. A graft below a directory changes no layer
    /// of it, so the directories of all grafts are to be among them.
    pub fn compare(&self, other: &Lower, tops: impl Iterator<Item = Ino>, differs: &mut dyn FnMut(Ino, &Name)) {
        let (mut todo, mut compared): (Vec<Ino>, HashSet<Ino>) = (tops.collect(), HashSet::new());
        while let Some(dir) = todo.pop() {
            if compared.insert(dir) {
                self.compare_one(other, dir, &mut todo, differs);
            }
        }
    }

    /// Compares one directory, and adds those below it that are to be compared.
    fn compare_one(&self, other: &Lower, dir: Ino, todo: &mut Vec<Ino>, differs: &mut dyn FnMut(Ino, &Name)) {
        if self.layer_numbers(dir) == other.layer_numbers(dir) {
            return;
        }
        let names: HashSet<&[u8]> = self.entries(dir).chain(other.entries(dir)).map(|(_, n, _)| n).collect();
        for name in names.into_iter().flat_map(Name::new) {
            match (self.lookup(dir, &name), other.lookup(dir, &name)) {
                (Some(a), Some(b)) if a == b && self.is_dir(a) && other.is_dir(a) => todo.push(a),
                (a, b) if a == b => {}
                _ => differs(dir, &name),
            }
        }
    }
}
