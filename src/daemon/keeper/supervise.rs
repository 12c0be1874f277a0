//! Starting servers: the first, the one after a crash, and the one that only refuses.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::daemon::wire::{self, ConnectionId, Serve, ToServer};
use crate::sys::log::OrWarn;
use crate::sys::process::{self, Ask, ProcessId};
use crate::sys::{proc, reason, socket};

use super::Keeper;

/// A server that served for so long before it died has died of an accident.
const SERVED: Duration = Duration::from_millis(250);
/// What a death counts that follows at once on the server's beginning to serve, one before that, and what is too much:
/// so four servers that die before they serve are too many, or eight that do so right after.
const QUICK: Duration = SERVED;
const STILLBORN: Duration = Duration::from_millis(500);
const TOO_MUCH: Duration = Duration::from_secs(2);
/// However long they lived: so many in an hour are too many.
const IN_AN_HOUR: usize = 300;
const HOUR: Duration = Duration::from_secs(3600);

/// How long a killed server may wait in a system call for another file system.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// For so long, messages of the server are read before `daemon.json` is written.
const TURN: Duration = Duration::from_millis(50);

pub struct ServerProcess {
    pub pid: ProcessId,
    /// When it was started; see [`proc::started`].
    pub started: Option<u64>,
    pub socket: OwnedFd,
    /// Since when it serves every connection that it was told of.
    pub serving: Option<Instant>,
}

impl ServerProcess {
    fn start(keeper: &Keeper) -> io::Result<ServerProcess> {
        let (ours, theirs) = socket::packet_pair()?;
        let log = process::stderr();
        let pid = process::start_child(&keeper.program.path(), &[OsStr::new("server")], log, theirs.as_fd())?;
        let server = ServerProcess { pid, started: proc::started(pid), socket: ours, serving: None };
        let hello = ToServer::Hello { state_dir: keeper.state.path().to_path_buf(), protocol: wire::PROTOCOL };
        wire::send(server.socket.as_fd(), &hello, &[keeper.lock.as_fd()])?;
        Ok(server)
    }

    /// Ends it by closing its socket; kills it when that takes too long. Returns when it has closed its files, which
    /// keep the file systems of the store and the uppers in use.
    pub fn stop(self, limit: Duration) {
        drop(self.socket);
        let Ok(Some(watch)) = process::watch(self.pid) else { return };
        let has_ended = |limit| process::wait_any(&[watch.as_fd()], Some(limit)).is_ok_and(|awake| awake[0]);
        if !has_ended(limit) {
            if !limit.is_zero() {
                tracing::warn!("the server does not end; killed");
            }
            process::ask(self.pid, Ask::Kill).or_warn("the server cannot be killed");
            has_ended(KILLED_WITHIN);
        }
    }
}

/// How servers died lately, and whether that was too much.
///
/// One that dies again and again of what it is asked dies soon after it begins: the kernel sends it the same request
/// again. Deaths that come from outside (out of memory, a signal) come at any time.
#[derive(Default)]
pub struct Deaths {
    times: VecDeque<Instant>,
    haste: Duration,
    in_a_row: u32,
    /// Servers are started to refuse, not to serve.
    pub given_up: bool,
}

impl Deaths {
    /// Notes the death of one that served since then; `true` when it was the one too many.
    fn note(&mut self, now: Instant, serving: Option<Instant>) -> bool {
        self.times.retain(|t| now.duration_since(*t) < HOUR);
        self.times.push_back(now);
        let served = serving.map(|since| now.duration_since(since));
        self.in_a_row = if served.is_some_and(|served| served > SERVED) { 1 } else { self.in_a_row + 1 };
        self.haste = match served {
            None => self.haste + STILLBORN,
            Some(served) => (self.haste + QUICK).saturating_sub(served),
        };
        self.haste >= TOO_MUCH || self.times.len() >= IN_AN_HOUR
    }

    fn words(&self) -> String {
        match self.haste >= TOO_MUCH {
            true => format!("the server died {} times in a row", self.in_a_row),
            false => format!("the server died {} times in an hour", self.times.len()),
        }
    }
}

impl Keeper {
    /// Tells the server, started if there is none, to serve a connection.
    pub fn hand_over(&mut self, id: ConnectionId) {
        if let Err(e) = self.try_hand_over(id) {
            // A server that died just now is noticed by its SIGCHLD, and the next one is told of everything.
            tracing::error!("cannot tell the server of connection {id}: {e}");
            if self.server.is_none() {
                self.detach(&[id]);
                if let Some(connection) = self.connections.remove(&id) {
                    self.errors.insert(connection.view.id, format!("no server could be started: {}", reason(&e)));
                }
            }
        }
    }

    fn try_hand_over(&mut self, id: ConnectionId) -> io::Result<()> {
        self.start_server()?;
        let Some(server) = &self.server else { return Ok(()) };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.answered = false;
        let store = self.manifest.as_ref().map_or_else(PathBuf::new, |manifest| manifest.store.clone());
        let serve = Serve {
            connection: id,
            path: connection.path.clone(),
            device: connection.device_number,
            store,
            view: connection.view.clone(),
            generation: connection.generation,
            offer: connection.offer,
            refuse: self.deaths.given_up || connection.refused,
            exchange: connection.exchange,
            notes_passed: true,
            passes: connection.passes,
            passed: connection.passed.values().copied().collect(),
        };
        let fds = [connection.device.as_fd(), connection.upper.as_fd()];
        wire::send(server.socket.as_fd(), &ToServer::Serve(Box::new(serve)), &fds)
    }

    /// Asks the server for the grafts that a connection shall show. One that no server answers yet is asked about
    /// when it is ready; a server that dies meanwhile leaves the question to the next.
    pub fn ask_to_regraft(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.answered) else { return };
        let (Some((view, generation)), Some(server)) = (&connection.wanted, &self.server) else { return };
        let message = ToServer::Regraft { connection: id, view: Box::new(view.clone()), generation: *generation };
        if let Err(e) = wire::send(server.socket.as_fd(), &message, &[]) {
            tracing::error!("cannot ask the server to change grafts: {e}");
        }
    }

    /// Starts a server if there is none. Asked for early, it starts while views are being mounted.
    pub fn start_server(&mut self) -> io::Result<()> {
        if self.server.is_none() {
            self.server = Some(ServerProcess::start(self)?);
            self.servers += 1;
        }
        Ok(())
    }

    /// Reads everything that the server has said by now, or for a moment: then others have their turn.
    pub fn hear_all(&mut self, buf: &mut Vec<u8>) {
        let until = Instant::now() + TURN;
        loop {
            self.hear(buf);
            let Some(server) = &self.server else { return };
            let is_more = process::wait_any(&[server.socket.as_fd()], Some(Duration::ZERO));
            if !is_more.is_ok_and(|awake| awake[0]) || Instant::now() > until {
                return;
            }
        }
    }

    /// Reads what the server said. One that closed its socket is of no use any more.
    fn hear(&mut self, buf: &mut Vec<u8>) {
        let Some(server) = &self.server else { return };
        match wire::receive(server.socket.as_fd(), buf) {
            Ok(Some((message, _))) => self.heard(message),
            Ok(None) => self.bury_when_dead(),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!("a message of the server is not understood: {e}")
            }
            Err(e) => {
                tracing::error!("the server cannot be understood: {e}");
                self.bury_when_dead();
            }
        }
    }

    /// Makes sure that SIGCHLD comes, and stops listening to this server.
    fn bury_when_dead(&mut self) {
        if let Some(server) = &mut self.server {
            process::ask(server.pid, Ask::Kill).or_warn("the server cannot be killed");
            // An end that never speaks: the loop would wake for the closed one again and again.
            if let Ok((silent, _)) = socket::packet_pair() {
                server.socket = silent;
            }
        }
    }

    /// Starts another server when the one there was has ended.
    pub fn bury(&mut self) {
        for (pid, how) in process::reap() {
            if self.server.as_ref().is_none_or(|s| s.pid != pid) {
                continue;
            }
            self.drain_last_words();
            let serving = self.server.take().and_then(|server| server.serving);
            tracing::warn!("server {pid} ended: {how}");
            self.go_back();
            if self.deaths.note(Instant::now(), serving) && !self.deaths.given_up {
                self.deaths.given_up = true;
                let trouble = format!("{}, last by {how}", self.deaths.words());
                tracing::error!("{trouble}; the views answer EIO from now on");
                self.trouble = Some(trouble);
            }
            self.restart();
        }
    }

    /// What a server said before it died still holds.
    pub fn drain_last_words(&mut self) {
        let mut buf = Vec::new();
        while let Some(server) = &self.server {
            let waiting = process::wait_any(&[server.socket.as_fd()], Some(Duration::ZERO));
            if !waiting.is_ok_and(|awake| awake[0]) {
                return;
            }
            match wire::receive(server.socket.as_fd(), &mut buf) {
                Ok(Some((message, _))) => self.heard(message),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                _ => return,
            }
        }
    }

    /// A new server for every connection. One that no server has answered yet can't be taken over (its handshake is
    /// lost), and nobody waits for it yet: it is mounted anew.
    pub fn restart(&mut self) {
        let unanswered: Vec<_> =
            self.connections.iter().filter(|(_, c)| c.offer.is_none()).map(|(id, _)| *id).collect();
        if !unanswered.is_empty() {
            self.detach(&unanswered);
            unanswered.iter().for_each(|id| drop(self.connections.remove(id)));
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hand_over(id));
        if !unanswered.is_empty() && !self.deaths.given_up {
            self.ask_again();
        }
        self.publish();
    }

    /// Being asked to compare is the way out of having given up: the refusing server makes room for a serving one.
    pub fn recover(&mut self) {
        if !std::mem::take(&mut self.deaths.given_up) {
            return;
        }
        self.deaths = Deaths::default();
        if let Some(server) = self.server.take() {
            server.stop(Duration::ZERO);
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hand_over(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many deaths are too many, each of a server that served so long; `None`: a hundred are not.
    fn endured(served_ms: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let (mut deaths, mut now) = (Deaths::default(), Instant::now());
        (1..=100).find(|n| {
            let served = served_ms(*n).map(Duration::from_millis);
            let since = now;
            now += served.unwrap_or_default() + Duration::from_millis(50);
            deaths.note(since + served.unwrap_or_default(), served.map(|_| since))
        })
    }

    #[test]
    fn servers_that_die_as_soon_as_they_begin_are_too_many_and_a_hundred_killed_at_any_moment_are_not() {
        assert_eq!(endured(|_| None), Some(4));
        assert_eq!(endured(|_| Some(0)), Some(8));
        assert_eq!(endured(|_| Some(100)), Some(14));
        assert_eq!(endured(|_| Some(300)), None);
        assert_eq!(endured(|n| Some(n * 7919 % 1000)), None);
        assert_eq!(endured(|n| (n % 3 > 0).then_some(600)), None);
    }

    #[test]
    fn deaths_without_haste_are_too_many_in_an_hour_and_not_in_a_day() {
        let count = |every: u64| {
            let (mut deaths, start) = (Deaths::default(), Instant::now());
            let at = |n: u64| start + Duration::from_secs(n * every);
            (1..1000).find(|n| deaths.note(at(*n), Some(at(n - 1))))
        };
        assert_eq!((count(1), count(60)), (Some(300), None));
    }
}
