// SPDX-License-Identifier: LGPL-2.1-or-later
/** Which version of a source an image is. */

/** The tag of a reference, such as docker://quay.io/fedora/fedora:42; empty if it has none. */
export function tagOf(source: string): string {
    const [name = ""] = source.slice(source.indexOf(":") + 1).split("@", 1);
    const last = name.slice(name.lastIndexOf("/") + 1);
    const colon = last.indexOf(":");
    return colon < 0 ? "" : last.slice(colon + 1);
}

/** The beginning of a digest, which is enough to tell versions apart. */
export function shortDigest(digest: string): string {
    return digest.slice(digest.indexOf(":") + 1, digest.indexOf(":") + 13);
}
