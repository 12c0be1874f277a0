//! The programs that make worktrees, or read instructions, and the file of each that depsfs adds to.

use std::path::Path;

use clap::ValueEnum;

use super::{blocks, claude, codex, conductor, cursor};
use crate::cli::report::Failure;
use crate::sys::terminal::shell_word;

/// A program that makes worktrees, or a text for coding agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookCaller {
    /// `git worktree add`: the hook post-checkout
    Git,
    /// Claude Code: hooks in .claude/settings.local.json (with --user, ~/.claude/settings.json)
    Claude,
    /// Codex: .codex/environments/environment.toml
    Codex,
    /// Conductor: conductor.json
    Conductor,
    /// Cursor: .cursor/worktrees.json
    Cursor,
    /// A part of AGENTS.md that tells coding agents how to use depsfs
    Agents,
    /// The same as a skill: .claude/skills/depsfs/SKILL.md
    Skill,
}

/// All of them, in the order in which they are listed.
pub const ALL: [HookCaller; 7] = [
    HookCaller::Git,
    HookCaller::Claude,
    HookCaller::Codex,
    HookCaller::Conductor,
    HookCaller::Cursor,
    HookCaller::Agents,
    HookCaller::Skill,
];

impl HookCaller {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            HookCaller::Git => "git",
            HookCaller::Claude => "claude",
            HookCaller::Codex => "codex",
            HookCaller::Conductor => "conductor",
            HookCaller::Cursor => "cursor",
            HookCaller::Agents => "agents",
            HookCaller::Skill => "skill",
        }
    }

    /// Its file below the top of the main checkout; git's hook is elsewhere.
    pub fn file(self) -> &'static str {
        match self {
            HookCaller::Git => "",
            HookCaller::Claude => ".claude/settings.local.json",
            HookCaller::Codex => ".codex/environments/environment.toml",
            HookCaller::Conductor => "conductor.json",
            HookCaller::Cursor => ".cursor/worktrees.json",
            HookCaller::Agents => "AGENTS.md",
            HookCaller::Skill => ".claude/skills/depsfs/SKILL.md",
        }
    }

    /// Whether the file is for one user alone: it names the path of this program.
    pub fn is_personal(self) -> bool {
        self == HookCaller::Claude
    }

    /// Whether the program is seen to be used in this repository.
    pub fn is_used_in(self, top: &Path) -> bool {
        let sign = match self {
            HookCaller::Claude => ".claude",
            HookCaller::Codex => ".codex",
            HookCaller::Conductor => "conductor.json",
            HookCaller::Cursor => ".cursor",
            HookCaller::Git | HookCaller::Agents | HookCaller::Skill => return false,
        };
        crate::sys::path::is_there(&top.join(sign))
    }

    /// The text with the part of depsfs in it.
    ///
    /// # Errors
    /// The text is not of the form that the program reads, or has a part that takes the same place.
    pub fn add(self, text: &str, program: &str) -> Result<String, String> {
        match self {
            HookCaller::Git => Ok(text.to_owned()),
            HookCaller::Claude => claude::add(text, program),
            HookCaller::Codex => codex::add(text),
            HookCaller::Conductor => conductor::add(text),
            HookCaller::Cursor => cursor::add(text),
            HookCaller::Agents => Ok(blocks::add(text)),
            HookCaller::Skill => blocks::add_skill(text),
        }
    }

    /// The text without the part of depsfs.
    pub fn strip(self, text: &str) -> String {
        match self {
            HookCaller::Git => text.to_owned(),
            HookCaller::Claude => claude::strip(text),
            HookCaller::Codex => codex::strip(text),
            HookCaller::Conductor => conductor::strip(text),
            HookCaller::Cursor => cursor::strip(text),
            HookCaller::Agents => blocks::strip(text),
            HookCaller::Skill => blocks::strip_skill(text),
        }
    }

    /// Whether a text says as good as nothing: no file has to be kept for it.
    pub fn is_blank(self, text: &str) -> bool {
        let text = text.trim();
        text.is_empty() || text == "{}" || (self == HookCaller::Codex && codex::is_blank(text))
    }

    /// The text of a file that has the part of depsfs alone.
    ///
    /// # Errors
    /// As of [`HookCaller::add`].
    pub fn whole(self, program: &str) -> Result<String, String> {
        self.add("", program)
    }
}

/// The path by which shells find this program, as a word of a shell: the name in PATH, which outlives an upgrade, before
/// the file that it leads to.
///
/// # Errors
/// The path of this program is not known.
pub fn program() -> Result<String, Failure> {
    let own = std::env::current_exe().map_err(Failure::os("find the path of this program"))?;
    let real = |path: &Path| crate::sys::path::canonical(path).ok();
    let named = crate::sys::proc::find_program("depsfs", &[]).filter(|found| real(found) == real(&own));
    Ok(shell_word(&named.unwrap_or(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_removed_again_leaves_the_text_as_it_was_and_twice_is_as_once() {
        let texts = [
            (HookCaller::Claude, "{\n  \"permissions\": {\n    \"allow\": [\"Bash(ls:*)\"]\n  }\n}\n"),
            (HookCaller::Claude, "{\"hooks\": {\"Stop\": [{\"hooks\": []}]}, \"model\": \"é\\u00e9\"}"),
            (HookCaller::Claude, "{\n\t\"hooks\": {\n\t\t\"Stop\": []\n\t}\n}"),
            (
                HookCaller::Conductor,
                "{\n  \"scripts\": {\n    \"setup\": \"npm ci\\n./x \\\"y\\\"\",\n    \"run\": \"npm start\"\n  }\n}\n",
            ),
            (HookCaller::Conductor, "{\"runScriptMode\": \"concurrent\"}\n"),
            (HookCaller::Cursor, "{\n  \"setup-worktree\": [\n    \"npm ci\"\n  ]\n}\n"),
            (
                HookCaller::Cursor,
                "{\"setup-worktree-unix\": [\"npm ci\", \"x\"], \"setup-worktree-windows\": \"s.ps1\"}",
            ),
            (
                HookCaller::Codex,
                "version = 1\nname = \"x\" # mine\n\n[setup]\nscript = '''\nnpm ci\n'''\n\n[[actions]]\nname = \"a\"\n",
            ),
            (HookCaller::Codex, "version = 1\nname = \"x\"\n"),
            (HookCaller::Agents, "# Mine\n\nText without an end"),
            (HookCaller::Agents, "# Mine\n"),
        ];
        for (caller, text) in texts {
            let added = caller.add(text, "/usr/bin/depsfs").unwrap();
            assert_ne!(added, text, "{caller:?}");
            assert_eq!(caller.strip(&added), text, "{caller:?}: {added}");
            assert_eq!(caller.strip(text), text, "{caller:?}");
        }
        for caller in ALL.into_iter().filter(|caller| *caller != HookCaller::Git) {
            let whole = caller.whole("depsfs").unwrap();
            assert!(caller.is_blank(&caller.strip(&whole)), "{caller:?}: {}", caller.strip(&whole));
        }
    }

    #[test]
    fn the_samples_are_the_texts_that_are_installed() {
        let samples = [
            (HookCaller::Claude, include_str!("../../../mount-helpers/claude-settings.json")),
            (HookCaller::Codex, include_str!("../../../mount-helpers/codex-environment.toml")),
            (HookCaller::Conductor, include_str!("../../../mount-helpers/conductor.json")),
            (HookCaller::Cursor, include_str!("../../../mount-helpers/cursor-worktrees.json")),
            (HookCaller::Agents, include_str!("../../../mount-helpers/agents.md")),
            (HookCaller::Skill, include_str!("../../../mount-helpers/skill.md")),
        ];
        for (caller, sample) in samples {
            assert_eq!(caller.whole("depsfs").unwrap(), sample, "{caller:?}");
        }
    }

    #[test]
    fn a_text_of_another_form_or_with_another_hook_is_refused() {
        let refused = [
            (HookCaller::Claude, "[]"),
            (HookCaller::Claude, "{,}"),
            (HookCaller::Claude, "{\"hooks\": []}"),
            (HookCaller::Claude, "{\"hooks\": {\"WorktreeCreate\": [{\"hooks\": [{\"command\": \"mine\"}]}]}}"),
            (HookCaller::Conductor, "{\"scripts\": {\"setup\": 1}}"),
            (HookCaller::Cursor, "{\"setup-worktree-unix\": \"setup.sh\"}"),
            (HookCaller::Codex, "setup = 1\n"),
            (HookCaller::Codex, "[setup\n"),
            (HookCaller::Skill, "---\nname: other\n---\n"),
            (HookCaller::Skill, "---\nname: depsfs\ndescription: mine\n---\n"),
        ];
        for (caller, text) in refused {
            assert!(caller.add(text, "depsfs").is_err(), "{caller:?}: {text}");
        }
    }

    #[test]
    fn a_command_of_the_user_that_runs_depsfs_or_has_a_name_alike_stays() {
        let claude = |command: &str| {
            format!("{{\"hooks\": {{\"WorktreeCreate\": [{{\"hooks\": [{{\"command\": \"{command}\"}}]}}]}}}}")
        };
        for command in ["~/bin/my-claude-worktree.sh", "~/bin/claude-worktree", "depsfs hook run claude && notify"] {
            let text = claude(command);
            assert_eq!(claude::strip(&text), text);
            assert!(claude::add(&text, "depsfs").is_err(), "two would make two worktrees");
        }
        assert_eq!(claude::strip(&claude("/usr/bin/depsfs hook run claude --discard")), "{}");
        for (caller, text) in [
            (
                HookCaller::Conductor,
                "{\"scripts\": {\"setup\": \"~/my-conductor-worktree setup\\ndepsfs hook run conductor setup && x\"}}",
            ),
            (HookCaller::Cursor, "{\"setup-worktree\": [\"depsfs hook run cursor setup && npm ci\"]}"),
            (
                HookCaller::Codex,
                "[setup]\nscript = '''\n~/my-codex-worktree setup\ndepsfs hook run codex setup && npm ci\n'''\n",
            ),
            (HookCaller::Skill, "---\nname: depsfs\ndescription: mine\n---\n"),
        ] {
            assert_eq!(caller.strip(text), text, "{caller:?}");
            let added = caller.add(text, "depsfs");
            assert_eq!(added.map_or(text.to_owned(), |added| caller.strip(&added)), text, "{caller:?}");
        }
    }

    #[test]
    fn scripts_that_were_copied_by_hand_are_replaced() {
        let old = "{\"hooks\": {\"WorktreeCreate\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"~/.local/share/depsfs/claude-worktree\"}]}]}}";
        assert_eq!(claude::strip(old), "{}");
        let old = "{\"scripts\": {\"setup\": \"~/.local/share/depsfs/conductor-worktree setup\", \"run\": \"x\"}}";
        assert_eq!(conductor::strip(old), "{\"scripts\": {\"run\": \"x\"}}");
    }
}
