//! Artifacts as files: `CACHE_LOCAL_DIR`, and temporary files, which get their name when they are whole.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{ArtifactName, CacheError, Environment, Say};
use crate::store::aside_name;
use crate::sys::fs::{FileType, Timespec};
use crate::sys::log::OrWarn;
use crate::sys::temporary::{Leftover, TemporaryFile};
use crate::sys::{IoError, path as paths};

/// The prefix of temporary files, which are no artifacts.
const ASIDE: &str = ".depsfs-";
const DAY: i64 = 86_400;

/// The directory that `CACHE_LOCAL_DIR` names.
pub struct Local(PathBuf);

impl Local {
    /// Creates the directory if it is absent. If that fails, a warning is printed, and no such directory is used.
    pub fn open(env: &Environment, say: &Say<'_>) -> Option<Local> {
        let dir = env.local_dir.as_ref()?;
        match paths::make_dirs(dir) {
            Ok(()) => Some(Local(dir.clone())),
            Err(e) => {
                say(&format!("Warning: CACHE_LOCAL_DIR is not used: {e}"));
                None
            }
        }
    }

    /// As [`Local::open`], without making it.
    pub fn known(env: &Environment) -> Option<Local> {
        env.local_dir.clone().filter(|dir| paths::is_dir(dir)).map(Local)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The artifact's file, when it is there.
    pub fn find(&self, name: &ArtifactName) -> Result<Option<PathBuf>, CacheError> {
        let path = self.0.join(name.as_str());
        let target = paths::kind_of_target(&path)?;
        Ok(target.filter(|kind| *kind == FileType::RegularFile).map(|_| path))
    }

    /// Counts the file's last use from now, where that may be written.
    pub fn touch(&self, path: &Path) {
        paths::set_mtime(path, Timespec::now()).or_warn("the last use of an artifact is not noted");
    }
}

/// A file that is being written; it is removed unless it was named.
pub struct PartialArtifact {
    path: PathBuf,
    new: TemporaryFile<'static>,
}

impl PartialArtifact {
    /// Creates a file in `dir` for the artifact `name`. Another process that fetches the same artifact waits (see
    /// [`Store::single_flight`](crate::store::Store::single_flight)), so files that a killed process left behind are removed.
    pub fn to_fetch(dir: &Path, name: &ArtifactName) -> Result<PartialArtifact, CacheError> {
        let start = format!("{ASIDE}{}-", short_hash(name));
        for left in paths::list(dir)?.iter().filter(|e| e.name.starts_with(start.as_bytes())) {
            paths::remove_file(&dir.join(String::from_utf8_lossy(&left.name).as_ref()))?;
        }
        PartialArtifact::at(dir.join(format!("{start}{}{}", aside_name(), name.suffix())))
    }

    /// Creates a file in `dir` for an artifact that is packed here; several processes may pack the same at once.
    pub fn to_save(dir: &Path, name: &ArtifactName) -> Result<PartialArtifact, CacheError> {
        PartialArtifact::at(dir.join(format!("{ASIDE}put-{}{}", aside_name(), name.suffix())))
    }

    fn at(path: PathBuf) -> Result<PartialArtifact, CacheError> {
        let new = TemporaryFile::at(&path, 0o644, Leftover::Refuse).map_err(IoError::of("create", &path))?;
        Ok(PartialArtifact { path, new })
    }

    /// The path of the temporary file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The temporary file, open for writing.
    pub fn file(&self) -> &OwnedFd {
        self.new.file()
    }

    /// Renames the file to `to`; an earlier file of that name is replaced.
    pub fn name(self, to: &Path) -> Result<(), CacheError> {
        Ok(self.new.rename_to(to).map_err(IoError::of("rename", &self.path))?)
    }
}

/// 16 hex digits that stand for an artifact's name.
pub fn short_hash(name: &ArtifactName) -> String {
    blake3::hash(name.as_str().as_bytes()).to_hex()[..16].to_owned()
}

/// Deletes tarballs last used before `since`, and temporary files that are older than that and than a day; with
/// `dry_run` none is deleted. Returns their names, and their bytes.
pub fn sweep(dir: &Path, since: Timespec, dry_run: bool) -> Result<(Vec<String>, u64), CacheError> {
    let (mut names, mut bytes, now) = (Vec::new(), 0, Timespec::now());
    for entry in paths::list(dir)? {
        let Ok(name) = String::from_utf8(entry.name) else { continue };
        let path = dir.join(&name);
        let is_aside = name.starts_with(ASIDE);
        // Another process may be writing this temporary file just now.
        let since = if is_aside { Timespec { sec: since.sec.min(now.sec - DAY), ..since } } else { since };
        let Some(stat) = paths::stat(&path)?.filter(|s| s.is_file() && s.mtime < since) else { continue };
        if is_aside || super::name::is_archive(&name) {
            if !dry_run {
                paths::remove_file(&path)?;
            }
            bytes += stat.size;
            names.push(name);
        }
    }
    names.sort();
    Ok((names, bytes))
}
