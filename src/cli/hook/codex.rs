//! Codex's environment file: the scripts setup and cleanup, as lines before those of the repository.

use toml::de::{DeTable, DeValue};

use super::marks;

const SAMPLE: &str = include_str!("../../../mount-helpers/codex-environment.toml");
const SCRIPTS: [&str; 2] = ["setup", "cleanup"];

/// The environment with the lines of depsfs.
///
/// # Errors
/// It is not TOML of this form.
pub fn add(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(SAMPLE.to_owned());
    }
    let mut text = text.to_owned();
    for script in SCRIPTS {
        let line = sample_line(script);
        let whole = DeTable::parse(&text).map_err(|e| format!("it is not TOML: {}", e.message()))?;
        let Some(table) = whole.get_ref().get(script) else {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            text = format!("{text}{end}{}", section(script, line));
            continue;
        };
        let value = table.get_ref().as_table().and_then(|table| table.get("script"));
        let Some(value) = value.filter(|value| matches!(value.get_ref(), DeValue::String(_))) else {
            return Err(format!("{script} has no text `script`"));
        };
        let span = value.span();
        let (raw, content) = (&text[span.clone()], value.get_ref().as_str().unwrap_or_default());
        let new = match ["'''\n", "\"\"\"\n"].into_iter().find_map(|open| Some((open, raw.strip_prefix(open)?))) {
            Some((open @ "'''\n", rest)) => format!("{open}{line}\n{rest}"),
            Some((open, rest)) => format!("{open}{}\n{rest}", line.replace('"', "\\\"")),
            None if !content.contains("'''") => format!("'''\n{line}\n{content}\n'''"),
            None => return Err(format!("{script}.script can't be written as one text of several lines")),
        };
        text = format!("{}{new}{}", &text[..span.start], &text[span.end..]);
    }
    Ok(text)
}

/// The environment without the lines of depsfs.
pub fn strip(text: &str) -> String {
    let mut text = text.to_owned();
    for script in SCRIPTS.into_iter().rev() {
        for line in [sample_line(script).to_owned(), sample_line(script).replace('"', "\\\"")] {
            text = text.replacen(&section(script, &line), "", 1);
        }
    }
    let is_ours = |line: &str| {
        let line = line.replace("\\\"", "\"");
        SCRIPTS.iter().any(|script| marks::is_command(&line, &format!("codex {script}")))
    };
    text.split_inclusive('\n').filter(|line| !is_ours(line)).collect()
}

/// Whether nothing but an empty environment is left.
pub fn is_blank(text: &str) -> bool {
    let left = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let left: Vec<&str> = left.collect();
    left == ["version = 1", "name = \"depsfs\""]
        || left
            == [
                "version = 1",
                "name = \"depsfs\"",
                "[setup]",
                "script = '''",
                "'''",
                "[cleanup]",
                "script = '''",
                "'''",
            ]
}

fn sample_line(script: &str) -> &'static str {
    let end = format!("codex {script}");
    SAMPLE.lines().find(|line| line.ends_with(&end)).unwrap_or_default()
}

fn section(script: &str, line: &str) -> String {
    format!("\n[{script}]\nscript = '''\n{line}\n'''\n")
}
