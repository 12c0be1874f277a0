//! JSON files of the store with a field for their version.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The value in `bytes`, if their version is known; else, in words, why they can't be read.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], known: RangeInclusive<u32>) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    // First the version alone: another one may have other fields.
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|e| not_json(&e))?;
    if !known.contains(&version) {
        return Err(format!("it has version {version}, this depsfs knows {}", known.end()));
    }
    serde_json::from_slice(bytes).map_err(|e| not_json(&e))
}

/// Why bytes are not the JSON that is expected, in words.
pub fn not_json(e: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match e.classify() {
        Category::Eof | Category::Io => "it ends too early".into(),
        Category::Syntax => format!("it is not JSON (line {}, column {})", e.line(), e.column()),
        Category::Data => {
            let words = e.to_string();
            let known = ["unknown field", "missing field", "a path ", "an id ", "not an id"];
            let own = known.iter().any(|begin| words.starts_with(begin)).then_some(words);
            let other = || format!("a value is not of the expected kind (line {}, column {})", e.line(), e.column());
            own.unwrap_or_else(other)
        }
    }
}
