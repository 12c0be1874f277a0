//! The name of an artifact in the build cache: `web-{key}-{platform}.tar.gz`.

use schemars::JsonSchema;
use serde::Deserialize;

/// The suffixes that say how an artifact is packed.
const SUFFIXES: [&str; 4] = [".tar.gz", ".tar.zst", ".zst", ".tar"];

/// A name with `{key}`, and perhaps `{name}` and `{platform}`, in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Template(String);

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Template, String> {
        let filled = text.replace("{key}", "0").replace("{name}", "n").replace("{platform}", "p");
        if !text.contains("{key}") {
            return Err(format!("cache name {text:?} has no {{key}} in it"));
        }
        if filled.contains(['{', '}', '/']) || filled.starts_with('.') || filled.chars().any(char::is_control) {
            return Err(format!("cache name {text:?} may hold {{key}}, {{name}}, {{platform}}, and no slash"));
        }
        if !SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) {
            return Err(format!("cache name {text:?} ends with none of {}", SUFFIXES.join(", ")));
        }
        Ok(Template(text))
    }
}

impl Template {
    /// The name for a key.
    pub fn fill(&self, component: &str, key: &str) -> String {
        let name = component.replace('/', "-");
        self.0.replace("{key}", key).replace("{name}", &name).replace("{platform}", platform())
    }
}

/// As ci3 writes it.
pub fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64-linux",
        "aarch64" => "arm64-linux",
        _ => concat!("other", "-linux"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_key_and_a_suffix_and_nothing_strange() {
        let name = |text: &str| Template::try_from(text.to_owned()).map(|t| t.fill("a/b", "0123"));
        assert_eq!(name("noir-{key}.tar.gz"), Ok("noir-0123.tar.gz".into()));
        assert_eq!(name("{name}-{key}-{platform}.zst"), Ok(format!("a-b-0123-{}.zst", platform())));
        for bad in ["noir.tar.gz", "noir-{key}", "noir-{key}.zip", "x/{key}.zst", "{hash}-{key}.zst", ".{key}.tar"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
