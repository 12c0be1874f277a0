//! JSON files of the store that say of which version they are.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What `bytes` hold, when they are of a version that is known; else, in words, why they can't be read.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], known: RangeInclusive<u32>) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    // First the version alone: another one may have other fields.
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if !known.contains(&version) {
        return Err(format!("it has version {version}, this depsfs knows {}", known.end()));
    }
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}
