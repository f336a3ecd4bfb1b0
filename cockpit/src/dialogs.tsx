// SPDX-License-Identifier: LGPL-2.1-or-later
/** At most one dialog is open; any component can open it. */
import { createContext, useContext, useMemo, useState, type ReactNode } from "react";

interface Dialogs {
    /** Shows a dialog in place of the one that is open. */
    readonly show: (dialog: ReactNode) => void;
    readonly close: () => void;
}

const Current = createContext<Dialogs>({ show: () => undefined, close: () => undefined });

export function useDialogs(): Dialogs {
    return useContext(Current);
}

export function DialogsProvider({ children }: { readonly children: ReactNode }) {
    const [dialog, setDialog] = useState<ReactNode>(null);
    const dialogs = useMemo(
        () => ({
            show: (next: ReactNode) => {
                setDialog(next);
            },
            close: () => {
                setDialog(null);
            },
        }),
        [],
    );
    return (
        <Current.Provider value={dialogs}>
            {children}
            {dialog}
        </Current.Provider>
    );
}
