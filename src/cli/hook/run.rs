//! `depsfs hook run`: the part that Claude Code, Codex, Conductor and Cursor call, with what each of them sends.
//!
//! | caller    | word               | input |
//! |-----------|--------------------|-------|
//! | claude    |                    | JSON on stdin: `hook_event_name`, and `name` and `cwd`, or `worktree_path` |
//! | codex     | `setup`, `cleanup` | `CODEX_WORKTREE_PATH`, `CODEX_SOURCE_TREE_PATH` |
//! | conductor | `setup`, `archive` | `CONDUCTOR_WORKSPACE_PATH`, `CONDUCTOR_ROOT_PATH` |
//! | cursor    | `setup`            | the working directory, `ROOT_WORKTREE_PATH` |

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::claude_run;
use super::own_verb::{VerbOutput, depsfs};
use crate::cli::report::Failure;

/// Do what a program that makes worktrees asks for
#[derive(Args)]
pub struct HookRun {
    #[arg(value_enum)]
    caller: RunCaller,
    #[arg(value_enum)]
    step: Option<HookStep>,
    /// Claude Code: remove a worktree with all that is in it
    #[arg(long)]
    discard: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RunCaller {
    Claude,
    Codex,
    Conductor,
    Cursor,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HookStep {
    Setup,
    #[value(alias = "archive")]
    Cleanup,
}

impl HookRun {
    /// Gives a worktree its views, or takes them away.
    ///
    /// # Errors
    /// Those of the verb that does it.
    pub fn run(self) -> Result<(), Failure> {
        let (worktree, source) = match self.caller {
            RunCaller::Claude => return claude_run::run(self.discard),
            RunCaller::Codex => ("CODEX_WORKTREE_PATH", "CODEX_SOURCE_TREE_PATH"),
            RunCaller::Conductor => ("CONDUCTOR_WORKSPACE_PATH", "CONDUCTOR_ROOT_PATH"),
            RunCaller::Cursor => ("CURSOR_WORKTREE_PATH", "ROOT_WORKTREE_PATH"),
        };
        let path = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let worktree = path(worktree).unwrap_or_else(|| ".".into());
        match self.step {
            Some(HookStep::Setup) => {
                let source = path(source);
                let mut args: Vec<&OsStr> = ["adopt", "--allow-unbuilt"].map(OsStr::new).to_vec();
                if let Some(source) = &source {
                    args.extend([OsStr::new("--source"), source.as_os_str()]);
                }
                args.extend([OsStr::new("--"), worktree.as_os_str()]);
                depsfs(&args, Path::new("."), VerbOutput::Shown)
            }
            // The caller deletes the directory itself: nothing may be mounted there by then.
            Some(HookStep::Cleanup) => {
                let args: [&OsStr; 4] = ["unmount".as_ref(), "--lazy".as_ref(), "--".as_ref(), worktree.as_os_str()];
                depsfs(&args, Path::new("."), VerbOutput::Shown)
            }
            None => {
                Err(Failure::Usage("a step is missing: setup or cleanup", "depsfs hook install codex conductor cursor"))
            }
        }
    }
}
