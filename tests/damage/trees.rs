//! Trees: their bytes are those of their names before anything of them shows, and what is lost later is an error.

use depsfs::overlay::OverlayError;
use depsfs::store::{Cookie, DamageKind, Manifest, Node, StoreError};

use super::*;

#[test]
fn a_tree_with_a_changed_bit_is_not_opened_and_the_next_import_mends_it() {
    let case = Case::new();
    let source = case.source(&[b"one", b"two"]);
    let tree = case.import(&source);
    let path = case.store.tree_path(tree);
    let good = fs::read(&path).unwrap();
    for at in (0..good.len() as u64).step_by(37) {
        flip(&path, at, (at % 8) as u8);
        let refused = case.store.tree(tree).map(|_| ());
        assert!(matches!(refused, Err(StoreError::BadTree { id, .. }) if id == tree), "{at}: {refused:?}");
        assert!(matches!(case.store.mapped_tree(tree).map(|_| ()), Err(StoreError::BadTree { .. })), "{at}");
        assert_eq!(case.import(&source), tree);
        assert!(fs::read(&path).unwrap() == good, "{at}");
    }
    to_damage(&path).set_len(good.len() as u64 + (1 << 40)).unwrap();
    assert!(matches!(case.store.tree(tree).map(|_| ()), Err(StoreError::BadTree { .. })));
    assert_eq!(case.import(&source), tree);
    assert_eq!(case.store.verify(&()).unwrap(), []);
}

/// The last name of the root has a cookie that is not its own, and the tree's file the name of those bytes.
#[test]
fn a_tree_whose_listing_would_go_in_a_circle_is_refused_though_its_hash_is_right() {
    let case = Case::new();
    let tree = case.store.tree(case.import(&case.source(&[b"one", b"two"]))).unwrap();
    let entries = 64 + 48 * tree.node_count() as usize;
    let last = tree.entry_count(Node::ROOT) as usize - 1;
    let mut bytes = tree.bytes().to_vec();
    let at = entries + 16 * last;
    let cookie = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    bytes[at..at + 8].copy_from_slice(&(cookie | 1 << 62).to_le_bytes());
    let crafted = Tree::from_bytes(bytes.clone()).unwrap();
    for entry in crafted.entries(Node::ROOT, 0) {
        assert_eq!(entry.cookie, Cookie::of(entry.name));
    }
    let path = case.store.tree_path(crafted.id());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(case.store.tree(crafted.id()), Err(StoreError::BadTree { .. })));
}

/// Of so many names that it is mapped.
fn large(case: &Case) -> TreeId {
    let contents: Vec<Vec<u8>> = (0..1500).map(|n| n.to_string().into_bytes()).collect();
    case.import(&case.source(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn wait() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn what_a_mapped_tree_has_lost_is_an_error_in_its_view_until_the_tree_is_whole_again() {
    let case = Case::new();
    let tree = large(&case);
    let path = case.store.tree_path(tree);
    let good = fs::read(&path).unwrap();
    let view = case.view(tree);
    let file = view.lookup(Ino::ROOT, &name("7")).unwrap();
    let link = view.lookup(Ino::ROOT, &name("link")).unwrap();
    let caller = depsfs::overlay::Caller { uid: file.uid, gid: file.gid };
    let whole = list(&view).unwrap();
    let is_lost = |view: &Overlay| {
        assert!(matches!(list(view), Err(OverlayError::LostTree(id)) if id == tree));
        assert!(matches!(view.lookup(Ino::ROOT, &name("0")), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.lookup(Ino::ROOT, &name("absent")), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.getattr(file.ino), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.readlink(link.ino), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.read(file.ino, 0, 10, |b| b.len()), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.xattr(file.ino, b"user.a"), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.write(file.ino, 0, b"x", None), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.unlink(Ino::ROOT, &name("1")), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.mkdir(Ino::ROOT, &name("new"), 0o755, caller), Err(OverlayError::LostTree(_))));
        assert!(matches!(view.mkdir(Ino::ROOT, &name("8"), 0o755, caller), Err(OverlayError::LostTree(_))));
    };
    let is_whole = |view: &Overlay| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &good).unwrap();
        wait();
        // The first that asks finds it whole.
        let _ = list(view);
        assert!(list(view).unwrap() == whole);
        assert_eq!(view.read(file.ino, 0, 10, |b| b.to_vec()).unwrap(), b"7");
    };
    to_damage(&path).set_len(0).unwrap();
    is_lost(&view);
    is_lost(&view);
    is_whole(&view);
    // A byte that is only changed raises no signal; it is seen a moment later.
    flip(&path, good.len() as u64 - 1, 3);
    wait();
    is_lost(&view);
    is_whole(&view);
    // Touched, not changed.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    wait();
    assert!(list(&view).unwrap() == whole);
}

#[test]
fn a_small_tree_that_is_cut_is_shown_as_it_was() {
    let case = Case::new();
    let tree = case.import(&case.source(&[b"one", b"two"]));
    let view = case.view(tree);
    to_damage(&case.store.tree_path(tree)).set_len(10).unwrap();
    wait();
    assert_eq!(list(&view).unwrap(), ["0", "1", "link", "sub"]);
}

#[test]
fn verify_names_a_missing_tree_that_only_a_worktree_needs() {
    let case = Case::new();
    let tree = case.import(&case.source(&[b"one"]));
    let worktree = case.dir.path().join("work\ntree");
    let mut manifest = Manifest::new(&worktree, case.store.path());
    let graft = depsfs::store::manifest::Graft { tree, at: "".into(), entry: None, origin: "".into(), retired: false };
    let view = depsfs::store::manifest::ViewSpec { id: "0".repeat(16), grafts: vec![graft], ..Default::default() };
    manifest.views.push(view);
    let file = case.dir.path().join("manifest.json");
    manifest.save(&file).unwrap();
    case.store.roots().add(&file, &manifest.trees()).unwrap();
    assert_eq!(case.store.verify(&()).unwrap(), []);
    fs::remove_file(case.store.tree_path(tree)).unwrap();
    let found = case.store.verify(&()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, case.store.tree_path(tree));
    let DamageKind::Missing { needed_by } = &found[0].kind else { panic!("{found:?}") };
    assert!(needed_by.starts_with("worktree ") && needed_by.ends_with("work%0Atree"), "{needed_by}");
}
