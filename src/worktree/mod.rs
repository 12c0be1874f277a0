//! The life of a worktree: made, looked at, changed back and removed, with git's worktrees as the base.
//!
//! | file | what it does |
//! |------|--------------|
//! | `naming`, `ignored`, `include`, `submodule`, `lockfile` | what a new worktree is called and gets |
//! | `git`, `tracked`, `gitmodules`, `git_output`, `git_environment`, `checkout`, `index`, `settings` | what git is asked, and what is read of it without asking |
//! | `plan`, `create`, `fit`, `snapshot`, `mtime`, `undo` | `create`: first everything is checked, then made, or taken back |
//! | `fill`, `conversion` | tracked files copied from the source, where a checkout would write the same bytes |
//! | `unfinished` | the record of a create that has begun, for whoever comes after one that was killed |
//! | `adopt`, `obstacle` | the same for a worktree that is there, and what is in its way |
//! | `traces/` | files of artifacts that hold the source's absolute path |
//! | `component/` | what a repository builds: `depsfs.toml` |
//! | `views`, `access`, `lower` | a worktree's manifest, its views, mounted or not, and what their grafts show |
//! | `place` | where an artifact of the build cache goes |
//! | `at` | entries mounted at a directory without git |
//! | `unchanged` | a changed view as a source: asked for what was changed, the rest merged from its trees |
//! | `everywhere` | all worktrees that are known, of whatever repository |
//! | `doctor` | what has to be right for views to work, and how it is repaired |
//! | `broken`, `sole` | worktrees of which a part is gone, and what a git directory alone still holds |
//! | `json_path` | paths in JSON |
//! | `status`, `list`, `diff`, `thaw`, `reset`, `sync`, `remove` | one file per verb |

pub mod access;
pub mod adopt;
mod answering;
pub mod at;
pub mod broken;
pub mod checkout;
pub mod component;
mod conversion;
pub mod create;
pub mod described;
pub mod diff;
pub mod doctor;
mod error;
pub mod everywhere;
mod fill;
mod fit;
pub mod git;
mod git_environment;
mod git_output;
pub(crate) mod git_version;
mod gitmodules;
pub mod ignored;
pub mod include;
pub mod index;
pub mod json_path;
pub mod list;
pub mod lockfile;
mod lower;
mod made;
pub mod mtime;
pub mod naming;
mod obstacle;
pub mod place;
pub mod plan;
pub mod remove;
pub mod reset;
pub mod settings;
pub mod snapshot;
mod sole;
mod stacked;
pub mod status;
pub mod submodule;
pub mod sync;
pub mod thaw;
pub mod traces;
mod tracked;
pub mod unchanged;
mod undo;
mod unfinished;
pub mod views;

pub use error::{Error, Risk};
