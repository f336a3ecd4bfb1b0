// SPDX-License-Identifier: LGPL-2.1-or-later
import { useReadyServices } from "../services.tsx";

export function MachinesTab() {
    return <p>{useReadyServices().map(({ state }) => state.images.map((image) => image.name).join(" "))}</p>;
}
