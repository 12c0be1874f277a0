//! Objects that the store has lost: reported by status and doctor, and brought back by every command that reads good
//! bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use depsfs::store::ObjectId;

use crate::bench::{Bench, json};

/// Of a file that has an object of its own.
fn content() -> Vec<u8> {
    (0..300_000u32).map(|n| (n % 253) as u8).collect()
}

/// A checkout with that file in `node_modules/big`, and a worktree with a view of it.
fn created() -> (Bench, PathBuf) {
    created_in(Bench::new())
}

fn created_in(bench: Bench) -> (Bench, PathBuf) {
    fs::write(bench.path("repo/node_modules/big"), content()).unwrap();
    bench.ok("repo", ["create", "fix"]);
    let hash = ObjectId::of(&content()).hex();
    let object = bench.path(&format!("store/objects/{}/{}", &hash[..2], &hash[2..]));
    assert!(object.exists());
    (bench, object)
}

#[test]
fn a_missing_object_comes_back_with_the_next_create_also_in_a_worktree_that_is_mounted() {
    let (bench, object) = created();
    fs::remove_file(&object).unwrap();
    let big = |at: &str| fs::read(bench.path(at).join("node_modules/big"));
    assert_eq!(big("fix").unwrap_err().raw_os_error(), Some(5));
    let said = bench.status("fix", &[]);
    assert!(said.contains("damaged:  1 object of the store"), "{said}");
    let hash = ObjectId::of(&content()).hex();
    assert_eq!(json(&bench.status("fix", &["--json"]))["lost_objects"], serde_json::json!([hash]));
    bench.ok("repo", ["create", "second"]);
    for at in ["second", "fix"] {
        assert!(big(at).unwrap() == content(), "{at}");
    }
    assert!(!bench.status("fix", &[]).contains("damaged:"));
    bench.assert_sound();
}

#[test]
fn doctor_brings_back_a_missing_object_and_a_damaged_tree_from_the_checkouts() {
    for bench in Bench::in_both_shapes() {
        let (bench, object) = created_in(bench);
        bench.ok("fix", ["unmount"]);
        fs::remove_file(&object).unwrap();
        for bucket in fs::read_dir(bench.path("store/trees")).unwrap() {
            for tree in fs::read_dir(bucket.unwrap().path()).unwrap() {
                let tree = tree.unwrap().path();
                let mut bytes = fs::read(&tree).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::set_permissions(&tree, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(&tree, bytes).unwrap();
            }
        }
        let said = bench.depsfs("fix", ["mount"]);
        assert!(
            said.code != 0 && said.err.contains("its bytes are not those of its name"),
            "{} {}",
            said.code,
            said.err
        );
        bench.ok("repo", ["doctor", "--fix"]);
        bench.assert_sound();
        bench.ok("fix", ["mount"]);
        assert!(fs::read(bench.path("fix/node_modules/big")).unwrap() == content());
    }
}

#[test]
fn a_large_object_that_is_cut_is_an_error_that_no_program_takes_for_the_file() {
    let (bench, object) = created();
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::OpenOptions::new().write(true).open(&object).unwrap().set_len(10).unwrap();
    let file = bench.path("fix/node_modules/big");
    assert_eq!(fs::read(&file).unwrap_err().raw_os_error(), Some(5));
    assert!(fs::copy(&file, bench.path("copy")).is_err());
    assert!(
        fs::OpenOptions::new().append(true).open(&file).and_then(|mut f| std::io::Write::write(&mut f, b"x")).is_err()
    );
    bench.ok("repo", ["create", "second"]);
    assert!(fs::read(&file).unwrap() == content());
}

#[test]
fn a_create_from_a_view_names_the_files_whose_bytes_the_store_has_lost() {
    let cases = ["nothing", "another file", "its mode"].map(|changed| Bench::in_both_shapes().map(|b| (changed, b)));
    for (changed, bench) in cases.into_iter().flatten() {
        let (bench, object) = created_in(bench);
        match changed {
            "another file" => bench.write("fix/node_modules/own", "a change\n"),
            "its mode" => {
                let file = bench.path("fix/node_modules/big");
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
            _ => {}
        }
        fs::remove_file(&object).unwrap();
        fs::remove_dir_all(bench.path("repo/node_modules")).unwrap();
        let said = bench.ok("fix", ["create", "second"]);
        assert!(said.contains("damaged:  the store has lost the bytes of 1 file: node_modules/big"), "{said}");
        assert_eq!(fs::read(bench.path("second/node_modules/big")).unwrap_err().raw_os_error(), Some(5));
        // An object that the store has again is named no more.
        fs::create_dir(bench.path("repo/node_modules")).unwrap();
        fs::write(bench.path("repo/node_modules/big"), content()).unwrap();
        bench.ok("repo", ["create", "third"]);
        let said = bench.ok("fix", ["create", "fourth"]);
        assert!(!said.contains("damaged:"), "{said}");
        assert!(fs::read(bench.path("second/node_modules/big")).unwrap() == content());
    }
}
