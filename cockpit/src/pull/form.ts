// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields of the dialog "Pull image", and what they ask for. */
import { NO_CREDENTIALS, type Credentials, type PullRequest } from "./request.ts";

export interface Fields {
    readonly source: string;
    readonly name: string;
    readonly platform: string;
    readonly tlsVerify: boolean;
    readonly replace: boolean;
    /** In GiB, as it was typed. */
    readonly size: string;
    readonly credentials: Credentials;
}

const GIB = 1024 ** 3;
/** The service's limit is 63 TiB. */
const LARGEST = 63 * 1024;

export const EMPTY: Fields = {
    source: "",
    name: "",
    platform: "",
    tlsVerify: true,
    replace: false,
    size: "",
    credentials: NO_CREDENTIALS,
};

/** The fields of a request that is changed, or asked for again. */
export function fieldsOf(request: PullRequest): Fields {
    const { source, name, platform, tlsVerify, replace, size } = request;
    return { source, name, platform, tlsVerify, replace, size: size > 0 ? String(size / GIB) : "", credentials: NO_CREDENTIALS };
}

/** Whether the request has something that is in the part "Options". */
export function hasOptions({ platform, tlsVerify, replace, size, hasCredentials }: PullRequest): boolean {
    return platform !== "" || !tlsVerify || replace || size > 0 || hasCredentials;
}

/** Whether a size is a whole number of GiB that the service takes, or empty. */
export function isSize(text: string): boolean {
    if (text.trim() === "") return true;
    return /^[0-9]{1,6}$/.test(text.trim()) && Number(text) >= 1 && Number(text) <= LARGEST;
}

/** Whether a pull can be tried with them. */
export function isComplete(fields: Fields): boolean {
    return fields.source.trim() !== "" && isSize(fields.size);
}

export function requestOf(fields: Fields, pool: string): PullRequest {
    const { username, password } = fields.credentials;
    return {
        source: fields.source.trim(),
        pool,
        name: fields.name.trim(),
        platform: fields.platform.trim(),
        tlsVerify: fields.tlsVerify,
        replace: fields.replace,
        size: fields.size.trim() === "" ? 0 : Number(fields.size) * GIB,
        hasCredentials: username !== "" || password !== "",
    };
}
