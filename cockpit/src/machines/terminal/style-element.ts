// SPDX-License-Identifier: LGPL-2.1-or-later

/**
 * An element for xterm.js in place of <style>, which Cockpit's Content-Security-Policy forbids: its text is a
 * style sheet of the page until it is removed. See scripts/xterm-styles.mjs.
 */
export function styleElement(): HTMLElement {
    const element = document.createElement("span");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    element.hidden = true;
    Object.defineProperty(element, "textContent", {
        set: (css: string) => {
            sheet.replaceSync(css);
        },
    });
    element.remove = () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
        Element.prototype.remove.call(element);
    };
    return element;
}
