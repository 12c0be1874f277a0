//! The buffers into which requests are read, in memory that outlives this process.
//!
//! Kernels before 6.9 cannot send a request again: programs would wait for ever for the answers to the requests that a
//! server had read when it died. But the kernel accepts an answer from any process that has the device. So the keeper
//! makes a file in memory, and its servers read requests into that file: the kernel itself writes header and arguments
//! where the death of a server does not reach. The next server takes the requests from there.
//!
//! The file is sparse: pages that were never touched cost nothing. It has slots of two sizes.
//!
//! ```text
//! slot 0 … READERS                 the buffers of workers, each 16 MiB (fuser allocates its buffers in this size)
//! slot READERS … READERS + KEPT    copies of requests that are answered later, by another thread
//!
//! a slot:  0     connection u64   whose request it is; 0: the slot holds none
//!          4096  the request as the kernel wrote it, from `fuse_in_header` on
//! ```
//!
//! The order of the two steps that hand a slot to a connection: first the old header is cleared, then the number of the
//! connection is stored. A crash between them leaves a slot that holds no request.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::fs::MemfdFlags;

/// The size and alignment of fuser's read buffer: the largest `max_write` that it supports, and a page.
const BUFFER: usize = (16 << 20) + PAGE;
const PAGE: usize = 4096;
/// The longest request that the kernel sends: `max_write` (1 MiB) and its headers.
const LONGEST: usize = (1 << 20) + PAGE;
const READERS: usize = 48;
const KEPT: usize = 512;
const READER_SIZE: usize = PAGE + BUFFER;
const KEPT_SIZE: usize = PAGE + LONGEST;
const SIZE: usize = READERS * READER_SIZE + KEPT * KEPT_SIZE;
/// `fuse_in_header`.
const HEADER: usize = 40;

/// The address of the mapping that buffers are taken from; 0: there is none.
static BASE: AtomicUsize = AtomicUsize::new(0);
static MEMORY: OnceLock<Retained> = OnceLock::new();
/// Slots that hold a request, or are a worker's buffer.
static IN_USE: [AtomicBool; READERS + KEPT] = [const { AtomicBool::new(false) }; READERS + KEPT];

/// The memory of the running server.
#[derive(Debug)]
pub struct Retained(());

/// One slot. It may be copied; [`RequestSlot::free`] is called once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSlot(usize);

/// A request that a server has read and, as far as it is known, not answered.
#[derive(Debug, PartialEq, Eq)]
pub struct RetainedRequest {
    pub slot: RequestSlot,
    /// The keeper's number of the connection.
    pub connection: u64,
    /// The kernel's number of the request.
    pub unique: u64,
    /// Of `linux/fuse.h`.
    pub opcode: u32,
}

/// The file, to be kept by a process that outlives the servers.
///
/// # Errors
/// The kernel has no such files, or files may not be as large.
pub fn create() -> io::Result<OwnedFd> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    if limit.current.is_some_and(|most| most < SIZE as u64) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "files may not be as large (ulimit -f)"));
    }
    let file = rustix::fs::memfd_create("depsfs requests", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, SIZE as u64)?;
    Ok(file)
}

/// Maps the file, and from then on takes the read buffers of this process from it.
///
/// # Errors
/// The file has another layout, or there is no room for it in the address space. Buffers are then ordinary memory.
pub fn adopt(file: &OwnedFd) -> io::Result<&'static Retained> {
    if rustix::fs::fstat(file)?.st_size as usize != SIZE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "requests are kept in another layout"));
    }
    // SAFETY: a new mapping at an address of the kernel's choice; it is never unmapped.
    let base = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, file.as_fd().as_raw_fd(), 0)
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Tests in one process may adopt a second file: the first mapping stays.
    if BASE.compare_exchange(0, base as usize, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: the mapping was made above, and nothing refers to it.
        unsafe { libc::munmap(base, SIZE) };
    }
    for slot in (0..READERS + KEPT).map(RequestSlot) {
        IN_USE[slot.0].store(slot.connection() != 0, Ordering::Release);
    }
    Ok(MEMORY.get_or_init(|| Retained(())))
}

/// The memory, if this process reads its requests into it.
pub fn memory() -> Option<&'static Retained> {
    MEMORY.get()
}

impl Retained {
    /// The slot in which the kernel has put the request whose header is there; `None`: it is in ordinary memory.
    pub fn slot_of<T>(&self, header: &T) -> Option<RequestSlot> {
        let offset = (std::ptr::from_ref(header) as usize).checked_sub(BASE.load(Ordering::Acquire))?;
        let slot = RequestSlot(offset / READER_SIZE);
        (slot.0 < READERS && offset == slot.offset() + PAGE).then_some(slot)
    }

    /// The requests of a connection that earlier servers of it have read, in their order. To be called before this
    /// process reads one of it: the slots that hold none are free from now on.
    pub fn claim(&self, connection: u64) -> Vec<RetainedRequest> {
        let mut requests = Vec::new();
        for slot in (0..READERS + KEPT).map(RequestSlot).filter(|slot| slot.connection() == connection) {
            match slot.request() {
                Some(request) => requests.push(request),
                None => slot.free(),
            }
        }
        requests.sort_by_key(|request| request.unique);
        requests
    }

    /// Copies the request in a worker's slot to a slot of its own; `None`: all are in use.
    pub fn keep(&self, from: RequestSlot) -> Option<RequestSlot> {
        let connection = from.connection();
        let bytes = from.bytes();
        let slot = (READERS..READERS + KEPT).map(RequestSlot).find(|slot| slot.take())?;
        // SAFETY: the slot is this thread's alone, and has room for the longest request; the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), slot.address() as *mut u8, bytes.len().min(LONGEST)) };
        slot.field().store(connection, Ordering::Release);
        Some(slot)
    }
}

impl RequestSlot {
    fn offset(self) -> usize {
        match self.0.checked_sub(READERS) {
            None => self.0 * READER_SIZE,
            Some(kept) => READERS * READER_SIZE + kept * KEPT_SIZE,
        }
    }

    /// Of the request.
    fn address(self) -> usize {
        BASE.load(Ordering::Acquire) + self.offset() + PAGE
    }

    fn field(self) -> &'static AtomicU64 {
        // SAFETY: the mapping is never unmapped, the address is that of a page in it, and other processes have ended.
        unsafe { AtomicU64::from_ptr((self.address() - PAGE) as *mut u64) }
    }

    fn connection(self) -> u64 {
        self.field().load(Ordering::Acquire)
    }

    fn take(self) -> bool {
        !IN_USE[self.0].swap(true, Ordering::AcqRel)
    }

    /// From now on requests of `connection` are read into this slot. To be called by the thread that reads, while it
    /// reads nothing and refers to no request.
    pub fn begin(self, connection: u64) {
        self.field().store(0, Ordering::Release);
        self.clear();
        self.field().store(connection, Ordering::Release);
    }

    fn clear(self) {
        // SAFETY: the bytes are in the mapping. Nothing refers to them: the thread that reads into them calls this.
        unsafe { std::ptr::write_bytes(self.address() as *mut u8, 0, HEADER) };
    }

    /// The request in it as the kernel wrote it; nothing when it holds none.
    pub fn bytes(self) -> Vec<u8> {
        // SAFETY: the bytes are in the mapping, and nothing changes them: their writer is gone or this thread.
        let read = |at: usize, len: usize| unsafe {
            let mut bytes = vec![0; len];
            std::ptr::copy_nonoverlapping((self.address() + at) as *const u8, bytes.as_mut_ptr(), len);
            bytes
        };
        let len = u32::from_ne_bytes(read(0, 4).try_into().expect("four bytes")) as usize;
        if (HEADER..=LONGEST).contains(&len) { read(0, len) } else { Vec::new() }
    }

    fn request(self) -> Option<RetainedRequest> {
        let (connection, bytes) = (self.connection(), self.bytes());
        let opcode = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
        let unique = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
        (connection != 0 && unique != 0).then_some(RetainedRequest { slot: self, connection, unique, opcode })
    }

    /// It holds no request any more.
    pub fn free(self) {
        self.field().store(0, Ordering::Release);
        self.clear();
        IN_USE[self.0].store(false, Ordering::Release);
    }
}

/// The allocator of the whole program: fuser's read buffers come from the retained memory, where there is one.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

impl Allocator {
    /// A buffer of zeros in the retained memory, with its first pages there ([`Allocator::ordinary_buffer`]).
    fn buffer() -> Option<*mut u8> {
        let slot = (0..READERS).map(RequestSlot).find(|slot| slot.take())?;
        let address = slot.address() as *mut u8;
        // SAFETY: the slot is this thread's alone, and these bytes of it are in the mapping.
        unsafe {
            libc::madvise(address.cast(), BUFFER, libc::MADV_REMOVE);
            std::ptr::write_bytes(address, 0, LONGEST);
        }
        Some(address)
    }

    /// A buffer of zeros in ordinary memory, or null. Its first pages are there, as many as the longest request needs: if
    /// a thread is killed while the kernel copies a request to a page that is missing, that request fails (EIO, see
    /// `fuse_dev_do_read`).
    fn ordinary_buffer(layout: Layout) -> *mut u8 {
        // SAFETY: the layout has a size, that of a buffer.
        let address = unsafe { System.alloc_zeroed(layout) };
        if !address.is_null() {
            for at in (0..LONGEST + PAGE).step_by(PAGE) {
                // SAFETY: inside the buffer, which is this thread's alone. Volatile: the compiler knows that it is zero.
                unsafe { address.add(at).write_volatile(0) };
            }
        }
        address
    }

    fn slot_at(address: *mut u8) -> Option<RequestSlot> {
        let base = BASE.load(Ordering::Relaxed);
        let offset = (address as usize).checked_sub(base).filter(|offset| base != 0 && *offset < SIZE)?;
        Some(RequestSlot(offset / READER_SIZE))
    }
}

// SAFETY: everything but one size is the system's; a buffer of that size is a part of the mapping that has no other
// user, is as long, and is aligned to a page. Nothing here allocates.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() == BUFFER {
            let has_memory = BASE.load(Ordering::Relaxed) != 0 && layout.align() <= PAGE;
            let retained = if has_memory { Allocator::buffer() } else { None };
            return retained.unwrap_or_else(|| Allocator::ordinary_buffer(layout));
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        match if layout.size() == BUFFER { Allocator::slot_at(address) } else { None } {
            Some(slot) => slot.free(),
            // SAFETY: as the caller promises.
            None => unsafe { System.dealloc(address, layout) },
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(slot) = (if layout.size() == BUFFER { Allocator::slot_at(address) } else { None }) else {
            // SAFETY: as the caller promises.
            return unsafe { System.realloc(address, layout, size) };
        };
        // SAFETY: the new memory is large enough for what is copied, and the old one is given back after that.
        unsafe {
            let new = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(address, new, size.min(BUFFER));
                slot.free();
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(unique: u64) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&64_u32.to_ne_bytes());
        bytes[4..8].copy_from_slice(&9_u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&unique.to_ne_bytes());
        bytes
    }

    /// Whether each of `count` pages from an address on is in the page table of this process.
    fn present(address: *const u8, count: usize) -> Vec<bool> {
        let map = std::fs::File::open("/proc/self/pagemap").expect("it is there");
        let mut entries = vec![0; count * 8];
        let at = address as usize / PAGE * 8;
        std::os::unix::fs::FileExt::read_exact_at(&map, &mut entries, at as u64).expect("read");
        entries.chunks(8).map(|entry| entry[7] & 0x80 != 0).collect()
    }

    #[test]
    fn a_read_buffer_has_the_pages_of_the_longest_request_whether_requests_are_retained_or_not() {
        let layout = Layout::from_size_align(BUFFER, 1).expect("a layout");
        let pages = LONGEST / PAGE;
        let ordinary = Allocator::ordinary_buffer(layout);
        assert!(present(ordinary, pages).iter().all(|is_there| *is_there));
        // SAFETY: allocated above, with this layout.
        unsafe { System.dealloc(ordinary, layout) };
        adopt(&create().expect("made")).expect("mapped");
        let retained = vec![0_u8; BUFFER];
        assert!(present(retained.as_ptr(), pages).iter().all(|is_there| *is_there));
    }

    #[test]
    fn a_request_stays_in_the_memory_until_its_slot_is_freed_and_belongs_to_the_connection_of_its_buffer() {
        let file = create().expect("made");
        let memory = adopt(&file).expect("mapped");
        let mut buffer = vec![0_u8; BUFFER];
        let slot = memory.slot_of(&buffer[0]).expect("the buffer is in the memory");
        slot.begin(7);
        buffer[..64].copy_from_slice(&header(42));
        let kept = memory.keep(slot).expect("there is room");
        slot.begin(8);
        assert_eq!(slot.request(), None, "the request of another connection is not this one's");
        let request = RetainedRequest { slot: kept, connection: 7, unique: 42, opcode: 9 };
        assert_eq!(memory.claim(7), [request]);
        assert_eq!(kept.bytes(), header(42));
        kept.free();
        assert_eq!(memory.claim(7), []);
        drop(buffer);
        let again = vec![0_u8; BUFFER];
        assert!(again.iter().all(|byte| *byte == 0));
    }
}
