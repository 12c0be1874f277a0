"""What the engines show: made once, kept in a directory, never written again.

    deps/npm      the packages below: 57,048 files in 7,612 directories when their dependencies were counted last
    deps/small    20,000 files of 100 to 4,000 bytes in 200 directories
    deps/web      TypeScript and webpack, with a project and 5,700 modules for them
    deps/target   what `cargo build` made of the thirty crates in crate/
    big/          files of 256 MiB and 1 GiB, and bb, a program of 38 MB
    ci/           a package-lock.json of WEB, and npm's cache with what it names
    lists/        paths in them, one a line, for the load program
"""

import os
import random
import shutil
from pathlib import Path

from run import run

VERSION = "1"
NPM = ["@aztec/aztec-node@4.1.2", "@aztec/pxe@4.1.2", "@aztec/cli@4.1.2"]
BB = "@aztec/bb.js@5.0.0"
BB_SAYS = "5.0.0-nightly.20260710"
WEB = ["typescript@5.9.3", "webpack@5.102.1", "webpack-cli@6.0.1", "@types/node@22.18.0"]


def prepare(at, npm_from, say):
    """Makes what is not there yet. `npm_from`: a directory with a node_modules made of NPM, instead of npm."""
    at = Path(at)
    stamp = at / "made"
    locked(at / "ci", say)
    if stamp.exists() and stamp.read_text() == VERSION:
        return at
    for name in ("deps", "big", "lists", "crate", "npm-cache"):
        shutil.rmtree(at / name, ignore_errors=True)
    (at / "deps").mkdir(parents=True)
    (at / "big").mkdir()
    (at / "lists").mkdir()
    say("fixtures: npm packages")
    if npm_from:
        (at / "deps/npm").mkdir()
        run("cp", "-a", Path(npm_from) / "node_modules", at / "deps/npm/node_modules")
    else:
        npm(at, at / "deps/npm", NPM)
    npm(at, at / "bb-package", [BB])
    machine = {"x86_64": "amd64-linux", "aarch64": "arm64-linux"}[os.uname().machine]
    shutil.copy2(at / f"bb-package/node_modules/@aztec/bb.js/build/{machine}/bb", at / "big/bb")
    (at / "big/bb").chmod(0o755)
    shutil.rmtree(at / "bb-package")
    npm(at, at / "deps/web", WEB)
    shutil.rmtree(at / "npm-cache", ignore_errors=True)
    say("fixtures: small files, big files, modules")
    small(at / "deps/small")
    web(at / "deps/web")
    for name, size in (("256M", 256), ("1G", 1024)):
        with open("/dev/urandom", "rb") as source, open(at / "big" / name, "wb") as f:
            for _ in range(size):
                f.write(source.read(1 << 20))
    say("fixtures: a cargo target")
    crates(at / "crate")
    run("cargo", "build", "-q", "--offline", cwd=at / "crate", env={"CARGO_TARGET_DIR": str(at / "deps/target")})
    lists(at)
    run("chmod", "-R", "a+rX", at / "deps", at / "big")  # an ordinary user adds them to a store of its own
    say("fixtures: archives")
    run("tar", "-C", at / "deps/npm", "--sort=name", "-I", "zstd -T0 -3", "-cf", at / "npm.tar.zst", "node_modules")
    run("tar", "-C", at / "deps/small", "--sort=name", "-cf", at / "small.tar", ".")
    os.sync()
    stamp.write_text(VERSION)
    return at


def npm(at, where, packages):
    where.mkdir()
    (where / "package.json").write_text('{ "private": true }\n')
    run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error",
        "--cache", at / "npm-cache", *packages, cwd=where)


def locked(where, say):
    """For `npm ci` without a network."""
    if (where / "made").exists():
        return
    say("fixtures: a package-lock.json")
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    (where / "package.json").write_text('{ "private": true }\n')
    run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error",
        "--cache", where / "cache", *WEB, cwd=where)
    # Once before: what it asks for is not quite what `npm install` has put into the cache.
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error",
        "--cache", where / "cache", cwd=where)
    shutil.rmtree(where / "node_modules")
    run("chmod", "-R", "a+rwX", where)  # npm writes into its cache at each run, whoever runs it
    (where / "made").touch()


def small(where):
    random_of = random.Random(1)
    words = ["export", "const", "import", "return", "function", "value", "needle", "index", "string", "module"]
    for d in range(200):
        below = where / f"dir{d:03}"
        below.mkdir(parents=True)
        for n in range(100):
            size, text = random_of.randint(100, 4000), []
            while size > 0:
                text.append(random_of.choice(words))
                size -= len(text[-1]) + 1
            (below / f"file{n:03}.js").write_text(" ".join(text) + "\n")


def web(where):
    """57 packages of 100 modules, and a TypeScript project that uses the types of node and webpack."""
    packages = where / "node_modules"
    for p in range(57):
        package = packages / f"bench-{p}"
        package.mkdir()
        (package / "package.json").write_text(f'{{ "name": "bench-{p}", "version": "1.0.0", "main": "index.js" }}\n')
        for n in range(99):
            (package / f"m{n}.js").write_text(f"exports.value = {n};\nexports.twice = (x) => 2 * x + {p};\n")
        calls = "\n".join(f"sum += require('./m{n}').twice({n});" for n in range(99))
        (package / "index.js").write_text(f"let sum = 0;\n{calls}\nmodule.exports = sum;\n")
    everything = "\n".join(f"sum += require('bench-{p}');" for p in range(57))
    (where / "all.js").write_text(f"let sum = 0;\n{everything}\nconsole.log(sum);\n")
    some = "\n".join(f"sum += require('bench-{p}');" for p in range(8))
    (where / "some.js").write_text(f"let sum = 0;\n{some}\nconsole.log(sum);\n")
    (where / "src").mkdir()
    for n in range(20):
        (where / f"src/part{n}.ts").write_text(
            "import * as fs from 'node:fs';\nimport type { Configuration } from 'webpack';\n"
            f"export const part{n} = (c: Configuration): number => fs.readdirSync(c.context ?? '.').length + {n};\n")
    (where / "tsconfig.json").write_text(
        '{ "compilerOptions": { "strict": true, "noEmit": true, "target": "es2022", "module": "nodenext",'
        ' "skipLibCheck": true, "types": ["node"] }, "include": ["src"] }\n')


def crates(where):
    """A program and thirty libraries, without anything from a registry."""
    names = [f"part{n}" for n in range(30)]
    (where / "src").mkdir(parents=True)
    dependencies = "\n".join(f'{name} = {{ path = "{name}" }}' for name in names)
    (where / "Cargo.toml").write_text(
        f'[package]\nname = "whole"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{dependencies}\n[workspace]\n')
    uses = "\n".join(f'    println!("{{}}", {name}::sum(&[1, 2, 3]));' for name in names)
    (where / "src/main.rs").write_text(f"fn main() {{\n{uses}\n}}\n")
    (where / "src/main.rs").chmod(0o666)  # an ordinary user touches it
    for name in names:
        (where / name / "src").mkdir(parents=True)
        (where / name / "Cargo.toml").write_text(
            f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n')
        (where / name / "src/lib.rs").write_text(
            "use std::collections::BTreeMap;\npub fn sum(of: &[u64]) -> u64 {\n"
            "    let map: BTreeMap<u64, String> = of.iter().map(|n| (*n, format!(\"{n:?}\"))).collect();\n"
            "    map.iter().map(|(n, s)| n + s.len() as u64).sum()\n}\n")


def lists(at):
    every, dirs, counts = [], [], {}
    npm_dir = at / "deps/npm"
    for base, names, files in os.walk(npm_dir):
        here = Path(base).relative_to(npm_dir)
        dirs.append(str(here))
        every += [str(here / n) for n in names + files]
        for above in (here, *here.parents):
            counts[above] = counts.get(above, 0) + len(files)
    every.sort(key=lambda p: (p.count("/"), p))
    write(at / "lists/every", every)
    write(at / "lists/missing", [f"{d}/no-such-{n}.js" for n in range(20000 // len(dirs) + 1) for d in dirs][:20000])
    files = [f"dir{d:03}/file{n:03}.js" for d in range(200) for n in range(100)]
    random.Random(2).shuffle(files)
    write(at / "lists/small", files)
    write(at / "lists/half", sorted(files[:10000]))
    subtree = min((p for p in counts if 2 <= len(p.parts) <= 4), key=lambda p: abs(counts[p] - 2300))
    write(at / "lists/subtree", [str(subtree), str(counts[subtree])])


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
