#!/usr/bin/env bash
# How long `depsfs create` takes when every artifact is to be had: 200 components, from each place they can be in.
#
# 160 of them are tarballs of one file that all go into one directory, 40 are directories of 25 files each, with keys of
# their own. Each create is checked: every file as the artifact has it, `git status` clean, nothing built. What is printed
# is the time beyond `git worktree add`; an error when one takes longer than is promised.
#
#   scripts/all-hits.sh              ALL_HITS_MS=2000: the most, beyond git's own work
#                                    DEPSFS_PROGRAM=…: this program, instead of one built for it
set -euo pipefail
unset CI NO_CACHE NO_CACHE_UPLOAD CACHE_LOCAL_DIR CI3_SERVER S3_BUILD_CACHE_AWS_PARAMS CACHE_SSH_HOST DEPSFS_CACHE_URL

most=${ALL_HITS_MS:-2000}
server= wrong=0
also_end() { [ -z "$server" ] || kill "$server"; }
# shellcheck source=scripts/measuring.sh
. "$(dirname "${BASH_SOURCE[0]}")/measuring.sh"
export XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config
mkdir "$work/source" "$work/made" "$work/www" && cd "$work/source"
git init -q -b main
git config user.name 'All Hits'
git config user.email hits@example.invalid
printf '%s\n' target/ dest/ >.gitignore

# The key of each is a file of its own; a build would be told.
declare_one() { # declare_one <name> <dir> <path>
    mkdir -p "$2" keys
    echo "source of $1" >"keys/$1"
    printf '[[component]]\nname = "%s"\ndir = "%s"\npaths = ["%s"]\nkey = { files = ["/keys/%s"] }\n' "$1" "$2" "$3" "$1"
    printf 'cache = "%s-{key}.tar.gz"\nbuild = "echo %s >>%s/built; false"\n' "$1" "$1" "$work"
}
{
    for n in $(seq 160); do declare_one "contract$n" contracts "target/contract$n.json"; done
    for n in $(seq 40); do declare_one "package$n" "packages/p$n" dest; done
} >depsfs.toml
touch contracts/source
for n in $(seq 40); do echo "$n" >"packages/p$n/source"; done
git add . && git commit -qm all
"$depsfs" approve >/dev/null 2>&1

# What each component's artifact is called is what a dry run says of it.
DEPSFS_STORE=$work/none "$depsfs" create look --allow-unbuilt --dry-run |
    sed -n 's/^  \([a-z0-9]*\): .*\(to be built: there is no \|artifact \)\(.*\)$/\1 \3/p' >"$work/names"
[ "$(wc -l <"$work/names")" = 200 ] || { echo "all-hits: WRONG: no 200 names"; head "$work/names"; exit 1; }
mkdir "$work/www/artifacts"
while read -r name artifact; do
    case $name in
        contract*) at=contracts/target files=("$at/$name.json") ;;
        *) at=packages/p${name#package}/dest files=("$at"/f{1..25}) ;;
    esac
    mkdir -p "$work/made/$at"
    for file in "${files[@]}"; do seq -f "$name $file %.0f" 200 >"$work/made/$file"; done
    tar -C "$work/made/${at%/*}" -czf "$work/www/artifacts/$artifact" "${files[@]/#${at%/*}\//}"
done <"$work/names"
(cd "$work/made" && find . -type f -exec sha256sum {} + | sort) >"$work/sums"
echo "200 artifacts, $(wc -l <"$work/sums") files, $(du -sm "$work/made" | cut -f1) MB; load $(cut -d' ' -f1 /proc/loadavg)"

alone=()
for _ in 1 2 3 4 5; do
    took git worktree add -q -b "alone$RANDOM$RANDOM" "$work/alone"
    alone+=("$ms")
    git worktree remove "$work/alone"
done
git=$(median "${alone[@]}")

number=0
created() { # created <where from>: with what is set, a create, and all it has to be
    number=$((number + 1))
    took "$depsfs" create "w$number" --allow-unbuilt
    local beyond=$((ms - git)) said=ok
    (cd "$work/w$number" && find contracts/target packages/*/dest -type f -exec sha256sum {} + | sed 's/  /  .\//' | sort) |
        cmp - "$work/sums" || said='WRONG: not what the artifacts hold'
    [ -z "$(git -C "$work/w$number" status --porcelain)" ] || said='WRONG: git status is not empty'
    [ ! -e "$work/built" ] || said='WRONG: something was built'
    [ "$beyond" -le "$most" ] || said="WRONG: more than $most"
    [ "$said" = ok ] || wrong=1
    printf '%-48s %6s ms beyond git (%s ms), %6s ms of processors  %s\n' "$1" "$beyond" "$git" "$cpu" "$said"
}

mkdir "$work/local" && cp "$work"/www/artifacts/* "$work/local/"
export DEPSFS_STORE=$work/store1 CACHE_LOCAL_DIR=$work/local
created 'from CACHE_LOCAL_DIR, the first time'
unset CACHE_LOCAL_DIR
created 'from the store'
created 'from the store, once more'

# A server that answers several at once, on a port that is free.
python3 -c '
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
handler = functools.partial(Quiet, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()' "$work/www" >"$work/port" &
server=$!
until [ -s "$work/port" ]; do sleep 0.05; done
export DEPSFS_STORE=$work/store2 CI3_SERVER=http://127.0.0.1:$(cat "$work/port") CACHE_LOCAL_DIR=$work/local2
created 'from a remote on this machine, the first time'
exit "$wrong"
