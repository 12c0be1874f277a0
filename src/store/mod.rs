//! The frozen, content-addressed store that all worktrees share: objects, trees, entries, roots.

mod id;
mod name;
pub mod tree;

pub use id::{BadId, ObjectId, TreeId};
pub use name::{Cookie, NAME_MAX, Name, NameError};
pub use tree::{Node, NodeStat, Tree, TreeBuilder, TreeEntry};
