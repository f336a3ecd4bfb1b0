// SPDX-License-Identifier: LGPL-2.1-or-later
/** The part of the page's address that opens a machine: #/machines?service=session&machine=web&view=console. */
import { useEffect } from "react";

import type { Where } from "../service/values.ts";

/** What is shown of a machine. */
export type View = "details" | "console" | "logs";

export interface Shown {
    readonly where: Where;
    readonly name: string;
    readonly view: View;
}

/** Shows the tab "Machines" with a machine. */
export function goToMachine({ where, name, view }: Shown): void {
    cockpit.location.go(["machines"], { service: where, machine: name, view });
}

/** Keeps in the address what is shown of machines now, for a reload of the page. */
export function keepMachine(shown: Shown | undefined): void {
    const options = shown === undefined ? {} : { service: shown.where, machine: shown.name, view: shown.view };
    cockpit.location.replace(["machines"], options);
}

/** undefined if the address names no machine. */
export function machineOf(options: cockpit.Location["options"]): Shown | undefined {
    const { service, machine, view } = options;
    if ((service !== "system" && service !== "session") || typeof machine !== "string") return undefined;
    return { where: service, name: machine, view: view === "console" || view === "logs" ? view : "details" };
}

/** Calls a function with the machine of the address, now and when it changes. */
export function useMachineOfLocation(show: (shown: Shown) => void): void {
    useEffect(() => {
        const look = () => {
            const shown = machineOf(cockpit.location.options);
            if (shown !== undefined) show(shown);
        };
        look();
        cockpit.addEventListener("locationchanged", look);
        return () => {
            cockpit.removeEventListener("locationchanged", look);
        };
    }, [show]);
}
