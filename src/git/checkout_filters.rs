//! Whether a checkout of this repository writes blobs as they are: no filter, no other line ends, no other encoding.
//!
//! Asked of configuration and of every file that may hold attributes; what isn't understood counts as a conversion.

use std::path::PathBuf;

use super::checkout::Checkout;
use super::index::Index;
use super::settings::Settings;
use crate::sys::path;

/// Settings under which git writes other bytes, modes or paths than the index has, or runs a program;
/// each with the values that do no harm.
const SETTINGS: [(&str, &[&str]); 9] = [
    ("core.autocrlf", &["false", "input"]),
    ("core.eol", &["lf", "native"]),
    ("core.symlinks", &["true"]),
    ("core.filemode", &["true"]),
    ("core.ignorecase", &["false"]),
    ("core.sparsecheckout", &["false"]),
    ("core.hookspath", &[]),
    ("core.attributesfile", &[]),
    ("attr.tree", &[]),
];

/// Attributes that have git write other bytes.
const ATTRIBUTES: [&str; 5] = ["filter", "eol", "crlf", "ident", "working-tree-encoding"];

/// Hooks that look at a checkout.
const HOOKS: [&str; 2] = ["post-checkout", "post-index-change"];

/// Whether nothing but attributes could stand between a blob and its file, and no hook is waiting.
pub fn settings_allow(source: &Checkout, settings: &Settings) -> bool {
    let harmless = SETTINGS.iter().all(|(key, allowed)| settings.value(key).is_none_or(|v| allowed.contains(&v)));
    let hooks = source.common_dir.join("hooks");
    harmless && !settings.has_hooks() && !HOOKS.iter().any(|hook| path::is_there(&hooks.join(hook)))
}

/// Whether no attribute, of the tracked files of `new` or from outside, converts.
pub fn attributes_allow(new: &Checkout, index: &Index) -> bool {
    let outside = outside(new).unwrap_or_default();
    !outside.is_empty()
        && outside.iter().all(|file| path::read_if_there(file).is_ok_and(|text| text.is_none_or(|t| allow(&t))))
        && index.contents(new, ".gitattributes").is_some_and(|files| files.iter().all(|text| allow(text)))
}

/// The attribute files that belong to no commit; `None` if git (before 2.41) doesn't report their paths.
fn outside(new: &Checkout) -> Option<Vec<PathBuf>> {
    let git = new.git();
    let mut files = vec![new.common_dir.join("info/attributes"), new.git_dir.join("info/attributes")];
    for variable in ["GIT_ATTR_SYSTEM", "GIT_ATTR_GLOBAL"] {
        files.extend(git.variable(variable).ok()?.into_iter().map(PathBuf::from));
    }
    std::env::var_os("GIT_ATTR_SOURCE").is_none().then_some(files)
}

/// Whether one attribute file lets git check out every blob unchanged.
fn allow(text: &[u8]) -> bool {
    let words = text.split(u8::is_ascii_whitespace);
    words.map(|word| word.strip_prefix(b"-").or(word.strip_prefix(b"!")).unwrap_or(word)).all(|word| {
        let name = word.split(|b| *b == b'=').next().unwrap_or_default();
        word == b"eol=lf"
            || (!word.starts_with(b"[attr]") && !ATTRIBUTES.iter().any(|attribute| attribute.as_bytes() == name))
    })
}

#[cfg(test)]
mod tests {
    use super::allow;

    #[test]
    fn an_attribute_that_converts_is_seen_and_one_that_does_not_is_let_through() {
        let harmless = ["", "*.sol linguist-language=Solidity\n", "* text=auto eol=lf\n*.png binary\n", "*.lock -diff"];
        let converting = [
            "*.bin filter=lfs diff=lfs merge=lfs -text",
            "*.bat text eol=crlf",
            "*.c ident",
            "*.txt working-tree-encoding=UTF-16",
            "*.c\tcrlf",
            "[attr]mine text",
            "a.txt text\r\nb.txt\teol=crlf",
        ];
        assert_eq!(harmless.map(|t| allow(t.as_bytes())), [true; 4]);
        assert_eq!(converting.map(|t| allow(t.as_bytes())), [false; 7]);
    }
}
