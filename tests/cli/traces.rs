//! Artifacts that hold the absolute path of their source: named, relocated or not shared.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::bench::{Bench, Said, json, metadata, run};

/// `build` as a build tool leaves it, with the path of the checkout in it.
fn traced() -> Bench {
    let bench = Bench::new();
    let root = bench.path("repo").display().to_string();
    bench.write("repo/build/CMakeCache.txt", &format!("CMAKE_HOME_DIRECTORY:INTERNAL={root}\nX={root}-old\n"));
    bench.write("repo/build/deep/run.sh", &format!("#!{root}/build/prog -I{root}/src\n"));
    bench.write("repo/build/prog", &format!("\0ELF {root}/src/main.c\0"));
    symlink(format!("{root}/src"), bench.path("repo/build/link")).unwrap();
    let executable = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(bench.path("repo/build/deep/run.sh"), executable).unwrap();
    std::fs::set_permissions(bench.path("repo/build/deep"), std::fs::Permissions::from_mode(0o700)).unwrap();
    bench
}

#[test]
fn create_and_status_name_what_holds_the_path_and_leave_it() {
    let bench = traced();
    bench.git("repo", ["config", "depsfs.absolutePaths", "leave"]);
    let repo = bench.path("repo").display().to_string();
    let words = format!("paths:    3 files hold {repo}: build/CMakeCache.txt, build/deep/run.sh, build/link\n");
    for name in ["one", "two"] {
        assert!(bench.ok("repo", ["create", name]).contains(&words));
        assert!(bench.status(name, &[]).contains(&words));
        assert_eq!(metadata(&bench.path(name).join("build")), metadata(&bench.path("repo/build")));
        assert_eq!(bench.ok(name, ["diff"]), "");
    }
    let traces = json(&bench.status("one", &["--json"]))["absolute_paths"][0].clone();
    assert_eq!(traces["path"], "build");
    let kinds: Vec<_> = traces["traces"].as_array().unwrap().iter().map(|t| t["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "text", "link", "binary"]);
    assert_eq!(traces["traces"][0]["root"], repo.as_str());
    // A worktree made from a worktree has the paths of the first source, unchanged or changed.
    assert!(bench.ok("one", ["create", "of-clean"]).contains(&words));
    bench.write("two/build/new", &bench.path("two").display().to_string());
    let said = bench.ok("two", ["create", "of-changed"]);
    assert!(said.contains("paths:    4 files hold"), "{said}");
    // Nothing to say: nothing said.
    std::fs::remove_dir_all(bench.path("repo/build")).unwrap();
    assert!(!bench.ok("repo", ["create", "three"]).contains("paths:"));
}

#[test]
fn relocated_text_files_and_links_have_the_new_path_and_the_old_times_and_modes() {
    let bench = traced();
    let said = bench.ok("repo", ["create", "fix"]);
    let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
    assert!(said.contains("paths:    3 files relocated\n"), "{said}");
    let list = format!(
        "relocated  build/CMakeCache.txt\nrelocated  build/deep/run.sh\nrelocated  build/link\n\
         binary     build/prog holds {repo}\n"
    );
    assert_eq!(bench.status("fix", &["--paths"]), list);
    assert_eq!(bench.read("fix/build/CMakeCache.txt"), format!("CMAKE_HOME_DIRECTORY:INTERNAL={fix}\nX={repo}-old\n"));
    assert_eq!(bench.read("fix/build/deep/run.sh"), format!("#!{fix}/build/prog -I{fix}/src\n"));
    assert_eq!(std::fs::read(bench.path("fix/build/prog")).unwrap(), format!("\0ELF {repo}/src/main.c\0").as_bytes());
    assert_eq!(std::fs::read_link(bench.path("fix/build/link")).unwrap(), bench.path("fix/src"));
    for at in ["", "CMakeCache.txt", "deep", "deep/run.sh", "link", "out.o"] {
        let of = |tree: &str| bench.path(tree).join("build").join(at).symlink_metadata().unwrap();
        let (old, new) = (of("repo"), of("fix"));
        let told = |m: &std::fs::Metadata| (m.mode(), m.mtime(), m.mtime_nsec());
        assert_eq!(told(&new), told(&old), "{at}");
    }
    bench.assert_clean("fix");
    assert_eq!(bench.ok("fix", ["diff"]), "", "none of it is the user's change");
    // On to the next: what was relocated is relocated again, the binary is still the first source's.
    let said = bench.ok("fix", ["create", "next"]);
    assert!(said.contains("paths:    3 files relocated\n"), "{said}");
    let next = bench.path("next").display().to_string();
    assert_eq!(bench.read("next/build/deep/run.sh"), format!("#!{next}/build/prog -I{next}/src\n"));
    assert!(bench.read("repo/build/deep/run.sh").contains(&repo), "the source is only read");
    bench.assert_sound();
}

#[test]
fn a_relocated_file_is_written_only_when_it_is_changed() {
    for shape in ["--view=directories", "--view=worktree"] {
        let bench = traced();
        bench.ok("repo", ["create", "fix", shape]);
        let fix = bench.path("fix").display().to_string();
        let script = format!("#!{fix}/build/prog -I{fix}/src\n");
        assert_eq!(bench.path("fix/build/deep/run.sh").metadata().unwrap().len(), script.len() as u64);
        assert_eq!(bench.read("fix/build/deep/run.sh"), script);
        bench.ok("fix", ["unmount"]);
        assert!(!bench.is_there("fix/build/deep/run.sh") && !bench.is_there("fix/build/link"), "{shape}");
        bench.ok("fix", ["mount"]);
        let mut file = std::fs::OpenOptions::new().append(true).open(bench.path("fix/build/deep/run.sh")).unwrap();
        std::io::Write::write_all(&mut file, b"mine\n").unwrap();
        drop(file);
        std::fs::rename(bench.path("fix/build/CMakeCache.txt"), bench.path("fix/build/moved")).unwrap();
        std::fs::hard_link(bench.path("fix/build/link"), bench.path("fix/build/again")).unwrap();
        for is_mounted_again in [false, true] {
            assert_eq!(bench.read("fix/build/deep/run.sh"), format!("{script}mine\n"));
            assert!(bench.read("fix/build/moved").starts_with(&format!("CMAKE_HOME_DIRECTORY:INTERNAL={fix}\n")));
            assert_eq!(std::fs::read_link(bench.path("fix/build/again")).unwrap(), bench.path("fix/src"));
            if !is_mounted_again {
                bench.ok("fix", ["unmount"]);
                assert_eq!(bench.read("fix/build/deep/run.sh"), format!("{script}mine\n"));
                bench.ok("fix", ["mount"]);
            }
        }
        bench.assert_sound();
    }
}

#[test]
fn what_a_worktree_publishes_or_gives_to_the_next_holds_its_own_path() {
    let bench = traced();
    bench.ok("repo", ["create", "fix"]);
    let fix = bench.path("fix").display().to_string();
    bench.write(
        "fix/depsfs.toml",
        "[[component]]\nname = \"b\"\npaths = [\"build\"]\nkey = { files = [\".gitignore\"] }\n",
    );
    let said = bench.ok("fix", ["publish"]);
    assert!(said.contains("b"), "{said}");
    bench.git("fix", ["config", "depsfs.absolutePaths", "leave"]);
    let script = format!("#!{fix}/build/prog -I{fix}/src\n");
    bench.ok("fix", ["create", "of-artifact"]);
    assert_eq!(bench.read("of-artifact/build/deep/run.sh"), script);
    std::fs::remove_file(bench.path("fix/depsfs.toml")).unwrap();
    let said = bench.ok("fix", ["create", "next"]);
    assert!(said.contains(&format!("3 files hold {fix}")), "{said}");
    assert_eq!(bench.read("next/build/deep/run.sh"), script);
}

#[test]
fn a_reset_drops_the_users_changes_and_relocates_again() {
    let bench = traced();
    bench.ok("repo", ["create", "fix"]);
    let fix = bench.path("fix").display().to_string();
    let script = format!("#!{fix}/build/prog -I{fix}/src\n");
    for (is_mounted, target) in [(true, "build/deep"), (true, "build"), (false, "build/deep"), (false, "build")] {
        bench.write("fix/build/deep/run.sh", "mine\n");
        std::fs::remove_file(bench.path("fix/build/link")).unwrap();
        if !is_mounted {
            bench.ok("fix", ["unmount"]);
        }
        let said = bench.ok("fix", ["reset", "--yes", target]);
        assert!(said.contains("M build/deep/run.sh") && !said.contains("CMakeCache"), "{said}");
        bench.ok("fix", ["mount"]);
        assert_eq!(bench.read("fix/build/deep/run.sh"), script, "{is_mounted} {target}");
        let left = if target == "build" { "" } else { "D build/link\n" };
        assert_eq!(bench.ok("fix", ["diff"]), left, "{is_mounted} {target}");
        bench.ok("fix", ["reset", "--yes", "build/link"]);
        assert_eq!(std::fs::read_link(bench.path("fix/build/link")).unwrap(), bench.path("fix/src"));
    }
    bench.assert_clean("fix");
}

#[test]
fn a_worktree_that_was_moved_gets_its_new_path_and_keeps_what_the_user_changed() {
    let bench = traced();
    bench.ok("repo", ["create", "fix"]);
    bench.write("fix/build/CMakeCache.txt", "mine\n");
    bench.ok("fix", ["unmount"]);
    bench.git("repo", ["worktree", "move", "../fix", "../other"]);
    bench.ok("other", ["mount"]);
    let other = bench.path("other").display().to_string();
    assert_eq!(bench.read("other/build/deep/run.sh"), format!("#!{other}/build/prog -I{other}/src\n"));
    assert_eq!(std::fs::read_link(bench.path("other/build/link")).unwrap(), bench.path("other/src"));
    assert_eq!(bench.read("other/build/CMakeCache.txt"), "mine\n");
    assert_eq!(bench.ok("other", ["diff"]), "M build/CMakeCache.txt\n");
    let of = |tree: &str| bench.path(tree).join("build/deep").symlink_metadata().unwrap();
    assert_eq!((of("other").mtime(), of("other").mode()), (of("repo").mtime(), of("repo").mode()));
    // Once more, of all worktrees at once.
    bench.ok("other", ["unmount"]);
    bench.git("repo", ["worktree", "move", "../other", "../third"]);
    bench.ok("repo", ["mount", "--all"]);
    let third = bench.path("third").display().to_string();
    assert_eq!(bench.read("third/build/deep/run.sh"), format!("#!{third}/build/prog -I{third}/src\n"));
}

#[test]
fn a_copied_single_file_has_the_new_path_and_its_mode_and_is_named() {
    let bench = traced();
    let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
    bench.write("repo/.env", &format!("ROOT={repo}\n"));
    std::fs::set_permissions(bench.path("repo/.env"), std::fs::Permissions::from_mode(0o400)).unwrap();
    symlink(format!("{repo}/build/CMakeCache.txt"), bench.path("repo/a.log")).unwrap();
    let said = bench.ok("repo", ["create", "fix"]);
    assert!(said.contains("copied:   2 ignored files: .env, a.log\n"), "{said}");
    assert!(said.contains("paths:    5 files relocated\n"), "{said}");
    assert!(said.ends_with("  next:     cd ../fix\n"), "{said}");
    assert_eq!(bench.read("fix/.env"), format!("ROOT={fix}\n"));
    assert_eq!(std::fs::read_link(bench.path("fix/a.log")).unwrap(), bench.path("fix/build/CMakeCache.txt"));
    let of = |tree: &str| bench.path(tree).join(".env").metadata().unwrap();
    assert_eq!((of("fix").mode() & 0o777, of("fix").mtime()), (0o400, of("repo").mtime()));
    assert_eq!(bench.ok("fix", ["sync"]), "everything is up to date\n");
}

/// A C compiler makes a program that looks for its library in the checkout.
#[test]
fn a_binary_that_a_tool_obeys_is_named_with_its_consequence() {
    let bench = traced();
    let repo = bench.path("repo").display().to_string();
    bench.write("repo/app.c", "int f(void); int main(void) { return f(); }\n");
    bench.write("repo/f.c", "int f(void) { return 3; }\n");
    for line in [
        "cc -g -shared -fPIC -o build/libf.so f.c".into(),
        format!("cc -g -o build/app app.c -Lbuild -lf -Wl,-rpath,{repo}/build"),
        format!("cc -g -c -o build/app.o {repo}/app.c"),
    ] {
        if tool(&bench, "repo", &line).is_none() {
            return;
        }
    }
    bench.write("repo/build/.ninja_deps", &format!("# ninjadeps\n\0\0{repo}/src/a.h\0"));
    bench.write("repo/build/zipapp", &format!("#!{repo}/.venv/bin/python\nPK\0{repo}\0"));
    std::fs::set_permissions(bench.path("repo/build/zipapp"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = bench.ok("repo", ["create", "fix"]);
    let words = format!(
        "paths:    3 files relocated; 3 files hold {repo}: build/.ninja_deps (ninja compares the headers there), \
         build/app (loads libraries from there), build/zipapp (runs the interpreter there)\n"
    );
    assert!(said.contains(&words), "{said}");
    assert!(bench.status("fix", &[]).contains(&words));
    let list = bench.status("fix", &["--paths"]);
    assert!(list.contains(&format!("binary     build/app.o holds {repo}\n")), "{list}");
    assert!(list.contains(&format!("binary     build/app holds {repo}: loads libraries from there\n")), "{list}");
}

#[test]
fn an_artifact_that_holds_the_path_can_be_left_out_and_a_word_that_means_nothing_is_refused() {
    let bench = traced().with_mounts_of_directories();
    bench.git("repo", ["config", "depsfs.absolutePaths", "exclude"]);
    let said = bench.ok("repo", ["create", "fix"]);
    assert!(said.contains("left out: build: it holds the absolute path of the source"), "{said}");
    assert!(!bench.is_there("fix/build"));
    assert_eq!(bench.mounts(), [bench.path("fix/node_modules").to_str().unwrap()]);
    bench.git("repo", ["config", "depsfs.absolutePaths", "move"]);
    for args in [&["create", "other"][..], &["adopt", "../fix"]] {
        let refused = bench.depsfs("repo", args);
        let is_about_it = refused.err.contains("depsfs.absolutepaths is move,");
        assert!(args[0] == "adopt" || (refused.code == 2 && is_about_it), "{refused:?}");
    }
    assert!(!bench.is_there("other"));
}

#[test]
fn a_depsfs_toml_says_it_for_each_artifact() {
    let bench = traced();
    let root = bench.path("repo").display().to_string();
    for at in ["repo/build-out/x", "repo/build-left/x", "repo/sub/build/x"] {
        bench.write(at, &root);
    }
    let component = |name: &str, dir: &str, path: &str, what: &str| {
        format!(
            "[[component]]\nname = \"{name}\"\ndir = \"{dir}\"\npaths = [\"{path}\"]\nabsolute-paths = \"{what}\"\n"
        )
    };
    let text = component("a", "", "build", "relocate")
        + &component("b", "sub", "build*", "exclude")
        + &component("c", "", "build-left", "leave");
    bench.write("repo/depsfs.toml", &text);
    bench.commit("repo", "components");
    bench.git("repo", ["config", "depsfs.absolutePaths", "exclude"]);
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    for said in [bench.ok("repo", ["create", "fix"]), bench.ok("plain", ["adopt"])] {
        for line in [
            "paths:    3 files relocated; 1 file holds",
            "left out: sub/build: ",
            "left out: build-out: ",
            "build-left/x",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
    }
    assert!(bench.read("plain/build/CMakeCache.txt").contains(bench.path("plain").to_str().unwrap()));
}

#[test]
fn the_users_own_configuration_says_it_too_and_a_broken_depsfs_toml_is_told_before_anything_is_made() {
    let bench = traced();
    bench.git("repo", ["config", "depsfs.absolutePaths", "leave"]);
    let component = "[[component]]\nname = \"x\"\npaths = [\"build\"]\nabsolute-paths = \"relocate\"\n";
    // The file of a repository that has none, which the user's configuration names.
    bench.write(".config/depsfs/repo.toml", component);
    let repo = bench.path("repo").display().to_string();
    bench.write(".config/depsfs/config.toml", &format!("[[repository]]\npath = {repo:?}\nconfig = \"repo.toml\"\n"));
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    let in_it = |at: &str, args: &[&str]| {
        run(bench.command(crate::bench::PROGRAM, at).args(args).env("XDG_CONFIG_HOME", bench.path(".config")))
    };
    for said in [in_it("repo", &["create", "fix"]), in_it("plain", &["adopt"])] {
        assert!(said.code == 0 && said.out.contains("paths:    3 files relocated"), "{said:?}");
    }
    std::fs::remove_dir_all(bench.path(".config")).unwrap();
    bench.write("repo/depsfs.toml", "[[component]]\nname = 3\n");
    bench.commit("repo", "broken");
    bench.git("repo", ["worktree", "add", "-q", "-b", "more", "../other"]);
    for (at, args) in
        [("repo", &["create", "next"][..]), ("other", &["adopt"]), ("repo", &["create", "next", "--dry-run"])]
    {
        let said = bench.depsfs(at, args);
        assert!(said.code != 0 && said.err.contains("depsfs.toml, line 2"), "{said:?}");
        assert!(!bench.is_there("next") && !bench.is_there("other/build"));
        assert_eq!(bench.git("repo", ["branch", "--list", "*next*"]), "");
    }
}

#[test]
fn a_file_that_the_adopted_worktree_has_of_its_own_is_not_rewritten() {
    let bench = traced();
    bench.git("repo", ["worktree", "add", "-q", "-b", "work", "../plain"]);
    bench.write("plain/build/CMakeCache.txt", "mine\n");
    bench.write("plain/build/deep", "a file\n");
    let said = bench.ok("plain", ["adopt"]);
    assert!(said.contains("paths:    1 file relocated; 2 files hold"), "{said}");
    assert_eq!(bench.read("plain/build/CMakeCache.txt"), "mine\n");
    assert_eq!(bench.read("plain/build/deep"), "a file\n");
    assert_eq!(std::fs::read_link(bench.path("plain/build/link")).unwrap(), bench.path("plain/src"));
}

/// Runs a program that the machine may not have.
fn tool(bench: &Bench, at: &str, line: &str) -> Option<Said> {
    let program = line.split(' ').next().unwrap();
    let there = run(bench.command("sh", at).args(["-c", &format!("command -v {program}")])).code == 0;
    if !there {
        println!("skipped: {program} is not installed");
        return None;
    }
    let said = run(bench.command("sh", at).args(["-c", line]));
    assert_eq!(said.code, 0, "{line}: {said:?}");
    Some(said)
}

#[test]
fn a_python_environment_works_in_the_new_worktree_and_is_its_own() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", ".venv/\n");
    bench.commit("repo", "one");
    if tool(&bench, "repo", "python3 -m venv --without-pip .venv").is_none() {
        return;
    }
    let root = bench.path("repo").display().to_string();
    bench.write("repo/.venv/bin/where", &format!("#!{root}/.venv/bin/python3\nimport sys\nprint(sys.prefix)\n"));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.path("repo/.venv/bin/where"), executable).unwrap();
    bench.ok("repo", ["create", "fix"]);
    std::fs::rename(bench.path("repo/.venv"), bench.path("repo/gone")).unwrap();
    let own = format!("{}\n", bench.path("fix/.venv").display());
    assert_eq!(tool(&bench, "fix", ".venv/bin/where").unwrap().out, own);
    let activated = ". .venv/bin/activate && echo \"$VIRTUAL_ENV\" && command -v python";
    let said = run(bench.command("sh", "fix").args(["-c", activated]));
    assert_eq!(said.out, format!("{own}{}/bin/python\n", own.trim_end()));
}

#[test]
fn a_cmake_build_directory_goes_on_in_the_new_worktree() {
    let bench = Bench::empty(None);
    bench.write("repo/.gitignore", "build/\n");
    bench.write("repo/main.c", "int main(void) { return 3; }\n");
    bench
        .write("repo/CMakeLists.txt", "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(p main.c)\n");
    bench.commit("repo", "one");
    std::fs::create_dir(bench.path("repo/build")).unwrap();
    for line in ["cmake -S . -B build", "cmake --build build"] {
        if tool(&bench, "repo", line).is_none() {
            return;
        }
    }
    bench.git("repo", ["config", "depsfs.absolutePaths", "leave"]);
    bench.ok("repo", ["create", "left"]);
    let refused = run(bench.command("cmake", "left").args(["--build", "build"]));
    assert!(refused.code != 0 || !refused.out.contains("left"), "left as it is, it is the source's: {refused:?}");
    bench.git("repo", ["config", "--unset", "depsfs.absolutePaths"]);
    bench.ok("repo", ["create", "fix"]);
    let said = tool(&bench, "fix", "cmake --build build").unwrap();
    assert!(!said.out.contains("Building"), "nothing is to be built: {said:?}");
    bench.write("fix/main.c", "int main(void) { return 4; }\n");
    assert!(tool(&bench, "fix", "cmake --build build").unwrap().out.contains("Building"));
    let code = |at: &str| run(&mut bench.command("build/p", at)).code;
    assert_eq!((code("fix"), code("repo")), (4, 3));
    bench.assert_clean("repo");
}
