//! A stretch of an open file, read as if it were a file of its own: a whole file, or one of many in a pack.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs as rfs;
use rustix::io::{Errno, ReadWriteFlags};

use super::copy::{self, Copied};
use super::feature::{KernelFeature, is_without};
use super::fs;

/// Bytes that are read from the disk at once if a part of a pack isn't in memory: its neighbours are needed next.
const AHEAD: u64 = 1 << 20;

/// From this length on, in bytes, a file whose reader keeps what it reads need not stay in memory for it, read so much at
/// a time: a reader of less reads here and there, and may come again.
const LONG: u64 = 8 << 20;
const MUCH: usize = 64 << 10;

/// Whether a file can be opened without waiting for a disk, as far as its path goes: all of it is in the kernel's memory
/// (`openat2(2)`, RESOLVE_CACHED, Linux 5.12). `false` also where the kernel can't tell.
pub(crate) fn is_path_in_memory(dir: impl AsFd, path: &[u8]) -> bool {
    let flags = rfs::OFlags::PATH | rfs::OFlags::CLOEXEC;
    !is_without(KernelFeature::Cached)
        && rfs::openat2(dir, path, flags, rfs::Mode::empty(), rfs::ResolveFlags::CACHED).is_ok()
}

/// As preadv2(2), one buffer; EOPNOTSUPP for flags that this kernel does not have.
fn preadv2(fd: impl AsFd, buf: &mut [u8], at: u64, flags: ReadWriteFlags) -> rustix::io::Result<usize> {
    let hidden = [(KernelFeature::Nowait, ReadWriteFlags::NOWAIT), (KernelFeature::Dontcache, dontcache())];
    if hidden.into_iter().any(|(feature, flag)| flags.contains(flag) && is_without(feature)) {
        return Err(Errno::OPNOTSUPP);
    }
    rustix::io::preadv2(fd, &mut [IoSliceMut::new(buf)], at, flags)
}

/// The flag RWF_DONTCACHE: Linux 6.14, on file systems that have it (ext4, xfs, btrfs).
fn dontcache() -> ReadWriteFlags {
    ReadWriteFlags::from_bits_retain(libc::RWF_DONTCACHE.cast_unsigned())
}

/// Bytes of an open file. Clones share the descriptor.
#[derive(Clone, Debug)]
pub struct Extent {
    file: Arc<OwnedFd>,
    /// Of the bytes in the file; nothing for all of it, however long it is.
    part: Option<Range<u64>>,
}

impl Extent {
    /// All bytes of an open file, up to its length at the time of each read. Reads use offsets: the position of the
    /// descriptor never moves.
    pub fn whole(file: impl Into<Arc<OwnedFd>>) -> Extent {
        Extent { file: file.into(), part: None }
    }

    /// These bytes, in a file that only this process has.
    ///
    /// # Errors
    /// As memfd_create(2) and write(2).
    pub fn in_memory(bytes: &[u8]) -> io::Result<Extent> {
        let file = rfs::memfd_create("depsfs file", rfs::MemfdFlags::CLOEXEC)?;
        fs::write_all_at(&file, bytes, 0)?;
        Ok(Extent::whole(file))
    }

    /// Bytes that the file has and that never change.
    pub fn part(file: Arc<OwnedFd>, at: Range<u64>) -> Extent {
        Extent { file, part: Some(at) }
    }

    /// The open file, when these are all its bytes.
    pub fn as_file(&self) -> Option<&Arc<OwnedFd>> {
        if self.part.is_none() { Some(&self.file) } else { None }
    }

    /// How many bytes these are.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn size(&self) -> io::Result<u64> {
        match &self.part {
            Some(part) => Ok(part.end - part.start),
            None => Ok(fs::stat(&self.file)?.size),
        }
    }

    /// Reads at `offset` until `buf` is full or the bytes end; returns how many were read. A part whose file ends too
    /// early is damaged: EIO.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(part) = &self.part else { return fs::read_at(&self.file, buf, offset) };
        let len = part.end - part.start;
        let want = buf.len().min(usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let buf = &mut buf[..want];
        let at = part.start.saturating_add(offset);
        if want == 0 || self.read_from_memory(buf, at) {
            return Ok(want);
        }
        // Advice: what comes of it shows in the read.
        let window = at / AHEAD * AHEAD;
        let _ = rfs::fadvise(&self.file, window, std::num::NonZero::new(AHEAD), rfs::Advice::WillNeed);
        match fs::read_at(&self.file, buf, at)? {
            n if n == want => Ok(want),
            _ => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    }

    /// As [`Extent::read_at`], for a reader that keeps what it reads: pages of a long file that were not in memory for
    /// another reader do not stay there.
    pub(crate) fn read_to_keep(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.part.is_some() || buf.len() < MUCH {
            return self.read_at(buf, offset);
        }
        let size = fs::stat(&self.file)?.size;
        let want = buf.len().min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
        if size < LONG || want == 0 {
            return self.read_at(buf, offset);
        }
        self.read_and_leave(&mut buf[..want], offset)
    }

    /// As [`Extent::read_to_keep`], of what is in memory; `None` when the disk has to be waited for, or the kernel can't
    /// tell. Bytes that are not there yet may be on their way then.
    pub(crate) fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        if let Some(part) = &self.part {
            let left = usize::try_from((part.end - part.start).saturating_sub(offset)).unwrap_or(usize::MAX);
            let want = buf.len().min(left);
            let is_there = want == 0 || self.read_from_memory(&mut buf[..want], part.start.saturating_add(offset));
            return Ok(is_there.then_some(want));
        }
        if buf.len() >= MUCH
            && fs::stat(&self.file)?.size >= LONG
            && let Some(read) = self.read_whole_now(buf, offset, dontcache() | ReadWriteFlags::NOWAIT)
        {
            return Ok(Some(read));
        }
        Ok(self.read_whole_now(buf, offset, ReadWriteFlags::NOWAIT))
    }

    /// Reads until `buf` is full or the file ends.
    fn read_whole_now(&self, buf: &mut [u8], offset: u64, flags: ReadWriteFlags) -> Option<usize> {
        let mut done = 0;
        while done < buf.len() {
            match preadv2(&self.file, &mut buf[done..], offset + done as u64, flags) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Some(done)
    }

    /// Whether the first and the last of these bytes are in memory: then so are the others, as a rule.
    pub(crate) fn is_in_memory(&self) -> bool {
        let ends = || {
            let last = self.size()?.saturating_sub(1);
            Ok::<_, io::Error>(self.read_now(&mut [0], 0)?.is_some() && self.read_now(&mut [0], last)?.is_some())
        };
        ends().unwrap_or(false)
    }

    /// Waits until the bytes of a part, or the first ones of a file, are in memory.
    pub(crate) fn fetch(&self, most: usize) -> io::Result<()> {
        let len = usize::try_from(self.size()?).unwrap_or(usize::MAX).min(most);
        self.read_at(&mut vec![0; len], 0).map(drop)
    }

    /// Reads all of `buf`, which the file has, and leaves no page in the page cache that was not there before.
    fn read_and_leave(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let want = buf.len();
        if let Ok(n) = preadv2(&self.file, buf, offset, dontcache())
            && n == want
        {
            return Ok(n);
        }
        // A kernel without, or a file that was cut meanwhile. Here the advice names the pages that go, for whichever
        // reader they are there in memory: so if all are there, they stay.
        if self.read_from_memory(buf, offset) {
            return Ok(want);
        }
        let read = self.read_at(buf, offset)?;
        let _ = rfs::fadvise(&self.file, offset, std::num::NonZero::new(read as u64), rfs::Advice::DontNeed);
        Ok(read)
    }

    /// As [`Extent::read_at`], for a reader that looks at the bytes once: they don't stay in memory for it.
    ///
    /// # Errors
    /// As preadv2(2).
    pub fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = buf.len().min(left);
        if self.part.is_some() || want == 0 {
            return self.read_at(buf, offset);
        }
        self.read_and_leave(&mut buf[..want], offset)
    }

    /// Reads what the page cache has; `false` when that isn't all, or the kernel can't tell (`preadv2(2)`, RWF_NOWAIT).
    fn read_from_memory(&self, buf: &mut [u8], at: u64) -> bool {
        let want = buf.len();
        loop {
            match preadv2(&self.file, buf, at, ReadWriteFlags::NOWAIT) {
                Err(Errno::INTR) => {}
                result => return result == Ok(want),
            }
        }
    }

    /// As [`fs::seek_data`]. A part has no holes but the one at its end.
    ///
    /// # Errors
    /// As lseek(2).
    pub fn seek_data(&self, offset: u64, hole: bool) -> io::Result<u64> {
        match &self.part {
            None => fs::seek_data(&self.file, offset, hole),
            Some(part) if offset >= part.end - part.start => Err(io::Error::from_raw_os_error(libc::ENXIO)),
            Some(part) => Ok(if hole { part.end - part.start } else { offset }),
        }
    }

    /// As [`fs::copy_range`].
    ///
    /// # Errors
    /// As copy_file_range(2).
    pub fn copy_range(&self, from_at: u64, to: impl AsFd, to_at: u64, len: usize) -> io::Result<usize> {
        let Some(part) = &self.part else { return fs::copy_range(&self.file, from_at, to, to_at, len) };
        let left = (part.end - part.start).saturating_sub(from_at);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 { Ok(0) } else { fs::copy_range(&self.file, part.start + from_at, to, to_at, len) }
    }

    /// Makes `to`, a new empty file, hold the first `len` bytes, in the cheapest way; holes stay holes.
    pub(crate) fn copy_contents(&self, to: impl AsFd, len: u64) -> io::Result<Copied> {
        let Some(part) = &self.part else { return copy::copy_contents(&self.file, to, len) };
        let mut bytes = vec![0; usize::try_from(len.min(part.end - part.start)).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, 0)?;
        fs::write_all_at(to, &bytes, 0).map(|()| Copied::Bytes)
    }

    /// Gives `to` what it lacks of these bytes: the data there is where it has a hole, or has ended. Says whether
    /// anything was missing.
    pub(crate) fn fill_missing(&self, to: impl AsFd) -> io::Result<bool> {
        let Some(part) = &self.part else { return copy::fill_missing(&self.file, to) };
        let mut bytes = vec![0; usize::try_from(part.end - part.start).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, 0)?;
        let (size, has) = (bytes.len() as u64, fs::stat(&to)?.size);
        let (mut at, mut filled) = (0, false);
        while at < size {
            let here = if at < has { fs::next_data(&to, at, has)? } else { None };
            let gap = at..here.as_ref().map_or(size, |data| data.start.min(size));
            if !gap.is_empty() {
                let missing = &bytes[gap.start as usize..gap.end as usize];
                fs::write_all_at(&to, missing, gap.start)?;
                filled = true;
            }
            at = here.map_or(size, |data| data.end);
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{OpenFlags, open_path};

    #[test]
    fn a_part_is_read_copied_and_searched_as_a_file_of_its_own_and_a_cut_off_one_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let open =
            |name: &str| open_path(&dir.path().join(name), OpenFlags::RDWR | OpenFlags::CREATE, 0o600).expect("opened");
        let file = Arc::new(open("pack"));
        fs::write_at(&file, b"before<inside>after", 0).expect("written");
        let part = Extent::part(file.clone(), 6..14);
        let read = |offset, len| {
            let mut buf = vec![0; len];
            part.read_at(&mut buf, offset).map(|n| buf[..n].to_vec())
        };
        assert_eq!(read(0, 100).expect("read"), b"<inside>");
        assert_eq!(read(3, 2).expect("read"), b"si");
        assert_eq!(read(8, 5).expect("read"), b"");
        assert_eq!(read(u64::MAX, 5).expect("read"), b"");
        assert!(part.as_file().is_none());
        assert_eq!(part.seek_data(3, false).expect("data"), 3);
        assert_eq!(part.seek_data(3, true).expect("a hole"), 8);
        assert_eq!(part.seek_data(8, false).map_err(|e| e.raw_os_error()), Err(Some(libc::ENXIO)));
        let copy = open("copy");
        part.copy_contents(&copy, 4).expect("copied");
        assert_eq!(part.copy_range(4, &copy, 4, 100).expect("copied"), 4);
        assert_eq!(part.copy_range(8, &copy, 8, 100).expect("the end"), 0);
        let mut buf = [0; 20];
        assert_eq!(fs::read_at(&copy, &mut buf, 0).map(|n| buf[..n].to_vec()).expect("read"), b"<inside>");
        fs::truncate(&copy, 3).expect("cut");
        assert!(part.fill_missing(&copy).expect("filled"));
        assert_eq!(fs::read_at(&copy, &mut buf, 0).map(|n| buf[..n].to_vec()).expect("read"), b"<inside>");
        fs::write_at(&copy, b"INSIDE and more", 1).expect("written");
        assert!(!part.fill_missing(&copy).expect("nothing is missing"));
        assert_eq!(fs::read_at(&copy, &mut buf, 0).map(|n| buf[..n].to_vec()).expect("read"), b"<INSIDE and more");
        fs::truncate(&file, 10).expect("cut");
        assert_eq!(read(0, 8).map_err(|e| e.raw_os_error()), Err(Some(libc::EIO)));
    }

    #[test]
    fn what_is_in_memory_is_read_at_once_and_what_is_not_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = open_path(&dir.path().join("file"), OpenFlags::RDWR | OpenFlags::CREATE, 0o600).expect("opened");
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        fs::write_at(&file, &bytes, 0).expect("written");
        fs::fsync(&file).expect("synced");
        let file = Arc::new(file);
        let (whole, part) = (Extent::whole(file.clone()), Extent::part(file.clone(), 50_000..90_000));
        let mut buf = vec![0; 200_000];
        let Some(read) = whole.read_now(&mut buf, 10).expect("asked") else {
            return println!("skipped: a kernel that does not tell what is in memory");
        };
        assert!(buf[..read] == bytes[10..] && whole.is_in_memory());
        assert_eq!(whole.read_now(&mut buf, 100_000).expect("the end"), Some(0));
        assert_eq!(part.read_now(&mut buf, 39_000).expect("asked"), Some(1000));
        assert!(buf[..1000] == bytes[89_000..90_000]);
        assert_eq!(part.read_now(&mut buf, 40_000).expect("the end"), Some(0));
        rfs::fadvise(&*file, 0, None, rfs::Advice::DontNeed).expect("advised");
        if !part.is_in_memory() {
            part.fetch(usize::MAX).expect("read");
            assert!(part.is_in_memory());
        }
    }

    #[test]
    fn what_somebody_else_has_in_memory_of_a_long_file_stays_there_to_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = open_path(&dir.path().join("long"), OpenFlags::RDWR | OpenFlags::CREATE, 0o600).expect("opened");
        fs::write_at(&file, &vec![7; LONG as usize + 1000], 0).expect("written");
        fs::fsync(&file).expect("synced");
        let long = Extent::whole(file);
        let mut buf = vec![0; 1 << 20];
        for at in [LONG - (1 << 20), LONG] {
            let read = long.read_at(&mut buf, at).expect("read");
            if !long.read_from_memory(&mut vec![0; read], at) {
                return println!("skipped: a kernel that does not tell what is in memory");
            }
            assert_eq!(long.read_to_keep(&mut buf, at).expect("read"), read);
            assert!(long.read_from_memory(&mut vec![0; read], at), "{at} is gone");
        }
        assert_eq!(long.read_to_keep(&mut buf, LONG + 1000).expect("the end"), 0);
        assert_eq!(long.read_to_keep(&mut buf, LONG * 2).expect("beyond"), 0);
    }

    #[test]
    fn what_is_read_to_keep_of_a_long_file_is_the_same_and_does_not_stay_in_memory() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = open_path(&dir.path().join("long"), OpenFlags::RDWR | OpenFlags::CREATE, 0o600).expect("opened");
        let bytes: Vec<u8> = (0..LONG as usize + 1000).map(|i| (i / 4096 + i) as u8).collect();
        fs::write_at(&file, &bytes, 0).expect("written");
        fs::fsync(&file).expect("synced");
        rfs::fadvise(&file, 0, None, rfs::Advice::DontNeed).expect("advised");
        let long = Extent::whole(file);
        let mut read = Vec::new();
        let mut buf = vec![0; 1 << 20];
        while let n @ 1.. = long.read_to_keep(&mut buf, read.len() as u64).expect("read") {
            read.extend_from_slice(&buf[..n]);
        }
        assert!(read == bytes);
        if !crate::sys::fs_type::commits_names_in_order(&*long.file) {
            return println!("skipped: a file system that may keep everything in memory");
        }
        assert!(!long.read_from_memory(&mut [0; 4096], LONG / 2));
    }
}
