//! Small disks, for real: file systems on loop devices, with no block or inode left, or a quota.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small ext4, mounted; unmounted when it is dropped, and then its loop device goes, too.
pub struct Small {
    /// The directory for writes.
    pub at: PathBuf,
    mounted: PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

/// `mkfs`: what else mkfs.ext4 is told. Prints why and gives nothing where such a disk can't be had.
pub fn small(mkfs: &[&str]) -> Option<Small> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has loop devices");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (image, at) = (dir.path().join("image"), dir.path().join("at"));
    std::fs::File::create(&image).and_then(|f| f.set_len(16 << 20)).expect("an image");
    std::fs::create_dir(&at).expect("a directory");
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).args(mkfs).arg(&image).output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: mkfs.ext4 can't be run");
        return None;
    }
    let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &at]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a loop device can't be mounted");
        return None;
    }
    Some(Small { mounted: at.clone(), at, _dir: dir })
}

/// A part of a btrfs that may hold `limit` bytes.
pub fn limited(limit: &str) -> Option<Small> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has loop devices");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (image, at) = (dir.path().join("image"), dir.path().join("at"));
    std::fs::File::create(&image).and_then(|f| f.set_len(160 << 20)).expect("an image");
    std::fs::create_dir(&at).expect("a directory");
    let disk = Small { at: at.join("part"), mounted: at, _dir: dir };
    let (image, at, part) = (image.as_os_str(), disk.mounted.as_os_str(), disk.at.as_os_str());
    let steps: [&[&std::ffi::OsStr]; 5] = [
        &["mkfs.btrfs".as_ref(), "-q".as_ref(), image],
        &["mount".as_ref(), "-o".as_ref(), "loop".as_ref(), image, at],
        &["btrfs".as_ref(), "quota".as_ref(), "enable".as_ref(), at],
        &["btrfs".as_ref(), "subvolume".as_ref(), "create".as_ref(), part],
        &["btrfs".as_ref(), "qgroup".as_ref(), "limit".as_ref(), limit.as_ref(), part],
    ];
    for step in steps {
        let done = Command::new(step[0]).args(&step[1..]).output();
        if !done.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: there is no quota to be had here: {step:?}: {done:?}");
            return None;
        }
    }
    Some(disk)
}

/// A btrfs, which writes what is changed elsewhere than it was.
pub fn btrfs() -> Option<Small> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has loop devices");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (image, at) = (dir.path().join("image"), dir.path().join("at"));
    std::fs::File::create(&image).and_then(|f| f.set_len(160 << 20)).expect("an image");
    std::fs::create_dir(&at).expect("a directory");
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: mkfs.btrfs can't be run");
        return None;
    }
    let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &at]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a btrfs on a loop device can't be mounted");
        return None;
    }
    Some(Small { mounted: at.clone(), at, _dir: dir })
}

impl Small {
    /// From now on there is room.
    pub fn lift_limit(&self) {
        let lifted = Command::new("btrfs").args(["qgroup", "limit", "none"]).arg(&self.at).status();
        assert!(lifted.is_ok_and(|s| s.success()));
    }
}

/// Takes every block of a disk.
pub fn fill(at: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(at.join("filler")).expect("a file");
    for size in [1 << 20, 4096, 1] {
        while file.write(&vec![1; size]).is_ok_and(|n| n > 0) {}
    }
    let _ = file.sync_all();
    // The free space, in whole blocks.
    for n in 0..1000 {
        if std::fs::write(at.join(format!("filler {n}")), "x").is_err() {
            break;
        }
    }
    nix::unistd::sync();
}
