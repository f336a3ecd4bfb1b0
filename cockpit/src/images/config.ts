// SPDX-License-Identifier: LGPL-2.1-or-later
/** What an OCI config says of the program of an image. Images come from everywhere: nothing in it is trusted. */

export interface Config {
    readonly entrypoint: readonly string[];
    readonly command: readonly string[];
    /** The names of its variables. */
    readonly environment: readonly string[];
    readonly user: string;
    readonly workingDirectory: string;
    /** Such as "80/tcp". */
    readonly ports: readonly string[];
    readonly volumes: readonly string[];
}

/** Parses a config; what is missing or of another type is empty. undefined if it is not a JSON object. */
export function configOf(json: string): Config | undefined {
    let parsed: unknown;
    try {
        parsed = JSON.parse(json);
    } catch {
        return undefined;
    }
    if (!isObject(parsed)) return undefined;
    const config = isObject(parsed.config) ? parsed.config : {};
    return {
        entrypoint: texts(config.Entrypoint),
        command: texts(config.Cmd),
        environment: texts(config.Env).map((variable) => variable.replace(/=.*$/s, "")),
        user: text(config.User),
        workingDirectory: text(config.WorkingDir),
        ports: keys(config.ExposedPorts),
        volumes: keys(config.Volumes),
    };
}

/** Arguments as one would type them in a shell. */
export function commandLine(argv: readonly string[]): string {
    return argv.map((word) => (/^[\w%+,./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}

function isObject(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
    return typeof value === "string" ? value : "";
}

function texts(value: unknown): readonly string[] {
    return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

function keys(value: unknown): readonly string[] {
    return isObject(value) ? Object.keys(value) : [];
}
