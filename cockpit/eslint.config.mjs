// SPDX-License-Identifier: LGPL-2.1-or-later
import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

export default tseslint.config(
    { ignores: ["dist/", "build/", "node_modules/"] },
    {
        files: ["src/**/*.{ts,tsx}", "test/**/*.ts"],
        extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
        languageOptions: { parserOptions: { projectService: true } },
        rules: {
            // A number in a text is what its reader wants to see.
            "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
        },
    },
    {
        files: ["test/**/*.ts"],
        rules: {
            // The promises of node's test() are awaited by its runner.
            "@typescript-eslint/no-floating-promises": "off",
        },
    },
    {
        files: ["src/**/*.tsx"],
        ...jsxA11y.flatConfigs.strict,
    },
    {
        files: ["src/**/*.tsx"],
        plugins: { "react-hooks": reactHooks },
        rules: { "react-hooks/rules-of-hooks": "error", "react-hooks/exhaustive-deps": "error" },
    },
);
