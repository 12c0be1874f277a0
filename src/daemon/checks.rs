//! Objects of the store while they are served: large ones are compared with their names in the background, and damage
//! that any process finds is reported to the views that show the object.
//!
//! Some time after a mount, and then now and again, the server *looks*: at the notes in the store (`store/lost.rs`), and for
//! views of trees whose large objects no process checks yet. One thread then checks those (`store/check.rs`), while the
//! processor and the disk are idle, and ends. A check ends with the last of the views that it is for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::overlay::Overlay;
use crate::store::{Checked, Notes, ObjectId, Store};
use crate::sys::fs::Timespec;
use crate::sys::{process, thread};

/// The delay of the first look after a mount: the users of the mount are at work first.
const AFTER: Duration = Duration::from_secs(5);
/// The period of later looks; shorter if the first one is sooner.
const PERIOD: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_secs(1);
/// The wait for another process that checks.
const BUSY: Duration = Duration::from_secs(1);
/// The thread rests for so many times as long as it has read, and no longer than that at once.
const REST: u32 = 2;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The environment variable that overrides the delay, for tests and for users without checks: `never`, or milliseconds
/// after a mount.
const VARIABLE: &str = "DEPSFS_CHECK";

/// When the server looks.
pub struct Rounds {
    after: Duration,
    period: Duration,
    next: Option<Instant>,
}

impl Rounds {
    /// No round is due before [`Rounds::begin`]. The variable `DEPSFS_CHECK`, in milliseconds, sets the delay.
    pub fn new() -> Rounds {
        let wish = after(&wish());
        let period = wish.map_or(PERIOD, |after| after.clamp(SHORTEST, PERIOD));
        Rounds { after: wish.unwrap_or(AFTER), period, next: None }
    }

    /// Something is shown that was not: it is looked at in a while.
    pub fn begin(&mut self) {
        self.next = Some(Instant::now() + self.after);
    }

    /// How long until it is time to look.
    pub fn left(&self) -> Option<Duration> {
        self.next.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits until something can be read from `socket`. `false`: it is time to look.
    pub fn wait(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let has_come = process::wait_any(&[socket], self.left())?[0];
        if !has_come {
            self.next = Some(Instant::now() + self.period);
        }
        Ok(has_come)
    }
}

fn wish() -> String {
    std::env::var(VARIABLE).unwrap_or_default()
}

/// The delay after a mount; `None` without a number.
fn after(wish: &str) -> Option<Duration> {
    wish.parse().ok().map(Duration::from_millis)
}

/// A view that is served, and its store.
pub struct ShownTrees {
    pub store: Store,
    pub overlay: Weak<Overlay>,
    /// Its large objects are not queued for the checks yet.
    pub is_new: bool,
}

/// The notes that a server has read, and the checks that it has to do.
pub struct Checks {
    /// When this server began.
    began: Timespec,
    /// By store.
    notes: Mutex<HashMap<PathBuf, Notes>>,
    /// A thread is about to look.
    is_waited: AtomicBool,
    todo: Mutex<Todo>,
}

#[derive(Default)]
struct Todo {
    jobs: VecDeque<CheckJob>,
    /// Could not be checked (too many files are open, for example): the next look tries again.
    postponed: Vec<CheckJob>,
    is_running: bool,
}

/// An object to be checked.
struct CheckJob {
    store: Store,
    id: ObjectId,
    size: u64,
    view: Weak<Overlay>,
}

impl Checks {
    /// Nothing to check, and no notes read yet. The start of this server is now.
    pub fn new() -> Arc<Checks> {
        let (notes, is_waited, todo) = Default::default();
        Arc::new(Checks { began: Timespec::now(), notes, is_waited, todo })
    }

    /// Passes the notes about their objects to the views, and has the large ones checked. `again` requests another
    /// look.
    pub fn look(self: &Arc<Self>, shown: impl FnOnce() -> Vec<ShownTrees>, again: impl Fn() + Send + 'static) {
        if self.is_waited.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut notes = self.notes.lock();
        self.is_waited.store(false, Ordering::SeqCst);
        let shown = shown();
        let stores: HashSet<PathBuf> = shown.iter().map(|s| s.store.path().to_path_buf()).collect();
        notes.retain(|store, _| stores.contains(store));
        for store in stores {
            let news = match notes.entry(store.clone()).or_insert_with(|| Notes::since(self.began)).look(&store) {
                Ok(news) if news.is_empty() => continue,
                Ok(news) => news,
                Err(e) => {
                    tracing::debug!("{e}");
                    continue;
                }
            };
            let objects: HashSet<ObjectId> = news.iter().map(|(id, _)| *id).collect();
            for shown in shown.iter().filter(|s| s.store.path() == store) {
                shown.store.objects().lost().learn(&news);
                if let Some(overlay) = shown.overlay.upgrade() {
                    overlay.look_again_at(&objects);
                }
            }
        }
        drop(notes);
        if wish() != "never" {
            self.take_up(&shown, again);
        }
    }

    /// Has the large objects of new views checked.
    fn take_up(self: &Arc<Self>, shown: &[ShownTrees], again: impl Fn() + Send + 'static) {
        let mut todo = self.todo.lock();
        for shown in shown.iter().filter(|s| s.is_new) {
            let Some(overlay) = shown.overlay.upgrade() else { continue };
            for (id, size) in overlay.large_objects() {
                todo.jobs.push_back(CheckJob { store: shown.store.clone(), id, size, view: shown.overlay.clone() });
            }
        }
        let postponed = std::mem::take(&mut todo.postponed);
        todo.jobs.extend(postponed);
        if todo.jobs.is_empty() || todo.is_running {
            return;
        }
        let me = self.clone();
        let started = std::thread::Builder::new().name("check".into()).spawn(move || me.run(again));
        match started {
            Ok(_) => todo.is_running = true,
            // The next look tries again.
            Err(e) => tracing::debug!("no thread for checks: {e}"),
        }
    }

    /// The loop of the thread.
    fn run(&self, again: impl Fn()) {
        thread::go_to_background();
        while let Some(job) = self.next() {
            match job.run() {
                Ok(Checked::Damaged) => again(),
                Ok(Checked::Busy) => {
                    self.todo.lock().jobs.push_front(job);
                    std::thread::sleep(BUSY);
                }
                Ok(Checked::Sound | Checked::Stopped) => {}
                Err(e) => {
                    tracing::debug!("object {} is not checked yet: {e}", job.id);
                    self.todo.lock().postponed.push(job);
                }
            }
        }
    }

    fn next(&self) -> Option<CheckJob> {
        let mut todo = self.todo.lock();
        let next = todo.jobs.pop_front();
        todo.is_running = next.is_some();
        next
    }
}

impl CheckJob {
    fn run(&self) -> Result<Checked, crate::store::StoreError> {
        let is_shown = || self.view.strong_count() > 0;
        if !is_shown() {
            return Ok(Checked::Stopped);
        }
        self.store.check_large(&self.id, self.size, &mut |begun| {
            std::thread::sleep((begun.elapsed() * REST).min(LONGEST_REST));
            is_shown()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{GraftSpec, OverlayConfig};
    use crate::sys::fault::{Call, Plan};

    #[test]
    fn an_object_that_could_not_be_read_is_checked_at_the_next_look() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let [source, upper, state_dir] = ["source", "upper", "state"].map(|name| dir.path().join(name));
        [&source, &upper, &state_dir].into_iter().for_each(|dir| std::fs::create_dir(dir).expect("made"));
        std::fs::write(source.join("big"), vec![7; 2 << 20]).expect("written");
        let tree = crate::store::import::import_dir(&store, &source, &()).expect("imported").tree;
        let tree = store.tree(tree).expect("the tree");
        let id = (0..tree.node_count()).find_map(|n| tree.object(crate::store::Node(n))).expect("an object");
        let grafts = vec![GraftSpec { at: PathBuf::new(), tree, retired: false }];
        let config = OverlayConfig { state_dir, grafts, objects: store.objects().clone(), takeover: false };
        let view =
            Arc::new(Overlay::open(crate::sys::path::open_dir(&upper).expect("opened"), config).expect("a view"));
        let checks = Checks::new();
        let job = CheckJob { store: store.clone(), id, size: 2 << 20, view: Arc::downgrade(&view) };
        checks.todo.lock().jobs.push_back(job);
        let is_open = |call| matches!(call, Call::Open);
        let fault = Plan { calls: is_open, from: 0, for_ever: true, errno: libc::EMFILE, torn: false }.lay();
        checks.run(|| {});
        drop(fault);
        assert_eq!(checks.todo.lock().postponed.len(), 1);
        checks.take_up(&[], || {});
        let patience = Instant::now() + Duration::from_secs(20);
        while checks.todo.lock().is_running && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(store.path().join("checked").join(id.hex()).exists());
    }

    #[test]
    fn the_wish_is_never_or_a_time() {
        let table = [("", None), ("never", None), ("0", Some(0)), ("1500", Some(1500)), ("soon", None)];
        table.iter().for_each(|(word, ms)| assert_eq!(after(word), ms.map(Duration::from_millis), "{word}"));
    }
}
