// SPDX-License-Identifier: LGPL-2.1-or-later
/** Connects a terminal with a machine: the last lines that it wrote, then its console. */
import type { IDisposable } from "@xterm/xterm";

import type { Where } from "../../service/values.ts";
import { consoleCommand, logsCommand, rightsOf } from "../commands.ts";
import type { Screen, Size } from "./screen.ts";

/** What the console shows of what was written before. */
const LINES = 200;
const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;

interface Listener {
    /** What is typed reaches the machine. */
    opened(): void;
    /**
     * Called once, unless the connection was closed.
     *
     * @param problem of Cockpit's channel, such as "not-found" if there is no command virtlayer.
     */
    ended(problem: string | undefined): void;
}

export interface Connection {
    readonly resize: (size: Size) => void;
    readonly close: () => void;
}

export function connectScreen(screen: Screen, where: Where, machine: string, listener: Listener): Connection {
    let current: cockpit.Channel<Uint8Array> | undefined;
    let hasConsole = false;
    let closed = false;
    let typing: readonly IDisposable[] = [];

    const follow = (
        channel: cockpit.Channel<Uint8Array>,
        began: (first: Uint8Array) => void,
        next: (problem: string | undefined) => void,
    ) => {
        current = channel;
        let hasBegun = false;
        channel.addEventListener("message", (_event, bytes) => {
            if (closed) return;
            if (!hasBegun) began(bytes);
            hasBegun = true;
            screen.write(bytes);
        });
        channel.addEventListener("close", (_event, { problem }) => {
            // The terminal writes later: what follows has to wait for it.
            if (closed) return;
            screen.terminal.write("", () => {
                if (!closed) next(problem);
            });
        });
    };

    const showLogs = () => {
        const channel = cockpit.channel({
            payload: "stream",
            spawn: logsCommand(where, machine, { lines: LINES }),
            err: "ignore",
            binary: true,
            ...rightsOf(where),
        });
        // A terminal in the machine ends lines with both characters, a program without one does not.
        const began = (first: Uint8Array) => {
            if (hasLineEnds(first)) screen.terminal.options.convertEol = false;
        };
        follow(channel, began, openConsole);
    };

    const openConsole = () => {
        const channel = cockpit.channel({
            payload: "stream",
            spawn: consoleCommand(where, machine),
            pty: true,
            environ: ["TERM=xterm-256color"],
            window: screen.size(),
            binary: true,
            ...rightsOf(where),
        });
        hasConsole = true;
        // The command says that it is connected. Before that, its terminal would echo what is typed.
        const connected = () => {
            typing = typingInto(screen, channel);
            listener.opened();
        };
        follow(channel, connected, (problem) => {
            close();
            listener.ended(problem);
        });
    };

    const close = () => {
        closed = true;
        for (const one of typing) one.dispose();
        current?.close();
    };

    screen.terminal.reset();
    screen.terminal.options.convertEol = true;
    showLogs();
    return {
        resize: (size) => {
            if (hasConsole && !closed) current?.control({ window: { rows: size.rows, cols: size.cols } });
        },
        close,
    };
}

function typingInto({ terminal }: Screen, channel: cockpit.Channel<Uint8Array>): readonly IDisposable[] {
    const encoder = new TextEncoder();
    return [
        terminal.onData((text) => {
            channel.send(encoder.encode(text));
        }),
        terminal.onBinary((text) => {
            channel.send(Uint8Array.from(text, (character) => character.charCodeAt(0)));
        }),
    ];
}

function hasLineEnds(bytes: Uint8Array): boolean {
    const end = bytes.indexOf(LINE_FEED);
    return end > 0 && bytes[end - 1] === CARRIAGE_RETURN;
}
