//! A repository with ci3's build protocol (`tests/ci3/repo`) goes through its life with depsfs in the place of ci3's
//! own cache: built cold, created warm, written to as bootstraps do, rebased, rebuilt twice at once, collected,
//! removed.

#[allow(dead_code)]
#[path = "cli/bench.rs"]
mod bench;

use std::fs;
use std::path::Path;

use bench::{Bench, PROGRAM, Said, run};

const REPO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ci3/repo");
const ENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mount-helpers/ci3-env.sh");

/// `origin`, a clone `repo` that is to be built, and an unbuilt clone `fresh`.
fn bench() -> Bench {
    let bench = Bench::empty(None);
    bench.git("", ["init", "-q", "-b", "main", "noir-repo"]);
    bench.write("noir-repo/.gitignore", "/target\n");
    bench.write("noir-repo/version", "1\n");
    bench.commit("noir-repo", "one");
    bench.git("", ["init", "-q", "-b", "main", "origin"]);
    assert_eq!(run(bench.command("cp", "").args(["-r", &format!("{REPO}/."), "origin"])).code, 0);
    fs::rename(bench.path("origin/dot-gitignore"), bench.path("origin/.gitignore")).unwrap();
    let module = bench.path("noir-repo");
    bench.git("origin", ["submodule", "--quiet", "add", module.to_str().unwrap(), "noir/noir-repo"]);
    bench.commit("origin", "one");
    fs::remove_dir_all(bench.path("repo")).unwrap();
    for clone in ["repo", "fresh"] {
        bench.git("", ["clone", "-q", "--recurse-submodules", "origin", clone]);
    }
    fs::create_dir(bench.path("local")).unwrap();
    bench
}

/// Runs words of bash as somebody does who has sourced the environment.
fn bash(bench: &Bench, at: &str, script: &str) -> Said {
    let path = format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = bench.command("bash", at);
    command.args(["-c", &format!("set -eu; source '{ENV}'; source '{ENV}'; {script}")]);
    run(command.env("PATH", path).env("CACHE_LOCAL_DIR", bench.path("local")).env("BUILD_LOG", bench.path("log")))
}

#[track_caller]
fn ok(bench: &Bench, at: &str, script: &str) -> String {
    let said = bash(bench, at, script);
    assert_eq!(said.code, 0, "{script}: {said:?}");
    said.out
}

/// The artifacts that were built since the last call, and not by depsfs.
fn built(bench: &Bench) -> Vec<String> {
    let log = fs::read_to_string(bench.path("log")).unwrap_or_default();
    let _ = fs::remove_file(bench.path("log"));
    let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Every built file with its content; the version that is written into `bb` and absolute paths are each checkout's own.
fn outputs(bench: &Bench, at: &str) -> Vec<(String, Vec<u8>)> {
    let list = "find . -name .git -prune -o \\( -type f -o -type l \\) -print | sort";
    let all = run(bench.command("sh", at).args(["-c", list])).out;
    let ignored = ["/dest/", "/target/", "/out/", "/cache/", "/build/"];
    let is_output = |p: &&str| ignored.iter().any(|dir| p.contains(dir)) && !p.ends_with("/bb");
    let root = bench.path(at);
    let content = |p: &str| {
        let text = fs::read(root.join(p)).unwrap();
        String::from_utf8_lossy(&text).replace(root.to_str().unwrap(), "ROOT").into_bytes()
    };
    all.lines().filter(is_output).map(|p| (p.to_owned(), content(p))).collect()
}

#[track_caller]
fn assert_as(bench: &Bench, at: &str, source: &str) {
    bench.assert_clean(at);
    assert_eq!(ok(bench, at, "./bootstrap.sh hashes"), ok(bench, source, "./bootstrap.sh hashes"));
    assert_eq!(outputs(bench, at), outputs(bench, source));
    let version = bench.git(at, ["rev-parse", "--short=8", "HEAD"]);
    let bb = fs::read(bench.path(at).join("bb/build/bin/bb")).unwrap();
    assert!(String::from_utf8_lossy(&bb[..200]).contains(&format!("SENTINEL{version}")));
    assert_eq!(ok(bench, at, "bb/build/bin/bb works"), "bb: works\n");
}

#[test]
fn a_repository_of_ci3_goes_through_its_life_in_views() {
    let bench = bench();
    // Cold: everything is missed, built, and saved.
    ok(&bench, "repo", "CI=0 ./bootstrap.sh");
    let cold = built(&bench);
    assert_eq!((cold.len(), cold.iter().any(|l| l.starts_with("program"))), (28, false), "{cold:?}");
    bench.assert_clean("repo");
    assert_eq!(fs::read_dir(bench.path("local")).unwrap().count(), 27);

    // Warm: a worktree of an unbuilt clone, no network, one store for all.
    bench.ok("fresh", ["create", "fix", "--allow-unbuilt"]);
    ok(&bench, "fix", "./bootstrap.sh");
    assert_eq!(built(&bench), Vec::<String>::new(), "all hits");
    assert_as(&bench, "fix", "repo");
    let mounts = bench.mounts();
    let shown = ["bb/build", "bbjs/dest", "circuits/target", "contracts/target", "l1/cache", "l1/out", "ts/dest"];
    for at in shown.iter().chain(&["noir/noir-repo/target"]) {
        assert!(mounts.contains(&bench.path("fix").join(at).to_str().unwrap().to_owned()), "{at}: {mounts:?}");
    }
    assert_eq!(mounts.len(), 8, "{mounts:?}");

    // All the writes after a hit, once more: what was deleted is in place again, what was changed stays changed.
    ok(&bench, "fix", "./bootstrap.sh");
    assert_eq!(built(&bench), Vec::<String>::new());
    assert_as(&bench, "fix", "repo");

    // Another worktree has nothing of that, and builds nothing, too.
    bench.ok("fresh", ["create", "two", "--allow-unbuilt"]);
    ok(&bench, "two", "./bootstrap.sh");
    assert_eq!(built(&bench), Vec::<String>::new());
    assert_as(&bench, "two", "repo");

    // After a rebase to other hashes only what changed is built, by one checkout; the others get it.
    bench.write("origin/contracts/src/token.nr", "source of a better token\n");
    bench.write("origin/bb/src/bb.sh", "echo \"bb: $1\"\nexit # faster\n");
    bench.commit("origin", "two");
    bench.git("repo", ["pull", "-q"]);
    ok(&bench, "repo", "./bootstrap.sh");
    let rebuilt = built(&bench);
    assert_eq!((rebuilt.len(), rebuilt.first().map(String::as_str)), (24, Some("built bb")), "{rebuilt:?}");
    bench.git("fix", ["pull", "-q", "--rebase", "origin", "main"]);
    ok(&bench, "fix", "./bootstrap.sh");
    assert_eq!(built(&bench), Vec::<String>::new());
    assert_eq!(bench.read("fix/contracts/target/token.json"), "transpiled of a better token\n");
    bench.assert_clean("fix");
    assert_eq!(ok(&bench, "fix", "./bootstrap.sh hashes"), ok(&bench, "repo", "./bootstrap.sh hashes"));
    bench.assert_sound();
}

/// The components of the repository, as its user describes them: nothing in the repository changes.
fn describe(bench: &Bench) {
    let mut toml = String::from("shell = [\"bash\", \"-euc\"]\n");
    let mut add = |name: &str, dir: &str, paths: &str, key: &str, cache: &str| {
        toml += &format!(
            "[[component]]\nname = {name:?}\ndir = {dir:?}\npaths = [{paths}]\nkey = {{ command = {key:?} }}\n\
             cache = {cache:?}\nbuild = \"echo built by depsfs >>$BUILD_LOG; false\"\n"
        );
    };
    let hash = "./bootstrap.sh hash";
    add("noir", "noir", "\"noir-repo/target\"", hash, "noir-{key}.tar.gz");
    add("bb", "bb", "\"build\"", hash, "barretenberg-{key}.zst");
    add("bbjs", "bbjs", "\"dist\", \"dest\"", hash, "bb.js-{key}.tar.gz");
    add("circuits", "circuits", "\"target\"", hash, "circuits-{key}.tar.gz");
    add("l1-src", "l1", "\"out\", \"cache\"", hash, "l1-contracts-src-{key}.tar.gz");
    add("l1-verifier", "l1", "\"out\", \"cache\"", hash, "l1-contracts-verifier-{key}.tar.gz");
    add("ts", "ts", "\"dest\"", hash, "yarn-project-{key}.tar.gz");
    for contract in ["token", "amm"] {
        let key = format!(
            "PATH=$PWD/../ci3:$PATH; combine $(combine $(../noir/bootstrap.sh hash) $(../bb/bootstrap.sh hash)) \
             $(cache_content_hash contracts/bootstrap.sh contracts/src/{contract}.nr)"
        );
        let cache = format!("contract-{contract}-{{key}}.tar.gz");
        add(contract, "contracts", &format!("\"target/{contract}.json\""), &key, &cache);
    }
    bench.write(".config/depsfs/all.toml", &toml);
    let repository = format!("[[repository]]\npath = {:?}\nconfig = \"all.toml\"\n", bench.path("fresh"));
    bench.write(".config/depsfs/config.toml", &repository);
}

/// As [`ok`], by somebody whose configuration describes the repository.
#[track_caller]
fn ok_described(bench: &Bench, at: &str, words: &str) -> String {
    ok(bench, at, &format!("export XDG_CONFIG_HOME='{}'; depsfs {words}", bench.path(".config").display()))
}

/// A worktree's file is what the artifact in the local directory has.
#[track_caller]
fn assert_as_packed(bench: &Bench, worktree: &str, dir: &str, name: &str, member: &str) {
    let local = fs::read_dir(bench.path("local")).unwrap().map(|e| e.unwrap().path());
    let prefix = format!("{name}-");
    let is_it = |p: &std::path::PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with(&prefix);
    let newest = local.filter(is_it).max_by_key(|p| fs::metadata(p).unwrap().modified().unwrap()).unwrap();
    if newest.extension().is_some_and(|e| e == "zst")
        && run(bench.command("sh", "").args(["-c", "command -v zstd"])).code != 0
    {
        return println!("skipped: zstd is not installed, so {} is not looked into", newest.display());
    }
    let unpack = "case $1 in *.zst) zstd -dc <\"$1\" ;; *) gzip -dc <\"$1\" ;; esac | tar -xOf - \"$2\" | sha256sum";
    let packed = run(bench.command("sh", "").args(["-c", unpack, "sh", newest.to_str().unwrap(), member])).out;
    let shown = run(bench.command("sh", &format!("{worktree}/{dir}")).args(["-c", &format!("sha256sum <'{member}'")]));
    assert_eq!(shown.out, packed, "{worktree}/{dir}/{member} of {}", newest.display());
}

#[test]
fn after_a_rebase_a_sync_swaps_the_artifacts_under_mounted_views_and_own_changes_stay_on_top() {
    let bench = bench();
    describe(&bench);
    ok(&bench, "repo", "CI=0 ./bootstrap.sh");
    built(&bench);
    ok_described(&bench, "fresh", "create fix --allow-unbuilt");
    assert_eq!(built(&bench), Vec::<String>::new(), "all hits");
    bench.assert_clean("fix");
    assert_eq!(bench.read("fix/contracts/target/token.json"), "compiled of token\n");
    // Of one's own: over something that will be newer, over something that stays as it is, over nothing.
    bench.write("fix/contracts/target/token.json", "mine\n");
    bench.write("fix/circuits/target/base.json", "mine\n");
    bench.write("fix/bb/build/own", "mine\n");
    let open = fs::File::open(bench.path("fix/bb/build/bin/bb")).unwrap();
    let old = fs::read(bench.path("fix/bb/build/bin/bb")).unwrap();

    bench.write("origin/contracts/src/token.nr", "source of a better token\n");
    bench.write("origin/bb/src/bb.sh", "echo \"bb: $1\"\nexit # faster\n");
    bench.commit("origin", "two");
    bench.git("repo", ["pull", "-q"]);
    ok(&bench, "repo", "CI=0 ./bootstrap.sh");
    built(&bench);
    bench.git("fix", ["pull", "-q", "--rebase", "origin", "main"]);
    let mounts = bench.mounts();
    let would = ok_described(&bench, "fix", "sync --dry-run");
    for changed in ["bb", "bbjs", "ts", "token", "amm"] {
        assert!(would.contains(&format!("  {:<9} artifact ", format!("{changed}:"))), "{changed}: {would}");
    }
    assert!(!would.contains("noir:") && !would.contains("circuits:") && !would.contains("l1-"), "{would}");
    assert_eq!(fs::read(bench.path("fix/bb/build/bin/bb")).unwrap(), old);
    let said = ok_described(&bench, "fix", "sync");
    let hides: Vec<&str> = said.lines().filter(|l| l.contains("hides newer")).collect();
    assert_eq!(hides, ["  hides newer: M contracts/target/token.json"], "{said}");
    assert_eq!((built(&bench), bench.mounts()), (Vec::new(), mounts), "nothing was built, nothing unmounted");
    assert_as_packed(&bench, "fix", "bb", "barretenberg", "build/bin/bb");
    assert_as_packed(&bench, "fix", "bbjs", "bb.js", "dest/node/main.js");
    assert_as_packed(&bench, "fix", "contracts", "contract-amm", "target/amm.json");
    assert_as_packed(&bench, "fix", "noir", "noir", "noir-repo/target/release/nargo");
    for at in ["fix/contracts/target/token.json", "fix/circuits/target/base.json", "fix/bb/build/own"] {
        assert_eq!(bench.read(at), "mine\n", "{at}");
    }
    let mut before = Vec::new();
    std::io::Read::read_to_end(&mut &open, &mut before).unwrap();
    assert_eq!(before, old, "an open file goes on");
    bench.assert_clean("fix");
    assert_eq!(ok(&bench, "fix", "./bootstrap.sh hashes"), ok(&bench, "repo", "./bootstrap.sh hashes"));
    assert_eq!(ok_described(&bench, "fix", "sync"), "everything is up to date\n");
    // One's own given up, the newer ones show; and all the writes after a hit go on from there.
    bench.ok("fix", ["reset", "--yes", "contracts/target/token.json", "circuits/target/base.json", "bb/build/own"]);
    assert_as_packed(&bench, "fix", "contracts", "contract-token", "target/token.json");
    ok(&bench, "fix", "./bootstrap.sh");
    assert_eq!(built(&bench), Vec::<String>::new());
    assert_as(&bench, "fix", "repo");
    bench.assert_sound();
}

#[test]
fn two_worktrees_are_rebuilt_differently_at_once_and_gc_of_another_clone_takes_nothing() {
    let bench = bench();
    ok(&bench, "repo", "./bootstrap.sh");
    built(&bench);
    for name in ["one", "two"] {
        bench.ok("fresh", ["create", name, "--allow-unbuilt"]);
        ok(&bench, name, "./bootstrap.sh");
        bench.write(&format!("{name}/contracts/src/token.nr"), &format!("source of {name}\n"));
        bench.commit(name, name);
    }
    assert_eq!(built(&bench), Vec::<String>::new());
    std::thread::scope(|scope| {
        let runs = ["one", "two"].map(|name| scope.spawn(|| drop(ok(&bench, name, "./bootstrap.sh"))));
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
    let lines = built(&bench);
    assert_eq!(lines.iter().filter(|l| *l == "built contract token").count(), 2, "{lines:?}");
    let before = ["one", "two"].map(|name| outputs(&bench, name));
    for name in ["one", "two"] {
        assert_eq!(bench.read(&format!("{name}/contracts/target/token.json")), format!("transpiled of {name}\n"));
        bench.assert_clean(name);
    }
    assert_eq!(bench.read("repo/contracts/target/token.json"), "transpiled of token\n");

    // A touched source turns the cache off, and says so by a build; nothing of it is saved.
    bench.write("two/l1/src/stray", "");
    assert!(ok(&bench, "two", "./bootstrap.sh hashes").contains("l1 disabled-cache"));
    fs::remove_file(bench.path("two/l1/src/stray")).unwrap();

    // gc from a second clone: what worktrees show stays, tarballs and entries of long ago go.
    let gc = run(bench
        .command(PROGRAM, "repo")
        .args(["gc", "--keep-days", "0"])
        .env("CACHE_LOCAL_DIR", bench.path("local")));
    assert_eq!(gc.code, 0, "{gc:?}");
    assert_eq!(fs::read_dir(bench.path("local")).unwrap().count(), 0);
    assert_eq!(bench.ok("", ["store", "list"]), "");
    for (name, before) in ["one", "two"].iter().zip(&before) {
        assert_eq!(&outputs(&bench, name), before);
        bench.ok(name, ["unmount"]);
        bench.ok(name, ["mount"]);
        assert_eq!(&outputs(&bench, name), before);
    }
    bench.assert_sound();
    for name in ["one", "two"] {
        bench.ok("fresh", ["remove", name, "--discard-commits"]);
        assert!(!bench.is_there(name));
    }
    assert_eq!(bench.mounts(), Vec::<String>::new());
    bench.ok("repo", ["gc", "--keep-days", "0"]);
    let left = run(bench.command("find", "store/objects").args(["-type", "f"])).out;
    assert_eq!(left, "");
}

#[test]
fn the_environment_reaches_bash_below_xargs_and_does_nothing_under_ci() {
    let bench = bench();
    let script =
        "echo cache_download absent-01.tar.gz | xargs -I{} bash -c 'type -t cache_download; {} || echo missed'";
    assert_eq!(ok(&bench, "repo", script), "function\nmissed\n");
    assert_eq!(
        ok(&bench, "repo", "echo $GIT_DISCOVERY_ACROSS_FILESYSTEM; PATH=$PWD/ci3:$PATH; type -t cache_upload"),
        "1\nfunction\n"
    );
    let plain = "printenv GIT_DISCOVERY_ACROSS_FILESYSTEM || true; type -t cache_download cache_upload || echo none";
    for ci in ["1", "true"] {
        let mut command = bench.command("bash", "repo");
        let said = run(command.args(["-c", &format!("set -eu; source '{ENV}'; {plain}")]).env("CI", ci));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "none\n", ""), "CI={ci}");
    }
    let mut command = bench.command("bash", "repo");
    let said = run(command.args(["-c", &format!("set -eu; source '{ENV}'; {plain}")]).env("DEPSFS_PROGRAM", "/none"));
    assert_eq!((said.code, said.out.as_str()), (0, "none\n"), "{said:?}");
}
