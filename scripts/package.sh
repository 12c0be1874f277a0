#!/usr/bin/env bash
# Builds depsfs for release and makes its packages: a .deb, an .rpm, and a tarball with an installer.
#
# They lie in target/package then, with SHA256SUMS. All have the same files: the stripped program, manual pages,
# completions, a systemd user unit, the helpers of mount(8), and git-depsfs, by which `git depsfs` works.
#
#   scripts/package.sh [--no-build]    --no-build: of the program that PACKAGE_PROGRAM names
#
#   PACKAGE_GLIBC=2.31                 the lowest glibc that the program is to run with: linked by zig, if that can be had;
#                                      "host" links with this machine's
#   PACKAGE_PROGRAM=FILE               with --no-build
#   PACKAGE_TOOLS=target/test-tools    where cargo-deb, cargo-generate-rpm and zig are installed if they are not in PATH
#
# With a Rust toolchain that has the target x86_64-unknown-linux-musl, PACKAGE_GLIBC=static links the program statically.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

glibc=${PACKAGE_GLIBC:-2.31}
tools=$(realpath -m "${PACKAGE_TOOLS:-target/test-tools}")
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$PWD/target/package
root=$out/root
machine=$(uname -m)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
build=yes
case ${1:-} in
    '') ;;
    --no-build) build= ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'package.sh: %s\n' "$*" >&2; exit 1; }

export PATH=$PATH:$tools/bin:$tools/zig/bin
cargo_tool() { # cargo_tool <name>@<version>
    command -v "${1%@*}" >/dev/null || cargo install --quiet --locked --root "$tools" "$1"
}

# --- the program ------------------------------------------------------------------------------------------------

triple=$machine-unknown-linux-gnu
if [ -n "$build" ]; then
    say "building"
    case $glibc in
        static)
            triple=$machine-unknown-linux-musl
            cargo build --release --locked --target "$triple"
            program=$target_dir/$triple/release/depsfs
            ;;
        host)
            cargo build --release --locked
            program=$target_dir/release/depsfs
            ;;
        *)
            if ! command -v cargo-zigbuild >/dev/null; then
                pip3 install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
                    --target "$tools/zig" ziglang==0.17.1 cargo-zigbuild==0.24.1
            fi
            # The zlib of this machine is of another glibc.
            LIBZ_SYS_STATIC=1 PYTHONPATH=$tools/zig cargo zigbuild --release --locked --target "$triple.$glibc"
            program=$target_dir/$triple/release/depsfs
            ;;
    esac
else
    program=${PACKAGE_PROGRAM:?--no-build needs PACKAGE_PROGRAM}
fi
[ -x "$program" ] || fail "there is no program $program"

# --- the files --------------------------------------------------------------------------------------------------

say "files"
rm -rf "$out"
mkdir -p "$root"/usr/{bin,sbin,lib/systemd/user,share/{man,depsfs,doc/depsfs}} \
    "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
strip -o "$root/usr/bin/depsfs" "$program"
chmod 755 "$root/usr/bin/depsfs"
depsfs=$root/usr/bin/depsfs
install -m 755 packaging/git-depsfs "$root/usr/bin/"
install -m 755 mount-helpers/mount.depsfs mount-helpers/mount.fuse.depsfs mount-helpers/umount.fuse.depsfs "$root/usr/sbin/"
sed 's,@bindir@,/usr/bin,' packaging/depsfs.service >"$root/usr/lib/systemd/user/depsfs.service"
"$depsfs" man --all "$root/usr/share/man"
"$depsfs" completions bash >"$root/usr/share/bash-completion/completions/depsfs"
"$depsfs" completions zsh >"$root/usr/share/zsh/vendor-completions/_depsfs"
"$depsfs" completions fish >"$root/usr/share/fish/vendor_completions.d/depsfs.fish"
install -m 644 README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE "$root/usr/share/doc/depsfs/"
install -m 644 mount-helpers/ci3-env.sh mount-helpers/cache-remotes.toml mount-helpers/aztec-packages.toml \
    "$root/usr/share/depsfs/"
lowest=$(objdump -T "$depsfs" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1 || true)
echo "$(du -h --apparent-size "$depsfs" | cut -f1) program, needs ${lowest:-no glibc: it is static}"

# --- the tarball: relocatable, so the unit has a mark for the directory of the program -----------------------------

say "tarball"
name=depsfs-$version-$triple
mkdir -p "$out/$name"/{bin,sbin,lib,share}
cp -a "$root/usr/bin/." "$out/$name/bin/"
cp -a "$root/usr/sbin/." "$out/$name/sbin/"
cp -a "$root/usr/lib/." "$out/$name/lib/"
cp -a "$root/usr/share/." "$out/$name/share/"
mkdir -p "$out/$name/share/zsh/site-functions"
mv "$out/$name/share/zsh/vendor-completions/_depsfs" "$out/$name/share/zsh/site-functions/"
rmdir "$out/$name/share/zsh/vendor-completions"
cp packaging/depsfs.service "$out/$name/lib/systemd/user/"
install -m 755 packaging/install.sh "$out/$name/"
tar -C "$out" --owner=0 --group=0 --sort=name -czf "$out/$name.tar.gz" "$name"
rm -rf "${out:?}/$name"

# --- packages of distributions -------------------------------------------------------------------------------------

find "$root/usr/share/man" -type f -exec gzip -9n {} +
if command -v dpkg-deb >/dev/null; then
    say ".deb"
    cargo_tool cargo-deb@3.8.0
    deb=$out/depsfs_${version}_$(dpkg --print-architecture).deb
    cargo deb --no-build --no-strip --output "$deb"
    # cargo-deb asks for the glibc of this machine, where the program may need an older one.
    dpkg-deb -R "$deb" "$out/unpacked"
    sed -i "s/libc6 (>= [0-9.]*)/libc6 (>= ${lowest#GLIBC_})/" "$out/unpacked/DEBIAN/control"
    dpkg-deb --root-owner-group -Zxz -b "$out/unpacked" "$deb" >/dev/null
    rm -rf "$out/unpacked"
else
    say "no .deb: dpkg-deb is missing"
fi
say ".rpm"
if cargo_tool cargo-generate-rpm@0.21.1; then
    cargo generate-rpm --output "$out/depsfs-$version.$machine.rpm"
else
    echo "no .rpm: cargo-generate-rpm could not be installed"
fi

say "$out"
cd "$out"
shopt -s nullglob
sha256sum -- *.tar.gz *.deb *.rpm >SHA256SUMS
ls -l -- *.tar.gz *.deb *.rpm SHA256SUMS
