//! The map at the head of a folder: the table whose first column is `file` names each file of the folder, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A folder of more files has a map. Those of `cli` have a file for each verb, or for each program, instead.
const MANY: usize = 12;

#[test]
fn the_map_of_a_folder_names_each_of_its_files_and_no_other() {
    let (mut wrong, mut maps) = (Vec::new(), 0);
    for source in super::sources() {
        let Some(folder) = source.name.strip_suffix("/mod.rs") else { continue };
        let (named, there) = (named(&source.text), there(&super::root().join(folder)));
        if named.is_empty() {
            if there.len() > MANY && !folder.starts_with("cli") {
                wrong.push(format!("{folder}/mod.rs has no map of its {} files", there.len()));
            }
            continue;
        }
        maps += 1;
        wrong.extend(there.difference(&named).map(|file| format!("the map of {folder}/mod.rs lacks `{file}`")));
        wrong.extend(
            named.difference(&there).map(|file| format!("the map of {folder}/mod.rs has `{file}`, which is gone")),
        );
    }
    assert!(maps > 8, "only {maps} maps were found");
    super::none(wrong);
}

/// The names in the first column of the table of files.
fn named(text: &str) -> BTreeSet<String> {
    let rows = text.lines().take_while(|line| line.starts_with("//!")).map(|line| line[3..].trim());
    let table = rows.skip_while(|row| row.split('|').nth(1).map(str::trim) != Some("file"));
    let table = table.skip(2).take_while(|row| row.starts_with('|'));
    let cells = table.filter_map(|row| row.split('|').nth(1).map(str::to_owned));
    let names = |cell: String| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/').to_owned()).collect()
    };
    cells.flat_map(names).collect()
}

/// The files and folders of a folder, but for tests and errors, which need no row.
fn there(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let modules = names.filter(|path| path.extension().is_some_and(|e| e == "rs") || path.join("mod.rs").is_file());
    let stems = modules.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    stems.filter(|stem| !["mod", "tests", "error"].contains(&stem.as_str())).collect()
}
