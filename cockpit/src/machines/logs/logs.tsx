// SPDX-License-Identifier: LGPL-2.1-or-later
/** What a machine has written, and what it writes while it runs. */
import { Alert, ToggleGroup, ToggleGroupItem } from "@patternfly/react-core";
import { useEffect, useRef, useState } from "react";

import type { Service } from "../../service/service.ts";
import type { Machine } from "../../service/values.ts";
import { _ } from "../../translation.ts";
import { logsCommand, rightsOf } from "../commands.ts";
import { LogText } from "./log-text.ts";

/** Milliseconds between two changes of what is shown: a machine can write much. */
const INTERVAL = 200;

interface Shown {
    readonly lines: readonly string[];
    readonly dropped: boolean;
    readonly problem: string | undefined;
}

const NOTHING: Shown = { lines: [], dropped: false, problem: undefined };

interface Props {
    readonly service: Service;
    readonly machine: Machine;
    /** The kernel writes to a line of its own, if its output is not that of a terminal that it has itself. */
    readonly hasKernelLog: boolean;
}

export function Logs({ service, machine, hasKernelLog }: Props) {
    const [kernel, setKernel] = useState(false);
    const isRunning = machine.state === "running";
    const shown = useLog(service, machine.name, { kernel, follow: isRunning });
    const place = useRef<HTMLPreElement>(null);
    const atEnd = useRef(true);

    useEffect(() => {
        if (atEnd.current && place.current !== null) place.current.scrollTop = place.current.scrollHeight;
    }, [shown]);

    return (
        <>
            {hasKernelLog && (
                <ToggleGroup aria-label={_("What is shown of the machine")}>
                    <ToggleGroupItem
                        text={_("Output")}
                        isSelected={!kernel}
                        onChange={() => {
                            setKernel(false);
                        }}
                    />
                    <ToggleGroupItem
                        text={_("Kernel log")}
                        isSelected={kernel}
                        onChange={() => {
                            setKernel(true);
                        }}
                    />
                </ToggleGroup>
            )}
            {shown.problem !== undefined && <Alert variant="warning" variantLabel={_("Warning:")} isInline title={problemText(shown.problem)} />}
            {shown.dropped && <p>{_("Earlier lines are not shown.")}</p>}
            {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- the keyboard scrolls it */}
            <pre ref={place} className="machine-log" role="log" aria-label={_("Output of the machine")} tabIndex={0}
                onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
                    atEnd.current = scrollHeight - scrollTop - clientHeight < 20;
                }}
            >
                {shown.lines.length > 0 ? shown.lines.join("\n") : _("Nothing has been written.")}
            </pre>
        </>
    );
}

function useLog(service: Service, name: string, { kernel, follow }: { kernel: boolean; follow: boolean }): Shown {
    const [shown, setShown] = useState(NOTHING);
    useEffect(() => {
        setShown(NOTHING);
        const log = new LogText();
        let timer: ReturnType<typeof setTimeout> | undefined;
        const show = (problem?: string) => {
            clearTimeout(timer);
            timer = undefined;
            setShown({ lines: log.lines, dropped: log.dropped, problem });
        };
        const channel = cockpit.channel({
            payload: "stream",
            spawn: logsCommand(service.where, name, { kernel, follow }),
            // The machine's standard error comes as that of the command.
            err: "out",
            binary: true,
            ...rightsOf(service.where),
        });
        channel.addEventListener("message", (_event, bytes) => {
            log.add(bytes);
            timer ??= setTimeout(show, INTERVAL);
        });
        channel.addEventListener("close", (_event, { problem }) => {
            if (problem !== "cancelled") show(problem ?? undefined);
        });
        return () => {
            clearTimeout(timer);
            channel.close("cancelled");
        };
    }, [service, name, kernel, follow]);
    return shown;
}

function problemText(problem: string): string {
    if (problem === "not-found") return _("The command virtlayer is not installed on this host. Install the package virtlayer.");
    return problem;
}
