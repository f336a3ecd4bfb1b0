// SPDX-License-Identifier: LGPL-2.1-or-later
/** The layers of a pool: search, chart, and details of what is pointed at. */
import { Alert, Breadcrumb, BreadcrumbItem, SearchInput } from "@patternfly/react-core";
import { useCallback, useMemo, useRef, useState, type ReactNode } from "react";

import { removalOf } from "../images/removal.ts";
import type { Service } from "../service/service.ts";
import type { ServiceState } from "../service/state.ts";
import { _, fill, ngettext } from "../translation.ts";
import { Chart, type Mark } from "./chart.tsx";
import { Details } from "./details.tsx";
import { layoutOf, MORE, type Placed } from "./layout.ts";
import { shortName } from "./names.ts";
import { search } from "./search.ts";
import { forestOf, walk, type LayerNode, type TreeNode } from "./tree.ts";

interface Props {
    readonly service: Service;
    readonly state: ServiceState;
    readonly pool: string;
    /** What chooses the pool. */
    readonly selector: ReactNode;
}

export function PoolLayers({ service, state, pool, selector }: Props) {
    const roots = useRoots(state, pool);
    const nodes = useMemo(() => new Map([...walk(roots)].map(({ node }) => [node.key, node])), [roots]);
    const images = useMemo(() => state.images.filter((image) => image.pool === pool).length, [state.images, pool]);

    const [text, setText] = useState("");
    const [opened, setOpened] = useState<ReadonlyMap<string, number>>(new Map());
    const [zoomed, setZoomed] = useState<string>();
    const [pointed, setPointed] = useState<string>();
    const [focused, setFocused] = useState<string>();
    const [focusAt, setFocusAt] = useState<{ readonly index: number }>();
    const details = useRef<HTMLDivElement>(null);

    const base = zoomed === undefined ? undefined : nodes.get(zoomed);
    const found = useMemo(() => search(roots, text), [roots, text]);
    const layout = useMemo(
        () => layoutOf(base === undefined ? roots : [base], { shown: found?.shown, opened }),
        [roots, base, found, opened],
    );

    const zoomTo = useCallback((key: string | undefined) => {
        setZoomed(key);
        setPointed(undefined);
        setFocusAt({ index: 0 });
    }, []);
    const onOpen = useCallback(
        (key: string) => {
            const index = layout.items.findIndex(({ node }) => node.key === key);
            const node = layout.items[index]?.node;
            if (node?.kind === "rest") {
                setOpened((before) => new Map(before).set(node.of, (before.get(node.of) ?? 0) + MORE));
                setFocusAt({ index });
            } else if (node?.kind === "layer") {
                zoomTo(key === zoomed ? undefined : key);
            } else {
                details.current?.querySelector("button")?.focus();
            }
        },
        [layout, zoomed, zoomTo],
    );
    const onEscape = useCallback(() => {
        if (zoomed !== undefined) zoomTo(undefined);
    }, [zoomed, zoomTo]);

    // An item that a search hides or a change removes is neither left by the pointer nor blurred.
    const shown = useMemo(() => {
        const placed = new Set(layout.items.map(({ node }) => node.key));
        return nodes.get([pointed, focused].find((key) => key !== undefined && placed.has(key)) ?? "");
    }, [layout, nodes, pointed, focused]);
    const removal = useMemo(() => (shown?.kind === "image" ? removalOf(shown.image, state) : undefined), [shown, state]);
    const marks = useMemo(() => {
        if (removal === undefined) return undefined;
        const all = new Map<string, Mark>();
        for (const { volume } of removal.deleted) all.set(volume, "deleted");
        for (const { volume } of removal.kept) all.set(volume, "kept");
        return all;
    }, [removal]);
    const markOf = (node: Placed["node"]): Mark => {
        if (marks === undefined || node.kind !== "layer") return undefined;
        return marks.get(node.volume) ?? "other";
    };

    const error = state.contents.get(pool)?.error;
    return (
        <>
            <div className="layers-bar">
                {selector}
                <SearchInput
                    className="layers-search"
                    aria-label={_("Find an image by name")}
                    placeholder={_("Find an image by name")}
                    value={text}
                    onChange={(_event, value) => {
                        setText(value);
                    }}
                    onClear={() => {
                        setText("");
                    }}
                    {...(found === undefined ? {} : { resultsCount: fill(_("$0 of $1"), found.images, images) })}
                />
                <Legend />
            </div>
            {error !== undefined && (
                <Alert
                    variant="warning"
                    variantLabel={_("Warning:")}
                    isInline
                    title={fill(_("The pool cannot be read. What is shown may be out of date: $0"), error)}
                />
            )}
            {base?.kind === "layer" && <Way base={base} onLeave={onEscape} />}
            <div className="layers">
                {layout.items.length === 0 ? (
                    <p>{_("No image, volume or machine has this in its name.")}</p>
                ) : (
                    <Chart
                        name={pool}
                        layout={layout}
                        focused={focused}
                        focusAt={focusAt}
                        markOf={markOf}
                        onPoint={setPointed}
                        onFocus={setFocused}
                        onOpen={onOpen}
                        onEscape={onEscape}
                    />
                )}
                <div className="layers-details" ref={details}>
                    <Details
                        service={service}
                        state={state}
                        pool={pool}
                        node={shown}
                        nodes={nodes}
                        removal={removal}
                        zoomed={base?.key}
                        onZoom={zoomTo}
                    />
                </div>
            </div>
        </>
    );
}

function useRoots(state: ServiceState, pool: string): readonly TreeNode[] {
    const { images, machines } = state;
    const contents = state.contents.get(pool);
    return useMemo(
        () =>
            forestOf({
                images: images.filter((image) => image.pool === pool),
                machines: machines.filter((machine) => machine.pool === pool),
                volumes: contents?.volumes ?? [],
            }),
        [images, machines, contents, pool],
    );
}

/** Where the chart is, while it shows only what is backed by one layer. */
function Way({ base, onLeave }: { readonly base: LayerNode; readonly onLeave: () => void }) {
    return (
        <Breadcrumb className="layers-way" aria-label={_("Part of the layers that is shown")}>
            <BreadcrumbItem
                component="button"
                onClick={() => {
                    onLeave();
                }}
            >
                {_("All layers")}
            </BreadcrumbItem>
            <BreadcrumbItem isActive>
                {`${shortName(base)} – ${ngettext("$0 image", "$0 images", base.images.length)}`}
            </BreadcrumbItem>
        </Breadcrumb>
    );
}

function Legend() {
    return (
        <div className="layers-legend" aria-hidden>
            <span>
                <i className="layers-legend-shared" />
                {_("shared layer")}
            </span>
            <span>
                <i className="layers-legend-own" />
                {_("layer of one image")}
            </span>
            <span>
                <i className="layers-legend-unused" />
                {_("layer of no image")}
            </span>
            <span>
                <i className="layers-legend-deleted" />
                {_("deleted with the image")}
            </span>
        </div>
    );
}
