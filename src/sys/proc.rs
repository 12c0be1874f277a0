//! Facts about processes from `/proc`; reading them never waits for the process.
//!
//! `cmdline` is not: reading it takes the lock of the process's memory, which one that is stuck in a view may hold.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::process::ProcessId;
use super::{fs, path as paths};

/// A process, seen for a moment (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat {
    /// By SIGSTOP, a terminal or a debugger.
    pub is_stopped: bool,
    /// In clock ticks, all threads together.
    pub cpu: u64,
    /// When it was started, in clock ticks since the machine was: with the id it names one process for good.
    pub started: u64,
}

/// `None` when there is no such process.
pub fn glance(pid: ProcessId) -> Option<ProcStat> {
    let stat = paths::read_if_there(Path::new(&format!("/proc/{pid}/stat"))).ok()??;
    parse(&String::from_utf8_lossy(&stat))
}

/// The name in parentheses may hold anything, parentheses too.
fn parse(stat: &str) -> Option<ProcStat> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // A zombie answers nothing, but it is gone rather than stopped.
    Some(ProcStat {
        is_stopped: matches!(*fields.first()?, "T" | "t"),
        cpu: number(11)? + number(12)?,
        started: number(19)?,
    })
}

/// When a process was started, as [`ProcStat::started`]; `None` when there is no such process.
pub fn started(pid: ProcessId) -> Option<u64> {
    glance(pid).map(|g| g.started)
}

/// Whether a process has ended and was not reaped yet.
pub fn is_dead(pid: ProcessId) -> bool {
    let stat = paths::read_if_there(Path::new(&format!("/proc/{pid}/stat"))).ok().flatten().unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat).into_owned();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Whether a process is stopped (SIGSTOP, or by a debugger).
pub fn is_stopped(pid: ProcessId) -> bool {
    glance(pid).is_some_and(|g| g.is_stopped)
}

/// The processor time, in clock ticks, of a process and its children.
pub fn used_by_family(pid: ProcessId) -> u64 {
    let children = Path::new("/proc").join(format!("{pid}/task/{pid}/children"));
    let children = paths::read_if_there(&children).ok().flatten().unwrap_or_default();
    let children = String::from_utf8_lossy(&children).into_owned();
    let family = children.split_whitespace().filter_map(|child| child.parse().ok()).chain([pid]);
    family.filter_map(glance).map(|g| g.cpu).sum()
}

/// The work that a process has done so far, all threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessWork {
    /// Nanoseconds on a processor, and in the queue for one (`/proc/<pid>/task/<tid>/schedstat`).
    ran: u64,
    /// Bytes and calls of its input and output, as far as they may be read (`/proc/<pid>/io`).
    io: u64,
    /// A thread runs, or would if there were a processor for it.
    is_runnable: bool,
}

impl ProcessWork {
    /// A thread that only looks at the clock now and then uses less than this.
    const LEAST: u64 = 10_000_000;

    /// Whether it has got on since then.
    pub fn is_more_than(self, then: ProcessWork) -> bool {
        self.is_runnable || self.ran >= then.ran + ProcessWork::LEAST || self.io != then.io
    }
}

/// Reads a few files for each thread. Of a process that is gone: no work.
pub fn work(pid: ProcessId) -> ProcessWork {
    let read = |file: PathBuf| paths::read_if_there(&file).ok().flatten().unwrap_or_default();
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let numbers = |bytes: &[u8]| -> Vec<u64> {
        String::from_utf8_lossy(bytes).split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let mut work = ProcessWork { io: numbers(&read(proc.join("io"))).iter().sum(), ..ProcessWork::default() };
    let tasks = proc.join("task");
    for task in paths::list(&tasks).unwrap_or_default() {
        let task = tasks.join(OsStr::from_bytes(&task.name));
        work.ran += numbers(&read(task.join("schedstat"))).iter().take(2).sum::<u64>();
        let stat = String::from_utf8_lossy(&read(task.join("stat"))).into_owned();
        work.is_runnable |= stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'));
    }
    work
}

/// In what kernel functions a server's threads wait for something to do: a request, a message, another thread's work.
const IDLE: [&[u8]; 8] = [
    b"fuse_dev_",
    b"futex_",
    b"ep_poll",
    b"do_epoll_wait",
    b"eventfd_read",
    b"pipe_read",
    b"anon_pipe_read",
    b"__skb_wait",
];

/// Whether a thread of a server that answers requests (`fuser-…`, `blocking`) waits for something else than the next
/// one, by the kernel function it sleeps in (`/proc/<pid>/task/<tid>/wchan`). False while it runs, or if that can't be
/// read.
pub fn waits_in_a_request(pid: ProcessId) -> bool {
    let read = |file: PathBuf| paths::read_if_there(&file).ok().flatten().unwrap_or_default();
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let names = paths::list(&tasks).unwrap_or_default().into_iter().map(|e| e.name);
    names.filter_map(|n| String::from_utf8(n).ok()).any(|tid| {
        let (comm, place) = (read(tasks.join(&tid).join("comm")), read(tasks.join(&tid).join("wchan")));
        let answers = comm.starts_with(b"fuser-") || comm.starts_with(b"blocking");
        answers && !place.is_empty() && place != b"0" && !IDLE.iter().any(|idle| place.starts_with(idle))
    })
}

/// The processes that have a FUSE connection open, by the connection's number; `None` when the kernel doesn't tell (older ones).
/// Processes of other users are seen by root alone.
pub fn fuse_connections() -> Option<BTreeMap<u32, Vec<ProcessId>>> {
    let mut held: BTreeMap<u32, Vec<ProcessId>> = BTreeMap::new();
    let mut silent = false;
    for entry in paths::list(Path::new("/proc")).ok()? {
        let Some(pid) = std::str::from_utf8(&entry.name).ok().and_then(|n| n.parse::<ProcessId>().ok()) else {
            continue;
        };
        let Ok(fds) = paths::open_dir(Path::new(&format!("/proc/{pid}/fd"))) else { continue };
        for number in devices(&fds) {
            let info = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(number);
            let Ok(Some(text)) = paths::read_if_there(&info) else { continue };
            match connection(&String::from_utf8_lossy(&text)) {
                Some(connection) => held.entry(connection).or_default().push(pid),
                // A connection that nothing was mounted with yet has no number, too.
                None => silent = true,
            }
        }
    }
    held.values_mut().for_each(|pids| pids.dedup());
    (!silent || !held.is_empty()).then_some(held)
}

/// How long other mount namespaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A process in another mount namespace where this file system is mounted, too; of those that this user may look at.
pub fn mounted_elsewhere(device: (u32, u32)) -> Option<ProcessId> {
    let until = Instant::now() + LOOK;
    let namespace = |pid: &str| paths::read_link(&Path::new("/proc").join(pid).join("ns/mnt")).ok();
    let mut seen: HashSet<Vec<u8>> = namespace("self").into_iter().collect();
    let has_it = |pid: &str| {
        let table = paths::read(&Path::new("/proc").join(pid).join("mountinfo")).unwrap_or_default();
        super::mountinfo::parse_all(&table).any(|mount| mount.device == device)
    };
    let pids = paths::list(Path::new("/proc")).ok()?.into_iter().filter_map(|e| String::from_utf8(e.name).ok());
    let numbers = pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let in_time = numbers.take_while(|_| Instant::now() < until);
    let mut others = in_time.filter(|pid| namespace(pid).is_some_and(|ns| seen.insert(ns)));
    others.find(|pid| has_it(pid))?.parse().ok()
}

/// Whether a process of this name runs, be it another user's.
pub fn is_any_called(wanted: &str) -> bool {
    let pids = paths::list(Path::new("/proc")).unwrap_or_default().into_iter();
    let mut pids = pids.filter_map(|e| String::from_utf8(e.name).ok()?.parse::<ProcessId>().ok());
    pids.any(|pid| name(pid).is_some_and(|name| name == wanted))
}

/// The name of a process, as `ps -o comm` prints it.
pub fn name(pid: ProcessId) -> Option<String> {
    let name = paths::read_if_there(Path::new(&format!("/proc/{pid}/comm"))).ok()??;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// The words with which a process was started, its program's first; none for one that is gone or has ended, and where
/// `/proc` shows no other users' processes.
pub fn arguments(pid: ProcessId) -> Vec<OsString> {
    let bytes = paths::read_if_there(Path::new(&format!("/proc/{pid}/cmdline"))).ok().flatten().unwrap_or_default();
    let words = bytes.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0);
    words.filter(|_| !bytes.is_empty()).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// The numbers of the descriptors that are `/dev/fuse`.
fn devices(fds: &OwnedFd) -> Vec<String> {
    let names = fs::duplicate(std::os::fd::AsFd::as_fd(fds)).and_then(fs::list).unwrap_or_default();
    let is_device = |name: &Vec<u8>| fs::readlink_at(fds, name).is_ok_and(|to| to == b"/dev/fuse");
    names.into_iter().map(|e| e.name).filter(is_device).map(|n| String::from_utf8_lossy(&n).into_owned()).collect()
}

fn connection(info: &str) -> Option<u32> {
    info.lines().find_map(|l| l.strip_prefix("fuse_connection:"))?.trim().parse().ok()
}

/// The first program of this name in PATH, beneath none of `avoid`: looking into a view that hangs would wait for it.
pub fn find_program(name: &str, avoid: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).filter(|d| d.is_absolute()).collect();
    let may = dirs.into_iter().filter(|dir| !avoid.iter().any(|a| dir.starts_with(a)));
    may.map(|dir| dir.join(name)).find(|file| is_program(file))
}

/// A file that some user may run, symlinks followed.
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether this process has CAP_SYS_ADMIN (capabilities(7)).
pub fn may_mount() -> bool {
    has_sys_admin("CapEff:")
}

/// Whether a program that this process starts may get CAP_SYS_ADMIN. In most containers none does.
pub fn may_gain_mount() -> bool {
    has_sys_admin("CapBnd:")
}

fn has_sys_admin(set: &str) -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = paths::read_if_there(Path::new("/proc/self/status")).ok().flatten().unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    let set = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(set)?.trim(), 16).ok());
    // Without /proc, mounting shows it.
    set.is_none_or(|set| set & SYS_ADMIN != 0)
}

/// Whether set-user-id programs have no effect for this process (PR_SET_NO_NEW_PRIVS(2const)).
pub fn gains_no_privileges() -> bool {
    let status = paths::read_if_there(Path::new("/proc/self/status")).ok().flatten().unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    status.lines().filter_map(|l| l.strip_prefix("NoNewPrivs:")).any(|v| v.trim() == "1")
}

/// Waits until `is_so`, at most so long; whether it was.
pub fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_words_and_one_that_is_not_there_has_none() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep starts");
        // A program that is just being started has none for a moment.
        let is_known = wait_until(Duration::from_secs(60), || arguments(child.id().cast_signed()) == ["sleep", "600"]);
        child.kill().expect("it lives");
        child.wait().expect("it ends");
        assert!(is_known && arguments(child.id().cast_signed()).is_empty());
    }

    #[test]
    fn a_stopped_process_is_told_from_a_running_one_whatever_it_is_called() {
        let line = |state: &str| format!("12 (a) S (b) {state} 1 12 12 0 -1 4194560 5 0 0 0 30 12 0 0 20 0 1 0 9 8 7");
        assert_eq!(parse(&line("S")), Some(ProcStat { is_stopped: false, cpu: 42, started: 9 }));
        assert_eq!(parse(&line("T")), Some(ProcStat { is_stopped: true, cpu: 42, started: 9 }));
        assert_eq!(parse("12 (a"), None);
        assert!(!is_stopped(super::super::process::id()));
    }

    #[test]
    fn a_process_that_runs_waits_for_a_processor_or_reads_is_at_work_and_a_sleeping_one_is_not() {
        let before = ProcessWork { ran: 1000, io: 5, is_runnable: false };
        assert!(!before.is_more_than(before));
        assert!(
            !ProcessWork { ran: 1000 + ProcessWork::LEAST / 2, ..before }.is_more_than(before),
            "it looked at the clock"
        );
        assert!(ProcessWork { ran: 1000 + ProcessWork::LEAST, ..before }.is_more_than(before));
        assert!(ProcessWork { io: 6, ..before }.is_more_than(before));
        assert!(ProcessWork { is_runnable: true, ..before }.is_more_than(before));
        let own = work(super::super::process::id());
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {}
        assert!(work(super::super::process::id()).is_more_than(own));
        assert_eq!(work(-1), ProcessWork::default());
    }

    #[test]
    fn the_connection_is_read_from_what_the_kernel_tells_of_a_descriptor() {
        assert_eq!(connection("pos:\t0\nflags:\t02\nfuse_connection:\t40\n"), Some(40));
        assert_eq!(connection("pos:\t0\n"), None);
    }

    #[test]
    fn programs_are_found_where_path_says_and_nowhere_that_is_avoided() {
        let sh = find_program("sh", &[]).expect("there is a shell");
        assert_ne!(find_program("sh", &[sh.parent().expect("absolute").to_path_buf()]), Some(sh));
    }
}
