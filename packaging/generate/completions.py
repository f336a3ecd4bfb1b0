# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the completions of virtlayer for a shell: ``completions.py bash|fish|zsh``.

Commands and options come from the parser; pools, images and jobs are asked for when they are
needed. A name is offered by the metavar of its argument, such as POOL.
"""

import sys
from collections import defaultdict
from dataclasses import replace

from commandline import Command, Option, Positional
from commandline import commands as all_commands

_QUERIES = {
    "POOL": "df --quiet",
    "IMAGE": "images --quiet",
    "VOLUME": "volumes --quiet",
    "MACHINE": "ps --all --quiet",
    "RUNNING-MACHINE": "ps --quiet",
    "ID": "jobs --quiet",
    "ACTIVE-ID": "jobs --quiet --filter state=queued --filter state=running",
}
"""Commands of virtlayer that print the names to offer, a line each."""
_POOLS_HERE = 'virsh --quiet --connect "qemu:///$bus" pool-list --name'
"""Prints all pools of this host that libvirt knows, also those that can have no images."""
_NO_QUESTIONS = "SSH_ASKPASS=/bin/false SSH_ASKPASS_REQUIRE=force"
"""Lets ssh fail in place of asking for a password or about a key."""
_SECONDS = 5
"""How long a completion waits for another host."""
_HOST = "[USER@]HOST[:PORT]"
"""The value of --host."""
_BASH_HOSTS = (
    "if declare -F _comp_compgen_known_hosts >/dev/null; then "
    '_comp_compgen_known_hosts -a -- "$word"; '
    "elif declare -F _known_hosts_real >/dev/null; then "
    '_known_hosts_real -a -- "$word"; fi'
)
"""Names from ssh_config and known_hosts, by bash-completion of 2.12 or before."""
_NARROWER = {"cancel": "ACTIVE-ID", "stop": "RUNNING-MACHINE"}
"""Commands that are offered fewer names than the metavar of their argument says."""
_PATHS = ("oci", "oci-archive", "docker-archive", "dir")
_TRANSPORTS = ("docker://", *(f"{name}:" for name in _PATHS))

_LOOKUP = f"""\
# Prints the names of a kind, for the host and the bus that the command line so far talks to.
_virtlayer_names() {{
    local kind=$1 bus=system user=--system host= program= before= word
    local -a run
    shift
    for word; do
        # bash may take --host=web apart.
        [[ $word == "=" ]] && continue
        case $before in
            -H|--host) host=$word ;;
            --remote-command) program=$word ;;
        esac
        case $word in
            --user) bus=session user=--user ;;
            --system) bus=system user=--system ;;
            --host=*) host=${{word#*=}} ;;
            -H?*) host=${{word#-H}} ;;
            --remote-command=*) program=${{word#*=}} ;;
        esac
        before=$word
    done
    run=(virtlayer "$user")
    if [[ -n $host ]]; then
        run=(env {_NO_QUESTIONS} timeout {_SECONDS} virtlayer "$user" "--host=$host")
        [[ -n $program ]] && run+=("--remote-command=$program")
    elif [[ $kind == POOL ]]; then
        {_POOLS_HERE} 2>/dev/null </dev/null
        return
    fi
    case $kind in
{"\n".join(f'        {kind}) "${{run[@]}}" {query} ;;' for kind, query in _QUERIES.items())}
    esac 2>/dev/null </dev/null
}}
"""


_FISH_POSITION = """\
# The command and its arguments without a name, up to the cursor.
function __virtlayer_words
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
        else if contains -- $word {valued}
            set skip yes
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end
# Whether the command is one of these. __fish_seen_subcommand_from of fish 4.0 takes rm for rmi.
function __virtlayer_uses
    set -l words (__virtlayer_words)
    test (count $words) -gt 0; and contains -- $words[1] $argv
end
# How many arguments without a name stand between the command and the cursor.
function __virtlayer_position
    math (count (__virtlayer_words)) - 1
end
"""
_FISH_LOOKUP = f"""\
    set -l bus system
    set -l user --system
    set -l host
    set -l program
    set -l before
    for word in (commandline -opc)
        switch "$before"
            case -H --host
                set host $word
            case --remote-command
                set program --remote-command=$word
        end
        if test "$word" = --user
            set bus session
            set user --user
        else if string match -qr -- '^(--host=|-H).' $word
            set host (string replace -r -- '^(--host=|-H)' '' $word)
        else if string match -q -- '--remote-command=*' $word
            set program $word
        end
        set before $word
    end
    set -l run virtlayer $user
    if test -n "$host"
        set run env {_NO_QUESTIONS} timeout {_SECONDS} virtlayer $user --host=$host $program
    else if test $argv[1] = POOL
        {_POOLS_HERE} 2>/dev/null </dev/null
        return
    end
"""
_FISH_SOURCES = f"""\
function __virtlayer_sources
    set -l parts (string match -r '^({"|".join(_PATHS)}):(.*)' -- (commandline -ct))
    if test (count $parts) = 3
        for path in (__fish_complete_path $parts[3])
            echo $parts[2]:$path
        end
    else
        printf '%s\\n' {" ".join(_TRANSPORTS)}
    end
end
"""


def bash() -> str:
    """For bash-completion, in /usr/share/bash-completion/completions."""
    everything = _by_first_word()
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
        "    # --option=value",
        "    if [[ $word == --*=* ]]; then before=${word%%=*} word=${word#*=}; fi",
        "    for ((index = 1; index < cword; index++)); do",
        "        case ${words[index]} in",
        f"            {_valued(everything, '|')}) ((index++)) ;;",
        "            -*) ;;",
        "            *)",
        "                if [[ -z $command ]]; then command=${words[index]}",
        "                else ((position++)); fi ;;",
        "        esac",
        "    done",
        "    case $command:$before in",
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
            f"            {name}:{'*' if positional.is_list else position})"
            f" {_bash_positional(one, positional)} ;;"
            for one in named
            for name in _names(one)
            for position, positional in enumerate(one.positionals)
        ),
        "        esac",
        "    fi",
        "    for index in $names; do",
        '        offered+=$\'\\n\'$(_virtlayer_names "$index" "${words[@]}")',
        "    done",
        "    local IFS=$' \\n'",
        f"    if [[ $offered == *docker://* && $word =~ ^({'|'.join(_PATHS)}):(.*) ]]; then",
        '        COMPREPLY+=($(compgen -P "${BASH_REMATCH[1]}:" -f -- "${BASH_REMATCH[2]}"))',
        "    else",
        '        COMPREPLY+=($(compgen -W "$offered" -- "$word"))',
        "    fi",
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
    everything = _by_first_word()
    named = [command for command in everything if command.name]
    lines = [
        _LOOKUP,
        "_virtlayer_offer() {",
        "    local kind",
        "    local -a found",
        "    for kind; do",
        "        if [[ $kind == SOURCE ]]; then",
        f"            if compset -P '({'|'.join(_PATHS)}):'; then _files; return; fi",
        f"            compadd -S '' -- {' '.join(_TRANSPORTS)}",
        "        else",
        '            found=("${(@f)$(_virtlayer_names "$kind" "${words[@]}")}")',
        "            compadd -a -- found",
        "        fi",
        "    done",
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
    everything = _by_first_word()
    named = [command for command in everything if command.name]
    lines = [
        "function __virtlayer_names",
        *_FISH_LOOKUP.splitlines(),
        "    switch $argv[1]",
    ]
    for kind, query in _QUERIES.items():
        lines += [f"        case {kind}", f"            $run {query} 2>/dev/null </dev/null"]
    lines += [
        "    end",
        "end",
        *_FISH_POSITION.format(valued=_valued(everything, " ")).splitlines(),
        *_FISH_SOURCES.splitlines(),
        "complete -c virtlayer -f",
        f"set -l commands {' '.join(name for one in named for name in _names(one))}",
    ]
    for one in everything:
        condition = (
            f"__virtlayer_uses {' '.join(_names(one))}"
            if one.name
            else "not __virtlayer_uses $commands"
        )
        lines += [
            f'complete -c virtlayer -n "{condition}" {_fish_option(option)}'
            for option in one.options
        ]
        lines += [
            f'complete -c virtlayer -n "{condition}; and test (__virtlayer_position)'
            f' {"-ge" if positional.is_list else "="} {position}"'
            f" -a {words}"
            for position, positional in enumerate(one.positionals)
            if (words := _fish_offer(one, positional))
        ]
    lines += [
        'complete -c virtlayer -n "not __virtlayer_uses $commands" '
        f"-a {name} -d {_quoted(one.summary)}"
        for one in named
        for name in _names(one)
    ]
    return "\n".join(lines) + "\n"


def _by_first_word() -> tuple[Command, ...]:
    """The commands, each with the commands below it as words of its first argument."""
    found: dict[str, Command] = {}
    for one in all_commands():
        first, _, second = one.name.partition(" ")
        if not second:
            found[first] = one
            continue
        above = found[first]
        words = above.positionals[0].words if above.positionals else ()
        found[first] = replace(
            above,
            options=tuple(dict.fromkeys((*above.options, *one.options))),
            positionals=(
                Positional("COMMAND", False, False, (*words, second), ""),
                *one.positionals,
            ),
        )
    return tuple(found.values())


def _names(command: Command) -> tuple[str, ...]:
    return (command.name, *command.aliases) if command.name else ()


def _flags(command: Command) -> str:
    return " ".join(name for option in command.options for name in option.names)


def _all_options(everything: tuple[Command, ...]) -> dict[str, Option]:
    """The options of all commands by name; the same name takes a value everywhere, or nowhere."""
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
    """What completes the values of options. One name can mean several things (--format)."""
    patterns: dict[tuple[str, str], list[str]] = defaultdict(list)
    for command in everything:
        for option in command.options:
            if option.value:
                commands = _names(command) or ("",)
                patterns[_bash_value(option), "|".join(option.names)] += commands
    return [
        f"        {'|'.join(f'{command}:{name}' for command in commands for name in names)})"
        f" {offer} ;;"
        for (offer, joined), commands in patterns.items()
        for names in [joined.split("|")]
    ]


def _bash_value(option: Option) -> str:
    if option.value == _HOST:
        return f"{_BASH_HOSTS}; return 0"
    if option.is_path:
        return 'COMPREPLY=($(compgen -f -- "$word")); return 0'
    if option.words:
        words = _quoted(" ".join(option.words))
        return f'COMPREPLY=($(compgen -W {words} -- "$word")); return 0'
    return "return 0"


def _bash_positional(command: Command, positional: Positional) -> str:
    kinds = _kinds(command, positional)
    words = _TRANSPORTS if "SOURCE" in kinds else positional.words
    names = " ".join(kind for kind in kinds if kind in _QUERIES)
    return f"names={_quoted(names)} offered={_quoted(' '.join(words))}"


def _kinds(command: Command, positional: Positional) -> tuple[str, ...]:
    """The kinds of names that are offered for an argument."""
    if narrower := _NARROWER.get(command.name):
        return (narrower,)
    kinds = positional.name.split("|")
    return tuple(kind for kind in kinds if kind in _QUERIES or kind == "SOURCE")


def _zsh_options(command: Command) -> list[str]:
    specs = []
    for option in command.options:
        action = "_files" if option.is_path else f"({' '.join(option.words)})"
        action = "_hosts" if option.value == _HOST else action
        value = f":{_zsh_text(option.value)}:{action}" if option.value else ""
        for name in option.names:
            star = "*" if option.is_list else ""
            # With an equals sign, the value may follow one or be the next word.
            equals = "=" if option.value and name.startswith("--") else ""
            specs.append(_quoted(f"{star}{name}{equals}[{_zsh_text(option.summary)}]{value}"))
    return specs


def _zsh_positionals(command: Command) -> list[str]:
    specs = []
    for number, positional in enumerate(command.positionals, start=1):
        if kinds := _kinds(command, positional):
            action = f"_virtlayer_offer {' '.join(kinds)}"
        else:
            action = f"({' '.join(positional.words)})"
        place = "*" if positional.is_list else str(number)
        optional = ":" if positional.is_optional and not positional.is_list else ""
        specs.append(_quoted(f"{place}:{optional}{_zsh_text(positional.name)}:{action}"))
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
    if option.value == _HOST:
        parts.append("-a '(__fish_print_hostnames)'")
    return " ".join([*parts, f"-d {_quoted(option.summary)}"])


def _fish_offer(command: Command, positional: Positional) -> str:
    if kinds := _kinds(command, positional):
        calls = (
            "(__virtlayer_sources)" if kind == "SOURCE" else f"(__virtlayer_names {kind})"
            for kind in kinds
        )
        return f'"{" ".join(calls)}"'
    return _quoted(" ".join(positional.words)) if positional.words else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "fish": fish, "zsh": zsh}[sys.argv[1]]())
