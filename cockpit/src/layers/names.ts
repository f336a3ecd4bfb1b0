// SPDX-License-Identifier: LGPL-2.1-or-later
/** What items of the chart are called, for eyes and for screen readers. */
import { bytes } from "../format/bytes.ts";
import { stateText } from "../machines/texts.ts";
import { _, fill, ngettext } from "../translation.ts";
import type { Placed } from "./layout.ts";
import type { LayerNode } from "./tree.ts";

type Node = Placed["node"];

/** A size in the user's language. */
export function size(count: number): string {
    return bytes(count, cockpit.language);
}

/** A layer by the beginning of its digest, such as "sha256:0f3b…"; by its volume if that is unknown. */
export function shortName({ diffIds, volume }: LayerNode): string {
    const [algorithm, hexadecimal] = (diffIds.at(-1) ?? "").split(":");
    if (algorithm && hexadecimal) return `${algorithm}:${hexadecimal.slice(0, 12)}…`;
    const inVolume = /^layer-([0-9a-f]{12})[0-9a-f]+/.exec(volume)?.[1];
    return inVolume === undefined ? volume : `${inVolume}…`;
}

/** The text that is drawn for a node. */
export function label(node: Node): string {
    switch (node.kind) {
        case "layer":
            return node.former.length > 0 && node.images.length === 0 ? formerText(node) : shortName(node);
        case "image":
            return node.image.name;
        case "volume":
            return node.volume.name;
        case "machine":
            return node.machine.name;
        case "group":
            return node.key === "unused" ? _("Layers of no image") : _("Volumes and machines of other images");
        case "rest":
            return ngettext("and $0 more", "and $0 more", node.count);
    }
}

/** What stands after the label. */
export function remark(node: Node): string {
    switch (node.kind) {
        case "layer":
            return node.isMissing ? _("missing") : size(node.bytes);
        case "image":
            return node.image.broken === "" ? size(node.bytes) : _("broken");
        case "volume":
            return node.volume.kind === "directory" ? "" : size(node.volume.size);
        case "machine":
            return stateText(node.machine.state).text;
        case "group":
        case "rest":
            return "";
    }
}

/** What a screen reader calls a node: it contains what is drawn, so that users of speech control can say that. */
export function spokenName(node: Node): string {
    switch (node.kind) {
        case "layer":
            return layerName(node);
        case "image":
            return parts(fill(_("image $0"), node.image.name), remark(node), ngettext("$0 layer", "$0 layers", node.layers));
        case "volume":
            return parts(`${kindText(node.volume.kind)} ${node.volume.name}`, remark(node));
        case "machine":
            return parts(fill(_("machine $0"), node.machine.name), remark(node));
        case "group":
        case "rest":
            return label(node);
    }
}

function layerName(node: LayerNode): string {
    const name = fill(_("layer $0"), shortName(node));
    const taken = node.isMissing ? _("missing") : size(node.bytes);
    return node.former.length > 0 && node.images.length === 0
        ? parts(name, formerText(node), taken)
        : parts(name, taken, carriedText(node));
}

function parts(...all: readonly string[]): string {
    return all.filter((part) => part !== "").join(", ");
}

/** Which images have a layer, in a few words. */
export function carriedText(node: LayerNode): string {
    const [only, another] = node.images;
    if (only === undefined) return node.former.length > 0 ? formerText(node) : _("of no image");
    if (another === undefined) return fill(_("only of $0"), only.name);
    return ngettext("shared by $0 image", "shared by $0 images", node.images.length);
}

function formerText({ former }: LayerNode): string {
    return former.map(({ image }) => fill(_("former version of $0"), image)).join(", ");
}

export function kindText(kind: string): string {
    switch (kind) {
        case "directory":
            return _("directory");
        case "disk":
            return _("disk");
        default:
            return _("volume");
    }
}

/** Some names, and how many more there are. */
export function some(names: readonly string[], most: number): string {
    // "and 1 more" would take as much space as the name.
    const shown = names.length <= most + 1 ? names : names.slice(0, most);
    const text = shown.join(", ");
    const rest = names.length - shown.length;
    return rest === 0 ? text : fill(_("$0 and $1 more"), text, rest);
}
