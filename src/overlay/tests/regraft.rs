//! Trees that come and go while files of other trees were moved into their directories.

use super::*;

/// A tree with one directory of this name, and a file in it.
fn tree_of(lab: &Lab, dir: &str) -> Arc<Tree> {
    let stage = lab.store.stage().expect("a stage");
    let object = stage.add_bytes(b"of the third").expect("an object");
    let mut builder = TreeBuilder::new(meta(0o755));
    let slot = builder.add(Slot::ROOT, name(dir), meta(0o755), Item::Dir).expect("a directory");
    builder.add(slot, name("own file"), meta(0o644), Item::File { object, size: 12, blocks: 8 }).expect("a file");
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
