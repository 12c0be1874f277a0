//! Looks for one absolute path, that of the source checkout, in the bytes an import reads anyway.
//!
//! Build tools write such paths into CMakeCache.txt, into the scripts of a Python environment, into dependency files
//! and programs; in another worktree they lead back to the first. The bytes around a match decide whether it is the
//! path and no other: [`begins`] and [`ends`].

use memchr::memmem;

use super::Holds;

/// How many bytes before a match decide.
const BEFORE: usize = 64;
/// As many bytes at the beginning of a long file decide whether it is binary, as in git.
const HEAD: usize = 8000;
/// How many bytes behind a match decide.
const AHEAD: usize = 2;

/// The path that is looked for.
pub struct PathScan {
    finder: memmem::Finder<'static>,
}

impl PathScan {
    /// Nothing for a path in which every path begins, or none.
    pub fn new(path: &[u8]) -> Option<PathScan> {
        let is_one = path.len() > 1 && path[0] == b'/' && !path.ends_with(b"/");
        is_one.then(|| PathScan { finder: memmem::Finder::new(path).into_owned() })
    }

    /// Absolute, without a slash at its end, longer than `/`.
    pub fn path(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Whether a symlink's target is the path or lies below it.
    pub fn is_target(&self, target: &[u8]) -> bool {
        target.strip_prefix(self.path()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// The offsets of the path in a text, from left to right.
    pub fn places<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let end = move |at: usize| at + self.path().len();
        self.finder.find_iter(text).filter(move |at| begins(&text[..*at]) && ends(&text[end(*at)..]))
    }

    /// A symlink's target with another path in place of this one; `None`: it is no such target.
    pub fn relocated_target(&self, target: &[u8], to: &[u8]) -> Option<Vec<u8>> {
        self.is_target(target).then(|| [to, &target[self.path().len()..]].concat())
    }

    /// A text with another path in place of this one; `None`: it is binary, or holds none.
    pub fn relocated_text(&self, text: &[u8], to: &[u8]) -> Option<Vec<u8>> {
        if text.contains(&0) {
            return None;
        }
        let (mut out, mut done) = (Vec::with_capacity(text.len()), 0);
        for at in self.places(text) {
            out.extend_from_slice(&text[done..at]);
            out.extend_from_slice(to);
            done = at + self.path().len();
        }
        out.extend_from_slice(&text[done..]);
        (done > 0).then_some(out)
    }

    /// Begins with one file.
    pub fn file(&self) -> FileScan<'_> {
        FileScan { watched: self, tail: Vec::new(), at: 0, is_binary: false, as_word: false, as_bytes: false }
    }
}

/// One file that goes by in pieces.
pub struct FileScan<'a> {
    watched: &'a PathScan,
    /// The last bytes of the pieces before.
    tail: Vec<u8>,
    at: u64,
    is_binary: bool,
    /// Found where a text would have it, or in whatever surroundings.
    as_word: bool,
    as_bytes: bool,
}

impl FileScan<'_> {
    /// The next piece.
    pub fn see(&mut self, piece: &[u8]) {
        let keep = BEFORE + self.watched.path().len() + AHEAD;
        if self.at > 0 {
            let seam = [&self.tail, &piece[..piece.len().min(keep)]].concat();
            self.look(&seam, self.tail_begins(), false);
        }
        self.look(piece, if self.at > 0 { BEFORE } else { 0 }, false);
        // Most files are one piece without the path: it does not matter what they are.
        let told = if self.at == 0 && !self.as_bytes { &piece[..piece.len().min(HEAD)] } else { piece };
        self.is_binary = self.is_binary || memchr::memchr(0, told).is_some();
        if piece.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - keep..]);
        } else {
            self.tail.extend_from_slice(piece);
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
        self.at += piece.len() as u64;
    }

    /// From where on in the tail it is known what stands before.
    fn tail_begins(&self) -> usize {
        if self.at > self.tail.len() as u64 { BEFORE } else { 0 }
    }

    /// Looks for matches that begin at `from` or later. One at the very end of what may go on is left to the seam.
    fn look(&mut self, bytes: &[u8], from: usize, is_last: bool) {
        if self.as_word {
            return;
        }
        for at in self.watched.finder.find_iter(bytes).filter(|at| *at >= from) {
            let after = &bytes[at + self.watched.path().len()..];
            if ends(after) && (is_last || after.len() >= AHEAD) {
                self.as_bytes = true;
                self.as_word = self.as_word || begins(&bytes[..at]);
            }
        }
    }

    /// How the whole file holds the path. In a binary one any bytes may precede the path: a length, a tag.
    pub fn end(mut self) -> Holds {
        let tail = std::mem::take(&mut self.tail);
        self.look(&tail, if self.at > tail.len() as u64 { BEFORE } else { 0 }, true);
        match (self.is_binary, self.as_word, self.as_bytes) {
            (true, _, true) => Holds::Binary,
            (false, true, _) => Holds::Text,
            _ => Holds::Nothing,
        }
    }
}

/// Whether a path can begin after these bytes: not in the middle of a longer path, but right behind a compiler's flag.
fn begins(before: &[u8]) -> bool {
    let near = &before[before.len().saturating_sub(BEFORE)..];
    let token = near.iter().rev().take_while(|b| is_name(**b)).count();
    let (above, token) = near.split_at(near.len() - token);
    match (above.last(), token.first()) {
        (Some(b'}' | b')'), None) => false,
        (_, None) => true,
        // `-I/path`, but not `x/-I/path`.
        (above, Some(b'-')) => above != Some(&b'/'),
        _ => false,
    }
}

/// Whether the path ends before these bytes: its last name is not the beginning of a longer one.
fn ends(after: &[u8]) -> bool {
    match after {
        [] => true,
        // The full stop of a sentence.
        [b'.', rest @ ..] => rest.first().is_none_or(|b| !is_name(*b)),
        [b, ..] => !is_name(*b),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'@' | b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pieces: &[&[u8]]) -> Holds {
        let watched = PathScan::new(b"/src/repo").expect("a path");
        let mut sight = watched.file();
        pieces.iter().for_each(|p| sight.see(p));
        sight.end()
    }

    #[test]
    fn the_path_is_found_as_a_whole_and_not_in_another() {
        let texts: [(&[u8], Holds); 18] = [
            (b"/src/repo", Holds::Text),
            (b"CMAKE_HOME_DIRECTORY:INTERNAL=/src/repo\n", Holds::Text),
            (b"#!/src/repo/.venv/bin/python3\n", Holds::Text),
            (b"cc -I/src/repo/include -c", Holds::Text),
            (b"\"file:///src/repo/a.js\"", Holds::Text),
            (b"It lies in /src/repo.", Holds::Text),
            (b"a:/src/repo:b", Holds::Text),
            (b"/src/repository", Holds::Nothing),
            (b"/src/repo-old/x", Holds::Nothing),
            (b"/src/repo.git", Holds::Nothing),
            (b"/home/src/repo/x", Holds::Nothing),
            (b"../src/repo/x", Holds::Nothing),
            (b"${ROOT}/src/repo", Holds::Nothing),
            (b"x/-I/src/repo", Holds::Nothing),
            (b"/src/rep", Holds::Nothing),
            (b"\0\x09/src/repo\0", Holds::Binary),
            (b"\0A/src/repo\0", Holds::Binary),
            (b"\0/src/repos\0", Holds::Nothing),
        ];
        for (text, expected) in texts {
            assert_eq!(holds(&[text]), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn wherever_a_file_is_cut_the_same_is_found() {
        let long = [vec![b'x'; 200], b" /src/repo/y ".to_vec(), vec![b'z'; 200]].concat();
        let texts: [(&[u8], Holds); 6] = [
            (b"see /src/repo", Holds::Text),
            (b"see /src/repo/x", Holds::Text),
            (&long, Holds::Text),
            (b"see /src/repo.git and /src/repos", Holds::Nothing),
            (b"/home/src/repo/x", Holds::Nothing),
            (b"/src/repo and\0", Holds::Binary),
        ];
        for (text, expected) in texts {
            for cut in 1..text.len() {
                let (a, b) = text.split_at(cut);
                assert_eq!(holds(&[a, b]), expected, "cut at {cut}: {:?}", String::from_utf8_lossy(text));
                let bytes: Vec<&[u8]> = text.chunks(cut).collect();
                assert_eq!(holds(&bytes), expected, "every {cut}: {:?}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn a_symlink_that_leads_into_the_checkout_is_one() {
        let watched = PathScan::new(b"/src/repo").expect("a path");
        assert!(watched.is_target(b"/src/repo") && watched.is_target(b"/src/repo/x"));
        assert!(!watched.is_target(b"/src/repos") && !watched.is_target(b"src/repo"));
        assert!(PathScan::new(b"/").is_none() && PathScan::new(b"").is_none() && PathScan::new(b"a/b").is_none());
    }

    #[test]
    fn the_path_is_replaced_wherever_it_is_one_and_binary_files_are_left() {
        let watched = PathScan::new(b"/src/repo").expect("a path");
        let table: [(&[u8], Option<&[u8]>); 5] = [
            (b"a=/src/repo\nb=/src/repo/x:-I/src/repo/y", Some(b"a=/w\nb=/w/x:-I/w/y")),
            (b"/src/repo", Some(b"/w")),
            (b"/src/repository and /home/src/repo", None),
            (b"/src/repo/src/repo", Some(b"/w/src/repo")),
            (b"/src/repo\0", None),
        ];
        for (text, expected) in table {
            assert_eq!(watched.relocated_text(text, b"/w").as_deref(), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
