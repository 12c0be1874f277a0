# Completion of depsfs for bash 4.4 and later.
_depsfs() {
    local paths value described
    local -a found
    COMPREPLY=()
    {
        IFS= read -r paths
        while IFS=$'\t' read -r value described; do COMPREPLY+=("$value"); done
    } < <(command depsfs complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case $paths in
        files) mapfile -t found < <(compgen -f -- "$2") ;;
        dirs) mapfile -t found < <(compgen -d -- "$2") ;;
        commands) mapfile -t found < <(compgen -c -- "$2") ;;
    esac
    # Quotes what a shell would read as more than a name.
    [ "$paths" = - ] || compopt -o filenames 2>/dev/null
    COMPREPLY+=("${found[@]}")
}
complete -o bashdefault -F _depsfs depsfs
