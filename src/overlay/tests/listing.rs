//! Listings of names whose cookies are equal, of which anybody can make any number.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::store::with_equal_cookies;

/// Names with equal cookies that only the lower has, that both have, and that only the upper has.
const EACH: usize = 300;

/// A view with one directory `d` of such names, and of some others.
struct Equal {
    dir: tempfile::TempDir,
    store: Store,
    tree: Arc<Tree>,
    overlay: Option<Overlay>,
    d: Ino,
    all: BTreeSet<Vec<u8>>,
}

impl Equal {
    fn new(names: &[Name], in_lower: std::ops::Range<usize>, in_upper: std::ops::Range<usize>) -> Equal {
        let dir = in_memory().unwrap_or_else(|| tempfile::tempdir().expect("a directory"));
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let stage = store.stage().expect("a stage");
        let object = stage.add_bytes(b"x").expect("an object");
        stage.publish().expect("published");
        let mut builder = TreeBuilder::new(meta(0o755));
        let slot = builder.add(Slot::ROOT, name("d"), meta(0o755), Item::Dir).expect("a directory");
        for name in &names[in_lower] {
            let file = Item::File { object, size: 1, blocks: 8 };
            builder.add(slot, name.clone(), meta(0o644), file).expect("a file");
        }
        let tree = store.tree(store.put_tree(&builder).expect("a tree")).expect("a tree");
        for part in ["upper", "upper/d", "state"] {
            paths::make_dir(&dir.path().join(part)).expect("made");
        }
        let mut equal = Equal { dir, store, tree, overlay: None, d: Ino::ROOT, all: BTreeSet::new() };
        equal.open(false);
        let overlay = equal.overlay();
        for name in &names[in_upper] {
            let caller = Caller { uid: 0, gid: 0 };
            let caller = if rustix::process::geteuid().is_root() { caller } else { equal.caller() };
            match overlay.lookup(equal.d, name) {
                Ok(there) => drop(overlay.write(there.ino, 0, b"y", None).expect("written")),
                Err(_) => drop(overlay.create(equal.d, name, 0o644, caller, true).expect("created")),
            }
        }
        equal.all = names.iter().map(|name| name.bytes().to_vec()).collect();
        equal
    }

    fn mixed() -> (Equal, Vec<Name>) {
        let mut names: Vec<Name> = with_equal_cookies(3 * EACH).collect();
        names.extend((0..100).map(|n| name(&format!("plain {n}"))));
        (Equal::new(&names, 0..2 * EACH, EACH..names.len()), names)
    }

    /// As a server that takes over does: nothing is remembered.
    fn open(&mut self, takeover: bool) {
        self.overlay = None;
        let upper = paths::open_dir(&self.dir.path().join("upper")).expect("the upper");
        let objects = self.store.objects().clone();
        let grafts = vec![graft(&self.tree, false)];
        let config = OverlayConfig { state_dir: self.dir.path().join("state"), grafts, objects, takeover };
        self.overlay = Some(Overlay::open(upper, config).expect("opened"));
        self.d = self.overlay().lookup(Ino::ROOT, &name("d")).expect("there").ino;
    }

    fn caller(&self) -> Caller {
        let (uid, gid) = self.overlay().view.lock().owner;
        Caller { uid, gid }
    }

    fn overlay(&self) -> &Overlay {
        self.overlay.as_ref().expect("opened")
    }

    /// At most `room` names after a position, each with its own.
    fn some(&self, after: u64, room: usize) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        let sink = &mut |l: crate::overlay::DirListing<'_>| {
            let taken = out.len() < room;
            if taken {
                out.push((l.cookie, l.name.to_vec()));
            }
            taken
        };
        self.overlay().readdir(self.d, after, false, sink).expect("listed");
        out
    }

    /// Lists all with buffers for `room` names; `between` runs after each.
    fn list(&mut self, room: usize, mut between: impl FnMut(&mut Equal, &[(u64, Vec<u8>)])) -> Vec<Vec<u8>> {
        let (mut names, mut after) = (Vec::new(), 0);
        loop {
            let some = self.some(after, room);
            let Some((last, _)) = some.last() else { break };
            assert!(*last > after && i64::try_from(*last).is_ok(), "a listing goes on");
            after = *last;
            between(self, &some);
            names.extend(some.into_iter().map(|(_, name)| name).filter(|name| !matches!(&name[..], b"." | b"..")));
        }
        names
    }

    fn assert_all(&self, listed: Vec<Vec<u8>>) {
        assert_eq!(listed.len(), self.all.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), self.all);
    }
}

#[test]
fn any_number_of_names_with_equal_cookies_is_listed_once_each_whatever_room_there_is() {
    let (mut equal, _) = Equal::mixed();
    for room in [1, 2, 7, 79, 500, 5000] {
        let listed = equal.list(room, |_, _| ());
        equal.assert_all(listed);
        let listed = equal.list(room.max(50), |equal, _| equal.open(true));
        equal.assert_all(listed);
    }
}

#[test]
fn who_goes_back_to_any_name_of_a_listing_goes_on_behind_it() {
    let (equal, _) = Equal::mixed();
    let all = equal.some(0, 5000);
    for n in (0..all.len()).step_by(37) {
        assert_eq!(equal.some(all[n].0, 3), all[n + 1..].iter().take(3).cloned().collect::<Vec<_>>());
    }
}

#[test]
fn names_with_equal_cookies_that_go_and_come_while_they_are_listed_hide_no_other() {
    for takeover in [false, true] {
        let (mut equal, names) = Equal::mixed();
        let mut n = 0;
        let listed = equal.list(40, |equal, some| {
            for (_, name) in some.iter().filter(|(_, name)| !matches!(&name[..], b"." | b"..")) {
                let name = Name::new(name).expect("a name");
                equal.overlay().unlink(equal.d, &name).expect("unlinked");
            }
            n += 1;
            let new = name(&format!("new {n}"));
            equal.overlay().create(equal.d, &new, 0o644, equal.caller(), true).expect("created");
            equal.overlay().rename(equal.d, &new, Ino::ROOT, &new, RenameFlags::empty()).expect("moved away");
            if takeover {
                equal.open(true);
            }
        });
        equal.assert_all(listed);
        assert_eq!(equal.some(2, 1), [], "all of them are deleted");
        equal.overlay().rmdir(Ino::ROOT, &name("d")).expect("removed");
        drop(names);
    }
}

#[test]
fn names_with_equal_tags_that_go_while_they_are_listed_hide_and_repeat_no_other() {
    let names: Vec<Name> = with_equal_cookies(60).collect();
    for room in 1..6 {
        let mut equal = Equal::new(&names, 0..60, 0..0);
        {
            let mut view = equal.overlay().view.lock();
            let root = view.delta.root;
            view.order = crate::overlay::position::Order::of(root).with_tags(20);
        }
        let mut listed = equal.list(room, |equal, some| {
            // All that were given, and no other: the last one of a buffer, too.
            for (_, name) in some.iter().filter(|(_, name)| !matches!(&name[..], b"." | b"..")) {
                equal.overlay().unlink(equal.d, &Name::new(name).expect("a name")).expect("unlinked");
            }
        });
        equal.assert_all(std::mem::take(&mut listed));
    }
}

#[test]
fn a_name_that_was_listed_is_not_listed_again_when_those_behind_it_go() {
    let names: Vec<Name> = with_equal_cookies(5).collect();
    let equal = Equal::new(&names, 0..5, 0..0);
    let first = equal.some(0, 4);
    let rest = equal.some(first[3].0, 9);
    assert_eq!(first.len() + rest.len(), 2 + 5);
    for (_, name) in rest {
        equal.overlay().unlink(equal.d, &Name::new(&name).expect("a name")).expect("unlinked");
    }
    assert_eq!(equal.some(first[3].0, 9), []);
}

#[test]
fn two_listings_of_names_with_equal_cookies_at_once_are_both_complete() {
    let (mut equal, _) = Equal::mixed();
    let (mut other, mut after) = (Vec::new(), 0);
    let listed = equal.list(64, |equal, _| {
        let some = equal.some(after, 50);
        after = some.last().map_or(after, |(at, _)| *at);
        other.extend(some.into_iter().map(|(_, name)| name).filter(|name| !matches!(&name[..], b"." | b"..")));
    });
    equal.assert_all(listed);
    other.extend(equal.some(after, 5000).into_iter().map(|(_, name)| name));
    equal.assert_all(other);
}

#[test]
fn changes_and_own_names_are_told_completely_where_cookies_are_equal() {
    let (equal, names) = Equal::mixed();
    for name in &names[..10] {
        equal.overlay().unlink(equal.d, name).expect("unlinked");
    }
    let (mut changed, mut after) = (BTreeSet::new(), 0);
    loop {
        let some = equal.overlay().changes(equal.d, after, 33).expect("compared");
        let Some(last) = some.last() else { break };
        assert!(some.len() <= 33 && last.cookie > after);
        after = last.cookie;
        for change in some {
            assert!(changed.insert(change.name));
        }
    }
    let touched: BTreeSet<Name> = names[..10].iter().chain(&names[EACH..]).cloned().collect();
    assert_eq!(changed, touched);
    let (mut own, mut after) = (BTreeSet::new(), 0);
    loop {
        let some = equal.overlay().own_names(equal.d, after, 33).expect("asked").expect("of the lower");
        let Some((last, _)) = some.last() else { break };
        assert!(some.len() <= 33 && *last > after);
        after = *last;
        for (_, name) in some {
            assert!(own.insert(name));
        }
    }
    assert_eq!(own, touched);
}

#[test]
fn what_many_names_with_equal_cookies_cost_does_not_grow_with_the_square_of_their_number() {
    let names: Vec<Name> = with_equal_cookies(20_000).collect();
    let mut equal = Equal::new(&names, 0..names.len(), 0..0);
    let begin = Instant::now();
    for name in &names {
        let attr = equal.overlay().lookup(equal.d, name).expect("there");
        equal.overlay().forget(attr.ino, 1);
    }
    let listed = equal.list(100, |_, _| ());
    equal.assert_all(listed);
    // Less than a second; a search through all of them at each takes minutes.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn whatever_bit_of_a_tree_is_wrong_its_listings_end() {
    let (equal, _) = Equal::mixed();
    let mut builder = TreeBuilder::new(meta(0o755));
    for at in 0..40 {
        builder.add(Slot::ROOT, name(&format!("{at}")), meta(0o755), Item::Dir).expect("a directory");
    }
    for at in with_equal_cookies(10) {
        builder.add(Slot::ROOT, at, meta(0o777), Item::Symlink(b"x"[..].into())).expect("a symlink");
    }
    let sound = builder.finish().expect("a tree");
    let state = equal.dir.path().join("damaged");
    let mut tried = 0;
    for bit in (0..sound.len() * 8).step_by(29) {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(tree) = Tree::from_bytes(bytes) else { continue };
        let dir = state.join(format!("{bit}"));
        for part in ["upper/own", "state"] {
            paths::make_dirs(&dir.join(part)).expect("made");
        }
        let upper = paths::open_dir(&dir.join("upper")).expect("the upper");
        let grafts = vec![graft(&Arc::new(tree), false)];
        let objects = equal.store.objects().clone();
        let config = OverlayConfig { state_dir: dir.join("state"), grafts, objects, takeover: false };
        let overlay = Overlay::open(upper, config).expect("opened");
        overlay.getattr(Ino::ROOT).expect("its subdirectories are counted");
        let mut left = 100;
        overlay
            .readdir(Ino::ROOT, 0, true, &mut |_| {
                left -= 1;
                left > 0
            })
            .expect("listed");
        assert!(left > 0, "bit {bit}");
        tried += 1;
    }
    assert!(tried > 200);
}
