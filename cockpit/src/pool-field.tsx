// SPDX-License-Identifier: LGPL-2.1-or-later
/** The field "Pool" of a dialog: the pools of both services that take images. */
import { FormGroup, FormSelect, FormSelectOption } from "@patternfly/react-core";
import { useId } from "react";

import type { Service } from "./service/service.ts";
import { takesImages } from "./service/state.ts";
import { useReadyServices, type Ready } from "./services.tsx";
import { _, fill } from "./translation.ts";

/** A pool of a service. */
export interface Place {
    readonly service: Service;
    readonly pool: string;
}

/** The places that images can be pulled into: of the system first, and its pool `default` first of all. */
export function placesOf(ready: readonly Ready[]): readonly Place[] {
    return ready.flatMap(({ service, state }) =>
        state.pools
            .filter(takesImages)
            .map(({ name }) => ({ service, pool: name }))
            .sort((one, other) => Number(other.pool === "default") - Number(one.pool === "default")),
    );
}

function same(one: Place, other: Place): boolean {
    return one.service === other.service && one.pool === other.pool;
}

interface Props {
    /** undefined if there is none. */
    readonly value: Place | undefined;
    readonly onChange: (place: Place) => void;
}

export function PoolField({ value, onChange }: Props) {
    const id = useId();
    const ready = useReadyServices();
    const places = placesOf(ready);
    const index = value === undefined ? -1 : places.findIndex((place) => same(place, value));
    return (
        <FormGroup label={_("Pool")} fieldId={id}>
            <FormSelect
                id={id}
                value={index}
                onChange={(_event, chosen) => {
                    const place = places[Number(chosen)];
                    if (place !== undefined) onChange(place);
                }}
            >
                {places.map((place, number) => (
                    <FormSelectOption key={`${place.service.where} ${place.pool}`} value={number} label={labelOf(place, ready)} />
                ))}
            </FormSelect>
        </FormGroup>
    );
}

function labelOf({ service, pool }: Place, ready: readonly Ready[]): string {
    if (ready.length === 1) return pool;
    return service.where === "system" ? fill(_("$0 (system)"), pool) : fill(_("$0 (your session)"), pool);
}
