// SPDX-License-Identifier: LGPL-2.1-or-later
// Leaves out style sheets of unused components: esbuild drops their code, but keeps their style sheets.
import { build } from "esbuild";
import { relative } from "node:path";

/** Builds with these options, without the style sheets that only dropped modules import. */
export async function buildWithUsedStyles(options) {
    const { metafile } = await build({ ...options, write: false, metafile: true });
    const used = usedStyles(metafile);
    return await build({ ...options, metafile: true, plugins: [...options.plugins, withOnly(used, options.absWorkingDir)] });
}

/** The paths of the style sheets that are imported by a module that is in the output. */
function usedStyles(metafile) {
    const modules = Object.values(metafile.outputs).flatMap(({ inputs }) =>
        Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0),
    );
    return new Set(modules.flatMap(([path]) => metafile.inputs[path].imports.map((imported) => imported.path)));
}

function withOnly(used, directory) {
    return {
        name: "used-styles",
        setup(esbuild) {
            esbuild.onLoad({ filter: /\.css$/ }, ({ path }) =>
                used.has(relative(directory, path)) ? undefined : { contents: "", loader: "css" },
            );
        },
    };
}
