//! `create` and `adopt` on a disk that becomes full meanwhile, wherever: what fails leaves nothing half made.

use std::fs;

use crate::bench::{Bench, Said};
use crate::small::{Small, fill, small};

/// How much room there is, in bytes, from none to nearly enough.
const ROOM: [usize; 7] = [0, 4 << 10, 40 << 10, 120 << 10, 300 << 10, 700 << 10, 900 << 10];

fn bench() -> Option<(Small, Bench)> {
    let disk = small(&[])?;
    let bench = Bench::below(&disk.at);
    bench.write("repo/build/lib.a", &"library\n".repeat(40_000));
    for n in 0..40 {
        bench.write(&format!("repo/node_modules/many/{n}.js"), &format!("// {n}\n").repeat(200));
    }
    Some((disk, bench))
}

/// Runs it with so much room.
fn with_room(bench: &Bench, disk: &Small, room: usize, at: &str, args: &[&str]) -> Said {
    let spare = disk.at.join("room");
    fs::write(&spare, vec![1; room]).unwrap();
    fill(&disk.at);
    fs::remove_file(&spare).unwrap();
    nix::unistd::sync();
    let said = bench.depsfs(at, args);
    for entry in fs::read_dir(&disk.at).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    said
}

fn refs(bench: &Bench) -> (String, String) {
    (bench.git("repo", ["worktree", "list", "--porcelain"]), bench.git("repo", ["branch", "--list"]))
}

fn assert_told(said: &Said, room: usize) {
    // git doesn't always say why.
    let is_said = said.err.contains("No space left on device") || said.err.contains("git's own words");
    assert!(is_said, "with room for {room}: {said:?}");
}

#[test]
fn a_directory_that_is_larger_than_the_room_is_refused_before_it_is_read() {
    let Some(disk) = small(&[]) else { return };
    let bench = Bench::new();
    let large: Vec<u8> = (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::create_dir_all(bench.path("repo/build/large")).unwrap();
    for n in 0..3 {
        fs::write(bench.path(&format!("repo/build/large/{n}")), &large[n..]).unwrap();
    }
    nix::unistd::sync();
    let before = refs(&bench);
    let mut create = bench.command(crate::bench::PROGRAM, "repo");
    let said = crate::bench::run(create.args(["create", "fix"]).env("DEPSFS_STORE", disk.at.join("store")));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("No space left on device: it takes at least 27000012 bytes"), "{said:?}");
    assert!(said.err.contains("hint: everything made so far has been taken back; free space"), "{said:?}");
    assert!(!bench.is_there("fix"));
    assert_eq!(refs(&bench), before);
}

#[test]
fn a_create_that_meets_a_full_disk_leaves_nothing_and_works_when_there_is_room() {
    let Some((disk, bench)) = bench() else { return };
    let before = refs(&bench);
    let mut failed = 0;
    for room in ROOM {
        let said = with_room(&bench, &disk, room, "repo", &["create", "fix"]);
        if said.code == 0 {
            assert_eq!(bench.read("fix/build/out.o"), "object\n");
            bench.ok("repo", ["remove", "fix", "--delete-branch"]);
        } else {
            failed += 1;
            assert_told(&said, room);
        }
        assert_eq!(refs(&bench), before, "with room for {room}");
        assert!(!bench.is_there("fix") && bench.mounts().is_empty(), "with room for {room}");
        bench.ok("", ["gc"]);
        bench.assert_sound();
        assert_eq!(bench.ok("", ["list", "--all"]), "", "with room for {room}");
    }
    assert!(failed > 2, "{failed}");
    bench.ok("repo", ["create", "fix"]);
    assert_eq!(bench.read("fix/build/lib.a"), "library\n".repeat(40_000));
    bench.assert_clean("fix");
    bench.ok("repo", ["remove", "fix"]);
}

#[test]
fn an_adopt_that_meets_a_full_disk_leaves_the_worktree_as_it_was_and_works_when_there_is_room() {
    let Some((disk, bench)) = bench() else { return };
    bench.git("repo", ["worktree", "add", "-q", "../fix"]);
    let before = refs(&bench);
    let mut failed = 0;
    for room in ROOM {
        let said = with_room(&bench, &disk, room, "fix", &["adopt"]);
        if said.code == 0 {
            assert_eq!(bench.read("fix/build/out.o"), "object\n");
            break;
        }
        failed += 1;
        assert_told(&said, room);
        assert_eq!(refs(&bench), before, "with room for {room}");
        assert!(bench.mounts().is_empty(), "with room for {room}");
        assert_eq!(fs::read_dir(bench.path("fix")).unwrap().count(), 5, "with room for {room}");
        bench.assert_clean("fix");
        bench.ok("", ["gc"]);
        bench.assert_sound();
    }
    assert!(failed > 1, "{failed}");
    bench.ok("fix", ["adopt"]);
    assert_eq!(bench.read("fix/build/lib.a"), "library\n".repeat(40_000));
    bench.assert_clean("fix");
    bench.ok("fix", ["unmount"]);
}
