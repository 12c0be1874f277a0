//! How the components of a worktree get their artifacts: from the source, from the store, from a cache, or by a build.
//!
//! | file | contents |
//! |------|----------|
//! | `resolve` | the way for one component: the decision table |
//! | `plan` | the decisions of a create, before anything is made (`--dry-run`, `--frozen-only`) |
//! | `select` | the decisions for a worktree that is being made |
//! | `materialize` | the decisions carried out, in a worktree that exists |
//! | `commit` | the artifact directories of a commit, from a remote of the team |
//! | `pushed` | what `depsfs push` sends |
//! | `build`, `capture` | one build, and its result as an entry of the store |

pub mod build;
pub mod capture;
pub mod commit;
pub mod materialize;
pub mod plan;
pub mod pushed;
pub mod resolve;
pub mod select;
