//! A worktree with views, made for one test and gone with it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use depsfs::daemon::{DaemonError, DaemonState, client};
use depsfs::store::manifest::{Graft, Shape, ViewSpec};
use depsfs::store::{Manifest, Store, frame, import};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_depsfs");

/// A temporary directory with a store, a source and a worktree. Everything is unmounted when it goes.
pub struct Bench {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// The program that daemons are started from.
    pub program: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

/// Why nothing can be mounted here, if so.
pub fn cannot_mount() -> Option<String> {
    if let Err(e) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        return Some(format!("/dev/fuse: {e}"));
    }
    if !is_root() && Command::new("fusermount3").arg("--version").output().is_err() {
        return Some("not root, and there is no fusermount3".into());
    }
    None
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// The bench, or the end of the test with the reason.
macro_rules! bench {
    ($($view:expr),*) => {
        match crate::bench::cannot_mount() {
            Some(why) => return eprintln!("skipped: {why}"),
            None => crate::bench::Bench::new(&[$($view),*]),
        }
    };
}
pub(crate) use bench;

impl Bench {
    /// Views at these paths, each of the same small tree; nothing is mounted yet.
    pub fn new(views: &[&str]) -> Bench {
        Bench::below(&std::env::temp_dir(), views)
    }

    /// As [`Bench::new`], in a temporary directory of `base`.
    pub fn below(base: &Path, views: &[&str]) -> Bench {
        let temp = tempfile::Builder::new().prefix("depsfs mount ").tempdir_in(base).expect("a directory");
        let dir = temp.path().canonicalize().expect("it is there");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("ours");
        let source = dir.join("source");
        fs::create_dir_all(source.join("lib/deep")).expect("made");
        fs::write(source.join("a.txt"), "from the store\n").expect("written");
        fs::write(source.join("lib/b.js"), "b\n".repeat(5000)).expect("written");
        fs::write(source.join("lib/deep/c"), "").expect("written");
        std::os::unix::fs::symlink("lib/b.js", source.join("link")).expect("made");
        fs::set_permissions(source.join("lib/b.js"), fs::Permissions::from_mode(0o755)).expect("ours");
        let store = Store::open(&dir.join("store")).expect("a store");
        let tree = import::import_dir(&store, &source, &()).expect("imported").tree;
        let worktree = dir.join("work tree");
        fs::create_dir_all(&worktree).expect("made");
        let spec = |(i, path): (usize, &&str)| ViewSpec {
            id: format!("{i:016x}"),
            path: path.into(),
            grafts: vec![Graft { at: "".into(), tree, entry: None, origin: "a test".into(), retired: false }],
            ..ViewSpec::default()
        };
        let views = views.iter().enumerate().map(spec).collect();
        let manifest = Manifest { views, generation: 1, ..Manifest::new(&worktree, store.path()) };
        let mut bench = Bench { dir, manifest, program: PROGRAM.into(), _temp: Some(temp) };
        fs::create_dir_all(bench.state_dir()).expect("made");
        fs::write(bench.dir.join("gitdir/HEAD"), "ref: refs/heads/main\n").expect("written");
        if std::env::var_os("DEPSFS_TEST_VIEW").is_some_and(|view| view == "worktree") {
            bench.mount_the_worktree();
        }
        bench.save();
        bench
    }

    /// From the next mount on the views are one, of the whole worktree.
    pub fn mount_the_worktree(&mut self) {
        self.manifest.set_shape(Shape::Worktree);
        let store = Store::open(&self.manifest.store).expect("a store");
        frame::complete(&store, &mut self.manifest).expect("made");
        self.manifest.update_version();
        self.save();
    }

    /// As a linked worktree has it: beside the state directory lies git's `HEAD`.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("gitdir/depsfs")
    }

    pub fn save(&self) {
        self.manifest.save(&self.state_dir().join("manifest.json")).expect("saved");
    }

    pub fn view(&self, path: &str) -> PathBuf {
        self.manifest.worktree.join(path)
    }

    pub fn try_mount(&self) -> Result<DaemonState, DaemonError> {
        // One that lives is asked by its own build.
        let program = if self.state().is_some() { Path::new(PROGRAM) } else { &self.program };
        client::mount_with(program, &self.state_dir())
    }

    /// Daemons are started with this wish for passthrough (`DEPSFS_PASSTHROUGH`).
    pub fn wish_passthrough(&mut self, wish: &str) {
        self.start_with(&format!("DEPSFS_PASSTHROUGH={wish}"));
    }

    /// Daemons are started with this variable and its value.
    pub fn start_with(&mut self, variable: &str) {
        self.program = self.script("with a wish", &format!("{variable} exec '{PROGRAM}' \"$@\""));
    }

    /// A program that is a script of the shell.
    pub fn script(&self, name: &str, line: &str) -> PathBuf {
        // By another process: what another thread starts meanwhile would hold the script open to write (ETXTBSY).
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let program = self.dir.join(name);
        let made = Command::new("sh").args(["-c", write, "sh", line]).arg(&program).status().expect("sh");
        assert!(made.success());
        program
    }

    /// Mounts, and shows the daemon's log when not all views are there afterwards.
    pub fn mount(&self) -> DaemonState {
        let state = self.try_mount().unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
        assert!(state.views.iter().all(|v| v.mounted), "{state:#?}\n{}", self.log());
        state
    }

    /// Unmounts. A process that another test starts has our open files for a moment, until it runs its own program:
    /// that is waited out.
    pub fn unmount(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match client::unmount(&self.state_dir(), false) {
                Err(DaemonError::Busy { .. }) if Instant::now() < until => {}
                done => return done.unwrap_or_else(|e| panic!("{e}\n{}", self.log())),
            }
        }
    }

    pub fn state(&self) -> Option<DaemonState> {
        client::state(&self.state_dir())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.state_dir().join("daemon.log")).unwrap_or_default()
    }

    /// The views that the kernel has mounted, by path relative to the worktree, sorted.
    pub fn mounted(&self) -> Vec<String> {
        let all = depsfs::sys::mountinfo::read().expect("/proc is there");
        let ours = all.iter().filter_map(|m| m.path.strip_prefix(&self.manifest.worktree).ok());
        let mut paths: Vec<_> = ours.map(|p| p.display().to_string()).collect();
        paths.sort();
        paths
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(e) = client::unmount(&self.state_dir(), true) {
            eprintln!("not unmounted: {e}");
        }
    }
}

/// Tells threads to stop when it goes, also by a panic: a scope waits for them.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The factor by which this machine is slower than those whose times the tests expect (`DEPSFS_TEST_SLOWER`).
pub fn slower() -> u32 {
    std::env::var("DEPSFS_TEST_SLOWER").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Waits until `done`, at most twenty seconds.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20) * slower();
    while !done() {
        assert!(Instant::now() < until, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn signal(pid: i32, signal: &str) {
    let done = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill is there");
    assert!(done.success(), "kill {signal} {pid}");
}
