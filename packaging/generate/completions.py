# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the completions of virtlayer for a shell: ``completions.py bash|fish|zsh``.

Commands and options come from the parser; pools, images and jobs are asked for when they are
needed. A name is offered by the metavar of its argument, such as POOL.
"""

import sys

from commandline import Command, Option, Positional, commands

# Prints the names to offer, a line each. Pools: those that libvirt knows.
_QUERIES = {
    "POOL": 'virsh --quiet --connect "qemu:///$bus" pool-list --name',
    "IMAGE": 'virtlayer $user images --json | sed -n \'s/^ *"name": "\\(.*\\)",*$/\\1/p\'',
    "ID": "virtlayer $user jobs --json | sed -n 's/^ *\"id\": \\([0-9]*\\),*$/\\1/p'",
}
_TRANSPORTS = ("docker://", "oci:", "oci-archive:", "docker-archive:", "dir:")

_LOOKUP = f"""\
# Prints the names of a kind, for the bus that the command line so far talks to.
_virtlayer_names() {{
    local kind=$1 bus=system user=
    shift
    for word; do
        case $word in
            --user) bus=session user=--user ;;
            --system) bus=system user= ;;
        esac
    done
    case $kind in
        POOL) {_QUERIES["POOL"]} ;;
        IMAGE) {_QUERIES["IMAGE"]} ;;
        ID) {_QUERIES["ID"]} ;;
    esac 2>/dev/null </dev/null
}}
"""


_FISH_POSITION = """\
# How many arguments without a name stand between the command and the cursor.
function __virtlayer_position
    set -l count -1
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
        else if contains -- $word {valued}
            set skip yes
        else if not string match -q -- '-*' $word
            set count (math $count + 1)
        end
    end
    echo $count
end
"""


def bash() -> str:
    """For bash-completion, in /usr/share/bash-completion/completions."""
    everything = commands()
    named = [command for command in everything if command.name]
    lines = [
        _LOOKUP,
        "_virtlayer() {",
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
        "    local command= position=0 index offered= names=",
        "    COMPREPLY=()",
        "    # What the shell took apart at colons and equals signs is one word here.",
        "    if declare -F _comp_initialize >/dev/null; then",
        "        local cur prev words cword was_split",
        "        _comp_initialize -n :=  || return",
        "        word=$cur before=$prev",
        "    else",
        '        local words=("${COMP_WORDS[@]}") cword=$COMP_CWORD',
        "    fi",
        "    for ((index = 1; index < cword; index++)); do",
        "        case ${words[index]} in",
        f"            {_valued(everything, '|')}) ((index++)) ;;",
        "            -*) ;;",
        "            *)",
        "                if [[ -z $command ]]; then command=${words[index]}",
        "                else ((position++)); fi ;;",
        "        esac",
        "    done",
        "    case $before in",
        *_bash_values(everything),
        "    esac",
        "    if [[ $word == -* ]]; then",
        "        case $command in",
        *(
            f"            {'|'.join(_names(one)) or _quoted('')}) offered={_quoted(_flags(one))} ;;"
            for one in everything
        ),
        "        esac",
        "    elif [[ -z $command ]]; then",
        f"        offered={_quoted(' '.join(name for one in named for name in _names(one)))}",
        "    else",
        "        case $command:$position in",
        *(
            f"            {name}:{position}) {_bash_positional(positional)} ;;"
            for one in named
            for name in _names(one)
            for position, positional in enumerate(one.positionals)
        ),
        "        esac",
        "    fi",
        '    [[ -n $names ]] && offered=$(_virtlayer_names "$names" "${words[@]}")',
        "    local IFS=$' \\n'",
        '    COMPREPLY+=($(compgen -W "$offered" -- "$word"))',
        "    if declare -F __ltrim_colon_completions >/dev/null; then",
        '        __ltrim_colon_completions "$word"',
        "    fi",
        "    [[ ${COMPREPLY[0]-} == *[:/] ]] && compopt -o nospace",
        "    return 0",
        "}",
        "complete -F _virtlayer virtlayer",
    ]
    return "\n".join(lines) + "\n"


def zsh() -> str:
    """For zsh's completion system, as _virtlayer in $fpath."""
    everything = commands()
    named = [command for command in everything if command.name]
    lines = [
        _LOOKUP,
        "_virtlayer_offer() {",
        "    local -a found",
        '    found=("${(@f)$(_virtlayer_names "$1" "${words[@]}")}")',
        "    compadd -a -- found",
        "}",
        "_virtlayer() {",
        "    local curcontext=$curcontext state line",
        "    local -a summaries",
        "    summaries=(",
        *(f"        {_quoted(f'{name}:{one.summary}')}" for one in named for name in _names(one)),
        "    )",
        "    _arguments -C \\",
        *(f"        {option} \\" for option in _zsh_options(everything[0])),
        "        '1:command:->command' \\",
        "        '*::argument:->arguments'",
        "    case $state in",
        "        command) _describe command summaries ;;",
        "        arguments)",
        "            case $words[1] in",
    ]
    for one in named:
        specs = [*_zsh_options(one), *_zsh_positionals(one)]
        lines += [
            f"                {'|'.join(_names(one))})",
            "                    _arguments \\",
            *(f"                        {spec} \\" for spec in specs[:-1]),
            f"                        {specs[-1]}",
            "                    ;;",
        ]
    lines += ["            esac", "            ;;", "    esac", "}", '_virtlayer "$@"']
    return "#compdef virtlayer\n" + "\n".join(lines) + "\n"


def fish() -> str:
    """For fish, in vendor_completions.d."""
    everything = commands()
    named = [command for command in everything if command.name]
    lines = [
        "function __virtlayer_names",
        "    set -l bus system",
        "    set -l user",
        "    if contains -- --user (commandline -opc)",
        "        set bus session",
        "        set user --user",
        "    end",
        "    switch $argv[1]",
    ]
    for kind, query in _QUERIES.items():
        lines += [f"        case {kind}", f"            {query} 2>/dev/null"]
    lines += [
        "    end",
        "end",
        *_FISH_POSITION.format(valued=_valued(everything, " ")).splitlines(),
        "complete -c virtlayer -f",
        f"set -l commands {' '.join(name for one in named for name in _names(one))}",
    ]
    for one in everything:
        condition = (
            f"__fish_seen_subcommand_from {' '.join(_names(one))}"
            if one.name
            else "not __fish_seen_subcommand_from $commands"
        )
        lines += [
            f'complete -c virtlayer -n "{condition}" {_fish_option(option)}'
            for option in one.options
        ]
        lines += [
            f'complete -c virtlayer -n "{condition}; and test (__virtlayer_position) = {position}"'
            f" -a {words}"
            for position, positional in enumerate(one.positionals)
            if (words := _fish_offer(positional))
        ]
    lines += [
        'complete -c virtlayer -n "not __fish_seen_subcommand_from $commands" '
        f"-a {name} -d {_quoted(one.summary)}"
        for one in named
        for name in _names(one)
    ]
    return "\n".join(lines) + "\n"


def _names(command: Command) -> tuple[str, ...]:
    return (command.name, *command.aliases) if command.name else ()


def _flags(command: Command) -> str:
    return " ".join(name for option in command.options for name in option.names)


def _all_options(everything: tuple[Command, ...]) -> dict[str, Option]:
    """The options of all commands by name; the same name means the same everywhere."""
    return {
        name: option
        for command in everything
        for option in command.options
        for name in option.names
    }


def _valued(everything: tuple[Command, ...], separator: str) -> str:
    """The options that the next word belongs to."""
    options = _all_options(everything).items()
    return separator.join(name for name, option in options if option.value)


def _bash_values(everything: tuple[Command, ...]) -> list[str]:
    lines = []
    for name, option in _all_options(everything).items():
        if option.is_path:
            lines.append(f'        {name}) COMPREPLY=($(compgen -f -- "$word")); return 0 ;;')
        elif option.words:
            words = _quoted(" ".join(option.words))
            lines.append(
                f'        {name}) COMPREPLY=($(compgen -W {words} -- "$word")); return 0 ;;'
            )
        elif option.value:
            lines.append(f"        {name}) return 0 ;;")
    return lines


def _bash_positional(positional: Positional) -> str:
    if kind := _kind(positional):
        return f"names={kind}"
    return f"offered={_quoted(' '.join(_fixed_words(positional)))}"


def _kind(positional: Positional) -> str:
    """The kind of names that are offered for an argument; of IMAGE|VOLUME, the images."""
    return next((kind for kind in positional.name.split("|") if kind in _QUERIES), "")


def _fixed_words(positional: Positional) -> tuple[str, ...]:
    return _TRANSPORTS if positional.name == "SOURCE" else positional.words


def _zsh_options(command: Command) -> list[str]:
    specs = []
    for option in command.options:
        action = "_files" if option.is_path else f"({' '.join(option.words)})"
        value = f":{_zsh_text(option.value)}:{action}" if option.value else ""
        for name in option.names:
            star = "*" if option.is_list else ""
            specs.append(_quoted(f"{star}{name}[{_zsh_text(option.summary)}]{value}"))
    return specs


def _zsh_positionals(command: Command) -> list[str]:
    specs = []
    for number, positional in enumerate(command.positionals, start=1):
        if kind := _kind(positional):
            action = f"_virtlayer_offer {kind}"
        else:
            action = f"compadd -S '' -- {' '.join(_fixed_words(positional))}"
        optional = ":" if positional.is_optional else ""
        specs.append(_quoted(f"{number}:{optional}{_zsh_text(positional.name)}:{action}"))
    return specs


def _zsh_text(text: str) -> str:
    """A text in a specification of _arguments, where colons and brackets mean something."""
    for special in "\\:[]":
        text = text.replace(special, f"\\{special}")
    return text


def _fish_option(option: Option) -> str:
    parts = [
        f"-l {name.removeprefix('--')}" if name.startswith("--") else f"-s {name.removeprefix('-')}"
        for name in option.names
    ]
    if option.is_path:
        parts.append("-r -F")
    elif option.value:
        parts.append("-x")
    if option.words:
        parts.append(f"-a {_quoted(' '.join(option.words))}")
    return " ".join([*parts, f"-d {_quoted(option.summary)}"])


def _fish_offer(positional: Positional) -> str:
    if kind := _kind(positional):
        return f"'(__virtlayer_names {kind})'"
    words = _fixed_words(positional)
    return _quoted(" ".join(words)) if words else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "fish": fish, "zsh": zsh}[sys.argv[1]]())
