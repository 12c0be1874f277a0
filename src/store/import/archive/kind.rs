//! The kinds of members that an archive can hold.

/// The kind of a member, with its data or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// `size` counts holes; `data` is where bytes are, in order: (offset, length).
    File {
        size: u64,
        data: Vec<(u64, u64)>,
    },
    Dir,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Device,
    Other(u8),
}
