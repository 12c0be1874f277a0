//! Requests to a mounted view, by its virtual attributes (`user.depsfs.*`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ViewsError;
use crate::overlay::{Change, ChangeKind, Covered, MovedDirectory};
use crate::store::{Name, TreeId, escape};
use crate::sys::IoError;
use crate::sys::fs::{self, OpenFlags};

/// How long a reset waits for the kernel to forget.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);

/// The members of a graft that a mounted view does not show, as the view reports them.
pub(super) fn covered(root: &Path, tree: TreeId) -> Result<Covered, ViewsError> {
    #[derive(Deserialize)]
    struct Answer {
        blocked: u64,
        paths: Vec<String>,
    }
    let name = format!("user.depsfs.covered.{tree}");
    let bytes = match fs::xattr_of_path(root, name.as_bytes()) {
        // All of it was deleted.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Covered { kept: Vec::new(), blocked: 1 }),
        answer => answer.map_err(IoError::of("ask", root))?,
    };
    let unreadable = || ViewsError::Unreadable(root.into());
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let kept = answer.paths.iter().map(|p| escape::unescape(p).map(|b| PathBuf::from(OsString::from_vec(b))));
    Ok(Covered { kept: kept.collect::<Option<_>>().ok_or_else(unreadable)?, blocked: answer.blocked })
}

/// The directories of the store that a mounted view shows at other paths.
pub(super) fn moved_through(root: &Path) -> Result<Vec<MovedDirectory>, ViewsError> {
    #[derive(Deserialize)]
    struct Line {
        from: String,
        to: String,
    }
    let path = |text: &str| escape::unescape(text).map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    let mut all = Vec::new();
    loop {
        let attribute = format!("user.depsfs.moved.{}", all.len());
        let bytes = match fs::xattr_of_path(root, attribute.as_bytes()) {
            // A server of an older version.
            Err(e) if e.raw_os_error() == Some(libc::ENODATA) => return Ok(Vec::new()),
            bytes => bytes.map_err(IoError::of("ask", root))?,
        };
        let before = all.len();
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            let line = line.ok().and_then(|line| Some(MovedDirectory { from: path(&line.from)?, to: path(&line.to)? }));
            all.push(line.ok_or_else(|| ViewsError::Unreadable(root.into()))?);
        }
        if all.len() == before {
            return Ok(all);
        }
    }
}

/// The state that a mounted view reports of itself.
#[derive(Deserialize)]
pub(super) struct About {
    #[serde(default)]
    pub clean: bool,
    pending: u64,
}

/// The state that a mounted view reports of itself.
pub(super) fn about(root: &Path) -> Result<About, ViewsError> {
    let about = fs::xattr_of_path(root, b"user.depsfs.view").map_err(IoError::of("ask", root))?;
    serde_json::from_slice(&about).map_err(|_| ViewsError::Unreadable(root.into()))
}

/// Waits until the kernel has received all cache invalidations: before that, programs may still see the old entries.
pub(super) fn wait_for_notices(root: &Path) -> Result<(), ViewsError> {
    let until = Instant::now() + NOTICE_PATIENCE;
    loop {
        let about = about(root)?;
        // An invalidation may wait for a directory that another program holds. That program sees the change later.
        if about.pending == 0 || Instant::now() > until {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sets a virtual attribute. A symlink at the end is not followed: the path descriptor is the node itself.
pub(super) fn set_xattr(at: &Path, name: &[u8], value: &[u8]) -> Result<(), ViewsError> {
    let node = fs::open_path(at, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", at))?;
    fs::set_xattr(&node, name, value, fs::XattrFlags::empty()).map_err(IoError::of("change", at))?;
    Ok(())
}

/// One line of `user.depsfs.changes.<cookie>`.
#[derive(Deserialize)]
struct ChangeLine {
    name: String,
    cookie: u64,
    kind: String,
    dir: bool,
}

/// The differences of a directory after a position, at most as many as one answer holds.
pub(super) fn changes_through(dir: &Path, after: u64) -> Result<Vec<Change>, ViewsError> {
    let unreadable = || ViewsError::Unreadable(dir.into());
    let attribute = format!("user.depsfs.changes.{after}");
    let bytes = fs::xattr_of_path(dir, attribute.as_bytes()).map_err(IoError::of("ask for the changes of", dir))?;
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<ChangeLine>();
    lines
        .map(|line| {
            let line = line.map_err(|_| unreadable())?;
            let name = escape::unescape(&line.name).and_then(|b| Name::new(&b).ok()).ok_or_else(unreadable)?;
            if line.cookie <= after {
                return Err(unreadable());
            }
            let kind = match line.kind.as_str() {
                "added" => ChangeKind::Added,
                "modified" => ChangeKind::Modified,
                "deleted" => ChangeKind::Deleted,
                "below" => ChangeKind::Below,
                _ => return Err(unreadable()),
            };
            Ok(Change { name, kind, is_dir: line.dir, cookie: line.cookie })
        })
        .collect()
}
