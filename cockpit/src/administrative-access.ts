// SPDX-License-Identifier: LGPL-2.1-or-later
/** Whether the user has administrative access in Cockpit. */
import { useSyncExternalStore } from "react";

let permission: cockpit.Permission | undefined;

/** As long as it exists, Cockpit reloads the page when the user turns administrative access on or off. */
function thePermission(): cockpit.Permission {
    permission ??= cockpit.permission({ admin: true });
    return permission;
}

function subscribe(listener: () => void): () => void {
    thePermission().addEventListener("changed", listener);
    return () => {
        thePermission().removeEventListener("changed", listener);
    };
}

/** undefined until it is known. */
export function useAdministrativeAccess(): boolean | undefined {
    return useSyncExternalStore(subscribe, () => thePermission().allowed ?? undefined);
}
