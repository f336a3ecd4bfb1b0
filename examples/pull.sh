#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Pulls an image into a pool, with busctl: pull.sh SOURCE [POOL]
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo 'usage: pull.sh SOURCE [POOL]' >&2
    exit 2
fi

# Without --user: the pools of qemu:///system.
ask() {
    busctl --user "$@"
}

# Prints: uo 1 "/org/virtlayer1/job/1"
reply=$(ask call org.virtlayer1 /org/virtlayer1 org.virtlayer1.Manager \
    Pull 'ssa{sv}' "$1" "${2:-default}" 1 name s "${1##*/}")
job=$(echo "$reply" | cut -d '"' -f 2)

property() {
    ask get-property org.virtlayer1 "$job" org.virtlayer1.Job "$@"
}

# Replies when the job has ended, also if that was before the call. By itself, busctl waits for 25
# seconds only. Prints: sssa{sv} "done" "" "" 9 "name" ...
case $(ask --timeout=1d call org.virtlayer1 "$job" org.virtlayer1.Job Wait) in
'sssa{sv} "done"'*) property --json=pretty Result ;;
*)
    property Error Message >&2
    exit 1
    ;;
esac
