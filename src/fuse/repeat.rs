//! Requests that may have been carried out already: after a server's death the kernel sends again what it had read.
//!
//! The kernel asks to make a name only when there is none, and to remove or move one only when there is; it holds the
//! directory's lock until it is answered, and every change passes through the view. So when a request that was sent
//! again meets its own result (the name is there, or is gone), that is what it is, and the answer is success. Writes,
//! truncations and metadata name what shall hold afterwards, and are simply done again.

use fuser::Request;

use super::View;
use super::errno::to_errno;
use crate::overlay::{Attr, Error, Ino, Overlay};
use crate::store::Name;
use crate::sys::fs::RenameFlags;

/// FUSE_UNIQUE_RESEND of `linux/fuse.h`: the kernel sets it in the number of a request that it sends again.
const SENT_AGAIN: u64 = 1 << 63;

/// Whether an earlier server may have carried the request out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentAgain(pub bool);

impl SentAgain {
    pub fn of(request: &Request) -> SentAgain {
        SentAgain(request.unique().0 & SENT_AGAIN != 0)
    }

    /// Of a rename. One that the server before is known not to have begun may be an exchange.
    pub fn of_rename(request: &Request, view: &View, flags: RenameFlags) -> SentAgain {
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        if exchanges && view.left_whole { SentAgain(false) } else { SentAgain::of(request) }
    }

    /// The outcome of making `name`: there already means that it was made.
    pub fn made(self, done: Result<Attr, Error>, view: &Overlay, parent: Ino, name: &Name) -> Result<Attr, Error> {
        match done {
            Err(e) if self.0 && to_errno(&e) == fuser::Errno::EEXIST => view.lookup(parent, name),
            done => done,
        }
    }

    /// The outcome of removing something: gone already means that it was removed.
    pub fn removed(self, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(Error::NotFound | Error::NoXattr) if self.0 => Ok(()),
            done => done,
        }
    }

    /// Renames; gone from the old name and there at the new one means that it was renamed. An exchange leaves no
    /// trace of having been done, and done twice it is undone: that answers EIO.
    pub fn rename(self, view: &Overlay, from: (Ino, &Name), to: (Ino, &Name), flags: RenameFlags) -> Result<(), Error> {
        if self.0 && flags.contains(RenameFlags::EXCHANGE) {
            let source = std::io::Error::other("the server died while it exchanged two names");
            return Err(Error::Upper { verb: "exchange names again", source });
        }
        match view.rename(from.0, from.1, to.0, to.1, flags) {
            Err(Error::NotFound) if self.0 => {
                let there = view.lookup(to.0, to.1)?;
                view.forget(there.ino, 1);
                Ok(())
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Caller, OverlayConfig};
    use crate::store::Store;
    use crate::sys::path;

    fn name(name: &str) -> Name {
        Name::new(name.as_bytes()).expect("a name")
    }

    #[test]
    fn what_was_done_already_succeeds_when_it_is_sent_again_and_fails_when_it_is_new() {
        let dir = tempfile::tempdir().expect("a directory");
        let (upper, state) = (dir.path().join("upper"), dir.path().join("state"));
        path::make_dirs(&upper).expect("made");
        path::make_dirs(&state).expect("made");
        let objects = Store::open(&dir.path().join("store")).expect("a store").objects().clone();
        let config = OverlayConfig { state_dir: state, grafts: vec![], objects, takeover: false };
        let view = Overlay::open(path::open_dir(&upper).expect("opened"), config).expect("a view");
        let (new, again) = (SentAgain(false), SentAgain(true));
        let (a, b, root) = (name("a"), name("b"), Ino::ROOT);
        let me = view.getattr(root).map(|root| Caller { uid: root.uid, gid: root.gid }).expect("ours");
        let make = || view.mkdir(root, &a, 0o755, me);
        let made = new.made(make(), &view, root, &a).expect("new");
        assert_eq!(again.made(make(), &view, root, &a).expect("done before").ino, made.ino);
        assert!(matches!(new.made(make(), &view, root, &a), Err(Error::Exists)));

        let plain = RenameFlags::empty();
        let rename = |sent: SentAgain, flags| sent.rename(&view, (root, &a), (root, &b), flags);
        assert!(matches!(rename(again, RenameFlags::EXCHANGE), Err(Error::Upper { .. })));
        rename(new, plain).expect("renamed");
        rename(again, plain).expect("done before");
        assert!(matches!(rename(new, plain), Err(Error::NotFound)));

        new.removed(view.rmdir(root, &b)).expect("removed");
        again.removed(view.rmdir(root, &b)).expect("done before");
        assert!(matches!(new.removed(view.rmdir(root, &b)), Err(Error::NotFound)));
        assert!(matches!(rename(again, plain), Err(Error::NotFound)), "neither here nor there was never renamed");
    }
}
