//! No import circle between files: each file is read after those that it names.
//!
//! A path is followed to the file that defines its item: a `pub use` on the way is looked through, and a parent's `mod`
//! lines name nobody. Methods are found by their type, so an `impl` may be spread over files.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

/// The segments of a path to a module, from the crate's root.
type Module = Vec<String>;

/// The files of each circle, sorted.
pub fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let crate_map = CrateMap::of(sources);
    let mut named: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let me = module_of(&source.name);
        let paths = paths_of(&source.code).into_iter().filter(|path| !path.is_public).map(|path| path.segments);
        let files = paths.filter_map(|path| crate_map.file_of(&me, path)).filter(|file| *file != source.name);
        named.insert(&source.name, files.collect());
    }
    let reachable = |from: &str| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = todo.pop() {
            let next = named.get(file.as_str()).into_iter().flatten();
            todo.extend(next.filter(|n| seen.insert((*n).clone())).cloned());
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<String>> = named.keys().map(|file| (*file, reachable(file))).collect();
    let circle = |file: &&str| {
        let is_in = |other: &&&str| reach[**other].contains(*file) && reach[*file].contains(**other);
        let all: Vec<String> = named.keys().filter(is_in).map(|f| (*f).to_owned()).collect();
        (!all.is_empty()).then_some(all)
    };
    let all: BTreeSet<Vec<String>> = named.keys().filter_map(circle).collect();
    all.into_iter().collect()
}

/// One path that a file names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    segments: Vec<String>,
    /// From a `pub use`: an offer to others, and no need of the file.
    is_public: bool,
}

struct CrateMap {
    files: BTreeMap<Module, String>,
    /// Items that a module offers from elsewhere, with their path from the crate's root.
    offered: BTreeMap<(Module, String), Vec<String>>,
}

impl CrateMap {
    fn of(sources: &[Source]) -> CrateMap {
        let files: BTreeMap<Module, String> = sources.iter().map(|s| (module_of(&s.name), s.name.clone())).collect();
        let mut map = CrateMap { files, offered: BTreeMap::new() };
        for source in sources {
            let me = module_of(&source.name);
            for path in paths_of(&source.code).into_iter().filter(|path| path.is_public) {
                if let Some(full) = map.absolute(&me, path.segments)
                    && let Some(item) = full.last().cloned()
                {
                    map.offered.insert((me.clone(), item), full);
                }
            }
        }
        map
    }

    /// A path as it is from the crate's root; `None` for one of another crate, or of a local name.
    fn absolute(&self, me: &Module, path: Vec<String>) -> Option<Vec<String>> {
        let ups = path.iter().take_while(|s| *s == "super").count();
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([me, &path[1..]].concat()),
            "super" => Some([&me[..me.len().checked_sub(ups)?], &path[ups..]].concat()),
            first => {
                let child = [me.as_slice(), &[first.to_owned()]].concat();
                self.files.contains_key(&child).then(|| [me.as_slice(), &path].concat())
            }
        }
    }

    /// The file that defines what a path of `me` names.
    fn file_of(&self, me: &Module, path: Vec<String>) -> Option<String> {
        let mut full = self.absolute(me, path)?;
        for _ in 0..8 {
            let module = (0..=full.len()).rev().find(|n| self.files.contains_key(&full[..*n]))?;
            let offered = full.get(module).and_then(|item| self.offered.get(&(full[..module].to_vec(), item.clone())));
            match offered {
                Some(elsewhere) => full = [elsewhere.as_slice(), &full[module + 1..]].concat(),
                None => return Some(self.files[&full[..module]].clone()),
            }
        }
        None
    }
}

fn module_of(file: &str) -> Module {
    let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').filter(|s| *s != "lib" && *s != "main").map(str::to_owned).collect()
}

/// Every path that begins at `crate`, `self`, `super`, or, in a `use`, at any name.
fn paths_of(code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut outside = String::new();
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default();
        let is_use = line.trim().is_empty() || (line.trim_start().starts_with("pub") && line.len() < 40);
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        if is_use {
            outside.push_str(&rest[..at]);
            let is_public = line.trim_start().starts_with("pub");
            let tree = &rest[at + 4..end];
            found.extend(expanded(tree).into_iter().map(|segments| Named { segments, is_public }));
            rest = &rest[end..];
        } else {
            outside.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
        }
    }
    outside.push_str(rest);
    for root in ["crate::", "self::", "super::"] {
        for (at, _) in outside.match_indices(root) {
            let before = outside[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                let path: String =
                    outside[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
                let segments = path.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect();
                found.push(Named { segments, is_public: false });
            }
        }
    }
    found
}

/// The paths of one `use` tree.
fn expanded(tree: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut todo = vec![(Vec::new(), tree.to_owned())];
    while let Some((prefix, list)) = todo.pop() {
        for part in parts(&list) {
            let (head, inner) = match (part.find('{'), part.rfind('}')) {
                (Some(open), Some(close)) => (&part[..open], Some(part[open + 1..close].to_owned())),
                _ => (part.split(" as ").next().unwrap_or_default(), None),
            };
            let names = head.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned);
            let mut path: Vec<String> = prefix.iter().cloned().chain(names).collect();
            match inner {
                Some(inner) => todo.push((path, inner)),
                None => {
                    path.truncate(path.len() - usize::from(path.len() > 1 && path.last().is_some_and(|s| s == "self")));
                    found.push(path);
                }
            }
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// The parts between commas, but those in braces.
fn parts(list: &str) -> Vec<String> {
    let (mut all, mut depth) = (vec![String::new()], 0);
    for c in list.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => all.push(String::new()),
            c => all.last_mut().expect("one at least").push(c),
        }
    }
    all.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, code: &str) -> Source {
        Source { name: name.into(), text: code.into(), code: code.into() }
    }

    #[test]
    fn a_circle_is_seen_through_lists_renames_and_what_a_parent_offers() {
        let all = [
            file("lib.rs", "pub mod a;\npub mod b;\n"),
            file("a/mod.rs", "mod x;\nmod y;\npub use x::X;\n"),
            file("a/x.rs", "use super::y::{self, Y as Other};\npub struct X;\n"),
            file("a/y.rs", "fn f(_: crate::a::X) {}\npub struct Y;\n"),
            file("b.rs", "use crate::{a::X, b};\n"),
        ];
        assert_eq!(circles(&all), [["a/x.rs", "a/y.rs"]]);
        assert_eq!(circles(&[&all[..2], &all[3..]].concat()), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_parent_that_only_offers_is_in_no_circle_and_one_that_defines_is() {
        let child = file("a/x.rs", "use super::Shared;\npub struct X(Shared);\n");
        let offers = file("a/mod.rs", "mod s;\nmod x;\npub use s::Shared;\npub use x::X;\n");
        let shared = file("a/s.rs", "pub struct Shared;\n");
        assert_eq!(circles(&[offers, shared, child.clone()]), Vec::<Vec<String>>::new());
        let defines = file("a/mod.rs", "mod x;\nuse x::X;\npub struct Shared;\nfn f(_: X) {}\n");
        assert_eq!(circles(&[defines, child]), [["a/mod.rs", "a/x.rs"]]);
    }
}
