//! Trees that come and go while files of other trees were moved into their directories.

use super::*;
use crate::overlay::Stale;

/// A tree with one directory of this name, and a file in it.
fn tree_of(lab: &Lab, dir: &str) -> Arc<Tree> {
    tree_with(lab, dir, b"of the third")
}

fn tree_with(lab: &Lab, dir: &str, text: &[u8]) -> Arc<Tree> {
    let stage = lab.store.stage().expect("a stage");
    let object = stage.add_bytes(text).expect("an object");
    let mut builder = TreeBuilder::new(meta(0o755));
    let slot = builder.add(Slot::ROOT, name(dir), meta(0o755), Item::Dir).expect("a directory");
    builder
        .add(slot, name("own file"), meta(0o644), Item::File { object, size: text.len() as u64, blocks: 8 })
        .expect("a file");
    stage.publish().expect("published");
    lab.store.tree(lab.store.put_tree(&builder).expect("a tree")).expect("a tree")
}

fn show(case: &mut Case, specs: Vec<GraftSpec>, live: bool) {
    *case.grafts.borrow_mut() = specs.clone();
    if live {
        case.overlay().regraft(specs).expect("grafted");
        case.know();
    } else {
        case.open().expect("opened");
        case.know();
    }
}

fn move_into(case: &mut Case, dir: &str) {
    for (from, to) in [("dir", "dir"), ("plain", "plain"), ("moved", "moved")] {
        let (from_dir, from, _) = case.spot(from);
        let to = name(to);
        case.overlay().rename(from_dir, &from, case.ino(dir), &to, RenameFlags::empty()).expect("moved");
    }
    case.know();
}

fn assert_there(case: &Case, dir: &str) {
    let looks = case.looks().expect("looked");
    let bytes = |path: &str| looks.get(&format!("{dir}/{path}")).map(|look| look.bytes.clone());
    assert_eq!(bytes("dir/sub/x").as_deref(), Some(&b"x"[..]), "{:?}", looks.keys());
    assert_eq!(bytes("plain").as_deref(), Some(&b"the store's"[..]));
    assert_eq!(bytes("moved/m").as_deref(), Some(&b"moves along"[..]));
    assert_eq!(bytes("moved/new").as_deref(), Some(&b"new"[..]));
    assert!(!looks.contains_key("dir") && !looks.contains_key("plain") && !looks.contains_key("moved"));
}

#[test]
fn what_was_moved_into_a_directory_of_a_tree_that_goes_stays_there() {
    let lab = Lab::new();
    let third = tree_of(&lab, "third");
    for live in [true, false] {
        let mut case = lab.case();
        let both = vec![graft(&lab.lower, false), graft(&third, false)];
        show(&mut case, both.clone(), true);
        move_into(&mut case, "third");
        assert_there(&case, "third");
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, true)], live);
        assert_there(&case, "third");
        case.open().expect("opened");
        assert_there(&case, "third");
        case.open().expect("opened again");
        assert_there(&case, "third");
    }
}

#[test]
fn what_was_moved_into_an_own_directory_stays_there_when_a_tree_comes_that_has_such_a_directory() {
    let lab = Lab::new();
    let third = tree_of(&lab, "owndir");
    for live in [true, false] {
        let mut case = lab.case();
        move_into(&mut case, "owndir");
        assert_there(&case, "owndir");
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, false)], live);
        assert_there(&case, "owndir");
        case.open().expect("opened");
        assert_there(&case, "owndir");
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, true)], live);
        assert_there(&case, "owndir");
        case.open().expect("opened");
        assert_there(&case, "owndir");
    }
}

#[test]
fn what_was_moved_out_of_a_tree_that_goes_while_the_view_is_not_mounted_stays() {
    let lab = Lab::new();
    let third = tree_of(&lab, "third");
    for live in [true, false] {
        let mut case = lab.case();
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, false)], true);
        let ([from_dir, to_dir], from) = (["third", "owndir"].map(|dir| case.ino(dir)), name("own file"));
        case.overlay().rename(from_dir, &from, to_dir, &name("kept"), RenameFlags::empty()).expect("moved");
        case.overlay().rename(Ino::ROOT, &name("third"), to_dir, &name("third"), RenameFlags::empty()).expect("moved");
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, true)], live);
        for _ in 0..3 {
            let looks = case.looks().expect("looked");
            assert_eq!(looks["owndir/kept"].bytes, b"of the third");
            assert!(looks.contains_key("owndir/third") && !looks.contains_key("owndir/third/own file"));
            assert!(!looks.contains_key("third"));
            case.open().expect("opened");
        }
    }
}

/// Its directory keeps the number that the tree gave it, and what was moved since has nothing of that tree.
#[test]
fn what_a_tree_had_that_went_while_mounted_stays_away_from_what_was_moved_after_it() {
    let lab = Lab::new();
    let mut case = lab.case();
    show(&mut case, vec![graft(&lab.other, false), graft(&lab.lower, true)], true);
    let (dir, owndir) = (case.ino("dir"), case.ino("owndir"));
    case.overlay().rename(Ino::ROOT, &name("own"), dir, &name("one"), RenameFlags::empty()).expect("moved");
    case.overlay().rename(Ino::ROOT, &name("dir"), owndir, &name("dir"), RenameFlags::empty()).expect("moved");
    let before: Vec<String> = case.looks().expect("looked").into_keys().collect();
    assert!(before.contains(&"owndir/dir/one".into()) && !before.contains(&"owndir/dir/two".into()));
    for _ in 0..3 {
        case.open().expect("opened");
        assert_eq!(case.looks().expect("looked").into_keys().collect::<Vec<_>>(), before);
        assert_eq!(case.looks().expect("looked")["owndir/dir/one"].bytes, b"mine alone");
    }
}

#[test]
fn a_file_whose_mode_was_changed_stays_when_another_tree_has_its_name_mounted_or_not() {
    let lab = Lab::new();
    for live in [true, false] {
        let mut case = lab.case();
        case.overlay().setattr(case.ino("plain"), case.caller(), SetAttr { mode: Some(0o600), ..keep() }).expect("set");
        show(&mut case, vec![graft(&lab.other, false), graft(&lab.lower, true)], live);
        for _ in 0..2 {
            let looks = case.looks().expect("looked");
            assert_eq!((&looks["plain"].bytes[..], looks["plain"].mode), (&b"the store's"[..], 0o600), "live: {live}");
            case.open().expect("opened");
        }
    }
}

#[test]
fn what_was_moved_out_of_two_trees_is_kept_as_the_upper_one_had_it_whichever_goes() {
    let lab = Lab::new();
    let [below, above] = [&b"below"[..], b"above it"].map(|text| tree_with(&lab, "shared", text));
    for (live, goes) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut case = lab.case();
        show(&mut case, vec![graft(&below, false), graft(&lab.lower, false)], true);
        show(&mut case, [&below, &above, &lab.lower].map(|t| graft(t, false)).to_vec(), true);
        let to = case.ino("owndir");
        case.overlay().rename(Ino::ROOT, &name("shared"), to, &name("kept"), RenameFlags::empty()).expect("moved");
        let rest = [&below, &above][1 - goes];
        let gone = [&below, &above][goes];
        show(&mut case, vec![graft(rest, false), graft(&lab.lower, false), graft(gone, true)], live);
        for _ in 0..2 {
            let looks = case.looks().expect("looked");
            assert_eq!(looks["owndir/kept/own file"].bytes, b"above it", "live: {live}, goes: {goes}");
            case.open().expect("opened");
        }
    }
}

#[test]
fn what_was_moved_is_copied_when_the_last_tree_goes_that_has_it_and_not_before() {
    let lab = Lab::new();
    let [third, fourth] = ["dir", "fourth"].map(|dir| tree_of(&lab, dir));
    for live in [true, false] {
        let mut case = lab.case();
        show(&mut case, vec![graft(&lab.lower, false), graft(&third, false)], true);
        show(&mut case, vec![graft(&third, false), graft(&lab.lower, true)], true);
        let to = case.ino("owndir");
        case.overlay().rename(Ino::ROOT, &name("dir"), to, &name("kept"), RenameFlags::empty()).expect("moved");
        show(
            &mut case,
            [(&fourth, false), (&third, false), (&lab.lower, true)].map(|(t, r)| graft(t, r)).to_vec(),
            live,
        );
        let copy = case.dir.path().join("upper/owndir/kept");
        assert!(!paths::is_there(&copy), "live: {live}");
        show(
            &mut case,
            [(&fourth, false), (&third, true), (&lab.lower, true)].map(|(t, r)| graft(t, r)).to_vec(),
            live,
        );
        for _ in 0..2 {
            let looks = case.looks().expect("looked");
            assert_eq!(looks["owndir/kept/own file"].bytes, b"of the third", "live: {live}");
            assert!(!looks.contains_key("owndir/kept/one") && !looks.contains_key("dir"));
            case.open().expect("opened");
        }
    }
}

#[test]
fn the_kernel_forgets_the_names_of_a_tree_that_is_replaced_below_a_directory_that_stays() {
    let lab = Lab::new();
    let [old, new] = [&b"old"[..], b"newer"].map(|text| tree_with(&lab, "sub", text));
    let mut case = lab.case();
    let at = |tree: &Arc<Tree>, retired| GraftSpec { at: "dir/sub".into(), ..graft(tree, retired) };
    show(&mut case, vec![graft(&lab.lower, false), at(&old, false)], true);
    let dir = case.ino("dir/sub/sub");
    let stale = case.overlay().regraft(vec![graft(&lab.lower, false), at(&new, false), at(&old, true)]);
    let stale = stale.expect("grafted");
    let is_it =
        |s: &&Stale| matches!(s, Stale::Entry { parent, name } if *parent == dir && name.bytes() == b"own file");
    assert_eq!(stale.iter().filter(is_it).count(), 1);
}
