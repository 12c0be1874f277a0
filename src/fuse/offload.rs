//! Requests that take long, or need a disk: answered by the blocking pool, while the view serves others.
//!
//! | request                                  | leaves the view's thread when                  | order                        |
//! |------------------------------------------|------------------------------------------------|------------------------------|
//! | `read`                                   | its bytes, or its object's name, are not in memory, or its object is absent | the kernel has the pages locked: no write to them overtakes |
//! | `write`, `fallocate`, `copy_file_range`  | the file is to be copied first, and that is long or its object not in memory; a copy is to be settled; much is copied | the kernel holds the file's lock: no other change of it overtakes |
//! | `setattr` with a size                    | the object of the file is not at hand          | the kernel holds the file's lock |
//! | `mknod`, `mkdir`, `symlink`, `link`, `rename` | records, or the bytes of a file that takes a lower name, have to be on the disk first | the kernel holds the lock of the directory: no other change of its names overtakes |
//! | `fsync`, `fsyncdir`                      | always                                         | covers what was answered before it was sent; what comes after it need not wait |
//!
//! A request that needs an absent object goes on from there to the threads that wait for remotes ([`super::arrivals`]), and
//! is carried out when the object is here, or is not to be had in time: then it fails (EIO).
//!
//! A server that dies meanwhile has not answered, and the next one is sent the request again.
//!
//! fuser's replies go to the present connection of the worker's session, so a later answer is written without them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use fuser::{Errno, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, Request};

use super::attr::{attr_out, caller, entry_out};
use super::errno::{RequestOutcome, to_errno};
use super::reply::{attributes, empty, entry, written};
use super::resend::IsResend;
use super::retained::KeptRequest;
use super::worker::{Answering, Pending};
use super::{Passthrough, ServedView};
use crate::overlay::{Attr, AwaitedObject, Caller, Ino, Overlay, OverlayError, ReadRange, SetAttr};
use crate::store::Name;
use crate::sys::fs::RenameFlags;
use crate::sys::fuse_dev;
use crate::sys::log::OrWarn;

/// A reply that can be given later: nothing, how many bytes, or the file at a name.
pub trait Reply {
    type Done;

    fn give(self, on: &Answering<'_>, done: Result<Self::Done, OverlayError>);
    /// Gives an answer that is discarded.
    fn give_up(self);
    /// The bytes of the answer, and the number of bytes that it says were written.
    fn body(view: &ViewParts, done: &Self::Done) -> (Vec<u8>, usize);
}

/// The parts of a view that a later answer needs.
pub struct ViewParts {
    overlay: Arc<Overlay>,
    passthrough: Arc<Passthrough>,
}

impl Reply for ReplyEmpty {
    type Done = usize;

    fn give(self, on: &Answering<'_>, done: Result<usize, OverlayError>) {
        empty(on, done.map(drop), self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }

    fn body(_: &ViewParts, _: &usize) -> (Vec<u8>, usize) {
        (Vec::new(), 0)
    }
}

impl Reply for ReplyWrite {
    type Done = usize;

    fn give(self, on: &Answering<'_>, done: Result<usize, OverlayError>) {
        written(on, done, self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }

    fn body(_: &ViewParts, bytes: &usize) -> (Vec<u8>, usize) {
        // fuse_write_out: size u32, padding u32.
        ([*bytes as u32, 0].map(u32::to_ne_bytes).concat(), *bytes)
    }
}

impl Reply for ReplyAttr {
    type Done = Attr;

    fn give(self, on: &Answering<'_>, done: Result<Attr, OverlayError>) {
        attributes(on, done, self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }

    fn body(view: &ViewParts, attr: &Attr) -> (Vec<u8>, usize) {
        let lasts = view.passthrough.lasts(attr.ino, || view.overlay.stored(attr.ino));
        (attr_out(attr, lasts), 0)
    }
}

impl Reply for ReplyEntry {
    type Done = Attr;

    fn give(self, on: &Answering<'_>, done: Result<Attr, OverlayError>) {
        entry(on, done, self);
    }

    fn give_up(self) {
        self.error(Errno::EIO);
    }

    fn body(view: &ViewParts, attr: &Attr) -> (Vec<u8>, usize) {
        let (named, lasts) = view.passthrough.named(&view.overlay, attr);
        (entry_out(attr, named.ino, lasts), 0)
    }
}

/// Answers a `read`: now, from memory, or from the pool when a disk has to be waited for.
pub fn read(on: &Answering<'_>, (request, reply): (&Request, ReplyData), range: ReadRange) {
    let answer = |reply: &mut Option<ReplyData>, bytes: &[u8]| {
        on.requests.has_read(bytes.len());
        if let Some(reply) = reply.take() {
            reply.data(bytes);
        }
    };
    let mut reply = Some(reply);
    let done = on.view.overlay.read_now(range, |bytes| answer(&mut reply, bytes));
    let Some(reply) = reply else { return };
    if let Err(e) = done {
        return reply.error(on.failed(&e));
    }
    let overlay = on.view.overlay.clone();
    let Some(kept) = on.keep() else {
        let mut reply = Some(reply);
        let read = overlay.read_range(range, |bytes| answer(&mut reply, bytes));
        if let (Err(e), Some(reply)) = (read, reply) {
            reply.error(on.failed(&e));
        }
        return;
    };
    let later = later(on, request, kept, || reply.error(Errno::EIO));
    let fetching = overlay.clone();
    when_here(
        &on.view,
        move || fetching.fetch_object(range.ino),
        move || {
            let read = later.pending.work(|| {
                overlay.read_range(range, |bytes| {
                    later.pending.requests().has_read(bytes.len());
                    later.send(Ok(&[bytes]));
                })
            });
            later.ended(read);
        },
    );
}

/// Has `change` make a change of a file's bytes, and its outcome answered: now, or from the pool when it is slow. `data`
/// is what it is given.
pub fn change<R: Reply<Done = usize>>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    ((ino, is_slow), from): ((Ino, bool), Option<Ino>),
    data: &[u8],
    change: impl FnOnce(&Overlay, &[u8]) -> Result<usize, OverlayError> + Send + 'static,
) {
    let overlay = &on.view.overlay;
    if !is_slow {
        return reply.give(on, change(overlay, data));
    }
    let (overlay, data, fetching) = (overlay.clone(), data.to_vec(), overlay.clone());
    let fetch = move || fetching.fetch_to_change(ino).or_else(|| from.and_then(|from| fetching.fetch_object(from)));
    apart_when_here(on, (request, reply), fetch, move || {
        // A copy that failed here fails again in the change, which answers with the error.
        overlay.copy_ahead(ino).or_debug("it is copied while the view is locked");
        change(&overlay, &data)
    });
}

/// Sets the size of a file whose object may be absent, and answers that from the pool.
pub fn cut(on: &Answering<'_>, (request, reply): (&Request, ReplyAttr), ino: Ino, set: SetAttr) {
    let (overlay, fetching, by) = (on.view.overlay.clone(), on.view.overlay.clone(), caller(request));
    apart_when_here(on, (request, reply), move || fetching.fetch_to_change(ino), move || overlay.setattr(ino, by, set));
}

/// Makes a file whose object may be absent a plain one, and answers that from the pool.
pub fn thaw(on: &Answering<'_>, (request, reply): (&Request, ReplyEmpty), ino: Ino) {
    let (overlay, fetching) = (on.view.overlay.clone(), on.view.overlay.clone());
    let thaw = move || overlay.thaw(ino).map(|()| 0);
    apart_when_here(on, (request, reply), move || fetching.fetch_to_change(ino), thaw);
}

/// Answers `fsync` and `fsyncdir`.
pub fn sync(on: &Answering<'_>, (request, reply): (&Request, ReplyEmpty), ino: Ino, data_only: bool) {
    match on.view.overlay.to_sync(ino, data_only) {
        Ok(Some(sync)) => apart(on, (request, reply), move || sync.wait().map(|()| 0)),
        done => empty(on, done.map(drop), reply),
    }
}

/// Makes `name` in a directory, of the kind that `mode` says (`None`: a further name of a file), and answers that.
pub fn make(
    on: &Answering<'_>,
    (request, reply): (&Request, ReplyEntry),
    (parent, name, mode): (Ino, Name, Option<u32>),
    make: impl FnOnce(&Overlay, &Name, Caller) -> Result<Attr, OverlayError> + Send + 'static,
) {
    let (by, again) = (caller(request), IsResend::of(request));
    names(on, (request, reply), None, move |overlay| {
        let made = make(overlay, &name, by);
        again.made(made, overlay, (parent, &name), mode.map(|mode| (by, mode)))
    });
}

/// Renames, without an exchange, and answers that.
pub fn rename(
    on: &Answering<'_>,
    (request, reply): (&Request, ReplyEmpty),
    (from, old): (Ino, Name),
    (to, new): (Ino, Name),
    flags: RenameFlags,
) {
    let (again, whole) = (IsResend::of(request), on.view.whole.clone());
    let own = on.view.overlay.hides_lower(to, &new).then(|| (from, old.clone()));
    names(on, (request, reply), own, move |overlay| {
        let _whole = whole.read();
        again.rename(overlay, (from, &old), (to, &new), flags).map(|()| 0)
    });
}

/// Has `work` done by the pool for disks after `fetch`, which returns an absent object that it needs: then `work` is done when
/// that is here.
fn when_here(
    view: &ServedView,
    fetch: impl FnOnce() -> Option<AwaitedObject> + Send + 'static,
    work: impl FnOnce() + Send + 'static,
) {
    let arrivals = view.arrivals.clone();
    view.blocking.spawn(move || match fetch() {
        None => work(),
        Some(absent) => arrivals.wait(absent, work),
    });
}

/// Has a change of names made, and its outcome answered: by the pool when records, or the bytes of the file at `own`,
/// have to be on the disk first.
fn names<R: Reply>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    own: Option<(Ino, Name)>,
    change: impl FnOnce(&Overlay) -> Result<R::Done, OverlayError> + Send + 'static,
) {
    let overlay = &on.view.overlay;
    if own.is_none() && !overlay.waits_for_records() {
        return reply.give(on, change(overlay));
    }
    let overlay = overlay.clone();
    apart(on, (request, reply), move || {
        overlay.write_back_records();
        if let Some((dir, name)) = own {
            overlay.write_back_named(dir, &name)?;
        }
        change(&overlay)
    });
}

/// Has `work` done, and its outcome answered, by the pool.
pub fn apart<R: Reply>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    work: impl FnOnce() -> Result<R::Done, OverlayError> + Send + 'static,
) {
    apart_when_here(on, (request, reply), || None, work);
}

/// As [`apart`], after `fetch` (see [`when_here`]).
fn apart_when_here<R: Reply>(
    on: &Answering<'_>,
    (request, reply): (&Request, R),
    fetch: impl FnOnce() -> Option<AwaitedObject> + Send + 'static,
    work: impl FnOnce() -> Result<R::Done, OverlayError> + Send + 'static,
) {
    let Some(kept) = on.keep() else { return reply.give(on, work()) };
    let later = later(on, request, kept, || reply.give_up());
    let view = ViewParts { overlay: on.view.overlay.clone(), passthrough: on.view.passthrough.clone() };
    when_here(&on.view, fetch, move || {
        let done = later.pending.work(work);
        if let Ok(done) = &done {
            let (body, bytes) = R::body(&view, done);
            later.pending.requests().has_written(bytes);
            later.send(Ok(&[&body]));
        }
        later.ended(done.map(drop));
    });
}

/// The parts of a request that a later answer needs.
struct Later {
    device: Arc<OwnedFd>,
    unique: u64,
    pending: Pending,
}

/// Lets go of fuser's reply.
fn later(on: &Answering<'_>, request: &Request, kept: KeptRequest, give_up: impl FnOnce()) -> Later {
    Later { device: on.device.clone(), unique: request.unique().0, pending: on.unheard(kept, give_up) }
}

impl Later {
    fn send(&self, result: Result<&[&[u8]], i32>) {
        if let Err(e) = fuse_dev::answer(self.device.as_fd(), self.unique, result) {
            tracing::debug!("an answer that nobody waits for any more: {e}");
        }
    }

    /// To be called when a success was answered; an error is answered here.
    fn ended(self, done: Result<(), OverlayError>) {
        let done = done.map_err(|e| to_errno(&e).code());
        if let Err(errno) = done {
            self.send(Err(errno));
        }
        self.pending.answered(done.err().unwrap_or(0));
    }
}
