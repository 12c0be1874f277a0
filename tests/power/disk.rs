//! A disk that remembers: a file system on a loop device over a FUSE file whose writes and flushes are recorded.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::Random;

const BLOCK: usize = 4096;
type Block = Box<[u8; BLOCK]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

/// The commands that the disk received.
#[derive(Clone)]
pub enum Event {
    /// A block is this from now on.
    Write(u64, Block),
    /// All of that is on the disk for good when this is done.
    Flush,
}

impl Event {
    pub fn is_flush(&self) -> bool {
        matches!(self, Event::Flush)
    }
}

/// The blocks that aren't all zeros.
type Blocks = BTreeMap<u64, Block>;

#[derive(Default)]
struct Recorded {
    blocks: Blocks,
    events: Vec<Event>,
}

struct Recorder {
    size: u64,
    recorded: Arc<Mutex<Recorded>>,
}

/// The file system, mounted, until [`Disk::end`].
pub struct Disk {
    // In this order they are taken down.
    mounted: Option<Mounted>,
    server: Option<fuser::BackgroundSession>,
    recorded: Arc<Mutex<Recorded>>,
    base: Blocks,
    size: u64,
    kind: Kind,
    dir: tempfile::TempDir,
}

/// A mounted image; unmounted when it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        if !run("umount", &[self.0.as_os_str()]).is_ok_and(|ok| ok) {
            let _ = run("umount", &["-l".as_ref(), self.0.as_os_str()]);
        }
    }
}

fn run(program: &str, args: &[&OsStr]) -> std::io::Result<bool> {
    let output = Command::new(program).args(args).output()?;
    if !output.status.success() {
        println!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

impl Kind {
    fn make(self, image: &Path) -> Result<(), String> {
        let mut command = match self {
            Kind::Ext4 => Command::new("mkfs.ext4"),
            Kind::Xfs => Command::new("mkfs.xfs"),
        };
        match self {
            Kind::Ext4 => command.args(["-q", "-F", "-b", "4096", "-J", "size=4", "-E"]).arg(
                // Nothing is left for a kernel thread to do later.
                "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            ),
            Kind::Xfs => command.args(["-q", "-f", "-K"]),
        };
        match command.arg(image).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(e) => Err(format!("{:?} can't be run: {e}", command.get_program())),
        }
    }

    fn size(self) -> u64 {
        match self {
            Kind::Ext4 => 64 << 20,
            // Less isn't made.
            Kind::Xfs => 320 << 20,
        }
    }

    fn name(self) -> &'static str {
        if self == Kind::Ext4 { "ext4" } else { "xfs" }
    }
}

impl Disk {
    /// A new file system, mounted.
    ///
    /// # Errors
    /// In words, what this machine lacks.
    pub fn new(kind: Kind) -> Result<Disk, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("only root has loop devices".into());
        }
        if !Path::new("/dev/loop-control").exists() || !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/loop-control or no /dev/fuse".into());
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (image, fuse, at) = (dir.path().join("image"), dir.path().join("fuse"), dir.path().join("at"));
        let size = kind.size();
        File::create(&image).and_then(|f| f.set_len(size)).expect("an image");
        kind.make(&image)?;
        let base = blocks(&image);
        fs::remove_file(&image).expect("removed");
        for dir in [&fuse, &at] {
            fs::create_dir(dir).expect("a directory");
        }
        let recorded = Arc::new(Mutex::new(Recorded { blocks: base.clone(), events: vec![] }));
        let recorder = Recorder { size, recorded: recorded.clone() };
        let mut config = fuser::Config::default();
        config.mount_options = vec![fuser::MountOption::FSName("depsfs power test".into())];
        let server = fuser::spawn_mount(recorder, &fuse, &config).map_err(|e| format!("FUSE can't be mounted: {e}"))?;
        let mut disk = Disk { mounted: None, server: Some(server), recorded, base, size, kind, dir };
        disk.mounted = Some(mount(&fuse.join("disk"), &at, kind)?);
        Ok(disk)
    }

    /// Its mount point.
    pub fn at(&self) -> PathBuf {
        self.dir.path().join("at")
    }

    /// How many events there were.
    pub fn now(&self) -> usize {
        self.recorded.lock().expect("no panic").events.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.recorded.lock().expect("no panic").events.clone()
    }

    /// Has the file system commit what it did so far, but not write back other files' bytes.
    pub fn commit(&self) {
        use std::io::Write;
        let mut file = File::options().create(true).append(true).open(self.at().join("ticker")).expect("opened");
        file.write_all(b".").and_then(|()| file.sync_all()).expect("synced");
    }

    /// Unmounts; nothing is recorded any more.
    pub fn end(&mut self) {
        let events = self.events();
        self.mounted = None;
        if let Some(server) = self.server.take() {
            server.umount_and_join().expect("unmounted");
        }
        self.recorded.lock().expect("no panic").events = events;
    }

    /// Mounts the disk as it was when `at` events had happened, of which the first `flushed` are there for certain, and
    /// of the others, with `lost`, only some.
    pub fn as_found(
        &self,
        at: usize,
        flushed: usize,
        lost: Option<u64>,
        look: &dyn Fn(&Path) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut blocks: BTreeMap<u64, &Block> = self.base.iter().map(|(n, b)| (*n, b)).collect();
        let mut random = lost.map(Random);
        let recorded = self.recorded.lock().expect("no panic");
        for (number, event) in recorded.events[..at].iter().enumerate() {
            let is_lost = number >= flushed && random.as_mut().is_some_and(|r| r.draw() % 2 == 0);
            if let (Event::Write(block, bytes), false) = (event, is_lost) {
                blocks.insert(*block, bytes);
            }
        }
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let (image, at) = (dir.path().join("image"), dir.path().join("at"));
        fs::create_dir(&at).expect("a directory");
        let file = File::create(&image).expect("an image");
        file.set_len(self.size).expect("sized");
        for (number, bytes) in blocks {
            file.write_all_at(&bytes[..], number * BLOCK as u64).expect("written");
        }
        drop((file, recorded));
        let mounted = mount(&image, &at, self.kind)?;
        let seen = look(&at);
        drop(mounted);
        seen
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.mounted = None;
        if let Some(server) = self.server.take() {
            let _ = server.umount_and_join();
        }
    }
}

/// Mounts an image; the loop device goes when it is unmounted.
fn mount(image: &Path, at: &Path, kind: Kind) -> Result<Mounted, String> {
    let options = if kind == Kind::Xfs { "loop,noatime,nouuid" } else { "loop,noatime" };
    let output = Command::new("mount").args(["-t", kind.name(), "-o", options]).args([image, at]).output();
    match output {
        Ok(output) if output.status.success() => Ok(Mounted(at.into())),
        Ok(output) => Err(format!("mount {}: {}", image.display(), String::from_utf8_lossy(&output.stderr))),
        Err(e) => Err(format!("mount can't be run: {e}")),
    }
}

/// The blocks of a file that aren't all zeros.
fn blocks(image: &Path) -> Blocks {
    let file = File::open(image).expect("opened");
    let size = file.metadata().expect("looked at").len();
    let mut found = Blocks::new();
    let mut at = 0;
    while let Ok(Some(data)) = depsfs::sys::fs::next_data(&file, at, size) {
        for number in data.start / BLOCK as u64..data.end.div_ceil(BLOCK as u64) {
            let mut bytes: Block = Box::new([0; BLOCK]);
            file.read_exact_at(&mut bytes[..], number * BLOCK as u64).expect("read");
            if bytes.iter().any(|b| *b != 0) {
                found.insert(number, bytes);
            }
        }
        at = data.end;
    }
    found
}

const FOREVER: Duration = Duration::from_secs(1 << 20);
const DISK: INodeNo = INodeNo(2);

impl Recorder {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let is_disk = ino == DISK;
        FileAttr {
            ino,
            size: if is_disk { self.size } else { 0 },
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind: if is_disk { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: BLOCK as u32,
        }
    }
}

impl Filesystem for Recorder {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == "disk" {
            true => reply.entry(&FOREVER, &self.attr(DISK), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = (offset + u64::from(size)).min(self.size);
        let recorded = self.recorded.lock().expect("no panic");
        let mut out = Vec::with_capacity(size as usize);
        let mut at = offset;
        while at < end {
            let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let len = (BLOCK - within).min((end - at) as usize);
            match recorded.blocks.get(&number) {
                Some(bytes) => out.extend_from_slice(&bytes[within..within + len]),
                None => out.resize(out.len() + len, 0),
            }
            at += len as u64;
        }
        reply.data(&out);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut recorded = self.recorded.lock().expect("no panic");
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let len = (BLOCK - within).min(data.len() - done);
            let mut bytes = recorded.blocks.get(&number).cloned().unwrap_or_else(|| Box::new([0; BLOCK]));
            bytes[within..within + len].copy_from_slice(&data[done..done + len]);
            recorded.blocks.insert(number, bytes.clone());
            recorded.events.push(Event::Write(number, bytes));
            done += len;
        }
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.recorded.lock().expect("no panic").events.push(Event::Flush);
        reply.ok();
    }
}
