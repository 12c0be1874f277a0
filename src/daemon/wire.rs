//! What keeper and server say to each other: one JSON text per packet, with descriptors beside it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::escape;
use crate::store::manifest::ViewSpec;
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::socket;

/// Numbers one FUSE connection for as long as the keeper lives; a view that is mounted again has another.
pub type ConnectionId = u64;

#[derive(Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// Comes first, with the daemon's lock: a server whose keeper died holds it until it has ended.
    Hello {
        #[serde(with = "escape::path")]
        state_dir: PathBuf,
    },
    /// Comes with two descriptors: the FUSE device, and the directory underneath the mount.
    Serve(Box<Serve>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    pub connection: ConnectionId,
    /// Where it is mounted.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    pub device: Option<(u32, u32)>,
    #[serde(with = "escape::path")]
    pub store: PathBuf,
    pub view: ViewSpec,
    pub generation: u64,
    /// What the kernel offered to an earlier server of this connection.
    pub offer: Option<KernelOffer>,
    /// Answer everything with EIO.
    pub refuse: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromServer {
    /// It answers. `offer` is for the next server.
    Ready { connection: ConnectionId, offer: KernelOffer },
    /// It can't be served; the words are for people.
    Failed { connection: ConnectionId, why: String },
    /// The user deleted the last name in it, so it was detached.
    Dropped { connection: ConnectionId },
    /// Unmounted, and nobody has it open any more.
    Ended { connection: ConnectionId },
}

pub fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() > socket::LONGEST {
        return Err(io::Error::other("the view has too many grafts for one message"));
    }
    socket::send(socket, &bytes, fds)
}

/// The next message; `None` when the other process is gone.
pub fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    buf.resize(socket::LONGEST, 0);
    let (n, fds) = match socket::receive(socket, buf) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        received => received?,
    };
    if n == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buf[..n]).map_err(io::Error::other)?, fds)))
}
