//! How the files of a view are opened: chosen by what is in it when it is mounted, and kept as long as it is.
//!
//! Opens without a message make many small files as fast as a plain directory's; passing reads through makes big files
//! be in memory once for all worktrees (`fuse/passthrough.rs`), and each open of any file a message. A connection
//! has one or the other.

use std::os::fd::OwnedFd;

use super::wire::Serve;
use crate::overlay::GraftSpec;
use crate::store::{Node, Store};
use crate::sys::fs::{FileType, OpenFlags, open_path};
use crate::sys::process;

/// From this size on a file is big.
const BIG: u64 = 32 << 20;
/// With more files than this, opening them counts for more than what is in the big ones.
const FEW: u64 = 2000;

/// The environment variable that overrides the choice, for tests: see [`Wish`].
const VARIABLE: &str = "DEPSFS_PASSTHROUGH";

/// The value of the variable, which counts beside the content of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// `auto`, or nothing.
    ByContent,
    /// `never`.
    Never,
    /// `always`, or the smallest size in bytes.
    From(u64),
}

/// The choice for one connection.
pub struct FastPath {
    /// From which size on, in bytes, files of the store are passed through; `None`: opens without a message.
    pub least: Option<u64>,
    /// A file of the store, for the kernel to try.
    pub sample: Option<OwnedFd>,
}

impl FastPath {
    /// For a connection's first server. A later one goes on as that began.
    pub fn choose(serve: &Serve, store: &Store, grafts: &[GraftSpec]) -> FastPath {
        let none = FastPath { least: None, sample: None };
        if serve.offer.is_some() {
            return FastPath { least: serve.passes, ..none };
        }
        let wish = Wish::of(std::env::var(VARIABLE).as_deref().unwrap_or_default());
        // The kernel allows it to no other user (FUSE_DEV_IOC_BACKING_OPEN).
        if !serve.notes_passed || process::user() != 0 {
            return none;
        }
        let least = match wish {
            Wish::Never => None,
            Wish::From(least) => Some(least),
            Wish::ByContent => is_few_and_big(grafts).then_some(BIG),
        };
        let sample = || open_path(&store.path().join("version"), OpenFlags::RDONLY, 0).ok();
        FastPath { least, sample: least.and_then(|_| sample()) }
    }
}

impl Wish {
    fn of(word: &str) -> Wish {
        match (word, word.parse()) {
            ("never", _) => Wish::Never,
            ("always", _) => Wish::From(BIG),
            (_, Ok(least)) => Wish::From(least),
            _ => Wish::ByContent,
        }
    }
}

/// Whether the trees are of few files, and most of their bytes in big ones.
fn is_few_and_big(grafts: &[GraftSpec]) -> bool {
    let live = || grafts.iter().filter(|graft| !graft.retired).map(|graft| &graft.tree);
    // Before anything is counted: directories and symlinks are nodes, too, and seldom more than files.
    if live().map(|tree| u64::from(tree.node_count())).sum::<u64>() > 2 * FEW {
        return false;
    }
    let (mut files, mut bytes, mut big) = (0, 0, 0);
    for tree in live() {
        for stat in (0..tree.node_count()).map(|node| tree.stat(Node(node))) {
            if stat.kind == FileType::RegularFile {
                files += 1;
                bytes += stat.size;
                big += if stat.size >= BIG { stat.size } else { 0 };
            }
        }
    }
    files <= FEW && big > 0 && 2 * big >= bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_is_a_word_or_the_smallest_size() {
        let table = [
            ("", Wish::ByContent),
            ("auto", Wish::ByContent),
            ("never", Wish::Never),
            ("always", Wish::From(BIG)),
            ("1", Wish::From(1)),
            ("sometimes", Wish::ByContent),
        ];
        table.iter().for_each(|(word, want)| assert_eq!(Wish::of(word), *want, "{word}"));
    }
}
