// SPDX-License-Identifier: LGPL-2.1-or-later
/** The methods of org.virtlayer1.Manager and org.virtlayer1.Job, with typed arguments and results. */
import type { Call } from "./connection.ts";
import { kindOf } from "./failures.ts";
import * as parsing from "./parsing.ts";
import type { Configured, Image, Machine, MachineDetails, Options, Outcome, Pool, Usage, Volume } from "./values.ts";

export const ROOT = "/org/virtlayer1";
export const MANAGER = "org.virtlayer1.Manager";
const IMAGE = "org.virtlayer1.Image";
const JOB = "org.virtlayer1.Job";

/** A job that a call has started. */
export interface Started {
    readonly path: string;
    /** Resolves when it has ended, in whatever way; rejects with a Failure if that cannot be learned. */
    ended(): Promise<Outcome>;
}

/** All methods reject with a Failure. */
export abstract class Methods {
    protected abstract ask<Value>(call: Call, use: (reply: unknown[]) => Value): Promise<Value>;

    pull(source: string, pool: string, options: Options): Promise<Started> {
        return this.#startJob("Pull", "ssa{sv}", source, pool, options);
    }

    createVolume(pool: string, image: string, volume: string, options: Options): Promise<Started> {
        return this.#startJob("CreateVolume", "sssa{sv}", pool, image, volume, options);
    }

    createDomain(pool: string, image: string, name: string, options: Options): Promise<Started> {
        return this.#startJob("CreateDomain", "sssa{sv}", pool, image, name, options);
    }

    startDomain(name: string): Promise<Started> {
        return this.#startJob("StartDomain", "sa{sv}", name, {});
    }

    stopDomain(name: string, options: Options = {}): Promise<Started> {
        return this.#startJob("StopDomain", "sa{sv}", name, options);
    }

    removeDomain(name: string, options: Options = {}): Promise<Started> {
        return this.#startJob("RemoveDomain", "sa{sv}", name, options);
    }

    removeImage(pool: string, image: string): Promise<Started> {
        return this.#startJob("RemoveImage", "ssa{sv}", pool, image, {});
    }

    removeVolume(pool: string, volume: string): Promise<Started> {
        return this.#startJob("RemoveVolume", "ssa{sv}", pool, volume, {});
    }

    prune(pool: string, options: Options = {}): Promise<Started> {
        return this.#startJob("Prune", "sa{sv}", pool, options);
    }

    populate(options: Options = {}): Promise<Started> {
        return this.#startJob("Populate", "a{sv}", options);
    }

    rescan(pool: string): Promise<Started> {
        return this.#startJob("Rescan", "sa{sv}", pool, {});
    }

    tagImage(pool: string, image: string, name: string, options: Options = {}): Promise<void> {
        return this.#manager("TagImage", "sssa{sv}", [pool, image, name, options], () => undefined);
    }

    inspect(source: string, options: Options): Promise<Options> {
        return this.#manager("Inspect", "sa{sv}", [source, options], ([description]) => parsing.options(description));
    }

    /** The OCI config of an image, JSON; its property `config` is empty beyond 64 KiB. */
    config(image: Image): Promise<string> {
        const call = { path: image.path, iface: IMAGE, method: "GetConfig", signature: "", args: [] };
        return this.ask(call, ([config]) => parsing.text(config));
    }

    describeMachine(name: string): Promise<MachineDetails> {
        return this.#manager("DescribeDomain", "s", [name], ([description]) => parsing.machineDetails(description));
    }

    configured(): Promise<readonly Configured[]> {
        return this.#manager("ListConfigured", "", [], listOf(parsing.configured));
    }

    /** Ends a job; resolves when it has ended. */
    cancel(job: string): Promise<void> {
        return this.ask({ path: job, iface: JOB, method: "Cancel", signature: "", args: [] }, () => undefined);
    }

    protected listPools(): Promise<readonly Pool[]> {
        return this.#manager("ListPools", "", [], listOf(parsing.pool));
    }

    protected listMachines(): Promise<readonly Machine[]> {
        return this.#manager("ListDomains", "", [], listOf(parsing.machine));
    }

    protected listVolumes(pool: string): Promise<readonly Volume[]> {
        return this.#manager("ListVolumes", "s", [pool], listOf(parsing.volume));
    }

    protected diskUsage(pool: string): Promise<Usage> {
        return this.#manager("DiskUsage", "s", [pool], ([usage]) => parsing.usage(usage));
    }

    async #startJob(method: string, signature: string, ...args: unknown[]): Promise<Started> {
        const path = await this.#manager(method, signature, args, ([, job]) => parsing.text(job));
        return { path, ended: () => this.#ended(path) };
    }

    #ended(job: string): Promise<Outcome> {
        const call = { path: job, iface: JOB, method: "Wait", signature: "", args: [] };
        return this.ask(call, ([state, error, message, result]) => ({
            state: parsing.jobState(state),
            error: kindOf(parsing.text(error)),
            message: parsing.text(message),
            result: parsing.options(result),
        }));
    }

    #manager<Value>(method: string, signature: string, args: unknown[], use: (reply: unknown[]) => Value): Promise<Value> {
        return this.ask({ path: ROOT, iface: MANAGER, method, signature, args }, use);
    }
}

function listOf<Value>(item: (value: unknown) => Value): (reply: unknown[]) => readonly Value[] {
    return ([list]) => parsing.array(list).map(item);
}
