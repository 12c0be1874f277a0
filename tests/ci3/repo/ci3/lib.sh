# What every component's script begins with: strict, in the component's directory, ci3's folder first in PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[1]}")"
root=$(git rev-parse --show-toplevel)
export root PATH="$root/ci3:$PATH"
built() { echo "built $1" >>"${BUILD_LOG:-/dev/null}"; }
export -f built
