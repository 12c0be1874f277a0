//! Processes that use a mount, as `/proc` shows them. The mount itself is not touched.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::log::OrWarn;
use super::process::{self, ProcessId};
use super::{mountinfo, path as paths};

/// How long processes are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A mount of this mount namespace.
struct UsedMount<'a> {
    path: &'a Path,
    /// The line of a descriptor's `fdinfo` that names it.
    line: String,
}

impl UsedMount<'_> {
    fn at(path: &Path) -> Option<UsedMount<'_>> {
        Some(UsedMount { path, line: format!("mnt_id:\t{}", mountinfo::id_at(path)?) })
    }

    /// The process has its working or root directory in it.
    fn is_stood_in(&self, pid: ProcessId) -> bool {
        ["cwd", "root"].into_iter().any(|link| self.leads_here(pid, link))
    }

    /// The process has a file of it open, or runs one.
    fn is_open(&self, pid: ProcessId) -> bool {
        let dir = PathBuf::from(format!("/proc/{pid}/fdinfo"));
        let is_of_it = |number: Vec<u8>| {
            let info = paths::read_if_there(&dir.join(OsStr::from_bytes(&number))).ok().flatten();
            info.is_some_and(|text| String::from_utf8_lossy(&text).lines().any(|line| line == self.line))
        };
        self.leads_here(pid, "exe") || paths::list(&dir).unwrap_or_default().into_iter().any(|e| is_of_it(e.name))
    }

    fn leads_here(&self, pid: ProcessId, link: &str) -> bool {
        let to = paths::read_link(Path::new(&format!("/proc/{pid}/{link}")));
        to.is_ok_and(|to| Path::new(OsStr::from_bytes(&to)).starts_with(self.path))
    }
}

/// The processes that are there, until a moment.
fn processes(until: Instant) -> impl Iterator<Item = ProcessId> {
    let entries = paths::list(Path::new("/proc")).unwrap_or_default().into_iter();
    let pids = entries.filter_map(|entry| std::str::from_utf8(&entry.name).ok()?.parse().ok());
    pids.take_while(move |_| Instant::now() < until)
}

/// A process that uses the mount at `path`; of those that this user may look at.
pub fn user_of_mount(path: &Path) -> Option<ProcessId> {
    let mount = UsedMount::at(path)?;
    processes(Instant::now() + LOOK).find(|pid| mount.is_stood_in(*pid) || mount.is_open(*pid))
}

/// Whether the mount at `path` is used by nothing but ancestors of this process, that stand in it with no file of it
/// open: as the shell does in which a command was typed. `false` also if that is not found out within a moment.
pub fn only_callers_stand_in(path: &Path) -> bool {
    let until = Instant::now() + LOOK;
    let Some(mount) = UsedMount::at(path) else { return false };
    let callers = callers();
    let is_user = |pid: &ProcessId| (*pid != process::id() && mount.is_stood_in(*pid)) || mount.is_open(*pid);
    let mut users = processes(until).filter(is_user);
    users.all(|pid| callers.contains(&pid) && !mount.is_open(pid)) && Instant::now() < until
}

/// The ancestors of this process (proc_pid_stat(5)).
fn callers() -> HashSet<ProcessId> {
    let (mut all, mut next) = (HashSet::new(), Some(process::id()));
    while let Some(pid) = next {
        let stat = paths::read_if_there(Path::new(&format!("/proc/{pid}/stat"))).ok().flatten().unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // Behind the name, in parentheses that it may have as well: the state, then the parent.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        next = parent.filter(|parent| *parent > 0 && all.insert(*parent));
    }
    all
}

/// Has this process leave its working directory, if that lies beneath one of these: it would be a use of a mount there.
pub fn leave_directories(mounts: &[PathBuf]) {
    let is_inside = |here: PathBuf| mounts.iter().any(|mount| here.starts_with(mount));
    if std::env::current_dir().is_ok_and(is_inside) {
        std::env::set_current_dir("/").or_warn("the working directory stays in use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_process_is_one_of_its_callers_and_it_itself_is_none() {
        let callers = callers();
        assert!(callers.contains(&(std::os::unix::process::parent_id() as ProcessId)) && callers.contains(&1));
        assert!(!callers.contains(&process::id()));
    }
}
