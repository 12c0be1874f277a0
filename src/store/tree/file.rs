//! The file of a tree: verified when it is opened, mapped where it is large, and looked at as long as it is shown.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::format::{HEADER, TreeLayout};
use super::{Bytes, Tree, TreeError};
use crate::store::TreeId;
use crate::sys::fs::{self, OpenFlags, Stat};
use crate::sys::mmap::Map;
use crate::sys::path as paths;

/// Up to this size, in bytes, a tree is not mapped.
const SMALL: usize = 64 << 10;

impl Tree {
    /// Reads the tree `id` from a file that may hold anything: its bytes have to be those of its name, and sound.
    pub(in crate::store) fn read(id: TreeId, file: impl AsFd) -> io::Result<Result<Tree, TreeError>> {
        let stat = fs::stat(&file)?;
        let mut header = [0; HEADER];
        let n = fs::read_at(&file, &mut header, 0)?;
        // Before there is memory for them: the file may have grown beyond all measure.
        if let Err(e) = TreeLayout::read(&header[..n], stat.size) {
            return Ok(Err(e));
        }
        let mut bytes = vec![0; usize::try_from(stat.size).unwrap_or(usize::MAX)];
        let n = fs::read_at(&file, &mut bytes, 0)?;
        bytes.truncate(n);
        Ok(Tree::verified(id, bytes).map(|tree| Tree { times: Some(stat), ..tree }))
    }

    /// The tree with its bytes where they lie in `file`, which was just read: memory that all processes share. A small
    /// one stays in this process's own.
    pub(in crate::store) fn mapped(self, file: OwnedFd, path: PathBuf) -> io::Result<Tree> {
        match self.bytes().len() <= SMALL {
            true => Ok(self),
            false => Ok(Tree { bytes: Bytes::Mapped(Map::of(file)?, path), ..self }),
        }
    }

    /// The same tree anew, from its file: for one that [`Tree::is_damaged`].
    ///
    /// # Errors
    /// It is still damaged.
    pub fn again(&self) -> io::Result<Tree> {
        let Bytes::Mapped(_, path) = &self.bytes else { return Err(io::ErrorKind::Unsupported.into()) };
        let file = fs::open_path(path, OpenFlags::RDONLY, 0)?;
        let read = Tree::read(self.id, &file)?;
        read.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?.mapped(file, path.clone())
    }

    /// Whether bytes of its file were lost since it was mapped: its results may be wrong from then on.
    pub fn is_damaged(&self) -> bool {
        matches!(&self.bytes, Bytes::Mapped(map, _) if map.is_damaged())
    }

    /// Whether its file was written to, or cut, since it was mapped: [`Tree::again`] then checks whether it is still
    /// the same. One that was deleted or replaced stays as it was.
    pub fn is_changed(&self) -> bool {
        let Bytes::Mapped(_, path) = &self.bytes else { return false };
        let known = |s: &Stat| (s.size, s.mtime, s.ctime);
        match (&self.times, paths::stat(path)) {
            (Some(then), Ok(Some(now))) => (then.dev, then.ino) == (now.dev, now.ino) && known(then) != known(&now),
            _ => false,
        }
    }

    fn verified(id: TreeId, bytes: Vec<u8>) -> Result<Tree, TreeError> {
        if TreeId::of(&bytes) != id {
            return Err(TreeError::OtherBytes);
        }
        let tree = Tree::new(id, Bytes::Owned(bytes))?;
        let large = tree.check_structure()?;
        Ok(Tree { large: large.into(), ..tree })
    }
}
