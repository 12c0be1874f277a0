//! The configuration of every session.

use fuser::{Config, SessionACL};

/// What every session of fuser's has here.
pub fn config() -> Config {
    let mut config = Config::default();
    // Who may use the mount is the kernel's to say: it knows `allow_other`, and asks for other users' requests
    // only what it does in their name (a read of theirs may fill a page for ours).
    config.acl = SessionACL::All;
    config.n_threads = Some(1);
    config
}
