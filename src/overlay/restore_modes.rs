//! The modes that a crash left loosened (`loosened.rs`) are restored when the view is opened.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::sys::fs;

use super::error::{Result, upper};
use super::loosened::Note;
use super::types::Ino;
use super::view::View;

impl View {
    /// Sets back the modes that a crash left loosened. After an error, the next open tries again.
    pub(super) fn restore_modes(&mut self) {
        let (names, Some(aside)) = (std::mem::take(&mut self.upper.notes), self.upper.aside.clone()) else { return };
        if names.is_empty() {
            return;
        }
        let notes: Vec<Note> = names.iter().filter_map(|name| Note::of_name(name)).collect();
        match self.restore_noted(&notes) {
            Ok(()) => names.iter().for_each(|name| drop(fs::unlink_at(&*aside, name))),
            Err(e) => tracing::warn!("modes of files that a crash left changed are not restored yet: {e}"),
        }
    }

    fn restore_noted(&mut self, notes: &[Note]) -> Result<()> {
        let noted = |real: u64| notes.iter().filter(move |note| note.real == real).copied();
        let mut found: Vec<(Arc<OwnedFd>, Vec<u8>, Note)> = Vec::new();
        let root = self.upper.root.clone();
        let stat = fs::stat(&*root).map_err(upper("look at the directory"))?;
        found.extend(noted(stat.ino).map(|note| (root.clone(), b".".to_vec(), note)));
        self.walk_upper(Ino::ROOT, &mut |_, dir, entry| {
            found.extend(noted(entry.ino).map(|note| (dir.clone(), entry.name.clone(), note)));
        })?;
        // A directory comes after all in it, which is reached through it.
        for (dir, name, note) in found.into_iter().rev() {
            let stat = fs::stat_at(&*dir, &name).map_err(upper("look at a file"))?;
            let is_it = (stat.ino, stat.born, stat.mode & 0o7777) == (note.real, note.born, note.loosened);
            if is_it && !fs::FileType::from_raw_mode(stat.mode).is_symlink() {
                fs::chmod_at(&*dir, &name, note.mode).map_err(upper("set the mode"))?;
            }
        }
        Ok(())
    }
}
