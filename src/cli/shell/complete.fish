# Completion of depsfs for fish.
function __depsfs_complete
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    set -l lines (command depsfs complete -- $words[2..] "$current" 2>/dev/null)
    for line in $lines[2..]
        printf '%s\n' $line
    end
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case dirs
            __fish_complete_directories "$current" ''
        case commands
            complete -C "$current"
    end
end
complete -c depsfs -f -a '(__depsfs_complete)'
