// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * Light or dark, as the user has set it in Cockpit's menu.
 *
 * Source: pkg/lib/cockpit-dark-theme.ts of Cockpit: its shell stores "auto", "light" or "dark" as `shell:style`,
 * and tells its frames of a change by the event `cockpit-style`.
 */

const DARK = window.matchMedia("(prefers-color-scheme: dark)");

function apply(style: string): void {
    const dark = style === "dark" || (style === "auto" && DARK.matches);
    document.documentElement.classList.toggle("pf-v6-theme-dark", dark);
}

function stored(): string {
    return localStorage.getItem("shell:style") ?? "auto";
}

export function followTheme(): void {
    apply(stored());
    window.addEventListener("storage", (event) => {
        if (event.key === "shell:style") apply(stored());
    });
    window.addEventListener("cockpit-style", (event) => {
        const detail: unknown = event instanceof CustomEvent ? event.detail : undefined;
        if (typeof detail === "object" && detail !== null && "style" in detail && typeof detail.style === "string") {
            apply(detail.style);
        }
    });
    DARK.addEventListener("change", () => {
        apply(stored());
    });
}
