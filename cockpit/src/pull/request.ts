// SPDX-License-Identifier: LGPL-2.1-or-later
/** What is asked of a pull. It has no secrets, so it can be kept. */
import type { Options } from "../service/values.ts";

export interface PullRequest {
    /** A reference as the user wrote it, or in its full form. */
    readonly source: string;
    readonly pool: string;
    /** Empty for the name that the service derives from the source. */
    readonly name: string;
    /** os/architecture[/variant]; empty for that of the host. */
    readonly platform: string;
    readonly tlsVerify: boolean;
    /** Whether the name may be taken from an image of another source. */
    readonly replace: boolean;
    /** The virtual size in bytes; 0 for the service's default. */
    readonly size: number;
    /** Whether it was made with a user and a password. They are not kept: they have to be given again. */
    readonly hasCredentials: boolean;
}

/** For the registry. They are passed with the call, and forgotten. */
export interface Credentials {
    readonly username: string;
    readonly password: string;
}

export const NO_CREDENTIALS: Credentials = { username: "", password: "" };

/** A request for a source with nothing else set. */
export function plainRequest(source: string, pool: string): PullRequest {
    return { source, pool, name: "", platform: "", tlsVerify: true, replace: false, size: 0, hasCredentials: false };
}

/** The options of the call. */
export function optionsOf(request: PullRequest, { username, password }: Credentials): Options {
    const options: Record<string, cockpit.Variant> = {};
    if (request.name !== "") options.name = { t: "s", v: request.name };
    if (request.platform !== "") options.platform = { t: "s", v: request.platform };
    if (!request.tlsVerify) options["tls-verify"] = { t: "b", v: false };
    if (request.replace) options.replace = { t: "b", v: true };
    if (request.size > 0) options.size = { t: "t", v: request.size };
    if (username !== "" || password !== "") {
        options.username = { t: "s", v: username };
        options.password = { t: "s", v: password };
    }
    return options;
}
