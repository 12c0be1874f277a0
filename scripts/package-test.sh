#!/usr/bin/env bash
# Installs the .deb in a clean Debian, uses it there as root and as an ordinary user, upgrades it with views mounted, and
# removes it; then the same with the tarball and its installer.
#
# The clean Debian is made by debootstrap and kept as an archive for the next run. Needs root, /dev/fuse and
# scripts/package.sh's files in target/package. Leaves nothing mounted.
#
#   scripts/package-test.sh
#
#   PACKAGE_DIR=target/package         where the packages are
#   PACKAGE_SUITE=bookworm             the Debian; of another, its glibc and git have to be new enough
# The scripts in quotes are expanded inside.
# shellcheck disable=SC2016
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=$(realpath "${PACKAGE_DIR:-target/package}")
suite=${PACKAGE_SUITE:-bookworm}
mirror=${PACKAGE_MIRROR:-http://deb.debian.org/debian}
cache=$PWD/target/package-root-$suite.tar
deb=$(find "$packages" -maxdepth 1 -name 'depsfs_*.deb' | head -n 1)
tarball=$(find "$packages" -maxdepth 1 -name 'depsfs-*.tar.gz' | head -n 1)

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'package-test.sh: WRONG: %s\n' "$*" >&2; exit 1; }
for need in debootstrap unshare dpkg-deb; do
    command -v $need >/dev/null || { echo "package-test.sh: $need is missing" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "package-test.sh: needs root" >&2; exit 1; }
{ [ -f "$deb" ] && [ -f "$tarball" ]; } || { echo "package-test.sh: run scripts/package.sh first" >&2; exit 1; }

if [ -z "${PACKAGE_TEST_INSIDE:-}" ]; then
    # In namespaces of its own: what is mounted here, and the processes, end with it.
    PACKAGE_TEST_INSIDE=yes exec unshare --mount --pid --fork --mount-proc --kill-child "$0"
fi
work=$(mktemp -d /var/tmp/depsfs-package.XXXXXX)
root=$work/root
# Reached by the trap.
# shellcheck disable=SC2317
clean_up() {
    set +e
    grep -o " ${work}[^ ]*" /proc/mounts | tac | while read -r at; do umount -l "$at" || true; done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- a clean root -------------------------------------------------------------------------------------------------

if [ ! -f "$cache" ]; then
    say "debootstrap $suite"
    debootstrap --variant=minbase --include=fuse3,git,ca-certificates,procps "$suite" "$root" "$mirror" >"$work/log" 2>&1 ||
        { tail "$work/log"; fail "debootstrap"; }
    rm -rf "$root"/var/cache/apt/archives/*.deb
    tar -C "$root" -cf "$cache.new" . && mv "$cache.new" "$cache"
    rm -rf "$root"
fi
mkdir -p "$root"
tar -C "$root" -xf "$cache"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
cp "$deb" "$root/root/depsfs.deb"
cp "$tarball" "$root/root/depsfs.tar.gz"
chmod 666 "$root/dev/fuse"

inside() { # inside <root|ada> <script>
    local home=/root
    [ "$1" = root ] || home=/home/$1
    chroot --userspec="$1" "$root" env -i HOME="$home" USER="$1" TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$2"
}
# As systemd makes it on a machine that was booted.
ln -sf /proc/self/mounts "$root/etc/mtab"
inside root 'useradd -m ada'

# --- use ------------------------------------------------------------------------------------------------------------

# A repository with artifacts, and everything that the first five minutes of the README do.
setup='cd "$HOME"; git config --global user.name Ada; git config --global user.email ada@example.org
    git config --global init.defaultBranch main; rm -rf repo fix; git init -q repo; cd repo
    printf "build/\n" >.gitignore; echo source >a; git add -A; git commit -qm one; mkdir build; echo object >build/out'
use='cd "$HOME/repo"; git depsfs create fix; cd ../fix; [ "$(cat build/out)" = object ]; echo mine >build/mine
    git depsfs status; git depsfs diff | grep -q "A build/mine"; [ -z "$(git status --porcelain)" ]; [ ! -e ../repo/build/mine ]'
end='cd "$HOME/repo"; depsfs remove fix; [ ! -e ../fix ]; ! grep -q " $HOME/" /proc/mounts'

say "install: $(basename "$deb")"
# Without its dependencies it is refused; with them it needs nothing else.
inside root 'dpkg -i /root/depsfs.deb >/dev/null; depsfs --version; dpkg -s depsfs | grep -E "^(Depends|Installed-Size)"'
inside root 'test -x /sbin/mount.depsfs; test -x /sbin/umount.fuse.depsfs; test -f /usr/lib/systemd/user/depsfs.service
    git depsfs --version; gzip -dc /usr/share/man/man1/depsfs-create.1.gz | grep -q "^.TH depsfs-create 1"
    bash -c ". /usr/share/bash-completion/completions/depsfs"; test -s /usr/share/zsh/vendor-completions/_depsfs
    test -s /usr/share/fish/vendor_completions.d/depsfs.fish'
for user in root ada; do
    say "use, as $user"
    inside $user "$setup"
    inside $user "$use"
done
say "mount(8) and /sbin/mount.depsfs"
inside root 'mkdir -p /srv/lower /srv/view; echo below >/srv/lower/f; mount -t depsfs none /srv/view -o lowerdir=/srv/lower,ro
    [ "$(cat /srv/view/f)" = below ]; umount /srv/view; [ ! -e /srv/view/f ]'

# --- upgrade, with views mounted --------------------------------------------------------------------------------------

say "upgrade with views mounted"
dpkg-deb -R "$deb" "$work/new"
sed -i 's/^Version: .*/Version: 99-1/' "$work/new/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -b "$work/new" "$root/root/new.deb" >/dev/null
# A program that reads and writes all the while, and may see no error.
inside ada 'cd; touch go; (while [ -e go ]; do cat fix/build/out >/dev/null && echo x >fix/build/loop || echo failed >>errors; done) >/dev/null 2>>errors </dev/null & '
inside root 'dpkg -i /root/new.deb >/dev/null; dpkg -s depsfs | grep ^Version'
for user in root ada; do
    inside $user 'cd "$HOME/fix"; [ "$(cat build/out)" = object ]; [ "$(cat build/mine)" = mine ]
        depsfs mount; depsfs status | grep -q "\[ok\]"; depsfs doctor >"$HOME/doctor" || { cat "$HOME/doctor"; exit 1; }
        [ "$(cat build/mine)" = mine ]; cd ../repo; depsfs create second; [ "$(cat ../second/build/out)" = object ]; depsfs remove second'
done
inside ada 'cd; [ -e fix/build/loop ]; rm go; sleep 1; [ ! -s errors ] || { cat errors; exit 1; }'

# --- removal ----------------------------------------------------------------------------------------------------------

say "removal with views mounted, of root's unmounted"
inside root "$end"
inside root 'dpkg -r depsfs >/root/log; grep depsfs: /root/log; grep -q "still mounted" /root/log
    if command -v depsfs; then exit 1; fi; [ ! -e /usr/share/man/man1/depsfs.1.gz ]; [ ! -e /sbin/mount.depsfs ]'
inside ada 'cd; [ "$(cat fix/build/out)" = object ]; echo more >>fix/build/mine; fusermount3 -u fix/build
    [ "$(cat fix/build/mine)" = "mine
more" ]; [ ! -e fix/build/out ]'
inside root 'dpkg -i /root/depsfs.deb >/dev/null'
inside ada 'cd "$HOME/fix"; depsfs mount; [ "$(cat build/out)" = object ]'
inside ada "$end"
inside root 'dpkg -P depsfs >/dev/null; ! find / -xdev -name "*depsfs*" -not -path "/root/*" -not -path "/home/*" -not -path "/proc/*" \
    -not -path "/var/lib/dpkg/*" -not -path "/var/cache/*" -not -path "/var/log/*" | grep .'

# --- the tarball ------------------------------------------------------------------------------------------------------

for user in root ada; do
    say "tarball and installer, as $user"
    inside root 'rm -rf /opt/depsfs; mkdir /opt/depsfs; tar -C /opt/depsfs --strip-components=1 -xzf /root/depsfs.tar.gz; chown -R '$user' /opt/depsfs'
    path='PATH=$HOME/.local/bin:$PATH; export PATH'
    inside $user "$path; /opt/depsfs/install.sh; depsfs --version"
    inside $user "$path; $setup"
    inside $user "$path; $use"
    inside $user "$path; $end"
    inside $user "$path; /opt/depsfs/install.sh --uninstall; if command -v depsfs; then exit 1; fi"
    inside $user '[ -z "$(find /usr/local "$HOME/.local" -type f -name "*depsfs*" -not -path "*/depsfs/store/*" 2>/dev/null)" ]; [ ! -e /sbin/mount.depsfs ]'
done

echo
echo "all of it held"
