// SPDX-License-Identifier: LGPL-2.1-or-later
/** Where the focus of the keyboard goes when a dialog closes. */

/** What opens a dialog now: what has the focus, or the button of the menu that has it, which closes. */
export function currentOpener(): HTMLElement | undefined {
    const focused = document.activeElement;
    const opener =
        focused?.closest("[role=menu]") != null
            ? document.querySelector("button[aria-expanded=true].pf-v6-c-menu-toggle")
            : focused;
    return opener instanceof HTMLElement ? opener : undefined;
}

/** Gives the focus to an element, or to the page's heading if the element is no longer in the page. */
export function focusOn(element: HTMLElement | undefined): void {
    const isThere = element !== undefined && element !== document.body && element.isConnected;
    const target = isThere ? element : document.querySelector("h1");
    if (target instanceof HTMLElement) target.focus();
}
