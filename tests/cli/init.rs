//! `depsfs init`: what it writes parses, and a create with it takes what the source has.

use crate::bench::Bench;

/// Paths, and what each holds.
type Files<'a> = &'a [(&'a str, &'a str)];

/// A repository with these tracked files and these artifacts.
fn bench(files: Files<'_>, built: &[&str]) -> Bench {
    let bench = Bench::empty(None);
    bench.write(
        "repo/.gitignore",
        "node_modules/\ntarget/\nbuild/\nout/\n.venv/\nbin/\nvendor/\n.gradle/\ncache/\ndest/\n",
    );
    files.iter().for_each(|(at, text)| bench.write(&format!("repo/{at}"), text));
    bench.commit("repo", "one");
    built.iter().for_each(|at| bench.write(&format!("repo/{at}"), "built\n"));
    bench
}

#[test]
fn each_kind_of_repository_gets_a_component_and_a_create_with_it_shares_what_is_built() {
    // marker, its artifact, the component's line
    let table: [(Files<'_>, &str, &str); 21] = [
        (&[("package-lock.json", "{}")], "node_modules/x", "build = \"npm ci\""),
        (&[("npm-shrinkwrap.json", "{}")], "node_modules/x", "build = \"npm ci\""),
        (&[("pnpm-lock.yaml", "a: 1")], "node_modules/x", "build = \"pnpm install --frozen-lockfile\""),
        (&[("yarn.lock", "a"), (".yarnrc.yml", "a: 1")], "node_modules/x", "build = \"yarn install --immutable\""),
        (&[("sub/Cargo.lock", "version = 4")], "sub/target/x", "dir = \"sub\""),
        (&[("CMakeLists.txt", "x"), ("a/CMakeLists.txt", "y")], "build/x", "absolute-paths = \"relocate\""),
        (&[("uv.lock", "x"), ("pyproject.toml", "y")], ".venv/x", "build = \"uv sync --frozen\""),
        (&[("poetry.lock", "x"), ("pyproject.toml", "y")], ".venv/x", "build = \"POETRY_VIRTUALENVS_IN_PROJECT=true"),
        (&[("requirements.txt", "x"), ("pyproject.toml", "y")], ".venv/x", "build = \"python3 -m venv .venv"),
        (
            &[("py/pyproject.toml", "x")],
            "py/.venv/x",
            "build = \"python3 -m venv .venv && .venv/bin/pip install -e .\"",
        ),
        (&[("meson.build", "x"), ("a/meson.build", "y")], "build/x", "build = \"test -d build || meson setup"),
        (&[("pom.xml", "x"), ("a/pom.xml", "y")], "a/target/x", "build = \"mvn -q"),
        (
            &[("settings.gradle.kts", "x"), ("a/build.gradle", "y"), ("gradlew", "z")],
            "a/build/x",
            "build = \"./gradlew assemble\"",
        ),
        (&[("pom.xml", "x")], "target/x", "build = \"mvn -q"),
        (&[("build.gradle", "x")], "build/x", "build = \"gradle assemble\""),
        (&[("go.mod", "x"), ("go.sum", "y")], "bin/x", "build = \"go build -o bin/ ./...\""),
        (&[("go.mod", "x")], "vendor/x", "build = \"go mod vendor\""),
        (&[("Gemfile.lock", "x")], "vendor/bundle/x", "build = \"BUNDLE_PATH=vendor/bundle bundle install\""),
        (&[("composer.lock", "x")], "vendor/x", "build = \"composer install\""),
        (&[("foundry.toml", "x"), ("src/a.sol", "y")], "out/x", "build = \"forge build\""),
        (
            &[
                ("ci3/cache_content_hash", "#!/bin/sh\necho 0123456789abcdef\n"),
                ("noir/bootstrap.sh", "true"),
                ("noir/.rebuild_patterns", "^noir/"),
            ],
            "noir/dest/x",
            "cache = \"noir-{key}.tar.gz\"",
        ),
    ];
    for (files, artifact, line) in table {
        let bench = bench(files, &[artifact, "cache/x"]);
        let script = bench.path("repo/ci3/cache_content_hash");
        if bench.is_there("repo/ci3") {
            std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let text = bench.ok("repo", ["init", "--print"]);
        assert!(text.lines().any(|l| l.starts_with(line)), "{text}");
        assert_eq!(text.matches("\n[[component]]").count(), 1, "{text}");
        assert!(!bench.is_there("repo/depsfs.toml"));
        assert_eq!(bench.ok("repo", ["init"]), format!("wrote {}\n", bench.path("repo/depsfs.toml").display()));
        bench.commit("repo", "components");
        let said = bench.ok("repo", ["create", "fix", "--approve", "--frozen-only"]);
        assert!(said.contains("from the source, whose key is the same"), "{said}");
        assert_eq!(bench.read(&format!("fix/{artifact}")), "built\n");
        bench.assert_clean("fix");
    }
}

#[test]
fn a_file_that_is_there_is_not_overwritten_and_a_plain_repository_gets_an_example() {
    let bench = bench(&[("README.md", "words")], &[]);
    bench.ok("repo", ["init"]);
    let text = bench.read("repo/depsfs.toml");
    assert!(text.contains("# [[component]]"), "{text}");
    let refused = bench.depsfs("repo", ["init"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    // The example is one that works.
    let (_, example) = text.split_once("# [[component]]").unwrap();
    bench.write("repo/depsfs.toml", &format!("[[component]]{}", example.replace("\n# ", "\n")));
    assert!(bench.ok("repo", ["approve"]).contains("in web: npm ci && npm run build"));
}

#[test]
fn the_schema_names_every_key() {
    let schema = Bench::empty(None).ok("repo", ["init", "--schema"]);
    for key in ["undeclared", "shell", "paths", "absolute-paths", "incremental", "timeout", "command", "after"] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}: {schema}");
    }
}
