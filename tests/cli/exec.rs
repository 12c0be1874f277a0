//! `depsfs exec` and `depsfs shell`: the worktree at the source's path, for tools whose formats nobody can rewrite.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use crate::bench::{Bench, PROGRAM, Said, run, soon};

/// Whether a mount namespace can be made here for the user of the bench; if not, the reason is said.
fn can_exec(bench: &Bench) -> bool {
    let mut unshare = bench.command("unshare", "");
    if bench.uid.is_some() || !nix::unistd::geteuid().is_root() {
        unshare.arg("-U");
    }
    let is_possible = run(unshare.args(["-m", "true"])).code == 0;
    if !is_possible {
        println!("skipped: no mount namespace can be made here");
    }
    is_possible
}

/// Whether a program is installed; if not, that is said.
fn has(bench: &Bench, program: &str) -> bool {
    let is_there = run(bench.command("sh", "").args(["-c", &format!("command -v {program}")])).code == 0;
    if !is_there {
        println!("skipped: {program} is not installed");
    }
    is_there
}

fn inside(bench: &Bench, at: &str, line: &str) -> Said {
    bench.depsfs(at, ["exec", "--", "sh", "-c", line])
}

/// A repository with an artifact that holds its path, and a worktree of it.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("repo/build/Makefile", &format!("ROOT={}\n", bench.path("repo").display()));
    bench.ok("repo", ["create", "fix"]);
    bench
}

#[test]
fn a_cmake_project_compiles_nothing_and_after_an_edit_what_depends_on_it() {
    let bench = Bench::empty(None);
    if !can_exec(&bench) || !has(&bench, "cmake") || !has(&bench, "ninja") {
        return;
    }
    let sources: Vec<String> = (0..20).map(|n| format!("src/f{n}.c")).collect();
    for (n, at) in sources.iter().enumerate() {
        bench.write(&format!("repo/{at}"), &format!("#include \"f.h\"\nint f{n}(void) {{ return {n}; }}\n"));
    }
    bench.write("repo/include/f.h", "int f3(void);\n");
    bench.write("repo/src/main.c", "#include \"f.h\"\nint main(void) { return f3(); }\n");
    bench.write("repo/.gitignore", "build/\n");
    bench.write(
        "repo/CMakeLists.txt",
        &format!(
            "cmake_minimum_required(VERSION 3.10)\nproject(p C)\ninclude_directories(${{CMAKE_SOURCE_DIR}}/include)\n\
             add_library(f SHARED {})\nadd_executable(p src/main.c)\ntarget_link_libraries(p f)\n",
            sources.join(" ")
        ),
    );
    bench.commit("repo", "one");
    for line in ["cmake -G Ninja -S . -B build", "cmake --build build"] {
        assert_eq!(run(bench.command("sh", "repo").args(["-c", line])).code, 0);
    }
    let code = |at: &str| run(&mut bench.command("build/p", at)).code;
    bench.ok("repo", ["create", "fix"]);
    let said = inside(&bench, "fix", "ninja -C build");
    assert!(said.code == 0 && said.out.contains("ninja: no work to do"), "{said:?}");
    bench.write("fix/src/f3.c", "#include \"f.h\"\nint f3(void) { return 33; }\n");
    let said = inside(&bench, "fix", "ninja -C build; build/p");
    assert!(said.code == 33 && said.out.contains("[3/3]") && said.out.contains("f3.c.o"), "{said:?}");
    assert_eq!(code("repo"), 3);
    assert_eq!(inside(&bench, "fix", "ninja -C build | tail -1").out, "ninja: no work to do.\n");
    let said = run(bench.command("ninja", "repo").args(["-C", "build"]));
    assert!(said.out.contains("no work to do"), "{said:?}");
    bench.assert_clean("repo");
    // CMake writes its files again, with the source's path, and afterwards they hold the worktree's.
    bench.write("fix/CMakeLists.txt", &(bench.read("fix/CMakeLists.txt") + "add_executable(q src/main.c src/f3.c)\n"));
    let said = inside(&bench, "fix", "ninja -C build && ninja -C build");
    assert!(said.code == 0 && said.out.ends_with("ninja: no work to do.\n"), "{said:?}");
    let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
    let made = bench.read("fix/build/build.ninja");
    assert!(made.contains(&fix) && !made.contains(&format!("{repo}/")), "{made}");
    assert_eq!(inside(&bench, "fix", "ninja -C build").out.lines().last(), Some("ninja: no work to do."));
}

#[test]
fn git_and_the_files_are_the_worktrees_there_and_so_are_uid_directory_and_exit_code() {
    let bench = bench();
    if !can_exec(&bench) {
        return;
    }
    let repo = bench.path("repo").display().to_string();
    let fix = bench.path("fix").display().to_string();
    let said =
        inside(&bench, "fix", "pwd; git status --porcelain; echo $DEPSFS_WORKTREE; cat build/Makefile; id -u; id -g");
    let id = |what: &str| run(bench.command("id", "").arg(what)).out;
    assert_eq!(said.out, format!("{repo}\n{fix}\nROOT={repo}\n{}{}", id("-u"), id("-g")), "{said:?}");
    assert_eq!(bench.read("fix/build/Makefile"), format!("ROOT={fix}\n"));
    assert_eq!(bench.ok("fix", ["diff"]), "");
    // A commit lands on the worktree's branch; git works in it at both of its paths, and in the other worktrees.
    bench.ok("repo", ["create", "other"]);
    let line =
        format!("echo x >>src/main.c; git commit -qam there; git -C {fix} log -1 --format=%s; git -C ../other branch");
    let said = inside(&bench, "fix/src", "pwd");
    assert_eq!(said.out, format!("{repo}/src\n"), "{said:?}");
    let said = inside(&bench, "fix", &line);
    assert!(said.code == 0 && said.out.starts_with("there\n") && said.out.contains("* al/other"), "{said:?}");
    assert_eq!(bench.git("fix", ["log", "-1", "--format=%s"]), "there");
    assert_eq!(bench.git("repo", ["log", "-1", "--format=%s"]), "one");
    bench.assert_clean("repo");
    bench.assert_clean("fix");
    // From anywhere in the repository, by name; nested; with a program that is not there.
    assert_eq!(bench.ok("repo", ["exec", "fix", "--", "pwd"]), format!("{repo}\n"));
    let nested = format!("{PROGRAM} exec other -- sh -c 'git branch --show-current; echo $DEPSFS_WORKTREE'");
    let said = inside(&bench, "fix", &nested);
    assert_eq!(said.out, format!("al/other\n{}\n", bench.path("other").display()), "{said:?}");
    assert_eq!(inside(&bench, "fix", "exit 7").code, 7);
    let said = bench.depsfs("fix", ["exec", "--", "no-such-program"]);
    assert!(said.code == 127 && said.err.contains("cannot start no-such-program"), "{said:?}");
    let said = bench.depsfs("repo", ["exec", "--", "true"]);
    assert!(said.code != 0 && said.err.contains("depsfs create"), "{said:?}");
}

#[test]
fn a_signal_reaches_the_command_and_its_end_by_one_is_told() {
    let bench = bench();
    if !can_exec(&bench) {
        return;
    }
    let mut command = bench.command(PROGRAM, "fix");
    command.args([
        "exec",
        "--",
        "sh",
        "-c",
        "trap 'echo caught >build/caught; exit 9' TERM; touch build/ready; sleep 30 & wait",
    ]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    soon("the command runs", || bench.is_there("fix/build/ready"));
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(bench.read("fix/build/caught"), "caught\n");
    let mut command = bench.command(PROGRAM, "fix");
    let ended = command.args(["exec", "--", "sh", "-c", "kill -KILL $$"]).status().unwrap();
    assert_eq!(ended.signal(), Some(9));
}

#[test]
fn files_that_a_killed_exec_has_left_with_the_sources_path_are_mended() {
    let bench = bench();
    if !can_exec(&bench) {
        return;
    }
    let repo = format!("ROOT={}\n", bench.path("repo").display());
    let fix = format!("ROOT={}\n", bench.path("fix").display());
    let mut command = bench.command(PROGRAM, "fix");
    let line = "touch build/ready; while test ! -e build/go; do sleep 0.05; done";
    let mut child = command.args(["exec", "--", "sh", "-c", line]).spawn().unwrap();
    soon("the command runs", || bench.is_there("fix/build/ready"));
    assert_eq!(bench.read("fix/build/Makefile"), repo);
    // A second one beside it, which ends first, takes nothing from it.
    assert_eq!(inside(&bench, "fix", "cat build/Makefile").out, repo);
    assert_eq!(bench.read("fix/build/Makefile"), repo);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.write("fix/build/go", "");
    std::thread::sleep(Duration::from_millis(100));
    bench.ok("fix", ["mount"]);
    assert_eq!(bench.read("fix/build/Makefile"), fix);
    assert_eq!(bench.ok("fix", ["diff"]), "A build/go\nA build/ready\n");
}

#[test]
fn relocated_files_hold_the_sources_path_there_whoever_has_read_them_before() {
    let bench = Bench::new();
    let (repo, fix) = (bench.path("repo").display().to_string(), bench.path("fix").display().to_string());
    for n in 0..40 {
        bench.write(&format!("repo/build/f{n}"), &format!("{n} {repo} and {repo}/src\n"));
    }
    std::os::unix::fs::symlink(format!("{repo}/build/f3"), bench.path("repo/build/link")).unwrap();
    bench.ok("repo", ["create", "fix"]);
    if !can_exec(&bench) {
        return;
    }
    let all = |path: &str| (0..40).map(|n| format!("{n} {path} and {path}/src\n")).collect::<String>();
    let read = || (0..40).map(|n| bench.read(&format!("fix/build/f{n}"))).collect::<String>();
    let line = "for n in $(seq 0 39); do cat build/f$n; done; stat -c %s build/f7; readlink build/link";
    let there = |path: &str| format!("{}{}\n{path}/build/f3\n", all(path), format!("7 {path} and {path}/src\n").len());
    assert_eq!(read(), all(&fix));
    assert_eq!(inside(&bench, "fix", line).out, there(&repo));
    assert_eq!(read(), all(&fix));
    assert_eq!(std::fs::read_link(bench.path("fix/build/link")).unwrap(), bench.path("fix/build/f3"));
    // The user's bytes, in both places; what was written back unchanged as well.
    bench.write("fix/build/f5", &format!("mine {fix}\n"));
    bench.write("fix/build/f6", &format!("6 {fix} and {fix}/src\n"));
    std::fs::remove_file(bench.path("fix/build/f8")).unwrap();
    assert_eq!(
        inside(&bench, "fix", "cat build/f5 build/f6 build/f7; ls build/f8").out,
        format!("mine {repo}\n6 {repo} and {repo}/src\n7 {repo} and {repo}/src\n")
    );
    assert_eq!(bench.read("fix/build/f5"), format!("mine {fix}\n"));
    assert_eq!(bench.read("fix/build/f6"), format!("6 {fix} and {fix}/src\n"));
    assert_eq!(bench.ok("fix", ["diff"]), "M build/f5\nD build/f8\n");
    // A change in there is one of the worktree's, with its path afterwards.
    assert_eq!(inside(&bench, "fix", "echo more >>build/f9").code, 0);
    assert_eq!(bench.read("fix/build/f9"), format!("9 {fix} and {fix}/src\nmore\n"));
}

#[test]
fn an_ordinary_users_views_and_git_work_there() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: the other tests are an ordinary user's already");
        return;
    }
    let bench = Bench::of_user(Some(65534));
    if !can_exec(&bench) {
        return;
    }
    bench.write("repo/build/Makefile", &format!("ROOT={}\n", bench.path("repo").display()));
    bench.ok("repo", ["create", "fix"]);
    let repo = bench.path("repo").display().to_string();
    let said = inside(
        &bench,
        "fix",
        "pwd; id -u; git status --porcelain; cat build/Makefile; echo new >build/new; umount build 2>/dev/null",
    );
    assert_eq!(said.out, format!("{repo}\n65534\nROOT={repo}\n"), "{said:?}");
    assert_eq!(run(bench.command("cat", "fix").arg("build/new")).out, "new\n");
    assert!(!bench.is_there("repo/build/new"));
    if has(&bench, "strace") {
        let mut traced = bench.command("strace", "fix");
        traced.args([
            "-qq",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=unshare:error=EPERM",
            PROGRAM,
            "exec",
            "--",
            "true",
        ]);
        let said = run(&mut traced);
        let names_it = ["sysctl", "a sandbox or container forbids them"].iter().any(|word| said.err.contains(word));
        assert!(said.code == 3 && said.err.contains("cannot make a mount namespace") && names_it, "{said:?}");
    }
}

#[test]
fn a_submodule_and_a_worktree_inside_the_source_work_there() {
    let bench = Bench::empty(None);
    if !can_exec(&bench) {
        return;
    }
    bench.git("", ["init", "-q", "lib"]);
    bench.write("lib/lib.c", "int lib;\n");
    bench.commit("lib", "lib");
    bench.git("repo", ["submodule", "add", "-q", "../lib", "lib"]);
    bench.write("repo/.gitignore", "build/\nin/\n");
    bench.commit("repo", "one");
    bench.write("repo/build/x", "x\n");
    bench.git("repo", ["worktree", "add", "-q", "-b", "inner", "in/inner"]);
    bench.ok("repo/in/inner", ["adopt"]);
    bench.ok("repo", ["create", "fix"]);
    for at in ["fix", "repo/in/inner"] {
        let own = bench.path(at).display().to_string();
        let line = format!(
            "git status --porcelain && git -C lib status --porcelain && git -C lib log --format=%s && \
             git -C {own}/lib rev-parse --show-toplevel && echo y >build/y && cat {own}/build/y"
        );
        let said = inside(&bench, at, &line);
        let top = bench.path("fix/lib").display().to_string();
        let top = if at == "fix" { top } else { format!("{own}/lib") };
        assert_eq!(said.out, format!("lib\n{top}\ny\n"), "{said:?}");
        assert_eq!(bench.read(&format!("{at}/build/y")), "y\n");
        bench.assert_clean(at);
    }
    assert!(!bench.is_there("repo/build/y"));
}

#[test]
fn a_python_environment_installs_into_the_worktrees_own_there() {
    let bench = Bench::empty(None);
    if !can_exec(&bench) || !has(&bench, "python3") {
        return;
    }
    bench.write("repo/.gitignore", ".venv/\n");
    bench.commit("repo", "one");
    let made = run(bench.command("python3", "repo").args(["-m", "venv", "--without-pip", ".venv"]));
    assert_eq!(made.code, 0, "{made:?}");
    bench.ok("repo", ["create", "fix"]);
    // The directory that pip installs into.
    let line = ".venv/bin/python -c 'import sysconfig; p = sysconfig.get_path(\"purelib\"); \
                open(p + \"/one.py\", \"w\").write(\"x = 1\"); print(p)'";
    let said = inside(&bench, "fix", line);
    assert!(said.code == 0 && said.out.starts_with(bench.path("repo/.venv").to_str().unwrap()), "{said:?}");
    let one = |at: &str| run(bench.command(".venv/bin/python", at).args(["-c", "import one; print(one.__file__)"]));
    assert!(one("fix").out.starts_with(bench.path("fix/.venv").to_str().unwrap()), "{:?}", one("fix"));
    assert_ne!(one("repo").code, 0);
}

#[test]
fn create_exec_runs_a_command_there_at_once_and_ends_with_its_code() {
    let bench = Bench::new();
    if !can_exec(&bench) {
        return;
    }
    let said = bench.depsfs("repo", ["create", "fix", "--exec", "--", "sh", "-c", "pwd; cat build/out.o; exit 5"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.ends_with(&format!("{}\nobject\n", bench.path("repo").display())), "{said:?}");
    for args in [&["create", "other", "--exec"][..], &["create", "other", "--", "true"]] {
        assert_eq!(bench.depsfs("repo", args).code, 2);
    }
    assert!(!bench.is_there("other"));
}

#[test]
fn a_build_with_the_paths_of_the_source_makes_the_same_in_every_worktree() {
    let bench = Bench::empty(None);
    if !can_exec(&bench) {
        return;
    }
    bench.write("repo/.gitignore", "out/\n");
    bench.write("repo/lib/src", "one\n");
    bench.write(
        "repo/depsfs.toml",
        "paths = \"source\"\n[[component]]\nname = \"lib\"\ndir = \"lib\"\npaths = [\"out\"]\nkey = { files = [\"src\"] }\n\
         build = \"mkdir -p out; pwd > out/where; echo $DEPSFS_WORKTREE > out/worktree; cat src > out/lib\"\n",
    );
    bench.commit("repo", "one");
    bench.ok("repo", ["approve"]);
    bench.ok("repo", ["create", "fix"]);
    let where_built = format!("{}\n", bench.path("repo/lib").display());
    assert_eq!((bench.read("fix/lib/out/where"), bench.read("fix/lib/out/lib")), (where_built.clone(), "one\n".into()));
    assert_eq!(bench.read("fix/lib/out/worktree"), format!("{}\n", bench.path("fix").display()));
    assert!(!bench.is_there("repo/lib/out"));
    bench.ok("repo", ["create", "next"]);
    assert_eq!(bench.read("next/lib/out/where"), where_built);
    assert!(inside(&bench, "next", "test \"$PWD/lib\" = \"$(cat lib/out/where)\"").code == 0);
    for at in ["repo", "fix", "next"] {
        bench.assert_clean(at);
    }
    for at in ["fix", "next"] {
        bench.ok("repo", ["remove", at]);
    }
}

#[test]
fn a_build_with_the_paths_of_the_source_names_what_forbids_its_namespace() {
    if crate::bench::is_root() {
        println!("skipped: root needs no user namespace");
        return;
    }
    let bench = Bench::empty(None);
    if can_exec(&bench) {
        println!("skipped: user namespaces are allowed here");
        return;
    }
    bench.write("repo/.gitignore", "out/\n");
    bench.write(
        "repo/depsfs.toml",
        "paths = \"source\"\n[[component]]\nname = \"lib\"\npaths = [\"out\"]\nbuild = \"mkdir out\"\n",
    );
    bench.commit("repo", "one");
    bench.ok("repo", ["approve"]);
    let said = bench.depsfs("repo", ["create", "fix"]);
    assert!(said.code != 0 && said.err.contains("the command was not started"), "{said:?}");
}
