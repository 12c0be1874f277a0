//! Files of the lower that show another path in place of the source checkout's: that of the worktree, or of the source
//! again while a command runs there.
//!
//! Nothing is written for them. The length follows from the number of occurrences, and the contents are made of the
//! object when they are read, in memory. A change of the path is a change of this table. An upper entry is shown as it
//! is.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::store::Name;
use crate::sys::extent::Extent;
use crate::sys::fs::FileType;

use super::error::{OverlayError, Result, upper};
use super::relocations::{RelocatedFile, Relocations};
use super::types::{Ino, Stale};
use super::view::{Overlay, View};

impl Overlay {
    /// Relocates these files from now on, and no others. Returns the entries that the kernel must drop: all of them, as an
    /// earlier server may have shown another path.
    pub fn relocate(&self, wanted: Relocations) -> Vec<Stale> {
        let mut view = self.view.lock();
        view.relocated.wanted = wanted;
        let before = view.find_relocated();
        let mut stale: Vec<Ino> = view.relocated.inodes().collect();
        stale.extend(before.into_keys().filter(|ino| !view.relocated.has(*ino)));
        for ino in &stale {
            view.files.forget(*ino);
            view.lower.intact.watched.remove(ino);
        }
        stale.into_iter().map(Stale::Inode).collect()
    }
}

impl View {
    /// Looks the files up in the lower, by their paths. Returns the table before. A file of a retired graft may still be
    /// open: it stays as it is.
    pub(super) fn find_relocated(&mut self) -> HashMap<Ino, RelocatedFile> {
        let before = std::mem::take(&mut self.relocated.by_ino);
        let mut found: HashMap<Ino, RelocatedFile> = HashMap::new();
        let mut from: Arc<Path> = Arc::from(Path::new(""));
        for file in &self.relocated.wanted.files {
            let Some(ino) = self.lower_path(&file.path) else { continue };
            let Some((tree, node)) = self.lower.source(ino) else { continue };
            let is_it = match tree.stat(node).kind {
                FileType::RegularFile => file.object.is_some() && tree.object(node) == file.object,
                FileType::Symlink => file.object.is_none(),
                _ => false,
            };
            if !is_it {
                continue;
            }
            if *from != *file.from {
                from = Arc::from(&*file.from);
            }
            found.insert(ino, RelocatedFile { from: from.clone(), occurrences: file.occurrences });
        }
        for (ino, file) in before.iter().filter(|(ino, _)| self.lower.is_retired(**ino)) {
            found.entry(*ino).or_insert_with(|| file.clone());
        }
        self.relocated.by_ino = found;
        before
    }

    fn lower_path(&self, path: &Path) -> Option<Ino> {
        let mut names = path.components().map(|name| Name::new(name.as_os_str().as_bytes()).ok());
        names.try_fold(Ino::ROOT, |dir, name| self.lower.lookup(dir, &name?))
    }

    /// The target of a symlink of the lower.
    pub(super) fn lower_target(&self, ino: Ino) -> Option<Vec<u8>> {
        let (tree, node) = self.lower.source(ino)?;
        let target = tree.target(node);
        let relocated = self.relocated.scan(ino).and_then(|scan| scan.relocated_target(target, self.relocated.to()));
        Some(relocated.unwrap_or_else(|| target.to_vec()))
    }

    /// The bytes that a file of the lower shows, made of those of its object.
    ///
    /// # Errors
    /// The object is damaged, or it holds the path another number of times than was recorded.
    pub(super) fn relocated_bytes(&mut self, ino: Ino, object: Extent) -> Result<Extent> {
        let Some(scan) = self.relocated.scan(ino) else { return Ok(object) };
        if let Some(unchecked) = self.unchecked_object(ino) {
            unchecked.check(&object)?;
        }
        let read = upper("read an object");
        let stored = object.size().map_err(upper("look at an object"))?;
        let mut text = vec![0; usize::try_from(stored).map_err(|_| OverlayError::Invalid)?];
        let n = object.read_at(&mut text, 0).map_err(read)?;
        text.truncate(n);
        let text = scan.relocated_text(&text, self.relocated.to()).unwrap_or(text);
        if self.relocated.len_of(ino, stored) != Some(text.len() as u64) {
            tracing::error!(ino = ino.0, "a file holds the source's path another number of times than was recorded");
            return Err(upper("relocate a file")(std::io::Error::from_raw_os_error(libc::EIO)));
        }
        Extent::in_memory(&text).map_err(upper("relocate a file"))
    }
}
