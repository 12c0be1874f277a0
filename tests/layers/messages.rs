//! Every error text and every hint of the program can be searched in the topic `troubleshooting`.

use super::{none, sources};

const TOPIC: &str = include_str!("../../src/cli/topics/troubleshooting.md");

#[test]
fn every_error_and_every_hint_is_in_the_topic_of_error_messages() {
    let topic = words(TOPIC);
    let (mut seen, mut wrong) = (0, Vec::new());
    for source in sources() {
        let mut texts = texts(&source.code, &source.name);
        texts.sort();
        texts.dedup();
        // Text of which nothing is fixed cannot be searched.
        texts.retain(|text| text.chars().filter(char::is_ascii_alphabetic).count() > 5);
        seen += texts.len();
        wrong
            .extend(texts.iter().filter(|text| !topic.contains(&words(text))).map(|t| format!("{}: {t}", source.name)));
    }
    assert!(seen > 200, "only {seen} texts were read from the sources");
    none(wrong);
}

#[test]
fn the_reader_of_messages_sees_each_form() {
    let code = "#[error(\"no {0:?} in {}: {{x}}\", a)]\n#[error(\n    \"one \\\n     two\",\n    x\n)]\n#[error(transparent)]\n\
                Failure::Usage(\"why\", \"help\")\nhint: \"do it\",\nhint: &'static str,\nconst HINT: &str =\n    \"read it\";\n";
    assert_eq!(texts(code, "x.rs"), ["no … in …: {x}", "one two", "why", "help", "do it", "read it"]);
    assert_eq!(texts("fn judge() { (FAILED, \"a \\\"b\\\"\".into()) }", "cli/remedies.rs"), ["a \"b\""]);
}

/// Error texts, and the hints where they are made: what stands after the words that introduce one.
fn texts(code: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (introduction, count) in [("#[error(", 1), ("Failure::Usage(", 2), ("hint: \"", 1), ("let hint = \"", 1)] {
        for (at, _) in code.match_indices(introduction) {
            let begin = at + introduction.trim_end_matches('"').len();
            found.extend(literals(&code[begin..], count));
        }
    }
    for (at, _) in code.match_indices("HINT: &str =") {
        found.extend(literals(&code[at + "HINT: &str =".len()..], 1));
    }
    let judged = match name {
        "cli/remedies.rs" => code.find("fn judge("),
        "cli/hints.rs" => Some(0),
        _ => None,
    };
    if let Some(begin) = judged {
        let all = literals(&code[begin..], usize::MAX);
        found.extend(all.into_iter().filter(|text| text.contains(' ') || begin > 0 && text.contains('"')));
    }
    found
}

/// The first string literals of a piece of code, when it begins with one; all of them for `usize::MAX`.
fn literals(code: &str, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while found.len() < count {
        let Some(quote) = rest.find('"') else { break };
        if count < usize::MAX && !rest[..quote].chars().all(|c| c.is_whitespace() || c == ',') {
            break;
        }
        let (text, length) = literal(&rest[quote + 1..]);
        found.push(text);
        rest = &rest[quote + 1 + length..];
    }
    found
}

/// The text of a literal with `…` for each placeholder, and its length in the code with the closing quotation mark.
fn literal(code: &str) -> (String, usize) {
    let (mut text, mut chars) = (String::new(), code.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match (c, next) {
            ('"', _) => return (text, at + 1),
            ('\\', Some('\n')) => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
            ('\\', Some(escaped)) => {
                text.push(escaped);
                chars.next();
            }
            ('{', Some('{')) | ('}', Some('}')) => {
                text.push(c);
                chars.next();
            }
            ('{', _) => {
                text.push('…');
                chars.by_ref().find(|(_, c)| *c == '}');
            }
            _ => text.push(c),
        }
    }
    (text, code.len())
}

/// As it is searched: without the marks of Markdown.
fn words(text: &str) -> String {
    text.replace('`', "")
}
