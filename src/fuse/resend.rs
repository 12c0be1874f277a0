//! Requests that may have been carried out already: after a server's death the kernel sends again what it had read.
//!
//! The kernel requests a new name only when there is none, and to remove or move one only when there is; it holds the
//! directory's lock until it is answered, and every change passes through the view. So when a request that was sent
//! again meets its own result (the name is there, or is gone), that is what it is, and the answer is success. Writes,
//! truncations and metadata name what shall hold afterwards, and are simply done again.
//!
//! Only an exchange of two names leaves no trace of whether it was done: both names are there before and after. So the
//! server first reports what is at the names ([`Exchange`]), and the next server gets it ([`ServedView::exchange`]).

use std::cell::Cell;

use fuser::Request;
use serde::{Deserialize, Serialize};

use super::ServedView;
use super::errno::to_errno;
use crate::overlay::{Attr, Caller, Ino, Overlay, OverlayError};
use crate::store::Name;
use crate::sys::fs::RenameFlags;

/// FUSE_UNIQUE_RESEND of `linux/fuse.h`: the kernel sets it in the number of a request that it sends again.
const SENT_AGAIN: u64 = 1 << 63;

thread_local! {
    /// The request that this thread answers was read by an earlier server. Its number is the kernel's.
    static RETAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread answers a request that an earlier server has read.
pub fn set_retained(is_retained: bool) {
    RETAINED.set(is_retained);
}

/// An exchange of two names that is about to be made: the request's number, and the inodes at its two names before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    pub request: u64,
    pub old: u64,
    pub new: u64,
}

/// Whether an earlier server may have carried the request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsResend(pub bool);

impl IsResend {
    /// By bit 63 of `unique`, which the kernel sets (FUSE_NOTIFY_RESEND, Linux 6.9), or because the request was
    /// retained from an earlier server.
    pub fn of(request: &Request) -> IsResend {
        IsResend(request.unique().0 & SENT_AGAIN != 0 || RETAINED.get())
    }

    /// The outcome of making `name` for `maker`, of the type and with the bits of a mode: there already means that it
    /// was made, unless it shows that it is something else. Without one, a further name was made for an existing file.
    pub fn made(
        self,
        done: Result<Attr, OverlayError>,
        view: &Overlay,
        (parent, name): (Ino, &Name),
        maker: Option<(Caller, u32)>,
    ) -> Result<Attr, OverlayError> {
        match (done, maker) {
            (Err(e), _) if !self.0 || to_errno(&e) != fuser::Errno::EEXIST => Err(e),
            (Err(_), Some((maker, mode))) => view.made_before(parent, name, mode, maker),
            (Err(_), None) => view.lookup(parent, name),
            (done, _) => done,
        }
    }

    /// The outcome of removing something: gone already means that it was removed.
    pub fn removed(self, done: Result<(), OverlayError>) -> Result<(), OverlayError> {
        match done {
            Err(OverlayError::NotFound | OverlayError::NoXattr) if self.0 => Ok(()),
            done => done,
        }
    }

    /// Renames; gone from the old name and there at the new one means that it was renamed.
    pub fn rename(
        self,
        view: &Overlay,
        from: (Ino, &Name),
        to: (Ino, &Name),
        flags: RenameFlags,
    ) -> Result<(), OverlayError> {
        match view.rename(from.0, from.1, to.0, to.1, flags) {
            Err(OverlayError::NotFound) if self.0 => at(view, to).map(drop),
            done => done,
        }
    }
}

impl ServedView {
    /// As [`ServedView::exchange`], for a request.
    pub fn exchange_for(&self, by: &Request, from: (Ino, &Name), to: (Ino, &Name)) -> Result<(), OverlayError> {
        let sign = if IsResend::of(by).0 { SENT_AGAIN } else { 0 };
        self.exchange(by.unique().0 | sign, from, to)
    }

    /// Exchanges two names, once, whichever servers the request reaches.
    pub fn exchange(&self, request: u64, from: (Ino, &Name), to: (Ino, &Name)) -> Result<(), OverlayError> {
        let (again, request) = (request & SENT_AGAIN != 0, request & !SENT_AGAIN);
        let (old, new) = (at(&self.overlay, from)?, at(&self.overlay, to)?);
        let is_it = |before: &&Exchange| again && before.request == request;
        if self.exchange_before.as_ref().filter(is_it).is_some_and(|e| (e.old, e.new) == (new.0, old.0)) {
            return Ok(());
        }
        (self.on_exchange)(Exchange { request, old: old.0, new: new.0 });
        self.overlay.rename(from.0, from.1, to.0, to.1, RenameFlags::EXCHANGE)
    }
}

/// The inode at a name.
fn at(view: &Overlay, (dir, name): (Ino, &Name)) -> Result<Ino, OverlayError> {
    let there = view.lookup(dir, name)?.ino;
    view.forget(there, 1);
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::OverlayConfig;
    use crate::store::Store;
    use crate::sys::path;

    fn name(name: &str) -> Name {
        Name::new(name.as_bytes()).expect("a name")
    }

    /// An empty view.
    fn view(dir: &std::path::Path) -> Overlay {
        let (upper, state) = (dir.join("upper"), dir.join("state"));
        path::make_dirs(&upper).expect("made");
        path::make_dirs(&state).expect("made");
        let objects = Store::open(&dir.join("store")).expect("a store").objects().clone();
        let config = OverlayConfig { state_dir: state, grafts: vec![], objects, takeover: false };
        Overlay::open(path::open_dir(&upper).expect("opened"), config).expect("a view")
    }

    #[test]
    fn what_was_done_already_succeeds_when_it_is_sent_again_and_fails_when_it_is_new() {
        let dir = tempfile::tempdir().expect("a directory");
        let view = view(dir.path());
        let (new, again) = (IsResend(false), IsResend(true));
        let (a, b, root) = (name("a"), name("b"), Ino::ROOT);
        let me = view.getattr(root).map(|root| Caller { uid: root.uid, gid: root.gid }).expect("ours");
        let make = || view.mkdir(root, &a, 0o755, me);
        let maker = Some((me, libc::S_IFDIR | 0o755));
        let made = new.made(make(), &view, (root, &a), maker).expect("new");
        assert_eq!(again.made(make(), &view, (root, &a), maker).expect("done before").ino, made.ino);
        assert!(matches!(new.made(make(), &view, (root, &a), maker), Err(OverlayError::Exists)));

        let plain = RenameFlags::empty();
        let rename = |sent: IsResend, flags| sent.rename(&view, (root, &a), (root, &b), flags);
        rename(new, plain).expect("renamed");
        rename(again, plain).expect("done before");
        assert!(matches!(rename(new, plain), Err(OverlayError::NotFound)));

        new.removed(view.rmdir(root, &b)).expect("removed");
        again.removed(view.rmdir(root, &b)).expect("done before");
        assert!(matches!(new.removed(view.rmdir(root, &b)), Err(OverlayError::NotFound)));
        assert!(
            matches!(rename(again, plain), Err(OverlayError::NotFound)),
            "neither here nor there was never renamed"
        );
    }

    #[test]
    fn what_a_dead_server_made_and_did_not_give_away_yet_becomes_its_makers() {
        if crate::sys::process::user() != 0 {
            return println!("skipped: only root gives files away");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (view, root) = (view(dir.path()), Ino::ROOT);
        let (a, b, maker) = (name("a"), name("b"), Caller { uid: 1234, gid: 1234 });
        path::make_dir(&dir.path().join("upper/a")).expect("made");
        let exists = || Err(OverlayError::Exists);
        let made =
            IsResend(true).made(exists(), &view, (root, &a), Some((maker, libc::S_IFDIR | 0o755))).expect("there");
        assert_eq!((made.uid, made.gid), (1234, 1234));
        path::replace(&dir.path().join("upper/b"), b"").expect("written");
        let linked = IsResend(true).made(exists(), &view, (root, &b), None).expect("there");
        assert_eq!(linked.uid, 0);
    }

    #[test]
    fn a_file_that_a_dead_server_gave_away_and_no_more_gets_the_set_id_bits_that_its_maker_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, root, file) = (view(dir.path()), Ino::ROOT, name("f"));
        let me = view.getattr(root).map(|root| Caller { uid: root.uid, gid: root.gid }).expect("ours");
        path::replace(&dir.path().join("upper/f"), b"").expect("written");
        let maker = Some((me, libc::S_IFREG | 0o4755));
        let made = IsResend(true).made(Err(OverlayError::Exists), &view, (root, &file), maker).expect("there");
        assert_eq!((made.uid, made.mode & 0o7000), (me.uid, 0o4000));
    }

    #[test]
    fn what_a_request_that_is_sent_again_cannot_have_made_is_refused_and_stays_its_owners() {
        let dir = tempfile::tempdir().expect("a directory");
        let (view, root) = (view(dir.path()), Ino::ROOT);
        let upper = dir.path().join("upper");
        let me = view.getattr(root).map(|root| Caller { uid: root.uid, gid: root.gid }).expect("ours");
        // Only root makes files for others.
        let maker = if me.uid == 0 { Caller { uid: 1234, gid: 1234 } } else { me };
        path::replace(&upper.join("full"), b"words").expect("written");
        path::replace(&upper.join("linked"), b"").expect("written");
        std::fs::hard_link(upper.join("linked"), upper.join("other name")).expect("linked");
        path::make_dirs(&upper.join("dir/below")).expect("made");
        path::make_dirs(&upper.join("empty")).expect("made");
        let (file, kind) = (libc::S_IFREG | 0o644, libc::S_IFDIR | 0o755);
        let mut cases = vec![("full", file), ("linked", file), ("dir", kind), ("full", kind), ("empty", file)];
        if me.uid == 0 {
            path::replace(&upper.join("theirs"), b"").expect("written");
            std::os::unix::fs::chown(upper.join("theirs"), Some(77), Some(77)).expect("given");
            cases.push(("theirs", file));
        }
        for (at, mode) in cases {
            let before = path::stat(&upper.join(at)).expect("asked").expect("there");
            let made = IsResend(true).made(Err(OverlayError::Exists), &view, (root, &name(at)), Some((maker, mode)));
            assert!(matches!(made, Err(OverlayError::Exists)), "{at}, {mode:o}: {made:?}");
            let after = path::stat(&upper.join(at)).expect("asked").expect("there");
            assert_eq!((after.uid, after.gid, after.mode), (before.uid, before.gid, before.mode), "{at}");
        }
    }

    #[test]
    fn an_exchange_that_is_sent_again_is_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let said = std::sync::Arc::new(std::sync::Mutex::new(None));
        let overlay = std::sync::Arc::new(view(dir.path()));
        let server = |exchange_before| {
            let said = said.clone();
            ServedView {
                overlay: overlay.clone(),
                connection: 1,
                id: String::new(),
                facts: Default::default(),
                passthrough: crate::fuse::Passthrough::new(None, &[], Box::new(|_| ())),
                owner: 0,
                blocking: crate::fuse::Blocking::new("test", 1),
                arrivals: Default::default(),
                whole: Default::default(),
                exchange_before,
                on_exchange: Box::new(move |e| *said.lock().expect("ours") = Some(e)),
                on_emptied: Box::new(|| ()),
                on_relocated: std::sync::Arc::new(|| ()),
            }
        };
        let (a, b, root) = (name("a"), name("b"), Ino::ROOT);
        let me = overlay.getattr(root).map(|root| Caller { uid: root.uid, gid: root.gid }).expect("ours");
        let first = overlay.mkdir(root, &a, 0o755, me).expect("made").ino;
        let second = overlay.mkdir(root, &b, 0o755, me).expect("made").ino;
        let is = || (at(&overlay, (root, &a)).expect("there"), at(&overlay, (root, &b)).expect("there"));
        let exchange =
            |server: &ServedView, request| server.exchange(request, (root, &a), (root, &b)).expect("exchanged");
        exchange(&server(None), 7);
        assert_eq!(is(), (second, first));
        let told = *said.lock().expect("ours");
        exchange(&server(told), 7 | SENT_AGAIN);
        assert_eq!(is(), (second, first), "it was done before");
        exchange(&server(told), 9 | SENT_AGAIN);
        assert_eq!(is(), (first, second), "another one had not begun");
        exchange(&server(told), 7 | SENT_AGAIN);
        assert_eq!(is(), (second, first), "it was told of, and not done");
        exchange(&server(told), 11);
        assert_eq!(is(), (first, second));
    }
}
