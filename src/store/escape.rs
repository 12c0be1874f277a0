//! File names and paths as text that JSON can hold: UTF-8 stays as it is, other bytes become `%XX`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Bytes as text: `%` and whatever is not UTF-8 or is a control character become `%` and two hex digits.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_ascii_control() { hex(&mut out, c as u8) } else { out.push(c) }
        }
        chunk.invalid().iter().for_each(|b| hex(&mut out, *b));
    }
    out
}

fn hex(out: &mut String, byte: u8) {
    out.push('%');
    out.push(char::from_digit(u32::from(byte >> 4), 16).expect("four bits").to_ascii_uppercase());
    out.push(char::from_digit(u32::from(byte & 15), 16).expect("four bits").to_ascii_uppercase());
}

/// The bytes that [`escape`] made `text` of; nothing when a `%` is not followed by two hex digits.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        out.push((digit()? << 4 | digit()?) as u8);
    }
    Some(out)
}

/// For `#[serde(with = "escape::path")]`.
pub mod path {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer};

    /// As [`escape`]: any bytes, so that a path need not be UTF-8.
    pub(crate) fn serialize<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&escape(path.as_os_str().as_bytes()))
    }

    /// The path of an escaped text. A broken escape and a NUL byte are errors; neither an empty nor a relative path is.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = unescape(&text).ok_or_else(|| serde::de::Error::custom("a path has a broken % escape"))?;
        if bytes.contains(&0) {
            return Err(serde::de::Error::custom("a path holds a NUL byte"));
        }
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

/// For `#[serde(with = "escape::optional_path")]`.
pub mod optional_path {
    use super::*;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Escaped(#[serde(with = "super::path")] PathBuf);

    /// `null` for no path.
    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
        path.clone().map(Escaped).serialize(s)
    }

    /// No path for `null`; errors as those of [`super::path::deserialize`].
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Escaped>::deserialize(d)?.map(|e| e.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_readable_and_bytes_survive() {
        assert_eq!(escape("grün".as_bytes()), "grün");
        assert_eq!(escape(b"50%\xff\n"), "50%25%FF%0A");
        assert_eq!(unescape("%F"), None);
        assert_eq!(unescape("%+1"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }
    }
}
