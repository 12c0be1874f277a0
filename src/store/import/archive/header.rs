//! One 512-byte header of a tar archive, and the records of a PAX header.
//!
//! <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html> (ustar, pax) and
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html> (GNU).
//!
//! | offset | size | field    | offset | size | field              | offset | size | field, GNU only   |
//! |--------|------|----------|--------|------|--------------------|--------|------|-------------------|
//! | 0      | 100  | name     | 148    | 8    | checksum           | 386    | 96   | 4 × (offset, size) of data |
//! | 100    | 8    | mode     | 156    | 1    | type               | 482    | 1    | more such blocks follow |
//! | 124    | 12   | size     | 157    | 100  | link target        | 483    | 12   | size with holes   |
//! | 136    | 12   | mtime    | 257    | 6    | magic              | 345    | 155  | ustar only: prefix of the name |

use super::refused::Refused;

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

/// Whether the checksum is right: the sum of all bytes, its own taken as spaces; signed in some old archives.
pub(super) fn checksum_is_right(block: &Block) -> bool {
    let Some(stored) = number(&block[148..156]) else { return false };
    let own = |at: usize| (148..156).contains(&at);
    let byte = |(at, b): (usize, &u8)| if own(at) { b' ' } else { *b };
    let unsigned: i64 = block.iter().enumerate().map(|x| i64::from(byte(x))).sum();
    let signed: i64 = block.iter().enumerate().map(|x| i64::from(byte(x) as i8)).sum();
    stored == unsigned || stored == signed
}

/// A number: octal digits with spaces or NULs around, or base 256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let start = if field[0] & 0x40 != 0 { -1i64 } else { i64::from(field[0] & 0x3f) };
        return field[1..].iter().try_fold(start, |n, b| n.checked_mul(256)?.checked_add(i64::from(*b)));
    }
    let digits = field.iter().skip_while(|b| **b == b' ').take_while(|b| !matches!(b, b' ' | 0));
    digits.copied().try_fold(0i64, |n, b| {
        let digit = char::from(b).to_digit(8)?;
        n.checked_mul(8)?.checked_add(digit.into())
    })
}

/// A size: a number that isn't negative.
pub(super) fn size(field: &[u8]) -> Result<u64, Refused> {
    let size = number(field).and_then(|n| u64::try_from(n).ok());
    size.ok_or_else(|| Refused::corrupt("a size is no number"))
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// The member's name, with ustar's prefix in front.
pub(super) fn name(block: &Block) -> Vec<u8> {
    let name = text(&block[..100]);
    let prefix = if &block[257..263] == b"ustar\0" { text(&block[345..500]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// The (offset, size) pairs of data in an old GNU sparse header; a pair of zeros ends them.
pub(super) fn sparse_pairs(bytes: &[u8], out: &mut Vec<(u64, u64)>) -> Result<(), Refused> {
    for pair in bytes.chunks_exact(24) {
        if pair.iter().all(|b| matches!(b, 0 | b' ')) {
            break;
        }
        out.push((size(&pair[..12])?, size(&pair[12..])?));
    }
    Ok(())
}

/// Key and value of one PAX record.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// The records of a PAX header, each `<length> <key>=<value>\n`.
pub(super) fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, Refused> {
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

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"00009\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
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
