//! The origin of a graft, as the manifest has it in words.

use std::fmt;

/// The origin of a graft. The manifest holds its `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GraftOrigin<'a> {
    /// An artifact of the build cache, whose members are relative to a directory of the worktree.
    Artifact { name: &'a str, directory: &'a str },
    /// The lowers of a standalone mount: escaped paths with a colon between two of them.
    Directories(&'a str),
    /// The words of any other origin, which are displayed only.
    Other(&'a str),
}

/// Between an artifact's name, which has no slash, and its directory.
const IN: &str = " in ./";
const ARTIFACT: &str = "artifact ";
const DIRECTORY: &str = "directory ";

impl<'a> GraftOrigin<'a> {
    /// Parses the words of a manifest.
    pub(crate) fn of(words: &'a str) -> GraftOrigin<'a> {
        if let Some((name, directory)) = words.strip_prefix(ARTIFACT).and_then(|rest| rest.split_once(IN)) {
            return GraftOrigin::Artifact { name, directory };
        }
        words.strip_prefix(DIRECTORY).map_or(GraftOrigin::Other(words), GraftOrigin::Directories)
    }

    /// The directory of an artifact.
    pub(crate) fn directory(&self) -> Option<&'a str> {
        match self {
            GraftOrigin::Artifact { directory, .. } => Some(directory),
            GraftOrigin::Directories(_) | GraftOrigin::Other(_) => None,
        }
    }
}

impl fmt::Display for GraftOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GraftOrigin::Artifact { name, directory } => write!(f, "{ARTIFACT}{name}{IN}{directory}"),
            GraftOrigin::Directories(list) => write!(f, "{DIRECTORY}{list}"),
            GraftOrigin::Other(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_from_the_words_that_it_is_written_as() {
        let table = [
            (GraftOrigin::Artifact { name: "a-01.tar.gz", directory: "" }, "artifact a-01.tar.gz in ./"),
            (
                GraftOrigin::Artifact { name: "made in b.zst", directory: "c in ./d" },
                "artifact made in b.zst in ./c in ./d",
            ),
            (GraftOrigin::Directories("/a:/b"), "directory /a:/b"),
            (GraftOrigin::Other("snapshot of /a in ./b"), "snapshot of /a in ./b"),
            (GraftOrigin::Other("artifact of ada"), "artifact of ada"),
        ];
        for (origin, words) in table {
            assert_eq!(origin.to_string(), words);
            assert_eq!(GraftOrigin::of(words), origin);
        }
    }
}
