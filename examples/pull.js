#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
// Pulls an image into a pool, with GJS: pull.js SOURCE [POOL]
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import System from 'system';

if (ARGV.length < 1 || ARGV.length > 2) {
    printerr('usage: pull.js SOURCE [POOL]');
    System.exit(2);
}
const [source, pool = 'default'] = ARGV;

// Gio.BusType.SYSTEM is for the pools of qemu:///system.
const bus = Gio.bus_get_sync(Gio.BusType.SESSION, null);
const loop = new GLib.MainLoop(null, false);
let job;
let ended;

// A small job may be over when the reply arrives: ask for its signals before it is there.
for (const signal of ['ProgressChanged', 'Finished']) {
    bus.signal_subscribe('org.virtlayer1', 'org.virtlayer1.Job', signal, null, null,
        Gio.DBusSignalFlags.NONE, (_bus, _sender, path, _interface, name, values) => {
            if (path !== job)
                return;
            const [first, second, third] = values.recursiveUnpack();
            if (name === 'ProgressChanged') {
                print(`${Math.round(first * 100)} % ${second}`);
            } else {
                ended = {result: first, error: second, message: third};
                loop.quit();
            }
        });
}

function call(path, interface_, method, parameters) {
    return bus.call_sync('org.virtlayer1', path, interface_, method, parameters, null,
        Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, -1, null).recursiveUnpack();
}

try {
    [, job] = call('/org/virtlayer1', 'org.virtlayer1.Manager', 'Pull',
        new GLib.Variant('(ssa{sv})', [source, pool, {}]));
} catch (error) {
    const name = Gio.DBusError.get_remote_error(error);
    Gio.DBusError.strip_remote_error(error);
    printerr(`${name}: ${error.message}`);
    System.exit(1);
}
loop.run();
if (ended.result !== 'done') {
    printerr(`${ended.error || ended.result}: ${ended.message}`);
    System.exit(1);
}
const [result] = call(job, 'org.freedesktop.DBus.Properties', 'Get',
    new GLib.Variant('(ss)', ['org.virtlayer1.Job', 'Result']));
print(result.path);
