// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes po.LANGUAGE.js, which Cockpit loads as po.js, from the translations in po/.
// The format is that of `cockpit.locale`.
import gettextParser from "gettext-parser";
import { readdir, readFile, writeFile } from "node:fs/promises";

/** The texts of a manifest that Cockpit's shell translates. */
export function textsOfManifest(manifest) {
    return Object.values(manifest.menu).flatMap(({ label, keywords }) => [
        label,
        ...keywords.filter(({ translate }) => translate !== false).flatMap(({ matches }) => matches),
    ]);
}

/** Plural-Forms as a function in JavaScript; refuses anything but an expression in n. */
function pluralFunction(header) {
    const expression = /plural=\(?([n0-9\s<>=!&|?:%()]+?)\)?;?$/.exec(header)?.[1];
    if (!expression) throw new Error(`unknown Plural-Forms: ${header}`);
    return `(n) => ${expression}`;
}

/** What po.LANGUAGE.js contains, from the bytes of a .po file: all texts, or those of `only`. */
export function javascriptOf(bytes, only) {
    const po = gettextParser.po.parse(bytes);
    const headers = po.headers;
    const entries = [];
    for (const [context, messages] of Object.entries(po.translations)) {
        for (const [id, message] of Object.entries(messages)) {
            if (only && !only.includes(id)) continue;
            if (!id || message.comments?.flag?.includes("fuzzy") || message.msgstr.some((text) => !text)) continue;
            const key = context ? `${context}\u0004${id}` : id;
            entries.push(`${JSON.stringify(key)}: ${JSON.stringify([null, ...message.msgstr])}`);
        }
    }
    const head = `"plural-forms": ${pluralFunction(headers["Plural-Forms"])}, "language": ${JSON.stringify(headers.Language)}, "language-direction": "ltr"`;
    return `cockpit.locale({"": {${head}},\n${entries.join(",\n")}});\n`;
}

/**
 * Writes po.LANGUAGE.js and po.manifest.LANGUAGE.js of every po/LANGUAGE.po into `dist`.
 *
 * The latter has the texts of the manifest alone: Cockpit's shell loads it, and uses its translations itself.
 */
export async function writeTranslations(po, manifest, dist) {
    const ofManifest = textsOfManifest(JSON.parse(await readFile(manifest, "utf8")));
    for (const name of await readdir(po)) {
        if (!name.endsWith(".po")) continue;
        const language = name.slice(0, -3);
        const bytes = await readFile(`${po}/${name}`);
        await writeFile(`${dist}/po.${language}.js`, javascriptOf(bytes));
        await writeFile(`${dist}/po.manifest.${language}.js`, javascriptOf(bytes, ofManifest));
    }
}
