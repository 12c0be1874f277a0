#!/bin/sh
# Installs depsfs from this directory, as its tarball unpacks it.
#
#   ./install.sh [--prefix DIR]       default: /usr/local as root, ~/.local as an ordinary user
#   ./install.sh --uninstall [--prefix DIR]
#
# As root it also links the helpers of mount(8) into /sbin. The list of installed files is in
# PREFIX/share/depsfs/installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=
uninstall=
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?--prefix takes a directory}; shift ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --uninstall) uninstall=yes ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
is_root=
if [ "$(id -u)" = 0 ]; then is_root=yes; fi
if [ -z "$prefix" ]; then
    prefix=/usr/local
    [ -n "$is_root" ] || prefix=$HOME/.local
fi
case $prefix in
/*) ;;
*) prefix=$PWD/$prefix ;;
esac
list=$prefix/share/depsfs/installed
helpers="mount.depsfs mount.fuse.depsfs umount.fuse.depsfs"

if [ -n "$uninstall" ]; then
    [ -f "$list" ] || { echo "install.sh: nothing is installed in $prefix" >&2; exit 1; }
    while IFS= read -r file; do rm -f "$prefix/$file"; done <"$list"
    rm -f "$list"
    rmdir "$prefix/share/depsfs" "$prefix/share/doc/depsfs" 2>/dev/null || true
    for name in $helpers; do
        [ -z "$is_root" ] || [ "$(readlink "/sbin/$name")" != "$prefix/sbin/$name" ] || rm "/sbin/$name"
    done
    echo "removed depsfs from $prefix"
    exit 0
fi

cd "$here"
find bin sbin lib share -type f | sort >"$here/.installed.$$"
trap 'rm -f "$here/.installed.$$"' EXIT
while IFS= read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    # Beside, then renamed: a daemon may run the old program.
    case $file in
    *.service) sed "s,@bindir@,$prefix/bin," "$file" >"$prefix/$file.new" && chmod 644 "$prefix/$file.new" ;;
    *) cp "$file" "$prefix/$file.new" ;;
    esac
    mv "$prefix/$file.new" "$prefix/$file"
done <"$here/.installed.$$"
mkdir -p "${list%/*}"
cp "$here/.installed.$$" "$list"
for name in $helpers; do
    [ -z "$is_root" ] || [ -e "/sbin/$name" ] || ln -s "$prefix/sbin/$name" "/sbin/$name"
done
echo "installed $("$prefix/bin/depsfs" --version) in $prefix"
command -v fusermount3 >/dev/null || echo "  missing: fusermount3 (package fuse3), without which only root can mount"
command -v git >/dev/null || echo "  missing: git"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) echo "  next: add $prefix/bin to PATH" ;;
esac
