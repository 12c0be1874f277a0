//! The configuration of every session.

use fuser::{Config, SessionACL};

/// The configuration of every session of fuser's.
pub fn config() -> Config {
    let mut config = Config::default();
    // The kernel decides which users may use the mount: it has `allow_other`, and sends a request of another user only
    // for work in that user's name (a read of theirs may fill a page for ours).
    config.acl = SessionACL::All;
    config.n_threads = Some(1);
    config
}
