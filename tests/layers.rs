//! The rules that one crate cannot hold by itself: which layer may name which, and what is named in one place only.
//!
//! The rules are read from the text of `src/`, without its tests and comments, as `src/lib.rs` draws them.

#[path = "layers/circles.rs"]
mod circles;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "layers/maps.rs"]
mod maps;
#[path = "layers/messages.rs"]
mod messages;

/// From the lowest.
const LAYERS: [&str; 13] = [
    "sys",
    "store",
    "overlay",
    "fuse",
    "daemon",
    "remote",
    "cache",
    "git",
    "views",
    "component",
    "worktree",
    "doctor",
    "cli",
];

/// Files before their tests; what is longer does two things.
const LONGEST_FILE: usize = 400;

#[test]
fn a_layer_names_only_itself_and_those_below() {
    let ranks: BTreeMap<&str, usize> = LAYERS.into_iter().zip(0..).collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.layer().is_some()) {
        let layer = source.layer().unwrap();
        let rank = ranks.get(layer).unwrap_or_else(|| panic!("{layer} has no rank: {}", source.name));
        for (line, named) in source.crate_paths() {
            seen += 1;
            let below = ranks.get(named.as_str()).is_some_and(|other| named == layer || other < rank);
            if !below {
                wrong.push(format!("{}:{line} names crate::{named}", source.name));
            }
        }
    }
    assert!(seen > 100, "only {seen} paths were read: this test no longer reads the sources");
    none(wrong);
}

#[test]
fn no_file_is_in_an_import_circle() {
    let circles = circles::circles(&sources());
    none(circles.into_iter().map(|files| format!("in a circle: {}", files.join(", "))).collect());
}

#[test]
fn no_way_up_leaves_the_layer() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.layer().is_some()) {
        let module = source.name.trim_end_matches(".rs").trim_end_matches("/mod");
        let (up, line) = source.longest_way_up();
        if up >= module.split('/').count() {
            wrong.push(format!(
                "{}:{line} goes up to the crate with super::, where the layer rule is not read",
                source.name
            ));
        }
    }
    none(wrong);
}

#[test]
fn the_reader_of_paths_sees_every_way_to_name_a_layer() {
    let text = "use crate::sys::fs;\nuse crate::{store::Name, fuse};\nfn f() { crate::cli::run() }\n\
                pub(crate) use crate::{\n    overlay::Ino,\n    daemon::{client, state},\n};\n// crate::worktree\n";
    let source = Source { name: "x".into(), code: without_comments(text), text: text.into() };
    let named: Vec<String> = source.crate_paths().into_iter().map(|(_, named)| named).collect();
    assert_eq!(named, ["sys", "store", "fuse", "cli", "overlay", "daemon"]);
}

#[test]
fn fuser_is_named_in_fuse_only() {
    named_only_in("fuser::", |name| name.starts_with("fuse/"));
    named_only_in("use fuser", |name| name.starts_with("fuse/"));
}

#[test]
fn the_object_store_and_its_runtime_are_named_in_one_file_only() {
    for name in ["object_store::", "tokio::", "rustls::", "reqwest"] {
        named_only_in(name, |name| name == "remote/client.rs");
    }
    assert!(fs::read_to_string(root().join("remote/client.rs")).unwrap().contains("use object_store::"));
}

#[test]
fn git_is_started_in_one_file_only() {
    named_only_in("Invocation::new(\"git\")", |name| name == "git/command.rs");
    assert!(fs::read_to_string(root().join("git/command.rs")).unwrap().contains("Invocation::new(\"git\")"));
}

#[test]
fn programs_are_started_by_the_one_runner_and_daemons_beside_it() {
    named_only_in("Command::new(", |name| ["sys/invocation.rs", "sys/process.rs", "sys/namespace.rs"].contains(&name));
}

#[test]
fn the_variables_and_addresses_of_remotes_are_configuration() {
    let configured = fs::read_to_string(root().join("../mount-helpers/cache-remotes.toml")).unwrap();
    let is_value = |key: &str| ["variable", "bucket", "url"].contains(&key);
    let pairs = configured.lines().filter_map(|line| line.split_once(" = ")).filter(|(key, _)| is_value(key));
    let values: Vec<&str> = pairs.map(|(_, value)| value.trim_matches('"')).collect();
    assert!(values.len() > 3, "only {values:?} were read");
    values.into_iter().for_each(|value| named_only_in(value, |_| false));
}

#[test]
fn libgit2_is_named_where_checkouts_and_their_index_are_read() {
    named_only_in("git2", |name| name == "git/checkout.rs" || name == "git/index.rs");
}

#[test]
fn unsafe_code_and_plain_file_calls_are_in_sys_only() {
    let in_sys = |name: &str| name.starts_with("sys/");
    // Of fuser's calls one is unsafe, and fuser is named in fuse only.
    named_only_in("unsafe ", |name| in_sys(name) || name == "fuse/backing.rs");
    for call in ["std::fs", "File::open", "File::create", "OpenOptions", "libc::open", " nix::", "use nix", "rustix::"]
    {
        named_only_in(call, in_sys);
    }
}

#[test]
fn names_and_messages_reach_a_terminal_in_one_way_only() {
    // `sys::terminal::Shown` prints names; `cli::output` is what writes.
    named_only_in(".display()", |_| false);
    for call in ["println!", "print!(", "io::stdout()"] {
        named_only_in(call, |name| name == "cli/output.rs");
    }
}

#[test]
fn every_file_begins_with_a_sentence_and_does_one_thing() {
    let mut wrong = Vec::new();
    for source in sources().iter().chain(&rust_files(&root().join("../tests"))) {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with //!", source.name));
        }
    }
    for source in sources() {
        let lines = source.code.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{} has {lines} lines before its tests; {LONGEST_FILE} is the most", source.name));
        }
    }
    none(wrong);
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let marks = [["#[ign", "ore"].concat(), ["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let mut wrong = Vec::new();
    for source in sources().iter().chain(&rust_files(&root().join("../tests"))) {
        wrong.extend(marks.iter().filter(|m| source.text.contains(*m)).map(|m| format!("{} says {m}", source.name)));
    }
    none(wrong);
}

#[test]
fn the_map_in_lib_rs_names_files_that_are_there() {
    let map = fs::read_to_string(root().join("lib.rs")).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for word in map.lines().filter(|l| l.starts_with("//!")).flat_map(|l| l.split([' ', '`', '(', ')', ',', ';', '…']))
    {
        let is_file = word.ends_with(".rs") && !word.starts_with("tests/") && !word.starts_with("src/");
        if is_file {
            seen += 1;
            if !root().join(word).is_file() {
                wrong.push(format!("lib.rs speaks of {word}"));
            }
        }
    }
    assert!(seen > 20, "only {seen} files were read from the map");
    none(wrong);
}

#[test]
fn the_files_that_contributing_md_names_are_there() {
    let text = fs::read_to_string(root().join("../CONTRIBUTING.md")).unwrap();
    let named =
        text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("src/") || word.starts_with("tests/"));
    let named: Vec<&str> = named.filter(|word| !word.contains(['<', ' '])).collect();
    assert!(named.len() > 20, "only {} files were read from CONTRIBUTING.md", named.len());
    let is_absent = |file: &&&str| !root().join("..").join(file).exists();
    none(named.iter().filter(is_absent).map(|file| format!("CONTRIBUTING.md speaks of {file}")).collect());
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let text = fs::read_to_string(root().join("../SECURITY.md")).unwrap();
    let table = text.split("## Where foreign text becomes").nth(1).and_then(|t| t.split("\n## ").next()).unwrap();
    let all = [sources(), rust_files(&root().join("../tests"))].concat();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for row in table.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| foreign text")) {
        let tests: Vec<&str> = row.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2).collect();
        seen += tests.len();
        let is_there =
            |test: &&str| all.iter().any(|s| s.text.contains(&format!("#[test]\nfn {test}()")) || is_inner(s, test));
        wrong.extend(tests.iter().filter(|t| !is_there(t)).map(|t| format!("SECURITY.md names {t}, which is no test")));
        wrong.extend(tests.is_empty().then(|| format!("no test: {row}")));
    }
    assert!(seen > 20, "only {seen} tests were read from SECURITY.md");
    none(wrong);
}

/// A test in a module, or one of proptest's, which have arguments.
fn is_inner(source: &Source, test: &str) -> bool {
    let at = source.text.find(&format!(" fn {test}("));
    at.is_some_and(|at| source.text[..at].trim_end().ends_with("#[test]"))
}

/// One file of Rust.
#[derive(Clone)]
struct Source {
    /// Relative to `src`, or for a test to `tests`.
    name: String,
    text: String,
    /// Without comments, and without the unit tests at the end of the file.
    code: String,
}

impl Source {
    /// The folder of `src` it is in; a file at the top is none: it is the map, or the program.
    fn layer(&self) -> Option<&str> {
        self.name.split_once('/').map(|(layer, _)| layer)
    }

    /// Every layer named as `crate::layer`, in braces too, with the line.
    fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let line = self.code[..at].lines().count().max(1);
            let rest = &self.code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                None => found.push((line, ident(rest))),
                Some(list) => found.extend(top_names(list).into_iter().map(|name| (line, name))),
            }
        }
        found
    }

    /// How often the longest chain of `super::` goes up, with its line.
    fn longest_way_up(&self) -> (usize, usize) {
        let length = |at: usize| self.code.as_bytes()[at..].chunks(7).take_while(|c| *c == b"super::").count();
        let ways = self.code.match_indices("super::").map(|(at, _)| (length(at), at));
        let (up, at) = ways.max().unwrap_or((0, 0));
        (up, self.code[..at].lines().count().max(1))
    }
}

/// The first segment of each path in a `use` list, up to the brace that ends it.
fn top_names(list: &str) -> Vec<String> {
    let (mut names, mut depth, mut begins) = (Vec::new(), 0, true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(ident(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Fails when code outside the places that `may` names it holds `text`.
fn named_only_in(text: &str, may: impl Fn(&str) -> bool) {
    let holds = |source: &&Source| source.code.contains(text) && !may(&source.name);
    none(sources().iter().filter(holds).map(|s| format!("{} names {text}", s.name)).collect());
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let files = rust_files(&root());
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

fn rust_files(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The fuzz targets are a package of their own, with what it built.
                dirs.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let code = without_comments(before_tests(&name, &text));
                files.push(Source { name, code, text });
            }
        }
    }
    files
}

/// The code before the unit tests; by house rule they are last in a file, or a file `tests.rs` of their own, with a
/// folder.
fn before_tests<'a>(name: &str, text: &'a str) -> &'a str {
    if name.ends_with("/tests.rs") || name.contains("/tests/") {
        return "";
    }
    let is_module = |at: &usize| text[*at..].lines().nth(1).is_some_and(|l| l.starts_with("mod ") && l.ends_with('{'));
    let begin = text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(is_module);
    begin.map_or(text, |at| &text[..at])
}

/// Lines keep their numbers.
fn without_comments(text: &str) -> String {
    text.lines().map(|l| if l.trim_start().starts_with("//") { "" } else { l }).collect::<Vec<_>>().join("\n")
}
