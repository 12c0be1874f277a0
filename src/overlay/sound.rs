//! Repair after a damaged journal has lost records: the other records are made to fit together again.
//!
//! | lost record                               | the other records          | then                             |
//! |-------------------------------------------|----------------------------|----------------------------------|
//! | where a tree's inode numbers begin        | name files that no tree has | these records are void          |
//! | that a directory was moved away from here | have it in two places      | it is where it was moved last    |
//! | that a directory was moved out of another | have each of the two in the other | both are where the tree has them |
//!
//! After any other loss, a file of the store shows that was deleted or moved, or shows as the store has it.

use std::collections::HashSet;

use crate::store::Name;

use super::journal::Record;
use super::state::{Delta, Override};
use super::types::Ino;
use super::view::View;

impl View {
    /// Mends the records in memory as the table says, after a replay that met damage. The caller writes the journal
    /// anew.
    pub(super) fn make_sound(&mut self) {
        self.drop_unknown();
        for dir in self.moved_dirs() {
            self.leave_other_places(dir);
        }
        while let Some(dir) = self.moved_dirs().into_iter().find(|dir| self.is_in_itself(*dir)) {
            self.put_back(dir);
        }
    }

    fn moved_dirs(&self) -> Vec<Ino> {
        let mut moved = self.delta.all_moved();
        moved.retain(|ino| self.lower.is_dir(*ino));
        moved.sort();
        moved
    }

    /// Numbers that no tree has would be those of a tree to come.
    fn drop_unknown(&mut self) {
        let is_known = |ino: Ino| ino == Ino::ROOT || ino.is_upper() || self.lower.node(ino).is_some();
        let mut records = self.delta.records();
        records.retain(|record| match record {
            Record::Root { .. } | Record::Graft { .. } => true,
            Record::Moved { dir, ino, .. } | Record::Place { dir, ino, .. } => is_known(*dir) && is_known(*ino),
            Record::Whiteout { dir, .. }
            | Record::Unset { dir, .. }
            | Record::Opaque { dir }
            | Record::Cleared { dir } => is_known(*dir),
            Record::Meta { ino, .. }
            | Record::Dress { ino, .. }
            | Record::Xattr { ino, .. }
            | Record::Copied { ino, .. }
            | Record::Uncopied { ino } => is_known(*ino),
        });
        self.delta = Delta::default();
        records.iter().for_each(|record| self.delta.apply(&self.lower, record));
    }

    /// A directory has one name: the last one that it was given.
    fn leave_other_places(&mut self, moved: Ino) {
        let mut places = self.delta.moved_to(moved).to_vec();
        places.pop();
        let by_tree = self.lower.places(moved).into_iter();
        places.extend(by_tree.filter(|(dir, name)| {
            self.delta.name(*dir, name).is_none() && self.lower.lookup(*dir, name) == Some(moved)
        }));
        for (dir, name) in places {
            self.delta.apply(&self.lower, &Record::Whiteout { dir, name, time: None });
        }
    }

    fn is_in_itself(&self, dir: Ino) -> bool {
        let (mut above, mut at) = (HashSet::from([dir]), dir);
        while let Some((parent, _)) = self.place_in_lower(at) {
            if !above.insert(parent) {
                return parent == dir;
            }
            at = parent;
        }
        false
    }

    fn place_in_lower(&self, dir: Ino) -> Option<(Ino, Name)> {
        let is_end = dir == Ino::ROOT || dir.is_upper();
        if is_end { None } else { self.lower_places(dir).into_iter().next() }
    }

    /// Puts a moved directory back to its location in the tree.
    fn put_back(&mut self, moved: Ino) {
        let mut records = Vec::new();
        for (dir, name) in self.delta.moved_to(moved).to_vec() {
            records.push(Record::Unset { dir, name, time: None });
        }
        for (dir, name) in self.lower.places(moved) {
            if self.delta.name(dir, &name) == Some(Override::Whiteout) {
                records.push(Record::Unset { dir, name, time: None });
            }
        }
        records.iter().for_each(|record| self.delta.apply(&self.lower, record));
    }
}
