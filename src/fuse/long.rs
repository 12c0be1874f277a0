//! Requests that take long: answered from a thread of their own, while the view serves others.
//!
//! Mostly the first change of a shared file that is long to copy. The kernel holds the file's lock until it is answered,
//! so no other write to it overtakes. A server that dies meanwhile has not answered, and the next one is sent the request
//! again.

use std::thread;

use super::View;
use crate::overlay::{Ino, Overlay};

/// Has `change` make a change of a file's bytes, and answer: now, or from a thread when the file is long to copy.
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

/// Has `work` done, and its request answered, by a thread. Where none can be had, the request is answered with EIO by
/// being dropped.
pub fn apart(view: &View, work: impl FnOnce() + Send + 'static) {
    if let Err(e) = thread::Builder::new().name("long".into()).spawn(work) {
        tracing::error!(view = view.id, "no thread for a request that takes long: {e}");
    }
}
