#!/usr/bin/env bash
# The mount tests, as this user and, when that is root, once more as an ordinary one (uid 65534, through
# fusermount3). For that /dev/fuse must be open to all users, as distributions ship it; where it is not
# (minimal machines), this script does `chmod 666 /dev/fuse` and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --test mount "$@"
[ "$(id -u)" = 0 ] || exit 0

if ! command -v fusermount3 >/dev/null || ! command -v setpriv >/dev/null; then
    echo "skipped as an ordinary user: fusermount3 or setpriv is missing"
    exit 0
fi
if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    echo "chmod 666 /dev/fuse (was $(stat -c %a /dev/fuse)), so that an ordinary user can mount"
    chmod 666 /dev/fuse
fi
tests=$(cargo test --test mount --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"mount".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
echo "as uid 65534:"
exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$tests"
