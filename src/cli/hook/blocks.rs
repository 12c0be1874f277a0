//! Texts for coding agents: a part of AGENTS.md between two marks, and a skill, which is a file of its own.

const PART: &str = include_str!("../../../mount-helpers/agents.md");
const SKILL: &str = include_str!("../../../mount-helpers/skill.md");
/// The first lines of the skill, of every version: a skill of the user may have the same name.
const SKILL_HEAD: &str =
    "---\nname: depsfs\ndescription: Create, inspect, sync and remove git worktrees whose artifact directories ";
const BEGIN: &str = "<!-- depsfs: begin -->\n";
const END: &str = "<!-- depsfs: end -->\n";

/// AGENTS.md with the part of depsfs at its end.
pub fn add(text: &str) -> String {
    match text {
        "" => PART.to_owned(),
        text if text.ends_with('\n') => format!("{text}\n{PART}"),
        // The text had no line end, and has none again once the part is taken out.
        text => format!("{text}\n\n{}", PART.trim_end()),
    }
}

/// AGENTS.md without the part between the marks.
pub fn strip(text: &str) -> String {
    let Some(begin) = text.find(BEGIN) else { return text.to_owned() };
    let is_last = text[begin..].ends_with(END.trim_end());
    let Some(end) = text[begin..].find(END).map(|at| begin + at + END.len()).or(is_last.then_some(text.len())) else {
        return text.to_owned();
    };
    let gap = if is_last { "\n\n" } else { "\n" };
    [text[..begin].strip_suffix(gap).unwrap_or(&text[..begin]), &text[end..]].concat()
}

/// The skill.
///
/// # Errors
/// A skill of another name has its place.
pub fn add_skill(text: &str) -> Result<String, String> {
    match text.is_empty() || is_skill(text) {
        true => Ok(SKILL.to_owned()),
        false => Err("it is another skill".into()),
    }
}

/// The file without the skill of depsfs: empty, if it is that.
pub fn strip_skill(text: &str) -> String {
    if is_skill(text) { String::new() } else { text.to_owned() }
}

fn is_skill(text: &str) -> bool {
    text.starts_with(SKILL_HEAD)
}
