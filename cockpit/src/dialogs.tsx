// SPDX-License-Identifier: LGPL-2.1-or-later
/** At most one dialog is open; any component can open it. */
import { createContext, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import { currentOpener, focusOn } from "./focus.ts";
import { useNotices } from "./notices.tsx";
import { Part, partFailed } from "./part.tsx";

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
    const notices = useNotices();
    const [dialog, setDialog] = useState<ReactNode>(null);
    const opener = useRef<{ readonly element: HTMLElement | undefined } | undefined>();
    const dialogs = useMemo(
        () => ({
            show: (next: ReactNode) => {
                // A dialog may open another one: the focus returns to what has opened the first.
                opener.current ??= { element: currentOpener() };
                setDialog(next);
            },
            close: () => {
                setDialog(null);
            },
        }),
        [],
    );
    useEffect(() => {
        if (dialog !== null || opener.current === undefined) return;
        focusOn(opener.current.element);
        opener.current = undefined;
    }, [dialog]);
    return (
        <Current.Provider value={dialogs}>
            {children}
            {dialog !== null && (
                <Part
                    onFailure={(error) => {
                        setDialog(null);
                        notices.add({ variant: "danger", title: partFailed(), body: error.message });
                    }}
                >
                    {dialog}
                </Part>
            )}
        </Current.Provider>
    );
}
