//! Errors of a store.

use std::path::PathBuf;

use super::pack::PackError;
use super::tree::{BuildError, TreeError};
use super::{ObjectId, PackId, TreeId};
use crate::sys::IoError;
use crate::sys::terminal::DisplayName;

/// An error of the store layer, apart from those of an import's source.
#[allow(missing_docs, reason = "the message of a variant is its documentation")]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("{} is not a depsfs store, and not empty", path.shown())]
    NotAStore { path: PathBuf },
    #[error("the store {} is gone", path.shown())]
    Gone { path: PathBuf },
    #[error("the store {} is another user's: its owner is {owner}, and this is user {user}", path.shown())]
    OtherOwner { path: PathBuf, owner: u32, user: u32 },
    #[error("the store {} is of version {}, this depsfs knows {known}", path.shown(), found.shown())]
    Version { path: PathBuf, found: String, known: &'static str },
    #[error("tree {0} is not in the store")]
    NoTree(TreeId),
    #[error("tree {id}: {source}")]
    BadTree { id: TreeId, source: TreeError },
    #[error("pack {id}: {source}")]
    BadPack { id: PackId, source: PackError },
    #[error("object {0} is not in the store")]
    NoObject(ObjectId),
    #[error("object {id} is not here yet: it has to be fetched from its remote")]
    Absent { id: ObjectId },
    #[error("object {id} could not be fetched from its remote: {source}")]
    NotFetched { id: ObjectId, source: super::Unanswered },
    #[error("object {id} is damaged: {why}")]
    BadObject { id: ObjectId, why: &'static str },
    #[error("no entry is named {}", .0.shown())]
    NoEntry(String),
    #[error("{} cannot name an entry: 1 to 255 bytes, no slash or control character, no dot in front", .0.shown())]
    EntryName(String),
    #[error("the {} {} cannot be read: {why}", kind.name(), path.shown())]
    BadFile { kind: FileKind, path: PathBuf, why: String },
    #[error("the trees that the root {} needs are not known while its worktree is away: an older depsfs wrote it", root.shown())]
    Away { root: PathBuf },
    #[error("an import or a create is running in the store")]
    Busy,
    #[error("interrupted")]
    Cancelled,
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The kind of a file that cannot be read, which decides on the hint.
#[allow(missing_docs, reason = "the comment of the type has the variants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Of a worktree.
    Manifest,
    Root,
    Entry,
    Pack,
}

impl FileKind {
    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Manifest => "manifest",
            FileKind::Root => "root",
            FileKind::Entry => "entry",
            FileKind::Pack => "pack",
        }
    }
}
