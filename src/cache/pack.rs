//! Packs files into an archive: the same files always give the same bytes.
//!
//! Names are relative to the directory of the component, in the order they were given, those of a directory sorted.
//! Kept are modes, times to the nanosecond (as PAX records), symlinks to the letter, and hard links; owners are not.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::{CacheError, Compression};
use crate::store::Progress;
use crate::sys::fs::{self, FileType, OpenFlags, Stat};
use crate::sys::{IoError, path as paths, stream};

/// As `gzip` and `zstd` do by themselves.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// As much as fits in a header's own field.
const NAME_FIELD: usize = 100;

/// Writes the archive of `paths` to `to`. Paths are relative to `base`, or lie in it.
pub fn pack(
    compression: Compression,
    paths: &[PathBuf],
    base: &Path,
    to: &OwnedFd,
    progress: &dyn Progress,
) -> Result<(), CacheError> {
    let written = IoError::of("write", "the archive");
    let to = stream::of(fs::duplicate(to.as_fd()).map_err(IoError::of("write", "the archive"))?);
    let to = io::BufWriter::with_capacity(256 * 1024, to);
    progress.begin("packing", None);
    let all = |to: &mut dyn Write| Packer::new(to, base, progress).all(paths);
    let finished = match compression {
        Compression::None => {
            let mut to = to;
            all(&mut to)?;
            to.flush()
        }
        Compression::Gzip => {
            let mut to = flate2::write::GzEncoder::new(to, flate2::Compression::new(GZIP_LEVEL));
            all(&mut to)?;
            to.finish().and_then(|mut to| to.flush())
        }
        Compression::Zstd => {
            let mut to = zstd(to).map_err(IoError::of("write", "the archive"))?;
            all(&mut to)?;
            to.finish().and_then(|mut to| to.flush())
        }
    };
    Ok(finished.map_err(written)?)
}

fn zstd<W: Write>(to: W) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut to = zstd::stream::write::Encoder::new(to, ZSTD_LEVEL)?;
    // So that damage is noticed when it is unpacked.
    to.include_checksum(true)?;
    // The number of threads doesn't show in the bytes, as long as there is one.
    to.multithread(std::thread::available_parallelism().map_or(1, |n| n.get().min(4) as u32))?;
    Ok(to)
}

struct Packer<'a> {
    tar: Builder<&'a mut dyn Write>,
    base: &'a Path,
    progress: &'a dyn Progress,
    /// Names that are in the archive.
    done: HashSet<PathBuf>,
    /// Files with several names, by device and inode: the first.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Packer<'a> {
    fn new(to: &'a mut dyn Write, base: &'a Path, progress: &'a dyn Progress) -> Packer<'a> {
        let (tar, done, links) = (Builder::new(to), HashSet::new(), HashMap::new());
        Packer { tar, base, progress, done, links }
    }

    fn all(mut self, paths: &[PathBuf]) -> Result<(), CacheError> {
        for path in paths {
            self.add(inside(path, self.base)?)?;
        }
        Ok(self.tar.finish().map_err(IoError::of("write", "the archive"))?)
    }

    /// One path with all below it.
    fn add(&mut self, name: PathBuf) -> Result<(), CacheError> {
        let mut todo = vec![name];
        while let Some(name) = todo.pop() {
            let path = self.base.join(&name);
            let stat = paths::stat(&path)?.ok_or_else(|| CacheError::Absent(path.clone()))?;
            if self.progress.is_cancelled() {
                return Err(CacheError::Interrupted);
            }
            if self.done.insert(name.clone()) && !name.as_os_str().is_empty() {
                self.member(&name, &path, &stat)?;
            }
            if stat.is_dir() {
                let mut names: Vec<Vec<u8>> = paths::list(&path)?.into_iter().map(|e| e.name).collect();
                names.sort_by(|a, b| b.cmp(a));
                todo.extend(names.iter().map(|n| name.join(OsStr::from_bytes(n))));
            }
        }
        Ok(())
    }

    fn member(&mut self, name: &Path, path: &Path, stat: &Stat) -> Result<(), CacheError> {
        if stat.nlink > 1 && !stat.is_dir() {
            if let Some(first) = self.links.get(&(stat.dev, stat.ino)).cloned() {
                return self.write(name, path, stat, EntryType::Link, first.as_os_str().as_bytes(), None);
            }
            self.links.insert((stat.dev, stat.ino), name.to_path_buf());
        }
        match stat.kind() {
            FileType::Directory => self.write(name, path, stat, EntryType::Directory, b"", None),
            FileType::Symlink => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let target = fs::readlink_at(paths::open_dir(parent)?, path.file_name().unwrap_or_default().as_bytes());
                let target = target.map_err(IoError::of("read the link", path))?;
                self.write(name, path, stat, EntryType::Symlink, &target, None)
            }
            FileType::RegularFile => {
                let file = fs::open_path(path, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0);
                let file = file.map_err(IoError::of("open", path))?;
                self.write(name, path, stat, EntryType::Regular, b"", Some(file))
            }
            // As tar: a socket isn't archived.
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        name: &Path,
        path: &Path,
        stat: &Stat,
        kind: EntryType,
        link: &[u8],
        file: Option<OwnedFd>,
    ) -> Result<(), CacheError> {
        let mut bytes = name.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory {
            bytes.push(b'/');
        }
        let size = if file.is_some() { stat.size } else { 0 };
        let mut more: Vec<(&str, Vec<u8>)> = Vec::new();
        if bytes.len() > NAME_FIELD {
            more.push(("path", bytes.clone()));
        }
        if link.len() > NAME_FIELD {
            more.push(("linkpath", link.to_vec()));
        }
        if stat.mtime.nsec != 0 || stat.mtime.sec < 0 {
            let (sec, nsec) = (stat.mtime.sec, stat.mtime.nsec);
            more.push(("mtime", decimal(sec, nsec).into_bytes()));
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(stat.mode & 0o7777);
        header.set_mtime(u64::try_from(stat.mtime.sec).unwrap_or(0));
        header.set_size(size);
        let fields = header.as_mut_bytes();
        copy(&bytes, &mut fields[..NAME_FIELD]);
        copy(link, &mut fields[157..157 + NAME_FIELD]);
        header.set_cksum();
        let failed = |e| CacheError::from(IoError::of("pack", path)(e));
        if !more.is_empty() {
            self.tar.append_pax_extensions(more.iter().map(|(k, v)| (*k, v.as_slice()))).map_err(failed)?;
        }
        let Some(file) = file else { return self.tar.append(&header, io::empty()).map_err(failed) };
        let mut data = Counted { from: stream::of(file).take(size), count: 0, progress: self.progress };
        self.tar.append(&header, &mut data).map_err(failed)?;
        if data.count == size { Ok(()) } else { Err(CacheError::Changed(path.into())) }
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
}

/// PAX times are decimal numbers, negative ones as a whole.
fn decimal(sec: i64, nsec: u32) -> String {
    match (sec, nsec) {
        (_, 0) => sec.to_string(),
        (0.., _) => format!("{sec}.{nsec:09}"),
        _ => format!("-{}.{:09}", -(sec + 1), 1_000_000_000 - nsec),
    }
}

/// The path relative to `base`, without `.`; one that leads outside is an error.
fn inside(path: &Path, base: &Path) -> Result<PathBuf, CacheError> {
    let outside = || CacheError::Outside(path.into());
    let relative = if path.is_absolute() { path.strip_prefix(base).map_err(|_| outside())? } else { path };
    let mut out = PathBuf::new();
    for part in relative.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => out.push(name),
            _ => return Err(outside()),
        }
    }
    Ok(out)
}

struct Counted<'p, R> {
    from: R,
    count: u64,
    progress: &'p dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.count += n as u64;
        self.progress.advance(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_one_negative_number() {
        let table = [(1, 0, "1"), (1, 5, "1.000000005"), (-1, 0, "-1"), (-1, 500_000_000, "-0.500000000")];
        table.iter().for_each(|(sec, nsec, text)| assert_eq!(decimal(*sec, *nsec), *text));
        assert_eq!(decimal(-2, 999_999_999), "-1.000000001");
    }

    #[test]
    fn members_are_named_from_the_component_and_none_leads_outside() {
        let base = Path::new("/w/c");
        let table = [("./target/a", "target/a"), ("dest/", "dest"), (".", ""), ("/w/c/x", "x")];
        table.iter().for_each(|(path, name)| assert_eq!(inside(Path::new(path), base).expect("in"), Path::new(name)));
        ["../x", "a/../../x", "/etc/passwd"].iter().for_each(|p| assert!(inside(Path::new(p), base).is_err()));
    }
}
