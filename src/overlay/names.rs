//! The names of one file, of which there are mostly one and sometimes 65,000.

use std::collections::BTreeSet;

use crate::store::Name;

use super::types::Ino;

/// A directory, and a name in it.
pub(super) type Location = (Ino, Name);

/// More names than these are not looked through one by one.
const FEW: usize = 8;

/// A set of places. Adding and removing one costs about the same, however many there are.
pub(super) enum LocationSet {
    Few(Vec<Location>),
    Many(BTreeSet<Location>),
}

impl Default for LocationSet {
    fn default() -> LocationSet {
        LocationSet::Few(Vec::new())
    }
}

impl LocationSet {
    /// Adds a location; nothing happens if it is there.
    pub fn add(&mut self, dir: Ino, name: &Name) {
        match self {
            LocationSet::Few(few) if few.iter().any(|(d, n)| *d == dir && n == name) => {}
            LocationSet::Few(few) if few.len() < FEW => {
                if few.is_empty() {
                    few.reserve_exact(1);
                }
                few.push((dir, name.clone()));
            }
            LocationSet::Few(few) => {
                let mut many: BTreeSet<Location> = std::mem::take(few).into_iter().collect();
                many.insert((dir, name.clone()));
                *self = LocationSet::Many(many);
            }
            LocationSet::Many(many) => {
                many.insert((dir, name.clone()));
            }
        }
    }

    /// Takes a location out; nothing happens if it is not there.
    pub fn remove(&mut self, dir: Ino, name: &Name) {
        match self {
            LocationSet::Few(few) => few.retain(|(d, n)| *d != dir || n != name),
            LocationSet::Many(many) => {
                many.remove(&(dir, name.clone()));
            }
        }
    }

    /// One of them.
    pub fn first(&self) -> Option<&Location> {
        match self {
            LocationSet::Few(few) => few.first(),
            LocationSet::Many(many) => many.first(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_once_until_it_is_removed_however_many_there_are() {
        for count in [1, FEW, FEW + 1, 100] {
            let mut names = LocationSet::default();
            let all: Vec<Name> = (0..count).map(|n| Name::new(format!("{n}").as_bytes()).expect("a name")).collect();
            for _ in 0..2 {
                all.iter().for_each(|name| names.add(Ino::ROOT, name));
            }
            names.remove(Ino(7), &all[0]);
            for left in (0..count).rev() {
                let (dir, name) = names.first().cloned().expect("one is left");
                assert_eq!(dir, Ino::ROOT);
                names.remove(dir, &name);
                assert_eq!(names.first().is_none(), left == 0);
            }
        }
    }
}
