//! Reads the members of a tar stream one after the other: ustar, PAX and GNU, with long names and sparse files.
//!
//! Nothing is believed: a wrong checksum, a missing end marker, bytes after it, and sparse maps that don't fit
//! are errors.

use std::io::{self, Read};
use std::rc::Rc;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::ArchiveLimits;
use super::header::{self, BLOCK};
use super::kind::MemberKind;
use super::pax::{Extra, Records, decimal, pairs, sparse, time, xattrs};
use super::refused::Refused;
use crate::store::tree::Xattr;
use crate::sys::fs::Timespec;

/// The most bytes of names and PAX headers that change one member, and of those that change all that follow.
const MAX_HEADER: u64 = 1 << 20;
/// The most stretches of data in a sparse file.
const MAX_STRETCHES: usize = 1 << 19;
/// The digits of the greatest number.
const MAX_DIGITS: usize = 20;

/// One member, as the archive describes it; the name is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Vec<u8>,
    pub kind: MemberKind,
    pub mode: u32,
    pub mtime: Timespec,
    pub xattrs: Vec<Xattr>,
}

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A tar stream.
pub struct Tar<R> {
    from: R,
    /// Bytes of the current member that were not read yet, and the padding after them.
    left: u64,
    padding: u64,
    /// The records of PAX headers that hold for all members that follow, and how many bytes those headers had.
    global: Rc<Records>,
    global_bytes: u64,
    /// How many bytes the stream may still have, of how many.
    room: u64,
    most: u64,
}

impl<R: Read> Tar<R> {
    /// A stream of any length; [`Tar::within`] bounds one that is not trusted.
    pub fn new(from: R) -> Tar<R> {
        Tar { from, left: 0, padding: 0, global: Rc::default(), global_bytes: 0, room: u64::MAX, most: u64::MAX }
    }

    /// A stream that is as long as an archive within these limits can be: with headers, without holes.
    pub fn within(from: R, limits: &ArchiveLimits) -> Tar<R> {
        let headers = limits.members.saturating_mul(4 * BLOCK as u64).saturating_add(MAX_HEADER);
        Tar { room: limits.bytes.saturating_add(headers), most: limits.bytes, ..Tar::new(from) }
    }

    /// The next member; nothing after a sound end. Unread data of the last one is skipped.
    ///
    /// # Errors
    /// The archive cannot be read, or is refused.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        let (mut extra, mut extra_bytes) = (Extra::default(), 0);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header::stored_size(&header)?;
            let kind = header.entry_type();
            if kind.is_pax_global_extensions() {
                count_header(&mut self.global_bytes, size)?;
            } else if matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader) {
                count_header(&mut extra_bytes, size)?;
            }
            match kind {
                EntryType::GNULongName => extra.name = Some(self.long(size)?),
                EntryType::GNULongLink => extra.link = Some(self.long(size)?),
                EntryType::XHeader => {
                    let data = self.take(size)?;
                    extra.records.extend(header::records(&data)?.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
                }
                EntryType::XGlobalHeader => {
                    let data = self.take(size)?;
                    // Not shared now: nothing is copied.
                    let global = Rc::make_mut(&mut self.global);
                    global.extend(header::records(&data)?.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
                }
                _ => {
                    extra.global = self.global.clone();
                    return self.member(&header, size, extra).map(Some);
                }
            }
        }
    }

    /// Reads from the current member's stored data (holes are not stored); 0 at its end.
    ///
    /// # Errors
    /// The archive cannot be read, or ends within the member.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        match self.some(&mut buf[..want])? {
            0 => Err(Refused::Truncated.into()),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }

    /// The next header block; nothing at the end marker, after which only zeros may come.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        if header.as_bytes().iter().any(|b| *b != 0) {
            if !header::checksum_is_right(&header) {
                return Err(Refused::corrupt("the checksum of a header is wrong").into());
            }
            return Ok(Some(header));
        }
        let mut buf = vec![0; 64 * 1024];
        loop {
            match self.some(&mut buf)? {
                0 => return Ok(None),
                n if buf[..n].iter().any(|b| *b != 0) => return Err(Refused::Trailing.into()),
                _ => {}
            }
        }
    }

    /// Reads once from the stream, and returns the number of bytes; 0 at its end.
    fn some(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        let n = loop {
            match self.from.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.room = self.room.checked_sub(n as u64).ok_or(Refused::Bytes(self.most))?;
        Ok(n)
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), TarError> {
        let mut done = 0;
        while done < buf.len() {
            match self.some(&mut buf[done..])? {
                0 => return Err(Refused::Truncated.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let mut buf = [0; 16 * 1024];
        while self.read(&mut buf)? > 0 {}
        let padding = std::mem::take(&mut self.padding) as usize;
        self.fill(&mut buf[..padding])
    }

    /// From here on `size` bytes of data follow.
    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// All of a header's data, which [`count_header`] allows.
    fn take(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.begin(size);
        let mut data = vec![0; size as usize];
        self.fill(&mut data)?;
        self.left = 0;
        Ok(data)
    }

    fn long(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let data = self.take(size)?;
        Ok(header::text(&data).to_vec())
    }

    fn member(&mut self, header: &Header, size: u64, extra: Extra) -> Result<Member, TarError> {
        let name = extra.get(b"GNU.sparse.name").or(extra.get(b"path")).map(<[u8]>::to_vec);
        let name = name.or_else(|| extra.name.clone()).unwrap_or_else(|| header::name(header));
        let link = extra.get(b"linkpath").map(<[u8]>::to_vec).or_else(|| extra.link.clone());
        let link = link.unwrap_or_else(|| header::link(header));
        let size = extra.number(b"size")?.unwrap_or(size);
        let kind = match header.entry_type() {
            // Archives from before ustar mark a directory by its name alone.
            EntryType::Regular if name.ends_with(b"/") => MemberKind::Dir,
            EntryType::Regular | EntryType::Continuous => self.file(size, &extra)?,
            EntryType::GNUSparse => self.gnu_sparse(header, size)?,
            EntryType::Link => MemberKind::HardLink(link),
            EntryType::Symlink => MemberKind::Symlink(link),
            EntryType::Char | EntryType::Block => MemberKind::Device,
            EntryType::Directory => MemberKind::Dir,
            EntryType::Fifo => MemberKind::Fifo,
            other => MemberKind::Other(other.as_byte()),
        };
        let mtime = match extra.get(b"mtime") {
            Some(text) => time(text)?,
            None => Timespec { sec: header::mtime(header)?, nsec: 0 },
        };
        Ok(Member { name, kind, mode: header::mode(header)?, mtime, xattrs: xattrs(&extra) })
    }

    /// A regular file, perhaps sparse in one of PAX's three ways.
    fn file(&mut self, size: u64, extra: &Extra) -> Result<MemberKind, TarError> {
        self.begin(size);
        let real = extra.number(b"GNU.sparse.realsize")?.or(extra.number(b"GNU.sparse.size")?);
        if extra.get(b"GNU.sparse.major") == Some(b"1") {
            let data = self.map_in_data()?;
            return Ok(sparse(real.unwrap_or(size), data, self.left)?);
        }
        if let Some(map) = extra.get(b"GNU.sparse.map") {
            let numbers = map.split(|b| *b == b',').map(decimal).collect::<Result<Vec<_>, _>>()?;
            return Ok(sparse(real.unwrap_or(size), pairs(&numbers), size)?);
        }
        if extra.get(b"GNU.sparse.numblocks").is_some() {
            let keys = [&b"GNU.sparse.offset"[..], b"GNU.sparse.numbytes"];
            let numbers = extra.records.iter().filter(|(k, _)| keys.contains(&&k[..])).map(|(_, v)| decimal(v));
            let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
            return Ok(sparse(real.unwrap_or(size), pairs(&numbers), size)?);
        }
        Ok(MemberKind::File { size, data: if size == 0 { vec![] } else { vec![(0, size)] } })
    }

    /// PAX sparse 1.0: the data begins with a map, decimal numbers in lines, filled up to whole blocks.
    fn map_in_data(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let mut numbers = Vec::new();
        let mut line = Vec::new();
        loop {
            if self.left < BLOCK as u64 || numbers.len() > MAX_STRETCHES * 2 + 1 {
                return Err(Refused::corrupt("a sparse file's map is malformed").into());
            }
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            for byte in block {
                match (byte, numbers.first()) {
                    (_, Some(count)) if numbers.len() as u64 == *count * 2 + 1 => break,
                    (b'\n', _) => {
                        numbers.push(decimal(&line)?);
                        line.clear();
                        if numbers[0] > MAX_STRETCHES as u64 {
                            return Err(Refused::corrupt("a sparse file's map is too long").into());
                        }
                    }
                    _ if line.len() < MAX_DIGITS => line.push(byte),
                    _ => return Err(Refused::corrupt("a sparse file's map is malformed").into()),
                }
            }
            self.left -= BLOCK as u64;
            if numbers.first().is_some_and(|count| numbers.len() as u64 == *count * 2 + 1) {
                return Ok(pairs(&numbers[1..]));
            }
        }
    }

    /// GNU's own sparse files: the map is in the header and in blocks after it.
    fn gnu_sparse(&mut self, header: &Header, size: u64) -> Result<MemberKind, TarError> {
        let gnu = header.as_gnu().ok_or_else(|| Refused::corrupt("a sparse file has no GNU header"))?;
        let mut data = Vec::new();
        header::sparse_pairs(&gnu.sparse, &mut data)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.fill(block.as_mut_bytes())?;
            header::sparse_pairs(block.sparse(), &mut data)?;
            more = block.is_extended();
            if data.len() > MAX_STRETCHES {
                return Err(Refused::corrupt("a sparse file's map is too long").into());
            }
        }
        let real = header::sparse_size(gnu)?;
        self.begin(size);
        Ok(sparse(real, data, size)?)
    }
}

/// One more header of so many bytes, of those that count together.
fn count_header(sum: &mut u64, size: u64) -> Result<(), Refused> {
    *sum = sum.saturating_add(size);
    if *sum > MAX_HEADER {
        return Err(Refused::corrupt("its headers are longer than 1 MiB for one member, or for all"));
    }
    Ok(())
}
