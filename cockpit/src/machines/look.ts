// SPDX-License-Identifier: LGPL-2.1-or-later
/** What the service says about each machine, and the looks that keep it right while machines are shown. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";

import { failureOf } from "../service/failures.ts";
import type { Service } from "../service/service.ts";
import type { Machine, MachineDetails } from "../service/values.ts";
import { useReadyServices } from "../services.tsx";

/** Milliseconds between two looks at machines that run. */
const INTERVAL = 10_000;

export interface Known {
    readonly service: Service;
    readonly machine: Machine;
    /** undefined until they have been read. */
    readonly details: MachineDetails | undefined;
}

/** A machine's place among those of both services. */
export function keyOf(service: Service, machine: Machine): string {
    return `${service.where} ${machine.uuid}`;
}

/**
 * All machines, those of the system first.
 *
 * Details are read when a machine has another state. While one runs and the page is visible, it is looked at every
 * ten seconds: there is no signal while the service is out, and none for an address that a machine gets.
 */
export function useMachines(): readonly Known[] {
    const ready = useReadyServices();
    const [details, setDetails] = useState<ReadonlyMap<string, MachineDetails>>(new Map());
    const states = useRef(new Map<string, string>());

    const read = useCallback(async (service: Service, machine: Machine) => {
        try {
            const found = await service.describeMachine(machine.name);
            setDetails((before) => new Map(before).set(keyOf(service, machine), found));
        } catch (error) {
            // It was removed meanwhile, which the list of machines will say, or is read again at the next change.
            states.current.delete(keyOf(service, machine));
            console.debug(`virtlayer: cannot describe ${machine.name}:`, failureOf(error).message);
        }
    }, []);

    useEffect(() => {
        for (const { service, state } of ready) {
            for (const machine of state.machines) {
                const key = keyOf(service, machine);
                if (states.current.get(key) === machine.state) continue;
                states.current.set(key, machine.state);
                void read(service, machine);
            }
        }
    }, [ready, read]);

    const latest = useRef(ready);
    useEffect(() => {
        latest.current = ready;
    }, [ready]);
    const isRunning = ready.some(({ state }) => state.machines.some(runs));
    useEffect(() => {
        if (!isRunning) return;
        const timer = setInterval(() => {
            if (cockpit.hidden) return;
            for (const { service, state } of latest.current) {
                const running = state.machines.filter(runs);
                if (running.length > 0) service.lookAtMachines();
                for (const machine of running) void read(service, machine);
            }
        }, INTERVAL);
        return () => {
            clearInterval(timer);
        };
    }, [isRunning, read]);

    return useMemo(
        () =>
            ready.flatMap(({ service, state }) =>
                state.machines.map((machine) => ({ service, machine, details: details.get(keyOf(service, machine)) })),
            ),
        [ready, details],
    );
}

function runs({ state }: Machine): boolean {
    return state === "running" || state === "paused" || state === "stopping";
}
