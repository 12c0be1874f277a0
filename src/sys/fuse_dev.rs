//! The FUSE device itself: what has to be said to it beside what the FUSE library says.
//!
//! Layouts are those of `linux/fuse.h`, in the machine's byte order.
//!
//! ```text
//! fuse_in_header   len u32, opcode u32, unique u64, nodeid u64, uid u32, gid u32, pid u32, ext u16, pad u16   40
//! fuse_init_in     major u32, minor u32, max_readahead u32, flags u32, flags2 u32, 11 × u32 unused            64
//! fuse_out_header  len u32, error i32, unique u64                                                            16
//! ```

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use serde::{Deserialize, Serialize};

const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const FUSE_FORGET: u32 = 2;
const FUSE_INIT: u32 = 26;
const FUSE_INTERRUPT: u32 = 36;
const FUSE_BATCH_FORGET: u32 = 42;
const FUSE_NOTIFY_RESEND: i32 = 7;
const FUSE_INIT_EXT: u64 = 1 << 30;

/// What the kernel offered when the connection began: enough to say it again to a later server.
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

/// Where the kernel shows its FUSE connections, when `fusectl` is mounted there.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// What shows the FUSE connections, as a directory. Where it isn't mounted, root opens it without mounting it anywhere.
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

/// How many requests of a connection wait for an answer; `None` when that isn't told.
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

/// Ends a connection: everything that waits for an answer gets ECONNABORTED.
pub fn abort(connection: u32) -> io::Result<()> {
    let all = connections().ok_or(io::ErrorKind::NotFound)?;
    let fd = rustix::fs::openat(all, format!("{connection}/abort"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::io::write(fd, b"1").map(drop)?)
}

/// Asks the kernel (6.9 or newer) to queue again every request that was read and not answered. The
/// requests come with bit 63 of their number set.
pub fn resend(device: BorrowedFd<'_>) -> io::Result<()> {
    write_header(device, FUSE_NOTIFY_RESEND, 0)
}

/// Whether a read of `device` would not wait: a request is there, or the connection has ended. It has to be open; a
/// number that is not says yes.
pub fn has_request(device: RawFd) -> bool {
    // SAFETY: poll(2) only looks the number up, and says of one that is closed that it is (POLLNVAL).
    let device = unsafe { BorrowedFd::borrow_raw(device) };
    !matches!(poll(&mut [PollFd::from_borrowed_fd(device, PollFlags::IN)], Some(&Timespec::default())), Ok(0))
}

/// Whether a connection still has a file system: it ends when that is mounted nowhere any more and nobody has it open.
pub fn is_connected(device: BorrowedFd<'_>) -> bool {
    let mut polls = [PollFd::from_borrowed_fd(device, PollFlags::empty())];
    match poll(&mut polls, Some(&Timespec::default())) {
        Ok(_) => !polls[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        Err(_) => true,
    }
}

/// Makes the number of `old` refer to what `new` refers to, in one step (dup3(2)).
pub fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open; the owner of `old` keeps owning its number, which now refers to another file.
    let done = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Answers every request with EIO until the connection ends. For a view that no server could keep alive:
/// programs get an error instead of waiting.
pub fn refuse_all(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut buf = vec![0; (1 << 20) + 4096];
    loop {
        match rustix::io::read(device, &mut buf) {
            Ok(n) if n >= IN_HEADER => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT | rustix::io::Errno::AGAIN) => continue,
            Err(rustix::io::Errno::NODEV) => return Ok(()),
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

/// Whether the kernel would read this file in a view's stead (FUSE_DEV_IOC_BACKING_OPEN); it is let go again.
pub fn try_backing(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    const BACKING_OPEN: libc::Ioctl = 0x4010_e501_u32 as libc::Ioctl;
    const BACKING_CLOSE: libc::Ioctl = 0x4004_e502_u32 as libc::Ioctl;
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

fn write_header(device: BorrowedFd<'_>, error: i32, unique: u64) -> io::Result<()> {
    let mut header = [0; OUT_HEADER];
    header[..4].copy_from_slice(&(OUT_HEADER as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    rustix::io::write(device, &header)?;
    Ok(())
}
