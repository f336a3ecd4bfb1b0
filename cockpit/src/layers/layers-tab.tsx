// SPDX-License-Identifier: LGPL-2.1-or-later
/** The tab "Layers": the layers of one pool at a time. */
import { EmptyState, EmptyStateBody, FormSelect, FormSelectOption, Spinner } from "@patternfly/react-core";
import { useState } from "react";

import { useReadyServices, type Ready } from "../services.tsx";
import { _, fill } from "../translation.ts";
import { PoolLayers } from "./pool-layers.tsx";

import "./layers.css";

interface PoolOf extends Ready {
    readonly pool: string;
    readonly key: string;
}

export function LayersTab() {
    const ready = useReadyServices();
    const [chosen, setChosen] = useState("");
    const pools = ready.flatMap(poolsOf);
    const shown = pools.find(({ key }) => key === chosen) ?? pools[0];
    if (shown === undefined) {
        return (
            <EmptyState titleText={_("No layers")} headingLevel="h2">
                <EmptyStateBody>{_("Pull an image to see its layers here.")}</EmptyStateBody>
            </EmptyState>
        );
    }
    const selector =
        pools.length < 2 ? (
            <span>{fill(_("Pool $0"), shown.pool)}</span>
        ) : (
            <FormSelect
                aria-label={_("Pool")}
                className="layers-pool"
                value={shown.key}
                onChange={(_event, key) => {
                    setChosen(key);
                }}
            >
                {pools.map(({ key, pool, service }) => (
                    <FormSelectOption key={key} value={key} label={labelOf(pool, service.where === "system", ready.length > 1)} />
                ))}
            </FormSelect>
        );
    if (shown.state.contents.get(shown.pool) === undefined) return <Spinner aria-label={_("Reading the pool")} />;
    return <PoolLayers key={shown.key} service={shown.service} state={shown.state} pool={shown.pool} selector={selector} />;
}

/** The pools with images or layers: `default` first. */
function poolsOf({ service, state }: Ready): PoolOf[] {
    const names = new Set(state.images.map(({ pool }) => pool));
    for (const [pool, { volumes }] of state.contents) if (volumes.some(({ kind }) => kind === "layer")) names.add(pool);
    return [...names]
        .sort((one, other) => Number(other === "default") - Number(one === "default") || one.localeCompare(other))
        .map((pool) => ({ service, state, pool, key: `${service.where} ${pool}` }));
}

function labelOf(pool: string, isSystem: boolean, areSeveral: boolean): string {
    if (!areSeveral) return fill(_("Pool $0"), pool);
    return isSystem ? fill(_("Pool $0 (system)"), pool) : fill(_("Pool $0 (your session)"), pool);
}
