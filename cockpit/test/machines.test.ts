// SPDX-License-Identifier: LGPL-2.1-or-later
import assert from "node:assert/strict";
import { test } from "node:test";

import { consoleCommand, logsCommand, machinesPage } from "../src/machines/commands.ts";
import { LogText } from "../src/machines/logs/log-text.ts";
import { DEFAULTS, isValid, NEW_PORT, optionsOf, problemsOf, type RunForm } from "../src/machines/run/form.ts";
import { startupOf } from "../src/machines/run/image-config.ts";
import { lineOf, Unfinished, wordsOf } from "../src/machines/run/words.ts";

function aForm(part: Partial<RunForm>): RunForm {
    return { ...DEFAULTS, ...part };
}

test("a command is split as a shell does", () => {
    assert.deepEqual(wordsOf(""), []);
    assert.deepEqual(wordsOf("  sh  -c 'echo \"$A\" *' "), ["sh", "-c", 'echo "$A" *']);
    assert.deepEqual(wordsOf(String.raw`a\ b "c\"d\n" e''f '' x"y z"`), ["a b", String.raw`c"d\n`, "ef", "", "xy z"]);
    for (const line of ["'", 'a "b', "a \\"]) assert.throws(() => wordsOf(line), Unfinished);
});

test("words as one line are split into the same words", () => {
    const words = ["sh", "-c", "it's $A", "", "a b", "--x=1", "\\", '"'];
    assert.deepEqual(wordsOf(lineOf(words)), words);
});

test("the form as it opens is valid, and leaves what it can to the service", () => {
    assert.ok(isValid(DEFAULTS));
    assert.deepEqual(optionsOf(DEFAULTS), {
        memory: { t: "t", v: 1024 ** 3 },
        vcpus: { t: "u", v: 2 },
        tty: { t: "b", v: true },
        interactive: { t: "b", v: true },
    });
});

test("every field becomes an option", () => {
    const form = aForm({
        memory: "256",
        processors: "1",
        network: "user",
        ports: [{ address: "127.0.0.1", host: "8080", machine: "80", protocol: "tcp" }, NEW_PORT],
        command: "httpd -f -p '80'",
        variables: [
            { name: "A", value: "x=y" },
            { name: "", value: "" },
        ],
        terminal: false,
        input: false,
        ephemeral: true,
        autostart: true,
        volumeSize: "2",
        hostname: " web ",
        rootPassword: " p ",
        sshKeys: "ssh-ed25519 AAAA one\n\n ssh-ed25519 AAAA two ",
        kernel: "kernel",
        kernelVersion: "6.1",
    });
    assert.ok(isValid(form));
    assert.deepEqual(optionsOf(form), {
        memory: { t: "t", v: 256 * 1024 ** 2 },
        vcpus: { t: "u", v: 1 },
        network: { t: "s", v: "user" },
        publish: { t: "a(sqqs)", v: [["127.0.0.1", 8080, 80, "tcp"]] },
        command: { t: "as", v: ["httpd", "-f", "-p", "80"] },
        environment: { t: "as", v: ["A=x=y"] },
        ephemeral: { t: "b", v: true },
        autostart: { t: "b", v: true },
        "volume-size": { t: "t", v: 2 * 1024 ** 3 },
        hostname: { t: "s", v: "web" },
        "root-password": { t: "s", v: " p " },
        "ssh-authorized-keys": { t: "as", v: ["ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"] },
        kernel: { t: "s", v: "kernel" },
        "kernel-version": { t: "s", v: "6.1" },
    });
});

test("what cannot be an option is a problem", () => {
    assert.deepEqual(
        problemsOf(aForm({ memory: "63", processors: "1.5", network: "other", otherNetwork: "br0", volumeSize: "x", command: "'" })),
        new Set(["memory", "processors", "other-network", "volume-size", "unfinished-command"]),
    );
    const port = { ...NEW_PORT, host: "8080", machine: "80" };
    assert.ok(isValid(aForm({ ports: [port] })));
    assert.deepEqual(problemsOf(aForm({ ports: [port], network: "none" })), new Set(["network-of-ports"]));
    for (const wrong of [{ host: "0" }, { host: "65536" }, { machine: "" }, { machine: "http" }]) {
        assert.ok(!isValid(aForm({ ports: [{ ...port, ...wrong }] })));
    }
    assert.ok(!isValid(aForm({ variables: [{ name: "", value: "lost" }] })));
    assert.ok(!isValid(aForm({ variables: [{ name: "A=B", value: "" }] })));
});

test("the command of an image is read from its config, whatever that is", () => {
    const config = JSON.stringify({ config: { Entrypoint: ["/start"], Cmd: ["-f", "a b"] } });
    assert.deepEqual(startupOf(config), { entrypoint: ["/start"], command: ["-f", "a b"] });
    for (const other of ["", "{", "null", "[]", '{"config":null}', '{"config":{"Cmd":[1],"Entrypoint":"sh"}}']) {
        assert.deepEqual(startupOf(other), { entrypoint: [], command: [] });
    }
});

test("commands name a machine that looks like an option", () => {
    assert.deepEqual(consoleCommand("session", "-x"), ["virtlayer", "--user", "console", "--", "-x"]);
    assert.deepEqual(logsCommand("system", "web", { follow: true, kernel: true, lines: 9 }), [
        "virtlayer",
        "logs",
        "--follow",
        "--kernel",
        "--tail=9",
        "--",
        "web",
    ]);
    assert.equal(machinesPage("session", "a b&c"), "/machines#/vm?name=a%20b%26c&connection=session");
});

function logOf(...pieces: string[]): readonly string[] {
    const log = new LogText();
    for (const piece of pieces) log.add(new TextEncoder().encode(piece));
    return log.lines;
}

test("a log has lines without escape sequences, however they are cut", () => {
    assert.deepEqual(logOf("one\r\ntwo\nthree"), ["one", "two", "three"]);
    assert.deepEqual(logOf("\x1b[1;31mred\x1b[m \x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b(B\x1bM!\n"), ["red xlink!"]);
    assert.deepEqual(logOf("a\x1b", "[3", "1mb\x1b]0;ti", "tle\x1b", "\\c\n"), ["abc"]);
    assert.deepEqual(logOf("10%\r20%\r30%\r\r\n\r\n"), ["30%", ""]);
    assert.deepEqual(logOf("a\x00\x07\u202eb\tc\n"), ["ab\tc"]);
});

test("a log keeps neither endless lines nor all lines", () => {
    const [line] = logOf("x".repeat(1500), "x".repeat(1500));
    assert.equal(line?.length, 2000);
    const log = new LogText();
    log.add(new TextEncoder().encode(Array.from({ length: 6000 }, (_item, index) => `${index}\n`).join("")));
    assert.equal(log.lines.length, 2000);
    assert.equal(log.lines[0], "4000");
    assert.ok(log.dropped);
    assert.deepEqual(logOf("\x1b]0;" + "x".repeat(5000), "after\n"), ["after"]);
});
