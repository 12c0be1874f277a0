//! The request for an absent object: a client of the fetcher, the one process of a store that brings objects.
//!
//! The fetcher listens on the Unix stream socket `fetcher/socket` of the store; the directory `fetcher` is 0700. Both
//! sides send lines of ASCII that end with a newline:
//!
//! | direction      | line                  | meaning                                                             |
//! |----------------|-----------------------|---------------------------------------------------------------------|
//! | to the fetcher | `need <n> <64 hex>`   | the object with this name is wanted now; `n` is the client's number for the request |
//! | to the client  | `here <n>`            | the object is in the store: its bytes were compared with its name, and are on disk |
//! | to the client  | `wait <n> <ms>`       | before the answer: it comes within this time                        |
//! | to the client  | `absent <n> <reason>` | it cannot be had; the reason goes to the end of the line, and may be foreign text |
//!
//! Numbers are decimal and at most 2⁶⁴-1. A connection carries many requests, and their answers come in any order. The fetcher answers each
//! request once, or closes the connection, after which the client sends it again. A client that closes the connection
//! takes its requests back. A line of another form, or of more than 4096 bytes, ends the connection.
//!
//! If nobody listens, the client starts `depsfs fetcher --store PATH`, with its output in `fetcher/log`. Which of
//! several fetchers goes on is decided by their own lock; the others end.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::ObjectId;
use super::escape::escape;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::{local_socket, path as paths, process, reason, socket};

/// The directory of the socket, in a store.
pub const FETCHER_DIR: &str = "fetcher";
/// The socket's name there.
pub const SOCKET: &str = "socket";
/// The longest line, its newline included.
pub const LONGEST_LINE: usize = 4096;
/// The time between two looks whether the caller was interrupted.
const LOOK: Duration = Duration::from_millis(50);
/// A fetcher that was started has so long until it listens; then another one is started.
const STARTING: Duration = Duration::from_secs(3);
/// An answer is waited for so much longer than the fetcher has announced, at most [`LONGEST_WAIT`] in all.
const GRACE: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);
/// The number of the only request of a connection.
const NUMBER: &str = "1";

/// Why an object that was demanded did not come.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The fetcher's reason, escaped.
    #[error("{0}")]
    Refused(String),
    #[error("no answer within {} s", .0.as_secs_f32().round())]
    Late(Duration),
    #[error("no fetcher answers: {}", reason(.0))]
    NoFetcher(io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Waits until an absent object is here, at most until a time, or for as long as a fetcher announces. `store` is
/// absolute. `is_interrupted` is called several times a second; `true` from it ends the waiting.
///
/// # Errors
/// The object did not come.
pub fn demand(
    store: &Path,
    id: &ObjectId,
    until: Instant,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(), Unanswered> {
    let began = Instant::now();
    let limit = Cell::new(until);
    let mut started: Option<Instant> = None;
    let mut last = None;
    loop {
        let check = || match () {
            () if is_interrupted() => Err(Unanswered::Interrupted),
            () if Instant::now() >= limit.get() => Err(Unanswered::Late(limit.get() - began)),
            () => Ok(()),
        };
        match check() {
            // Why nobody listened says more than that the time is over.
            Err(Unanswered::Late(waited)) => {
                return Err(last.take().map_or(Unanswered::Late(waited), Unanswered::NoFetcher));
            }
            checked => checked?,
        }
        match local_socket::connect(&store.join(FETCHER_DIR), SOCKET) {
            Ok(connection) => match ask(&connection.into(), id, &limit, &check)? {
                Some(answer) => return answer,
                // It ended before it answered.
                None => {
                    limit.set(until);
                    last = Some(io::ErrorKind::ConnectionReset.into());
                }
            },
            Err(e) => {
                if started.is_none_or(|at| at.elapsed() > STARTING) {
                    started = Some(Instant::now());
                    start_fetcher(store).or_debug("no fetcher was started");
                }
                last = Some(e);
            }
        }
        std::thread::sleep(LOOK.min(limit.get().saturating_duration_since(Instant::now())));
    }
}

/// The answer to the request for one object; nothing if the connection ended before it.
fn ask(
    connection: &OwnedFd,
    id: &ObjectId,
    limit: &Cell<Instant>,
    check: &dyn Fn() -> Result<(), Unanswered>,
) -> Result<Option<Result<(), Unanswered>>, Unanswered> {
    let line = format!("need {NUMBER} {}\n", id.hex());
    if socket::send(connection.as_fd(), line.as_bytes(), &[]).is_err() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut buf = [0; LONGEST_LINE];
    loop {
        check()?;
        if !process::wait_any(&[connection.as_fd()], Some(LOOK)).is_ok_and(|readable| readable.contains(&true)) {
            continue;
        }
        match socket::receive_now(connection.as_fd(), &mut buf) {
            Ok(Some(n @ 1..)) => bytes.extend_from_slice(&buf[..n]),
            Ok(None) => continue,
            Ok(Some(0)) | Err(_) => return Ok(None),
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            match answer(&line[..end]) {
                Some(FetcherReply::Answer(answer)) => return Ok(Some(answer)),
                Some(FetcherReply::Within(wait)) => limit.set(Instant::now() + wait.min(LONGEST_WAIT) + GRACE),
                None => {}
            }
        }
        if bytes.len() > LONGEST_LINE {
            return Ok(None);
        }
    }
}

/// A line of the fetcher about the request.
enum FetcherReply {
    Answer(Result<(), Unanswered>),
    /// The answer comes within this time.
    Within(Duration),
}

/// The meaning of a line; nothing if it is about another request.
fn answer(line: &[u8]) -> Option<FetcherReply> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (kind, number) = (words.next()?, words.next()?);
    match kind {
        _ if number != NUMBER.as_bytes() => None,
        b"here" => Some(FetcherReply::Answer(Ok(()))),
        b"absent" => {
            let why = escape(words.next().unwrap_or_default());
            Some(FetcherReply::Answer(Err(Unanswered::Refused(why))))
        }
        b"wait" => {
            let ms = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
            Some(FetcherReply::Within(Duration::from_millis(ms)))
        }
        _ => None,
    }
}

/// Starts a fetcher, which outlives the caller. `store` is absolute.
///
/// # Errors
/// No process can be started.
pub fn start_fetcher(store: &Path) -> io::Result<()> {
    let dir = store.join(FETCHER_DIR);
    paths::make_private_dir(&dir).map_err(|e| e.source)?;
    let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::APPEND | OpenFlags::NOFOLLOW;
    let log = fs::open_path(&dir.join("log"), flags, 0o600)?;
    let args = [OsStr::new("fetcher"), OsStr::new("--store"), store.as_os_str()];
    process::start_apart(Path::new("/proc/self/exe"), &args, log.as_fd(), log.as_fd())
}
