//! The messages of keeper and server: one JSON text per packet, with descriptors beside it. A text that is too
//! long for a packet is in a file, whose descriptor comes first; the packet is then [`IN_FILE`].
//!
//! Keeper and server may be of different versions: an upgrade replaces the server first. Fields and messages may be
//! added, with a default; none may change its meaning without another [`PROTOCOL`]. The messages of earlier
//! keepers stay readable: `tests/formats/wire-1.jsonl`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fuse::{Exchange, Passed};
use crate::store::escape;
use crate::store::manifest::ViewSpec;
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::socket;

const IN_FILE: &[u8] = b"F";

/// The protocol of this program's keeper, and the oldest that its servers understand. 2: the keeper may hold
/// connections that pass files through, which older servers can't serve.
pub const PROTOCOL: u32 = 2;
const OLDEST: u32 = 1;

/// The version in which one keeper leaves what it holds to the next (`keeper/handover.rs`). 0: of before there was any.
pub const HANDOVER: u32 = 1;

/// Whether servers of this program can serve for a keeper; 0 is a keeper that sends no protocol, which is the first.
pub fn understands(protocol: u32) -> bool {
    (OLDEST..=PROTOCOL).contains(&protocol.max(1))
}

/// Numbers one FUSE connection for as long as the keeper lives; a view that is mounted again has another.
pub type ConnectionId = u64;

/// A message of the keeper to its server, as JSON. Fields that a later version adds have a default: the two may be of
/// different builds.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// Comes first, with the daemon's lock: a server whose keeper died holds it until it has ended. Before the lock, where
    /// the kernel does not send requests again, the memory into which requests are read.
    Hello {
        #[serde(with = "escape::path")]
        state_dir: PathBuf,
        #[serde(default)]
        protocol: u32,
    },
    /// Comes with two descriptors: the FUSE device, and the directory underneath the mount.
    Serve(Box<Serve>),
    /// Another server will take over: end, with no change half made.
    Leave,
    /// A view that is served shows other grafts from now on.
    Regraft { connection: ConnectionId, view: Box<ViewSpec>, generation: u64 },
}

/// A connection that the server shall serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    pub connection: ConnectionId,
    /// The path at which it is mounted.
    #[serde(with = "escape::path")]
    pub path: PathBuf,
    pub device: Option<(u32, u32)>,
    #[serde(with = "escape::path")]
    pub store: PathBuf,
    pub view: ViewSpec,
    pub generation: u64,
    /// The kernel's offer to an earlier server of this connection.
    pub offer: Option<KernelOffer>,
    /// Answer everything with EIO.
    pub refuse: bool,
    /// The last exchange that an earlier server announced.
    #[serde(default)]
    pub exchange: Option<Exchange>,
    /// Whether this keeper notes what is passed through: a view whose keeper doesn't has zero-message opens.
    #[serde(default)]
    pub notes_passed: bool,
    /// From which size on the first server of this connection passed files of the store through.
    #[serde(default)]
    pub passes: Option<u64>,
    /// How they are opened from now on.
    #[serde(default)]
    pub passed: Vec<Passed>,
}

/// A message of a server to its keeper, as JSON; see [`ToServer`].
#[derive(Debug, Serialize, Deserialize)]
pub enum FromServer {
    /// It answers. `offer` is for the next server.
    Ready {
        connection: ConnectionId,
        offer: KernelOffer,
        #[serde(default)]
        version: String,
        #[serde(default)]
        passes: Option<u64>,
        /// Which handover of keepers this program understands.
        #[serde(default)]
        handover: u32,
    },
    /// It can't be served; the words are for people.
    Failed { connection: ConnectionId, why: String },
    /// The view shows the other grafts, and the kernel has forgotten what was different; or in words why not.
    Regrafted { connection: ConnectionId, error: Option<String> },
    /// It is about to exchange two names. A later server has to know, for a request that is sent again.
    Exchanging { connection: ConnectionId, exchange: Exchange },
    /// A file of the store is about to be opened in another way than before. A later server has to know.
    Passed { connection: ConnectionId, passed: Passed },
    /// The user deleted the last name in it, so it was detached.
    Dropped { connection: ConnectionId },
    /// Unmounted, and no process has it open any more.
    Ended { connection: ConnectionId },
}

/// Sends one message, with at most three descriptors: a message that is too long for the socket takes a fourth, of a
/// file. It waits while the socket is full; EPIPE if the other process is gone.
pub fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() <= socket::LONGEST {
        return socket::send(socket, &bytes, fds);
    }
    let file = socket::memory_file(&bytes)?;
    let mut with_file = vec![file.as_fd()];
    with_file.extend(fds);
    socket::send(socket, IN_FILE, &with_file)
}

/// The next message; `None` when the other process is gone. One that can't be understood is an error of the kind
/// `InvalidData`, and others may follow it.
pub fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    buf.resize(socket::LONGEST, 0);
    let (n, mut fds) = match socket::receive(socket, buf) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        received => received?,
    };
    let message = match &buf[..n] {
        [] => return Ok(None),
        IN_FILE if !fds.is_empty() => serde_json::from_slice(&socket::read_memory_file(fds.remove(0))?),
        text => serde_json::from_slice(text),
    };
    // As sent by a process of a later version, with more fields.
    let message = message.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some((message, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line for each message, as protocol 1 has said it from the first: keepers live long.
    const SAID: &str = include_str!("../../tests/formats/wire-1.jsonl");

    #[test]
    fn what_the_first_keepers_say_is_understood_and_what_they_understand_is_said() {
        let lines: Vec<&str> = SAID.lines().collect();
        let (keepers, servers) = lines.split_at(6);
        for line in keepers {
            serde_json::from_str::<ToServer>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        let Ok(ToServer::Serve(serve)) = serde_json::from_str(keepers[1]) else { panic!("{}", keepers[1]) };
        assert!((serve.connection, serve.generation, serve.refuse) == (3, 4, false) && serve.exchange.is_none());
        let Ok(ToServer::Hello { protocol, .. }) = serde_json::from_str(keepers[0]) else { panic!("{}", keepers[0]) };
        assert!(protocol == 0 && understands(0) && understands(PROTOCOL) && !understands(PROTOCOL + 1));
        let offer = KernelOffer { major: 7, minor: 44, max_readahead: 131_072, capabilities: 5 };
        let connection = 3;
        let said = [
            FromServer::Ready { connection, offer, version: "0.1.0".into(), passes: None, handover: 0 },
            FromServer::Failed { connection, why: "why".into() },
            FromServer::Regrafted { connection, error: None },
            FromServer::Dropped { connection },
            FromServer::Ended { connection },
        ];
        for (said, line) in said.iter().zip(servers) {
            // Fields may be added; keepers skip those that they don't know.
            let (said, line) = (serde_json::to_value(said).expect("JSON"), serde_json::from_str(line).expect("JSON"));
            assert!(holds(&said, &line), "{line} isn't in {said}");
        }
        assert_eq!(servers.len(), said.len());
    }

    fn holds(said: &serde_json::Value, known: &serde_json::Value) -> bool {
        match (said, known) {
            (serde_json::Value::Object(said), serde_json::Value::Object(known)) => {
                known.iter().all(|(key, value)| said.get(key).is_some_and(|said| holds(said, value)))
            }
            _ => said == known,
        }
    }

    #[test]
    fn what_a_later_version_says_is_told_from_the_end_and_what_follows_is_heard() {
        let (near, far) = socket::packet_pair().expect("a pair");
        let mut buf = Vec::new();
        send(near.as_fd(), &"Sing", &[]).expect("sent");
        send(near.as_fd(), &ToServer::Leave, &[]).expect("sent");
        let strange = receive::<ToServer>(far.as_fd(), &mut buf).expect_err("unknown");
        assert_eq!(strange.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(receive(far.as_fd(), &mut buf), Ok(Some((ToServer::Leave, _)))));
        drop(near);
        assert!(receive::<ToServer>(far.as_fd(), &mut buf).expect("the end").is_none());
    }
    use crate::store::TreeId;
    use crate::store::manifest::Graft;

    #[test]
    fn a_view_of_thousands_of_grafts_arrives_whole_with_its_descriptors() {
        let graft = |n: usize| Graft {
            at: format!("packages/number-{n}/node_modules").into(),
            tree: TreeId([7; 32]),
            entry: None,
            origin: "a test".into(),
            retired: false,
        };
        let view = Box::new(ViewSpec { grafts: (0..5000).map(graft).collect(), ..ViewSpec::default() });
        let (near, far) = socket::packet_pair().expect("a pair");
        let mut buf = Vec::new();
        for grafts in [5000, 1] {
            let view = Box::new(ViewSpec { grafts: view.grafts[..grafts].to_vec(), ..ViewSpec::default() });
            let message = ToServer::Regraft { connection: 3, view: view.clone(), generation: 4 };
            send(near.as_fd(), &message, &[near.as_fd(), far.as_fd()]).expect("sent");
            let (came, fds) = receive::<ToServer>(far.as_fd(), &mut buf).expect("understood").expect("there");
            let ToServer::Regraft { view: came, .. } = came else { panic!("{came:?}") };
            assert_eq!((*came, fds.len()), (*view, 2));
        }
    }
}
