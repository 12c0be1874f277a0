//! Failures of the upper itself: its limit of names, its deletion, a journal that cannot be written anew.

use super::*;

#[test]
fn a_file_with_more_names_than_the_upper_allows_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let most = crate::sys::fs_type::most_links(paths::open_dir(dir.path()).expect("opened"));
    let Some(most) = most.filter(|most| *most < 100_000) else {
        return println!("skipped: the temporary directory's file system allows any number of names");
    };
    let store = Store::open(&dir.path().join("store")).expect("a store");
    let stage = store.stage().expect("a stage");
    let mut builder = TreeBuilder::new(meta(0o755));
    let object = stage.add_bytes(b"many names").expect("an object");
    let sub = builder.add(Slot::ROOT, name("sub"), meta(0o755), Item::Dir).expect("a directory");
    let item = Item::File { object, size: 10, blocks: 8 };
    let file = builder.add(sub, name("first"), meta(0o644), item).expect("a file");
    for n in 0..most {
        builder.link(sub, name(&format!("{n}")), file).expect("linked");
    }
    stage.publish().expect("published");
    let tree = store.tree(store.put_tree(&builder).expect("put")).expect("a tree");
    for part in ["upper", "state"] {
        paths::make_dir(&dir.path().join(part)).expect("made");
    }
    let upper = paths::open_dir(&dir.path().join("upper")).expect("opened");
    let (grafts, objects) = (vec![graft(&tree, false)], store.objects().clone());
    let config = OverlayConfig { state_dir: dir.path().join("state"), grafts, objects, takeover: false };
    let view = Overlay::open(upper, config).expect("a view");
    let sub = view.lookup(Ino::ROOT, &name("sub")).expect("there").ino;
    let first = view.lookup(sub, &name("first")).expect("there").ino;
    let refused = view.write(first, 0, b"x", None).expect_err("too many names");
    assert_eq!(errno(&refused), Some(libc::EMLINK));
    assert_eq!(paths::list(&dir.path().join("upper")).expect("listed").len(), 0);
}

#[test]
fn every_change_of_a_view_whose_upper_was_deleted_is_an_i_o_error_and_reading_goes_on() {
    let lab = Lab::new();
    let case = lab.case();
    case.cool();
    paths::remove_tree(&case.dir.path().join("upper")).expect("deleted");
    let (lower, dir) = (case.ino("dir/two"), case.ino("dir"));
    // Its copy needs no directory first.
    let top = case.ino("plain");
    let mode = SetAttr { mode: Some(0o600), ..keep() };
    for failed in [
        case.overlay().setattr(lower, case.caller(), mode).map(drop),
        case.overlay().write(lower, 0, b"x", None).map(drop),
        case.overlay().write(top, 0, b"x", None).map(drop),
        case.overlay().setattr(top, case.caller(), SetAttr { size: Some(0), ..keep() }).map(drop),
        case.overlay().set_xattr(top, b"user.x", b"1", XattrFlags::empty()),
        case.overlay().link(top, Ino::ROOT, &name("linked")).map(drop),
        case.overlay().unlink(dir, &name("two")),
        case.overlay().create(Ino::ROOT, &name("made"), 0o644, case.caller(), true).map(drop),
        case.overlay().mkdir(dir, &name("made"), 0o755, case.caller()).map(drop),
        case.overlay().set_xattr(lower, b"user.x", b"1", XattrFlags::empty()),
        case.overlay().readdir(Ino::ROOT, 2, false, &mut |_| true).map(drop),
    ] {
        assert_eq!(failed.as_ref().err().and_then(errno), Some(libc::EIO), "{failed:?}");
    }
    assert_eq!(case.overlay().read(lower, 0, 9, <[u8]>::to_vec).expect("read"), b"two two");
}

/// Makes the journal longer by records that stay, and gives how many times it was written anew, and how many calls
/// wanted room on the disk.
fn rewritten_while_it_grows(case: &Case, records: u64) -> (usize, u32) {
    let file = case.state().join("journal");
    let number = || paths::stat(&file).expect("looked").expect("there").ino;
    let plan = Plan { calls: |call| call == Call::Add, from: u32::MAX, for_ever: false, errno: 0, torn: false };
    let (guard, mut view) = (plan.lay(), case.overlay().view.lock());
    let (mut times, mut last) = (0, number());
    for n in 0..records {
        let xattrs = BTreeMap::from([(b"user.long".to_vec(), vec![n as u8; 12 << 10])]);
        let meta = super::super::journal::MetaChange { xattrs: Some(xattrs), ..Default::default() };
        view.record(super::super::journal::Record::Meta { ino: Ino((1 << 30) + n), meta }).expect("recorded");
        times += usize::from(number() != last);
        last = number();
    }
    (times, guard.seen())
}

#[test]
fn a_journal_that_stays_long_or_cannot_be_written_anew_is_tried_again_when_it_is_twice_as_long() {
    let lab = Lab::new();
    let case = lab.case();
    let (times, _) = rewritten_while_it_grows(&case, 500);
    assert!((1..=4).contains(&times), "{times} times for 6 MB that all stay");
    let case = lab.case();
    let records = 500;
    paths::make_dir(&case.state().join("journal.new")).expect("in the way");
    let (times, calls) = rewritten_while_it_grows(&case, records);
    // One write for each record, room beyond the end for some, and a few tries.
    assert_eq!(times, 0);
    assert!(calls < records as u32 * 3 / 2, "{calls} calls");
}

#[test]
fn a_view_whose_long_journal_cannot_be_written_anew_is_opened_all_the_same() {
    let lab = Lab::new();
    let mut case = lab.case();
    let plain = case.ino("plain");
    for n in 0..2000u32 {
        let mode = SetAttr { mode: Some(0o600 + n % 2 * 0o44), ..keep() };
        case.overlay().setattr(plain, case.caller(), mode).expect("changed");
    }
    let before = case.looks().expect("looked");
    case.overlay = None;
    assert!(paths::read(&case.state().join("journal")).expect("there").len() > 16 << 10);
    paths::make_dir(&case.state().join("journal.new")).expect("in the way");
    case.open().expect("opened");
    assert!(case.looks().expect("looked") == before);
}
