//! Files seen as memory: read-only maps, whose missing pages are noticed instead of ending the process.
//!
//! A page of a mapped file that the kernel can't read (a bad sector, or a file that was truncated) is SIGBUS for the
//! thread that touches it (`mmap(2)`). The handler here puts a page of zeros in its place and marks the map as damaged:
//! the thread goes on, and a caller that answers from a map calls [`Map::is_damaged`] before the answer leaves. A fault
//! anywhere else ends the process as before.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use super::fault::{self, Call};

/// A file, mapped read-only and shared. Pages are read when they are first touched.
pub struct Map {
    map: memmap2::Mmap,
    /// See [`Map::tail`].
    tail: u64,
    noted: &'static Range,
}

impl Map {
    /// Maps all of `fd`.
    pub fn of(fd: impl AsFd) -> io::Result<Map> {
        fault::point(Call::Look)?;
        // SAFETY: the mapping is private to this value and read-only. The files mapped are written aside, renamed and
        // never opened for writing again; of one that is cut all the same, or can't be read, the pages become zeros.
        let map = unsafe { memmap2::Mmap::map(fd.as_fd().as_raw_fd())? };
        Ok(Map::noted(map))
    }

    /// Maps `len` bytes from `offset`, which the file must have; for the same files as [`Map::of`].
    pub fn part(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Map> {
        // SAFETY: as above.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(len).map(fd.as_fd().as_raw_fd())? };
        Ok(Map::noted(map))
    }

    fn noted(map: memmap2::Mmap) -> Map {
        let noted = note(map.as_ptr() as usize, map.len());
        let tail = tail(&map);
        Map { map, tail, noted }
    }

    /// Whether some of these bytes could not be read, and are zeros by now. Once true it stays true.
    ///
    /// A file that was cut has zeros up to the end of its last page, and there is no signal: so the end is compared.
    pub fn is_damaged(&self) -> bool {
        let is_cut = tail(&self.map) != self.tail;
        is_cut || (LOST.load(Ordering::Relaxed) != 0 && self.noted.damaged.load(Ordering::Acquire))
    }
}

impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        forget(self.noted);
    }
}

/// The last bytes of a map, read from memory each time this is called.
fn tail(bytes: &[u8]) -> u64 {
    let last = &bytes[bytes.len().saturating_sub(8)..];
    // SAFETY: each reference is valid for the read of its byte.
    last.iter().fold(0, |tail, byte| tail << 8 | u64::from(unsafe { std::ptr::read_volatile(byte) }))
}

/// The memory of one map. Ranges are never freed: the handler may look at any of them at any time.
struct Range {
    /// The first byte of its first page; 0 while it stands for no map.
    start: AtomicUsize,
    end: AtomicUsize,
    damaged: AtomicBool,
    next: *const Range,
}

// SAFETY: `next` is written before the range is published, and never again.
unsafe impl Sync for Range {}

/// All ranges, the newest first.
static RANGES: AtomicPtr<Range> = AtomicPtr::new(std::ptr::null_mut());
/// Those that stand for no map.
static UNUSED: Mutex<Vec<&'static Range>> = Mutex::new(Vec::new());
/// How many pages were lost.
static LOST: AtomicU64 = AtomicU64::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(4096);

fn note(at: usize, len: usize) -> &'static Range {
    catch();
    let page = PAGE.load(Ordering::Relaxed);
    let mut unused = UNUSED.lock().unwrap_or_else(|e| e.into_inner());
    let range = match unused.pop() {
        Some(range) => range,
        None => {
            let (start, end) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let next = RANGES.load(Ordering::Acquire);
            let range: &'static Range =
                Box::leak(Box::new(Range { start, end, damaged: AtomicBool::new(false), next }));
            RANGES.store(std::ptr::from_ref(range).cast_mut(), Ordering::Release);
            range
        }
    };
    range.damaged.store(false, Ordering::Release);
    range.end.store(at + len, Ordering::Release);
    range.start.store(at / page * page, Ordering::Release);
    range
}

fn forget(range: &'static Range) {
    range.start.store(0, Ordering::Release);
    range.end.store(0, Ordering::Release);
    UNUSED.lock().unwrap_or_else(|e| e.into_inner()).push(range);
}

/// The action of SIGBUS before this one; written once, before the handler can run.
struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written within `Once`, read by the handler that is installed after that.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::zeroed()));

/// Installs the handler, once in a process.
fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: sysconf(3) of a name that every system has.
        PAGE.store(unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize, Ordering::Relaxed);
        // SAFETY: the handler does nothing that is not async-signal-safe, see there; the structures are zeroed ones of
        // the right type. Without the handler (an error) a fault ends the process, as it would have before.
        unsafe {
            libc::sigaction(libc::SIGBUS, std::ptr::null(), (*BEFORE.0.get()).as_mut_ptr());
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = lost as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    });
}

/// The handler of SIGBUS.
extern "C" fn lost(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands over a valid siginfo_t (SA_SIGINFO). Beside atomics only mmap(2), sigaction(2)
    // and raise(3) are called, which are safe in a handler; errno is kept for the interrupted code. Ranges are never freed.
    unsafe {
        let errno = *libc::__errno_location();
        let is_fault = is_fault((*info).si_code);
        if !(is_fault && replace_page((*info).si_addr() as usize)) {
            // The earlier action gets the signal: the instruction is tried again, or the signal is raised again.
            libc::sigaction(libc::SIGBUS, (*BEFORE.0.get()).as_ptr(), std::ptr::null_mut());
            if !is_fault {
                libc::raise(libc::SIGBUS);
            }
        }
        *libc::__errno_location() = errno;
    }
}

/// Raised by the kernel for an access, not by `kill`.
fn is_fault(code: i32) -> bool {
    code > 0
}

/// Puts zeros in the place of a page of a map; false when the address is in none.
///
/// # Safety
/// Called from the handler only.
unsafe fn replace_page(address: usize) -> bool {
    let mut next = RANGES.load(Ordering::Acquire).cast_const();
    // SAFETY: ranges are leaked, so every pointer in the list is valid for ever.
    while let Some(range) = unsafe { next.as_ref() } {
        let start = range.start.load(Ordering::Acquire);
        if start != 0 && (start..range.end.load(Ordering::Acquire)).contains(&address) {
            let page = PAGE.load(Ordering::Relaxed);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let at = (address / page * page) as *mut libc::c_void;
            // First: a reader of the zeros must find the mark.
            range.damaged.store(true, Ordering::Release);
            LOST.fetch_add(1, Ordering::Release);
            // SAFETY: the page belongs to a live map of ours, of which `memmap2` unmaps all addresses at its end.
            return unsafe { libc::mmap(at, page, libc::PROT_READ, flags, -1, 0) } != libc::MAP_FAILED;
        }
        next = range.next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{OpenFlags, open_path};

    #[test]
    fn what_a_cut_file_has_lost_is_zeros_and_said_and_the_process_lives() {
        let dir = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, vec![7; 40_000]).expect("written");
            let file = open_path(&path, OpenFlags::RDWR, 0).expect("opened");
            (Map::of(&file).expect("mapped"), file)
        };
        let ((cut, file), (whole, _)) = (make("cut"), make("whole"));
        assert_eq!((cut[39_999], cut.is_damaged()), (7, false));
        std::fs::File::from(file).set_len(100).expect("cut");
        assert_eq!((cut[39_999], cut.is_damaged()), (0, true));
        assert_eq!((cut[99], cut.len()), (7, 40_000));
        assert_eq!((whole[39_999], whole.is_damaged()), (7, false));
        drop(cut);
        let (another, _) = make("another");
        assert!(another.iter().all(|b| *b == 7) && !another.is_damaged());
    }

    #[test]
    fn a_part_is_found_by_its_first_page_and_its_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 40_000]).expect("written");
        let file = open_path(&path, OpenFlags::RDWR, 0).expect("opened");
        let part = Map::part(&file, 5000, 30_000).expect("mapped");
        std::fs::File::from(file).set_len(0).expect("cut");
        assert_eq!((part[0], part[29_999], part.is_damaged()), (0, 0, true));
    }

    #[test]
    fn a_file_that_is_cut_within_its_last_page_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 40_000]).expect("written");
        let file = open_path(&path, OpenFlags::RDWR, 0).expect("opened");
        let map = Map::of(&file).expect("mapped");
        assert!(!map.is_damaged());
        std::fs::File::from(file).set_len(39_000).expect("cut");
        assert!(map.is_damaged());
    }
}
