//! The key of a component: what its artifacts depend on, as 16 hex digits or as a command prints it.
//!
//! A key of files is a hash of their names and of the ids of their contents as git has them, of the build command, and
//! of the keys of the components it comes after. So it is the same for files on disk and for a commit that is nowhere
//! checked out. A key command runs in a checkout; the same command in the same directory runs once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::Files;
use super::{ComponentError, Components, Declared};
use crate::git::command::LOCAL_VARIABLES;
use crate::sys::shell::{self, Ended, Shell};
use crate::sys::terminal::DisplayName;
use crate::sys::{reason, spawn};

/// The output of a key command that can't compute the hash.
const DISABLED: &str = "disabled-cache";
/// The longest a key command may take, unless the component sets a limit.
const PATIENCE: Duration = Duration::from_secs(600);
/// The number of key commands that run at once.
const AT_ONCE: usize = 8;
/// The most bytes of a key: it is a part of file names.
const LONGEST: usize = 100;

/// The key of a component, or the reason for its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    Key(String),
    /// None is declared.
    None,
    /// Its command reports that there is none this time.
    Disabled,
    /// None of its files is there, so nothing is built of them.
    Absent,
    /// It can't be computed now, for the reason in words; or that of a component before it can't.
    Failed(String),
}

impl Keyed {
    /// The key, as a part of artifact names; `None` if there is none, for whatever reason.
    pub fn key(&self) -> Option<&str> {
        match self {
            Keyed::Key(key) => Some(key),
            _ => None,
        }
    }
}

/// The keys of components, by their names.
pub type Keys = BTreeMap<String, Keyed>;

/// Computes them all. `root`: the checkout in which key commands run.
pub fn keys(components: &Components, files: &Files<'_>, root: &Path) -> Result<Keys, ComponentError> {
    let answers = ask_all(components, root)?;
    let contents =
        files.of(components.all.iter().map(|d| d.component.key.iter().flat_map(|k| &k.files)), components)?;
    let mut keys = Keys::new();
    for (declared, contents) in components.all.iter().zip(contents) {
        let key = key_of(declared, &contents, &answers, &keys)?;
        keys.insert(declared.component.name.clone(), key);
    }
    Ok(keys)
}

/// Whether a checkout is needed to compute them.
pub fn need_commands(components: &Components) -> bool {
    components.all.iter().any(|d| d.component.key.as_ref().is_some_and(|k| k.command.is_some()))
}

/// A command of the user's own and one of the repository may run in different shells.
type Answers = BTreeMap<(bool, PathBuf, String), Result<String, String>>;

fn key_of(
    declared: &Declared,
    contents: &[(PathBuf, String)],
    answers: &Answers,
    keys: &Keys,
) -> Result<Keyed, ComponentError> {
    let component = &declared.component;
    let Some(key) = &component.key else { return Ok(Keyed::None) };
    let answer = key.command.as_ref().and_then(|c| answers.get(&(declared.is_users, component.dir.clone(), c.clone())));
    let answer = match answer {
        Some(Err(why)) => return Ok(Keyed::Failed(why.clone())),
        Some(Ok(answer)) => Some(answer),
        None => None,
    };
    if answer.is_some_and(|a| a.contains(DISABLED)) {
        return Ok(Keyed::Disabled);
    }
    if let Some(answer) = answer.filter(|_| key.files.is_empty()) {
        return Ok(as_key(answer).map_or_else(Keyed::Failed, Keyed::Key));
    }
    if contents.is_empty() {
        return Ok(Keyed::Absent);
    }
    let mut hash = blake3::Hasher::new_derive_key("depsfs 1 key of a component");
    let mut add = |text: &[u8]| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(component.build.as_deref().unwrap_or_default().as_bytes());
    add(answer.map_or("", |a| a.trim()).as_bytes());
    for (path, id) in contents {
        add(path.as_os_str().as_encoded_bytes());
        add(id.as_bytes());
    }
    for name in &component.after {
        match keys.get(name) {
            Some(Keyed::Key(key)) => add(key.as_bytes()),
            Some(Keyed::Disabled) => return Ok(Keyed::Disabled),
            Some(Keyed::Failed(_)) => return Ok(Keyed::Failed(format!("that of {} cannot", name.shown()))),
            _ => add(b""),
        }
    }
    Ok(Keyed::Key(hash.finalize().to_hex()[..16].to_owned()))
}

/// The one line a key command prints; else in words what it printed.
fn as_key(answer: &str) -> Result<String, String> {
    let key = answer.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if key.is_empty() || key.len() > LONGEST || !key.chars().all(is_plain) {
        let printed = key.chars().take(60).collect::<String>();
        return Err(format!("its command printed {}, which is no hash", printed.word()));
    }
    Ok(key.into())
}

/// Asks every key command that is needed, some at a time.
fn ask_all(components: &Components, root: &Path) -> Result<Answers, ComponentError> {
    let mut asked: BTreeMap<(bool, PathBuf, String), &Declared> = BTreeMap::new();
    for declared in &components.all {
        if let Some(command) = declared.component.key.as_ref().and_then(|k| k.command.as_ref()) {
            let at = (declared.is_users, declared.component.dir.clone(), command.clone());
            asked.entry(at).or_insert(declared);
        }
    }
    let asked: Vec<_> = asked.into_iter().collect();
    let answers = spawn::try_map(&asked, AT_ONCE, |(at, declared)| {
        Ok(ask(components, declared, root)?.map(|answer| (at.clone(), answer)))
    });
    answers.map(|answers: Vec<_>| answers.into_iter().flatten().collect())
}

/// The output of a component's key command, or why there is none; `None` if the component has no command. The messages
/// of the command go to the log.
///
/// # Errors
/// An interrupt.
fn ask(
    components: &Components,
    declared: &Declared,
    root: &Path,
) -> Result<Option<Result<String, String>>, ComponentError> {
    let component = &declared.component;
    let Some(key) = &component.key else { return Ok(None) };
    let Some(command) = &key.command else { return Ok(None) };
    let dir = root.join(&component.dir);
    if !crate::sys::path::is_dir(&dir) {
        return Ok(Some(Err(format!("there is no directory {}", component.dir.shown()))));
    }
    let set = environment(component.name.as_str(), root);
    let limit = Some(key.timeout.unwrap_or(PATIENCE));
    let shell = components.shell_of(declared);
    let run = Shell { shell, command, dir: &dir, set: &set, unset: &LOCAL_VARIABLES, limit };
    let mut messages = Vec::new();
    let answer = match shell::ask(&run, &mut messages) {
        Ok((Ended::Code(0), answer)) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Ok((Ended::Interrupted(signal), _)) => return Err(crate::git::command::GitError::Interrupted(signal).into()),
        Ok((ended, _)) => Err(format!("its command {} failed: {ended}", command.word())),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            Err(format!("its command {} printed more than 1 MiB", command.word()))
        }
        Err(e) => Err(format!("cannot start {}: {}", shell[0].word(), reason(&e))),
    };
    for line in String::from_utf8_lossy(&messages).lines() {
        tracing::info!(component = component.name, "key command: {}", line.shown());
    }
    Ok(Some(answer))
}

/// The variables that every command of a component gets in its environment.
pub fn environment(component: &str, root: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("DEPSFS_COMPONENT", component.into()),
        ("DEPSFS_WORKTREE", root.into()),
        // Inside a view git has to find the repository around it.
        ("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1".into()),
    ]
}
