// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes } from "../src/format/bytes.ts";
import { relativeTime } from "../src/format/time.ts";

test("sizes have binary units, and at most one digit after the point", () => {
    assert.equal(bytes(0, "en"), "0 B");
    assert.equal(bytes(1023, "en"), "1,023 B");
    assert.equal(bytes(1536, "en"), "1.5 KiB");
    assert.equal(bytes(1536, "de"), "1,5 KiB");
    assert.equal(bytes(300 * 1024 ** 3, "pt_BR"), "300 GiB");
});

test("a time is told in the largest unit that fits", () => {
    const now = 1_700_000_000_000;
    assert.equal(relativeTime(now - 5000, now, "en"), "this minute");
    assert.equal(relativeTime(now - 3 * 3_600_000, now, "en"), "3 hours ago");
    assert.equal(relativeTime(now + 2 * 86_400_000, now, "de"), "übermorgen");
});
