// SPDX-License-Identifier: LGPL-2.1-or-later
// Builds the page into dist/, or with --tests the tests into build/test/ for node's test runner.
import { build } from "esbuild";
import { cp, mkdir, readdir, rm } from "node:fs/promises";

import { writeTranslations } from "./scripts/translations.mjs";

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
    await build({
        ...shared,
        format: "iife",
        entryPoints: { index: "src/index.tsx" },
        outdir: "dist",
        minify: true,
        metafile: true,
        define: { "process.env.NODE_ENV": '"production"' },
        loader: { ".woff2": "file", ".svg": "dataurl" },
        assetNames: "fonts/[name]",
        legalComments: "linked",
    });
    await cp(`${here}src/index.html`, `${dist}/index.html`);
    await cp(`${here}manifest.json`, `${dist}/manifest.json`);
    await writeTranslations(`${here}po`, dist);
}

if (process.argv.includes("--tests")) {
    await buildTests();
} else {
    await buildPage();
}
