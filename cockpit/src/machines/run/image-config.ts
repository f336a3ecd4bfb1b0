// SPDX-License-Identifier: LGPL-2.1-or-later
/** What an image starts, from its OCI config. The config comes from a registry: it can be anything. */

export interface Startup {
    readonly entrypoint: readonly string[];
    readonly command: readonly string[];
}

/** @param config JSON; empty if it is not known. */
export function startupOf(config: string): Startup {
    const section = objectOf(objectOf(parsed(config)).config);
    return { entrypoint: stringsOf(section.Entrypoint), command: stringsOf(section.Cmd) };
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function stringsOf(value: unknown): readonly string[] {
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : [];
}
