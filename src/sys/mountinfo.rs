//! What is mounted where, read from `/proc/self/mountinfo` (proc_pid_mountinfo(5)) without touching a mount.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::IoError;

/// One mount of this process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub path: PathBuf,
    /// With the subtype, as in `fuse.depsfs`.
    pub kind: String,
    /// `major:minor`, which is also the `st_dev` of everything in it.
    pub device: (u32, u32),
    /// Whose mount it is, when it is one of FUSE.
    pub user: Option<u32>,
}

/// Every mount, a later one at the same path lying over an earlier one.
pub fn read() -> Result<Vec<MountPoint>, IoError> {
    let text = super::path::read(Path::new("/proc/self/mountinfo"))?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
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
        assert!(read().expect("/proc is there").iter().any(|m| m.path == Path::new("/")));
    }
}
