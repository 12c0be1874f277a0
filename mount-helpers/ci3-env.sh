# shellcheck shell=bash
# Source this in bash, and ci3's cache_download and cache_upload are depsfs's in this shell and all it starts:
#
#   source .../mount-helpers/ci3-env.sh
#
# Artifacts then show in views where git ignores them, instead of being extracted. A function goes before any program in
# PATH, ci3's own folder first or not, and reaches `xargs bash -c` because it is exported. With CI=1, without bash or
# without depsfs nothing is changed. Sourcing it again is harmless; `set -eu` may be on.
if [ -z "${BASH_VERSION:-}" ]; then
    echo "ci3-env.sh: only bash can hand functions on; nothing was changed" >&2
elif [ "${CI:-0}" = 0 ] || [ "${CI:-0}" = false ]; then
    if command -v "${DEPSFS_PROGRAM:-depsfs}" >/dev/null 2>&1; then
        # Whatever becomes of PATH and of the working directory.
        DEPSFS_PROGRAM=$(command -v "${DEPSFS_PROGRAM:-depsfs}")
        case $DEPSFS_PROGRAM in
            /*) ;;
            *) DEPSFS_PROGRAM=$(cd "$(dirname "$DEPSFS_PROGRAM")" && pwd)/$(basename "$DEPSFS_PROGRAM") ;;
        esac
        export DEPSFS_PROGRAM

        cache_download() { "$DEPSFS_PROGRAM" cache get "$@"; }
        cache_upload() { "$DEPSFS_PROGRAM" cache put "$@"; }
        export -f cache_download cache_upload

        # A view is a file system of its own: git, asked inside one, looks further up.
        export GIT_DISCOVERY_ACROSS_FILESYSTEM=1
    else
        echo "ci3-env.sh: ${DEPSFS_PROGRAM:-depsfs} is not in PATH; nothing was changed" >&2
    fi
fi
