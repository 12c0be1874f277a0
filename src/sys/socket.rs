//! Unix sockets between two processes of ours: messages with descriptors in them (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

/// The most descriptors one message carries.
pub const MOST_FDS: usize = 4;
/// The longest message; the kernel's default send buffer (net.core.wmem_default) is a little over 200 KiB.
pub const LONGEST: usize = 160 * 1024;

/// Two connected ends that keep message boundaries.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::SEQPACKET)
}

/// Two connected ends of a byte stream.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::STREAM)
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// A file that is nowhere but in memory, for what is too long for a message: its descriptor is sent instead.
pub fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("depsfs message", MemfdFlags::CLOEXEC)?;
    super::fs::write_all(&file, bytes)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

/// The content of such a file, from its beginning.
pub fn read_memory_file(file: OwnedFd) -> io::Result<Vec<u8>> {
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)?;
    Ok(bytes)
}

/// Sends one message with descriptors (at most [`MOST_FDS`]); EPIPE when the other end is closed, never a signal.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in one message"));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Receives one message: the bytes read into `buf`, and the descriptors, closed on exec. 0 bytes: the other
/// end is closed.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buf)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    };
    let fds = control.drain().flat_map(|m| match m {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    Ok((message.bytes, fds.collect()))
}

/// Receives one short message without waiting for it; `None` when there is none.
pub fn receive_now(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::net::recv(socket, buf, RecvFlags::DONTWAIT) {
        Ok((n, _)) => Ok(Some(n)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_a_descriptor_of_the_same_file() {
        let (near, far) = packet_pair().expect("a socket pair");
        let (a, b) = packet_pair().expect("a socket pair");
        send(near.as_fd(), b"hello", &[a.as_fd()]).expect("sent");
        send(near.as_fd(), b"again", &[]).expect("sent");
        let mut buf = [0; 64];
        let (n, fds) = receive(far.as_fd(), &mut buf).expect("received");
        assert_eq!((&buf[..n], fds.len()), (&b"hello"[..], 1));
        send(fds[0].as_fd(), b"through", &[]).expect("sent");
        assert_eq!(receive(b.as_fd(), &mut buf).expect("received").0, 7);
        let (n, fds) = receive(far.as_fd(), &mut buf).expect("received");
        assert_eq!((&buf[..n], fds.len()), (&b"again"[..], 0));
        drop(near);
        assert_eq!(receive(far.as_fd(), &mut buf).expect("the end").0, 0);
    }
}
