//! `depsfs help` and `depsfs man`: verbs and topics from one source.

use std::path::Path;
use std::process::{Command, Output};

use crate::bench::PROGRAM;

fn depsfs(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().expect("the program is there")
}

fn topics() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/topics");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let topic = |path: std::path::PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    };
    files.map(topic).collect()
}

#[test]
fn every_topic_is_listed_printed_as_it_is_written_and_a_manual_page() {
    let list = String::from_utf8(depsfs(&["help"]).stdout).unwrap();
    let topics = topics();
    assert!(topics.len() > 5, "only {} topics", topics.len());
    for (name, text) in topics {
        assert!(list.contains(&format!("\n  {name} ")), "{name} is not in {list}");
        assert_eq!(String::from_utf8(depsfs(&["help", &name]).stdout).unwrap(), text);
        let page = String::from_utf8(depsfs(&["man", &name]).stdout).unwrap();
        assert!(page.contains(&format!(".TH depsfs-{name} 7")), "{page}");
    }
}

#[test]
fn the_help_of_a_verb_is_what_its_option_help_prints() {
    for verb in [&["create"][..], &["store", "add"]] {
        let asked = depsfs(&[&["help"], verb].concat());
        assert!(asked.status.success());
        assert_eq!(asked.stdout, depsfs(&[verb, &["--help"]].concat()).stdout);
    }
}

#[test]
fn help_for_what_is_not_there_is_wrong_usage() {
    for args in [["help", "nosuch"], ["man", "nosuch"]] {
        let asked = depsfs(&args);
        assert_eq!((asked.status.code(), asked.stdout.len()), (Some(2), 0));
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(
            said.contains("there is no verb or topic nosuch") && said.contains("hint: depsfs help lists them"),
            "{said}"
        );
    }
    let said = String::from_utf8(depsfs(&["help", "creat"]).stderr).unwrap();
    assert!(said.contains("hint: depsfs help create is similar; "), "{said}");
}

#[test]
fn a_packager_gets_the_pages_of_all_verbs_and_topics_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let asked = depsfs(&["man", "--all", dir.path().to_str().unwrap()]);
    assert!(asked.status.success() && asked.stdout.is_empty(), "{asked:?}");
    let page = |name: &str| std::fs::read(dir.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(page("man1/depsfs-store-add.1"), depsfs(&["man", "store", "add"]).stdout);
    assert_eq!(page("man1/depsfs.1"), depsfs(&["man"]).stdout);
    assert_eq!(page("man1/git-depsfs.1"), b".so man1/depsfs.1\n");
    for (name, _) in topics() {
        assert_eq!(page(&format!("man7/depsfs-{name}.7")), depsfs(&["man", &name]).stdout);
    }
}

#[test]
fn the_help_of_each_verb_has_examples_and_lines_that_fit_100_columns() {
    let list = String::from_utf8(depsfs(&["--help"]).stdout).unwrap();
    let verbs = list.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    // A line that goes on begins further right.
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(' '));
    let verbs: Vec<&str> = verbs.map(|(verb, _)| verb).filter(|verb| !verb.is_empty()).collect();
    assert!(verbs.len() > 20, "{list}");
    for verb in verbs {
        let help = String::from_utf8(depsfs(&[verb, "--help"]).stdout).unwrap();
        assert!(help.contains("\nExamples:\n"), "{verb} has no example: {help}");
        let long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(long.is_empty(), "{verb}: {long:?}");
    }
}

#[test]
fn the_synopsis_of_a_manual_page_is_the_usage_that_the_help_prints() {
    for verb in [&["exec"][..], &["create"], &["store", "add"], &["mount"], &[]] {
        let help = String::from_utf8(depsfs(&[verb, &["--help"]].concat()).stdout).unwrap();
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        let page = String::from_utf8(depsfs(&[&["man"], verb].concat()).stdout).unwrap();
        let synopsis = page.split(".SH SYNOPSIS\n").nth(1).and_then(|rest| rest.split(".SH ").next()).unwrap();
        assert_eq!(synopsis.replace("\\-", "-").trim_end(), usage, "{page}");
        let heading = if verb.is_empty() { ".SH TOPICS\n.nf\n  " } else { ".SH EXAMPLES\n.nf\n  depsfs " };
        assert_eq!(page.contains(heading), verb.len() < 2, "{page}");
        assert!(!page.contains(".SH EXTRA"), "{page}");
    }
}
