//! Walks a directory on all cores and finds how it differs from the last import of it.
//!
//! A directory that didn't change (its ctime) has the names it had: then each file costs one `fstatat` and
//! nothing is allocated. New and different files are listed, and read by [`super::read`].
//!
//! In a view nothing is recognised like that: the next view at the same place may have the same device, inode
//! numbers and times, and show other content. There each file reports which object it is; or the view reports which
//! names may have changed ([`super::shared`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::found::{DirFound, DirKey, Findings, FoundEntry, ReadJob, xattrs_of};
use super::place::{DEPTH, SourceDir, is_denied, is_gone, is_view, list, read_link};
use super::shared::{Shared, list_in};
use super::snapshot::Previous;
use super::watch::PathScan;
use super::{ImportError, ImportStats, SkipReason, Skipped};
use crate::store::pool::JobQueue;
use crate::store::{Name, Node, Objects, Progress, Stage};
use crate::sys::fs::{self, FileType, Stat};

/// A job reads files until it has as many, or as many bytes.
const JOB_FILES: usize = 32;
const JOB_BYTES: u64 = 4 << 20;

/// A unit of work of the walk's threads. A directory's job adds those of its subdirectories and files to the queue.
pub(super) enum Job {
    Root { place: Arc<SourceDir>, stat: Stat, key: DirKey },
    Dir { parent: Arc<SourceDir>, name: Box<[u8]>, key: DirKey },
    Read(ReadJob),
}

/// One walk.
pub(super) struct Scan<'a> {
    pub stage: &'a Stage,
    pub objects: &'a Objects,
    pub previous: Option<&'a Previous>,
    pub progress: &'a dyn Progress,
    pub watched: Option<&'a PathScan>,
    /// The view that is walked, with its device number.
    pub shared: Option<(&'a dyn Shared, u64)>,
    next_file: AtomicU32,
    next_dir: AtomicU32,
    /// Files with several links that were met: (device, inode) → number.
    linked: Mutex<HashMap<(u64, u64), u32>>,
}

impl<'a> Scan<'a> {
    /// A walk that has met nothing yet. `previous` is the last import of the same directory: its unchanged files are
    /// not read. `watched` is the path that is looked for in files that are read.
    pub fn new(
        stage: &'a Stage,
        objects: &'a Objects,
        previous: Option<&'a Previous>,
        progress: &'a dyn Progress,
        watched: Option<&'a PathScan>,
        shared: Option<(&'a dyn Shared, u64)>,
    ) -> Scan<'a> {
        let (next_file, next_dir) = (AtomicU32::new(0), AtomicU32::new(1));
        Scan { stage, objects, previous, progress, watched, shared, next_file, next_dir, linked: Mutex::default() }
    }

    /// Does one job: its findings are added to `out`, the jobs that it leads to are pushed to `queue`. Called by
    /// several threads, each with an `out` of its own.
    pub fn work(&self, job: Job, out: &mut Findings, queue: &JobQueue<Job>) -> Result<(), ImportError> {
        if self.progress.is_cancelled() {
            return Err(ImportError::Cancelled);
        }
        match job {
            Job::Read(job) => self.read(job, out),
            Job::Root { place, stat, key } => self.dir(place, stat, key, out, queue),
            Job::Dir { parent, name, .. } if parent.depth >= DEPTH => {
                let why = format!("it lies more than {DEPTH} directories deep");
                Err(parent.failed("import", &name, std::io::Error::other(why)))
            }
            Job::Dir { parent, name, key } => {
                let fd = match fs::open_dir_at(&parent.fd, &name) {
                    Ok(fd) => fd,
                    Err(e) if is_gone(&e) => return Err(ImportError::Changed(parent.path_of(&name))),
                    Err(e) if is_denied(&e) => {
                        out.closed(key, parent.path_of(&name));
                        return Ok(());
                    }
                    Err(e) => return Err(parent.failed("open", &name, e)),
                };
                let stat = fs::stat(&fd).map_err(|e| parent.failed("stat", &name, e))?;
                let mount = stat.dev != parent.dev;
                let in_view = if mount { is_view(&fd) } else { parent.in_view };
                let (dev, depth) = (stat.dev, parent.depth + 1);
                let place = Arc::new(SourceDir { fd, name, parent: Some(parent), in_view, dev, depth });
                if mount && !in_view {
                    return self.foreign(&place, stat, key, out);
                }
                self.dir(place, stat, key, out, queue)
            }
        }
    }

    /// The mount point of something that is no view: an empty directory.
    fn foreign(&self, place: &SourceDir, stat: Stat, key: DirKey, out: &mut Findings) -> Result<(), ImportError> {
        out.skipped.push(Skipped { path: place.path_of(b""), why: SkipReason::Mount });
        if !self.before(key).is_some_and(|(p, n)| p.is_same(n, &stat) && p.tree.entry_count(n) == 0) {
            out.dirs.insert(key, DirFound { stat, xattrs: vec![], names: vec![] });
        }
        Ok(())
    }

    fn dir(
        &self,
        place: Arc<SourceDir>,
        stat: Stat,
        key: DirKey,
        out: &mut Findings,
        queue: &JobQueue<Job>,
    ) -> Result<(), ImportError> {
        out.stats.dirs += 1;
        if self.is_unchanged(&place, &stat, key, out, queue) {
            return Ok(());
        }
        let (stat, mut names, rest) = match self.shared.filter(|(_, dev)| *dev == place.dev) {
            Some((shared, _)) => list_in(shared, &place, stat)?,
            None => match list(&place, stat) {
                // It may be listed, and not be entered. The whole of an import is an error.
                Err(ImportError::Io(e)) if is_denied(&e.source) && place.parent.is_some() => {
                    out.closed(key, place.path_of(b""));
                    return Ok(());
                }
                listed => listed.map(|(stat, names)| (stat, names, vec![]))?,
            },
        };
        let xattrs = xattrs_of(&place.fd).map_err(|e| place.failed("read the xattrs of", b"", e))?;
        let mut reads = Reads { place: &place, files: vec![], bytes: 0, queue, progress: self.progress };
        let mut found = rest;
        found.reserve(names.len());
        for (name, stat) in names.drain(..) {
            if let Some(what) = self.found(&name, &stat, key, out, &mut reads)? {
                found.push((name, what));
            }
        }
        reads.send();
        out.dirs.insert(key, DirFound { stat, xattrs, names: found });
        Ok(())
    }

    /// Whether the directory and all its names but subdirectories are as they were; then its subdirectories are queued.
    fn is_unchanged(
        &self,
        place: &Arc<SourceDir>,
        stat: &Stat,
        key: DirKey,
        out: &mut Findings,
        queue: &JobQueue<Job>,
    ) -> bool {
        let Some((before, dir)) = self.before(key).filter(|_| !place.in_view) else { return false };
        if !before.is_same(dir, stat) {
            return false;
        }
        let mut stats = ImportStats::default();
        for entry in before.tree.entries(dir, 0) {
            match before.tree.kind(entry.node) {
                Some(FileType::Directory) => continue,
                Some(FileType::RegularFile) => stats.files += 1,
                Some(FileType::Symlink) => stats.symlinks += 1,
                _ => {}
            }
            if !fs::stat_at(&place.fd, entry.name).is_ok_and(|now| before.is_same(entry.node, &now)) {
                return false;
            }
        }
        out.stats.files += stats.files;
        out.stats.symlinks += stats.symlinks;
        for entry in before.tree.entries(dir, 0) {
            if before.tree.kind(entry.node) == Some(FileType::Directory) {
                let key = DirKey::Before(entry.node);
                queue.push(Job::Dir { parent: place.clone(), name: entry.name.into(), key });
            }
        }
        true
    }

    fn found(
        &self,
        name: &Name,
        stat: &Stat,
        dir: DirKey,
        out: &mut Findings,
        reads: &mut Reads<'_>,
    ) -> Result<Option<FoundEntry>, ImportError> {
        let place = reads.place;
        let before = self.before(dir).and_then(|(before, dir)| Some((before, before.tree.lookup(dir, name)?)));
        let same = before
            .filter(|(before, n)| !place.in_view && !stat.is_dir() && before.is_same(*n, stat))
            .map(|(_, n)| FoundEntry::Same(n));
        Ok(Some(match stat.kind() {
            FileType::Directory => {
                let known = before.filter(|(before, n)| before.tree.kind(*n) == Some(FileType::Directory));
                let new = || DirKey::New(self.next_dir.fetch_add(1, Ordering::Relaxed));
                let key = known.map_or_else(new, |(_, n)| DirKey::Before(n));
                reads.queue.push(Job::Dir { parent: place.clone(), name: name.bytes().into(), key });
                FoundEntry::Dir(key)
            }
            FileType::RegularFile => {
                out.stats.files += 1;
                same.unwrap_or_else(|| self.file(name, stat, reads))
            }
            FileType::Symlink => {
                out.stats.symlinks += 1;
                match same {
                    Some(same) => same,
                    None => FoundEntry::Symlink(*stat, read_link(place, name)?),
                }
            }
            FileType::Fifo => same.unwrap_or(FoundEntry::Fifo(*stat)),
            kind => {
                let why = SkipReason::Special(kind);
                out.skipped.push(Skipped { path: place.path_of(name.bytes()), why });
                return Ok(None);
            }
        }))
    }

    /// Queues a file to be read, unless another name of it is queued already.
    fn file(&self, name: &Name, stat: &Stat, reads: &mut Reads<'_>) -> FoundEntry {
        let number = || self.next_file.fetch_add(1, Ordering::Relaxed);
        let number = if stat.nlink > 1 {
            let mut linked = self.linked.lock();
            if let Some(number) = linked.get(&(stat.dev, stat.ino)) {
                return FoundEntry::File(*number);
            }
            *linked.entry((stat.dev, stat.ino)).or_insert_with(number)
        } else {
            number()
        };
        reads.add(number, name, stat.size);
        FoundEntry::File(number)
    }

    fn before(&self, key: DirKey) -> Option<(&'a Previous, Node)> {
        match (self.previous, key) {
            (Some(previous), DirKey::Before(n)) => Some((previous, n)),
            _ => None,
        }
    }
}

/// The files of one directory that are to be read, handed out in portions.
struct Reads<'a> {
    place: &'a Arc<SourceDir>,
    files: Vec<(u32, Box<[u8]>)>,
    bytes: u64,
    queue: &'a JobQueue<Job>,
    progress: &'a dyn Progress,
}

impl Reads<'_> {
    fn add(&mut self, number: u32, name: &Name, size: u64) {
        self.files.push((number, name.bytes().into()));
        self.bytes = self.bytes.saturating_add(size);
        if self.files.len() >= JOB_FILES || self.bytes >= JOB_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        if !self.files.is_empty() {
            let files = std::mem::take(&mut self.files);
            self.progress.expect(files.len() as u64, self.bytes);
            self.queue.push(Job::Read(ReadJob { place: self.place.clone(), files }));
        }
        self.bytes = 0;
    }
}
