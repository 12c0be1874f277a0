//! The kinds of members that an archive can hold.

/// The kind of a member, with its data or target: of a hard link the name of a member before it, of another kind the
/// type flag of its header.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
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
