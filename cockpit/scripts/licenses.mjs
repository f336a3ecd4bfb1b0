// SPDX-License-Identifier: LGPL-2.1-or-later
// Lists the npm packages whose code is in the page, with their licences. packaging/debian/copyright and
// packaging/rpm/virtlayer.spec name the same packages; tests/packaging/test_cockpit.py compares them.
import { readdir, readFile, writeFile } from "node:fs/promises";

// A licence that is added here must be compatible with LGPL-2.1-or-later, and be added in packaging/ too.
const KNOWN = new Set(["0BSD", "MIT"]);

// This package has no file with its licence. It is from the same project, and under the same one.
const TEXT_IN = { "@patternfly/patternfly": "@patternfly/react-core" };

const NOTES = {
    "@patternfly/react-icons":
        "Its icons include those of Font Awesome Free 5 by Fonticons, Inc. (https://fontawesome.com), under the\n"
        + "Creative Commons Attribution 4.0 International licence (https://creativecommons.org/licenses/by/4.0/).",
};

/** The names of the packages that have bytes in an output, from esbuild's metafile; sorted. */
export function packagesOf(metafile) {
    const names = new Set();
    for (const output of Object.values(metafile.outputs)) {
        for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
            const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
            if (name && bytesInOutput > 0) names.add(name);
        }
    }
    return [...names].sort();
}

async function licenceText(directory) {
    const names = (await readdir(directory)).filter((name) => /^licen[cs]e(\.(txt|md))?$/i.test(name));
    if (names.length !== 1) throw new Error(`${directory} has no file with its licence: add it to TEXT_IN`);
    return (await readFile(`${directory}/${names[0]}`, "utf8")).replaceAll("\r\n", "\n").trim();
}

/** The text of LICENSES, for packages below the directory `modules`. */
export async function licencesOf(packages, modules) {
    const sections = [];
    for (const name of packages) {
        const { version, license } = JSON.parse(await readFile(`${modules}/${name}/package.json`, "utf8"));
        if (!KNOWN.has(license)) {
            throw new Error(`${name} ${version} is under ${license}: check this licence, and add it to KNOWN`);
        }
        const text = await licenceText(`${modules}/${TEXT_IN[name] ?? name}`);
        const note = NOTES[name] ? `\n\n${NOTES[name]}` : "";
        sections.push(`=== ${name} ${version} (${license})\n\n${text}${note}\n`);
    }
    return `The page contains code of these npm packages:\n\n${sections.join("\n")}`;
}

/** Writes LICENSES of what esbuild has bundled into `dist`. */
export async function writeLicences(metafile, modules, dist) {
    await writeFile(`${dist}/LICENSES`, await licencesOf(packagesOf(metafile), modules));
}
