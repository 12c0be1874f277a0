//! Changes of a shared file that is long to copy: answered from a thread of their own, while the view serves others.
//!
//! The kernel holds the file's lock until the change is answered, so no other write to it overtakes. A server that
//! dies meanwhile has not answered, and the next one is sent the request again.

use std::thread;

use super::View;
use crate::overlay::{Ino, Overlay};

/// Has `change` make a change of a file's bytes, and answer: now, or from a thread when the file is long to copy.
/// `data` is what it is given. Where no thread can be had, the request is answered with EIO by being dropped.
pub fn change(view: &View, ino: Ino, data: &[u8], change: impl FnOnce(&Overlay, &[u8]) + Send + 'static) {
    if !view.overlay.copies_long(ino) {
        return change(&view.overlay, data);
    }
    let (overlay, data) = (view.overlay.clone(), data.to_vec());
    let work = move || {
        // What failed here fails again in the change, and is answered there.
        let _ = overlay.copy_ahead(ino);
        change(&overlay, &data);
    };
    if let Err(e) = thread::Builder::new().name("copy-up".into()).spawn(work) {
        tracing::error!(view = view.id, "no thread to copy a file: {e}");
    }
}
