//! The records of PAX headers for a member: times, attributes, sparse maps.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::kind::MemberKind;
use super::refused::Refused;
use crate::store::tree::Xattr;
use crate::sys::fs::Timespec;

/// Keys and values that hold for all members that follow; the last one of a key counts.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Headers that change the next member.
#[derive(Default)]
pub(super) struct Extra {
    pub name: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    /// Its own.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Shared by all members.
    pub global: Rc<Records>,
}

impl Extra {
    /// The value of a PAX key: the last one counts, an empty one takes it back.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let own = self.records.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v);
        own.or_else(|| self.global.get(key)).map(|v| &v[..]).filter(|v| !v.is_empty())
    }

    /// The value of a PAX key as a decimal number; `None` if the key is absent or empty.
    pub fn number(&self, key: &[u8]) -> Result<Option<u64>, Refused> {
        self.get(key).map(decimal).transpose()
    }
}

/// The (offset, length) pairs in bytes of a sparse map; an odd number at the end is dropped.
pub(super) fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect()
}

/// A sparse file whose map is in order, inside the file, and as long as what is stored.
pub(super) fn sparse(size: u64, mut data: Vec<(u64, u64)>, stored: u64) -> Result<MemberKind, Refused> {
    data.retain(|(_, len)| *len > 0);
    let mut end = 0;
    let mut sum = 0u64;
    for (offset, len) in &data {
        let next = offset.checked_add(*len).filter(|next| *offset >= end && *next <= size);
        end = next.ok_or_else(|| Refused::corrupt("a sparse file's map does not fit it"))?;
        sum += len;
    }
    if sum != stored {
        return Err(Refused::corrupt("a sparse file's map does not fit its data"));
    }
    Ok(MemberKind::File { size, data })
}

/// A decimal number in ASCII digits, without sign or spaces. An empty text and one above 2⁶⁴-1 are refused.
pub(super) fn decimal(text: &[u8]) -> Result<u64, Refused> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|s| s.parse().ok());
    number.ok_or_else(|| Refused::corrupt("a number in a PAX header is malformed"))
}

/// A PAX time: seconds with a fraction of any length, perhaps negative. Digits below a nanosecond are dropped.
pub(super) fn time(text: &[u8]) -> Result<Timespec, Refused> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |b| *b == b'.');
    let sec = i64::try_from(decimal(parts.next().unwrap_or_default())?);
    let sec = sec.map_err(|_| Refused::corrupt("a time is too large"))?;
    let mut nsec = 0;
    if let Some(fraction) = parts.next().filter(|f| !f.is_empty()) {
        decimal(&fraction[..fraction.len().min(18)])?;
        let digit = |n: usize| fraction.get(n).map_or(0, |b| u32::from(b.wrapping_sub(b'0')) % 10);
        nsec = (0..9).fold(0, |sum, n| sum * 10 + digit(n));
    }
    Ok(match (negative, nsec) {
        (false, nsec) => Timespec { sec, nsec },
        (true, 0) => Timespec { sec: -sec, nsec: 0 },
        (true, nsec) => Timespec { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

/// The user xattrs that star, GNU tar and libarchive write; later ones win.
pub(super) fn xattrs(extra: &Extra) -> Vec<Xattr> {
    let mut found = BTreeMap::new();
    let own = extra.records.iter().map(|(key, value)| (key, value));
    for (key, value) in extra.global.iter().chain(own) {
        let Some(name) = key.strip_prefix(b"SCHILY.xattr.") else { continue };
        let fit = name.starts_with(b"user.") && !name.starts_with(b"user.depsfs.") && !name.contains(&0);
        if fit && name.len() <= 255 && value.len() <= 64 * 1024 {
            found.insert(name, value);
        }
    }
    found.into_iter().map(|(name, value)| (name.into(), value.as_slice().into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times_have_nanoseconds_and_may_lie_before_1970() {
        let at = |sec, nsec| Ok(Timespec { sec, nsec });
        assert_eq!(time(b"1700000000.123456789123"), at(1_700_000_000, 123_456_789));
        assert_eq!(time(b"5.5"), at(5, 500_000_000));
        assert_eq!(time(b"-1.25"), at(-2, 750_000_000));
        assert_eq!(time(b"-3"), at(-3, 0));
        for bad in [&b""[..], b"-", b"1.x", b"1e9", b"99999999999999999999", b"+1"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sparse_maps_must_fit() {
        assert!(sparse(10, vec![(0, 2), (4, 6)], 8).is_ok());
        assert!(sparse(10, vec![(0, 2), (10, 0)], 2).is_ok());
        for (data, stored) in
            [(vec![(4, 2), (0, 2)], 4), (vec![(0, 11)], 11), (vec![(0, 2)], 3), (vec![(u64::MAX, 2)], 2)]
        {
            assert!(sparse(10, data, stored).is_err());
        }
    }
}
