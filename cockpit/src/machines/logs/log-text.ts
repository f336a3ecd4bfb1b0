// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * The output of a machine as plain lines. Output is hostile: escape sequences are removed, and neither
 * many lines nor long ones fill the memory.
 */

const LINES = 2000;
const LINE_LENGTH = 2000;
/** An escape sequence that is longer than this does not end. */
const SEQUENCE_LENGTH = 4096;

/** CSI; then OSC and other strings with their end; then all others. Source: ECMA-48. */
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\`-~])/g;
/** A sequence whose end has not come yet. */
const BEGUN = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)$/;
/** What has no place in a line: C0 but tab, C1, and what changes the direction of text. */
const UNPRINTABLE = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export class LogText {
    readonly #decoder = new TextDecoder();
    #lines: string[] = [];
    #last = "";
    #begun = "";
    #dropped = false;

    /** The kept lines, without the ends of lines. */
    get lines(): readonly string[] {
        return this.#last === "" ? this.#lines : [...this.#lines, printable(this.#last)];
    }

    /** Whether lines at the beginning were dropped. */
    get dropped(): boolean {
        return this.#dropped;
    }

    add(bytes: Uint8Array): void {
        const text = this.#begun + this.#decoder.decode(bytes, { stream: true });
        const begun = BEGUN.exec(text)?.[0] ?? "";
        this.#begun = begun.length > SEQUENCE_LENGTH ? "" : begun;
        const [first = "", ...others] = text.slice(0, text.length - begun.length).replace(SEQUENCE, "").split("\n");
        this.#last = (this.#last + first).slice(0, LINE_LENGTH);
        for (const piece of others) {
            this.#lines.push(printable(this.#last));
            this.#last = piece.slice(0, LINE_LENGTH);
        }
        if (this.#lines.length > LINES) {
            this.#lines = this.#lines.slice(-LINES);
            this.#dropped = true;
        }
    }
}

/** What a terminal would show of a line: what follows its last carriage return. */
function printable(line: string): string {
    let end = line.length;
    while (line[end - 1] === "\r") end -= 1;
    return line.slice(end === 0 ? 0 : line.lastIndexOf("\r", end - 1) + 1, end).replace(UNPRINTABLE, "");
}
