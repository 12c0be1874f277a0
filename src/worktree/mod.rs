//! The life of a worktree: made, looked at, changed back and removed, with git's worktrees as the base.
//!
//! | file | what it does |
//! |------|--------------|
//! | `git`, `checkout`, `index`, `settings` | what git is asked, and what is read of it without asking |
//! | `naming`, `ignored`, `submodule`, `lockfile` | what a new worktree is called and gets |
//! | `mtime` | the source's times for what is equal |

pub mod checkout;
pub mod git;
pub mod ignored;
pub mod index;
pub mod lockfile;
pub mod mtime;
pub mod naming;
pub mod settings;
pub mod submodule;
