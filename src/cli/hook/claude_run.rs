//! Claude Code's hooks WorktreeCreate and WorktreeRemove: JSON on stdin, and of a new worktree its path on stdout.
//!
//! | of a new worktree | rule |
//! |-------------------|------|
//! | directory | `.claude/worktrees/NAME` in the main checkout; a `/` in it is a `+` where a worktree would lie in another, or hold others |
//! | branch    | as `depsfs create NAME` names it |
//! | base      | `worktree.baseRef` of Claude's settings: `head`, or `fresh` (the default): the default branch of origin |
//!
//! A worktree that is there is handed out again only if it is one of this repository with that very branch.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::caller::HookCaller;
use super::kept::KeptFile;
use super::own_verb::{VerbOutput, depsfs};
use crate::cli::report::Failure;
use crate::cli::{output, places};
use crate::git::checkout::Checkout;
use crate::git::naming;
use crate::git::settings::Settings;
use crate::sys::path;
use crate::sys::terminal::DisplayName;
use crate::worktree::WorktreeError;

/// The directory of Claude's worktrees, below the main checkout.
pub const WORKTREES: &str = ".claude/worktrees/";
const MANAGED: &str = "/etc/claude-code/managed-settings.json";
const REMOTE: &str = "origin";
/// The fields of the input that are read, and those of them that have paths.
const FIELDS: [&str; 4] = ["name", "worktree_name", "cwd", "worktree_path"];
const PATHS: [&str; 2] = ["cwd", "worktree_path"];

/// Claude's settings of this user, for all repositories.
///
/// # Errors
/// The user has no home.
pub fn user_settings() -> Result<PathBuf, Failure> {
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = dir("CLAUDE_CONFIG_DIR").or_else(|| dir("HOME").map(|home| home.join(".claude")));
    Ok(config.ok_or(Failure::NoHome)?.join("settings.json"))
}

/// Reads the event and answers it.
///
/// # Errors
/// The input is of no such hook; the worktree cannot be made or removed.
pub fn run(discard: bool) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(Failure::os("read the standard input"))?;
    let input: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let field = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| input[name].as_str());
        texts.map(str::to_owned).find(|text| !text.is_empty())
    };
    let event = input["hook_event_name"].as_str().filter(|_| is_sound(&input));
    match (event, field(&["name", "worktree_name"]), field(&["worktree_path"])) {
        (Some("WorktreeCreate"), Some(name), _) => create(&name, field(&["cwd"]).as_deref()),
        (Some("WorktreeRemove"), _, Some(path)) => remove(Path::new(&path), discard),
        _ => Err(Failure::Usage(
            "the input is no JSON of the hooks WorktreeCreate or WorktreeRemove with their fields",
            "look at the JSON that the caller sends",
        )),
    }
}

/// Whether the fields that are read are texts, and those with paths absolute, where they are there at all.
fn is_sound(input: &Value) -> bool {
    let is_text = |name: &&str| input[*name].is_null() || input[*name].is_string();
    let is_absolute = |name: &&str| input[*name].as_str().is_none_or(|at| at.is_empty() || at.starts_with('/'));
    FIELDS.iter().all(is_text) && PATHS.iter().all(is_absolute)
}

fn create(name: &str, cwd: Option<&str>) -> Result<(), Failure> {
    let project = std::env::var_os("CLAUDE_PROJECT_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let cwd = cwd.map(PathBuf::from).or_else(|| project.clone()).unwrap_or_else(|| ".".into());
    let source = places::checkout_at(&cwd)?;
    let main = source.main().map_err(WorktreeError::from)?.unwrap_or_else(|| source.clone());
    let settings = Settings::load(&source.git()).map_err(WorktreeError::from)?;
    let initials = naming::initials(settings.value("user.initials"), settings.value("user.name"));
    let names = naming::names(&source.root, name, None, initials.as_deref()).map_err(WorktreeError::from)?;
    let at = directory(&main, name)?;
    if path::is_there(&at) {
        refuse_another(&source, &at, &names.branch)?;
        depsfs(
            &["adopt".as_ref(), "--allow-unbuilt".as_ref(), "--".as_ref(), at.as_os_str()],
            &cwd,
            VerbOutput::Shown,
        )?;
    } else {
        let local = main.root.join(HookCaller::Claude.file());
        KeptFile::new(local, &places::states()?).ignore(&main, Path::new(WORKTREES))?;
        // git refuses the path of a worktree whose directory was deleted by hand, until that is taken off its list.
        if source.registered()?.iter().any(|(top, _)| *top == at) {
            depsfs(&["remove".as_ref(), "--lazy".as_ref(), "--".as_ref(), at.as_os_str()], &cwd, VerbOutput::Shown)?;
        }
        let base =
            base(&source, &settings, &names.branch, &[project.as_deref(), Some(&source.root), Some(&main.root)])?;
        let mut args: Vec<&OsStr> = ["create", "--allow-unbuilt", "--path"].map(OsStr::new).to_vec();
        args.extend([at.as_os_str(), "--".as_ref(), name.as_ref()]);
        args.extend(base.as_deref().map(OsStr::new));
        depsfs(&args, &cwd, VerbOutput::Shown)?;
    }
    output::bytes(&[at.as_os_str().as_bytes(), b"\n"].concat())
}

/// The directory of a worktree: named after all of its name, and in no other worktree.
fn directory(main: &Checkout, name: &str) -> Result<PathBuf, Failure> {
    let top = main.root.join(WORKTREES);
    let is_plain = |part: &str| {
        part.len() <= naming::LONGEST_SEGMENT
            && !["", ".", "..", ".git"].contains(&part)
            && !part.contains(char::is_control)
    };
    let name = name.trim_end_matches('/');
    if !name.split('/').all(is_plain) {
        return Err(WorktreeError::from(naming::NamingError::NoDirectory(name.into())).into());
    }
    let whole = top.join(name);
    let is_inside =
        whole.ancestors().skip(1).take_while(|dir| *dir != top).any(|dir| path::is_there(&dir.join(".git")));
    let holds_others = path::is_dir(&whole) && !path::is_there(&whole.join(".git"));
    let flat = name.replace('/', "+");
    Ok(match is_inside || holds_others {
        true if flat == name => top.join(flat + "+"),
        true => top.join(flat),
        false => whole,
    })
}

/// Refuses a directory that is not the worktree of this name and this branch.
fn refuse_another(source: &Checkout, at: &Path, branch: &str) -> Result<(), Failure> {
    let found = Checkout::at(at).map_err(WorktreeError::from)?.filter(|found| found.common_dir == source.common_dir);
    let its = found.as_ref().map(Checkout::branch).transpose().map_err(WorktreeError::from)?;
    let why = match its {
        Some(Some(its)) if its == branch => return Ok(()),
        Some(Some(its)) => format!("{} is a worktree with the branch {}, not {branch}", at.shown(), its.shown()),
        Some(None) => format!("{} is a worktree without a branch, not one with {branch}", at.shown()),
        None => format!("{} is there, and is no worktree of this repository", at.shown()),
    };
    Err(Failure::Refused {
        what: "no worktree was handed out",
        why,
        hint: "choose another name, or check that branch out there again",
    })
}

/// The commit that a new branch starts at; `None` for `HEAD`, and for a branch that exists.
fn base(
    source: &Checkout,
    settings: &Settings,
    branch: &str,
    projects: &[Option<&Path>],
) -> Result<Option<String>, Failure> {
    let git = source.git();
    let exists = git.resolve(&[format!("refs/heads/{branch}")]).map_err(WorktreeError::from)?;
    if exists[0].is_some() || !starts_fresh(projects) || !settings.has_remote(REMOTE) {
        return Ok(None);
    }
    let named = git.default_branch(REMOTE).map_err(WorktreeError::from)?;
    let candidates = named.map_or_else(|| vec![format!("{REMOTE}/main"), format!("{REMOTE}/master")], |one| vec![one]);
    for candidate in candidates {
        let short = candidate.split_once('/').map_or("", |(_, branch)| branch);
        // Without a network the commit that was fetched last has to do.
        if let Err(e) = git.apart().fetch(REMOTE, short) {
            output::note(&format!("note: {candidate} was not fetched: {e}"));
        }
        let found = git.resolve(&[format!("refs/remotes/{candidate}^{{commit}}")]).map_err(WorktreeError::from)?;
        if let Some(commit) = found.into_iter().flatten().next() {
            return Ok(Some(commit.id));
        }
    }
    Ok(None)
}

/// `worktree.baseRef` of Claude's settings, the nearest first: whether it is not `head`.
fn starts_fresh(projects: &[Option<&Path>]) -> bool {
    let local = projects
        .iter()
        .flatten()
        .flat_map(|dir| [".claude/settings.local.json", ".claude/settings.json"].map(|name| dir.join(name)));
    let files = std::iter::once(PathBuf::from(MANAGED)).chain(local).chain(user_settings().ok());
    let set = files.into_iter().find_map(|file| {
        let bytes = path::read_if_there(&file).ok().flatten()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        value["worktree"]["baseRef"].as_str().map(str::to_owned)
    });
    set.is_none_or(|word| word != "head")
}

fn remove(at: &Path, discard: bool) -> Result<(), Failure> {
    if !path::is_there(at) {
        return Ok(());
    }
    // From elsewhere: the caller may be in it.
    let elsewhere = Path::new("/");
    let remove = |options: &[&str], answer| {
        let options = ["remove", "--lazy"].iter().chain(options).map(OsStr::new);
        let args: Vec<&OsStr> = options.chain([OsStr::new("--"), at.as_os_str()]).collect();
        depsfs(&args, elsewhere, answer)
    };
    if discard {
        remove(
            &["--delete-branch", "--discard-changes", "--discard-untracked", "--discard-commits"],
            VerbOutput::Shown,
        )?;
    } else {
        // A branch goes only if nothing on it would be lost.
        remove(&["--delete-branch"], VerbOutput::Hidden).or_else(|_| remove(&[], VerbOutput::Shown))?;
    }
    let is_ours = |dir: &&Path| dir.ancestors().any(|above| above.ends_with(WORKTREES));
    for dir in at.ancestors().skip(1).take_while(is_ours) {
        if path::list(dir).map_or(true, |names| !names.is_empty()) {
            break;
        }
        path::remove_dir(dir)?;
    }
    Ok(())
}
