//! The rules of prose that a machine can hold: sentences name their subject, a type name exists once, and items that
//! other files use have a comment.
//!
//! `tests/language/allowed.txt` lists what still breaks a rule. The list may only shrink: a count that rises fails, and so
//! does one that fell while the list still has the old one. `DEPSFS_LANGUAGE=shrink cargo test --test language` writes the
//! lower counts into the list; it raises none.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A sentence that begins with one of these has a relative clause for a subject, unless it is a question.
const CLAUSES: [&str; 7] = ["what", "whatever", "who", "whoever", "whose", "where", "wherever"];

/// By rule and thing: how often the rule is broken, and where.
type Broken = BTreeMap<String, Vec<String>>;

#[test]
fn no_sentence_has_a_relative_clause_for_a_subject_and_no_type_name_exists_twice_but_for_the_list_that_only_shrinks() {
    let mut broken = Broken::new();
    let sources = files(&root().join("src"), "rs");
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    let tests = files(&root().join("tests"), "rs");
    // This file has examples of both.
    for (name, text) in sources.iter().chain(&tests).filter(|(name, _)| name != "tests/language.rs") {
        for (kind, line, sentence) in sentences(text) {
            if has_clause(&sentence, kind) {
                let at = format!("{name}:{line}: {}", sentence.chars().take(80).collect::<String>());
                broken.entry(format!("clause {kind}")).or_default().push(at);
            }
        }
    }
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in &sources {
        for (line, declared) in types_of(before_tests(name, text)) {
            types.entry(declared).or_default().push(format!("{name}:{line}"));
        }
    }
    for (name, text) in &sources {
        for (rule, line, item) in undocumented(before_tests(name, text)) {
            broken.entry(rule.to_owned()).or_default().push(format!("{name}:{line}: {item}"));
        }
    }
    assert!(types.len() > 100, "only {} types were found", types.len());
    broken.extend(types.into_iter().filter(|(_, at)| at.len() > 1).map(|(name, at)| (format!("type {name}"), at)));
    compare(&broken);
}

#[test]
fn the_reader_of_sentences_finds_those_of_comments_and_messages_and_no_others() {
    let text = "//! What is here. It is short.\n/// Where it\n/// is: there. Whoever reads it\n/// asks. Who asks?\n\
                let a = \"what was made, whole\"; // A comment. What else\nlet b = ('\"', \"where\", r#\"who \"has\" it\"#);\n\
                // Whether it is so.\nlet c = \"it is\\n what\";\n";
    let found: Vec<_> = sentences(text).into_iter().filter(|(kind, _, s)| has_clause(s, kind)).collect();
    let found: Vec<_> = found.iter().map(|(kind, line, s)| (*kind, *line, s.as_str())).collect();
    let expected = [
        ("comment", 1, "What is here."),
        ("comment", 2, "Where it is: there."),
        ("comment", 2, "Whoever reads it asks."),
        ("message", 5, "what was made, whole"),
        ("comment", 5, "What else"),
        ("message", 6, "who \"has\" it"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_reader_of_items_finds_those_without_a_comment() {
    let text = "/// It is.\n#[derive(Debug)]\npub struct A;\npub struct B;\n    /// # Errors\n    pub fn a() -> io::Result<()> {\n\
                /// It may fail.\npub(super) fn b(\n    c: u8,\n) -> Result<u8> {\n\npub(crate) fn d() -> u8 {\npub use x;\n\
                /// It is.\n#[help(a = \"b\n  c\")]\npub struct E;\n#[help(\n  c)]\npub struct F;\n        $(#[$doc])*\npub struct $g;\n";
    let found: Vec<_> = undocumented(text).into_iter().map(|(rule, line, _)| (rule, line)).collect();
    let expected = [("undocumented item", 4), ("undocumented item", 12), ("undocumented item", 20)];
    assert_eq!(found, expected);
}

#[test]
fn the_readme_is_short_and_the_changelog_has_the_version() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines; 150 are the most");
    let heading = format!("\n## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&heading), "CHANGELOG.md has no part{heading}");
    assert!(read("CHANGELOG.md").contains("\n## [Unreleased]"), "CHANGELOG.md has no part for what comes next");
}

/// Fails unless `broken` is just what the list allows.
fn compare(broken: &Broken) {
    let list = root().join("tests/language/allowed.txt");
    let text = fs::read_to_string(&list).unwrap();
    let allowed: BTreeMap<String, usize> = text.lines().filter(|l| !l.starts_with('#')).map(row).collect();
    let count = |thing: &String| broken.get(thing).map_or(0, Vec::len);
    let shrunk: Vec<_> =
        allowed.iter().map(|(thing, n)| (thing, *n, count(thing))).filter(|(_, n, is)| is < n).collect();
    if std::env::var_os("DEPSFS_LANGUAGE").is_some_and(|how| how == "shrink") {
        let rows = allowed.iter().map(|(thing, n)| (thing, count(thing).min(*n))).filter(|(_, n)| *n > 0);
        let comment: String = text.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let rows: String = rows.map(|(thing, n)| format!("{n} {thing}\n")).collect();
        fs::write(&list, comment + &rows).unwrap();
    } else {
        let told = shrunk.iter().map(|(thing, n, is)| format!("{thing}: {is}, and the list still allows {n}"));
        assert!(
            shrunk.is_empty(),
            "{}\nDEPSFS_LANGUAGE=shrink cargo test --test language shortens it",
            told.collect::<Vec<_>>().join("\n")
        );
    }
    let rose = broken.iter().filter(|(thing, at)| at.len() > allowed.get(*thing).copied().unwrap_or(0));
    let rose: Vec<_> = rose
        .map(|(thing, at)| {
            let n = allowed.get(thing).copied().unwrap_or(0);
            format!("{thing}: {}, and {n} are allowed:\n  {}", at.len(), at.join("\n  "))
        })
        .collect();
    assert!(rose.is_empty(), "{}", rose.join("\n"));
}

/// A row of the list: how often, and the rule and thing.
fn row(line: &str) -> (String, usize) {
    let (n, thing) = line.split_once(' ').unwrap_or_else(|| panic!("not understood: {line}"));
    (thing.to_owned(), n.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

fn has_clause(sentence: &str, kind: &str) -> bool {
    let mut words = sentence.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_clause = match kind {
        // A message begins with a small letter; what has fewer words is none.
        "message" => CLAUSES.contains(&first) && words.count() > 1,
        _ => first.starts_with(char::is_uppercase) && CLAUSES.contains(&first.to_lowercase().as_str()),
    };
    is_clause && !sentence.ends_with('?')
}

/// The sentences of the comments, and the string literals, each with its kind and line.
fn sentences(text: &str) -> Vec<(&'static str, usize, String)> {
    let mut found = Vec::new();
    let mut paragraph: Option<(usize, String)> = None;
    let mut marker_before = String::new();
    for (line, code, marker, comment) in pieces(text) {
        let goes_on =
            code.trim().is_empty() && marker == marker_before && comment.as_ref().is_some_and(|c| !c.trim().is_empty());
        marker_before = marker;
        if !goes_on && let Some((line, text)) = paragraph.take() {
            found.extend(split(&text).map(|s| ("comment", line, s)));
        }
        found.extend(strings(&code).into_iter().map(|s| ("message", line, s)));
        let Some(comment) = comment.filter(|c| !c.trim().is_empty()) else { continue };
        let (_, whole) = paragraph.get_or_insert((line, String::new()));
        whole.push_str(comment.trim());
        whole.push(' ');
    }
    found.extend(
        paragraph
            .into_iter()
            .flat_map(|(line, text)| split(&text).map(move |s| ("comment", line, s)).collect::<Vec<_>>()),
    );
    found
}

/// Ends of sentences are a full stop, or a question mark, and a space.
fn split(text: &str) -> impl Iterator<Item = String> + use<> {
    let mut all = vec![String::new()];
    for word in text.split_whitespace() {
        let last = all.last_mut().expect("one at least");
        last.push_str(if last.is_empty() { "" } else { " " });
        last.push_str(word);
        if word.ends_with(['.', '?', '|']) {
            all.push(String::new());
        }
    }
    all.into_iter().filter(|s| !s.is_empty())
}

/// Each line: its code, and the marker and the text of the comment at its end.
fn pieces(text: &str) -> Vec<(usize, String, String, Option<String>)> {
    let comment_at = |line: &str| {
        let mut outside = true;
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if !outside => at += 1,
                b'\'' if outside && bytes.get(at + 1) == Some(&b'"') => at += 2,
                b'"' => outside = !outside,
                b'/' if outside && bytes.get(at + 1) == Some(&b'/') => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    };
    let piece = |(n, line): (usize, &str)| match comment_at(line) {
        None => (n + 1, line.to_owned(), String::new(), None),
        Some(at) => {
            let comment = line[at..].trim_start_matches('/').trim_start_matches('!');
            let marker = line[at..line.len() - comment.len()].to_owned();
            (n + 1, line[..at].to_owned(), marker, Some(comment.to_owned()))
        }
    };
    text.lines().enumerate().map(piece).collect()
}

/// The string literals that begin and end on a line.
fn strings(code: &str) -> Vec<String> {
    let (mut found, bytes, mut at) = (Vec::new(), code.as_bytes(), 0);
    while at < bytes.len() {
        if bytes[at] == b'\'' && bytes.get(at + 1) == Some(&b'"') {
            at += 3;
            continue;
        }
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let hashes = bytes[..at].iter().rev().take_while(|b| **b == b'#').count();
        let is_raw =
            hashes > 0 || (at > 0 && bytes[at - 1] == b'r' && (at < 2 || !bytes[at - 2].is_ascii_alphanumeric()));
        let begin = at + 1;
        at = begin;
        let end = format!("\"{}", "#".repeat(hashes));
        while at < bytes.len() && !code.as_bytes()[at..].starts_with(end.as_bytes()) {
            at += if bytes[at] == b'\\' && !is_raw { 2 } else { 1 };
        }
        found.extend(code.get(begin..at.min(code.len())).map(str::to_owned));
        at += end.len();
    }
    found
}

/// Every struct, enum, union, trait and type alias of a file, with its line.
fn types_of(code: &str) -> Vec<(usize, String)> {
    let declared = |line: &str| {
        let line = line.trim_start();
        // An alias of a trait or of an implementation is not a name of its own.
        let is_outside = !line.starts_with("type ") || !line.contains("Self");
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let line = line.strip_prefix("pub(").and_then(|l| l.split_once(") ")).map_or(line, |(_, rest)| rest);
        let (keyword, rest) = line.split_once(' ')?;
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_type = ["struct", "enum", "union", "trait", "type"].contains(&keyword);
        (is_type && is_outside && name.starts_with(char::is_uppercase)).then_some(name)
    };
    // The items of an implementation are indented, and so are associated types.
    let top = |(n, line): (usize, &str)| (!line.starts_with(' ')).then(|| Some((n + 1, declared(line)?))).flatten();
    code.lines().enumerate().filter_map(top).collect()
}

/// Items for other files without a comment. Clippy's `missing_errors_doc` holds the sections `# Errors`.
fn undocumented(code: &str) -> Vec<(&'static str, usize, String)> {
    let lines: Vec<&str> = code.lines().map(str::trim_start).collect();
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let item = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).or(line.strip_prefix("pub "));
        let Some(item) = item else { continue };
        let item = item.strip_prefix("const fn").map_or(item, |_| &item["const ".len()..]);
        let keyword = item.split(' ').next().unwrap_or_default();
        if !["fn", "unsafe", "struct", "enum", "trait", "const", "static", "type"].contains(&keyword) {
            continue;
        }
        // A macro writes the comment of its caller as `$(#[$doc])*`.
        let is_doc = |line: &str| line.starts_with("///") || line.starts_with("$(#[");
        // An attribute of several lines ends so, and begins further up.
        let mut is_inside = false;
        let is_above = |line: &&&str| {
            let is_attribute = is_inside || line.ends_with(")]");
            is_inside = is_attribute && !line.starts_with("#[");
            is_attribute || is_doc(line) || line.starts_with("#[")
        };
        let mut above = lines[..n].iter().rev().take_while(is_above);
        if !above.any(|line| is_doc(line)) {
            found.push(("undocumented item", n + 1, item.to_owned()));
        }
    }
    found
}

/// What stands before the unit tests, which are last in a file, or files of their own.
fn before_tests<'a>(name: &str, text: &'a str) -> &'a str {
    if name.ends_with("/tests.rs") || name.contains("/tests/") {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All files below a folder whose names end so, by their path from the project's root.
fn files(folder: &Path, ext: &str) -> Vec<(String, String)> {
    let (mut found, mut dirs) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A package of its own may have a folder with what it built.
                dirs.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|e| e == ext) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
