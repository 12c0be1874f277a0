//! The fixture of the tests: a temporary repository with artifacts, a store, and the program to run in it.

#[path = "schema.rs"]
pub mod schema;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_depsfs");

/// No command of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Variables that steer the build cache, or mark a run of CI: not of the one who runs the tests.
const CACHE_VARIABLES: [&str; 8] = [
    "CI",
    "NO_CACHE",
    "NO_CACHE_UPLOAD",
    "CACHE_LOCAL_DIR",
    "CI3_SERVER",
    "S3_BUILD_CACHE_AWS_PARAMS",
    "CACHE_SSH_HOST",
    "DEPSFS_CACHE_URL",
];

/// A directory with a repository `repo`, a store, and later its worktrees.
pub struct Bench {
    dir: tempfile::TempDir,
    /// The user who runs everything; `None`: the one who runs the tests.
    pub uid: Option<u32>,
    /// How worktrees are mounted, as in `--view`; empty: by default.
    view: String,
}

/// The output of a command, and its exit code.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Whether root runs the tests.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

impl Bench {
    /// A repository with tracked sources, `node_modules`, `build` and `.env` ignored, everything built.
    pub fn new() -> Bench {
        Bench::of_user(None)
    }

    pub fn of_user(uid: Option<u32>) -> Bench {
        Bench::empty(uid).built()
    }

    /// As [`Bench::new`], in a temporary directory of `base`.
    pub fn below(base: &Path) -> Bench {
        Bench::empty_in(tempfile::tempdir_in(base).unwrap(), None).built()
    }

    fn built(self) -> Bench {
        let bench = self;
        bench.write("repo/.gitignore", "node_modules/\nbuild*/\n.env\n*.log\n");
        bench.write("repo/src/main.c", "int main() { return 0; }\n");
        bench.write("repo/README.md", "words\n");
        bench.write("repo/package-lock.json", "{\"version\": 1}\n");
        bench.commit("repo", "one");
        bench.write("repo/node_modules/a/index.js", "module.exports = 1\n");
        bench.write("repo/node_modules/a/b/deep.js", "module.exports = 2\n");
        bench.write("repo/build/out.o", "object\n");
        bench.write("repo/build/lib.a", "library\n");
        bench.write("repo/.env", "SECRET=1\n");
        bench
    }

    /// A repository without anything.
    pub fn empty(uid: Option<u32>) -> Bench {
        Bench::empty_in(tempfile::tempdir().unwrap(), uid)
    }

    fn empty_in(dir: tempfile::TempDir, uid: Option<u32>) -> Bench {
        // The whole suite in another shape.
        let view = std::env::var("DEPSFS_TEST_VIEW").unwrap_or_default();
        let bench = Bench { dir, uid, view };
        fs::create_dir(bench.path("repo")).unwrap();
        if let Some(uid) = uid {
            std::os::unix::fs::chown(bench.dir.path(), Some(uid), Some(uid)).unwrap();
            std::os::unix::fs::chown(bench.path("repo"), Some(uid), Some(uid)).unwrap();
        }
        bench.git("repo", ["init", "-q", "-b", "main"]);
        bench
    }

    /// For a test of mounts of artifact directories.
    pub fn with_mounts_of_directories(mut self) -> Bench {
        self.view = "directories".into();
        self
    }

    /// For a test of worktrees that are one mount.
    pub fn with_mounts_of_worktrees(mut self) -> Bench {
        self.view = "worktree".into();
        self
    }

    /// For a test of the shape that is chosen where none is asked for.
    pub fn with_the_default_view(mut self) -> Bench {
        self.view.clear();
        self
    }

    /// For a test whose outcome is the same however worktrees are mounted.
    pub fn in_both_shapes() -> [Bench; 2] {
        [Bench::new().with_mounts_of_directories(), Bench::new().with_mounts_of_worktrees()]
    }

    /// How many mounts a worktree with so many views has.
    pub fn mounts_of(&self, views: usize) -> usize {
        if self.view == "worktree" { views.min(1) } else { views }
    }

    /// A path below the temporary directory, which has no symlink in it.
    pub fn path(&self, at: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(at)
    }

    pub fn write(&self, at: &str, text: &str) {
        let path = self.path(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A program by another process: what another thread starts meanwhile would hold it open to write (ETXTBSY).
        if text.starts_with("#!") {
            let mut writer = Command::new("sh");
            let writer = writer.args(["-c", "cat > \"$1\"", "sh"]).arg(&path).stdin(std::process::Stdio::piped());
            let mut writer = writer.spawn().unwrap();
            std::io::Write::write_all(&mut writer.stdin.take().unwrap(), text.as_bytes()).unwrap();
            assert!(writer.wait().unwrap().success());
        } else {
            fs::write(&path, text).unwrap();
        }
        if let Some(uid) = self.uid {
            let own = path.ancestors().take_while(|p| *p != self.dir.path());
            own.for_each(|p| std::os::unix::fs::chown(p, Some(uid), Some(uid)).unwrap());
        }
    }

    pub fn read(&self, at: &str) -> String {
        fs::read_to_string(self.path(at)).unwrap_or_else(|e| panic!("{at}: {e}"))
    }

    pub fn is_there(&self, at: &str) -> bool {
        fs::symlink_metadata(self.path(at)).is_ok()
    }

    pub fn commit(&self, repo: &str, message: &str) {
        self.git(repo, ["add", "-A"]);
        self.git(repo, ["commit", "-q", "-m", message]);
    }

    /// A command in a directory of the bench, with nothing of the caller's git or depsfs.
    pub fn command(&self, program: &str, at: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(at)).env("HOME", self.dir.path()).env("DEPSFS_STORE", self.path("store"));
        command.env("XDG_STATE_HOME", self.path("state")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z").env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z");
        command.env_remove("DEPSFS_LOG").env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        for steers in CACHE_VARIABLES {
            command.env_remove(steers);
        }
        let mut identity =
            vec![("user.name", "Ada Lovelace"), ("user.email", "ada@example.org"), ("protocol.file.allow", "always")];
        if !self.view.is_empty() {
            identity.push(("depsfs.view", &self.view));
        }
        command.env("GIT_CONFIG_COUNT", identity.len().to_string());
        for (n, (key, value)) in identity.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// Runs depsfs in a directory of the bench.
    pub fn depsfs<S: AsRef<OsStr>>(&self, at: &str, args: impl IntoIterator<Item = S>) -> Said {
        run(self.command(PROGRAM, at).args(args))
    }

    /// As [`Bench::depsfs`], for what has to succeed; its output.
    pub fn ok<S: AsRef<OsStr>>(&self, at: &str, args: impl IntoIterator<Item = S>) -> String {
        let said = self.depsfs(at, args);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// The output of `depsfs status`, whose exit code is 1 if a view is missing or hangs.
    pub fn status(&self, at: &str, args: &[&str]) -> String {
        let said = self.depsfs(at, ["status"].iter().chain(args));
        assert!([0, 1].contains(&said.code) && said.err.is_empty(), "{said:?}");
        if !args.contains(&"--json") {
            let is_missing = ["[MISSING]", "[HUNG]"].iter().any(|mark| said.out.contains(mark));
            assert_eq!(said.code, i32::from(is_missing), "{said:?}");
        }
        said.out
    }

    /// Whether worktrees are one mount each.
    pub fn has_mounts_of_worktrees(&self) -> bool {
        self.mounts_of(2) == 1
    }

    /// Unmounts the view at a directory, whose daemon has ended then: where a mount namespace that another test has
    /// made meanwhile has a copy of the mount, it goes on until that is gone.
    pub fn unmount_everywhere(&self, at: &str, daemon_json: &str) {
        let said = self.depsfs("", ["unmount", "--at", at]);
        assert_eq!(said.code, 0, "{said:?}");
        match said.err.as_str() {
            "" => {}
            note => {
                assert!(note.contains(" has a copy of the mount in a mount namespace of its own; "), "{said:?}");
                soon("the copies are gone, and the daemon with them", || !self.is_there(daemon_json));
            }
        }
    }

    /// Runs git; it has to succeed. Its output, without the last newline.
    pub fn git<S: AsRef<OsStr>>(&self, at: &str, args: impl IntoIterator<Item = S>) -> String {
        let said = run(self.command("git", at).args(args));
        assert_eq!(said.code, 0, "{said:?}");
        said.out.trim_end().to_owned()
    }

    /// The mounts below the bench.
    pub fn mounts(&self) -> Vec<String> {
        self.mounted().iter().map(|at| at.to_string_lossy().into_owned()).collect()
    }

    fn mounted(&self) -> Vec<OsString> {
        let root = self.path("");
        let mounts = fs::read("/proc/self/mounts").unwrap();
        let places = mounts.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(1));
        let ours = places.filter(|at| at.starts_with(root.as_os_str().as_bytes()));
        ours.map(|at| OsStr::from_bytes(at).to_owned()).collect()
    }

    /// `git status --porcelain` of a worktree has nothing to say.
    #[track_caller]
    pub fn assert_clean(&self, at: &str) {
        assert_eq!(self.git(at, ["status", "--porcelain"]), "");
    }

    /// The store is what it says it is.
    #[track_caller]
    pub fn assert_sound(&self) {
        assert_eq!(self.ok("", ["store", "verify"]), "the store is sound\n");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Also after a failed assertion: whatever is still mounted is detached, and its daemon ends.
        for mount in self.mounted() {
            let _ = Command::new("umount").arg("-l").arg(&mount).output();
        }
    }
}

/// Runs a command to its end, with nothing on stdin.
pub fn run(command: &mut Command) -> Said {
    run_within(command, PATIENCE)
}

/// As [`run`], for a command that may take longer than others.
pub fn run_within(command: &mut Command, patience: Duration) -> Said {
    let child = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + patience;
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || std::io::read_to_string(out).unwrap());
    let err = std::thread::spawn(move || std::io::read_to_string(err).unwrap());
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = child.wait().unwrap();
    Said { code: status.code().unwrap_or(-1), out: out.join().unwrap(), err: err.join().unwrap() }
}

/// Kills a program after a minute unless it goes before: a test that reads its output does not wait for ever.
pub struct Watchdog(#[expect(dead_code, reason = "its end is the signal")] std::sync::mpsc::Sender<()>);

impl Watchdog {
    /// Of this program, which lives as long as the value.
    pub fn of(child: &std::process::Child) -> Watchdog {
        let (alive, gone) = std::sync::mpsc::channel();
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if gone.recv_timeout(Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                drop(Command::new("kill").args(["-KILL", &pid]).status());
            }
        });
        Watchdog(alive)
    }
}

/// Waits for the end of a program; its exit code.
#[track_caller]
pub fn ends(child: &mut std::process::Child, limit: Duration) -> Option<i32> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().unwrap();
                panic!("it does not end");
            }
        }
    }
}

/// Waits for something that happens soon.
#[track_caller]
pub fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not so after 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A text read as JSON; an answer of the program has to be as its schema says.
#[track_caller]
pub fn json(text: &str) -> serde_json::Value {
    let value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    schema::check(&value);
    value
}

/// All paths below a directory, sorted, with type, mode, size, mtime in ns and link target.
pub fn metadata(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    fn walk(root: &Path, dir: &Path, out: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::symlink_metadata(&path).unwrap();
            let target = fs::read_link(&path).map(|t| t.display().to_string()).unwrap_or_default();
            let size = if m.is_dir() { 0 } else { m.size() };
            let name = path.strip_prefix(root).unwrap().display();
            out.push(format!("{name} {:o} {size} {}.{} {target}", m.mode(), m.mtime(), m.mtime_nsec()));
            if m.is_dir() {
                walk(root, &path, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(root, root, &mut out);
    out.sort();
    out
}
