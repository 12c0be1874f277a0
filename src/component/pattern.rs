//! Patterns of `depsfs.toml`: as in .gitignore, but always from the component's directory on.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// One pattern, from the top of the repository.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// `dir` and the pattern, without `.` and `..`.
    whole: PathBuf,
    /// `None`: the whole is a path, not a pattern.
    glob: Option<Gitignore>,
    /// The part of the path before the first component with a wildcard.
    fixed: PathBuf,
    /// The directories above what `glob` matches, by how many components they have, unless it has a `**` in it.
    above: Vec<Gitignore>,
}

/// The whole determines all other fields.
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.whole == other.whole
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// A pattern below `dir`, or below the top when it begins with `/`. Its error is the reason, in words.
    pub fn new(dir: &Path, pattern: &str) -> Result<Pattern, String> {
        let whole = match pattern.strip_prefix('/') {
            Some(from_top) => PathBuf::from(from_top),
            None => dir.join(pattern),
        };
        let whole = inside(&whole).ok_or("it leads out of the repository")?;
        if whole.as_os_str().is_empty() || pattern.starts_with('!') {
            return Err("it names no path".into());
        }
        let parts: Vec<&[u8]> = whole.components().map(|part| part.as_os_str().as_bytes()).collect();
        let fixed: PathBuf = whole.components().take_while(|part| !has_sign(part.as_os_str().as_bytes())).collect();
        if fixed == whole {
            return Ok(Pattern { whole, glob: None, fixed, above: Vec::new() });
        }
        let glob = anchored(&whole)?;
        let depths = if parts.contains(&&b"**"[..]) { 0 } else { parts.len() };
        let above = (1..depths).map(|n| anchored(&whole.components().take(n).collect::<PathBuf>()));
        let above = above.collect::<Result<_, _>>()?;
        Ok(Pattern { whole, glob: Some(glob), fixed, above })
    }

    /// Whether all it matches lies below `dir`.
    pub fn lies_in(&self, dir: &Path) -> bool {
        inside(dir).is_some_and(|dir| self.whole.starts_with(dir))
    }

    /// The path it is, when it has no sign in it.
    pub fn literal(&self) -> Option<&Path> {
        self.glob.is_none().then_some(&self.whole)
    }

    /// Whether `path`, from the top of the repository, is matched, or lies below a directory that is.
    pub fn holds(&self, path: &Path) -> bool {
        match &self.glob {
            None => path.starts_with(&self.whole),
            Some(glob) => path.starts_with(&self.fixed) && glob.matched_path_or_any_parents(path, true).is_ignore(),
        }
    }

    /// Whether what it matches lies below the directory `path`. Matches of a `**`, which may be anywhere, don't count.
    pub fn is_below(&self, path: &Path) -> bool {
        let depth = path.components().count();
        let above = depth.checked_sub(1).and_then(|n| self.above.get(n));
        (self.fixed.starts_with(path) && self.whole != path)
            || above.is_some_and(|glob| glob.matched(path, true).is_ignore())
    }
}

/// As a line of a .gitignore at the top.
fn anchored(pattern: &Path) -> Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new("");
    let line = format!("/{}", pattern.to_string_lossy());
    builder.add_line(None, &line).and_then(|b| b.build()).map_err(|e| e.to_string())
}

/// The path without `.` and with each `..` taken literally; `None` when it leads out, or is absolute.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// Whether a path is relative and names nothing above its start.
pub fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn has_sign(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\' | b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_at_its_directory_and_holds_what_is_below_what_it_matches() {
        // dir, pattern, path, is matched or held, is below it
        let table = [
            ("web", "node_modules", "web/node_modules", true, false),
            ("web", "node_modules", "web/node_modules/a/b", true, false),
            ("web", "node_modules", "web/e2e/node_modules", false, false),
            ("web", "node_modules", "web", false, true),
            ("web", "**/node_modules", "web/e2e/node_modules", true, false),
            ("web", "**/node_modules", "web/build", false, false),
            ("web", "**/node_modules", "web", false, true),
            ("web", "**/node_modules", "e2e/node_modules", false, false),
            ("", "packages/*/dist", "packages/a/dist/x", true, false),
            ("", "packages/*/dist", "packages/a", false, true),
            ("", "packages/*/dist", "packages/a/b", false, false),
            ("web", "/out", "out", true, false),
            ("web", "../out", "out", true, false),
            ("", "build/out", "build", false, true),
            ("", "build*", "build-debug", true, false),
            ("", "build*", "x/build", false, false),
        ];
        for (dir, pattern, path, holds, below) in table {
            let parsed = Pattern::new(Path::new(dir), pattern).unwrap();
            assert_eq!(parsed.holds(Path::new(path)), holds, "{pattern} in {dir:?} holds {path}");
            assert_eq!(parsed.is_below(Path::new(path)), below, "{pattern} in {dir:?} is below {path}");
        }
    }

    #[test]
    fn a_pattern_that_leads_out_is_refused() {
        for (dir, pattern) in [("", "../x"), ("a", "../../x"), ("", "//x/../.."), ("", ""), ("a", "/"), ("", "!x")] {
            assert!(Pattern::new(Path::new(dir), pattern).is_err(), "{pattern:?} in {dir:?}");
        }
    }
}
