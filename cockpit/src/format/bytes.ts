// SPDX-License-Identifier: LGPL-2.1-or-later
/** Sizes as text, in binary units: "512 B", "1.5 MiB". */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/**
 * @param count in bytes.
 * @param language how numbers are written, such as "de".
 */
export function bytes(count: number, language: string): string {
    let value = count;
    let unit = 0;
    while (value >= 1024 && unit < UNITS.length - 1) {
        value /= 1024;
        unit += 1;
    }
    const digits = unit === 0 || value >= 100 ? 0 : 1;
    const number = value.toLocaleString(localeOf(language), { maximumFractionDigits: digits });
    return `${number} ${UNITS[unit] ?? ""}`;
}

/** Cockpit writes pt_BR, JavaScript pt-BR. */
export function localeOf(language: string): string {
    return language.replace("_", "-") || "en";
}
