//! The objects of a sparse pack whose bytes are here: a bitmap in a file beside the pack.
//!
//! A sparse pack has its header and its index; between them its file is a hole, which is filled object by object. Holes
//! alone do not show how far: a file system reports a hole in whole blocks, a power cut leaves blocks of zeros that are
//! no hole, and some file systems report none. So a bit is set after the bytes of its object were compared with its
//! name, and are on disk. A bit that a power cut takes back costs another fetch.
//!
//! The file of a sparse pack is writable for its owner. When the last object is here, the pack becomes read-only, as
//! every other, and then its bitmap is removed: that of a read-only pack is ignored.
//!
//! | offset | size      | field                                                                  |
//! |--------|-----------|------------------------------------------------------------------------|
//! | 0      | 8         | magic `depsfs H`                                                       |
//! | 8      | 4         | version, 1                                                             |
//! | 12     | 4         | number of objects                                                      |
//! | 16     | as needed | one bit for each object, in the order of the index, lowest bit first   |

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::store::PackId;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::lock::Lock;

const MAGIC: [u8; 8] = *b"depsfs H";
const VERSION: u32 = 1;
/// The offset of the first bit.
const HEADER: usize = 16;
/// The extension of the file's name, which is that of the pack.
pub(super) const EXTENSION: &str = "have";

/// The bitmap of a sparse pack, as it was read last.
pub struct PresentBits {
    path: PathBuf,
    objects: u32,
    bits: Vec<AtomicU8>,
}

impl PresentBits {
    /// The bitmap of the pack at `pack`, which has so many objects; nothing if there is none. One with another header has no bit.
    pub fn open(pack: &Path, objects: u32) -> io::Result<Option<PresentBits>> {
        let path = pack.with_extension(EXTENSION);
        let bits = (0..objects.div_ceil(8)).map(|_| AtomicU8::new(0)).collect();
        let present = PresentBits { path, objects, bits };
        Ok(present.look_again()?.then_some(present))
    }

    /// The name of the file, in `packs`.
    pub fn name_of(pack: &PackId) -> String {
        format!("{pack}.{EXTENSION}")
    }

    /// The content of a new file: no object is here.
    pub fn none_of(objects: u32) -> Vec<u8> {
        let mut bytes = header(objects).to_vec();
        bytes.resize(HEADER + objects.div_ceil(8) as usize, 0);
        bytes
    }

    /// Reads the file again, in which any process may have set bits. `false`: it is gone.
    pub fn look_again(&self) -> io::Result<bool> {
        match fs::open_path(&self.path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0) {
            Ok(file) => self.take_over(&file).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn take_over(&self, file: &OwnedFd) -> io::Result<()> {
        let mut bytes = vec![0; HEADER + self.bits.len()];
        let n = fs::read_at(file, &mut bytes, 0)?;
        let is_own = bytes.get(..n.min(HEADER)) == Some(&header(self.objects)[..]);
        let read = bytes[HEADER..].iter().map(|byte| if is_own { *byte } else { 0 });
        self.bits.iter().zip(read).for_each(|(bits, byte)| bits.store(byte, Ordering::Release));
        Ok(())
    }

    /// Whether the object with this number in the index is here.
    pub fn has(&self, n: u32) -> bool {
        let byte = self.bits.get(n as usize / 8).map_or(0, |byte| byte.load(Ordering::Acquire));
        byte & bit(n) != 0
    }

    /// Whether every object is here.
    pub fn has_all(&self) -> bool {
        (0..self.objects).all(|n| self.has(n))
    }

    /// Changes bits in the file, one process at a time.
    ///
    /// # Errors
    /// The file is gone, or cannot be written.
    pub fn set(&self, numbers: &[u32], is_here: bool) -> io::Result<()> {
        let open = || fs::open_path(&self.path, OpenFlags::RDWR | OpenFlags::NOFOLLOW, 0);
        let _turn = Lock::exclusive(open()?)?;
        let file = open()?;
        self.take_over(&file)?;
        for n in numbers {
            let Some(byte) = self.bits.get(*n as usize / 8) else { continue };
            match is_here {
                true => byte.fetch_or(bit(*n), Ordering::Release),
                false => byte.fetch_and(!bit(*n), Ordering::Release),
            };
        }
        let mut bytes = header(self.objects).to_vec();
        bytes.extend(self.bits.iter().map(|byte| byte.load(Ordering::Acquire)));
        fs::write_all_at(&file, &bytes, 0)
    }

    /// Has the bits on disk that were set until now; those of a pack that became whole need no file.
    ///
    /// # Errors
    /// The file cannot be synced.
    pub fn sync(&self) -> io::Result<()> {
        match fs::open_path(&self.path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0) {
            Ok(file) => fs::fdatasync(&file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn header(objects: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..].copy_from_slice(&objects.to_le_bytes());
    out
}

fn bit(n: u32) -> u8 {
    1 << (n % 8)
}
