//! Claude Code's settings: the hooks WorktreeCreate and WorktreeRemove.

use serde_json::{Value, json};

use super::json_text::{self, Span};
use super::marks;

/// The hooks, each with the seconds that it may take.
const EVENTS: [(&str, u32); 2] = [("WorktreeCreate", 600), ("WorktreeRemove", 120)];
/// An option that the user may give to the command of depsfs.
const OPTION: &str = " --discard";

/// The settings with the hooks of depsfs.
///
/// # Errors
/// They are no JSON object, or another command makes the worktrees.
pub fn add(text: &str, program: &str) -> Result<String, String> {
    let mut text = if text.trim().is_empty() { "{}\n".to_owned() } else { text.to_owned() };
    for (event, seconds) in EVENTS {
        let whole = json_text::object(&text, &[])?;
        let command = format!("{program} hook run claude");
        let hook = json!({"hooks": [{"type": "command", "command": command, "timeout": seconds}]});
        text = match json_text::at(&text, &["hooks"]) {
            None => json_text::append(&text, &whole, Some("hooks"), &json!({event: [hook]})),
            Some(_) => {
                let hooks = json_text::object(&text, &["hooks"])?;
                match json_text::at(&text, &["hooks", event]) {
                    None => json_text::append(&text, &hooks, Some(event), &json!([hook])),
                    Some(list) if event == EVENTS[0].0 && !json_text::children(&text, &list).is_empty() => {
                        return Err(format!("it has a hook {event} already, and two would make two worktrees"));
                    }
                    Some(list) if text[list.clone()].starts_with('[') => json_text::append(&text, &list, None, &hook),
                    Some(_) => return Err(format!("hooks.{event} is no array")),
                }
            }
        };
    }
    Ok(text)
}

/// The settings without the hooks of depsfs.
pub fn strip(text: &str) -> String {
    let mut text = text.to_owned();
    for (event, _) in EVENTS.iter().rev() {
        while let Some(shorter) = without_one(&text, event) {
            text = shorter;
        }
    }
    text
}

fn without_one(text: &str, event: &str) -> Option<String> {
    let list = json_text::at(text, &["hooks", event])?;
    let groups = json_text::children(text, &list);
    let is_ours = |span: &Span| {
        let group: Value = serde_json::from_str(&text[span.clone()]).unwrap_or_default();
        let commands = group["hooks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_ours = |hook: &Value| {
            let command = hook["command"].as_str().unwrap_or_default();
            marks::is_command(command.strip_suffix(OPTION).unwrap_or(command), "claude")
        };
        !commands.is_empty() && commands.iter().all(is_ours)
    };
    let index = groups.iter().position(|(_, span)| is_ours(span))?;
    if groups.len() > 1 {
        return Some(json_text::remove(text, &list, index));
    }
    Some(json_text::remove_with_empty(text, &["hooks", event]))
}
