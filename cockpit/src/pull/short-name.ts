// SPDX-License-Identifier: LGPL-2.1-or-later
/** The name that the service gives an image if none is asked for, as in its service/source/reference.py. */

const ARCHIVES = ["docker-archive", "oci-archive"];
const LOCAL = [...ARCHIVES, "oci", "dir"];
/** So many characters of a digest are in a name. */
const DIGEST_LENGTH = 19;

function lastPart(path: string): string {
    return path.replace(/\/+$/, "").split("/").at(-1) ?? "";
}

/** Whether a source is a file or directory of this host. */
export function isLocal(source: string): boolean {
    return LOCAL.some((transport) => source.startsWith(`${transport}:`));
}

/** Such as "debian:13" for docker://docker.io/library/debian:13; empty for what is not a reference. */
export function shortName(source: string): string {
    const transport = LOCAL.find((name) => source.startsWith(`${name}:`));
    return transport === undefined ? nameInRegistry(source) : nameOfFile(transport, source.slice(transport.length + 1));
}

function nameInRegistry(source: string): string {
    const [named = "", digest] = source.replace(/^docker:\/\//, "").replace(/\/+$/, "").split("@");
    const last = lastPart(named);
    if (last === "" || last.includes(":")) return last;
    return digest === undefined || digest === "" ? `${last}:latest` : `${last}@${digest.slice(0, DIGEST_LENGTH)}`;
}

function nameOfFile(transport: string, rest: string): string {
    const colon = transport === "dir" ? -1 : rest.indexOf(":");
    const path = colon < 0 ? rest : rest.slice(0, colon);
    const tag = colon < 0 ? "" : rest.slice(colon + 1);
    if (transport === "docker-archive" && tag !== "" && !tag.startsWith("@")) return lastPart(tag);
    const file = lastPart(path);
    const base = ARCHIVES.includes(transport) ? file.replace(/\.tar$/, "") : file;
    return tag === "" || base === "" ? base : `${base}:${lastPart(tag).replace(/^@/, "")}`;
}
