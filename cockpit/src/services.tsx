// SPDX-License-Identifier: LGPL-2.1-or-later
/** The virtlayerds of this page, for React: that of the system, and that of the user's session. */
import { createContext, useContext, useEffect, useMemo, useSyncExternalStore, type ReactNode } from "react";

import { Service } from "./service/service.ts";
import type { ServiceState } from "./service/state.ts";

const Services = createContext<readonly Service[]>([]);

export function ServicesProvider({ children }: { readonly children: ReactNode }) {
    const services = useMemo(() => [new Service("system"), new Service("session")], []);
    useEffect(() => {
        for (const service of services) void service.start();
        const look = () => {
            if (!cockpit.hidden) for (const service of services) service.lookAgain();
        };
        cockpit.addEventListener("visibilitychange", look);
        return () => {
            cockpit.removeEventListener("visibilitychange", look);
            for (const service of services) service.stop();
        };
    }, [services]);
    return <Services.Provider value={services}>{children}</Services.Provider>;
}

/** Both services, whether they can be reached or not. */
export function useAllServices(): readonly Service[] {
    return useContext(Services);
}

/** The state of a service; the component is drawn again when it changes. */
export function useServiceState(service: Service): ServiceState {
    return useSyncExternalStore(service.subscribe, service.snapshot);
}

/** A service that works, with its state. */
export interface Ready {
    readonly service: Service;
    readonly state: ServiceState;
}

/** The services that work; the component is drawn again when one of them changes. */
export function useReadyServices(): readonly Ready[] {
    const [system, session] = useAllServices();
    if (system === undefined || session === undefined) throw new Error("there is no ServicesProvider");
    const systemState = useServiceState(system);
    const sessionState = useServiceState(session);
    return useMemo(
        () =>
            [
                { service: system, state: systemState },
                { service: session, state: sessionState },
            ].filter(({ state }) => state.status === "ready"),
        [system, session, systemState, sessionState],
    );
}
