// SPDX-License-Identifier: LGPL-2.1-or-later
// Fonts come from Cockpit: cockpit-ws serves PatternFly's Red Hat fonts to all pages. PatternFly's two
// icon fonts are left out, because its React components draw icons as SVG.

/** A plugin of esbuild that puts no font into the bundle. */
export const fontsOfCockpit = {
    name: "fonts-of-cockpit",
    setup(build) {
        build.onResolve({ filter: /\.woff2$/ }, ({ path }) => {
            const file = /fonts\/(RedHat\w+\/[\w-]+\.woff2)$/.exec(path)?.[1];
            return { path: file ? `../../static/fonts/${file}` : "data:,", external: true };
        });
    },
};
