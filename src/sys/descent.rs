//! A way down a directory tree of any depth and back up, with a few descriptors.
//!
//! The directories nearest to the current one are open. One further up is opened again by `..` from the one below it,
//! and must be the directory that it was.

use std::io;
use std::os::fd::OwnedFd;

use super::fs;

/// How many directories above the current one stay open.
const KEPT: usize = 32;

/// The location of a walk, which begins at a given directory.
pub struct Descent {
    levels: Vec<DescentLevel>,
}

struct DescentLevel {
    fd: Option<OwnedFd>,
    /// Device and inode number.
    ident: (u64, u64),
}

impl DescentLevel {
    fn of(fd: OwnedFd) -> io::Result<DescentLevel> {
        let stat = fs::stat(&fd)?;
        Ok(DescentLevel { fd: Some(fd), ident: (stat.dev, stat.ino) })
    }
}

impl Descent {
    /// Stands in `top`.
    ///
    /// # Errors
    /// The directory can't be looked at.
    pub fn new(top: OwnedFd) -> io::Result<Descent> {
        Ok(Descent { levels: vec![DescentLevel::of(top)?] })
    }

    /// The current directory.
    pub fn here(&self) -> &OwnedFd {
        self.levels.last().and_then(|level| level.fd.as_ref()).expect("the current directory is open")
    }

    /// How many directories the current one lies below the first.
    #[cfg(test)]
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Goes into the directory `name`, not through a symlink.
    ///
    /// # Errors
    /// It can't be opened; then the current directory stays.
    pub fn enter(&mut self, name: &[u8]) -> io::Result<()> {
        self.levels.push(DescentLevel::of(fs::open_dir_at(self.here(), name)?)?);
        if let Some(far) = self.levels.len().checked_sub(KEPT + 2).and_then(|n| self.levels.get_mut(n)) {
            far.fd = None;
        }
        Ok(())
    }

    /// Goes up, and gives the directory that was left; `None` in the first one, which isn't left.
    ///
    /// # Errors
    /// ESTALE when the directory was moved elsewhere meanwhile.
    pub fn leave(&mut self) -> io::Result<Option<OwnedFd>> {
        let [.., above, here] = &mut self.levels[..] else { return Ok(None) };
        if above.fd.is_none() {
            let opened =
                DescentLevel::of(fs::open_dir_at(here.fd.as_ref().expect("the current directory is open"), b"..")?)?;
            if opened.ident != above.ident {
                return Err(io::Error::from_raw_os_error(libc::ESTALE));
            }
            above.fd = opened.fd;
        }
        Ok(self.levels.pop().and_then(|level| level.fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::path;

    #[test]
    fn a_way_of_any_depth_leads_down_and_back_with_few_descriptors() {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let mut way = Descent::new(path::open_dir(temp.path()).expect("opened")).expect("begun");
        let mut numbers = vec![fs::stat(way.here()).expect("there").ino];
        for _ in 0..20_000 {
            fs::mkdir_at(way.here(), b"d", 0o755).expect("made");
            way.enter(b"d").expect("entered");
            numbers.push(fs::stat(way.here()).expect("there").ino);
        }
        assert_eq!(way.depth(), 20_000);
        let open = way.levels.iter().filter(|level| level.fd.is_some()).count();
        assert!(open <= KEPT + 2, "{open} are open");
        while let Some(left) = way.leave().expect("left") {
            assert_eq!(numbers.pop(), Some(fs::stat(&left).expect("there").ino));
            assert_eq!(numbers.last().copied(), Some(fs::stat(way.here()).expect("there").ino));
        }
        assert_eq!(numbers.len(), 1);
        drop(way);
        path::remove_tree(&temp.path().join("d")).expect("removed");
        assert_eq!(path::list(temp.path()).expect("listed").len(), 0);
    }

    #[test]
    fn a_directory_that_is_moved_elsewhere_leads_back_to_nowhere_else() {
        let temp = tempfile::tempdir().expect("a directory");
        let deep = temp.path().join(vec!["d"; 100].join("/"));
        path::make_dirs(&deep).expect("made");
        let mut way = Descent::new(path::open_dir(temp.path()).expect("opened")).expect("begun");
        (0..100).for_each(|_| way.enter(b"d").expect("entered"));
        path::rename(&temp.path().join("d/d/d"), &temp.path().join("elsewhere")).expect("moved");
        let left = std::iter::from_fn(|| way.leave().transpose());
        let errno = left.filter_map(|left| left.err()).next().and_then(|e| e.raw_os_error());
        assert_eq!(errno, Some(libc::ESTALE));
    }

    #[test]
    fn no_symlink_is_followed() {
        let temp = tempfile::tempdir().expect("a directory");
        path::make_dir(&temp.path().join("d")).expect("made");
        std::os::unix::fs::symlink("d", temp.path().join("l")).expect("linked");
        let mut way = Descent::new(path::open_dir(temp.path()).expect("opened")).expect("begun");
        way.enter(b"l").expect_err("a symlink");
        assert_eq!(way.depth(), 0);
        way.enter(b"d").expect("a directory");
    }
}
