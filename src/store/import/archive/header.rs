//! One 512-byte header of a tar archive, as the crate `tar` decodes it, and the records of a PAX header.
//!
//! <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html> (ustar, pax) and
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html> (GNU).
//!
//! The crate's own reader of archives isn't used: it stops at the end marker, extracts by path, and cuts PAX values
//! at line ends, where the values of xattrs may have some. Fields that it decodes too generously are checked here.

use tar::{GnuSparseHeader, Header};

use super::refused::Refused;

/// The unit of an archive in bytes: a header has one, data is padded to whole ones.
pub(super) const BLOCK: usize = 512;

/// Whether the checksum is right: the sum of all bytes, its own taken as spaces.
pub(super) fn checksum_is_right(header: &Header) -> bool {
    let mut right = header.clone();
    right.set_cksum();
    matches!((header.cksum(), right.cksum()), (Ok(found), Ok(right)) if found == right)
}

/// The size of the stored data, which isn't negative.
pub(super) fn stored_size(header: &Header) -> Result<u64, Refused> {
    number(&header.as_old().size, header.entry_size())
        .and_then(not_negative)
        .ok_or_else(|| Refused::corrupt("a size is no number"))
}

/// The permissions, set-id bits and all.
pub(super) fn mode(header: &Header) -> Result<u32, Refused> {
    let mode = number(&header.as_old().mode, header.mode().map(u64::from));
    Ok(mode.ok_or_else(|| Refused::corrupt("a mode is no number"))? as u32 & 0o7777)
}

/// Seconds since 1970, negative ones too.
pub(super) fn mtime(header: &Header) -> Result<i64, Refused> {
    number(&header.as_old().mtime, header.mtime()).ok_or_else(|| Refused::corrupt("a time is no number"))
}

/// The member's name, with ustar's prefix in front.
pub(super) fn name(header: &Header) -> Vec<u8> {
    if header.as_ustar().is_none() && header.as_bytes()[257..263] == *b"ustar\0" {
        // GNU tar goes by the magic alone, the crate by the version too: without it a prefix would be dropped.
        let mut header = header.clone();
        header.as_mut_bytes()[263..265].copy_from_slice(b"00");
        return header.path_bytes().into_owned();
    }
    header.path_bytes().into_owned()
}

/// The target of a link.
pub(super) fn link(header: &Header) -> Vec<u8> {
    header.link_name_bytes().unwrap_or_default().into_owned()
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// Appends the extents of data that an old GNU sparse header lists: (offset, length).
pub(super) fn sparse_pairs(pairs: &[GnuSparseHeader], out: &mut Vec<(u64, u64)>) -> Result<(), Refused> {
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        let offset = number(&pair.offset, pair.offset()).and_then(not_negative);
        let length = number(&pair.numbytes, pair.length()).and_then(not_negative);
        out.push(offset.zip(length).ok_or_else(|| Refused::corrupt("a sparse file's map is no number"))?);
    }
    Ok(())
}

/// The size of an old GNU sparse file, holes counted.
pub(super) fn sparse_size(header: &tar::GnuHeader) -> Result<u64, Refused> {
    let size = number(&header.realsize, header.real_size()).and_then(not_negative);
    size.ok_or_else(|| Refused::corrupt("a size is no number"))
}

fn not_negative(number: i64) -> Option<u64> {
    number.try_into().ok()
}

/// The number in `field`, which `tar` decoded: octal digits, or base 256 if the first bit is set. An empty field, which
/// old archives have, is 0. A number of more than 64 bits is none: the crate takes its last 64.
fn number(field: &[u8], decoded: std::io::Result<u64>) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let sign = if field[0] & 0x40 == 0 { 0 } else { 0xff };
        let above = field.get(1..field.len() - 8);
        let fits = field[0] == 0x80 | sign && above.is_some_and(|above| above.iter().all(|b| *b == sign));
        return decoded.ok().map(|n| n as i64).filter(|n| fits && n.is_negative() == (sign != 0));
    }
    if field.iter().all(|b| matches!(b, b' ' | 0)) {
        return Some(0);
    }
    decoded.ok().and_then(|n| n.try_into().ok())
}

/// Key and value of one PAX record.
pub(super) type PaxRecord<'a> = (&'a [u8], &'a [u8]);

/// The records of a PAX header, each `<length> <key>=<value>\n`.
pub(super) fn records(mut data: &[u8]) -> Result<Vec<PaxRecord<'_>>, Refused> {
    let bad = || Refused::corrupt("a PAX record is malformed");
    let mut out = Vec::new();
    while !data.is_empty() {
        let space = data.iter().take(21).position(|b| *b == b' ').ok_or_else(bad)?;
        let len: usize = std::str::from_utf8(&data[..space]).ok().and_then(|s| s.parse().ok()).ok_or_else(bad)?;
        let record = data.get(space + 1..len).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        out.push((&record[..equals], &record[equals + 1..]));
        data = &data[len..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mtime_of(field: &[u8]) -> Option<i64> {
        let mut header = Header::new_old();
        header.as_old_mut().mtime[..field.len()].copy_from_slice(field);
        mtime(&header).ok()
    }

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(mtime_of(b"0000644\0"), Some(0o644));
        assert_eq!(mtime_of(b"   644 \0"), Some(0o644));
        assert_eq!(mtime_of(b""), Some(0));
        assert_eq!(mtime_of(b"00009\0"), None);
        assert_eq!(mtime_of(b"-1\0"), None);
        assert_eq!(mtime_of(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(mtime_of(&[0xff; 12]), Some(-1));
        assert_eq!(mtime_of(b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), Some(i64::MIN));
        assert_eq!(mtime_of(b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0"), None);
        assert_eq!(mtime_of(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(mtime_of(b"\x80\0\0\x01\0\0\0\0\0\0\0\x01"), None);
        assert_eq!(mtime_of(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn a_mode_is_octal_only() {
        let mut header = Header::new_old();
        for (field, is) in [(b"0106755\0", Some(0o6755)), (&[0; 8], Some(0)), (&[0x80; 8], None), (&[0xff; 8], None)] {
            header.as_old_mut().mode = *field;
            assert_eq!(mode(&header).ok(), is);
        }
    }

    #[test]
    fn a_prefix_counts_whatever_version_follows_the_magic() {
        for version in [b"00", b"\0\0", b" \0"] {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..4].copy_from_slice(b"leaf");
            header.as_mut_bytes()[263..265].copy_from_slice(version);
            header.as_mut_bytes()[345..351].copy_from_slice(b"prefix");
            assert_eq!(name(&header), b"prefix/leaf");
        }
    }

    #[test]
    fn pax_values_may_hold_anything() {
        assert_eq!(records(b"11 a=b\nc=d\n5 k=\n").unwrap(), [(&b"a"[..], &b"b\nc=d"[..]), (b"k", b"")]);
        for bad in
            [&b"5 a=b"[..], b"x a=b\n", b"99 a=b\n", b"5 abc\n", b"2 a=b\n", b"0 ", b"1", b"18446744073709551615 a"]
        {
            assert!(records(bad).is_err(), "{bad:?}");
        }
    }
}
