//! Starting servers: the first, the one after a crash, and the one that only refuses.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::daemon::wire::{self, ConnectionId, Serve, ToServer};
use crate::sys::log::OrWarn;
use crate::sys::process::{self, Ask};
use crate::sys::{proc, reason, socket};

use super::core::Keeper;
use super::crash_history::CrashHistory;
use super::server_process::ServerProcess;

/// For so long, messages of the server are read before `daemon.json` is written.
const TURN: Duration = Duration::from_millis(50);

impl Keeper {
    /// Tells the server, started if there is none, to serve a connection.
    pub fn hand_over(&mut self, id: ConnectionId) {
        if let Err(e) = self.try_hand_over(id) {
            // The death of a server just now arrives as SIGCHLD, and the next server gets the whole state.
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
            refuse: self.crashes.given_up || connection.refused,
            exchange: connection.exchange,
            notes_passed: true,
            passes: connection.passes,
            passed: connection.passed.values().copied().collect(),
        };
        let fds = [connection.device.as_fd(), connection.upper.as_fd()];
        wire::send(server.socket.as_fd(), &ToServer::Serve(Box::new(serve)), &fds)
    }

    /// Sends the server the grafts that a connection shall show. For one that no server answers yet, they are sent
    /// when it is ready; if a server dies meanwhile, the next one gets them.
    pub fn ask_to_regraft(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.answered) else { return };
        let (Some((view, generation)), Some(server)) = (&connection.wanted, &self.server) else { return };
        let message = ToServer::Regraft { connection: id, view: Box::new(view.clone()), generation: *generation };
        if let Err(e) = wire::send(server.socket.as_fd(), &message, &[]) {
            tracing::error!("cannot ask the server to change grafts: {e}");
        }
    }

    fn start_process(&self) -> io::Result<ServerProcess> {
        let (ours, theirs) = socket::packet_pair()?;
        let log = process::stderr();
        let pid = process::start_child(&self.program.path(), &[OsStr::new("server")], log, theirs.as_fd())?;
        let server = ServerProcess { pid, started: proc::started(pid), socket: ours, serving: None };
        let hello = ToServer::Hello { state_dir: self.state.path().to_path_buf(), protocol: wire::PROTOCOL };
        let fds: Vec<_> = self.requests.iter().map(|file| file.as_fd()).chain([self.lock.as_fd()]).collect();
        wire::send(server.socket.as_fd(), &hello, &fds)?;
        Ok(server)
    }

    /// Starts a server if there is none. Asked for early, it starts while views are being mounted.
    pub fn start_server(&mut self) -> io::Result<()> {
        if self.server.is_none() {
            self.server = Some(self.start_process()?);
            self.servers += 1;
        }
        Ok(())
    }

    /// Reads all messages that the server has sent by now, or for a moment: then others have their turn.
    pub fn receive_all(&mut self, buf: &mut Vec<u8>) {
        let until = Instant::now() + TURN;
        loop {
            self.receive(buf);
            let Some(server) = &self.server else { return };
            let is_more = process::wait_any(&[server.socket.as_fd()], Some(Duration::ZERO));
            if !is_more.is_ok_and(|awake| awake[0]) || Instant::now() > until {
                return;
            }
        }
    }

    /// Reads the server's messages. A server that closed its socket is of no use any more.
    fn receive(&mut self, buf: &mut Vec<u8>) {
        let Some(server) = &self.server else { return };
        match wire::receive(server.socket.as_fd(), buf) {
            Ok(Some((message, _))) => self.received(message),
            Ok(None) => self.kill_silent_server(),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => tracing::debug!("not understood: {e}"),
            Err(e) => {
                tracing::error!("the server cannot be understood: {e}");
                self.kill_silent_server();
            }
        }
    }

    /// Makes sure that SIGCHLD comes, and stops listening to this server.
    fn kill_silent_server(&mut self) {
        if let Some(server) = &mut self.server {
            server.process().signal(Ask::Kill).or_warn("the server cannot be killed");
            // An end that never speaks: the loop would wake for the closed one again and again.
            if let Ok((silent, _)) = socket::packet_pair() {
                server.socket = silent;
            }
        }
    }

    /// Starts another server when the one there was has ended.
    pub fn reap_server(&mut self) {
        for (pid, how) in process::reap() {
            if self.server.as_ref().is_none_or(|s| s.pid != pid) {
                continue;
            }
            self.drain_messages();
            let serving = self.server.take().and_then(|server| server.serving);
            tracing::warn!("server {pid} ended: {how}");
            self.go_back();
            if self.crashes.note(Instant::now(), serving) && !self.crashes.given_up {
                self.crashes.given_up = true;
                let trouble = format!("{}, last by {how}", self.crashes.words());
                tracing::error!("{trouble}; the views answer EIO from now on");
                self.trouble = Some(trouble);
            }
            self.restart();
        }
    }

    /// Reads the messages that a server sent before it died: they still hold.
    pub fn drain_messages(&mut self) {
        let mut buf = Vec::new();
        while let Some(server) = &self.server {
            let waiting = process::wait_any(&[server.socket.as_fd()], Some(Duration::ZERO));
            if !waiting.is_ok_and(|awake| awake[0]) {
                return;
            }
            match wire::receive(server.socket.as_fd(), &mut buf) {
                Ok(Some((message, _))) => self.received(message),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
                _ => return,
            }
        }
    }

    /// A new server for every connection. One that no server has answered yet can't be taken over (its handshake is
    /// lost), and no program waits for it yet: it is mounted anew.
    pub fn restart(&mut self) {
        let unanswered: Vec<_> =
            self.connections.iter().filter(|(_, c)| c.offer.is_none()).map(|(id, _)| *id).collect();
        if !unanswered.is_empty() {
            self.detach(&unanswered);
            unanswered.iter().for_each(|id| drop(self.connections.remove(id)));
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hand_over(id));
        if !unanswered.is_empty() && !self.crashes.given_up {
            self.ask_again();
        }
        self.publish();
    }

    /// A request to compare is the way out of having given up: the refusing server makes room for a serving one.
    pub fn recover(&mut self) {
        if !std::mem::take(&mut self.crashes.given_up) {
            return;
        }
        self.crashes = CrashHistory::default();
        if let Some(server) = self.server.take() {
            server.stop(Duration::ZERO);
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hand_over(id));
    }
}
