//! Names made of content: an object by the BLAKE3 hash of its bytes, a tree by that of its index.

use std::fmt;
use std::str::FromStr;

/// Objects of more bytes are large. A smaller one is read whole and compared with its name when a server reads it first.
pub const LARGE: u64 = 1 << 20;

macro_rules! content_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The id of `bytes`.
            pub fn of(bytes: &[u8]) -> $name {
                $name(*blake3::hash(bytes).as_bytes())
            }

            /// The path of a file of this id below `objects` or `trees`: two digits, a slash, the other 62.
            pub fn place(&self) -> String {
                let (bucket, rest) = self.split();
                format!("{bucket}/{rest}")
            }

            /// The first two hex digits, and the other 62.
            pub fn split(&self) -> (String, String) {
                let mut bucket = self.hex();
                let rest = bucket.split_off(2);
                (bucket, rest)
            }

            /// The id as 64 lowercase hex digits.
            pub fn hex(&self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex()[..12])
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<$name, BadId> {
                blake3::Hash::from_hex(s).map(|h| $name(*h.as_bytes())).map_err(|_| BadId)
            }
        }
    };
}

content_id!(
    /// Names the content of one file.
    ObjectId
);
content_id!(
    /// Names a tree: the index of a directory.
    TreeId
);
content_id!(
    /// Names a pack: small objects in one file.
    PackId
);

impl ObjectId {
    /// The id of all bytes of a file or of a part of one.
    ///
    /// # Errors
    /// The bytes cannot be read.
    pub fn of_extent(bytes: &crate::sys::extent::Extent) -> std::io::Result<ObjectId> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        loop {
            let read = bytes.read_at(&mut buffer, at)?;
            if read == 0 {
                return Ok(ObjectId(*hasher.finalize().as_bytes()));
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
        }
    }
}

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 64 hex digits are expected")]
pub struct BadId;
