// SPDX-License-Identifier: LGPL-2.1-or-later
/** The console of a machine. It stays to be read when the machine has stopped. */
import { Button, EmptyState, EmptyStateBody, Flex, FlexItem, Spinner } from "@patternfly/react-core";
import { useEffect, useId, useRef, useState } from "react";

import type { Service } from "../../service/service.ts";
import type { Machine } from "../../service/values.ts";
import { _ } from "../../translation.ts";
import { connectScreen, type Connection } from "./connection.ts";
import { openScreen, type Screen } from "./screen.ts";

type Status = "never" | "connecting" | "connected" | "ended" | "no-command";

interface Props {
    readonly service: Service;
    readonly machine: Machine;
}

export function Console({ service, machine }: Props) {
    const isRunning = machine.state === "running";
    const place = useRef<HTMLDivElement>(null);
    const button = useRef<HTMLButtonElement>(null);
    const screen = useRef<Screen>();
    const connection = useRef<Connection>();
    // Not when the machine is started later: the user may be elsewhere then.
    const takesFocus = useRef(isRunning);
    const [status, setStatus] = useState<Status>("never");
    const [attempt, setAttempt] = useState(0);
    const hint = useId();

    const end = (how: Status) => {
        // The terminal ignores keys now, so the focus must not stay in it.
        if (place.current?.contains(document.activeElement) === true) button.current?.focus();
        setStatus(how);
    };

    useEffect(() => {
        if (!isRunning || place.current === null) return;
        screen.current ??= openScreen(
            place.current,
            (size) => connection.current?.resize(size),
            () => button.current?.focus(),
        );
        const { terminal } = screen.current;
        connection.current?.close();
        setStatus("connecting");
        connection.current = connectScreen(screen.current, service.where, machine.name, {
            opened: () => {
                setStatus("connected");
                if (takesFocus.current) terminal.focus();
                takesFocus.current = false;
            },
            ended: (problem) => {
                end(problem === "not-found" ? "no-command" : "ended");
            },
        });
    }, [service, machine.name, isRunning, attempt]);

    useEffect(
        () => () => {
            connection.current?.close();
            screen.current?.dispose();
            screen.current = undefined;
        },
        [],
    );

    const press = () => {
        if (status === "connected") {
            connection.current?.close();
            end("ended");
        } else if (isRunning && status !== "connecting") {
            takesFocus.current = true;
            setAttempt((before) => before + 1);
        }
    };

    const isShown = status !== "never" || isRunning;
    return (
        <>
            {!isShown && (
                <EmptyState titleText={_("The machine does not run")} headingLevel="h3" variant="sm">
                    <EmptyStateBody>{_("Start it to use its console.")}</EmptyStateBody>
                </EmptyState>
            )}
            <div className="machine-terminal" role="group" aria-label={_("Console")} aria-describedby={hint} hidden={!isShown}>
                <div ref={place} />
            </div>
            {isShown && (
                <Flex>
                    <FlexItem>
                        <Button
                            ref={button}
                            variant="secondary"
                            isAriaDisabled={status !== "connected" && (status === "connecting" || !isRunning)}
                            onClick={press}
                        >
                            {status === "connected" ? _("Disconnect") : _("Connect")}
                        </Button>
                    </FlexItem>
                    {status === "connecting" && <Spinner size="md" aria-label={_("Connecting")} />}
                    <FlexItem id={hint}>{hintOf(status)}</FlexItem>
                </Flex>
            )}
        </>
    );
}

function hintOf(status: Status): string {
    switch (status) {
        case "ended":
            return _("The console is disconnected.");
        case "no-command":
            return _("The command virtlayer is not installed on this host. Install the package virtlayer.");
        default:
            return _("The terminal takes all keys. Ctrl+F6 leaves it.");
    }
}
