//! Sockets in a directory, for processes of one user on one machine. A name may lie deeper than a socket's address is long.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::path as paths;

/// Listens at a name of a directory; a socket that is left there from before is replaced.
///
/// # Errors
/// The directory cannot be opened, or the name not be made.
pub fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let dir = paths::open_dir(dir).map_err(|e| e.source)?;
    match super::fs::unlink_at(&dir, name.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    UnixListener::bind(address(&dir, name))
}

/// Connects to the socket of this name in a directory.
///
/// # Errors
/// Nothing listens there.
pub fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let dir = paths::open_dir(dir).map_err(|e| e.source)?;
    UnixStream::connect(address(&dir, name))
}

/// Short, however long the path of the directory is.
fn address(dir: &OwnedFd, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())
}

/// The user of the process at the other end, as it was when that connected.
///
/// # Errors
/// As getsockopt(2).
pub fn user_of(stream: &UnixStream) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream.as_fd())?.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_socket_in_a_deep_directory_is_connected_to_and_knows_its_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("made");
        drop(listen(&deep, "s").expect("listens"));
        assert!(connect(&deep, "s").is_err());
        let listener = listen(&deep, "s").expect("listens again");
        let mut near = connect(&deep, "s").expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        assert_eq!(user_of(&far).expect("known"), super::super::process::user());
        near.write_all(b"hello").expect("sent");
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).expect("received");
        assert_eq!(&bytes, b"hello");
    }
}
