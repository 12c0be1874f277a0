//! Conductor's `conductor.json`: the scripts setup and archive, as lines before those of the repository.

use serde_json::{Value, json};

use super::{json_text, marks};

const SAMPLE: &str = include_str!("../../../mount-helpers/conductor.json");
const SCRIPTS: [&str; 2] = ["setup", "archive"];

/// The configuration with the lines of depsfs.
///
/// # Errors
/// It is no JSON object with scripts.
pub fn add(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(SAMPLE.to_owned());
    }
    let sample: Value = serde_json::from_str(SAMPLE).map_err(|e| e.to_string())?;
    let mut text = text.to_owned();
    for script in SCRIPTS {
        let line = sample["scripts"][script].as_str().unwrap_or_default();
        let whole = json_text::object(&text, &[])?;
        text = if json_text::at(&text, &["scripts"]).is_none() {
            json_text::append(&text, &whole, Some("scripts"), &json!({script: line}))
        } else {
            let scripts = json_text::object(&text, &["scripts"])?;
            match json_text::at(&text, &["scripts", script]) {
                None => json_text::append(&text, &scripts, Some(script), &json!(line)),
                Some(value) if text[value.clone()].starts_with('"') => {
                    let first = value.start + 1;
                    format!("{}{}\\n{}", &text[..first], json_text::escaped(line), &text[first..])
                }
                Some(_) => return Err(format!("scripts.{script} is no text")),
            }
        };
    }
    Ok(text)
}

/// The configuration without the lines of depsfs.
pub fn strip(text: &str) -> String {
    let mut text = text.to_owned();
    for script in SCRIPTS.into_iter().rev() {
        let Some(span) = json_text::at(&text, &["scripts", script]) else { continue };
        let value: Value = serde_json::from_str(&text[span.clone()]).unwrap_or_default();
        let Some(lines) = value.as_str() else { continue };
        let call = format!("conductor {script}");
        let Some(line) = lines.lines().find(|line| marks::is_command(line, &call)) else { continue };
        if lines.trim_end() == line {
            text = json_text::remove_with_empty(&text, &["scripts", script]);
            continue;
        }
        let ours = json_text::escaped(line);
        let raw = &text[span.clone()];
        let rest = [format!("{ours}\\n"), format!("\\n{ours}")]
            .iter()
            .find_map(|part| raw.contains(part.as_str()).then(|| raw.replacen(part.as_str(), "", 1)));
        let Some(rest) = rest else { continue };
        text = format!("{}{rest}{}", &text[..span.start], &text[span.end..]);
    }
    text
}
