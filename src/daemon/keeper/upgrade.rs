//! Another build's server takes the place of the one that runs; programs that use the views notice a pause.
//!
//! | step                                    | a crash right after it leaves                               |
//! |-----------------------------------------|-------------------------------------------------------------|
//! | 1. the server ends what it has begun    | no server: the keeper starts another                        |
//! | 2. the other build's server is started  | the same; one that dies before it serves, the former again  |

use std::os::fd::AsFd;
use std::time::Duration;

use crate::daemon::wire::{self, ToServer};
use crate::sys::log::OrWarn;
use crate::sys::process::{self, Ask};

use super::core::Keeper;

/// How long a server may take for what it has begun.
const PATIENCE: Duration = Duration::from_secs(5);

impl Keeper {
    /// Goes over to the program of the client that sent the request, if that is another one.
    pub fn upgrade(&mut self) {
        let Some(program) = self.offered.take().filter(|p| p.build() != self.program.build()) else { return };
        tracing::info!("servers are of another build from now on");
        let was_serving = self.server.is_some();
        self.dismiss();
        self.former = Some(std::mem::replace(&mut self.program, program));
        self.follows = Some(0);
        if !was_serving {
            return;
        }
        if let Err(e) = self.start_server() {
            tracing::error!("the other build's server could not be started: {e}");
            self.go_back();
        }
        self.restart();
    }

    /// A program that has not served yet is given up for the former one.
    pub fn go_back(&mut self) {
        if let Some(former) = self.former.take() {
            let why = "the server of another build ended before it served; the former build goes on";
            tracing::error!("{why}");
            self.trouble = Some(why.into());
            self.program = former;
            self.follows = None;
        }
    }

    /// Ends the server, between two changes if it can.
    pub fn dismiss(&mut self) {
        let Some(server) = &self.server else { return };
        let process = server.process();
        let asked = wire::send(server.socket.as_fd(), &ToServer::Leave, &[]).is_ok();
        let limit = if asked { PATIENCE } else { Duration::ZERO };
        let has_ended = |limit| match process.watch() {
            Ok(Some(end)) => process::wait_any(&[end.as_fd()], Some(limit)).is_ok_and(|awake| awake[0]),
            Ok(None) => true,
            Err(_) => false,
        };
        if !has_ended(limit) {
            tracing::warn!("the server does not leave; killed");
            process.signal(Ask::Kill).or_warn("the server cannot be killed");
            has_ended(PATIENCE);
        }
        self.drain_messages();
        self.server = None;
        process::reap();
    }
}
