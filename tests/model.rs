//! The overlay without a kernel against a plain directory: the same random operations, the same results.
//!
//! A failing sequence is shrunk and printed with its seed; what it taught is then a named test here.

#[path = "model/fixture.rs"]
mod fixture;
#[path = "model/ops.rs"]
mod ops;
#[path = "model/plain.rs"]
mod plain;
#[path = "model/twin.rs"]
mod twin;

use std::fs;

use depsfs::overlay::{ChangeKind, OverlayError};
use ops::{Op, any_op, config};
use proptest::prelude::*;
use twin::Twin;

proptest! {
    #![proptest_config(config(cases(), 4000))]

    #[test]
    fn any_sequence_leaves_what_a_plain_directory_has(ops in prop::collection::vec(any_op(), 1..60), layers in 1usize..4) {
        run(layers, &ops);
    }
}

/// How many sequences to try: `DEPSFS_MODEL_CASES`, else what ten seconds afford.
fn cases() -> u32 {
    std::env::var("DEPSFS_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(128)
}

/// Runs the operations on both sides; after each one, after a remount, and in a copy of the upper both must be the same.
fn run(layers: usize, ops: &[Op]) {
    let mut twin = Twin::new(layers);
    for (step, op) in ops.iter().enumerate() {
        twin.step(op).unwrap_or_else(|why| panic!("step {step} {op:?}: {why}"));
    }
    twin.compare().unwrap_or_else(|why| panic!("in the end: {why}"));
    twin.remount();
    twin.compare().unwrap_or_else(|why| panic!("after a remount: {why}"));
    twin.copy_upper();
    twin.compare().unwrap_or_else(|why| panic!("in a copy: {why}"));
}

fn create(p: &str) -> Op {
    Op::Create(p.into())
}

fn rename(a: &str, b: &str) -> Op {
    Op::Rename(a.into(), b.into())
}

fn after(ops: &[Op]) -> Twin {
    let mut twin = Twin::new(1);
    ops.iter().for_each(|op| twin.step(op).unwrap_or_else(|why| panic!("{op:?}: {why}")));
    twin
}

#[test]
fn names_in_a_removed_directory_no_longer_count_as_links() {
    run(1, &[Op::Exchange("b".into(), "a/a".into()), Op::RemoveAll("a".into())]);
}

#[test]
fn an_exchange_with_nothing_is_refused_before_the_loop_is_seen() {
    run(1, &[Op::Exchange("c".into(), "c/a/a".into())]);
}

#[test]
fn an_attribute_of_a_file_stays_when_it_is_renamed() {
    run(1, &[Op::SetXattr("c/c".into(), 0), rename("c/c", "b"), Op::Remount]);
    run(1, &[Op::SetXattr("c/c".into(), 0), rename("c/c", "x"), rename("x", "c/y")]);
}

#[test]
fn a_directory_that_was_moved_out_of_a_removed_one_is_where_it_was_moved_to() {
    let ops = [Op::RenameNoReplace("d".into(), "a/d".into()), rename("a/b", "d"), Op::RemoveAll("a".into())];
    run(1, &ops);
}

#[test]
fn a_replaced_name_of_a_hard_linked_copy_is_gone() {
    run(1, &[Op::Thaw("a".into()), rename("b", "a/c")]);
}

#[test]
fn a_moved_lower_directory_keeps_what_was_changed_in_it() {
    let write = Op::Write("a/b/a".into(), 1, b'x');
    run(3, &[write, create("a/b/d"), rename("a", "d"), Op::Mkdir("a".into()), rename("d/b", "a/b"), Op::Remount]);
}

#[test]
fn a_write_under_any_name_of_a_hard_linked_file_changes_all() {
    let mut twin = after(&[Op::Write("a/c".into(), 0, b'x')]);
    assert_eq!(twin.content("a/a"), twin.content("a/c"));
    assert_eq!(twin.inode("a/a"), twin.inode("a/c"));
}

#[test]
fn an_inode_number_stays_through_copy_up_and_remount() {
    let mut twin = after(&[]);
    let before = twin.inode("a/b/a");
    twin.step(&Op::Write("a/b/a".into(), 0, b'x')).expect("the same");
    assert_eq!(twin.inode("a/b/a"), before);
    twin.remount();
    assert_eq!(twin.inode("a/b/a"), before);
}

#[test]
fn what_a_user_does_to_the_plain_directory_shows_after_the_next_mount() {
    let mut twin = after(&[Op::Write("a/b/a".into(), 0, b'x'), create("new")]);
    twin.unmounted(|upper| {
        assert_eq!(fs::read(upper.join("a/b/a")).expect("a copy"), b"xxxxx");
        fs::remove_file(upper.join("a/b/a")).expect("deleted");
        fs::write(upper.join("new"), "edited").expect("written");
        fs::write(upper.join("c"), "a file over a directory").expect("written");
    });
    assert_eq!(twin.content("a/b/a"), None, "a changed file that its user deleted doesn't come back as the store's");
    assert_eq!(twin.content("new").as_deref(), Some(&b"edited"[..]));
    assert_eq!(twin.content("c").as_deref(), Some(&b"a file over a directory"[..]));
}

#[test]
fn a_plain_directory_that_was_deleted_and_made_again_starts_the_view_anew() {
    let mut twin = after(&[Op::Write("b".into(), 0, b'x'), Op::RemoveAll("a".into())]);
    twin.unmounted(|upper| {
        fs::remove_dir_all(upper).expect("deleted");
        fs::create_dir(upper).expect("made");
    });
    assert_eq!(twin.content("b").as_deref(), Some(&b"two two"[..]));
    assert_eq!(twin.content("a/a").as_deref(), Some(&b"one"[..]));
    assert!(twin.is_clean());
}

#[test]
fn a_diff_names_what_was_added_modified_and_deleted_but_no_mere_times() {
    let chmod = Op::Chmod("c/c".into(), 0o600);
    let touch = Op::Utimens("b".into(), 77);
    let ops = [Op::Write("a/b/a".into(), 0, b'x'), create("new"), Op::RemoveAll("c/a".into()), chmod, touch];
    let mut twin = after(&ops);
    let below = |name: &str| (name.to_string(), ChangeKind::Below);
    assert_eq!(twin.changes(""), [below("a"), below("c"), ("new".into(), ChangeKind::Added)]);
    assert_eq!(twin.changes("a"), [below("b")]);
    assert_eq!(twin.changes("a/b"), [("a".into(), ChangeKind::Modified)]);
    assert_eq!(twin.changes("c"), [("a".into(), ChangeKind::Deleted), ("c".into(), ChangeKind::Modified)]);
}

#[test]
fn a_thawed_directory_is_plain_and_differs_in_nothing() {
    let mut twin = after(&[Op::Utimens("a/b/a".into(), 77)]);
    twin.thaw("a");
    twin.compare().expect("the same as before");
    assert_eq!(twin.changes("a/b"), []);
    twin.unmounted(|upper| {
        assert_eq!(fs::read(upper.join("a/b/a")).expect("plain"), b"deep");
        assert_eq!(fs::read(upper.join("a/c")).expect("plain"), b"one");
    });
    twin.compare().expect("the same after a remount");
}

#[test]
fn a_reset_brings_back_what_the_store_says_and_only_there() {
    let ops = [Op::Write("a/b/a".into(), 0, b'x'), create("a/new"), create("new"), Op::Unlink("b".into())];
    let mut twin = after(&ops);
    twin.reset("a").expect("reset");
    assert_eq!(twin.content("a/b/a").as_deref(), Some(&b"deep"[..]));
    assert_eq!(twin.content("a/new"), None);
    assert_eq!(twin.content("b"), None);
    twin.reset("b").expect("reset");
    assert_eq!(twin.content("b").as_deref(), Some(&b"two two"[..]));
    twin.reset("new").expect("reset");
    assert_eq!(twin.content("new"), None);
    twin.remount();
    assert_eq!(twin.content("a/b/a").as_deref(), Some(&b"deep"[..]));
}

#[test]
fn a_reset_brings_back_what_was_moved_away_and_leaves_it_where_it_is() {
    let reset = |p: &str| Op::Reset(p.into());
    run(1, &[rename("a", "d2"), reset("a"), Op::Write("d2/b/a".into(), 0, b'x'), Op::Remount, reset("a")]);
    run(1, &[rename("a/b", "b2"), create("b2/own"), reset("a"), Op::RemoveAll("b2".into())]);
    run(1, &[rename("a/b/a", "c/x"), reset("a"), Op::Write("c/x".into(), 0, b'x')]);
    run(1, &[Op::Exchange("a".into(), "c".into()), reset("a"), reset("c")]);
    run(
        1,
        &[Op::Mkdir("a/n".into()), rename("a/b", "a/n/b"), reset("a"), create("a/b/x"), Op::RemoveAll("a/b".into())],
    );
    run(1, &[rename("a/b", "b2"), rename("c", "b2/c"), rename("a", "b2/c/a"), reset("a"), reset("c")]);
}

#[test]
fn a_deleted_file_that_is_open_goes_on_through_another_server_until_it_is_closed() {
    let mut twin = after(&[create("new"), Op::Write("new".into(), 0, b'n'), Op::Write("b".into(), 0, b'x')]);
    for path in ["new", "b", "a/a"] {
        let ino = twin.hold(path);
        let before = twin.content(path);
        for name in if path == "a/a" {
            vec!["a/a", "a/c"]
        } else if path == "b" {
            vec!["b", "d"]
        } else {
            vec![path]
        } {
            twin.step(&Op::Unlink(name.into())).expect("unlinked");
        }
        twin.take_over();
        let read = |twin: &Twin| twin.with_view(|v| v.read(ino, 0, 99, <[u8]>::to_vec).expect("readable"));
        assert_eq!(Some(read(&twin)), before, "{path}");
        assert_eq!(twin.with_view(|v| v.getattr(ino).expect("there").nlink), 0, "{path}");
        twin.with_view(|v| v.write(ino, 0, b"Z", None).expect("writable"));
        assert_eq!(read(&twin)[0], b'Z', "{path}");
        twin.with_view(|v| v.forget(ino, 9));
        assert_eq!(twin.set_aside(), 0, "{path}: nothing stays");
    }
    twin.compare().expect("the names are gone on both sides");
}

#[test]
fn a_file_that_a_rename_replaced_while_it_was_open_goes_on() {
    let mut twin = after(&[create("new"), Op::Write("new".into(), 0, b'n'), create("other")]);
    let ino = twin.hold("new");
    twin.step(&rename("other", "new")).expect("renamed");
    twin.take_over();
    assert_eq!(twin.with_view(|v| v.read(ino, 0, 99, <[u8]>::to_vec).expect("readable")), b"nnnnn");
    twin.remount();
    assert_eq!(twin.set_aside(), 0, "a fresh mount deletes what nobody can have open");
}

#[test]
fn an_acl_is_refused_and_other_names_work_on_files_of_the_store() {
    let mut twin = after(&[]);
    let ino = twin.hold("b");
    let none = depsfs::sys::fs::XattrFlags::empty();
    let acl = twin.with_view(|v| v.set_xattr(ino, b"system.posix_acl_access", b"\x02\0\0\0", none));
    assert!(matches!(acl, Err(OverlayError::NotSupported)));
    twin.with_view(|v| v.set_xattr(ino, b"user.kind", b"module", none)).expect("taken");
    assert_eq!(twin.with_view(|v| v.xattr_names(ino)).expect("listed"), [b"user.kind".to_vec()]);
    assert!(twin.with_view(|v| v.object(ino)).is_some(), "no bytes were copied for it");
}

#[test]
fn a_directory_that_its_owner_may_not_enter_can_still_be_counted_listed_and_removed() {
    let mut twin = after(&[Op::Mkdir("a/d".into()), create("a/d/x")]);
    for dir in ["a", "a/d"] {
        let ino = twin.hold(dir);
        twin.with_view(|v| v.setattr(ino, twin::me(), depsfs::overlay::SetAttr { mode: Some(0), ..twin::unchanged() }))
            .expect("set");
    }
    twin.take_over();
    let ino = twin.hold("a/d/x");
    twin.with_view(|v| v.write(ino, 0, b"open since before", None)).expect("written");
    assert_eq!(twin.content("a/d/x").as_deref(), Some(&b"open since before"[..]));
    let dir = twin.hold("a");
    assert_eq!(twin.with_view(|v| v.getattr(dir)).expect("there").mode & 0o7777, 0);
    assert_eq!(twin.with_view(|v| v.getattr(dir)).expect("there").nlink, 4);
}
