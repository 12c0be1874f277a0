//! Damage of a store: its kinds, and the directories of the notes about it.

use std::path::PathBuf;

use super::ObjectId;
use crate::sys::terminal::DisplayName;

/// The message about an object whose hash is another.
pub const OTHER_BYTES: &str = "its bytes are not those of its name";

/// The directory of the notes about sound objects, in a store.
pub(super) const CHECKED: &str = "checked";

/// The directory of the notes about damaged objects, in a store.
pub(super) const DAMAGED: &str = "damaged";

/// Something in the store that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    pub path: PathBuf,
    pub kind: DamageKind,
}

/// The defect of a file of the store, with a reason for messages; `needed_by` names the tree, entry or worktree. The
/// order of variants is the order of reports.
#[allow(missing_docs, reason = "the comment of the type has the fields")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamageKind {
    /// The bytes are not those of the name.
    Bytes,
    /// The bytes are those of the name, but make no sound tree.
    Tree(String),
    /// It is no pack that can be read.
    Pack(String),
    /// Some objects of a pack are not what their names say; this is one of so many.
    Packed { object: ObjectId, of: usize },
    /// The kernel can't read it.
    Unreadable(String),
    /// A file that has no place here.
    Stray,
    /// An object that a tree needs, or a tree that an entry or a worktree names, is missing.
    Missing { needed_by: String },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.shown();
        match &self.kind {
            DamageKind::Bytes => write!(f, "{path}: the bytes are not those of its name"),
            DamageKind::Tree(why) | DamageKind::Pack(why) => write!(f, "{path}: {why}"),
            DamageKind::Packed { object, of: 1 } => write!(f, "{path}: the bytes of object {object} are not its own"),
            DamageKind::Packed { object, of } => {
                write!(f, "{path}: the bytes of {of} objects are not their own, as those of {object}")
            }
            DamageKind::Unreadable(why) => write!(f, "{path}: cannot be read: {why}"),
            DamageKind::Stray => write!(f, "{path}: no such name belongs in a store"),
            DamageKind::Missing { needed_by } => write!(f, "{path}: missing, needed by {needed_by}"),
        }
    }
}
