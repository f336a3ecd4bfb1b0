// SPDX-License-Identifier: LGPL-2.1-or-later
// Builds the page into dist/, or with --tests the tests into build/test/ for node's test runner.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";

import { fontsOfCockpit } from "./scripts/fonts.mjs";
import { writeLicences } from "./scripts/licenses.mjs";
import { buildWithUsedStyles } from "./scripts/styles.mjs";
import { writeTranslations } from "./scripts/translations.mjs";
import { xtermStyles } from "./scripts/xterm-styles.mjs";

const here = new URL("./", import.meta.url).pathname;

const shared = {
    absWorkingDir: here,
    bundle: true,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
    jsx: "automatic",
};

async function buildTests() {
    await rm(`${here}build/test`, { recursive: true, force: true });
    const tests = (await readdir(`${here}test`)).filter((name) => name.endsWith(".test.ts"));
    await build({
        ...shared,
        entryPoints: tests.map((name) => `test/${name}`),
        outdir: "build/test",
        outExtension: { ".js": ".mjs" },
        platform: "node",
        sourcemap: "inline",
    });
}

async function buildPage() {
    const dist = `${here}dist`;
    await rm(dist, { recursive: true, force: true });
    await mkdir(dist);
    const { metafile } = await buildWithUsedStyles({
        ...shared,
        format: "iife",
        entryPoints: { index: "src/index.tsx" },
        outdir: "dist",
        minify: true,
        define: { "process.env.NODE_ENV": '"production"' },
        loader: { ".svg": "dataurl" },
        plugins: [fontsOfCockpit, xtermStyles(`${here}src/machines/terminal/style-element.ts`)],
        legalComments: "linked",
    });
    await cp(`${here}src/index.html`, `${dist}/index.html`);
    await cp(`${here}manifest.json`, `${dist}/manifest.json`);
    await writeTranslations(`${here}po`, `${here}manifest.json`, dist);
    await writeLicences(metafile, `${here}node_modules`, dist);
    // The last step: it says that the build is complete, and of which sources.
    await writeFile(`${dist}/.sources`, execFileSync(`${here}scripts/hash-sources`));
}

if (process.argv.includes("--tests")) {
    await buildTests();
} else {
    await buildPage();
}
