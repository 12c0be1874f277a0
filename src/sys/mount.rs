//! Attaches a FUSE connection to a directory and detaches it, by the kernel's own calls (needs CAP_SYS_ADMIN)
//! or, for an ordinary user, through `fusermount3`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use super::fusermount;
pub(crate) use super::mount_options::Options;
use super::terminal::DisplayName;

/// The file system type a view shows in mountinfo, `df` and `findmnt`.
pub const KIND: &str = "fuse.depsfs";
/// Mounts a new FUSE connection over the directory `at`, open as `over`; gives its device. Nothing answers
/// it yet: a process that looks at the path from now on waits for the first server.
///
/// # Errors
/// As mount(2).
pub fn mount(over: BorrowedFd<'_>, at: &Path, options: &Options) -> io::Result<OwnedFd> {
    if rustix::process::geteuid().is_root() {
        let device = super::fuse_dev::open()?;
        match attach(device.as_fd(), over, options) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            done => return done.map(|()| device),
        }
    }
    fusermount::mount(at, options)
}

/// How many more connections this user may mount; `None`: as many as wanted.
pub fn room() -> Option<usize> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let limit = fusermount::limit()?;
    // fusermount3 counts those of every user.
    let is_fuse = |kind: &str| kind == "fuse" || kind.starts_with("fuse.");
    let there = super::mountinfo::read().map_or(0, |all| all.iter().filter(|m| is_fuse(&m.kind)).count());
    Some(limit.saturating_sub(there))
}

/// The reason why no view can be mounted here, in words, as far as it shows without a mount.
pub(crate) fn is_possible() -> Result<(), String> {
    let device = super::fuse_dev::open();
    let device = device.map_err(|e| format!("/dev/fuse cannot be opened: {}", super::reason(&e)))?;
    if !super::fuse_dev::is_fuse(device.as_fd()) {
        return Err("/dev/fuse is not the FUSE device".into());
    }
    if rustix::process::geteuid().is_root() && super::proc::may_mount() {
        return Ok(());
    }
    if !super::proc::may_gain_mount() {
        return Err("no process here can get the capability CAP_SYS_ADMIN (a container)".into());
    }
    let Some(program) = fusermount::program(&[]) else {
        return Err("fusermount3 is not installed (package fuse3)".into());
    };
    let stat = rustix::fs::stat(&program).map_err(io::Error::from);
    let stat = stat.map_err(|e| format!("cannot stat {}: {}", program.shown(), super::reason(&e)))?;
    // A script has no bit of its own: it may start a program that has it.
    let is_script = super::path::read(&program).is_ok_and(|bytes| bytes.starts_with(b"#!"));
    if !is_script && super::proc::gains_no_privileges() {
        return Err(format!("{} has no effect: this process has no_new_privs set", program.shown()));
    }
    if !is_script && (stat.st_uid != 0 || stat.st_mode & 0o4000 == 0) {
        return Err(format!("{} is not set-user-id root", program.shown()));
    }
    Ok(())
}

/// Mounts the connection behind `device` over the directory `over`. A connection that was detached but is
/// still in use comes back as the same file system (the kernel finds its superblock by the device).
pub(crate) fn attach(device: BorrowedFd<'_>, over: BorrowedFd<'_>, options: &Options) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let device = device.as_raw_fd();
    let other = if options.allow_other { ",allow_other" } else { "" };
    let data = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid},default_permissions{other}");
    let data = CString::new(data).expect("numbers and words hold no NUL");
    // The descriptor, not the path: whatever became of the path since it was opened, this is the directory meant.
    let target = format!("/proc/self/fd/{}", over.as_raw_fd());
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, options.read_only);
    flags.set(MountFlags::NOEXEC, options.no_exec);
    Ok(rustix::mount::mount(options.source(), target, KIND, flags, Some(data.as_c_str()))?)
}

/// Unmounts what is mounted at `path`. `lazy` detaches it even when it is in use; else that is EBUSY.
///
/// # Errors
/// As umount2(2); for an ordinary user, the failure of fusermount3.
pub fn unmount(path: &Path, lazy: bool) -> io::Result<()> {
    let flags = if lazy { UnmountFlags::NOFOLLOW | UnmountFlags::DETACH } else { UnmountFlags::NOFOLLOW };
    match rustix::mount::unmount(path, flags) {
        Err(rustix::io::Errno::PERM) => fusermount::unmount(path, lazy),
        done => Ok(done?),
    }
}

/// Whether someone uses the mount at `path` (an open file, a working directory, a mount below). `None` when
/// only trying to unmount it can tell: an ordinary user may not ask.
pub(crate) fn is_busy(path: &Path) -> io::Result<Option<bool>> {
    // umount2(2): MNT_EXPIRE answers EAGAIN to the first call on an idle mount and marks it; to the second, with no
    // use between, it unmounts. Any use takes the mark away, be it one that sends no request: opening the path only.
    let forget_mark = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(drop)
    };
    forget_mark()?;
    match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::EXPIRE) {
        Err(rustix::io::Errno::BUSY) => Ok(Some(true)),
        Err(rustix::io::Errno::AGAIN) => Ok(forget_mark().map(|()| Some(false))?),
        Err(rustix::io::Errno::PERM) => Ok(None),
        Ok(()) => Err(io::Error::other("another process unmounted it meanwhile")),
        Err(e) => Err(e.into()),
    }
}
