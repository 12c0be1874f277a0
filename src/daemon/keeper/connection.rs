//! One FUSE connection: what the keeper holds of it while servers come and go.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::fuse::{Exchange, Passed};
use crate::store::manifest::{Manifest, ViewSpec};
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::lock::Lock;
use crate::sys::mountinfo::MountTable;
use crate::sys::terminal::DisplayName;
use crate::sys::{IoError, fs, fuse_dev, mount, path as paths};

use crate::daemon::mounts;

/// A mounted view with its descriptors. It outlives servers, and is dropped when the kernel has ended the connection.
pub struct Connection {
    /// As it is served.
    pub view: ViewSpec,
    pub generation: u64,
    /// As it shall be served, once the server reports that it is.
    pub wanted: Option<(ViewSpec, u64)>,
    pub path: PathBuf,
    pub options: mount::Options,
    /// The view's upper: the plain directory underneath the mount, or one elsewhere.
    pub upper: OwnedFd,
    /// The upper's device and inode number.
    pub upper_id: (u64, u64),
    /// Keeps every other daemon from the upper; shared by connections on one, as a view has that was detached in use.
    pub alone: Option<Rc<Lock>>,
    /// `/dev/fuse`, connected.
    pub device: OwnedFd,
    /// `st_dev` of the mount, once the kernel's table was looked at.
    pub device_number: Option<(u32, u32)>,
    /// The kernel's offer; `None` until a server has answered it.
    pub offer: Option<KernelOffer>,
    /// The last exchange in it that a server announced.
    pub exchange: Option<Exchange>,
    /// From which size on files of the store are passed through, and how those are opened that were, by inode number.
    pub passes: Option<u64>,
    pub passed: BTreeMap<u64, Passed>,
    /// The server that there is now answers it.
    pub answered: bool,
    /// The identity of its overlay's state when it was first served
    /// ([`crate::daemon::state::StateDir::view_identity`]).
    pub identity: Option<(u64, u64, u64)>,
    /// Its overlay's state was deleted: it answers EIO to the programs that still have it open.
    pub refused: bool,
    /// It is mounted at its path. Otherwise it lives on for the programs that have it open.
    pub mounted: bool,
}

impl Connection {
    /// Opens the directory (made when missing), then mounts a new connection over it.
    ///
    /// # Errors
    /// Also if a daemon of another state directory uses the upper: neither would see the writes of the other.
    pub fn mount(manifest: &Manifest, view: &ViewSpec, uppers: &mut Uppers) -> Result<Connection, IoError> {
        let (worktree, options) = (&manifest.worktree, mounts::options(manifest, view));
        let path = mounts::place(worktree, view);
        let over = open_beneath(worktree, &view.path)?;
        let upper = open_upper(view, &over)?;
        let named = view.upper.as_ref().unwrap_or(&path);
        let upper_id = id(&upper).map_err(IoError::of("look at", named))?;
        let alone = match uppers.get(&upper_id) {
            Some(alone) => alone.clone(),
            None => lock(&upper).map_err(IoError::of("use", named))?.map(Rc::new),
        };
        uppers.insert(upper_id, alone.clone());
        let device = mount::mount(over.as_fd(), &path, &options).map_err(IoError::of("mount", &path))?;
        Ok(Connection {
            view: view.clone(),
            generation: manifest.generation,
            wanted: None,
            path,
            options,
            upper,
            upper_id,
            alone,
            device,
            device_number: None,
            offer: None,
            exchange: None,
            passes: None,
            passed: BTreeMap::new(),
            answered: false,
            identity: None,
            refused: false,
            mounted: true,
        })
    }

    /// Gives a detached connection its place back, if the directory underneath is still the same. `false`: it can't
    /// be had back (only root may mount a connection twice), a new one is needed.
    pub fn mount_again(&mut self, worktree: &Path) -> Result<bool, IoError> {
        let over = open_beneath(worktree, &self.view.path)?;
        let now = open_upper(&self.view, &over)?;
        let is_same = id(&now).is_ok_and(|now| now == self.upper_id);
        self.mounted = is_same && mount::attach(self.device.as_fd(), over.as_fd(), &self.options).is_ok();
        Ok(self.mounted)
    }

    /// Detaches it from its mount point, as the kernel's table has it. Programs that have it open go on.
    pub fn detach(&mut self, mounts: &MountTable) {
        if std::mem::take(&mut self.mounted)
            && let Some(place) = self.place(mounts)
            && let Err(e) = mounts::detach(mounts, place, self.device_number)
        {
            tracing::error!(view = self.view.id, "cannot detach {}: {e}", self.path.shown());
        }
    }
}

impl Connection {
    /// The path at which it is mounted ([`mounts::whereabouts`]). Once a connection has ended, the kernel gives its
    /// device number to the next mount: the table's entry for that number is then another mount's.
    pub fn place<'a>(&'a self, mounts: &'a MountTable) -> Option<&'a Path> {
        if self.is_alive() { mounts::whereabouts(mounts, &self.path, self.device_number) } else { None }
    }

    /// Whether it is mounted anywhere, or open: a connection ends with its last user.
    pub fn is_alive(&self) -> bool {
        fuse_dev::is_connected(self.device.as_fd())
    }
}

/// The locks of all uppers in use, by [`Connection::upper_id`].
pub type Uppers = HashMap<(u64, u64), Option<Rc<Lock>>>;

fn id(dir: &OwnedFd) -> io::Result<(u64, u64)> {
    fs::stat(dir).map(|stat| (stat.dev, stat.ino))
}

/// Locks an upper; `None` where directories can't be locked.
fn lock(upper: &OwnedFd) -> io::Result<Option<Lock>> {
    match fs::reopen(upper, fs::OpenFlags::RDONLY | fs::OpenFlags::DIRECTORY).and_then(Lock::try_exclusive) {
        Ok(None) => Err(io::Error::other("another daemon uses it as its upper")),
        Ok(held) => Ok(held),
        Err(_) => Ok(None),
    }
}

/// The view's upper, which is the directory that it is mounted over when none is named.
fn open_upper(view: &ViewSpec, over: &OwnedFd) -> Result<OwnedFd, IoError> {
    match &view.upper {
        Some(elsewhere) => paths::open_dir(elsewhere),
        None => over.try_clone().map_err(IoError::of("open", &view.path)),
    }
}

/// Opens the directory at `relative` beneath the worktree, making what is missing, through no symlink.
fn open_beneath(worktree: &Path, relative: &Path) -> Result<OwnedFd, IoError> {
    let path = worktree.join(relative);
    let mut dir = paths::open_dir(worktree)?;
    for component in relative.components() {
        let Component::Normal(name) = component else {
            return Err(IoError::of("open", &path)(io::ErrorKind::InvalidInput.into()));
        };
        let name = name.as_bytes();
        let opened = fs::open_dir_at(&dir, name).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => match fs::mkdir_at(&dir, name, 0o777) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                _ => fs::open_dir_at(&dir, name),
            },
            _ => Err(e),
        });
        dir = opened.map_err(IoError::of("open", &path))?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mountinfo::MountPoint;
    use crate::sys::socket;

    #[test]
    fn a_connection_that_has_ended_is_not_taken_for_the_view_that_has_its_device_number_now() {
        let (device, kernel) = socket::packet_pair().expect("a pair");
        let mut connection = Connection {
            view: ViewSpec::default(),
            generation: 1,
            wanted: None,
            path: "/one/node_modules".into(),
            options: mount::Options::default(),
            upper: device.try_clone().expect("ours"),
            upper_id: (0, 0),
            alone: None,
            device,
            device_number: Some((0, 7)),
            offer: None,
            exchange: None,
            passes: None,
            passed: BTreeMap::new(),
            answered: false,
            mounted: true,
            identity: None,
            refused: false,
        };
        let there =
            MountPoint { path: "/two/node_modules".into(), kind: mount::KIND.into(), device: (0, 7), user: None };
        let mounts = MountTable::new(vec![there]);
        assert_eq!(connection.place(&mounts), Some(Path::new("/two/node_modules")), "moved");
        drop(kernel);
        assert_eq!(connection.place(&mounts), None);
        connection.detach(&mounts);
        assert!(!connection.mounted);
    }
}
