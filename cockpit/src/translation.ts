// SPDX-License-Identifier: LGPL-2.1-or-later
/** Texts in the user's language; scripts/check-translations.mjs finds them by these names. */

/** Characters that change the direction of text: one in a value would turn round the sentence about it. */
const DIRECTIONS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The translation of a text. */
export function _(text: string): string {
    return cockpit.gettext(text);
}

/** The translation of a text for a number; $0 in it is the number. */
export function ngettext(singular: string, plural: string, count: number): string {
    return cockpit.format(cockpit.ngettext(singular, plural, count), count);
}

/** A translated text with values in place of $0, $1, … */
export function fill(text: string, ...values: (string | number)[]): string {
    return cockpit.format(text, ...values.map((value) => String(value).replace(DIRECTIONS, "\ufffd")));
}
