// SPDX-License-Identifier: LGPL-2.1-or-later
// Checks that every po/LANGUAGE.po translates every text of the page, and nothing else.
import gettextParser from "gettext-parser";
import { readdir, readFile } from "node:fs/promises";
import ts from "typescript";

import { textsOfManifest } from "./translations.mjs";

/** The texts in TypeScript: the argument of _(), and both of ngettext() as "singular\0plural". */
export function textsOf(name, source) {
    const file = ts.createSourceFile(name, source, ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
    const texts = [];
    const visit = (node) => {
        const counts = { _: 1, ngettext: 2 };
        if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && Object.hasOwn(counts, node.expression.text)) {
            const ids = node.arguments.slice(0, counts[node.expression.text]);
            const bad = ids.find((id) => !ts.isStringLiteral(id) && !ts.isNoSubstitutionTemplateLiteral(id));
            if (bad) {
                const { line } = file.getLineAndCharacterOfPosition(bad.getStart());
                throw new Error(`${name}:${line + 1}: ${bad.getText()} is not a text: write the text itself as the argument`);
            }
            texts.push(ids.map((id) => id.text).join("\0"));
        }
        ts.forEachChild(node, visit);
    };
    visit(file);
    return texts;
}

/** What is wrong with the translations of `texts` in a .po file, as sentences. */
export function problemsOf(texts, bytes) {
    const messages = Object.values(gettextParser.po.parse(bytes).translations[""]).filter(({ msgid }) => msgid);
    const translated = new Map(
        messages.map((message) => [[message.msgid, message.msgid_plural].filter(Boolean).join("\0"), message]),
    );
    const problems = [];
    for (const text of new Set(texts)) {
        const message = translated.get(text);
        if (!message || message.msgstr.length < (text.includes("\0") ? 2 : 1) || message.msgstr.includes("")) {
            problems.push(`not translated: ${text.replace("\0", " | ")}`);
        } else {
            const wrong = message.msgstr.filter((one) => !hasPlaceholdersOf(text, one));
            problems.push(...wrong.map((one) => `other placeholders than "${text.replace("\0", " | ")}": ${one}`));
        }
    }
    // The parser takes the last of several translations; gettext's own tools refuse them.
    const ids = [...bytes.toString().matchAll(/^msgid "(.+)"$/gm)].map(([, id]) => id);
    problems.push(...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `translated twice: ${id}`));
    for (const id of translated.keys()) {
        if (!texts.includes(id)) problems.push(`not in the page: ${id.replace("\0", " | ")}`);
    }
    return problems;
}

function placeholders(text) {
    return [...text.matchAll(/\$(\d+)/g)].map(([, number]) => number).sort().join();
}

/** A singular may leave out the number. */
function hasPlaceholdersOf(text, translation) {
    return text.split("\0").some((form) => placeholders(form) === placeholders(translation));
}

async function textsOfPage(directory) {
    const names = (await readdir(`${directory}src`, { recursive: true })).filter((name) => /\.tsx?$/.test(name));
    const ofSources = await Promise.all(
        names.map(async (name) => textsOf(`src/${name}`, await readFile(`${directory}src/${name}`, "utf8"))),
    );
    return [...ofSources.flat(), ...textsOfManifest(JSON.parse(await readFile(`${directory}manifest.json`, "utf8")))];
}

/** What is wrong with any translation in `directory`/po. */
export async function problemsIn(directory) {
    const texts = await textsOfPage(directory);
    const names = (await readdir(`${directory}po`)).filter((name) => name.endsWith(".po"));
    const found = await Promise.all(
        names.map(async (name) =>
            problemsOf(texts, await readFile(`${directory}po/${name}`)).map((problem) => `po/${name}: ${problem}`),
        ),
    );
    return found.flat();
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
    const problems = await problemsIn(new URL("../", import.meta.url).pathname);
    for (const problem of problems) console.error(problem);
    process.exit(problems.length > 0 ? 1 : 0);
}
