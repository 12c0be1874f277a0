//! The process of a fetcher: a thread takes connections and looks at the time, some lanes request, and one thread for
//! each client reads what that asks for.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::catalog::Piece;
use super::connection::{self, FetchRequest};
use super::health::SilentRemote;
use super::lane::{self, LaneTask, LaneWork, OpenRemotes};
use super::limits::FetcherLimits;
use super::missing::silent_remotes;
use super::place::{FOLDER, LOCK, LOG, SOCKET, STATE};
use super::trees::TreeWatch;
use super::work::{Asker, AskerAnswer, Request, Work};
use crate::remote::{RemoteError, RemoteLimits};
use crate::store::{FETCH_WAIT_VARIABLE, ObjectId, Store, seconds_of_variable};
use crate::sys::fs::{self, OpenFlags, open_path};
use crate::sys::lock::Lock;
use crate::sys::log::OrWarn;
use crate::sys::{IoError, interrupt, local_socket, path as paths, process};

/// Requests at once.
const LANES: usize = 16;
/// With less free space, nothing is brought that nobody waits for.
const LEAST_FREE: u64 = 1 << 30;
const LONG_LOG: u64 = 1 << 20;
const TICK: Duration = Duration::from_millis(100);
/// Without work, sources are looked at as often.
const LOOK: Duration = Duration::from_secs(2);

/// The time without a request after which a fetcher ends, and its variable.
const IDLE: Duration = Duration::from_secs(300);
const IDLE_VARIABLE: &str = "DEPSFS_FETCHER_IDLE";

/// How a fetcher waits.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// It ends when nobody has asked for as long.
    pub idle: Duration,
    pub limits: FetcherLimits,
}

impl FetcherOptions {
    /// Those of the environment, and these limits of remotes.
    pub fn from_environment(remotes: HashMap<String, RemoteLimits>) -> FetcherOptions {
        let limits = FetcherLimits { wait: seconds_of_variable(FETCH_WAIT_VARIABLE), remotes };
        FetcherOptions { idle: seconds_of_variable(IDLE_VARIABLE).unwrap_or(IDLE), limits }
    }
}

/// Runs the fetcher of a store until it has nothing to do. At once if another one runs.
///
/// # Errors
/// The store cannot be opened, or the socket not be made.
pub fn run(store: &Path, options: FetcherOptions) -> Result<(), RemoteError> {
    let store = Store::existing(store)?;
    let dir = store.path().join(FOLDER);
    paths::make_private_dir(&dir)?;
    let at = dir.join(LOCK);
    let file = open_path(&at, OpenFlags::RDWR | OpenFlags::CREATE, 0o600).map_err(IoError::of("open", &at))?;
    let Some(_lock) = Lock::try_exclusive(file).map_err(IoError::of("lock", &at))? else { return Ok(()) };
    shorten(&dir.join(LOG)).or_warn("the log of the fetcher stays as long as it is");
    let at = dir.join(SOCKET);
    let listener = local_socket::listen(&dir, SOCKET).map_err(IoError::of("listen at", &at))?;
    let fetcher = Arc::new(Fetcher::new(store, options));
    let lanes: Vec<_> = (0..LANES).filter_map(|_| Fetcher::lane(&fetcher)).collect();
    if lanes.is_empty() {
        let why = "no thread can be had".to_owned();
        return Err(RemoteError::Unreachable { remote: FOLDER.into(), why });
    }
    fetcher.listen(&listener);
    paths::remove_file(&at).or_warn("the socket of the fetcher stays");
    fetcher.end();
    lanes.into_iter().for_each(|lane| lane.join().unwrap_or(()));
    let (requests, received) = fetcher.open.traffic();
    tracing::info!("ended after {requests} requests, {received} bytes received");
    Ok(())
}

/// Empties a log that has become long. This process appends to it.
fn shorten(log: &Path) -> Result<(), IoError> {
    if paths::stat(log)?.is_none_or(|stat| stat.size < LONG_LOG) {
        return Ok(());
    }
    let file = open_path(log, OpenFlags::WRONLY | OpenFlags::NOFOLLOW, 0).map_err(IoError::of("open", log))?;
    fs::truncate(&file, 0).map_err(IoError::of("truncate", log))
}

/// A fetcher at work.
struct Fetcher {
    store: Store,
    options: FetcherOptions,
    open: OpenRemotes,
    state: Mutex<FetcherState>,
    changed: Condvar,
}

struct FetcherState {
    work: Work,
    trees: TreeWatch,
    last_asked: Instant,
    last_look: Option<Instant>,
    is_ending: bool,
    /// The remotes in the file of those that do not answer.
    written: Vec<SilentRemote>,
}

impl Fetcher {
    fn new(store: Store, options: FetcherOptions) -> Fetcher {
        let now = Instant::now();
        let state = FetcherState {
            work: Work::new(options.limits.clone()),
            trees: TreeWatch::new(now),
            last_asked: now,
            last_look: None,
            is_ending: false,
            written: silent_remotes(&store),
        };
        Fetcher { store, options, open: OpenRemotes::default(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes connections until there is nothing to do.
    fn listen(self: &Arc<Self>, listener: &UnixListener) {
        loop {
            let mut waits = vec![listener.as_fd()];
            waits.extend(interrupt::wake());
            let ready = process::wait_any(&waits, Some(TICK)).unwrap_or_default();
            if interrupt::raised().is_some() {
                return;
            }
            if ready.first() == Some(&true)
                && let Ok((stream, _)) = listener.accept()
                && local_socket::user_of(&stream).is_ok_and(|user| user == process::user())
            {
                let fetcher = self.clone();
                connection::serve_apart(stream, move |request, asker| fetcher.take(request, asker));
            }
            if self.tick(Instant::now()) {
                return;
            }
        }
    }

    /// Takes a request of a client.
    fn take(&self, request: FetchRequest, of: Arc<dyn Asker>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.last_asked = now;
        match request {
            FetchRequest::Need(number, id) => {
                let request = Request { of, number };
                let waits = self.demand(&mut state, id, &request, now);
                drop(state);
                match waits {
                    Ok(Some(wait)) => connection::announce(&request, wait),
                    Ok(None) => connection::answer(&request, &Ok(())),
                    Err(why) => connection::answer(&request, &Err(why)),
                }
            }
            FetchRequest::Complete(number, tree) => {
                state.trees.wait_for(tree, Request { of, number }, now);
                state.last_look = None;
            }
        }
        self.changed.notify_all();
    }

    /// How long the request has to wait at most; `None`: the object is here.
    fn demand(
        &self,
        state: &mut FetcherState,
        id: ObjectId,
        request: &Request,
        now: Instant,
    ) -> Result<Option<Duration>, String> {
        if self.store.objects().contains(&id) {
            return Ok(None);
        }
        let why = match state.work.demand(id, request.clone(), now) {
            Ok(wait) => return Ok(Some(wait)),
            Err(why) => why,
        };
        // Its source may be a new one; and its bytes may have come meanwhile.
        let new = state.work.catalog.refresh(&self.store).map_err(|e| e.to_string())?;
        if !new.is_empty() {
            state.trees.found_source();
        }
        match self.store.objects().contains(&id) {
            true => Ok(None),
            false if new.is_empty() => Err(why),
            false => state.work.demand(id, request.clone(), now).map(Some),
        }
    }

    /// The work of a moment: answers that are due, new sources, trees that are complete. `true`: there is no more to do.
    fn tick(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let mut answers = state.work.expired(now);
        let is_idle = state.work.is_done();
        let is_due = state.last_look.is_none_or(|at| now.saturating_duration_since(at) >= LOOK);
        if is_due || is_idle && state.trees.is_new() {
            state.last_look = Some(now);
            if !paths::is_there(&self.store.path().join("version")) {
                return true;
            }
            state.work.is_paused = self.free().is_some_and(|free| free < LEAST_FREE);
            let FetcherState { work, trees, .. } = &mut *state;
            let looked = trees.look(&self.store, work, now).or_warn("the sources cannot be read");
            answers.extend(looked.unwrap_or_default());
        }
        self.report(&mut state);
        let (is_over, has_work) = (self.is_over(&state, now), state.work.has_work());
        drop(state);
        self.give(answers);
        if has_work {
            self.changed.notify_all();
        }
        is_over
    }

    fn is_over(&self, state: &FetcherState, now: Instant) -> bool {
        let is_asked = state.work.is_awaited() || state.trees.is_awaited();
        let quiet = |at: Instant| now.saturating_duration_since(at);
        let is_complete = state.work.catalog.trees().next().is_none();
        let limit = if is_complete { self.options.idle.min(LOOK) } else { self.options.idle };
        !is_asked && quiet(state.last_asked) >= limit && quiet(state.trees.last_success()) >= limit
    }

    fn free(&self) -> Option<u64> {
        let dir = paths::open_dir(self.store.path()).ok()?;
        let stat = fs::statfs(&dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Writes which remotes do not answer, when that has changed.
    fn report(&self, state: &mut FetcherState) {
        let name = |n: usize| state.work.catalog.remotes[n].name.clone();
        let silent = state.work.health.silent(name);
        if silent != state.written {
            let bytes = serde_json::to_vec(&silent).expect("strings are always JSON");
            let at = self.store.path().join(FOLDER).join(STATE);
            paths::replace(&at, &bytes).or_warn("the state of the fetcher is not written");
            state.written = silent;
        }
    }

    fn give(&self, answers: Vec<AskerAnswer>) {
        answers.iter().for_each(|(request, outcome)| connection::answer(request, outcome));
    }

    /// A thread that does jobs until the fetcher ends.
    fn lane(fetcher: &Arc<Fetcher>) -> Option<JoinHandle<()>> {
        let fetcher = fetcher.clone();
        std::thread::Builder::new().name("lane".into()).spawn(move || fetcher.work()).ok()
    }

    fn work(&self) {
        let mut state = self.state.lock();
        while !state.is_ending {
            let Some(task) = self.next(&mut state) else {
                self.changed.wait(&mut state);
                continue;
            };
            drop(state);
            let outcome = lane::run(&task, &self.store, &self.open);
            if let Err(e) = &outcome {
                tracing::info!("nothing came: {e}");
            }
            state = self.state.lock();
            let now = Instant::now();
            if outcome.is_ok() {
                state.trees.came(now);
            }
            let answers = state.work.ended(task.job, outcome, now);
            drop(state);
            self.give(answers);
            self.changed.notify_all();
            state = self.state.lock();
        }
    }

    fn next(&self, state: &mut FetcherState) -> Option<LaneTask> {
        let job = state.work.next(Instant::now())?;
        let catalog = &state.work.catalog;
        let of = match job.pieces.first()? {
            Piece::Frame(pack, _) => {
                let (frames, key) = catalog.pack_at(pack, job.remote)?;
                LaneWork::Frames(*pack, frames, key)
            }
            Piece::Large(id) => LaneWork::Large(catalog.large(id)?),
        };
        let remote = catalog.remotes[job.remote].clone();
        Some(LaneTask { limits: self.options.limits.of(&remote.name), remote, job, of })
    }

    fn end(&self) {
        self.state.lock().is_ending = true;
        self.changed.notify_all();
    }
}
