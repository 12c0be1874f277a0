//! An entry of a remote: what a machine needs to know to have an artifact, in one object.
//!
//! The first line is JSON, version 1; behind it there may be a signature of that line ([`super::sign`]). The JSON holds the
//! entry's own line and place: bytes that were copied to another name are refused.
//!
//! | field        | meaning |
//! |--------------|---------|
//! | `line`, `place` | its own name |
//! | `made`, `until` | RFC 3339; after `until`, objects that it names may have been deleted |
//! | `tree`       | the tree of the artifact; a commit without artifact directories of its own has none |
//! | `packs`      | the packs that hold its objects, each with its size and the offset of its index |
//! | `objects`    | files over 8 MiB, and in how many parts they are |
//! | `times`      | the times of tracked files |
//! | `checkout`   | of a commit: its artifact directories and the lock files beside them |
//! | `provenance` | the pushing machine's path, commit and command, for people |

use serde::{Deserialize, Serialize};

use super::layout;
use crate::store::{ObjectId, PackId, TreeId};
use crate::sys::fs::Timespec;
use crate::sys::time;

const VERSION: u32 = 1;
/// A longer object is no entry.
pub const LONGEST: u64 = 16 << 20;
/// The largest tree that a reader accepts.
const LARGEST_TREE: u64 = 1 << 30;
/// The largest file that a reader accepts: that of ext4.
const LARGEST_FILE: u64 = 16 << 40;
/// The content of a part of a large file.
pub const PART: u64 = 31 << 20;

/// An entry. Readers ignore fields that they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteEntry {
    pub version: u32,
    pub line: String,
    pub place: String,
    pub made: String,
    pub until: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<RemoteTree>,
    #[serde(default)]
    pub packs: Vec<RemotePack>,
    #[serde(default)]
    pub objects: Vec<RemoteObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<RemoteTimes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<RemoteCheckout>,
    pub provenance: RemoteProvenance,
}

/// A tree, in zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTree {
    pub id: TreeId,
    pub key: String,
    /// The bytes of the tree.
    pub size: u64,
}

/// A pack in frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePack {
    pub id: PackId,
    pub key: String,
    /// The bytes of the remote object.
    pub size: u64,
    /// The offset of the frame of the index.
    pub index: u64,
    /// How many of its objects the tree needs.
    pub used: u64,
    pub made: String,
}

/// A file over 8 MiB, in parts of [`PART`] bytes, each in zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteObject {
    pub id: ObjectId,
    /// The month in its keys.
    pub month: String,
    pub size: u64,
    pub made: String,
}

/// The times of tracked files, in zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTimes {
    pub id: ObjectId,
    pub key: String,
    /// The bytes of the times.
    pub size: u64,
}

/// The artifact directories of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCheckout {
    /// Relative to the top, escaped; the tree has them at these places.
    pub directories: Vec<String>,
    /// Lock files beside them, escaped, with the BLAKE3 of their content.
    #[serde(default)]
    pub lockfiles: Vec<(String, String)>,
}

/// The origin of an entry, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteProvenance {
    /// The path of the checkout on the machine that pushed, escaped.
    pub path: String,
    pub commit: Option<String>,
    /// The user and the machine, or the run of a CI service.
    pub pusher: String,
    pub files: u64,
    pub bytes: u64,
}

impl RemoteObject {
    /// The number of its parts, and the content of part `n`.
    pub fn parts(&self) -> u64 {
        self.size.div_ceil(PART).max(1)
    }

    /// How many bytes part `n` has.
    pub fn part_len(&self, n: u64) -> u64 {
        self.size.saturating_sub(n.saturating_mul(PART)).min(PART)
    }
}

impl RemoteEntry {
    /// The version that this depsfs writes.
    pub const VERSION: u32 = VERSION;

    /// The line that is signed.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are always JSON")
    }

    /// Reads the first line of an entry that was asked for as `place` of `line`.
    ///
    /// # Errors
    /// Why it is not used, in words.
    pub fn parse(text: &[u8], line: &str, place: &str, now: Timespec) -> Result<RemoteEntry, String> {
        let entry: RemoteEntry =
            serde_json::from_slice(text).map_err(|e| format!("it cannot be read (column {})", e.column()))?;
        if entry.version != VERSION {
            return Err(format!("it has version {}, this depsfs knows {VERSION}", entry.version));
        }
        if entry.line != line || entry.place != place {
            return Err(format!(
                "it was made as {} of the line {}",
                entry.place.escape_debug(),
                entry.line.escape_debug()
            ));
        }
        if !entry.has_sound_keys() {
            return Err("it names objects that lie elsewhere than objects do, or are larger than they are".into());
        }
        match time::from_rfc3339(&entry.until) {
            Some(until) if until > now.sec => Ok(entry),
            Some(_) => Err(format!("it was to be used until {}", entry.until)),
            None => Err("it has no sound time".into()),
        }
    }

    fn has_sound_keys(&self) -> bool {
        let tree = self.tree.iter().all(|t| layout::is_key_of(&t.key, "trees", &t.id.hex()) && t.size <= LARGEST_TREE);
        let times =
            |t: &RemoteTimes| layout::is_key_of(&t.key, "times", &t.id.hex()) && t.size <= super::times::LONGEST;
        let is_tail = |p: &RemotePack| p.index < p.size && p.size - p.index <= super::pack::LONGEST_TAIL;
        let pack = |p: &RemotePack| layout::is_key_of(&p.key, "packs", &p.id.hex()) && is_tail(p);
        let object = |o: &RemoteObject| {
            let key = layout::object(&o.month, &o.id, 0);
            layout::is_key_of(&key, "objects", &o.id.hex()) && o.size <= LARGEST_FILE
        };
        tree && self.times.iter().all(times) && self.packs.iter().all(pack) && self.objects.iter().all(object)
    }
}

/// The first line of an entry's bytes, and what follows it.
pub fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|b| *b == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An entry without a fault.
    pub fn sample() -> RemoteEntry {
        let (tree, pack) = (TreeId([1; 32]), PackId([2; 32]));
        RemoteEntry {
            version: VERSION,
            line: "main".into(),
            place: "entries/web-1".into(),
            made: "2026-11-01T00:00:00Z".into(),
            until: "2027-01-28T00:00:00Z".into(),
            tree: Some(RemoteTree { id: tree, key: layout::tree("202611", &tree), size: 10 }),
            packs: vec![RemotePack {
                id: pack,
                key: layout::pack("202611", &pack),
                size: 10,
                index: 5,
                used: 1,
                made: "2026-11-01T00:00:00Z".into(),
            }],
            objects: Vec::new(),
            times: None,
            checkout: None,
            provenance: RemoteProvenance::default(),
        }
    }

    const NOW: Timespec = Timespec { sec: 1_796_000_000, nsec: 0 };

    #[test]
    fn an_entry_that_was_copied_to_another_name_or_is_too_old_is_refused() {
        let entry = sample();
        let parse = |line, place, now| RemoteEntry::parse(&entry.text(), line, place, now);
        assert_eq!(parse("main", "entries/web-1", NOW), Ok(entry.clone()));
        assert!(parse("pr-1", "entries/web-1", NOW).unwrap_err().contains("of the line main"));
        assert!(parse("main", "entries/web-2", NOW).unwrap_err().contains("entries/web-1"));
        let later = Timespec { sec: NOW.sec + 90 * 86_400, nsec: 0 };
        assert!(parse("main", "entries/web-1", later).unwrap_err().contains("until 2027"));
    }

    #[test]
    fn an_entry_names_objects_in_their_folders_only() {
        let parse = |entry: &RemoteEntry| RemoteEntry::parse(&entry.text(), "main", "entries/web-1", NOW);
        let mut bad = vec![sample(); 4];
        bad[0].packs[0].key = "lines/main/entries/x".into();
        bad[1].tree.as_mut().unwrap().key = layout::tree("202611", &TreeId([9; 32]));
        bad[2].packs[0].index = 10;
        bad[3].objects.push(RemoteObject {
            id: ObjectId([3; 32]),
            month: "../..".into(),
            size: 1,
            made: String::new(),
        });
        bad.iter().for_each(|entry| assert!(parse(entry).unwrap_err().contains("elsewhere"), "{entry:?}"));
    }

    #[test]
    fn no_number_of_an_entry_has_a_reader_take_memory_without_bounds() {
        let parse = |entry: &RemoteEntry| RemoteEntry::parse(&entry.text(), "main", "entries/web-1", NOW);
        let object = |size| RemoteObject { id: ObjectId([3; 32]), month: "202611".into(), size, made: String::new() };
        let mut entry = sample();
        entry.objects = vec![object(16 << 40)];
        assert!(parse(&entry).is_ok());
        entry.objects = vec![object(1 << 63), object(1 << 63)];
        assert!(parse(&entry).unwrap_err().contains("larger"));
        let mut entry = sample();
        entry.packs[0].size = 1 << 40;
        assert!(parse(&entry).unwrap_err().contains("larger"));
    }

    #[test]
    fn any_bytes_are_an_entry_or_an_error() {
        let text = sample().text();
        for at in 0..text.len() {
            for with in [0, b'"', b'{', 0xff] {
                let mut bad = text.clone();
                bad[at] = with;
                drop(RemoteEntry::parse(&bad, "main", "entries/web-1", NOW));
            }
            assert!(RemoteEntry::parse(&text[..at], "main", "entries/web-1", NOW).is_err());
        }
        assert_eq!(split(b"a\nb\nc"), (&b"a"[..], &b"b\nc"[..]));
        assert_eq!(split(b"a"), (&b"a"[..], &b""[..]));
    }
}
