//! `depsfs hook`: git and coding agents give each worktree that they make its artifact directories.

mod blocks;
mod caller;
mod claude;
mod claude_run;
mod codex;
mod conductor;
mod cursor;
mod git_hook;
mod json_text;
mod kept;
mod marks;
mod own_verb;
mod run;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use caller::{ALL, HookCaller};
use git_hook::{GitHook, HookState};
use kept::KeptFile;

use super::answers::{HookAnswer, HookInstallAnswer, HookStatusAnswer, HookUninstallAnswer};
use super::report::Failure;
use super::{output, places, record};
use crate::git::checkout::Checkout;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::worktree::WorktreeError;

const EXAMPLES: &str = "Examples:
  depsfs hook install git claude
  depsfs hook status";

/// Have git and coding agents give each new worktree its artifact directories
///
/// Installs what each of them calls when it makes or removes a worktree: a git hook, or a few lines in its configuration.
/// The rest of a file stays as it is, a hook that is there is called first, and uninstall restores each file byte for
/// byte. Installing again renews what an older version has installed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Hook {
    #[command(subcommand)]
    verb: HookVerb,
}

#[derive(Subcommand)]
enum HookVerb {
    /// Install or renew hooks
    Install {
        /// The programs that make worktrees, and texts for coding agents [default: git]
        #[arg(value_enum)]
        callers: Vec<HookCaller>,
        /// Claude Code only: in ~/.claude/settings.json, for all repositories
        #[arg(long)]
        user: bool,
    },
    /// Take hooks out again
    Uninstall {
        /// As of install [default: all that are installed]
        #[arg(value_enum)]
        callers: Vec<HookCaller>,
        /// Claude Code only: of ~/.claude/settings.json
        #[arg(long)]
        user: bool,
    },
    /// Report which hooks are installed, and whether they are current
    Status {
        /// As of install [default: all]
        #[arg(value_enum)]
        callers: Vec<HookCaller>,
        /// Claude Code only: in ~/.claude/settings.json
        #[arg(long)]
        user: bool,
    },
    /// Print the text that install would write
    Print {
        /// The program that makes worktrees, or the text for coding agents
        #[arg(value_enum)]
        caller: HookCaller,
    },
    /// The part that git and coding agents call, with what they send
    #[command(hide = true)]
    Run(run::HookRun),
}

impl HookState {
    fn word(self) -> &'static str {
        match self {
            HookState::Absent => "absent",
            HookState::Current => "current",
            HookState::Outdated => "outdated",
            HookState::Replaced => "replaced",
        }
    }
}

/// A repository, and the user whose files are edited.
struct HookScope {
    main: Checkout,
    states: PathBuf,
    user: bool,
}

impl Hook {
    /// Runs the verb.
    ///
    /// # Errors
    /// A file cannot be read or written, or has a part that must not be replaced.
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            HookVerb::Install { callers, user } => {
                let callers = if callers.is_empty() { vec![HookCaller::Git] } else { callers };
                HookScope::here(user, &callers)?.install(&callers)
            }
            HookVerb::Uninstall { callers, user } => HookScope::here(user, &callers)?.uninstall(&callers),
            HookVerb::Status { callers, user } => HookScope::here(user, &callers)?.status(&callers),
            HookVerb::Print { caller: HookCaller::Git } => output::print(git_hook::SCRIPT),
            HookVerb::Print { caller } => {
                output::print(&caller.whole(&caller::program()?).map_err(|why| unfit(caller, why))?)
            }
            HookVerb::Run(run) => run.run(),
        }
    }

    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        match &self.verb {
            HookVerb::Install { .. } => "not every hook was installed",
            HookVerb::Uninstall { .. } => "not every hook was uninstalled",
            HookVerb::Status { .. } => "the hooks cannot be listed",
            HookVerb::Print { .. } => "the text was not written",
            HookVerb::Run(_) => "the hook failed",
        }
        .into()
    }
}

/// The log is that of the user's store; without a store there is none.
fn begin_record(verb: &'static str) {
    if let Ok(store) = places::store_path() {
        record::begin(verb, &store);
    }
}

impl HookScope {
    fn here(user: bool, callers: &[HookCaller]) -> Result<HookScope, Failure> {
        if user && callers.iter().any(|caller| *caller != HookCaller::Claude) {
            return Err(Failure::Usage("--user is for Claude Code alone", "depsfs hook install claude --user"));
        }
        let here = places::checkout()?;
        let main = here.main().map_err(WorktreeError::from)?.unwrap_or(here);
        Ok(HookScope { main, states: places::states()?, user })
    }

    fn file(&self, caller: HookCaller) -> Result<KeptFile, Failure> {
        let file = if self.user { claude_run::user_settings()? } else { self.main.root.join(caller.file()) };
        Ok(KeptFile::new(file, &self.states))
    }

    fn install(&self, callers: &[HookCaller]) -> Result<(), Failure> {
        let (mut lines, mut hooks, mut failed) = (String::new(), Vec::new(), None);
        begin_record("hook install");
        for caller in callers {
            match self.install_one(*caller) {
                Ok((file, notes)) => {
                    record::concerns(&file);
                    record::changed();
                    lines += &format!("installed {}: {}\n", caller.name(), file.shown());
                    lines.extend(notes.iter().map(|note| format!("{note}\n")));
                    hooks.push(answer(*caller, HookState::Current, &file));
                }
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            }
        }
        let reported = output::done_answer("the hooks were installed", &HookInstallAnswer { hooks }, || lines);
        let others = ALL.into_iter().filter(|c| !callers.contains(c) && c.is_used_in(&self.main.root));
        let others: Vec<&str> = others.map(HookCaller::name).collect();
        if callers == [HookCaller::Git] && !others.is_empty() && failed.is_none() {
            output::note(&format!("also used here: depsfs hook install {}", others.join(" ")));
        }
        failed.map_or(reported, Err)
    }

    fn install_one(&self, caller: HookCaller) -> Result<(PathBuf, Vec<String>), Failure> {
        match caller {
            HookCaller::Git => {
                let hook = GitHook::of(&self.main, &self.states)?;
                let notes = hook.install()?;
                Ok((hook.file().to_path_buf(), notes))
            }
            caller => self.install_file(caller),
        }
    }

    fn install_file(&self, caller: HookCaller) -> Result<(PathBuf, Vec<String>), Failure> {
        let kept = self.file(caller)?;
        let now = text(&kept)?;
        let stripped = caller.strip(&now);
        let is_blank = caller.is_blank(&stripped);
        let before = kept.before(stripped.into_bytes(), is_blank)?;
        let before_text = before.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let after = caller.add(&before_text, &caller::program()?).map_err(|why| Failure::Refused {
            what: "the hook was not installed",
            why: format!("{}: {why}", kept.file.shown()),
            hint: "add the part of depsfs by hand (depsfs hook print prints it), or take the other one out",
        })?;
        if after != now {
            kept.put(before.as_deref(), after.as_bytes())?;
        }
        let mut notes = Vec::new();
        if caller == HookCaller::Claude && !self.user {
            for below in [caller.file(), claude_run::WORKTREES] {
                kept.ignore(&self.main, Path::new(below))?;
            }
        } else if !caller.is_personal() {
            notes.push(format!("  next:  commit {}: other checkouts have it then", caller.file()));
        }
        Ok((kept.file, notes))
    }

    fn uninstall(&self, callers: &[HookCaller]) -> Result<(), Failure> {
        let chosen = if callers.is_empty() { self.scope() } else { callers.to_vec() };
        let (mut lines, mut hooks) = (String::new(), Vec::new());
        begin_record("hook uninstall");
        // The last first: a directory that the first was made in is empty then.
        for caller in chosen.into_iter().rev() {
            let (file, was_there) = match caller {
                HookCaller::Git => {
                    let hook = GitHook::of(&self.main, &self.states)?;
                    let was_there = hook.uninstall()?;
                    (hook.file().to_path_buf(), was_there)
                }
                caller => self.uninstall_file(caller)?,
            };
            if was_there {
                record::concerns(&file);
                record::changed();
                lines = format!("uninstalled {}: {}\n{lines}", caller.name(), file.shown());
                hooks.insert(0, answer(caller, HookState::Absent, &file));
            }
        }
        if lines.is_empty() {
            record::forget();
        }
        let text = || if lines.is_empty() { "nothing is installed\n".into() } else { lines };
        output::done_answer("the hooks were uninstalled", &HookUninstallAnswer { hooks }, text)
    }

    fn uninstall_file(&self, caller: HookCaller) -> Result<(PathBuf, bool), Failure> {
        let kept = self.file(caller)?;
        let now = text(&kept)?;
        let stripped = caller.strip(&now);
        let was_there = stripped != now;
        if was_there {
            let is_blank = caller.is_blank(&stripped);
            let before = kept.before(stripped.into_bytes(), is_blank)?;
            kept.restore(before.as_deref())?;
        }
        if caller == HookCaller::Claude && !self.user {
            // Worktrees that are still there would be untracked files.
            let worktrees = Path::new(claude_run::WORKTREES);
            let are_there = path::is_there(&self.main.root.join(worktrees));
            kept.include_again(&self.main, |below| are_there && below == worktrees)?;
        }
        Ok((kept.file, was_there))
    }

    fn status(&self, callers: &[HookCaller]) -> Result<(), Failure> {
        let chosen = if callers.is_empty() { self.scope() } else { callers.to_vec() };
        let mut all = Vec::new();
        for caller in chosen {
            let (file, state) = match caller {
                HookCaller::Git => {
                    let hook = GitHook::of(&self.main, &self.states)?;
                    (hook.file().to_path_buf(), hook.state()?)
                }
                caller => {
                    let kept = self.file(caller)?;
                    let state = state_of(caller, &text(&kept)?)?;
                    (kept.file, state)
                }
            };
            all.push((caller, state, file));
        }
        let hooks = all.iter().map(|(caller, state, file)| answer(*caller, *state, file)).collect();
        output::answer(&HookStatusAnswer { hooks }, || {
            all.iter().map(|(caller, state, file)| line(*caller, *state, file)).collect()
        })
    }

    /// All hooks that there may be in this scope.
    fn scope(&self) -> Vec<HookCaller> {
        if self.user { vec![HookCaller::Claude] } else { ALL.to_vec() }
    }
}

fn answer(caller: HookCaller, state: HookState, file: &Path) -> HookAnswer {
    HookAnswer { name: caller.name(), state: state.word(), file: file.into() }
}

fn line(caller: HookCaller, state: HookState, file: &Path) -> String {
    let name = caller.name();
    let remedy = match state {
        HookState::Absent => return format!("{name:<10} not installed\n"),
        HookState::Current => String::new(),
        HookState::Outdated => format!(" (of another version or place: depsfs hook install {name})"),
        HookState::Replaced => format!(" (another program's hook is in its place: depsfs hook install {name})"),
    };
    format!("{name:<10} {:<13} {}{remedy}\n", state.word(), file.shown())
}

/// The state of a text, which may have the part of depsfs, of this version or of another.
fn state_of(caller: HookCaller, now: &str) -> Result<HookState, Failure> {
    let stripped = caller.strip(now);
    if stripped == now {
        return Ok(HookState::Absent);
    }
    let base = if caller.is_blank(&stripped) { "" } else { &stripped };
    let is_current = match caller.add(base, &caller::program()?) {
        Ok(fresh) => fresh == now || is_same_json(&fresh, now),
        Err(_) => false,
    };
    Ok(if is_current { HookState::Current } else { HookState::Outdated })
}

/// Whether two texts are the same JSON, however they are indented.
fn is_same_json(one: &str, other: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    value(one).is_some_and(|one| Some(one) == value(other))
}

fn text(kept: &KeptFile) -> Result<String, Failure> {
    String::from_utf8(kept.bytes()?.unwrap_or_default()).map_err(|_| Failure::Refused {
        what: "the file was not read",
        why: format!("{} is not UTF-8", kept.file.shown()),
        hint: "save that file as UTF-8, then run it again",
    })
}

fn unfit(caller: HookCaller, why: String) -> Failure {
    Failure::Refused {
        what: "the text was not written",
        why: format!("{}: {why}", caller.file()),
        hint: "depsfs hook print --help lists the texts",
    }
}
