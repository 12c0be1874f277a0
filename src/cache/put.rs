//! `depsfs cache put`: saves built files for the next worktree, and for other machines if a remote takes uploads.

use std::path::{Path, PathBuf};

use super::local::{Local, PartialArtifact};
use super::remote::Remote;
use super::{ArtifactName, CacheError, Environment, Reporting, pack};
use crate::sys::IoError;
use crate::sys::fs::{OpenFlags, open_path};

/// The result of [`put`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    Skipped(NotSaved),
    Saved { file: Option<PathBuf>, remote: bool },
}

/// Why nothing was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSaved {
    /// The name holds the mark of a content hash that could not be computed.
    Disabled,
    /// `NO_CACHE_UPLOAD`.
    Forbidden,
    /// There is no `CACHE_LOCAL_DIR`, and no remote that takes uploads.
    NoTarget,
}

impl std::fmt::Display for NotSaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NotSaved::Disabled => "its cache is disabled",
            NotSaved::Forbidden => "NO_CACHE_UPLOAD is set",
            NotSaved::NoTarget => "there is nothing to save it to",
        })
    }
}

/// Packs `paths`, which lie in `base`, and saves them: in `CACHE_LOCAL_DIR`, and at the remote unless `CI` is 0. With
/// neither, nothing is packed.
///
/// | step                                        | a crash right after it leaves                |
/// |---------------------------------------------|----------------------------------------------|
/// | 1. packed into a temporary file             | a file that gc deletes (`local::sweep`)      |
/// | 2. renamed to its name in `CACHE_LOCAL_DIR` | the whole artifact, here                     |
/// | 3. uploaded                                 | done                                         |
pub fn put(
    name: &ArtifactName,
    paths: &[PathBuf],
    base: &Path,
    env: &Environment,
    to: &Reporting<'_>,
) -> Result<Put, CacheError> {
    if name.is_disabled() {
        return Ok(Put::Skipped(NotSaved::Disabled));
    }
    if env.no_upload {
        return Ok(Put::Skipped(NotSaved::Forbidden));
    }
    let local = Local::open(env, to.say);
    let remote = Remote::of(env)?.filter(|remote| remote.takes_uploads() && !env.is_local);
    if local.is_none() && remote.is_none() {
        return Ok(Put::Skipped(NotSaved::NoTarget));
    }
    let dir = local.as_ref().map_or(env.temporary.as_path(), Local::path);
    let aside = PartialArtifact::to_save(dir, name)?;
    pack::pack(name.compression(), paths, base, aside.file(), to.progress)?;
    // Opened before it has its name: another may replace that.
    let file = open_path(aside.path(), OpenFlags::RDONLY, 0).map_err(IoError::of("open", aside.path()))?;
    let (aside, saved) = match &local {
        Some(local) => {
            let saved = local.path().join(name.as_str());
            aside.name(&saved)?;
            (None, Some(saved))
        }
        None => (Some(aside), None),
    };
    if let Some(remote) = &remote {
        let path = saved.as_deref().or(aside.as_ref().map(PartialArtifact::path)).expect("it is in one of two places");
        remote.upload(name, path, file)?;
    }
    Ok(Put::Saved { file: saved, remote: remote.is_some() })
}
