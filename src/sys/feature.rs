//! Features that a kernel, or a filter of system calls (seccomp(2)), may lack. Each has a fallback that changes speed,
//! not behaviour, and tests force it: `DEPSFS_WITHOUT` has this process, and those it starts, do without the features
//! that it names, as words between commas.

use std::sync::OnceLock;

use rustix::fs as rfs;
use rustix::io::{Errno, ReadWriteFlags};

const WITHOUT: &str = "DEPSFS_WITHOUT";

/// A feature of the kernel with a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFeature {
    /// FUSE_NOTIFY_RESEND: requests of a dead server are sent to the next.
    Resend,
    /// Memory that outlives a server, for the requests that it has read.
    Retained,
    /// FUSE_PASSTHROUGH: big files are read without the server.
    Passthrough,
    /// FUSE_HANDLE_KILLPRIV_V2: a write to a file needs no question about its set-user-id bit.
    KillPriv,
    /// pidfd_open(2).
    Pidfd,
    /// CLOSE_RANGE_CLOEXEC of close_range(2).
    CloseRange,
    /// statx(2): with the time at which a file was made.
    Statx,
    /// openat2(2): a path through no symlink is opened at once.
    Openat2,
    /// RESOLVE_CACHED of openat2(2): whether a path is in memory.
    Cached,
    /// RWF_NOWAIT of preadv2(2): reads what is in memory.
    Nowait,
    /// RWF_DONTCACHE of preadv2(2): reads and leaves nothing in memory.
    Dontcache,
    /// FICLONE of ioctl_ficlone(2), where the file system has it.
    Clone,
    /// copy_file_range(2).
    CopyRange,
    /// O_TMPFILE of open(2), where the file system has it.
    Tmpfile,
}

use KernelFeature::{
    Cached, Clone as CloneFile, CloseRange, CopyRange, Dontcache, KillPriv, Nowait, Openat2, Passthrough, Pidfd,
    Resend, Retained, Statx, Tmpfile,
};

/// All features, with their words in `DEPSFS_WITHOUT`.
const ALL: [(KernelFeature, &str); 14] = [
    (Resend, "resend"),
    (Retained, "retained"),
    (Passthrough, "passthrough"),
    (KillPriv, "killpriv"),
    (Pidfd, "pidfd"),
    (CloseRange, "close_range"),
    (Statx, "statx"),
    (Openat2, "openat2"),
    (Cached, "cached"),
    (Nowait, "nowait"),
    (Dontcache, "dontcache"),
    (CloneFile, "clone"),
    (CopyRange, "copy_file_range"),
    (Tmpfile, "tmpfile"),
];

/// Whether a feature is to be missing, for a test.
pub(crate) fn is_without(feature: KernelFeature) -> bool {
    static HIDDEN: OnceLock<u32> = OnceLock::new();
    let hidden = HIDDEN.get_or_init(|| {
        let words = std::env::var(WITHOUT).unwrap_or_default();
        let is_named = |word: &str| words.split(',').any(|named| named == word);
        ALL.iter().filter(|(_, word)| is_named(word)).fold(0, |mask, (feature, _)| mask | bit(*feature))
    });
    hidden & bit(feature) != 0
}

fn bit(feature: KernelFeature) -> u32 {
    1 << feature as u32
}

/// A feature that system calls alone show, its name, and whether it can be used here.
pub struct Probed {
    /// For people, as kernel and manual pages have it.
    pub name: &'static str,
    /// False if the kernel, a filter or the test's setting refuses it.
    pub is_there: bool,
    /// The consequence of its absence.
    pub without: &'static str,
}

/// Tries the features that need no view and no particular file system.
pub fn probe() -> Vec<Probed> {
    type Test = fn() -> bool;
    let tests: [(KernelFeature, &str, Test, &str); 7] = [
        (Statx, "statx", has_statx, "a file is not told from a later one of the same number by its birth"),
        (Pidfd, "pidfd_open", has_pidfd, "processes are waited for by looking at /proc"),
        (CloseRange, "close_range", has_close_range, "descriptors are closed one by one"),
        (Openat2, "openat2", has_openat2, "paths are opened one component after the other"),
        (Cached, "RESOLVE_CACHED", has_cached, "files are opened by another thread"),
        (Nowait, "RWF_NOWAIT", has_nowait, "all reads are answered by other threads"),
        (Dontcache, "RWF_DONTCACHE", has_dontcache, "bytes that are read once leave memory by advice"),
    ];
    let probed = |(feature, name, test, without): (KernelFeature, _, Test, _)| Probed {
        name,
        is_there: !is_without(feature) && test(),
        without,
    };
    tests.into_iter().map(probed).collect()
}

fn has_statx() -> bool {
    rfs::statx(rfs::CWD, "/", rfs::AtFlags::SYMLINK_NOFOLLOW, rfs::StatxFlags::BASIC_STATS).is_ok()
}

fn has_pidfd() -> bool {
    rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).is_ok()
}

fn has_close_range() -> bool {
    // SAFETY: the highest number that there can be is open nowhere; with the flag nothing is closed anyway.
    unsafe { libc::syscall(libc::SYS_close_range, i32::MAX, i32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 }
}

fn has_openat2() -> bool {
    opens_root(rfs::ResolveFlags::NO_SYMLINKS)
}

fn has_cached() -> bool {
    opens_root(rfs::ResolveFlags::CACHED)
}

fn opens_root(resolve: rfs::ResolveFlags) -> bool {
    let flags = rfs::OFlags::PATH | rfs::OFlags::CLOEXEC;
    let opened = rfs::openat2(rfs::CWD, "/", flags, rfs::Mode::empty(), resolve);
    // The root directory is in memory, or would be the next moment.
    matches!(opened, Ok(_) | Err(Errno::AGAIN))
}

fn has_nowait() -> bool {
    reads_with(ReadWriteFlags::NOWAIT)
}

fn has_dontcache() -> bool {
    reads_with(ReadWriteFlags::from_bits_retain(libc::RWF_DONTCACHE.cast_unsigned()))
}

fn reads_with(flags: ReadWriteFlags) -> bool {
    let flags_of_open = rfs::OFlags::RDONLY | rfs::OFlags::CLOEXEC;
    let Ok(program) = rfs::open("/proc/self/exe", flags_of_open, rfs::Mode::empty()) else { return false };
    let mut byte = [0];
    let read = rustix::io::preadv2(&program, &mut [std::io::IoSliceMut::new(&mut byte)], 0, flags);
    matches!(read, Ok(_) | Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_a_word_and_a_bit_of_its_own() {
        let mask = ALL.iter().fold(0, |mask, (feature, _)| mask | bit(*feature));
        assert_eq!(mask.count_ones() as usize, ALL.len());
        let words: std::collections::BTreeSet<_> = ALL.iter().map(|(_, word)| word).collect();
        assert_eq!(words.len(), ALL.len());
        assert!(ALL.iter().all(|(feature, _)| !is_without(*feature)), "the tests run with {WITHOUT}");
    }

    #[test]
    fn this_kernel_has_what_every_kernel_has_since_5_10() {
        for probed in probe().iter().filter(|probed| ["statx", "pidfd_open", "RWF_NOWAIT"].contains(&probed.name)) {
            assert!(probed.is_there, "{}", probed.name);
        }
    }
}
