// SPDX-License-Identifier: LGPL-2.1-or-later
/** The chart of layers: a tree for screen readers and keys, too. */
import { memo, useCallback, useEffect, useMemo, useRef, type CSSProperties, type KeyboardEvent } from "react";

import CubeIcon from "@patternfly/react-icons/dist/esm/icons/cube-icon";
import FolderIcon from "@patternfly/react-icons/dist/esm/icons/folder-icon";
import HddIcon from "@patternfly/react-icons/dist/esm/icons/hdd-icon";
import VirtualMachineIcon from "@patternfly/react-icons/dist/esm/icons/virtual-machine-icon";

import { _, fill } from "../translation.ts";
import { moved, typedAhead } from "./keyboard.ts";
import type { Layout, Placed } from "./layout.ts";
import { label, remark, size, spokenName } from "./names.ts";
import { rulerOf, scaleOf, startOf, widthOf, type Scale } from "./scale.ts";

/** What the removal of the image that is pointed at does to an item. */
export type Mark = "deleted" | "kept" | "other" | undefined;

/** A layer with so many rows has space for vertical text. */
const TALL = 3;

interface Handlers {
    readonly onPoint: (key: string | undefined) => void;
    readonly onFocus: (key: string) => void;
    /** Enter, or a double click. */
    readonly onOpen: (key: string) => void;
    readonly onEscape: () => void;
}

interface Props extends Handlers {
    readonly name: string;
    readonly layout: Layout;
    /** The key of the item that has the focus, or had it last. */
    readonly focused: string | undefined;
    readonly markOf: (node: Placed["node"]) => Mark;
    /** Which item gets the focus when this changes. */
    readonly focusAt: { readonly index: number } | undefined;
}

export function Chart({ name, layout, focused, markOf, focusAt, ...handlers }: Props) {
    const tree = useRef<HTMLDivElement>(null);
    const scale = useMemo(() => scaleOf(layout), [layout]);
    const ruler = rulerOf(layout.extent);
    const current = Math.max(
        layout.items.findIndex(({ node }) => node.key === focused),
        0,
    );
    const focus = useCallback((index: number) => {
        const element = tree.current?.children[index];
        if (element instanceof HTMLElement) element.focus();
    }, []);
    useEffect(() => {
        if (focusAt !== undefined) focus(focusAt.index);
    }, [focusAt, focus]);

    const { onPoint, onFocus, onOpen, onEscape } = handlers;
    const onKeyDown = useCallback(
        (event: KeyboardEvent) => {
            if (event.altKey || event.ctrlKey || event.metaKey) return;
            const item = layout.items[current];
            if (item === undefined) return;
            if (event.key === "Enter" || event.key === " ") {
                onOpen(item.node.key);
            } else if (event.key === "Escape") {
                onEscape();
            } else {
                const next = moved(layout.items, current, event.key) ?? typedAhead(layout.items, current, event.key);
                if (next === undefined) return;
                focus(next);
            }
            event.preventDefault();
        },
        [layout, current, focus, onOpen, onEscape],
    );

    const lengths: CSSProperties & Record<`--${string}`, string> = {
        "--bytes": `(100cqi - var(--labels) - ${scale.fixed.toFixed(2)}px)`,
    };
    return (
        <div className="layers-chart" style={lengths}>
            <div className="layers-ruler" style={{ inlineSize: widthOf(ruler, scale, false) }} aria-hidden>
                {size(ruler)}
            </div>
            <div
                role="tree"
                aria-label={fill(_("Layers of the pool $0"), name)}
                ref={tree}
                className="layers-tree"
                style={{ blockSize: `calc(var(--row) * ${layout.rows})` }}
                onPointerLeave={() => {
                    onPoint(undefined);
                }}
            >
                {layout.items.map((item, index) => (
                    <Item
                        key={item.node.key}
                        item={item}
                        scale={scale}
                        mark={markOf(item.node)}
                        isCurrent={index === current}
                        isSelected={item.node.key === focused}
                        onPoint={onPoint}
                        onFocus={onFocus}
                        onOpen={onOpen}
                        onKeyDown={onKeyDown}
                    />
                ))}
            </div>
        </div>
    );
}

interface ItemProps extends Pick<Handlers, "onPoint" | "onFocus" | "onOpen"> {
    readonly item: Placed;
    readonly scale: Scale;
    readonly mark: Mark;
    readonly isCurrent: boolean;
    readonly isSelected: boolean;
    readonly onKeyDown: (event: KeyboardEvent) => void;
}

const Item = memo(function Item({ item, scale, mark, isCurrent, isSelected, onPoint, onFocus, onOpen, onKeyDown }: ItemProps) {
    const { node } = item;
    const hasBlock = node.kind === "layer";
    const hasLabel = !hasBlock || node.children.length === 0;
    const classes = ["layers-item", `layers-${node.kind}`];
    if (hasBlock) classes.push(kindOf(node.images.length));
    if (item.rows >= TALL) classes.push("layers-tall");
    if (mark !== undefined) classes.push(`layers-${mark}`);
    return (
        <div
            role="treeitem"
            className={classes.join(" ")}
            style={{
                insetInlineStart: startOf(item, scale),
                insetBlockStart: `calc(var(--row) * ${item.row})`,
                blockSize: `calc(var(--row) * ${item.rows})`,
            }}
            tabIndex={isCurrent ? 0 : -1}
            aria-label={spokenName(node)}
            aria-level={item.level}
            aria-posinset={item.position}
            aria-setsize={item.siblings}
            aria-selected={isSelected}
            {...(node.kind === "rest" ? { "aria-expanded": false } : node.children.length > 0 ? { "aria-expanded": true } : {})}
            onPointerEnter={() => {
                onPoint(node.key);
            }}
            onFocus={() => {
                onFocus(node.key);
            }}
            onClick={() => {
                if (node.kind === "rest") onOpen(node.key);
            }}
            onDoubleClick={() => {
                if (node.kind === "layer") onOpen(node.key);
            }}
            onKeyDown={onKeyDown}
        >
            {hasBlock && (
                <span className="layers-block" style={{ inlineSize: widthOf(node.bytes, scale, true) }}>
                    <span className="layers-in-block">{size(node.bytes)}</span>
                </span>
            )}
            {hasLabel && (
                <>
                    <Icon node={node} />
                    {/* The space is for the text that users of speech control say. */}
                    <span className="layers-label">{label(node)}</span>{" "}
                    <span className="layers-remark">{remark(node)}</span>
                </>
            )}
        </div>
    );
});

/** The class of a layer that so many images have. */
function kindOf(images: number): string {
    if (images === 0) return "layers-unused";
    return images === 1 ? "layers-own" : "layers-shared";
}

function Icon({ node }: { readonly node: Placed["node"] }) {
    switch (node.kind) {
        case "image":
            return <CubeIcon />;
        case "machine":
            return <VirtualMachineIcon />;
        case "volume":
            return node.volume.kind === "directory" ? <FolderIcon /> : <HddIcon />;
        default:
            return null;
    }
}
