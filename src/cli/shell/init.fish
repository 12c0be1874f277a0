# The functions of depsfs for fish.
function depsfs --wraps depsfs --description 'Artifact directories for git worktrees'
    if test "$argv[1]" != cd; or contains -- -h $argv; or contains -- --help $argv
        command depsfs $argv
    else if test "$argv[2]" = -
        cd -
    else
        set -l depsfs_top (command depsfs path $argv[2..])
        or return
        cd -- (string join \n -- $depsfs_top | string collect)
    end
end
