//! zstd frames with a seek table at their end, as zstd's seekable format has it: `zstd -d` gives the bytes whole, a
//! reader that knows the table asks for some frames.
//!
//! | the table, a skippable frame | size | what it is |
//! |------------------------------|------|------------|
//! | 0                            | 4    | magic 0x184D2A5E |
//! | 4                            | 4    | the bytes that follow |
//! | 8                            | 8 each | compressed size, size of the content, of each frame |
//! | at the end                   | 9    | number of frames, 0, magic 0x8F92EAB1 |
//!
//! All numbers are little-endian.

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const FOOTER: usize = 9;
const HEAD: usize = 8;
const RECORD: usize = 8;
const LEVEL: i32 = 3;

/// One frame: where it is among the compressed bytes, and its content among the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZstdFrame {
    pub at: u64,
    pub len: u32,
    pub content: u64,
    pub content_len: u32,
}

/// Compresses one piece as a frame of its own.
pub fn compress(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, LEVEL).expect("memory to memory, at a level that zstd has")
}

/// The content of a frame, if it is exactly `len` bytes long; no more memory than these is used.
pub fn decompress(frame: &[u8], len: usize) -> Option<Vec<u8>> {
    zstd::bulk::decompress(frame, len).ok().filter(|content| content.len() == len)
}

/// The seek table of frames, by compressed size and size of the content.
pub fn table(frames: &[(u32, u32)]) -> Vec<u8> {
    let body = frames.len() * RECORD + FOOTER;
    let mut out = Vec::with_capacity(HEAD + body);
    out.extend_from_slice(&SKIPPABLE.to_le_bytes());
    out.extend_from_slice(&(body as u32).to_le_bytes());
    for (len, content_len) in frames {
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&content_len.to_le_bytes());
    }
    out.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    out.push(0);
    out.extend_from_slice(&SEEKABLE.to_le_bytes());
    out
}

/// The frames that the table at the end of `tail` lists, which is the end of a file of `size` bytes. `None`: there is no
/// sound table, or it does not describe a file of this size.
pub fn read_table(tail: &[u8], size: u64) -> Option<Vec<ZstdFrame>> {
    let footer = tail.len().checked_sub(FOOTER)?;
    let count = u32_at(tail, footer)? as usize;
    let len = count.checked_mul(RECORD)?.checked_add(HEAD + FOOTER)?;
    let begin = tail.len().checked_sub(len)?;
    let is_table = u32_at(tail, begin)? == SKIPPABLE
        && u32_at(tail, begin + 4)? as usize == len - HEAD
        && tail[footer + 4] == 0
        && u32_at(tail, footer + 5)? == SEEKABLE;
    if !is_table {
        return None;
    }
    let place = |n| begin + HEAD + n * RECORD;
    let sizes: Option<Vec<(u32, u32)>> =
        (0..count).map(|n| Some((u32_at(tail, place(n))?, u32_at(tail, place(n) + 4)?))).collect();
    let frames = in_a_row(&sizes?);
    let at = frames.last().map_or(0, |last| last.at + u64::from(last.len));
    (at.checked_add(len as u64)? == size).then_some(frames)
}

/// Frames that follow each other, by compressed size and size of the content.
pub fn in_a_row(sizes: &[(u32, u32)]) -> Vec<ZstdFrame> {
    let (mut at, mut content) = (0u64, 0u64);
    let frame = |(len, content_len): &(u32, u32)| {
        let frame = ZstdFrame { at, len: *len, content, content_len: *content_len };
        at += u64::from(*len);
        content += u64::from(*content_len);
        frame
    };
    sizes.iter().map(frame).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (Vec<u8>, Vec<u8>) {
        let pieces = [vec![1u8; 1000], b"abc".to_vec(), Vec::new()];
        let frames: Vec<Vec<u8>> = pieces.iter().map(|p| compress(p)).collect();
        let sizes: Vec<(u32, u32)> =
            frames.iter().zip(&pieces).map(|(f, p)| (f.len() as u32, p.len() as u32)).collect();
        ([frames.concat(), table(&sizes)].concat(), pieces.concat())
    }

    #[test]
    fn a_file_of_frames_is_read_whole_by_zstd_and_frame_by_frame_here() {
        let (file, content) = file();
        assert_eq!(zstd::stream::decode_all(&file[..]).unwrap(), content);
        let frames = read_table(&file, file.len() as u64).unwrap();
        let mut read = Vec::new();
        for frame in &frames {
            let bytes = &file[frame.at as usize..][..frame.len as usize];
            assert_eq!(frame.content, read.len() as u64);
            read.extend(decompress(bytes, frame.content_len as usize).unwrap());
        }
        assert_eq!(read, content);
    }

    #[test]
    fn a_table_that_was_cut_or_changed_is_none_or_another_and_never_a_panic() {
        let (file, _) = file();
        let good = read_table(&file, file.len() as u64).unwrap();
        for cut in 0..file.len() {
            assert!(read_table(&file[..cut], file.len() as u64).is_none(), "{cut}");
        }
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x55;
            if let Some(found) = read_table(&bad, file.len() as u64) {
                assert!(found.len() == good.len(), "{at}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_length_than_its_table_says_is_refused() {
        let bomb = compress(&vec![0; 1 << 20]);
        assert!(decompress(&bomb, 1000).is_none() && decompress(&bomb, 2 << 20).is_none());
        assert!(decompress(&bomb, 1 << 20).is_some() && decompress(b"no frame", 10).is_none());
    }
}
