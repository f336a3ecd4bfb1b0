// SPDX-License-Identifier: LGPL-2.1-or-later
// Lets xterm.js set its styles through the CSS object model.
//
// It makes <style> elements and style attributes, which Cockpit's Content-Security-Policy forbids unless a page
// asks for 'unsafe-inline'. Then text that is injected into the page could use them as well, so this page does not.
import { readFile } from "node:fs/promises";

const REPLACEMENTS = [
    { pattern: /[\w.]+\.createElement\("style"\)/g, replacement: "styleElement()", count: 3 },
    {
        pattern: /(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)/g,
        replacement: "$1.style.cssText+=$2",
        count: 1,
    },
];

/** A plugin for esbuild. */
export function xtermStyles(styleElement) {
    return {
        name: "xterm-styles",
        setup(build) {
            build.onLoad({ filter: /\/@xterm\/xterm\/lib\/xterm\.mjs$/ }, async ({ path }) => {
                let contents = await readFile(path, "utf8");
                for (const { pattern, replacement, count } of REPLACEMENTS) {
                    const found = contents.match(pattern)?.length ?? 0;
                    if (found !== count) throw new Error(`${path} has ${pattern} ${found} times, not ${count} times: see ${import.meta.url}`);
                    contents = contents.replaceAll(pattern, replacement);
                }
                return { contents: `import { styleElement } from ${JSON.stringify(styleElement)};\n${contents}`, loader: "js" };
            });
        },
    };
}
