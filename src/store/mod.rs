//! The frozen, content-addressed store that all worktrees share: objects, trees, entries, roots.

mod id;
mod name;

pub use id::{BadId, ObjectId, TreeId};
pub use name::{Cookie, NAME_MAX, Name, NameError};
