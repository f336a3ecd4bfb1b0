// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { fill } from "../src/translation.ts";

test("a value cannot turn round the sentence that it is in", () => {
    const format = (text: string, ...values: string[]) => text.replace(/\$(\d)/g, (_all, index) => values[Number(index)] ?? "");
    Object.assign(globalThis, { cockpit: { format } });
    assert.equal(fill("$0 in $1 images", "a\u202eb", 2), "a\ufffdb in 2 images");
});
