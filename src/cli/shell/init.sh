# The functions of depsfs for bash and zsh.
depsfs() {
    case "${1-}:${2-}" in
        cd:-) builtin cd - && return ;;
        cd:-h | cd:--help) command depsfs "$@" ;;
        cd:*)
            shift
            local depsfs_top
            # The x keeps a line end that the name may have at its end.
            depsfs_top=$(command depsfs path "$@" && printf x) || return
            builtin cd -- "${depsfs_top%?x}"
            ;;
        *) command depsfs "$@" ;;
    esac
}
