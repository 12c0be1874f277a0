//! Why an archive is refused.

use crate::store::escape::escape;

/// The reason to refuse an archive. Names are shown as [`escape`] writes them.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is neither tar, gzip nor zstd")]
    Format,
    #[error("it ends too early")]
    Truncated,
    #[error("it is corrupt: {0}")]
    Corrupt(String),
    #[error("something follows its end")]
    Trailing,
    #[error("member {0} has an absolute name")]
    Absolute(String),
    #[error("member {0} leads outside: its name holds `..`")]
    Outside(String),
    #[error("member {0} is or lies in a git directory")]
    Git(String),
    #[error("member {0} has a name that no file can have")]
    Name(String),
    #[error("member {0} lies below a symlink of the archive's own")]
    BelowSymlink(String),
    #[error("member {0} lies below a file of the archive's own")]
    BelowFile(String),
    #[error("member {0} replaces a directory that is not empty")]
    ReplacesDirectory(String),
    #[error("hard link {member} leads outside, to {target}")]
    LinkOutside { member: String, target: String },
    #[error("hard link {member} leads to {target}, which the archive does not hold as a file before it")]
    LinkMissing { member: String, target: String },
    #[error("member {0} is a device")]
    Device(String),
    #[error("member {member} is of an unknown type: {}", kind.escape_default())]
    Kind { member: String, kind: char },
    #[error("it unpacks to more than {0} bytes")]
    Bytes(u64),
    #[error("it holds more than {0} members")]
    Members(u64),
    #[error("the list of its members takes more than {0} bytes of memory")]
    Memory(u64),
    #[error("member {member} lies more than {limit} directories deep")]
    Depth { member: String, limit: usize },
}

/// A name or target in a message: one of a megabyte is cut.
pub(super) fn shown(name: &[u8]) -> String {
    const MOST: usize = 1024;
    match name.get(..MOST) {
        Some(begin) if name.len() > MOST => format!("{}…", escape(begin)),
        _ => escape(name),
    }
}

impl Refused {
    /// For variants that hold a member's name.
    pub(super) fn of(kind: fn(String) -> Refused, name: &[u8]) -> Refused {
        kind(shown(name))
    }

    /// For a defect of the archive's format. `what` is a clause of this program, without a member's name.
    pub(super) fn corrupt(what: &str) -> Refused {
        Refused::Corrupt(what.into())
    }
}
