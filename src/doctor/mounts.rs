//! Views that are mounted and do not work: dead ones, which no process serves, and hung ones, whose daemon lives.
//!
//! A dead view answers ENOTCONN at once, a hung one blocks every process that touches it; so none is touched. The
//! process that has a connection's device open answers for it; a stopped process does not, nor does one that uses no
//! processor time while requests wait (or, if the kernel doesn't report whether they do, while it handles one).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DoctorFacts, Row};
use crate::daemon::{self, Health, health, whereabouts};
use crate::sys::mountinfo::{MountPoint, MountTable};
use crate::sys::proc::ProcessWork;
use crate::sys::process::{Ask, ProcessId, ProcessIdentity};
use crate::sys::terminal::{DisplayName, shell_word};
use crate::sys::{IoError, fuse_dev, mount, mountinfo, path, proc};
use crate::views::set::{self, Views};
use crate::worktree::WorktreeError;

/// Requests that wait for longer than that, while no process works on them, wait for a process that hangs. On a busy
/// machine a healthy server may get no processor for a while, or wait for the disk.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);
/// The longest time that a daemon may take to go on.
const PATIENCE: Duration = Duration::from_secs(3);

/// The processes that have a connection open, by connection.
type ConnectionHolders = BTreeMap<u32, Vec<ProcessId>>;

/// A daemon that is known by its state directory.
struct KnownView {
    state_dir: PathBuf,
    /// The worktree, or the directory that is mounted at.
    place: PathBuf,
    views: Vec<PathBuf>,
    /// The mount points of its views, but for those that its user dropped.
    wanted: Vec<PathBuf>,
    health: Health,
}

/// The views of one known daemon, or one view of an unknown process.
struct Finding<'a> {
    known: Option<&'a KnownView>,
    mounts: Vec<&'a MountPoint>,
    answering: Vec<ProcessId>,
}

/// A row for each mount without a daemon, and for each daemon that is hung, stopped or refuses. Nothing waits for a
/// view or a daemon.
pub fn rows(sight: &DoctorFacts) -> Result<Vec<Row>, WorktreeError> {
    let held = proc::fuse_connections();
    let known = known(sight, held.as_ref())?;
    let findings = findings(sight, &known, held.as_ref());
    let (dead, alive): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| f.answering.is_empty());
    let count: usize = alive.iter().map(|f| f.mounts.len()).sum();
    let mut hung: Vec<Row> = hung(&alive).into_iter().map(|(f, why)| f.hung_row(&why)).collect();
    let mut rows: Vec<Row> = dead.iter().map(Finding::dead_row).collect();
    if rows.is_empty() {
        rows.push(Row::ok("dead_mounts", "none"));
    }
    if hung.is_empty() {
        let views = if count == 1 { "view is" } else { "views are" };
        hung.push(Row::ok("hung_mounts", format!("none; {count} {views} mounted")));
    }
    rows.append(&mut hung);
    rows.extend(refusing(&known));
    rows.extend(partly(sight, &known));
    Ok(rows)
}

/// Worktrees that have some of their views and not the others. One without any was unmounted.
fn partly(sight: &DoctorFacts, known: &[KnownView]) -> Vec<Row> {
    let row = |known: &KnownView| {
        known.health.keeper?;
        let is_mounted = |view: &&PathBuf| sight.mounts.iter().any(|m| m.kind == mount::KIND && m.path == **view);
        let (there, missing): (Vec<_>, Vec<_>) = known.wanted.iter().partition(is_mounted);
        if there.is_empty() || missing.is_empty() {
            return None;
        }
        let names: Vec<String> = missing.iter().map(|view| view.shown().to_string()).collect();
        let words = format!(
            "{} of {} views of {} are not mounted: {}",
            missing.len(),
            known.wanted.len(),
            known.place.shown(),
            super::few(&names)
        );
        let state_dir = known.state_dir.clone();
        let row = Row::warn("views", words, format!("depsfs mount {}", shell_word(&known.place)));
        Some(row.fixed_by(move || Ok(Views::load(&state_dir)?.mount()?)))
    };
    known.iter().filter_map(row).collect()
}

/// Daemons that gave up: their views answer EIO to everything.
fn refusing(known: &[KnownView]) -> Vec<Row> {
    let check = "daemons";
    let row = |known: &KnownView| {
        let why = known.health.refuses.as_ref()?;
        let words = format!("the views of {} answer EIO: {why}", known.place.shown());
        let state_dir = known.state_dir.clone();
        let row = Row::fail(check, words, format!("depsfs mount {}", shell_word(&known.place)));
        Some(row.fixed_by(move || Ok(Views::load(&state_dir)?.mount()?)))
    };
    let rows: Vec<Row> = known.iter().filter_map(row).collect();
    let living = known.iter().filter(|k| k.health.keeper.is_some()).count();
    if rows.is_empty() { vec![Row::ok(check, format!("{living} run"))] } else { rows }
}

fn known(sight: &DoctorFacts, held: Option<&ConnectionHolders>) -> Result<Vec<KnownView>, WorktreeError> {
    let table = MountTable::new(sight.mounts.clone());
    let mut dirs: Vec<PathBuf> = sight.worktrees().map(|(dir, _)| dir).collect();
    if let Some(states) = &sight.states {
        dirs.extend(set::all_at(states)?);
    }
    dirs.sort();
    dirs.dedup();
    let mut known = Vec::new();
    for state_dir in dirs {
        if super::is_in_fuse(&sight.mounts, &state_dir) {
            continue;
        }
        let Ok(manifest) = crate::store::Manifest::load(&set::manifest_file(&state_dir)) else { continue };
        let mut health = health(&state_dir);
        // A directory above one may have been renamed. Numbers are used again: those of a daemon that is gone mean
        // nothing while a process has the connection.
        let is_free = |minor| held.is_some_and(|held| !held.contains_key(&minor));
        let lives = health.keeper.is_some();
        for view in health.views.iter_mut().filter(|v| lives || v.device.is_some_and(|(_, minor)| is_free(minor))) {
            if let Some(at) = whereabouts(&table, &view.path, view.device).map(Path::to_path_buf) {
                view.path = at;
            }
        }
        let mut views: Vec<PathBuf> =
            manifest.views.iter().filter(|v| !v.is_copy()).map(|v| manifest.worktree.join(&v.path)).collect();
        views.extend(health.views.iter().map(|v| v.path.clone()));
        let all = Views { state_dir: state_dir.clone(), manifest };
        let wanted =
            all.manifest.views.iter().filter(|v| !v.is_copy() && !all.is_dropped(v)).map(|v| all.place(v)).collect();
        known.push(KnownView { state_dir, place: all.top(), views, wanted, health });
    }
    Ok(known)
}

fn findings<'a>(sight: &'a DoctorFacts, known: &'a [KnownView], held: Option<&ConnectionHolders>) -> Vec<Finding<'a>> {
    let mut findings: Vec<Finding<'a>> = Vec::new();
    let ours = |m: &&MountPoint| m.kind == mount::KIND && (sight.is_root || m.user == Some(sight.user));
    let told = |k: &'a KnownView| k.health.views.iter().filter_map(move |v| Some(((v.device?, v.path.as_path()), k)));
    let told: HashMap<_, _> = known.iter().rev().flat_map(told).collect();
    let placed = |k: &'a KnownView| k.views.iter().map(move |path| (path.as_path(), k));
    let placed: HashMap<_, _> = known.iter().rev().flat_map(placed).collect();
    for mount in sight.mounts.iter().filter(ours) {
        let teller = told.get(&(mount.device, mount.path.as_path())).copied();
        let owner = teller.or_else(|| placed.get(mount.path.as_path()).copied());
        let by_device = held.and_then(|held| held.get(&mount.device.1)).cloned().unwrap_or_default();
        let by_state = teller.map(|k| k.health.processes().iter().map(|p| p.pid).collect()).unwrap_or_default();
        if held.is_none() && owner.is_none() {
            // A process has it, and this kernel does not report which.
            continue;
        }
        let answering = if by_device.is_empty() { by_state } else { by_device };
        let same = |f: &&mut Finding<'a>| {
            f.known.zip(owner).is_some_and(|(a, b)| a.state_dir == b.state_dir) && f.answering == answering
        };
        match findings.iter_mut().find(same) {
            Some(finding) => finding.mounts.push(mount),
            None => findings.push(Finding { known: owner, mounts: vec![mount], answering }),
        }
    }
    findings
}

/// Those that hang, with why: all together are waited for no longer than one.
fn hung<'a>(alive: &'a [Finding<'a>]) -> Vec<(&'a Finding<'a>, String)> {
    let (stopped, others): (Vec<_>, Vec<_>) = alive.iter().partition(|f| !f.stopped().is_empty());
    let mut hung: Vec<_> = stopped
        .into_iter()
        .map(|f| (f, format!("process {} of its daemon is stopped", super::few(&f.stopped()))))
        .collect();
    let awaited = others.into_iter().filter(|f| f.is_awaited());
    let mut silent: Vec<_> = awaited.map(|f| (f, Works::of(&f.answering))).collect();
    for _ in 0..LOOKS {
        if silent.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN);
        silent.retain(|(f, before)| f.is_awaited() && !before.has_more());
    }
    hung.extend(silent.into_iter().map(|(f, _)| (f, "requests wait, and its daemon does nothing".into())));
    hung
}

/// The work of processes up to a moment.
struct Works(Vec<(ProcessId, ProcessWork)>);

impl Works {
    fn of(pids: &[ProcessId]) -> Works {
        Works(pids.iter().map(|pid| (*pid, proc::work(*pid))).collect())
    }

    /// Whether one of them has worked since.
    fn has_more(&self) -> bool {
        self.0.iter().any(|(pid, before)| proc::work(*pid).is_more_than(*before))
    }
}

impl Finding<'_> {
    fn words(&self) -> String {
        let views: Vec<_> = self.mounts.iter().map(|m| m.path.shown().to_string()).collect();
        super::few(&views)
    }

    fn dead_row(&self) -> Row {
        let check = "dead_mounts";
        let words = format!("{}: mounted, but the daemon is gone", self.words());
        let paths: Vec<PathBuf> = self.mounts.iter().map(|m| m.path.clone()).collect();
        match self.known {
            Some(known) if path::is_dir(&known.place) || self.covers(&known.place) => {
                let state_dir = known.state_dir.clone();
                let remedy = format!("depsfs mount {}", shell_word(&known.place));
                Row::fail(check, words, remedy).fixed_by(move || Ok(Views::load(&state_dir)?.mount()?))
            }
            _ => {
                let all: Vec<_> = paths.iter().map(|p| format!("fusermount3 -u -z {}", shell_word(p))).collect();
                let devices: Vec<_> = self.mounts.iter().map(|m| (m.path.clone(), m.device)).collect();
                match self.known {
                    Some(_) => Row::fail(check, words, all.join("; ")).fixed_by(move || detach(&devices)),
                    // Of another store, whose own doctor mounts it again.
                    None => Row::warn(check, words, all.join("; ")),
                }
            }
        }
    }

    /// Whether looking at the path would be looking into one of these.
    fn covers(&self, place: &Path) -> bool {
        self.mounts.iter().any(|m| m.path == place)
    }

    fn stopped(&self) -> Vec<ProcessId> {
        self.answering.iter().copied().filter(|pid| proc::is_stopped(*pid)).collect()
    }

    /// Whether requests wait for an answer.
    fn is_awaited(&self) -> bool {
        // An ordinary user cannot read how many requests wait if fusectl isn't mounted.
        let in_a_request = || self.answering.iter().any(|pid| proc::waits_in_a_request(*pid));
        let is_waiting = |m: &&MountPoint| fuse_dev::waiting(m.device.1).map_or_else(in_a_request, |n| n > 0);
        self.mounts.iter().any(is_waiting)
    }

    fn hung_row(&self, why: &str) -> Row {
        let stopped = self.stopped();
        let keeper = self.known.and_then(|k| k.health.keeper);
        let servers: Vec<_> = self.answering.iter().copied().filter(|pid| Some(*pid) != keeper).collect();
        let remedy = match (stopped.is_empty(), &servers[..]) {
            (false, _) => format!("kill -CONT {}", joined(&stopped)),
            // Another takes over, and what waits is answered.
            (true, servers) => format!("kill -KILL {}", joined(servers)),
        };
        let connections: Vec<u32> = self.mounts.iter().map(|m| m.device.1).collect();
        let words = format!("{}: mounted, but {why}", self.words());
        if self.known.is_none() {
            // Of another store: the user who stopped it may have meant to.
            return Row::warn("hung_mounts", words, remedy);
        }
        let row = Row::fail("hung_mounts", words, remedy);
        let (stopped, servers) = (identities(&stopped), identities(&servers));
        let state_dir = self.known.map(|known| known.state_dir.clone());
        row.fixed_by(move || revive(&stopped, keeper.is_some().then_some(&servers), &connections, state_dir.as_deref()))
    }
}

fn joined(pids: &[ProcessId]) -> String {
    pids.iter().map(ProcessId::to_string).collect::<Vec<_>>().join(" ")
}

/// Detaches those that are still dead: the user may have mounted them again since.
fn detach(dead: &[(PathBuf, (u32, u32))]) -> Result<(), WorktreeError> {
    for (path, device) in dead {
        let is_held = proc::fuse_connections().is_some_and(|held| held.contains_key(&device.1));
        let is_there = mountinfo::read()?.iter().any(|m| m.path == *path && m.device == *device);
        if is_there && !is_held {
            mount::unmount(path, true).map_err(IoError::of("detach the dead mount at", path))?;
        }
    }
    Ok(())
}

fn identities(pids: &[ProcessId]) -> Vec<ProcessIdentity> {
    pids.iter().map(|pid| ProcessIdentity::now(*pid)).collect()
}

fn signal(process: &ProcessIdentity, what: Ask) -> Result<(), WorktreeError> {
    Ok(process.signal(what).map(drop).map_err(IoError::of("signal", Path::new("the daemon")))?)
}

/// Has stopped processes go on; a server that still does nothing is killed, for its keeper to start another.
fn revive(
    stopped: &[ProcessIdentity],
    servers: Option<&Vec<ProcessIdentity>>,
    connections: &[u32],
    state_dir: Option<&Path>,
) -> Result<(), WorktreeError> {
    for process in stopped {
        signal(process, Ask::GoOn)?;
    }
    let servers: Vec<&ProcessIdentity> = servers.into_iter().flatten().collect();
    let before = Works::of(&servers.iter().map(|s| s.pid).collect::<Vec<_>>());
    let answers = || connections.iter().all(|c| fuse_dev::waiting(*c).is_none_or(|n| n == 0));
    let go_on = || stopped.iter().all(|s| !proc::is_stopped(s.pid)) && (!stopped.is_empty() || answers());
    let limit = if stopped.is_empty() { Duration::ZERO } else { PATIENCE };
    // One that has begun to work meanwhile is only busy.
    if proc::wait_until(limit, || go_on() && answers()) || before.has_more() {
        return Ok(());
    }
    for server in servers {
        signal(server, Ask::Kill)?;
    }
    // The requests of a connection that the next server can't answer either: it is ended, and the view mounted anew.
    if !proc::wait_until(PATIENCE, answers)
        && let Some(state_dir) = state_dir
        && !daemon::hung(state_dir).is_empty()
    {
        Views::load(state_dir)?.mount()?;
    }
    Ok(())
}
