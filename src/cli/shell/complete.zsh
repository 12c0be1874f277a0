#compdef depsfs
# Completion of depsfs for zsh.
_depsfs() {
    local -a lines described
    local paths line
    lines=("${(@f)$(command depsfs complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    paths=$lines[1]
    for line in "${(@)lines[2,-1]}"; do
        described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe -t words depsfs described
    case $paths in
        files) _files ;;
        dirs) _files -/ ;;
        commands) _command_names -e ;;
    esac
}
if [ "$funcstack[1]" = _depsfs ]; then
    _depsfs "$@"
else
    compdef _depsfs depsfs
fi
