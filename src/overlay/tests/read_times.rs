//! The times at which files were read.

use super::*;

#[test]
fn when_a_file_was_read_is_remembered_only_of_what_the_store_has_and_shows() {
    let lab = Lab::new();
    let case = lab.case();
    let [plain, dir, one] = ["plain", "dir", "dir/one"].map(|path| case.ino(path));
    let overlay = case.overlay();
    let remembered = |ino| overlay.view.lock().read_at.contains_key(&ino);
    for ino in [plain, one] {
        overlay.read(ino, 0, 9, |_| ()).expect("read");
    }
    assert!(remembered(plain) && remembered(dir) && remembered(one));
    overlay.write(plain, 0, b"own", None).expect("written");
    assert!(!remembered(plain), "it has a copy, which has its own");
    overlay.regraft(vec![graft(&case.other, false)]).expect("grafted");
    assert!(remembered(dir), "another tree has it, too");
    assert!(!remembered(one), "nothing shows it any more");
}
