//! The session that a worker's thread runs.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::adapter::Adapter;
use super::config::config;
use super::worker::{ConnectionSource, Worker};
use crate::sys::fuse_dev::DescriptorSlot;

/// A session that is to be run by a thread.
pub type WorkerSession = fuser::Session<Adapter>;

/// A worker that is parked and called, with its session.
///
/// # Errors
/// There is no descriptor for its socket.
pub fn start(source: Arc<dyn ConnectionSource>) -> io::Result<(Arc<Worker>, WorkerSession)> {
    let (worker, near) = Worker::new(source)?;
    let config = config();
    let session = fuser::Session::from_fd(Adapter(worker.clone()), near, config.acl, config)?;
    worker.begun(DescriptorSlot::of(session.as_fd()), session.notifier())?;
    Ok((worker, session))
}
