// SPDX-License-Identifier: LGPL-2.1-or-later
/** The images of all pools, of both services. */
import { SearchInput, Toolbar, ToolbarContent, ToolbarItem } from "@patternfly/react-core";
import { useMemo, useState } from "react";

import { takesImages } from "../service/state.ts";
import { useReadyServices, type Ready } from "../services.tsx";
import { _ } from "../translation.ts";
import { NoImages, NoPool, NothingFound } from "./empty-states.tsx";
import { ImageTable } from "./image-table.tsx";
import { found, rowsOf, type Row } from "./rows.ts";

export function ImagesTab() {
    const ready = useReadyServices();
    const rows = useRows(ready);
    const [search, setSearch] = useState("");
    const shown = useMemo(() => found(rows, search), [rows, search]);
    const clear = () => {
        setSearch("");
    };
    if (rows.length === 0) {
        const [first] = ready;
        if (first === undefined) return null;
        const hasPool = ready.some(({ state }) => state.pools.some(takesImages));
        return hasPool ? <NoImages /> : <NoPool where={first.service.where} />;
    }
    return (
        <>
            <Toolbar>
                <ToolbarContent>
                    <ToolbarItem>
                        <SearchInput
                            aria-label={_("Search images")}
                            placeholder={_("Name, source or pool")}
                            resetButtonLabel={_("Reset")}
                            value={search}
                            onChange={(_event, value) => {
                                setSearch(value);
                            }}
                            onClear={clear}
                            {...(search !== "" && { resultsCount: shown.length })}
                        />
                    </ToolbarItem>
                </ToolbarContent>
            </Toolbar>
            {shown.length > 0 ? (
                <ImageTable rows={shown} hasBothServices={ready.length > 1} />
            ) : (
                <NothingFound onClear={clear} />
            )}
        </>
    );
}

/** The rows of all services. They stay the same while only jobs change, which they do often. */
function useRows(ready: readonly Ready[]): readonly Row[] {
    const [first, second] = ready;
    const ofFirst = useRowsOf(first);
    const ofSecond = useRowsOf(second);
    return useMemo(() => [...ofFirst, ...ofSecond], [ofFirst, ofSecond]);
}

function useRowsOf(ready: Ready | undefined): readonly Row[] {
    const service = ready?.service;
    const images = ready?.state.images;
    const machines = ready?.state.machines;
    const contents = ready?.state.contents;
    return useMemo(() => {
        if (service === undefined || images === undefined || machines === undefined || contents === undefined) return [];
        return rowsOf(service, { images, machines, contents });
    }, [service, images, machines, contents]);
}
