//! Cursor's `.cursor/worktrees.json`: the first command of a new worktree.

use serde_json::{Value, json};

use super::{json_text, marks};

const SAMPLE: &str = include_str!("../../../mount-helpers/cursor-worktrees.json");
/// The lists of commands, the one that Cursor prefers first.
const LISTS: [&str; 2] = ["setup-worktree-unix", "setup-worktree"];

/// The configuration with the command of depsfs before all others.
///
/// # Errors
/// It is no JSON object, or names a script instead of commands.
pub fn add(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(SAMPLE.to_owned());
    }
    let sample: Value = serde_json::from_str(SAMPLE).map_err(|e| e.to_string())?;
    let command = &sample[LISTS[0]][0];
    let whole = json_text::object(text, &[])?;
    let Some((key, list)) = LISTS.iter().find_map(|key| Some((key, json_text::at(text, &[key])?))) else {
        return Ok(json_text::append(text, &whole, Some(LISTS[0]), &json!([command])));
    };
    match text[list.clone()].starts_with('[') {
        true => Ok(json_text::prepend(text, &list, command)),
        false => {
            Err(format!("{key} names a script; in that, a line can be added: {}", command.as_str().unwrap_or_default()))
        }
    }
}

/// The configuration without the command of depsfs.
pub fn strip(text: &str) -> String {
    let mut text = text.to_owned();
    for key in LISTS {
        let Some(list) = json_text::at(&text, &[key]) else { continue };
        let all = json_text::children(&text, &list);
        let is_ours = |(_, span): &(Option<String>, json_text::Span)| {
            let command: Value = serde_json::from_str(&text[span.clone()]).unwrap_or_default();
            command.as_str().is_some_and(|command| marks::is_command(command, "cursor setup"))
        };
        let Some(index) = all.iter().position(is_ours) else { continue };
        text = match all.len() {
            1 => json_text::remove_with_empty(&text, &[key]),
            _ => json_text::remove(&text, &list, index),
        };
    }
    text
}
