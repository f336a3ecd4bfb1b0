// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields of the dialog "Create volume", and what they mean. */
import type { Options } from "../service/values.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** The system in a new volume. */
export interface SystemForm {
    readonly hostname: string;
    readonly rootPassword: string;
    /** One in a line. */
    readonly sshKeys: string;
}

export interface VolumeForm extends SystemForm {
    readonly name: string;
    /** In GiB; empty for that of the image. */
    readonly size: string;
    readonly growFilesystem: boolean;
}

/** A name for a volume of an image that no volume of the pool has. */
export function defaultName(image: string, taken: ReadonlySet<string>): string {
    const base = image.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "") || "volume";
    for (let number = 1; ; number += 1) {
        const name = number === 1 ? `${base}.qcow2` : `${base}-${number}.qcow2`;
        if (!taken.has(name)) return name;
    }
}

/** The size in bytes, a multiple of 1 MiB; undefined if none is given, NaN if it is not a number. */
export function sizeOf(form: Pick<VolumeForm, "size">): number | undefined {
    const text = form.size.trim().replace(",", ".");
    if (text === "") return undefined;
    return /^\d+(\.\d+)?$/.test(text) ? Math.ceil((Number(text) * GIB) / MIB) * MIB : Number.NaN;
}

/** Whether the size can be that of a volume of an image of `least` bytes. */
export function isSizeValid(form: Pick<VolumeForm, "size">, least: number): boolean {
    const size = sizeOf(form);
    return size === undefined || size >= least;
}

/** The options of CreateVolume. */
export function optionsOf(form: VolumeForm): Options {
    const options: Record<string, cockpit.Variant> = {};
    const size = sizeOf(form);
    if (size !== undefined) options.size = { t: "t", v: size };
    if (size !== undefined && form.growFilesystem) options["grow-filesystem"] = { t: "b", v: true };
    return { ...options, ...systemOptions(form) };
}

/** The options for the system, of CreateVolume and CreateDomain. */
export function systemOptions(form: SystemForm): Options {
    const options: Record<string, cockpit.Variant> = {};
    const hostname = form.hostname.trim();
    if (hostname !== "") options.hostname = { t: "s", v: hostname };
    if (form.rootPassword !== "") options["root-password"] = { t: "s", v: form.rootPassword };
    const keys = form.sshKeys
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
    if (keys.length > 0) options["ssh-authorized-keys"] = { t: "as", v: keys };
    return options;
}
