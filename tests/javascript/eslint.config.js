// What eslint finds wrong in the page's scripts and in their tests.
import js from "@eslint/js";
import globals from "globals";

const strict = {
  "array-callback-return": "error",
  "default-case-last": "error",
  eqeqeq: "error",
  "no-console": "error",
  "no-constructor-return": "error",
  "no-duplicate-imports": "error",
  "no-else-return": "error",
  "no-eval": "error",
  "no-implicit-coercion": "error",
  "no-implied-eval": "error",
  "no-lonely-if": "error",
  "no-param-reassign": "error",
  "no-self-compare": "error",
  "no-shadow": "error",
  "no-template-curly-in-string": "error",
  "no-throw-literal": "error",
  "no-unmodified-loop-condition": "error",
  "no-unreachable-loop": "error",
  "no-use-before-define": ["error", { functions: false }],
  "no-useless-return": "error",
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
  complexity: ["error", 16],
  "max-lines": ["error", 220],
  "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
};

const onlyText = {
  "no-restricted-properties": [
    "error",
    ...["innerHTML", "outerHTML", "insertAdjacentHTML", "write"].map((property) => ({
      property,
      message: "Everything of an item is text, never markup: see show.js.",
    })),
  ],
};

export default [
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  { rules: strict },
  {
    files: ["services/**"],
    languageOptions: { globals: globals.browser },
    rules: { ...onlyText, "max-lines-per-function": ["error", 65] },
  },
  {
    files: ["tests/**"],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
];
