//! The bytes of an archive, decompressed by a thread of its own.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::refused::Refused;
use crate::store::Progress;
use crate::sys::IoError;
use crate::sys::fs::{self, OpenFlags};
use crate::sys::log::OrWarn;
use crate::sys::path as paths;

/// zstd frames may ask for a window of up to 2²⁷ bytes (128 MiB), as `zstd` itself allows without `--long`.
const WINDOW_LOG_MAX: u32 = 27;
const PIECE: usize = 256 * 1024;
/// Pieces that may wait.
const PIECES: usize = 4;

/// The compression of an archive; in it is always a tar stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Tar,
    Gzip,
    Zstd,
}

/// The format that the suffix shows, or else the first bytes.
pub(super) fn format_of(path: &Path, start: &[u8]) -> Result<Format, Refused> {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    if name.ends_with(b".tar.gz") || name.ends_with(b".tgz") {
        return Ok(Format::Gzip);
    }
    if name.ends_with(b".zst") {
        return Ok(Format::Zstd);
    }
    if name.ends_with(b".tar") {
        return Ok(Format::Tar);
    }
    match start {
        [0x1f, 0x8b, ..] => Ok(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Format::Zstd),
        _ if start.get(257..262) == Some(b"ustar") => Ok(Format::Tar),
        _ => Err(Refused::Format),
    }
}

/// An open archive file, read from its start, counting what was read.
pub(super) struct Source<'p> {
    file: OwnedFd,
    at: u64,
    progress: &'p dyn Progress,
}

impl<'p> Source<'p> {
    /// An open archive, and its first bytes: 512, or fewer if it is shorter. Reads begin at offset 0 again. The file's
    /// length begins the progress.
    pub fn open(path: &Path, progress: &'p dyn Progress) -> Result<(Source<'p>, Vec<u8>), IoError> {
        let file = fs::open_path(path, OpenFlags::RDONLY, 0).map_err(IoError::of("open", path))?;
        let mut start = vec![0; 512];
        let n = fs::read_at(&file, &mut start, 0).map_err(IoError::of("read", path))?;
        start.truncate(n);
        progress.begin("unpacking", paths::stat(path)?.map(|s| s.size));
        Ok((Source { file, at: 0, progress }, start))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = fs::read_at(&self.file, buf, self.at)?;
        self.at += n as u64;
        self.progress.advance(n as u64);
        Ok(n)
    }
}

type Chunk = io::Result<Vec<u8>>;

/// The writing end: pieces go out, and come back to be filled again.
pub(super) struct Outlet {
    send: SyncSender<Chunk>,
    back: Receiver<Vec<u8>>,
}

/// The two ends of a pipe: one thread sends, the other reads.
pub(super) fn pipe() -> (Outlet, Pieces) {
    let (send, receive) = sync_channel(PIECES);
    let (give_back, back) = channel();
    (Outlet { send, back }, Pieces { receive, give_back, piece: vec![], at: 0 })
}

/// Decompresses all of `from` into `to`, until its sound end, an error, or until the reader has ended.
pub(super) fn decompress(from: impl Read, format: Format, to: &Outlet) {
    let pump = |mut reader: Box<dyn Read + '_>| loop {
        let mut piece = to.back.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let mut len = 0;
        while len < PIECE {
            match reader.read(&mut piece[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return drop(to.send.send(Err(e))),
            }
        }
        piece.truncate(len);
        if len == 0 || to.send.send(Ok(piece)).is_err() {
            return;
        }
    };
    let from = io::BufReader::with_capacity(128 * 1024, from);
    match format {
        Format::Tar => pump(Box::new(from)),
        // Reading to the end checks each member's CRC and length, and refuses what is no further member.
        Format::Gzip => pump(Box::new(flate2::bufread::MultiGzDecoder::new(from))),
        Format::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(from)
                .and_then(|mut d| d.window_log_max(WINDOW_LOG_MAX).map(|()| d));
            match decoder {
                Ok(decoder) => pump(Box::new(decoder)),
                Err(e) => drop(to.send.send(Err(e))),
            }
        }
    }
}

/// The reading end.
pub(super) struct Pieces {
    receive: Receiver<Chunk>,
    give_back: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.receive.recv() {
                Ok(piece) => {
                    let read = std::mem::replace(&mut self.piece, piece?);
                    // At the end the sender no longer fills it again.
                    self.give_back.send(read).or_debug("the reader has ended");
                    self.at = 0;
                }
                // The sender is gone: the end.
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.piece.len() - self.at);
        buf[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
