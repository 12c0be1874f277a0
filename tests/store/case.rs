//! A store in a temporary directory, which the tests of the store begin with.

use depsfs::store::Store;

pub struct Case {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Case {
    pub fn new() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Case { dir, store }
    }
}
