//! A cargo build and an npm install in the views, where those programs are.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::bench::Bench;

/// A program that runs again and again until all shall end.
pub struct Build {
    name: &'static str,
    child: Child,
}

impl Build {
    pub fn finish(self) {
        let said = self.child.wait_with_output().expect("waited for");
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{} failed: {words}", self.name);
        println!("  {:10} {}", self.name, String::from_utf8_lossy(&said.stdout).trim());
    }
}

pub fn are_wanted() -> bool {
    std::env::var_os("DEPSFS_CRASH_BUILDS").is_some_and(|v| v == "1")
}

pub fn start(bench: &Bench) -> Vec<Build> {
    if !are_wanted() {
        return Vec::new();
    }
    [("cargo", cargo(bench)), ("npm", npm(bench))]
        .into_iter()
        .filter_map(|(name, script)| again(bench, name, script))
        .collect()
}

/// `body` runs in a loop, with the number of the round in `$n`.
fn again(bench: &Bench, name: &'static str, body: String) -> Option<Build> {
    if Command::new(name).arg("--version").output().is_err() {
        println!("skipped: there is no {name}");
        return None;
    }
    let stop = bench.dir.join(crate::load::STOP);
    let script = format!("set -e; n=0; until [ -e '{}' ]; do n=$((n+1)); {body}; done; echo $n rounds", stop.display());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(Build { name, child: command.spawn().expect("bash is there") })
}

fn cargo(bench: &Bench) -> String {
    let dir = bench.dir.join("crate");
    fs::create_dir_all(dir.join("src")).expect("made");
    fs::write(dir.join("Cargo.toml"), "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
        .expect("written");
    fs::write(dir.join("src/lib.rs"), "pub fn n() -> u32 { 0 }\n").expect("written");
    fs::write(dir.join("src/main.rs"), "fn main() { println!(\"{}\", tiny::n()) }\n").expect("written");
    let (target, dir) = (bench.view("a/target"), quoted(dir));
    let target = quoted(target);
    format!(
        "cd {dir}; echo \"pub fn n() -> u32 {{ $n }}\" >src/lib.rs; cargo build -q --offline --target-dir {target} >&2; \
         [ \"$({target}/debug/tiny)\" = $n ]"
    )
}

/// Packages of this machine's own: no registry is asked.
fn npm(bench: &Bench) -> String {
    let mut list = String::new();
    for n in 0..20 {
        let dir = bench.dir.join(format!("packages/p{n}"));
        fs::create_dir_all(dir.join("lib")).expect("made");
        fs::write(dir.join("package.json"), format!("{{\"name\": \"p{n}\", \"version\": \"1.0.0\"}}"))
            .expect("written");
        fs::write(dir.join("index.js"), format!("module.exports = {n}\n")).expect("written");
        (0..20).for_each(|f| fs::write(dir.join(format!("lib/f{f}.js")), format!("// {f}\n")).expect("written"));
        list += &format!(" {}", quoted(dir));
    }
    let project = quoted(bench.view("b/project"));
    format!(
        "rm -rf {project}; mkdir -p {project}; cd {project}; echo '{{}}' >package.json; \
         npm install --offline --install-links --no-audit --no-fund --silent{list} >&2; \
         [ \"$(node -p 'let s=0; for (let i=0;i<20;i++) s+=require(`p${{i}}`); s')\" = 190 ]"
    )
}

fn quoted(path: PathBuf) -> String {
    format!("'{}'", path.display())
}
