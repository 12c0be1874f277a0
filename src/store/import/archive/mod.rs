//! Imports an archive: tar, plain or compressed with gzip or zstd, streaming, refused whole when anything is wrong.
//!
//! One thread decompresses, one reads the members, and workers hash and write small files. Nothing has a name
//! in the store before the archive's last byte was checked: a refused archive leaves nothing. One whose bytes were
//! imported before is only hashed ([`known`]); of several that import the same at once, one unpacks it.

mod dot_git;
mod header;
mod kind;
mod known;
mod pax;
mod plan;
mod refused;
mod stream;
mod tar;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

pub use kind::MemberKind;
pub use plan::ArchivePlan;
pub use refused::Refused;
pub use tar::Tar;
pub(crate) use tar::TarError;

pub(super) use known::check;

use super::{ImportError, ImportStats, Imported};
use crate::store::tree::Slot;
use crate::store::{Node, ObjectId, Progress, Stage, Store, StoreError, Tree, pool};
use crate::sys::fs::FileType;
use crate::sys::{IoError, fault, reason, spawn};

/// How much an archive may unpack to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of all files (holes included), names and attributes: 64 GiB.
    pub bytes: u64,
    /// Members, and directories that no member describes: 10 million.
    pub members: u64,
    /// Directories below each other: 1000.
    pub depth: usize,
    /// Bytes of memory for what is remembered of members and of the directories that they imply, as they are estimated:
    /// 2 GiB, which is some 3 million files.
    pub memory: u64,
}

impl Default for ArchiveLimits {
    fn default() -> ArchiveLimits {
        ArchiveLimits { bytes: LONGEST_FILE, members: 10_000_000, depth: 1000, memory: 2 << 30 }
    }
}

/// The longest archive file, in bytes: no more than it may unpack to.
pub const LONGEST_FILE: u64 = 64 << 30;

/// Up to this size a member's bytes are handed to a worker, together with others until they are as many bytes.
const SMALL: u64 = 512 * 1024;
/// The most files that are handed over at once.
const TOGETHER: usize = 256;
/// Portions that may wait for a worker.
const WAITING: usize = 4;

/// Makes a tree of the archive at `path`.
///
/// # Errors
/// [`ImportError::Refused`] for an archive that is damaged, foreign or too large. It cannot be read, or the store cannot
/// be written.
pub fn import_archive(
    store: &Store,
    path: &Path,
    limits: &ArchiveLimits,
    progress: &dyn Progress,
) -> Result<Imported, ImportError> {
    let refused = |e: Refused| ImportError::Refused { path: path.into(), why: e };
    let stage = store.stage()?;
    store.drop_damaged()?;
    let (source, start) = stream::Source::open(path, progress)?;
    let format = stream::format_of(path, &start).map_err(refused)?;
    let known = known::KnownArchive::of(path, format, limits, progress)?;
    let _flight = store.try_single_flight(&known.id, || progress.is_cancelled());
    if let Some(tree) = known.tree(store) {
        refuse_git(path, &tree)?;
        let stats = ImportStats { files_read: 0, bytes_read: 0, ..count(&tree) };
        return Ok(Imported { tree: tree.id(), stats, skipped: vec![], holding: vec![], lost: vec![] });
    }
    let (send, pieces) = stream::pipe();
    let plan = std::thread::scope(|scope| {
        spawn::beside(scope, fault::inherit(move || stream::decompress(source, format, &send)))
            .map_err(Failed::Thread)?;
        unpack(&stage, Tar::within(pieces, limits), limits, progress)
    });
    let plan = plan.map_err(|e| e.of(path))?;
    let bytes = plan.builder.finish()?;
    progress.begin("writing", None);
    let new_objects = stage.publish()? as u64;
    store.drop_damaged()?;
    let tree = store.put_tree_bytes(&bytes)?;
    known.save(store, path, tree);
    let stats = ImportStats { new_objects, ..count(&*store.tree(tree)?) };
    Ok(Imported { tree, stats, skipped: vec![], holding: vec![], lost: vec![] })
}

/// The error that ends the unpacking of an archive.
enum Failed {
    Tar(TarError),
    Store(StoreError),
    /// No thread can be started for the decompression.
    Thread(std::io::Error),
    Cancelled,
}

impl Failed {
    fn of(self, path: &Path) -> ImportError {
        use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let why = match self {
            Failed::Store(e) => return e.into(),
            Failed::Thread(e) => return IoError::of("start a thread to unpack", path)(e).into(),
            Failed::Cancelled => return ImportError::Cancelled,
            Failed::Tar(TarError::Refused(why)) => why,
            // The kinds that the decompressors use for bytes they can't make sense of.
            Failed::Tar(TarError::Io(e)) => match e.kind() {
                UnexpectedEof => Refused::Truncated,
                InvalidData | InvalidInput | Other => Refused::Corrupt(reason(&e)),
                _ => return IoError::of("read", path)(e).into(),
            },
        };
        ImportError::Refused { path: path.into(), why }
    }
}

impl From<TarError> for Failed {
    fn from(e: TarError) -> Failed {
        Failed::Tar(e)
    }
}

impl From<StoreError> for Failed {
    fn from(e: StoreError) -> Failed {
        Failed::Store(e)
    }
}

/// Small files: where each one's bytes end, and the bytes of all.
#[derive(Default)]
struct Small {
    files: Vec<(Slot, usize)>,
    bytes: Vec<u8>,
}

/// Reads all members, stages their bytes, and returns the tree to be.
fn unpack<'l>(
    stage: &Stage,
    tar: Tar<impl std::io::Read>,
    limits: &'l ArchiveLimits,
    progress: &dyn Progress,
) -> Result<ArchivePlan<'l>, Failed> {
    let (send, receive) = sync_channel::<Small>(WAITING);
    let receive = Mutex::new(receive);
    let failed = AtomicBool::new(false);
    let stop = || failed.load(Ordering::Relaxed) || progress.is_cancelled();
    let (plan, parts) = std::thread::scope(|scope| {
        let work = || store_small(stage, &receive).inspect_err(|_| failed.store(true, Ordering::Relaxed));
        // With fewer of them, or none, it takes longer.
        let workers: Vec<_> =
            (0..pool::cores()).map_while(|_| spawn::beside(scope, fault::inherit(work)).ok()).collect();
        let mut alone = Vec::new();
        let plan = read_members(stage, tar, limits, &stop, &mut |small| match workers.is_empty() {
            true => Ok(store_files(stage, small, &mut alone)?),
            false => send_until(&send, small, &stop),
        });
        drop(send);
        let parts = workers.into_iter().map(|w| match w.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        (plan, parts.chain([Ok(alone)]).collect::<Result<Vec<_>, StoreError>>())
    });
    // A full disk is reported as such, though it also ends the reading.
    let parts = parts?;
    let (mut plan, big) = plan?;
    for (slot, object) in parts.into_iter().flatten().chain(big) {
        plan.builder.set_object(slot, object);
    }
    Ok(plan)
}

/// One worker: stores small files until there are no more, or one can't be stored.
fn store_small(stage: &Stage, receive: &Mutex<Receiver<Small>>) -> Result<Vec<(Slot, ObjectId)>, StoreError> {
    let mut done = Vec::new();
    loop {
        let next = receive.lock().recv();
        let Ok(small) = next else { return Ok(done) };
        store_files(stage, small, &mut done)?;
    }
}

fn store_files(stage: &Stage, small: Small, done: &mut Vec<(Slot, ObjectId)>) -> Result<(), StoreError> {
    let mut begin = 0;
    for (slot, end) in small.files {
        done.push((slot, stage.add_bytes(&small.bytes[begin..end])?));
        begin = end;
    }
    Ok(())
}

type Planned<'l> = (ArchivePlan<'l>, Vec<(Slot, ObjectId)>);

fn read_members<'l>(
    stage: &Stage,
    mut tar: Tar<impl std::io::Read>,
    limits: &'l ArchiveLimits,
    stop: &dyn Fn() -> bool,
    store: &mut dyn FnMut(Small) -> Result<(), Failed>,
) -> Result<Planned<'l>, Failed> {
    let mut plan = ArchivePlan::new(limits);
    let mut big = Vec::new();
    let mut small = Small::default();
    let mut buf = vec![0; 256 * 1024];
    while let Some(member) = tar.next_member()? {
        if stop() {
            return Err(Failed::Cancelled);
        }
        let kind = member.kind.clone();
        let slot = plan.add(member).map_err(TarError::Refused)?;
        let (Some(slot), MemberKind::File { size, data }) = (slot, kind) else { continue };
        if size <= SMALL && data.len() <= 1 && data.first().is_none_or(|d| *d == (0, size)) {
            let mut done = small.bytes.len();
            small.bytes.resize(done + size as usize, 0);
            while done < small.bytes.len() {
                done += tar.read(&mut small.bytes[done..])?;
            }
            small.files.push((slot, done));
            if small.files.len() >= TOGETHER || done as u64 >= SMALL {
                store(std::mem::take(&mut small))?;
            }
        } else {
            big.push((slot, store_big(stage, &mut tar, size, &data, &mut buf, stop)?));
        }
    }
    store(small)?;
    Ok((plan, big))
}

/// Hands files to the workers; gives up when they did.
fn send_until(send: &SyncSender<Small>, mut small: Small, stop: &dyn Fn() -> bool) -> Result<(), Failed> {
    loop {
        match send.try_send(small) {
            Ok(()) => return Ok(()),
            Err(_) if stop() => return Err(Failed::Cancelled),
            Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => small = back,
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Stores a file as its bytes come, holes as holes.
fn store_big(
    stage: &Stage,
    tar: &mut Tar<impl std::io::Read>,
    size: u64,
    data: &[(u64, u64)],
    buf: &mut [u8],
    stop: &dyn Fn() -> bool,
) -> Result<ObjectId, Failed> {
    let mut writer = stage.writer();
    let mut at = 0;
    for (offset, len) in data {
        writer.hole(offset - at)?;
        let mut left = *len;
        while left > 0 {
            if stop() {
                return Err(Failed::Cancelled);
            }
            let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = tar.read(&mut buf[..want])?;
            if n == 0 {
                return Err(TarError::Refused(Refused::Truncated).into());
            }
            writer.write(&buf[..n])?;
            left -= n as u64;
        }
        at = offset + len;
    }
    writer.hole(size - at)?;
    Ok(writer.finish()?.id)
}

/// The counts of a finished tree.
fn count(tree: &Tree) -> ImportStats {
    let mut stats =
        ImportStats { bytes: tree.content_bytes(), bytes_read: tree.content_bytes(), ..ImportStats::default() };
    for n in (0..tree.node_count()).map(Node) {
        match tree.kind(n) {
            Some(FileType::Directory) => stats.dirs += 1,
            Some(FileType::Symlink) => stats.symlinks += 1,
            Some(FileType::RegularFile) => {
                stats.files += u64::from(tree.stat(n).nlink);
                stats.files_read += 1;
            }
            _ => {}
        }
    }
    stats
}
/// Refuses a tree of an archive that an earlier depsfs has imported.
pub(crate) fn refuse_git(archive: &Path, tree: &Tree) -> Result<(), ImportError> {
    let Some(member) = dot_git::git_member(tree) else { return Ok(()) };
    let why = Refused::of(Refused::Git, member.as_os_str().as_encoded_bytes());
    Err(ImportError::Refused { path: archive.into(), why })
}
