//! The same life for an ordinary user, whose mounts go through fusermount3.

use crate::bench::Bench;

#[test]
fn an_ordinary_user_creates_changes_and_removes_a_worktree() {
    // SAFETY of the premise: only root can become somebody else; others are ordinary already.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let bench = Bench::of_user(is_root.then_some(65534));
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.mounts().len(), 2);
    bench.assert_clean("fix");
    let status = bench.ok("fix", ["status"]);
    assert!(status.starts_with("[ok]      build\n[ok]      node_modules\n"), "{status}");
    bench.ok("fix", ["thaw", "build"]);
    bench.ok("fix", ["unmount"]);
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.ok("fix", ["diff"]), "");
    bench.ok("repo", ["remove", "fix", "--delete-branch"]);
    assert!(!bench.is_there("fix") && bench.mounts().is_empty());
    bench.assert_sound();
}
