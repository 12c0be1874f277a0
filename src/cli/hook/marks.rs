//! The commands of depsfs in configuration files. Any other command is the user's, even if it runs depsfs among others.

/// The directories of the scripts that were copied by hand before `depsfs hook install`.
const SCRIPT_DIRS: [&str; 2] = ["/depsfs/", "/mount-helpers/"];
/// Both ends of the text before `hook run` in a file that a commit has: without depsfs, such a command does nothing.
const IF_INSTALLED: (&str, &str) = ("PATH=", "command -v depsfs >/dev/null || depsfs");

/// Whether a command is `PROGRAM hook run CALL`, or the script that was copied by hand, and nothing else. `call` is the
/// name of a caller, and its step, if it has steps.
pub fn is_command(command: &str, call: &str) -> bool {
    let command = command.trim();
    if let Some(program) = command.strip_suffix(&format!(" hook run {call}")) {
        return is_word(program) || (program.starts_with(IF_INSTALLED.0) && program.ends_with(IF_INSTALLED.1));
    }
    let (caller, step) = call.split_at(call.find(' ').unwrap_or(call.len()));
    let dir = command.strip_suffix(&format!("{caller}-worktree{step}"));
    dir.is_some_and(|dir| is_word(dir) && SCRIPT_DIRS.iter().any(|end| dir.ends_with(end)))
}

/// Whether a text is one word of a shell: quoted as a whole, or without a byte that ends a word.
fn is_word(text: &str) -> bool {
    let inner = |open: &str, close: &str| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(inner) = inner("$'", "'") {
        return !inner.replace(r"\\", "").replace(r"\'", "").contains('\'');
    }
    if let Some(inner) = inner("'", "'") {
        return !inner.replace(r"'\''", "").contains('\'');
    }
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "'\"`;&|<>()#".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_depsfs_is_that_command_alone() {
        let sample = r#"PATH="$PATH:$HOME/.local/bin"; ! command -v depsfs >/dev/null || depsfs hook run codex setup"#;
        for own in [
            "depsfs hook run codex setup",
            "  ~/.cargo/bin/depsfs hook run codex setup\n",
            r"'/a b/it'\''s/depsfs' hook run codex setup",
            r"$'/a\377\'/depsfs' hook run codex setup",
            "~/.local/share/depsfs/codex-worktree setup",
            "$HOME/src/depsfs/mount-helpers/codex-worktree setup",
            sample,
        ] {
            assert!(is_command(own, "codex setup"), "{own}");
        }
        for other in [
            "depsfs hook run codex cleanup",
            "depsfs hook run codex setup && npm ci",
            "npm ci; depsfs hook run codex setup",
            "echo 'a'; 'depsfs' hook run codex setup",
            "'a'; 'depsfs' hook run codex setup",
            "# depsfs hook run codex setup",
            " hook run codex setup",
            "~/bin/my-codex-worktree setup",
            "~/bin/codex-worktree setup",
            "npm ci && ~/.local/share/depsfs/codex-worktree setup",
            &format!("{sample}; npm ci"),
        ] {
            assert!(!is_command(other, "codex setup"), "{other}");
        }
    }
}
