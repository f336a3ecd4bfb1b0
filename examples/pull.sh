#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Pulls an image into a pool, with busctl: pull.sh SOURCE [POOL]
set -euo pipefail

# Without --user: the pools of qemu:///system.
ask() {
    busctl --user "$@"
}

# Prints: uo 1 "/org/virtlayer1/job/1"
reply=$(ask call org.virtlayer1 /org/virtlayer1 org.virtlayer1.Manager \
    Pull 'ssa{sv}' "$1" "${2:-default}" 1 name s "${1##*/}")
job=$(cut -d '"' -f 2 <<<"$reply")

property() {
    ask get-property org.virtlayer1 "$job" org.virtlayer1.Job "$@"
}

# A shell hears no signals; a job stays readable for five minutes after its end.
while state=$(property State | cut -d '"' -f 2); [[ $state == queued || $state == running ]]; do
    property Stage Progress | tr '\n' ' '
    echo
    sleep 0.5
done
if [[ $state != done ]]; then
    property Error Message >&2
    exit 1
fi
property --json=pretty Result
