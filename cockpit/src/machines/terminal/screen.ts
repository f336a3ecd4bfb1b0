// SPDX-License-Identifier: LGPL-2.1-or-later
/** A terminal of xterm.js for what a machine writes, which is hostile: it can draw, and nothing else. */
import "@xterm/xterm/css/xterm.css";

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

import { _ } from "../../translation.ts";

const SCROLLBACK = 5000;
const LINK = 8;
/** Bytes that wait to be drawn. A machine can write faster than they are; xterm.js fails at 50 MB. */
const WAITING = 4_000_000;
/** The key that leaves the terminal, which takes all others: with Ctrl. */
const LEAVING_KEY = "F6";

export interface Size {
    readonly rows: number;
    readonly cols: number;
}

export interface Screen {
    readonly terminal: Terminal;
    /** Draws what a machine writes, or some of it if that is too much. */
    readonly write: (bytes: Uint8Array) => void;
    readonly size: () => Size;
    readonly dispose: () => void;
}

/**
 * Shows a terminal in an element, as large as that is.
 *
 * @param onResize called when the terminal has another size.
 * @param onLeave called when the user presses Ctrl+F6.
 */
export function openScreen(element: HTMLElement, onResize: (size: Size) => void, onLeave: () => void): Screen {
    Terminal.strings.promptLabel = _("Terminal");
    const terminal = new Terminal({
        fontFamily: "Menlo, Monaco, Consolas, monospace",
        fontSize: 14,
        scrollback: SCROLLBACK,
        screenReaderMode: true,
        minimumContrastRatio: 4.5,
        theme: { background: "#151515", foreground: "#f5f5f5" },
        logLevel: "off",
    });
    // A link of the machine could show one address and lead to another.
    terminal.parser.registerOscHandler(LINK, () => true);
    terminal.attachCustomKeyEventHandler((event) => {
        if (!event.ctrlKey || event.key !== LEAVING_KEY) return true;
        event.preventDefault();
        if (event.type === "keydown") onLeave();
        return false;
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(element);
    fit.fit();
    terminal.onResize(({ rows, cols }) => {
        onResize({ rows, cols });
    });
    const observer = new ResizeObserver(() => {
        fit.fit();
    });
    observer.observe(element);
    let waiting = 0;
    const write = (bytes: Uint8Array) => {
        if (waiting > WAITING) return;
        waiting += bytes.length;
        terminal.write(bytes, () => {
            waiting -= bytes.length;
        });
    };
    return {
        terminal,
        write,
        size: () => ({ rows: terminal.rows, cols: terminal.cols }),
        dispose: () => {
            observer.disconnect();
            terminal.dispose();
        },
    };
}
