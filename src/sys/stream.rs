//! An open file as the standard library reads and writes it: from its own position on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

/// Reads and writes where the descriptor stands. Not buffered.
pub fn of(fd: OwnedFd) -> impl Read + Write {
    File::from(fd)
}
