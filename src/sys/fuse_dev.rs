//! The FUSE device itself: the messages to it that the FUSE library does not send.
//!
//! Layouts are those of `linux/fuse.h`, in the machine's byte order.
//!
//! ```text
//! fuse_in_header   len u32, opcode u32, unique u64, nodeid u64, uid u32, gid u32, pid u32, ext u16, pad u16   40
//! fuse_init_in     major u32, minor u32, max_readahead u32, flags u32, flags2 u32, 11 × u32 unused            64
//! fuse_out_header  len u32, error i32, unique u64                                                            16
//! fuse_forget_in   nlookup u64                                                                                8
//! fuse_notify_inval_inode_out  ino u64, off i64, len i64                                                     24
//! fuse_notify_inval_entry_out  parent u64, namelen u32, flags u32; then the name and a zero                  16
//! ```

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use super::log::OrWarn;
use super::retained::{self, RetainedRequest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use serde::{Deserialize, Serialize};

const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const FUSE_FORGET: u32 = 2;
const FUSE_INIT: u32 = 26;
const FUSE_INTERRUPT: u32 = 36;
const FUSE_DESTROY: u32 = 38;
const FUSE_BATCH_FORGET: u32 = 42;
const FUSE_NOTIFY_INVAL_INODE: i32 = 2;
const FUSE_NOTIFY_INVAL_ENTRY: i32 = 3;
const FUSE_NOTIFY_RESEND: i32 = 7;
/// Asks the kernel to read files in a view's stead, and no more.
const BACKING_OPEN: libc::Ioctl = 0x4010_e501_u32 as libc::Ioctl;
const BACKING_CLOSE: libc::Ioctl = 0x4004_e502_u32 as libc::Ioctl;
const FUSE_INIT_EXT: u64 = 1 << 30;
/// FUSE_HAS_RESEND, in the capabilities that the kernel offers.
pub const HAS_RESEND: u64 = 1 << 39;

/// The kernel's offer when the connection began: enough to repeat it to a later server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelOffer {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub capabilities: u64,
}

impl KernelOffer {
    /// The FUSE_INIT request that makes this offer.
    pub fn to_request(self) -> [u8; IN_HEADER + 64] {
        let flags = self.capabilities | FUSE_INIT_EXT;
        let mut request = [0; IN_HEADER + 64];
        let mut put = |at: usize, value: u32| request[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(0, (IN_HEADER + 64) as u32);
        put(4, FUSE_INIT);
        put(8, 1);
        put(IN_HEADER, self.major);
        put(IN_HEADER + 4, self.minor);
        put(IN_HEADER + 8, self.max_readahead);
        put(IN_HEADER + 12, flags as u32);
        put(IN_HEADER + 16, (flags >> 32) as u32);
        request
    }
}

/// A new device, not yet connected to a mount.
pub fn open() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether an open file is the FUSE device: misc(10), minor number 229 (Documentation/admin-guide/devices.txt).
pub fn is_fuse(device: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(device).is_ok_and(|stat| stat.st_rdev == rustix::fs::makedev(10, 229))
}

/// The directory of the kernel's FUSE connections, if `fusectl` is mounted there.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// The root directory of `fusectl`, which lists the FUSE connections. If it isn't mounted, root opens it without
/// mounting it anywhere.
fn connections() -> Option<&'static OwnedFd> {
    static OPEN: OnceLock<Option<OwnedFd>> = OnceLock::new();
    const FUSE_CTL_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5543;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mounted = || {
        let dir = rustix::fs::open(CONNECTIONS, flags, Mode::empty()).ok()?;
        rustix::fs::fstatfs(&dir).is_ok_and(|s| s.f_type == FUSE_CTL_SUPER_MAGIC).then_some(dir)
    };
    let opened = || {
        let fs = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
        fsconfig_create(&fs).ok()?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).ok()
    };
    OPEN.get_or_init(|| mounted().or_else(opened)).as_ref()
}

/// How many requests of a connection wait for an answer; `None` if the kernel does not report it.
pub fn waiting(connection: u32) -> Option<u64> {
    let file = rustix::fs::openat(
        connections()?,
        format!("{connection}/waiting"),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let mut text = [0; 24];
    let n = rustix::io::read(file.ok()?, &mut text).ok()?;
    std::str::from_utf8(&text[..n]).ok()?.trim().parse().ok()
}

/// Asks the kernel (6.9 or newer) to queue again every request that was read and not answered. The
/// requests come with bit 63 of their number set.
pub fn resend(device: BorrowedFd<'_>) -> io::Result<()> {
    if super::feature::is_without(super::feature::KernelFeature::Resend) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    write_header(device, FUSE_NOTIFY_RESEND, 0)
}

/// Whether this kernel sends requests again. It is known from the version: FUSE_INIT comes later, and a read buffer has
/// to be made before.
pub fn has_resend() -> bool {
    let release = super::kernel::release();
    !super::feature::is_without(super::feature::KernelFeature::Resend)
        && super::kernel::version(&release).is_some_and(|version| version >= (6, 9))
}

/// Whether the kernel still waits for the answer to a request that was read from `device`. It is queried with a reply to
/// an interrupt of it, which changes nothing: ENOENT when there is no such request.
///
/// # Errors
/// The connection has ended.
pub fn is_unanswered(device: BorrowedFd<'_>, unique: u64) -> io::Result<bool> {
    /// FUSE_INT_REQ_BIT of `fs/fuse/dev.c`.
    const INTERRUPT: u64 = 1;
    match write_header(device, -libc::EINTR, unique | INTERRUPT) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The requests of `connection` that earlier servers have read from `device` and not answered, each once, if this
/// process has the memory into which they were read. The slots of all others of it are free from now on.
pub fn unanswered(device: BorrowedFd<'_>, connection: u64) -> Vec<RetainedRequest> {
    let Some(memory) = retained::memory() else { return Vec::new() };
    let mut found: Vec<RetainedRequest> = Vec::new();
    for request in memory.claim(connection) {
        let is_new = found.iter().all(|other| other.unique != request.unique);
        match is_unanswered(device, request.unique) {
            Ok(true) if is_new => found.push(request),
            Ok(_) => request.slot.free(),
            Err(e) => {
                tracing::warn!("an unanswered request cannot be looked for: {e}");
                request.slot.free();
            }
        }
    }
    found
}

/// Frees what earlier servers have read of `connection`: the kernel sends it again.
pub fn forget_retained(connection: u64) {
    let memory = retained::memory();
    memory.iter().flat_map(|memory| memory.claim(connection)).for_each(|request| request.slot.free());
}

/// Answers every request with EIO that earlier servers have read and not answered; returns how many there were.
pub fn refuse_unanswered(device: BorrowedFd<'_>, connection: u64) -> usize {
    let all = unanswered(device, connection);
    for request in &all {
        answer(device, request.unique, Err(libc::EIO)).or_debug("nobody waits for the answer any more");
        request.slot.free();
    }
    all.len()
}

/// Whether a read of `device` would not wait: a request is there, or the connection has ended.
pub fn has_request(device: BorrowedFd<'_>) -> bool {
    !matches!(poll(&mut [PollFd::from_borrowed_fd(device, PollFlags::IN)], Some(&Timespec::default())), Ok(0))
}

/// Whether a connection still has a file system: it ends when that is mounted nowhere any more and no process has it
/// open.
pub fn is_connected(device: BorrowedFd<'_>) -> bool {
    let mut polls = [PollFd::from_borrowed_fd(device, PollFlags::empty())];
    match poll(&mut polls, Some(&Timespec::default())) {
        Ok(_) => !polls[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}

/// The number of a descriptor that another owner closes, and which is made to refer to one file after another.
#[derive(Debug)]
pub struct DescriptorSlot(RawFd);

impl DescriptorSlot {
    /// The number of `fd`. It has to stay open as long as this is used.
    pub fn of(fd: BorrowedFd<'_>) -> DescriptorSlot {
        DescriptorSlot(fd.as_raw_fd())
    }

    /// Makes the number refer to what `file` refers to, in one step (dup3(2)).
    pub fn refer_to(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the call changes no memory. The number is open, so its owner keeps owning it.
        let done = unsafe { libc::dup3(file.as_raw_fd(), self.0, libc::O_CLOEXEC) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Passes an answer on to the device that it belongs to.
pub fn pass_on(device: BorrowedFd<'_>, answer: &[u8]) -> io::Result<()> {
    Ok(rustix::io::write(device, answer).map(drop)?)
}

/// Answers every request that waits with EIO, and never waits itself. `false`: the connection has ended.
pub fn refuse_waiting(device: BorrowedFd<'_>) -> io::Result<bool> {
    // The flag belongs to the open file, which the keeper and later servers share.
    let flags = rustix::fs::fcntl_getfl(device)?;
    rustix::fs::fcntl_setfl(device, flags | OFlags::NONBLOCK)?;
    let refused = refuse_each(device);
    rustix::fs::fcntl_setfl(device, flags)?;
    refused
}

fn refuse_each(device: BorrowedFd<'_>) -> io::Result<bool> {
    let mut buf = vec![0; (1 << 20) + 4096];
    loop {
        match rustix::io::read(device, &mut buf) {
            Ok(n) if n >= IN_HEADER => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::AGAIN) => return Ok(true),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT) => continue,
            Err(rustix::io::Errno::NODEV) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        let opcode = u32::from_ne_bytes(buf[4..8].try_into().expect("four bytes"));
        let unique = u64::from_ne_bytes(buf[8..16].try_into().expect("eight bytes"));
        if matches!(opcode, FUSE_FORGET | FUSE_BATCH_FORGET | FUSE_INTERRUPT) {
            continue;
        }
        match write_header(device, -libc::EIO, unique) {
            // The caller was interrupted and no longer waits for the answer.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
}

/// Reads of the device wait for a request, whatever a server that ended in [`refuse_waiting`] has left.
pub fn wait_in_reads(device: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(device)?;
    if flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(device, flags - OFlags::NONBLOCK)?;
    }
    Ok(())
}

/// Whether the kernel would read this file in a view's stead (FUSE_DEV_IOC_BACKING_OPEN); it is let go again.
pub fn try_backing(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    // fuse_backing_map: fd i32, flags u32, padding u64.
    let map: [i32; 4] = [file.as_raw_fd(), 0, 0, 0];
    // SAFETY: both calls read what they are given the address of, which lives as long.
    unsafe {
        let id = libc::ioctl(device.as_raw_fd(), BACKING_OPEN, map.as_ptr());
        if id < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::ioctl(device.as_raw_fd(), BACKING_CLOSE, &raw const id);
    }
    Ok(())
}

/// Has the kernel close a file that it reads in a view's stead, once no process has it open.
pub fn close_backing(device: BorrowedFd<'_>, id: u32) -> io::Result<()> {
    // SAFETY: the call reads the number at this address, which lives as long.
    match unsafe { libc::ioctl(device.as_raw_fd(), BACKING_CLOSE, &raw const id) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The inode that no file has, which [`call`] has forgotten.
pub const NOBODY: u64 = u64::MAX;

/// A request without an answer, for a thread that reads there as from a device: FUSE_FORGET of [`NOBODY`].
pub fn call() -> [u8; IN_HEADER + 8] {
    let mut request = [0; IN_HEADER + 8];
    request[..4].copy_from_slice(&((IN_HEADER + 8) as u32).to_ne_bytes());
    request[4..8].copy_from_slice(&FUSE_FORGET.to_ne_bytes());
    request[16..24].copy_from_slice(&NOBODY.to_ne_bytes());
    request
}

/// A request to end, for a thread that reads there.
pub fn farewell() -> [u8; IN_HEADER] {
    let mut request = [0; IN_HEADER];
    request[..4].copy_from_slice(&(IN_HEADER as u32).to_ne_bytes());
    request[4..8].copy_from_slice(&FUSE_DESTROY.to_ne_bytes());
    request
}

/// Answers the request `unique` with these bytes, or an error number. ENOENT: its caller no longer waits.
pub fn answer(device: BorrowedFd<'_>, unique: u64, result: Result<&[&[u8]], i32>) -> io::Result<()> {
    let (error, parts) = result.map_or_else(|errno| (-errno, &[][..]), |parts| (0, parts));
    write_message(device, error, unique, parts)
}

/// Has the kernel forget attributes, and pages from `offset` on; of a negative one none.
pub fn forget_inode(device: BorrowedFd<'_>, ino: u64, offset: i64) -> io::Result<()> {
    let mut body = [0; 24];
    body[..8].copy_from_slice(&ino.to_ne_bytes());
    body[8..16].copy_from_slice(&offset.to_ne_bytes());
    write_message(device, FUSE_NOTIFY_INVAL_INODE, 0, &[&body])
}

/// Has the kernel forget a name and all below it. Waits for the lock of its directory.
pub fn forget_name(device: BorrowedFd<'_>, parent: u64, name: &[u8]) -> io::Result<()> {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&parent.to_ne_bytes());
    body[8..12].copy_from_slice(&(name.len() as u32).to_ne_bytes());
    write_message(device, FUSE_NOTIFY_INVAL_ENTRY, 0, &[&body, name, &[0]])
}

fn write_header(device: BorrowedFd<'_>, error: i32, unique: u64) -> io::Result<()> {
    write_message(device, error, unique, &[])
}

/// One message is one writev(2).
fn write_message(device: BorrowedFd<'_>, error: i32, unique: u64, parts: &[&[u8]]) -> io::Result<()> {
    let len = OUT_HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut header = [0; OUT_HEADER];
    header[..4].copy_from_slice(&(len as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    let pieces: Vec<_> = std::iter::once(&header[..]).chain(parts.iter().copied()).map(IoSlice::new).collect();
    rustix::io::writev(device, &pieces)?;
    Ok(())
}
