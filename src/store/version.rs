//! The version of a store: the content of its file `version`. It rises with the first thing that older programs would
//! misread, so that they refuse the store from then on.

use std::path::Path;

use super::{Store, StoreError};
use crate::sys::fs;
use crate::sys::{IoError, path as paths};

/// In a store with objects that may be absent: an older depsfs would serve the hole of a sparse pack as zeros.
const WITH_ABSENT: &str = "depsfs store 3\n";
/// Of a store that may have packs, as it is made.
pub(super) const VERSION: &str = "depsfs store 2\n";
/// Of a store without packs, which a depsfs from before packs can read too.
const WITHOUT_PACKS: &str = "depsfs store 1\n";

/// # Errors
/// [`StoreError::Version`]: this depsfs does not know the version.
pub(super) fn check(store: &Path) -> Result<(), StoreError> {
    let version = paths::read(&store.join("version"))?;
    if [WITH_ABSENT, VERSION, WITHOUT_PACKS].iter().any(|known| version == known.as_bytes()) {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&version).trim_end().to_owned();
    Err(StoreError::Version { path: store.into(), found, known: WITH_ABSENT.trim_end() })
}

impl Store {
    /// Makes sure that a depsfs from before packs refuses this store from now on.
    pub(crate) fn allow_packs(&self) -> Result<(), StoreError> {
        self.raise_version(VERSION, &[VERSION, WITH_ABSENT])
    }

    /// Makes sure that a depsfs from before sparse packs refuses this store from now on.
    pub(super) fn allow_absent(&self) -> Result<(), StoreError> {
        self.raise_version(WITH_ABSENT, &[WITH_ABSENT])
    }

    /// Both may have packs.
    fn raise_version(&self, to: &str, enough: &[&str]) -> Result<(), StoreError> {
        paths::make_dir(&self.path.join("packs"))?;
        let version = self.path.join("version");
        let found = paths::read(&version)?;
        if !enough.iter().any(|known| found == known.as_bytes()) {
            paths::replace_synced(&version, to.as_bytes())?;
            fs::fsync(&self.dir).map_err(IoError::of("sync", &self.path))?;
        }
        Ok(())
    }
}
