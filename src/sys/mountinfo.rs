//! The table of mounts, read from `/proc/self/mountinfo` (proc_pid_mountinfo(5)) without touching a mount.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::IoError;

const TABLE: &str = "/proc/self/mountinfo";

/// One mount of this process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The mount point, absolute, without the escapes of the table.
    pub path: PathBuf,
    /// With the subtype, as in `fuse.depsfs`.
    pub kind: String,
    /// `major:minor`, which is also the `st_dev` of everything in it.
    pub device: (u32, u32),
    /// The owner of the mount, if it is one of FUSE.
    pub user: Option<u32>,
}

/// Every mount, a later one at the same path lying over an earlier one.
///
/// # Errors
/// /proc cannot be read.
pub fn read() -> Result<Vec<MountPoint>, IoError> {
    let text = super::path::read(Path::new(TABLE))?;
    Ok(parse_all(&text).collect())
}

/// The kernel's number of the mount that lies on top at a path.
pub(super) fn id_at(path: &Path) -> Option<u64> {
    let text = super::path::read(Path::new(TABLE)).ok()?;
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    lines.retain(|line| parse(line).is_some_and(|mount| mount.path == path));
    std::str::from_utf8(lines.last()?.split(|b| *b == b' ').next()?).ok()?.parse().ok()
}

/// The mounts of such a table.
pub(super) fn parse_all(text: &[u8]) -> impl Iterator<Item = MountPoint> {
    text.split(|b| *b == b'\n').filter_map(parse)
}

/// Every mount, found by its path or by its device without a scan: with many views each of them is looked up.
#[derive(Clone, Debug, Default)]
pub struct MountTable {
    all: Vec<MountPoint>,
    by_path: HashMap<PathBuf, Vec<usize>>,
    by_device: HashMap<(u32, u32), Vec<usize>>,
}

impl MountTable {
    /// As it is now: read once for a command, and again after it has mounted something.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read() -> Result<MountTable, IoError> {
        read().map(MountTable::new)
    }

    /// As it is now, read again only when something was mounted or unmounted since the last call in this process: the
    /// kernel reports that of an open table (proc_pid_mounts(5), poll).
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn current() -> Result<Arc<MountTable>, IoError> {
        static SEEN: Mutex<Option<SeenMount>> = Mutex::new(None);
        let mut seen = SEEN.lock();
        if let Some(seen) = seen.as_ref().filter(|seen| !seen.has_changed()) {
            return Ok(seen.table.clone());
        }
        // Opened before it is read: a change between the two is reported at the next call.
        let file = super::fs::open_path(Path::new(TABLE), super::fs::OpenFlags::RDONLY, 0);
        let file = file.map_err(IoError::of("open", Path::new(TABLE)))?;
        let table = Arc::new(MountTable::read()?);
        *seen = Some(SeenMount { file, table: table.clone() });
        Ok(table)
    }

    /// A table of these mounts, which are in the order of /proc/self/mountinfo: of several at one path, the last is on
    /// top.
    pub fn new(all: Vec<MountPoint>) -> MountTable {
        let mut table = MountTable::default();
        for (n, mount) in all.iter().enumerate() {
            table.by_path.entry(mount.path.clone()).or_default().push(n);
            table.by_device.entry(mount.device).or_default().push(n);
        }
        MountTable { all, ..table }
    }

    /// All mounts of this process's namespace, in the order of /proc/self/mountinfo.
    pub fn all(&self) -> &[MountPoint] {
        &self.all
    }

    /// The mounts at a path, the lowest first.
    pub fn at(&self, path: &Path) -> impl DoubleEndedIterator<Item = &MountPoint> {
        self.by_path.get(path).into_iter().flatten().map(|n| &self.all[*n])
    }

    /// The mount points of a file system. Its number is free for another one as soon as the file system is gone.
    pub fn of_device(&self, device: (u32, u32)) -> impl DoubleEndedIterator<Item = &MountPoint> {
        self.by_device.get(&device).into_iter().flatten().map(|n| &self.all[*n])
    }
}

/// The table, and the file that polls as ready when the table has changed.
struct SeenMount {
    file: OwnedFd,
    table: Arc<MountTable>,
}

impl SeenMount {
    fn has_changed(&self) -> bool {
        let mut polls = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::PRI)];
        !matches!(poll(&mut polls, Some(&Timespec::default())), Ok(0))
    }
}

/// `36 35 98:0 /root /mnt opts shared:1 - ext3 /dev/root rw`; a line of another shape is skipped.
fn parse(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|b| *b == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let path = unescape(fields.nth(1)?);
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8(unescape(fields.next()?)).ok()?;
    let options = fields.nth(1).and_then(|o| std::str::from_utf8(o).ok()).unwrap_or_default();
    let user = options.split(',').find_map(|o| o.strip_prefix("user_id=")?.parse().ok());
    Some(MountPoint {
        path: PathBuf::from(OsString::from_vec(path)),
        kind,
        device: (major.parse().ok()?, minor.parse().ok()?),
        user,
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_path_kind_and_device_whatever_its_optional_fields_are() {
        let plain = b"36 35 0:98 / /mnt/a rw,nosuid - fuse.depsfs depsfs rw,user_id=0";
        let optional = b"36 35 0:98 / /mnt/a rw,nosuid shared:1 master:2 - fuse.depsfs depsfs rw,user_id=0";
        let kind = "fuse.depsfs".into();
        let want = MountPoint { path: "/mnt/a".into(), kind, device: (0, 98), user: Some(0) };
        assert_eq!(parse(plain).as_ref(), Some(&want));
        assert_eq!(parse(optional), Some(want));
    }

    #[test]
    fn octal_escapes_become_bytes_and_nothing_else_is_taken_for_one() {
        assert_eq!(unescape(br"/a\040b\011c\012d\134e"), b"/a b\tc\nd\\e");
        assert_eq!(unescape(br"\9\04"), br"\9\04");
        assert_eq!(unescape(br"\134040"), br"\040");
    }

    #[test]
    fn lines_of_another_shape_are_skipped() {
        for line in [&b""[..], b"36 35", b"36 35 x / /a rw - t s", b"36 35 0:1 / /a rw t s"] {
            assert_eq!(parse(line), None);
        }
    }

    #[test]
    fn the_root_is_mounted() {
        let table = MountTable::read().expect("/proc is there");
        let root = table.at(Path::new("/")).next().expect("mounted");
        assert!(table.of_device(root.device).any(|m| m.path == Path::new("/")));
    }

    #[test]
    fn mounts_at_one_path_come_from_the_lowest_to_the_top_and_a_device_has_all_its_places() {
        let mount = |path: &str, minor| MountPoint {
            path: path.into(),
            kind: "fuse.depsfs".into(),
            device: (0, minor),
            user: None,
        };
        let table = MountTable::new(vec![mount("/a", 1), mount("/b", 1), mount("/a", 2)]);
        let devices: Vec<_> = table.at(Path::new("/a")).map(|m| m.device.1).collect();
        let places: Vec<_> = table.of_device((0, 1)).map(|m| m.path.clone()).collect();
        assert_eq!((devices, places), (vec![1, 2], vec!["/a".into(), "/b".into()]));
        assert_eq!((table.at(Path::new("/c")).count(), table.of_device((0, 3)).count()), (0, 0));
    }
}
