//! One file name, checked once, with the hash that orders it in every directory of a view.
//!
//! Directories list their names by this hash, as ext4 does: so a position in a listing (the *cookie*)
//! is a property of the name alone and stays right while other names come and go, in a store's tree, in
//! the upper and across a restart of the server.

use std::fmt;

/// The longest name, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// A name's place in its directory's listing: 16 ..= 2⁶² + 15. Two names may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl Cookie {
    /// The place of a name given as bytes: XXH3-64, shifted to 62 bits, above the places of `.` and `..`.
    pub fn of(name: &[u8]) -> Cookie {
        Cookie((xxhash_rust::xxh3::xxh3_64(name) >> 2) + 16)
    }
}

/// A file name: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    cookie: Cookie,
    bytes: Box<[u8]>,
}

/// Why bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name is empty, `.`, `..`, or holds a slash or NUL")]
    Malformed,
    #[error("a name is longer than 255 bytes")]
    TooLong,
}

impl Name {
    /// Checks `bytes` and takes a copy.
    ///
    /// # Errors
    /// The bytes are empty, too long, `.` or `..`, or hold a slash or a zero byte.
    pub fn new(bytes: &[u8]) -> Result<Name, NameError> {
        if bytes.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(NameError::Malformed);
        }
        Ok(Name { cookie: Cookie::of(bytes), bytes: bytes.into() })
    }

    /// A bound, not a name: sorts just before every name whose cookie is above `cookie`.
    pub fn bound_after(cookie: u64) -> Name {
        Name { cookie: Cookie(cookie.saturating_add(1)), bytes: Box::default() }
    }

    /// 1 to 255 bytes without `/` and NUL, never `.` or `..`; not always UTF-8. Those of a [`Name::bound_after`] are
    /// empty.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the bytes: the position in a listing. Different names may share one.
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.bytes))
    }
}

/// As many different names as asked for, all with one cookie: two accumulators of XXH3 are multiplied by zero.
#[cfg(test)]
pub(crate) fn with_equal_cookies(count: usize) -> impl Iterator<Item = Name> {
    let parts = (1u32..).map(|k| (0x4141_4141 + k, 0xC1C1_C1C1 - k));
    let names = parts.filter_map(|(a, b)| {
        let (a, b, filler) = (a.to_le_bytes(), b.to_le_bytes(), [b'a'; 56]);
        let (zero, other) = ([0xb8, 0xfe, 0x6c, 0x39], [0x7c, 0x01, 0x81, 0x2c]);
        Name::new(&[&zero[..], &a, &filler, &other, &b, &filler, &[b'z'; 127]].concat()).ok()
    });
    names.take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_equal_cookies_are_different_names() {
        let names: std::collections::HashSet<Name> = with_equal_cookies(1000).collect();
        assert_eq!(names.len(), 1000);
        assert_eq!(names.iter().map(Name::cookie).collect::<std::collections::HashSet<_>>().len(), 1);
    }

    #[test]
    fn a_name_is_one_component_of_at_most_255_bytes() {
        assert!(Name::new(&[b'a'; 255]).is_ok());
        assert_eq!(Name::new(&[b'a'; 256]), Err(NameError::TooLong));
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            assert_eq!(Name::new(bad), Err(NameError::Malformed), "{bad:?}");
        }
        assert!(Name::new(b"...").is_ok());
        assert!(Name::new(b"\xff").is_ok());
    }

    /// The order is part of the tree format: other values would make old trees unreadable.
    #[test]
    fn cookies_are_what_stored_trees_were_sorted_by() {
        assert_eq!(Cookie::of(b"package.json"), Cookie::of(b"package.json"));
        assert_eq!(Cookie::of(b""), Cookie((0x2d06_8005_38d3_94c2 >> 2) + 16));
    }
}
