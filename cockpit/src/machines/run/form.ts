// SPDX-License-Identifier: LGPL-2.1-or-later
/** The fields of the dialog "Run", as they are typed, and the options of CreateDomain that they mean. */
import { systemOptions, type SystemForm } from "../../images/volume-form.ts";
import type { Options } from "../../service/values.ts";
import { Unfinished, wordsOf } from "./words.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const SMALLEST_MEMORY = 64;
const MOST_PROCESSORS = 1024;
const LARGEST_VOLUME = 63 * 1024;

export interface PortRow {
    /** Of the host; empty for all of its IPv4 addresses. */
    readonly address: string;
    readonly host: string;
    readonly machine: string;
    readonly protocol: "tcp" | "udp";
}

export interface VariableRow {
    readonly name: string;
    readonly value: string;
}

export interface RunForm extends SystemForm {
    /** Empty for a name from the image. */
    readonly name: string;
    /** In MiB. */
    readonly memory: string;
    readonly processors: string;
    readonly network: "automatic" | "network:default" | "user" | "none" | "other";
    /** If `network` is "other": network:NAME or bridge:NAME. */
    readonly otherNetwork: string;
    readonly ports: readonly PortRow[];
    /** Empty for the command of the image. */
    readonly command: string;
    readonly variables: readonly VariableRow[];
    readonly terminal: boolean;
    readonly input: boolean;
    readonly ephemeral: boolean;
    readonly autostart: boolean;
    /** In GiB; empty for the size of the image. */
    readonly volumeSize: string;
    readonly kernel: string;
    readonly kernelVersion: string;
}

export const DEFAULTS: RunForm = {
    name: "",
    memory: "1024",
    processors: "2",
    network: "automatic",
    otherNetwork: "",
    ports: [],
    command: "",
    variables: [],
    terminal: true,
    input: true,
    ephemeral: false,
    autostart: false,
    volumeSize: "",
    hostname: "",
    rootPassword: "",
    sshKeys: "",
    kernel: "",
    kernelVersion: "",
};

export const NEW_PORT: PortRow = { address: "", host: "", machine: "", protocol: "tcp" };
export const NEW_VARIABLE: VariableRow = { name: "", value: "" };

/** What is wrong with a field. */
export type Problem =
    | "memory"
    | "processors"
    | "other-network"
    /** Ports are published, but the network is not the one that can. */
    | "network-of-ports"
    | "unfinished-command"
    | "volume-size";

/** Everything that is wrong, of the fields that have one value. */
export function problemsOf(form: RunForm): ReadonlySet<Problem> {
    const problems = new Set<Problem>();
    if (!isWhole(form.memory, SMALLEST_MEMORY, Infinity)) problems.add("memory");
    if (!isWhole(form.processors, 1, MOST_PROCESSORS)) problems.add("processors");
    if (form.network === "other" && !/^(network|bridge):./.test(form.otherNetwork.trim())) problems.add("other-network");
    if (filledPorts(form).length > 0 && form.network !== "automatic" && form.network !== "user") problems.add("network-of-ports");
    if (form.volumeSize.trim() !== "" && !isWhole(form.volumeSize, 1, LARGEST_VOLUME)) problems.add("volume-size");
    try {
        wordsOf(form.command);
    } catch (error) {
        if (!(error instanceof Unfinished)) throw error;
        problems.add("unfinished-command");
    }
    return problems;
}

export function isPort(text: string): boolean {
    return isWhole(text, 1, 65_535);
}

/** Whether a name of a variable can be used: without a name, a value would be lost. */
export function isVariable({ name, value }: VariableRow): boolean {
    return name === "" ? value === "" : !name.includes("=") && !name.includes("\0");
}

export function isValid(form: RunForm): boolean {
    return (
        problemsOf(form).size === 0 &&
        filledPorts(form).every(({ host, machine }) => isPort(host) && isPort(machine)) &&
        form.variables.every(isVariable)
    );
}

/** The options of CreateDomain of a valid form. What is as by default is left to the service. */
export function optionsOf(form: RunForm): Options {
    const options: Record<string, cockpit.Variant> = {
        memory: { t: "t", v: Number(form.memory) * MIB },
        vcpus: { t: "u", v: Number(form.processors) },
    };
    const network = form.network === "other" ? form.otherNetwork.trim() : form.network;
    if (network !== "automatic") options.network = { t: "s", v: network };
    const ports = filledPorts(form);
    if (ports.length > 0) {
        options.publish = {
            t: "a(sqqs)",
            v: ports.map(({ address, host, machine, protocol }) => [address.trim(), Number(host), Number(machine), protocol]),
        };
    }
    const words = wordsOf(form.command);
    if (words.length > 0) options.command = { t: "as", v: words };
    const variables = form.variables.filter(({ name }) => name !== "");
    if (variables.length > 0) options.environment = { t: "as", v: variables.map(({ name, value }) => `${name}=${value}`) };
    if (form.terminal) options.tty = { t: "b", v: true };
    if (form.input) options.interactive = { t: "b", v: true };
    if (form.ephemeral) options.ephemeral = { t: "b", v: true };
    if (form.autostart) options.autostart = { t: "b", v: true };
    if (form.volumeSize.trim() !== "") options["volume-size"] = { t: "t", v: Number(form.volumeSize) * GIB };
    for (const [name, value] of [
        ["kernel", form.kernel],
        ["kernel-version", form.kernelVersion],
    ] as const) {
        if (value.trim() !== "") options[name] = { t: "s", v: value.trim() };
    }
    return { ...options, ...systemOptions(form) };
}

function filledPorts(form: RunForm): readonly PortRow[] {
    return form.ports.filter(({ address, host, machine }) => address !== "" || host !== "" || machine !== "");
}

function isWhole(text: string, least: number, most: number): boolean {
    const value = /^\s*\d+\s*$/.test(text) ? Number(text) : NaN;
    return value >= least && value <= most;
}
