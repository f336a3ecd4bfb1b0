// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { problemsOf, textsOf } from "../scripts/check-translations.mjs";
import { javascriptOf } from "../scripts/translations.mjs";

const HEAD = String.raw`msgid ""
msgstr ""
"Language: de\n"
"Plural-Forms: nplurals=2; plural=n != 1;\n"
`;

function po(...entries) {
    return Buffer.from([HEAD, ...entries].join("\n\n"));
}

test("the texts of a source are found", () => {
    const source = 'const x = <p title={_("One")}>{fill(_(`Two $0`), 2)}{ngettext("$0 layer", "$0 layers", n)}</p>;';
    assert.deepEqual(textsOf("x.tsx", source), ["One", "Two $0", "$0 layer\0$0 layers"]);
});

test("a text that is not written where it is translated is refused", () => {
    assert.throws(() => textsOf("x.tsx", "let a;\n_(name);"), /x\.tsx:2: name is not a text/);
});

test("a complete translation has no problem", () => {
    const plural = 'msgid "One layer"\nmsgid_plural "$0 layers"\nmsgstr[0] "Eine Schicht"\nmsgstr[1] "$0 Schichten"';
    assert.deepEqual(problemsOf(["One", "One layer\0$0 layers"], po('msgid "One"\nmsgstr "Eins"', plural)), []);
});

test("missing, empty and superfluous translations are found", () => {
    assert.deepEqual(problemsOf(["One", "Two"], po('msgid "One"\nmsgstr ""', 'msgid "Old"\nmsgstr "Alt"')), [
        "not translated: One",
        "not translated: Two",
        "not in the page: Old",
    ]);
});

test("a text that is translated twice is found", () => {
    const entry = 'msgid "One"\nmsgstr "Eins"';
    assert.deepEqual(problemsOf(["One"], po(entry, entry)), ["translated twice: One"]);
});

test("other placeholders than those of the text are found", () => {
    const entry = 'msgid "$0 of $1"\nmsgstr "$0 von $2"';
    assert.deepEqual(problemsOf(["$0 of $1"], po(entry)), ['other placeholders than "$0 of $1": $0 von $2']);
});

test("the shell gets the texts of the manifest alone", () => {
    const bytes = po('msgid "Images"\nmsgstr "Images"', 'msgid "pull"\nmsgstr "herunterladen"');
    assert.ok(!javascriptOf(bytes, ["pull"]).includes("Images"));
    assert.ok(javascriptOf(bytes, ["pull"]).includes("herunterladen"));
});
