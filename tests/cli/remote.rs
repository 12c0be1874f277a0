//! Remotes of a team, in a directory: one machine pushes, another one with a home, a store and a clone of its own fetches.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::approve::at_a_terminal;
use super::bench::{self, Bench, PROGRAM, Said, run};

pub const COMPONENT: &str = r#"
[[component]]
name = "web"
paths = ["node_modules"]
key = { files = ["package-lock.json"] }
build = "echo building web; mkdir -p node_modules/a; echo built > node_modules/a/made"
"#;

/// A repository with sources, a `depsfs.toml`, and in it a remote `team` with this address.
pub fn write_repository(bench: &Bench, toml: &str, remote: &str) {
    bench.write("repo/.gitignore", "node_modules/\nbuild/\n");
    bench.write("repo/package-lock.json", "{\"version\": 1}\n");
    bench.write("repo/src/main.c", "int main() { return 0; }\n");
    bench.write("repo/Makefile", "build/out: src/main.c\n\tmkdir -p build; cp src/main.c build/out\n");
    bench.write("repo/depsfs.toml", &format!("{toml}[[remote]]\nname = \"team\"\n{remote}"));
    bench.commit("repo", "one");
}

/// A team: the machine of `repo`, which has built, and a machine `b`, which has a clone at another path. The remote is set
/// up.
struct Team {
    bench: Bench,
}

impl Team {
    fn new(toml: &str) -> Team {
        let bench = Bench::empty(None);
        let url = format!("url = \"file://{}\"\n", bench.path("remote").to_str().unwrap());
        write_repository(&bench, toml, &url);
        let team = Team { bench };
        team.a("repo", &["approve"]);
        team.a("repo", &["remote", "init"]);
        team
    }

    fn path(&self, at: &str) -> PathBuf {
        self.bench.path(at)
    }

    /// Runs depsfs on the first machine; it has to succeed.
    #[track_caller]
    fn a(&self, at: &str, args: &[&str]) -> Said {
        let said = self.bench.depsfs(at, args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said
    }

    /// Runs depsfs on the second machine: its home is `b`.
    fn b(&self, at: &str, args: &[&str]) -> Said {
        run(self.second(PROGRAM, at).args(args))
    }

    fn second(&self, program: &str, at: &str) -> Command {
        let mut command = self.bench.command(program, at);
        command.env("HOME", self.path("b")).env("DEPSFS_STORE", self.path("b/store"));
        command.env("XDG_STATE_HOME", self.path("b/state")).env("XDG_CONFIG_HOME", self.path("b/config"));
        command
    }

    /// A fresh clone on the second machine, which approves the remote. The first machine's checkout is gone afterwards.
    fn clone_and_leave(&self) {
        fs::create_dir_all(self.path("b")).unwrap();
        self.bench.git("b", ["clone", "-q", "../repo", "clone"]);
        fs::rename(self.path("repo"), self.path("gone")).unwrap();
        let said = self.b("b/clone", &["approve"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    #[track_caller]
    fn b_ok(&self, at: &str, args: &[&str]) -> Said {
        let said = self.b(at, args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said
    }

    /// All files of the remote but its settings.
    fn objects(&self) -> Vec<PathBuf> {
        let (mut files, mut dirs) = (Vec::new(), vec![self.path("remote")]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false if path.ends_with("remote.json") => {}
                    false => files.push(path),
                }
            }
        }
        files.sort();
        files
    }

    fn build_web(&self, at: &str) {
        self.bench.write(&format!("{at}/node_modules/a/made"), "by a\n");
        self.bench.write(&format!("{at}/node_modules/a/deep/more.js"), &"module.exports = 1\n".repeat(9000));
    }
}

#[test]
fn an_artifact_that_one_machine_pushed_another_gets_and_builds_nothing() {
    let team = Team::new(COMPONENT);
    team.build_web("repo");
    let said = team.a("repo", &["push"]);
    assert!(said.out.contains("pushed web as web-") && said.out.contains("2 new files"), "{said:?}");
    let before = team.objects();
    let said = team.a("repo", &["push"]);
    assert!(said.out.contains("is there already") && !said.out.contains("new file"), "{said:?}");
    assert_eq!(team.objects(), before);
    team.clone_and_leave();
    let said = team.b_ok("b/clone", &["create", "one"]);
    assert!(!said.err.contains("building") && said.out.contains("  web:      artifact web-"), "{said:?}");
    assert_eq!(team.bench.read("b/one/node_modules/a/made"), "by a\n");
    assert_eq!(team.bench.read("b/one/node_modules/a/deep/more.js"), "module.exports = 1\n".repeat(9000));
    team.bench.assert_clean("b/one");
    // The second one asks nobody.
    fs::rename(team.path("remote"), team.path("away")).unwrap();
    let said = team.b_ok("b/clone", &["create", "two", "--offline"]);
    assert!(!said.err.contains("remote") && !said.out.contains("request"), "{said:?}");
    assert_eq!(team.bench.read("b/two/node_modules/a/made"), "by a\n");
}

#[test]
fn publish_pushes_the_worktree_that_it_names_and_reports_both_in_one_answer() {
    let team = Team::new(COMPONENT);
    let said = team.bench.depsfs("repo", ["create", "fix-login"]);
    assert_eq!(said.code, 0, "{said:?}");
    team.bench.write("fix-login/package-lock.json", "{\"version\": 2}\n");
    team.build_web("fix-login");
    let said = team.a("repo", &["publish", "fix-login", "--push", "--json"]);
    let answer = bench::json(&said.out);
    let entry = answer["published"][0]["entry"].as_str().unwrap();
    let entries = answer["pushed"]["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["was_there"]), (1, &serde_json::json!(false)), "{answer}");
    assert!(entries[0]["name"].as_str().unwrap().starts_with(&format!("web as {entry}")), "{answer}");
    let said = team.a("repo", &["publish", "fix-login", "node_modules", "--push"]);
    assert!(
        said.out.contains("published web as ") && said.out.contains("web-") && said.out.contains("is there already"),
        "{said:?}"
    );
}

#[test]
fn a_publish_that_cannot_push_reports_the_published_entries_and_fails() {
    let team = Team::new(COMPONENT);
    team.build_web("repo");
    team.bench.write("repo/node_modules/.env", "TOKEN=1");
    let said = team.bench.depsfs("repo", ["publish", "--push", "--json"]);
    let answer = bench::json(&said.out);
    assert!(said.code == 3 && said.err.contains(".env"), "{said:?}");
    assert!(answer["published"][0]["component"] == "web" && answer["pushed"].is_null(), "{answer}");
    // Without a remote, nothing is published.
    let toml = team.bench.read("repo/depsfs.toml");
    team.bench.write("repo/depsfs.toml", toml.split("[[remote]]").next().unwrap());
    team.bench.write("repo/package-lock.json", "{\"version\": 2}\n");
    let said = team.bench.depsfs("repo", ["publish", "--push", "--yes"]);
    assert!(said.code == 2 && said.out.is_empty(), "{said:?}");
}

#[test]
fn a_fresh_clone_gets_the_directories_of_the_nearest_pushed_commit_and_make_has_nothing_to_do() {
    let team = Team::new("");
    run(team.bench.command("make", "repo").arg("-s"));
    team.build_web("repo");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fs::File::options().append(true).open(team.path("repo/Makefile")).unwrap().set_modified(past).unwrap();
    team.a("repo", &["push", "--all"]);
    // Two commits later nobody has pushed.
    for n in 0..2 {
        team.bench.write("repo/later", &format!("{n}\n"));
        team.bench.commit("repo", "later");
    }
    team.clone_and_leave();
    let said = team.b_ok("b/clone", &["create", "one"]);
    assert!(said.out.contains("build, node_modules of") && said.out.contains("2 commits before it"), "{said:?}");
    let made = run(&mut team.second("make", "b/one"));
    assert!(made.code == 0 && made.out.contains("is up to date"), "{made:?}");
    assert_eq!(team.bench.read("b/one/node_modules/a/made"), "by a\n");
    team.bench.assert_clean("b/one");
    let said = team.b_ok("b/clone", &["create", "frozen", "--frozen-only", "--offline"]);
    assert!(!said.err.contains("other than"), "{said:?}");
    team.bench.write("b/clone/package-lock.json", "{\"version\": 2}\n");
    team.bench.commit("b/clone", "locked");
    let said = team.b("b/clone", &["create", "drifted", "--frozen-only", "--offline"]);
    assert!(said.code == 3 && said.err.contains("package-lock.json"), "{said:?}");
    let said = team.b_ok("b/clone", &["create", "drifted", "--offline"]);
    assert!(said.err.contains("package-lock.json: other than"), "{said:?}");
    // A file that is another blob is younger than the artifacts.
    team.bench.write("b/clone/src/main.c", "int main() { return 1; }\n");
    team.bench.commit("b/clone", "changed");
    team.b_ok("b/clone", &["create", "two", "--offline"]);
    let made = run(&mut team.second("make", "b/two"));
    assert!(made.out.contains("cp src/main.c"), "{made:?}");
    team.b_ok("b/clone", &["create", "three", "--offline", "--no-mtimes"]);
    let time = |at: &str| fs::metadata(team.path(at)).unwrap().modified().unwrap();
    assert_eq!(time("b/two/Makefile"), past);
    assert_ne!(time("b/three/Makefile"), past);
}

#[test]
fn a_worktree_of_another_tool_gets_what_a_remote_has() {
    let team = Team::new(COMPONENT);
    run(team.bench.command("make", "repo").arg("-s"));
    team.build_web("repo");
    team.a("repo", &["push", "--all"]);
    team.clone_and_leave();
    team.bench.git("b/clone", ["worktree", "add", "-q", "../one"]);
    let said = team.b_ok("b/one", &["adopt"]);
    assert!(said.out.contains("build of") && said.out.contains("artifact web-"), "{said:?}");
    assert_eq!(team.bench.read("b/one/node_modules/a/made"), "by a\n");
    assert_eq!(team.bench.read("b/one/build/out"), "int main() { return 0; }\n");
    team.bench.git("b/clone", ["worktree", "add", "-q", "../two"]);
    let said = team.b_ok("b/two", &["fetch"]);
    assert!(said.out.contains("artifact web-") && team.bench.is_there("b/two/node_modules/a/made"), "{said:?}");
}

#[test]
fn a_damaged_object_of_a_remote_is_never_used() {
    let team = Team::new(COMPONENT);
    team.build_web("repo");
    team.a("repo", &["push"]);
    team.clone_and_leave();
    let objects = team.objects();
    assert!(objects.len() >= 5, "{objects:?}");
    let mut named = 0;
    for object in objects {
        let bytes = fs::read(&object).unwrap();
        for (n, at) in [0, bytes.len() / 2, bytes.len() - 1].into_iter().enumerate() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            fs::remove_file(&object).unwrap();
            fs::write(&object, &bad).unwrap();
            if team.bench.is_there("b/store") {
                fs::remove_dir_all(team.path("b/store")).unwrap();
            }
            let name = format!("w{n}");
            let said = team.b_ok("b/clone", &["create", &name]);
            let made = team.bench.read(&format!("b/{name}/node_modules/a/made"));
            let is_named = said.err.contains("the remote team");
            named += usize::from(is_named);
            // Bytes that no reader needs may be damaged: then all came. Else it was named, and built.
            if said.err.contains("building web") {
                assert!(made == "built\n" && is_named, "{object:?} {at}: {said:?}");
            } else {
                assert_eq!(made, "by a\n", "{object:?} {at}: {said:?}");
                let deep = team.bench.read(&format!("b/{name}/node_modules/a/deep/more.js"));
                assert!(deep == "module.exports = 1\n".repeat(9000), "{object:?} {at}: {said:?}");
            }
            team.b_ok("b/clone", &["remove", &name, "--discard-changes"]);
        }
        fs::remove_file(&object).unwrap();
        fs::write(&object, &bytes).unwrap();
    }
    assert!(named > 0, "no damage was noticed");
}

#[test]
fn a_remote_that_is_away_is_named_once_and_the_build_goes_on() {
    let team = Team::new(&(COMPONENT.to_owned() + &COMPONENT.replace("web", "other").replace("node_modules", "build")));
    team.clone_and_leave();
    fs::rename(team.path("remote"), team.path("away")).unwrap();
    let said = team.b_ok("b/clone", &["create", "one"]);
    assert_eq!(said.err.matches("the remote team does not answer").count(), 1, "{said:?}");
    assert!(said.err.contains("building web") && said.err.contains("building other"), "{said:?}");
    let said = team.b("b/one", &["push"]);
    assert!(said.code == 1 && said.err.contains("hint: depsfs remote check"), "{said:?}");
}

#[test]
fn a_remote_of_a_repository_is_used_after_its_approval() {
    let team = Team::new("");
    fs::create_dir_all(team.path("b")).unwrap();
    team.bench.git("b", ["clone", "-q", "../repo", "clone"]);
    let said = team.b("b/clone", &["create", "one"]);
    assert!(said.code == 3 && said.err.contains("remote team: file://"), "{said:?}");
    let said = team.b_ok("b/clone", &["remote", "list"]);
    assert!(said.out.contains("not approved"), "{said:?}");
    team.b_ok("b/clone", &["approve"]);
    let said = team.b("b/clone", &["create", "one"]);
    assert!(said.code == 3 && said.err.contains("no ignored directory to share"), "{said:?}");
    // One of the user's own needs none.
    team.bench.write(
        "b/config/depsfs/config.toml",
        &format!("[remote.mine]\nurl = \"file://{}\"\n", team.path("mine").to_str().unwrap()),
    );
    team.b_ok("b/clone", &["remote", "init", "mine"]);
    let said = team.b_ok("b/clone", &["remote", "list"]);
    assert!(said.out.contains("mine") && said.out.contains("your own"), "{said:?}");
    let said = team.b("b/clone", &["push", "--to", "nobody"]);
    assert!(said.code == 2 && said.err.contains("no remote is called nobody"), "{said:?}");
}

#[test]
fn files_that_may_hold_secrets_or_paths_are_not_pushed() {
    let team = Team::new(COMPONENT);
    team.build_web("repo");
    let root = team.path("repo").to_str().unwrap().to_owned();
    for (at, text) in
        [(".env.local", "TOKEN=1"), ("a/key.pem", "k"), ("a/.npmrc", "t"), ("a/flags", &*format!("x -I{root}/src y"))]
    {
        team.bench.write(&format!("repo/node_modules/{at}"), text);
    }
    std::os::unix::fs::symlink(format!("{root}/src"), team.path("repo/node_modules/link")).unwrap();
    let said = team.bench.depsfs("repo", ["push"]);
    assert_eq!(said.code, 3, "{said:?}");
    for name in [".env.local", "a/key.pem", "a/.npmrc", "a/flags (holds a path", "link (holds a path"] {
        assert!(said.err.contains(name), "{name}: {said:?}");
    }
    let is_entry = |path: &PathBuf| path.to_str().unwrap().contains("/lines/");
    assert_eq!(team.objects().iter().filter(|path| is_entry(path)).count(), 0);
    let allow = [".env*", "*.pem", ".npmrc", "flags", "link"].iter().flat_map(|p| ["--allow", p]);
    let said = team.bench.depsfs("repo", ["push"].into_iter().chain(allow));
    assert!(said.code == 0 && said.out.contains("pushed web"), "{said:?}");
}

#[test]
fn nothing_is_sent_if_the_last_of_several_artifacts_is_refused() {
    let team = Team::new(&(COMPONENT.to_owned() + &COMPONENT.replace("web", "other").replace("node_modules", "build")));
    team.build_web("repo");
    team.bench.write("repo/node_modules/key.pem", "k");
    team.bench.write("repo/build/.env", "TOKEN=1");
    let said = team.bench.depsfs("repo", ["push", "--allow", "*.pem"]);
    assert!(said.code == 3 && said.err.contains(".env") && said.err.contains("nothing was pushed"), "{said:?}");
    assert_eq!(team.objects(), Vec::<PathBuf>::new());
    // All that is refused is named at once.
    let said = team.bench.depsfs("repo", ["push"]);
    assert!(said.code == 3 && said.err.contains("key.pem") && said.err.contains(".env"), "{said:?}");
    let said = team.a("repo", &["push", "--allow", "*.pem", "--allow", ".env"]);
    assert!(said.out.contains("pushed web as") && said.out.contains("pushed other as"), "{said:?}");
}

#[test]
fn nothing_is_pushed_under_a_commit_from_which_the_checkout_differs() {
    let team = Team::new("");
    team.build_web("repo");
    team.bench.write("repo/src/main.c", "changed\n");
    let said = team.bench.depsfs("repo", ["push", "--all"]);
    assert!(said.code == 3 && said.err.contains("nothing was pushed"), "{said:?}");
    team.bench.git("repo", ["checkout", "-q", "src/main.c"]);
    let said = team.a("repo", &["push", "--all", "--dry-run"]);
    assert!(said.out.contains("node_modules/a/made") && team.objects().is_empty(), "{said:?}");
    team.a("repo", &["push", "node_modules"]);
    assert!(!team.objects().is_empty());
}

#[test]
fn an_entry_that_is_unsigned_foreign_or_copied_is_named_and_not_used() {
    let team = Team::new(COMPONENT);
    let key = |name: &str| {
        let made = run(team
            .bench
            .command("ssh-keygen", "repo")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(team.path(name)));
        made.code == 0
    };
    if !key("ada") || !key("eve") {
        println!("skipped: signatures of entries, because ssh-keygen is not installed");
        return;
    }
    let signers = |name: &str| {
        let public = team.bench.read(&format!("{name}.pub"));
        team.bench.write("b/signers", &format!("ada@example.org namespaces=\"depsfs\" {public}"));
    };
    team.build_web("repo");
    fs::create_dir_all(team.path("b")).unwrap();
    let mine = |key: &str| format!("[remote.team]\n{key}\n");
    let signing = |name: &str| mine(&format!("signing-key = {:?}", team.path(name).to_str().unwrap()));
    team.bench.write(".config/depsfs/config.toml", &signing("ada"));
    team.a("repo", &["push"]);
    signers("ada");
    team.clone_and_leave();
    team.bench.write("b/config/depsfs/config.toml", &mine("signers = \"~/signers\""));
    team.b_ok("b/clone", &["approve"]);
    let attempt = |name: &str| {
        fs::remove_dir_all(team.path("b/store")).ok();
        team.b_ok("b/clone", &["create", name])
    };
    let said = attempt("signed");
    assert!(!said.err.contains("building") && said.err.contains("came from"), "{said:?}");
    let entry = team.objects().into_iter().find(|path| path.to_str().unwrap().contains("/entries/")).unwrap();
    let bytes = fs::read(&entry).unwrap();
    let put = |bytes: &[u8]| {
        fs::remove_file(&entry).unwrap();
        fs::write(&entry, bytes).unwrap();
    };
    let line = bytes.iter().position(|b| *b == b'\n').unwrap();
    put(&bytes[..line]);
    let said = attempt("unsigned");
    assert!(said.err.contains("is not used: it is not signed") && said.err.contains("building"), "{said:?}");
    // Another text under the same signature.
    let text = String::from_utf8(bytes.clone()).unwrap();
    put(text.replacen("\"pusher\":\"", "\"pusher\":\"not ", 1).as_bytes());
    let said = attempt("changed");
    assert!(said.err.contains("is not used: ") && said.err.contains("building"), "{said:?}");
    put(&bytes);
    signers("eve");
    team.b_ok("b/clone", &["approve"]);
    let said = attempt("foreign");
    assert!(said.err.contains("signed by a stranger") && said.err.contains("building"), "{said:?}");
    // A sound entry of another name.
    signers("ada");
    team.b_ok("b/clone", &["approve"]);
    team.bench.write("b/clone/package-lock.json", "{\"version\": 2}\n");
    team.bench.commit("b/clone", "two");
    let said = attempt("miss");
    assert!(said.err.contains("building"), "{said:?}");
    let name =
        said.out.split("there is no ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    let old = entry.file_name().unwrap().to_str().unwrap().to_owned();
    let platform = old.split_once('-').unwrap().1.split_once('-').unwrap().1;
    // A push without a signature, or with that of a stranger, takes no name.
    let said = team.b("b/clone", &["push"]);
    assert!(said.code == 2 && said.err.contains("names no signing-key"), "{said:?}");
    let eve = format!("signing-key = {:?}\nsigners = \"~/signers\"", team.path("eve").to_str().unwrap());
    team.bench.write("b/config/depsfs/config.toml", &mine(&eve));
    let said = team.b("b/miss", &["push", "--approve"]);
    assert!(said.code == 1 && said.err.contains("is not signed: it is signed by a stranger"), "{said:?}");
    team.bench.write("b/config/depsfs/config.toml", &mine("signers = \"~/signers\""));
    fs::write(entry.with_file_name(format!("{name}-{platform}")), &bytes).unwrap();
    let said = attempt("copied");
    assert!(said.err.contains("it was made as entries/web-") && said.err.contains("building"), "{said:?}");
}

#[test]
fn a_push_under_a_name_that_a_damaged_entry_has_reports_why_in_text_and_in_json() {
    let team = Team::new(COMPONENT);
    team.build_web("repo");
    team.a("repo", &["push"]);
    let entry = team.objects().into_iter().find(|at| at.to_string_lossy().contains("/lines/main/entries/web-"));
    fs::write(entry.unwrap(), "{}\n").unwrap();
    let said = team.a("repo", &["push"]);
    assert!(said.out.contains("is not pushed, as its name is taken: "), "{said:?}");
    let answer = bench::json(&team.a("repo", &["push", "--json"]).out);
    let web = &answer["entries"][0];
    assert!(web["was_there"] == true && web["unusable"].as_str().is_some_and(|why| why.contains("web-")), "{answer}");
    assert!(answer["entries"][1]["unusable"].is_null(), "{answer}");
}

#[test]
fn a_second_push_sends_only_what_is_new() {
    let team = Team::new("");
    team.build_web("repo");
    team.a("repo", &["push", "--all"]);
    let first = team.objects().len();
    team.bench.write("repo/node_modules/a/new.js", "new\n");
    team.bench.write("repo/later", "1\n");
    team.bench.commit("repo", "later");
    let said = team.a("repo", &["push", "--all"]);
    assert!(said.out.contains("1 new file, 4 B"), "{said:?}");
    // A pack, a tree, times, an entry.
    assert_eq!(team.objects().len(), first + 4);
    team.clone_and_leave();
    team.b_ok("b/clone", &["create", "one"]);
    assert_eq!(team.bench.read("b/one/node_modules/a/new.js"), "new\n");
    assert_eq!(team.bench.read("b/one/node_modules/a/made"), "by a\n");
}

#[test]
fn a_remote_pack_is_a_pack_in_zstd() {
    let team = Team::new("");
    team.build_web("repo");
    team.a("repo", &["push", "--all"]);
    let packs: Vec<PathBuf> = team.objects().into_iter().filter(|p| p.to_str().unwrap().contains("/packs/")).collect();
    assert_eq!(packs.len(), 1);
    let bytes = zstd::stream::decode_all(&fs::read(&packs[0]).unwrap()[..]).unwrap();
    assert!(bytes.starts_with(b"depsfs P"));
    let index = usize::try_from(u64::from_le_bytes(bytes[16..24].try_into().unwrap())).unwrap();
    assert_eq!(blake3::hash(&bytes[index..]).to_hex().as_str(), packs[0].file_name().unwrap().to_str().unwrap());
}

#[test]
fn prune_deletes_what_is_older_than_the_remote_keeps() {
    let team = Team::new("");
    team.build_web("repo");
    team.a("repo", &["push", "--all"]);
    let said = team.a("repo", &["remote", "prune", "--dry-run"]);
    assert!(said.out.contains("0 objects"), "{said:?}");
    for object in team.objects() {
        let old = SystemTime::now() - Duration::from_secs(91 * 86_400);
        fs::File::options().append(true).open(object).unwrap().set_modified(old).unwrap();
    }
    let said = team.bench.depsfs("repo", ["remote", "prune"]);
    assert_eq!(said.code, 3, "{said:?}");
    if run(team.bench.command("sh", "repo").args(["-c", "command -v script"])).code == 0 {
        let (before, said) = (team.objects(), at_a_terminal(&team.bench, "repo", "n", "remote prune"));
        assert!(said.code == 0 && said.out.contains("nothing was changed"), "no is an answer: {said:?}");
        assert_eq!(team.objects(), before);
    } else {
        println!("skipped: the question at a terminal, because script (util-linux) is not installed");
    }
    team.a("repo", &["remote", "prune", "--yes"]);
    assert!(team.objects().is_empty());
    team.a("repo", &["remote", "check"]);
}
