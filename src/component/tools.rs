//! The tools that `depsfs init` recognises by a file of theirs, with what each makes, of what, and how.

/// How a file in a directory becomes a component there.
pub(super) struct Tool {
    pub kind: &'static str,
    /// The file that stands for it.
    pub marker: &'static str,
    /// Files beside it that stand for another tool, which does its work.
    pub unless: &'static [&'static str],
    /// Only where no directory above has a file of this kind, too.
    pub topmost: bool,
    pub paths: &'static [&'static str],
    pub files: &'static [&'static str],
    pub build: &'static str,
    /// A file beside it, and the build where it is.
    pub instead: Option<(&'static str, &'static str)>,
    /// Further lines of the component.
    pub more: &'static str,
    pub about: &'static str,
}

const PYTHON: &str = "The virtual environment; scripts in it get the new worktree's path.";
const NESTED: &[&str] = &["node_modules", "**/node_modules"];
const GRADLE_PATHS: &[&str] = &["**/.gradle", "**/build"];
const GRADLE_FILES: &[&str] = &["**/*.gradle", "**/*.gradle.kts"];
const INCREMENTAL: &str = "incremental = true\n";
const NPM: &str = "Packages that npm installs.";

/// A tool of which nothing is special.
const PLAIN: Tool = Tool {
    kind: "",
    marker: "",
    unless: &[],
    topmost: false,
    paths: &[],
    files: &[],
    build: "",
    instead: None,
    more: "",
    about: "",
};

/// A build with Gradle, by one of the files that can be its first.
const fn gradle(marker: &'static str, unless: &'static [&'static str]) -> Tool {
    Tool {
        kind: "gradle",
        marker,
        unless,
        topmost: true,
        paths: GRADLE_PATHS,
        files: GRADLE_FILES,
        build: "gradle assemble",
        instead: Some(("gradlew", "./gradlew assemble")),
        more: INCREMENTAL,
        about: "The output of Gradle.",
    }
}

/// Packages that a program installs by its lock file.
const fn packages(kind: &'static str, marker: &'static str, about: &'static str) -> Tool {
    Tool { kind, marker, about, ..PLAIN }
}

/// Every tool that one file stands for.
pub(super) const TOOLS: &[Tool] = &[
    Tool {
        unless: &["npm-shrinkwrap.json"],
        paths: &["node_modules"],
        files: &["package-lock.json"],
        build: "npm ci",
        ..packages("npm", "package-lock.json", NPM)
    },
    Tool {
        paths: &["node_modules"],
        files: &["npm-shrinkwrap.json"],
        build: "npm ci",
        ..packages("npm", "npm-shrinkwrap.json", NPM)
    },
    Tool {
        paths: NESTED,
        files: &["pnpm-lock.yaml"],
        build: "pnpm install --frozen-lockfile",
        ..packages("pnpm", "pnpm-lock.yaml", "Packages that pnpm installs.")
    },
    Tool {
        paths: NESTED,
        files: &["yarn.lock"],
        build: "yarn install --frozen-lockfile",
        instead: Some((".yarnrc.yml", "yarn install --immutable")),
        ..packages("yarn", "yarn.lock", "Packages that yarn installs.")
    },
    Tool {
        paths: &[".venv"],
        files: &["uv.lock", "pyproject.toml"],
        build: "uv sync --frozen",
        ..packages("uv", "uv.lock", PYTHON)
    },
    Tool {
        unless: &["uv.lock"],
        paths: &[".venv"],
        files: &["poetry.lock"],
        build: "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install",
        ..packages("poetry", "poetry.lock", PYTHON)
    },
    Tool {
        unless: &["uv.lock", "poetry.lock"],
        paths: &[".venv"],
        files: &["requirements.txt"],
        build: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        ..packages("pip", "requirements.txt", PYTHON)
    },
    Tool {
        unless: &["uv.lock", "poetry.lock", "requirements.txt"],
        paths: &[".venv"],
        files: &["pyproject.toml"],
        build: "python3 -m venv .venv && .venv/bin/pip install -e .",
        ..packages("pip", "pyproject.toml", PYTHON)
    },
    Tool {
        paths: &["vendor/bundle"],
        files: &["Gemfile.lock"],
        build: "BUNDLE_PATH=vendor/bundle bundle install",
        ..packages("bundler", "Gemfile.lock", "Packages that Bundler installs.")
    },
    Tool {
        paths: &["vendor"],
        files: &["composer.lock"],
        build: "composer install",
        ..packages("composer", "composer.lock", "Packages that Composer installs.")
    },
    Tool {
        kind: "cargo",
        marker: "Cargo.lock",
        paths: &["target"],
        files: &["Cargo.lock"],
        build: "cargo build",
        more: INCREMENTAL,
        about: "The output of cargo, which builds on the output of the source, also when the key differs.",
        ..PLAIN
    },
    Tool {
        kind: "cmake",
        marker: "CMakeLists.txt",
        topmost: true,
        paths: &["build"],
        files: &["**/CMakeLists.txt", "**/*.cmake"],
        build: "cmake -S . -B build && cmake --build build",
        more: "incremental = true\nabsolute-paths = \"relocate\" # CMakeCache.txt names the checkout it was made in\n",
        about: "The output of CMake.",
        ..PLAIN
    },
    Tool {
        kind: "meson",
        marker: "meson.build",
        topmost: true,
        paths: &["build"],
        files: &["**/meson.build"],
        build: "test -d build || meson setup build; meson compile -C build",
        more: INCREMENTAL,
        about: "The output of Meson.",
        ..PLAIN
    },
    Tool {
        kind: "maven",
        marker: "pom.xml",
        topmost: true,
        paths: &["**/target"],
        files: &["**/pom.xml"],
        build: "mvn -q -DskipTests package",
        instead: Some(("mvnw", "./mvnw -q -DskipTests package")),
        more: INCREMENTAL,
        about: "The output of Maven.",
        ..PLAIN
    },
    gradle("settings.gradle", &[]),
    gradle("settings.gradle.kts", &["settings.gradle"]),
    gradle("build.gradle", &["settings.gradle", "settings.gradle.kts"]),
    gradle("build.gradle.kts", &["settings.gradle", "settings.gradle.kts", "build.gradle"]),
    Tool {
        kind: "foundry",
        marker: "foundry.toml",
        paths: &["out", "cache"],
        files: &["foundry.toml", "src/**", "script/**", "test/**", "lib"],
        build: "forge build",
        about: "Contracts that forge compiles.",
        ..PLAIN
    },
];
