//! `depsfs doctor`: looks at everything that has to be right for views to work, and repairs what it can.
//!
//! | file        | subject                                                                                 |
//! |-------------|-----------------------------------------------------------------------------------------|
//! | `mounting`  | /dev/fuse, fusermount3, `user_allow_other`, `mount_max`                                  |
//! | `apparmor`  | what AppArmor has denied                                                                 |
//! | `kernel`    | the kernel's version, and which fast paths are on                                        |
//! | `mounts`    | views without a server (dead), whose daemon does not answer (hung), or has given up; that are missing |
//! | `journals`  | copies of journals that were damaged                                                     |
//! | `worktrees` | worktrees of which a part is gone, roots that name nothing                               |
//! | `copies`    | plain copies of artifacts that are not complete                                          |
//! | `lost`      | stores that lack a part of what mounted views show                                      |
//! | `store`     | leftovers, free space, a sample of the hashes                                            |
//! | `machine`   | inotify's limits, git                                                                    |
//!
//! Nothing here may hang: no path inside a view is touched, nor one beneath another FUSE mount; whether a daemon
//! answers shows in the kernel's tables and in `/proc`.

mod apparmor;
mod copies;
mod journals;
mod kernel;
mod lost;
mod machine;
mod mounting;
mod mounts;
mod store;
mod worktrees;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{Root, RootState, Store};
use crate::sys::mountinfo::{self, MountPoint};
use crate::sys::process;
use crate::worktree::WorktreeError;

/// The result of one check. Only `fail` makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    Warn,
    Fail,
}

/// One finding. Serialised as `--json` prints it.
#[derive(Serialize, JsonSchema)]
pub struct Row {
    pub check: &'static str,
    pub state: CheckState,
    pub reason: String,
    /// The remedy, if it isn't ok.
    pub remedy: Option<String>,
    /// `--fix` does it.
    pub fixable: bool,
    /// `--fix` has done it.
    pub fixed: bool,
    #[serde(skip)]
    fix: Option<Fix>,
}

/// Repairs the finding of one row.
type Fix = Box<dyn FnOnce() -> Result<(), WorktreeError>>;

impl Row {
    fn ok(check: &'static str, reason: impl Into<String>) -> Row {
        let reason = reason.into();
        Row { check, state: CheckState::Ok, reason, remedy: None, fixable: false, fixed: false, fix: None }
    }

    fn warn(check: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Row {
        Row { state: CheckState::Warn, remedy: Some(remedy.into()), ..Row::ok(check, reason) }
    }

    fn fail(check: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Row {
        Row { state: CheckState::Fail, ..Row::warn(check, reason, remedy) }
    }

    fn fixed_by(self, fix: impl FnOnce() -> Result<(), WorktreeError> + 'static) -> Row {
        Row { fixable: true, fix: Some(Box::new(fix)), ..self }
    }
}

/// The directories that the checks read.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The store, if one is known; it need not be there.
    pub store: Option<PathBuf>,
    /// The state directories of directories without git.
    pub states: Option<PathBuf>,
}

/// The facts that several checks need, read once.
struct DoctorFacts {
    mounts: Vec<MountPoint>,
    /// The store, if it is there and can be read.
    store: Option<Store>,
    /// Why it can't be.
    no_store: Option<Row>,
    roots: Vec<Root>,
    is_root: bool,
    user: u32,
    states: Option<PathBuf>,
    /// The working directory.
    here: Option<PathBuf>,
}

impl DoctorFacts {
    fn of(places: &Places) -> Result<DoctorFacts, WorktreeError> {
        let mounts = mountinfo::read()?;
        let (store, no_store) = match store::open(places.store.as_deref(), &mounts) {
            Ok(store) => (store, None),
            Err(row) => (None, Some(row)),
        };
        let may_look = |path: &Path| !is_in_fuse(&mounts, path);
        let roots = match &store {
            Some(store) => store.roots().list_where(&may_look)?,
            None => Vec::new(),
        };
        let user = process::user();
        Ok(DoctorFacts {
            mounts,
            store,
            no_store,
            roots,
            is_root: user == 0,
            user,
            states: places.states.clone(),
            here: std::env::current_dir().ok(),
        })
    }

    /// Directories at which a system call may wait for a FUSE server.
    fn fuse_places(&self) -> Vec<PathBuf> {
        self.mounts.iter().filter(|m| is_fuse(m)).map(|m| m.path.clone()).collect()
    }

    /// The manifests of living roots, each with its state directory.
    fn worktrees(&self) -> impl Iterator<Item = (PathBuf, &crate::store::Manifest)> {
        self.roots.iter().filter_map(|root| match (&root.state, &root.manifest) {
            (RootState::Live(manifest), Some(file)) => Some((file.parent()?.to_path_buf(), &**manifest)),
            _ => None,
        })
    }
}

fn is_fuse(mount: &MountPoint) -> bool {
    mount.kind == "fuse" || mount.kind.starts_with("fuse.")
}

/// Whether a look at this path waits for a FUSE server: the innermost mount above it is one.
fn is_in_fuse(mounts: &[MountPoint], path: &Path) -> bool {
    let above = mounts.iter().filter(|m| path.starts_with(&m.path));
    // Of several at one path, the last one is on top.
    above.max_by_key(|m| m.path.as_os_str().len()).is_some_and(is_fuse)
}

/// Looks at everything.
pub fn examine(places: &Places) -> Result<Vec<Row>, WorktreeError> {
    let sight = DoctorFacts::of(places)?;
    let mut rows = mounting::rows(&sight);
    rows.push(apparmor::row());
    rows.extend(kernel::rows(&sight));
    rows.extend(mounts::rows(&sight)?);
    rows.extend(journals::rows(&sight));
    rows.extend(worktrees::rows(&sight));
    rows.extend(copies::rows(&sight));
    rows.extend(store::rows(&sight));
    rows.extend(lost::rows(&sight));
    rows.extend(machine::rows(&sight));
    Ok(rows)
}

/// Does all fixes, and checks again. A row that was repaired keeps its place, as ok.
pub fn fix(places: &Places, rows: Vec<Row>) -> Result<Vec<Row>, WorktreeError> {
    let mut done: Vec<Row> = Vec::new();
    for mut row in rows {
        let Some(fix) = row.fix.take() else { continue };
        match fix() {
            Ok(()) => (row.fixed, row.state, row.fixable) = (true, CheckState::Ok, false),
            Err(e) => row.reason = format!("{}; --fix failed: {e}", row.reason),
        }
        done.push(row);
    }
    let mut rows = examine(places)?;
    for row in done {
        let again = rows.iter_mut().find(|r| r.check == row.check && r.state != CheckState::Ok);
        match (row.fixed, again) {
            // It did not help, or not enough.
            (_, Some(again)) if !row.fixed || again.reason == row.reason => again.reason = row.reason,
            (true, _) => {
                let at = rows.iter().position(|r| r.check == row.check);
                let has_ok = at.is_some_and(|at| rows[at].state == CheckState::Ok && !rows[at].fixed);
                let at = at.unwrap_or(rows.len());
                match has_ok {
                    true => rows[at] = row,
                    false => rows.insert(at, row),
                }
            }
            (false, _) => {}
        }
    }
    Ok(rows)
}

/// The first few of some words.
fn few<T: std::fmt::Display>(all: &[T]) -> String {
    let mut words: Vec<String> = all.iter().take(4).map(T::to_string).collect();
    if all.len() > 4 {
        words.push(format!("{} more", all.len() - 4));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, kind: &str) -> MountPoint {
        MountPoint { path: path.into(), kind: kind.into(), device: (0, 1), user: None }
    }

    #[test]
    fn what_lies_in_a_fuse_mount_is_told_from_what_lies_around_it_or_over_it() {
        let mounts = [mount("/", "ext4"), mount("/w/view", "fuse.depsfs"), mount("/w/view/plain", "tmpfs")];
        let table =
            [("/w", false), ("/w/view", true), ("/w/view/a/b", true), ("/w/view/plain/x", false), ("/w/views", false)];
        for (path, want) in table {
            assert_eq!(is_in_fuse(&mounts, Path::new(path)), want, "{path}");
        }
    }
}
