//! A command's side of the fetcher: it is started, and trees are waited for as a whole.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::missing::TreeProgress;
use super::place::{FOLDER, SOCKET};
use crate::remote::source::TreeSource;
use crate::remote::{Completion, RemoteError};
use crate::store::{ObjectId, Progress, Store, TreeId, start_fetcher};
use crate::sys::log::OrWarn;
use crate::sys::{local_socket, reason, spawn};

/// A signal is noticed within this time.
const LOOK: Duration = Duration::from_millis(100);
/// A fetcher that was started listens within this time; then another one is started.
const STARTING: Duration = Duration::from_secs(3);
/// The number of fetchers that are started, one after another.
const ATTEMPTS: u32 = 5;

/// Has a fetcher bring what is missing of trees that complete themselves, if none runs. It is not waited for.
///
/// # Errors
/// No process can be started.
pub fn start(store: &Store) -> Result<(), RemoteError> {
    let mut is_needed = false;
    for tree in store.sources()? {
        let source = store.source(&tree)?.as_deref().and_then(TreeSource::parse);
        is_needed |= source.is_some_and(|source| source.completion == Completion::Always);
    }
    if !is_needed || local_socket::connect(&store.path().join(FOLDER), SOCKET).is_ok() {
        return Ok(());
    }
    start_fetcher(store.path()).map_err(|e| no_fetcher(&e))
}

fn no_fetcher(e: &io::Error) -> RemoteError {
    RemoteError::Unfetched { why: format!("no fetcher answers: {}", reason(e)) }
}

/// Waits until all objects of some trees are here.
///
/// # Errors
/// A remote does not answer, or has none of them; a signal came.
pub fn complete(store: &Store, trees: &[TreeId], progress: &dyn Progress) -> Result<(), RemoteError> {
    let mut waiting = HashMap::new();
    for id in trees {
        let of = TreeProgress::of(store, &*store.tree(*id)?)?;
        if !of.missing.is_empty() {
            let request = format!("complete {} {}\n", waiting.len(), id.hex());
            waiting.insert(waiting.len() as u64, AwaitedContent { request, here: of.here, all: of.all });
        }
    }
    wait(store, waiting, progress)
}

/// Waits until some objects, each with its size, are here.
///
/// # Errors
/// As of [`complete`].
pub fn bring(store: &Store, objects: &[(ObjectId, u64)], progress: &dyn Progress) -> Result<(), RemoteError> {
    let need = |(n, (id, size)): (usize, &(ObjectId, u64))| {
        (n as u64, AwaitedContent { request: format!("need {n} {}\n", id.hex()), here: 0, all: *size })
    };
    wait(store, objects.iter().enumerate().map(need).collect(), progress)
}

fn wait(store: &Store, mut waiting: HashMap<u64, AwaitedContent>, progress: &dyn Progress) -> Result<(), RemoteError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let all = waiting.values().fold(0u64, |all, of| all.saturating_add(of.all.saturating_sub(of.here)));
    progress.begin("fetching contents from the remote", Some(all));
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        if ask(&connect(store)?, &mut waiting, progress, &mut failed)? {
            return failed.map_or(Ok(()), |why| Err(RemoteError::Unfetched { why }));
        }
        // It ended before it answered.
    }
    Err(no_fetcher(&io::ErrorKind::ConnectionReset.into()))
}

/// A tree or an object that is waited for, by its request, and how much of it is here.
struct AwaitedContent {
    request: String,
    here: u64,
    all: u64,
}

/// Sends the requests and takes the answers; whether all came.
fn ask(
    mut stream: &UnixStream,
    waiting: &mut HashMap<u64, AwaitedContent>,
    progress: &dyn Progress,
    failed: &mut Option<String>,
) -> Result<bool, RemoteError> {
    let sender = stream.try_clone().map_err(|e| no_fetcher(&e))?;
    let lines: String = waiting.values().map(|of| of.request.as_str()).collect();
    // Many requests are sent while their answers are read: neither side waits for the other.
    spawn::detached(move || {
        (&sender).write_all(lines.as_bytes()).or_debug("the fetcher ended");
    });
    if stream.set_read_timeout(Some(LOOK)).is_err() {
        return Ok(false);
    }
    let (mut bytes, mut buf) = (Vec::new(), [0; 4096]);
    while !waiting.is_empty() {
        if progress.is_cancelled() {
            return Err(RemoteError::Interrupted);
        }
        match stream.read(&mut buf) {
            Ok(n @ 1..) => bytes.extend_from_slice(&buf[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => return Ok(false),
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            take(&String::from_utf8_lossy(&line[..end]), waiting, progress, failed);
        }
    }
    Ok(true)
}

fn take(line: &str, waiting: &mut HashMap<u64, AwaitedContent>, progress: &dyn Progress, failed: &mut Option<String>) {
    let mut words = line.splitn(3, ' ');
    let (kind, number) = (words.next(), words.next().and_then(|n| n.parse::<u64>().ok()));
    let Some((number, tree)) = number.and_then(|n| Some((n, waiting.get_mut(&n)?))) else { return };
    let rest = words.next().unwrap_or_default();
    let here = match kind {
        Some("progress") => rest.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(tree.here),
        Some("here") => tree.all,
        _ => tree.here,
    };
    progress.advance(here.saturating_sub(tree.here));
    tree.here = here.max(tree.here);
    if kind == Some("absent") {
        failed.get_or_insert_with(|| rest.to_owned());
    }
    if matches!(kind, Some("here" | "absent")) {
        waiting.remove(&number);
    }
}

/// A connection to the fetcher, which is started if none runs.
fn connect(store: &Store) -> Result<UnixStream, RemoteError> {
    let at = store.path().join(FOLDER);
    let (mut started, until): (Option<Instant>, _) = (None, Instant::now() + STARTING * ATTEMPTS);
    loop {
        match local_socket::connect(&at, SOCKET) {
            Ok(stream) => return Ok(stream),
            Err(e) if Instant::now() > until => return Err(no_fetcher(&e)),
            Err(_) if started.is_none_or(|at| at.elapsed() > STARTING) => {
                started = Some(Instant::now());
                start_fetcher(store.path()).map_err(|e| no_fetcher(&e))?;
            }
            Err(_) => std::thread::sleep(LOOK / 4),
        }
    }
}
