//! Commands that come from a repository run only after the user has approved them: all of them together, by their hash.
//!
//! Below the user's state directory, `approved/<hash>` holds what was approved, for the eyes of people; that it is
//! there is what counts. The hash is of the repository's path and of every command with the directory it runs in:
//! another command, or the same in another clone, needs an approval of its own.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::declared::Foreign;
use super::{ComponentError, Components, config};
use crate::sys::path;
use crate::sys::terminal::DisplayName;

/// The commands of one repository that the user may approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The git directory that all worktrees of the repository share.
    repository: PathBuf,
    pub commands: Vec<Foreign>,
}

impl Approval {
    /// The commands to be approved before the components of a repository are used; `None` if it brings no command.
    pub fn of(components: &Components, repository: &Path) -> Option<Approval> {
        let commands = components.foreign_commands();
        (!commands.is_empty()).then(|| Approval { repository: repository.into(), commands })
    }

    /// Whether these very commands were approved. `states` is the user's state directory (absolute); another command,
    /// or another text of one, needs a new approval.
    pub fn is_given(&self, states: &Path) -> bool {
        path::is_there(&self.file(states))
    }

    /// Approves these commands, for all worktrees of the repository; on disk when it returns. Repeating is harmless.
    pub fn give(&self, states: &Path) -> Result<(), ComponentError> {
        path::make_private_dirs(&states.join("approved"))?;
        Ok(path::replace_synced(&self.file(states), self.words().as_bytes())?)
    }

    /// Takes it back; `false` when it was not given.
    pub fn withdraw(&self, states: &Path) -> Result<bool, ComponentError> {
        let was_given = self.is_given(states);
        path::remove_file(&self.file(states))?;
        Ok(was_given)
    }

    /// The error for who has not given it.
    pub fn missing(self) -> ComponentError {
        ComponentError::Unapproved { file: config::FILE.into(), commands: self.commands }
    }

    /// One line for each command, with the directory it runs in: complete, and without what would hide a part of it.
    pub fn words(&self) -> String {
        let lines = self.commands.iter().map(|command| format!("  {}\n", command.words()));
        format!("{}\n{}", self.repository.shown(), lines.collect::<String>())
    }

    fn file(&self, states: &Path) -> PathBuf {
        let mut hash = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(self.repository.as_os_str().as_bytes());
        for command in &self.commands {
            match command {
                Foreign::Command { dir, text } => {
                    add(dir.as_os_str().as_bytes());
                    add(text.as_bytes());
                }
                Foreign::Remote(words) => {
                    add(b"//");
                    add(words.as_bytes());
                }
                // No command runs in such a directory.
                Foreign::Shell(words) => {
                    add(b"/");
                    add(&(words.len() as u64).to_le_bytes());
                    words.iter().for_each(|word| add(word.as_bytes()));
                }
            }
        }
        states.join("approved").join(hash.finalize().to_hex().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_for_these_commands_in_this_repository() {
        let dir = tempfile::tempdir().unwrap();
        let states = dir.path().join("state");
        let approval = |repository: &str, command: &str, at: &str| Approval {
            repository: repository.into(),
            commands: vec![
                Foreign::Command { dir: "a".into(), text: "make".into() },
                Foreign::Command { dir: at.into(), text: command.into() },
            ],
        };
        let given = approval("/r", "make x", "b");
        assert!(!given.is_given(&states));
        given.give(&states).unwrap();
        assert!(given.is_given(&states));
        for other in [approval("/s", "make x", "b"), approval("/r", "make y", "b"), approval("/r", "make x", "c")] {
            assert!(!other.is_given(&states), "{other:?}");
        }
        let shell = |words: &[&str]| {
            let commands = vec![Foreign::Shell(words.iter().map(|w| (*w).into()).collect())];
            Approval { repository: "/r".into(), commands }
        };
        shell(&["sh", "-c"]).give(&states).unwrap();
        assert!(shell(&["sh", "-c"]).is_given(&states) && !shell(&["sh -c"]).is_given(&states));
        assert!(given.withdraw(&states).unwrap() && !given.withdraw(&states).unwrap());
        assert!(!given.is_given(&states));
    }
}
