//! The topics of the manual: one Markdown file each, printed by `depsfs help TOPIC` and, as a page, by `depsfs man
//! TOPIC`.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// One topic. `text` is Markdown whose first line is its title.
pub struct Topic {
    pub name: &'static str,
    pub summary: &'static str,
    pub text: &'static str,
}

macro_rules! topic {
    ($name:literal, $summary:literal) => {
        Topic { name: $name, summary: $summary, text: include_str!(concat!("topics/", $name, ".md")) }
    };
}

/// All topics, in the order in which `depsfs help` lists them. The texts are the Markdown files in `topics/`.
pub const TOPICS: [Topic; 12] = [
    topic!("worktrees", "create, look at, change, sync and remove worktrees; mounts at boot"),
    topic!("components", "depsfs.toml: which artifacts fit which commit, and who builds them"),
    topic!("cache", "the ci3 build cache: artifacts by name"),
    topic!("remote", "one store per team: push artifacts to a bucket, fetch them in a fresh clone"),
    topic!("paths", "which directories and files are shared, times, absolute paths"),
    topic!("files", "files on disk, garbage collection, environment, configuration"),
    topic!("semantics", "differences between a view and a plain directory; full disks and power cuts"),
    topic!("containers", "containers, sandboxes and services: which mounts they see, and their options"),
    topic!("tools", "editors and their watchers, direnv, mise and uv in a worktree"),
    topic!("troubleshooting", "error messages, with their cause and their remedy"),
    topic!("performance", "how fast a view is, and how that is measured"),
    topic!("json", "exit codes and machine-readable output"),
];

/// The topic with exactly this name.
pub fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

impl Topic {
    /// The manual page `depsfs-NAME(7)` in roff.
    pub fn page(&self) -> String {
        let mut page = Page::default();
        let title = format!("depsfs-{}", self.name);
        page.roff.control("TH", [title.as_str(), "7"]);
        page.roff.control("SH", ["NAME"]);
        page.roff.text([roman(format!("{title} - {}", self.summary))]);
        Parser::new_ext(self.text, Options::ENABLE_TABLES).for_each(|event| page.event(event));
        page.flush();
        page.roff.render()
    }
}

/// A manual page that is being written from Markdown events.
#[derive(Default)]
struct Page {
    roff: Roff,
    /// The text of the paragraph, cell or heading that is open.
    line: Vec<Inline>,
    is_strong: bool,
    is_emphasis: bool,
    is_verbatim: bool,
    /// The number of the next cell in a table row.
    cell: usize,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_verbatim => self.verbatim(&text),
            Event::Text(text) if self.is_strong => self.line.push(bold(text.into_string())),
            Event::Text(text) if self.is_emphasis => self.line.push(italic(text.into_string())),
            Event::Text(text) => self.line.push(roman(text.into_string())),
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak | Event::HardBreak => self.line.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong => self.is_strong = true,
            Tag::Emphasis => self.is_emphasis = true,
            Tag::CodeBlock(_) => {
                self.is_verbatim = true;
                self.roff.control("PP", []);
                self.roff.control("EX", []);
            }
            Tag::Item => {
                self.flush();
                self.roff.control("IP", ["\\(bu", "2"]);
            }
            Tag::Paragraph if self.line.is_empty() => {
                self.roff.control("PP", []);
            }
            Tag::TableHead | Tag::TableRow => self.cell = 0,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Strong => self.is_strong = false,
            TagEnd::Emphasis => self.is_emphasis = false,
            TagEnd::CodeBlock => {
                self.is_verbatim = false;
                self.roff.control("EE", []);
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::TableCell => self.end_cell(),
            _ => {}
        }
    }

    /// A heading of the first level is the title, which the page has above already.
    fn heading(&mut self, level: HeadingLevel) {
        let text = self.line.drain(..).map(|part| match part {
            Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
            Inline::LineBreak => " ".into(),
        });
        let text = text.collect::<String>().to_uppercase();
        let text = if level == HeadingLevel::H1 { "DESCRIPTION" } else { &text };
        self.roff.control("SH", [text]);
    }

    /// A row of a table is a tagged paragraph: the first cell is its tag.
    fn end_cell(&mut self) {
        if self.cell == 0 {
            self.roff.control("TP", []);
        }
        self.cell += 1;
        self.flush();
    }

    fn verbatim(&mut self, text: &str) {
        for line in text.lines() {
            self.roff.text([roman(line)]);
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.roff.text(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_page_has_the_headings_tables_and_commands_of_its_text() {
        let text = "# Title\n\nSome *new* words and `code`.\n\n    depsfs create x\n\n## Part\n\n- one\n- two\n\n| a | b |\n|---|---|\n| `c` | d |\n";
        let page = Topic { name: "x", summary: "a summary", text }.page();
        let lines: Vec<&str> = page.lines().collect();
        for line in [
            ".TH depsfs-x 7",
            "depsfs\\-x \\- a summary",
            ".SH DESCRIPTION",
            ".SH PART",
            "depsfs create x",
            ".EX",
            ".EE",
        ] {
            assert!(lines.contains(&line), "no line {line:?} in {page}");
        }
        assert!(page.contains("Some \\fInew\\fR words and \\fBcode\\fR."), "{page}");
        assert!(page.contains(".TP\n\\fBc\\fR\nd\n"), "{page}");
        assert_eq!(page.matches(".IP").count(), 2, "{page}");
    }

    #[test]
    fn every_topic_begins_with_a_title_and_fits_a_terminal() {
        for topic in &TOPICS {
            assert!(topic.text.starts_with("# "), "{} has no title", topic.name);
            assert!(topic.summary.len() <= 80, "the summary of {} is long", topic.name);
        }
    }

    /// The command lines of a text: those indented lines that begin with the program, without their comments.
    fn commands(text: &str) -> impl Iterator<Item = Vec<&str>> {
        let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
        let lines = indented.map(|line| line.strip_prefix("$ ").unwrap_or(line)).filter(|l| l.starts_with("depsfs "));
        lines.map(|line| {
            let words = line.split_whitespace();
            words.take_while(|word| !["#", "|", ">", "&&"].contains(word)).map(|word| word.trim_matches('\'')).collect()
        })
    }

    #[test]
    fn every_command_in_the_documents_is_one_that_depsfs_takes() {
        let documents =
            TOPICS.iter().map(|topic| (topic.name, topic.text)).chain([("README.md", include_str!("../../README.md"))]);
        let (mut seen, mut wrong) = (0, Vec::new());
        for (name, words) in documents.flat_map(|(name, text)| commands(text).map(move |words| (name, words))) {
            seen += 1;
            if let Err(e) = super::super::Cli::try_parse_from(&words)
                && e.use_stderr()
            {
                wrong.push(format!("{name}: {}: {e}", words.join(" ")));
            }
        }
        assert!(seen > 30, "only {seen} commands were read");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
