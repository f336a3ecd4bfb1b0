// SPDX-License-Identifier: LGPL-2.1-or-later
/** A command as one line of text, with the quotes of a shell, and as a list of words. */

/** The line ends within quotes, or after a backslash. */
export class Unfinished extends Error {}

/**
 * Splits a line as a shell does: at blanks, except in quotes. Variables and patterns are left as they are.
 *
 * @throws {Unfinished} A quote is not closed.
 */
export function wordsOf(line: string): readonly string[] {
    const words: string[] = [];
    let word: string | undefined;
    let quote = "";
    for (let index = 0; index < line.length; index += 1) {
        const character = line.charAt(index);
        if (quote === "'") {
            if (character === "'") quote = "";
            else word = (word ?? "") + character;
        } else if (character === "\\" && (quote === "" || '"\\$`'.includes(line.charAt(index + 1)))) {
            index += 1;
            if (index >= line.length) throw new Unfinished();
            word = (word ?? "") + line.charAt(index);
        } else if (quote === '"') {
            if (character === '"') quote = "";
            else word = (word ?? "") + character;
        } else if (character === "'" || character === '"') {
            quote = character;
            word ??= "";
        } else if (/\s/.test(character)) {
            if (word !== undefined) words.push(word);
            word = undefined;
        } else {
            word = (word ?? "") + character;
        }
    }
    if (quote !== "") throw new Unfinished();
    if (word !== undefined) words.push(word);
    return words;
}

/** Joins words to a line that `wordsOf` splits into the same words. */
export function lineOf(words: readonly string[]): string {
    return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)).join(" ");
}
