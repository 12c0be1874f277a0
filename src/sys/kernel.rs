//! The running kernel: its version, its abilities and the end of its log.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::fs::{self, OpenFlags};
use super::{path as paths, watch::Watch};

/// How much of a log is looked at, from its end.
const TAIL: u64 = 1 << 20;

/// The release, as `uname -r` has it.
pub fn release() -> String {
    nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Major and minor number of a release.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether bytes of a file in `from` can be cloned into one in `to` (ioctl_ficlone(2)); no name is made. `None`: it
/// can't be tried.
pub fn clones(from: &Path, to: &Path) -> Option<bool> {
    let file = |dir: &Path| fs::open_tmpfile(paths::open_dir(dir).ok()?, 0o600).ok();
    let (from, to) = (file(from)?, file(to)?);
    fs::write_at(&from, &[1; 4096], 0).ok()?;
    Some(fs::clone_file(from.as_fd(), to.as_fd()).is_ok())
}

/// Whether one more can watch files (inotify(7)).
pub fn can_watch() -> io::Result<()> {
    Watch::renames_into(Path::new("/")).map(drop).map_err(|e| e.source)
}

/// A number that the kernel shows in a file.
pub fn number(file: &str) -> Option<u64> {
    String::from_utf8_lossy(&paths::read_if_there(Path::new(file)).ok()??).trim().parse().ok()
}

/// The kernel's log since it started, as far as it is kept and this user may read it.
pub fn said() -> Vec<u8> {
    let flags = OpenFlags::RDONLY | OpenFlags::NONBLOCK;
    let Ok(log) = fs::open_path(Path::new("/dev/kmsg"), flags, 0) else { return Vec::new() };
    let (mut all, mut record) = (Vec::new(), [0; 8192]);
    while (all.len() as u64) < TAIL {
        // One record each; EPIPE: it was overwritten meanwhile.
        match rustix::io::read(&log, &mut record) {
            Ok(0) => break,
            Ok(n) => all.extend(&record[..n]),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    all
}

/// The end of a log file; nothing when it isn't there or may not be read.
pub fn tail(file: &Path) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let log = fs::open_path(file, OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0)?;
        let size = fs::stat(&log)?.size;
        let mut bytes = vec![0; size.min(TAIL) as usize];
        let n = fs::read_at(&log, &mut bytes, size.saturating_sub(TAIL))?;
        bytes.truncate(n);
        Ok(bytes)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_distributions_have_two_numbers() {
        let table = [("6.18.44-fc", (6, 18)), ("5.15.0-105-generic", (5, 15)), ("6.9", (6, 9)), ("7.0-rc1", (7, 0))];
        table.iter().for_each(|(text, want)| assert_eq!(version(text), Some(*want)));
        assert_eq!(version("linux"), None);
        assert!(version(&release()).is_some_and(|v| v > (3, 0)));
    }
}
