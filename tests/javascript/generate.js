// Makes generated/: the API's types from its OpenAPI document, and the card's elements from its
// template. Nothing of it is kept by hand, so nothing of it can be out of date.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { json } from "node:stream/consumers";
import openapiTS, { astToString } from "openapi-typescript";

const [template = "", folder = ""] = process.argv.slice(2);
const document = /** @type {any} */ (await json(process.stdin));

mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/api.d.ts`, astToString(await openapiTS(document)));

const card = readFileSync(template, "utf8");
const elements = [...card.matchAll(/<(\w+)\s[^>]*?\bdata-id="([\w-]+)"/g)];
const acts = new Set([...card.matchAll(/\bdata-act="([\w-]+)"/g)].map(([, act]) => `"${act}"`));
writeFileSync(
  `${folder}/card.d.ts`,
  `export type CardAction = ${[...acts].join(" | ")};
export interface CardElements {
${elements.map(([, tag, name]) => `  "${name}": HTMLElementTagNameMap["${tag}"];`).join("\n")}
}
`,
);
