//! The write-back of files that were emptied.

use super::*;

#[test]
fn small_writes_to_a_file_that_was_emptied_go_to_the_disk_together_and_soon() {
    let lab = Lab::new();
    let case = lab.case();
    let (overlay, ino) = (case.overlay(), case.ino("plain"));
    overlay.setattr(ino, case.caller(), SetAttr { size: Some(0), ..keep() }).expect("emptied");
    let plan = Plan { calls: |call| call == Call::Sync, from: u32::MAX, for_ever: false, errno: 0, torn: false };
    let guard = plan.lay();
    let write = |n: u64| {
        overlay.write(ino, n * 4096, &[7; 4096], None).expect("written");
    };
    (0..255).for_each(write);
    assert_eq!(guard.seen(), 1, "the first");
    (255..300).for_each(write);
    assert_eq!(guard.seen(), 2, "and when a stretch is full");
    let is_due = || !overlay.view.lock().writeback.truncated.is_empty();
    assert!(is_due());
    for _ in 0..1000 {
        std::thread::sleep(std::time::Duration::from_millis(if is_due() { 10 } else { 0 }));
    }
    assert!(!is_due(), "a moment later the rest");
    write(301);
    overlay.view.lock().files.clear();
    assert_eq!(guard.seen(), 3, "the caller gives place to others and doesn't wait");
}
