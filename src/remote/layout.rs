//! The names of remote objects, below `depsfs/1` at the remote's address.

use crate::store::{ObjectId, PackId, TreeId};
use crate::sys::fs::Timespec;
use crate::sys::time;

/// The first segments of every key; the number is the version of the format.
#[cfg(feature = "remote")]
pub const ROOT: &str = "depsfs/1";
/// The object that `remote init` makes.
pub const SETTINGS: &str = "remote.json";
/// Longest name of a line, an entry or a key segment.
const LONGEST: usize = 200;

/// The size of a remote object, and when it was made, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectStat {
    pub size: u64,
    pub modified: i64,
}

/// Whether a text may be the name of a line.
pub fn is_line(text: &str) -> bool {
    is_segment(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether a text may be one segment of a key.
pub fn is_segment(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+=@".contains(&b);
    !text.is_empty() && text.len() <= LONGEST && !text.starts_with('.') && text.bytes().all(is_plain)
}

/// The place of a component's artifact in a line.
pub fn entry_place(name: &str) -> String {
    format!("entries/{}", segment(name))
}

/// The place of a commit's artifact directories in a line.
pub fn commit_place(commit: &str, platform: &str) -> String {
    format!("commits/{}-{platform}", segment(commit))
}

/// A name as a segment; a name with other characters gets a hash instead of them.
fn segment(name: &str) -> String {
    if is_segment(name) {
        return name.into();
    }
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(100).collect();
    format!("x-{plain}-{}", &blake3::hash(name.as_bytes()).to_hex()[..32])
}

/// The key of a place in a line.
pub fn in_line(line: &str, place: &str) -> String {
    format!("lines/{line}/{place}")
}

/// `202611`: the segment that objects of this time have in their keys.
pub fn month(now: Timespec) -> String {
    let date = time::rfc3339(now);
    format!("{}{}", date.get(..4).unwrap_or("0000"), date.get(5..7).unwrap_or("00"))
}

/// The key of a pack.
pub fn pack(month: &str, id: &PackId) -> String {
    format!("packs/{month}/{id}")
}

/// The key of a tree.
pub fn tree(month: &str, id: &TreeId) -> String {
    format!("trees/{month}/{id}")
}

/// The key of the times of tracked files.
pub fn times(month: &str, id: &ObjectId) -> String {
    format!("times/{month}/{id}")
}

/// The key of a part of a large file: the first part has no number.
pub fn object(month: &str, id: &ObjectId, part: u64) -> String {
    match part {
        0 => format!("objects/{month}/{id}"),
        n => format!("objects/{month}/{id}.{n}"),
    }
}

/// Whether `key` is one that this depsfs makes in the folder `folder`: an entry may name no other.
pub fn is_key_of(key: &str, folder: &str, id: &str) -> bool {
    let mut segments = key.split('/');
    let month = |text: &str| text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit());
    segments.next() == Some(folder)
        && segments.next().is_some_and(month)
        && segments.next() == Some(id)
        && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_key_and_two_names_are_two() {
        assert_eq!(entry_place("web-01.tar.gz"), "entries/web-01.tar.gz");
        let strange =
            [entry_place("a b"), entry_place("a/b"), entry_place("../ab"), entry_place(".ab"), entry_place("ä")];
        strange.iter().for_each(|place| assert!(is_segment(place.strip_prefix("entries/").unwrap()), "{place}"));
        let different: std::collections::BTreeSet<&String> = strange.iter().collect();
        assert_eq!(different.len(), strange.len());
        assert!(is_line("pr-12") && !is_line("a/b") && !is_line("..") && !is_line("a b") && !is_line(""));
    }

    #[test]
    fn keys_name_the_month_and_nothing_leads_out_of_a_folder() {
        assert_eq!(month(Timespec { sec: 1_796_000_000, nsec: 0 }), "202611");
        let id = "00".repeat(32);
        assert!(is_key_of(&format!("packs/202611/{id}"), "packs", &id));
        for bad in
            [format!("packs/202611/../{id}"), format!("trees/202611/{id}"), format!("packs/2026/{id}"), id.clone()]
        {
            assert!(!is_key_of(&bad, "packs", &id), "{bad}");
        }
    }
}
