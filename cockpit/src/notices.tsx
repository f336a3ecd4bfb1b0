// SPDX-License-Identifier: LGPL-2.1-or-later
/** What has just happened, in a corner of the page: `useNotices().add({ variant: "success", title })`. */
import { Alert, AlertActionCloseButton, AlertGroup } from "@patternfly/react-core";
import { createContext, useContext, useMemo, useState, type ReactNode } from "react";

import { _ } from "./translation.ts";

export interface Notice {
    readonly variant: "success" | "info" | "warning" | "danger";
    /** One sentence. */
    readonly title: string;
    readonly body?: ReactNode;
}

interface Shown extends Notice {
    readonly id: number;
}

interface Notices {
    /** A success or an information goes away by itself; a warning or a failure stays until the user closes it. */
    readonly add: (notice: Notice) => void;
}

const Current = createContext<Notices>({ add: () => undefined });
/** In milliseconds; not while the pointer or the focus is on it. */
const SHOWN_FOR = 8000;
/** More would cover the page; the oldest are dropped. */
const AT_MOST = 5;

export function useNotices(): Notices {
    return useContext(Current);
}

export function NoticesProvider({ children }: { readonly children: ReactNode }) {
    const [shown, setShown] = useState<readonly Shown[]>([]);
    const notices = useMemo(() => {
        let last = 0;
        return {
            add: (notice: Notice) => {
                last += 1;
                const next = { ...notice, id: last };
                setShown((before) => [...before, next].slice(-AT_MOST));
            },
        };
    }, []);
    return (
        <Current.Provider value={notices}>
            {children}
            <AlertGroup isToast isLiveRegion aria-label={_("Notices")}>
                {shown.map((notice) => (
                    <Toast
                        key={notice.id}
                        notice={notice}
                        onClose={() => {
                            setShown((before) => before.filter(({ id }) => id !== notice.id));
                        }}
                    />
                ))}
            </AlertGroup>
        </Current.Provider>
    );
}

function Toast({ notice, onClose }: { readonly notice: Notice; readonly onClose: () => void }) {
    const { variant, title, body } = notice;
    const isFleeting = variant === "success" || variant === "info";
    return (
        <Alert
            variant={variant}
            variantLabel={labelOf(variant)}
            title={title}
            component="p"
            role={isFleeting ? "status" : "alert"}
            timeout={isFleeting ? SHOWN_FOR : false}
            onTimeout={onClose}
            actionClose={<AlertActionCloseButton aria-label={_("Close notice")} onClose={onClose} />}
        >
            {body}
        </Alert>
    );
}

/** What a screen reader says before the title. */
function labelOf(variant: Notice["variant"]): string {
    switch (variant) {
        case "success":
            return _("Done:");
        case "info":
            return _("Information:");
        case "warning":
            return _("Warning:");
        case "danger":
            return _("Error:");
    }
}
