//! Requests that take long: answered by the blocking pool, while the view serves others.
//!
//! Mostly the first change of a shared file that is long to copy. The kernel holds the file's lock until it is answered,
//! so no other write to it overtakes. A server that dies meanwhile has not answered, and the next one is sent the request
//! again. And what waits for the disk: a sync covers all that was answered before it was asked for, and what is asked for
//! after it need not wait.

use fuser::ReplyEmpty;

use super::View;
use super::reply::empty;
use crate::overlay::{Ino, Overlay};

/// Has `change` make a change of a file's bytes, and answer: now, or from the pool when the file is long to copy.
/// `data` is what it is given.
pub fn change(view: &View, ino: Ino, data: &[u8], change: impl FnOnce(&Overlay, &[u8]) + Send + 'static) {
    if !view.overlay.copies_long(ino) {
        return change(&view.overlay, data);
    }
    let (overlay, data) = (view.overlay.clone(), data.to_vec());
    apart(view, move || {
        // What failed here fails again in the change, and is answered there.
        let _ = overlay.copy_ahead(ino);
        change(&overlay, &data);
    });
}

/// Answers `fsync` and `fsyncdir`.
pub fn sync(view: &View, ino: Ino, data_only: bool, reply: ReplyEmpty) {
    match view.overlay.to_sync(ino, data_only) {
        Ok(Some(sync)) => apart(view, move || empty(sync.wait(), reply)),
        done => empty(done.map(drop), reply),
    }
}

/// Has `work` done, and its request answered, by the pool.
pub fn apart(view: &View, work: impl FnOnce() + Send + 'static) {
    view.blocking.spawn(work);
}
